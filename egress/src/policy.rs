//! Pure: what may be reached, and by which tasks.

use std::collections::BTreeSet;

use serde::Deserialize;
use wire::egress::{Destination, Pass};
use wire::id::TaskId;

/// What is allowed where nobody says otherwise.
const USUAL: &str = include_str!("allow.toml");
/// What the record calls the hosts that a task names itself.
const OF_TASK: &str = "of the task";

/// What may be reached; everything else may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    rules: Vec<Rule>,
    /// Whether a task may reach hosts that it names itself.
    of_tasks: bool,
}

/// One line of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    /// The group that it is in.
    group: String,
    destination: Destination,
    /// Nobody else may; everybody when there are none.
    tasks: BTreeSet<TaskId>,
    may_be_private: bool,
}

/// By what something may be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowed<'a> {
    /// The group of the rule.
    pub(crate) rule: &'a str,
    /// Whether the host may have a private address.
    pub(crate) may_be_private: bool,
}

/// Why rules cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRules {
    /// The text is none.
    #[error("the allow-list cannot be read: {0}")]
    Text(String),
    /// An entry is none.
    #[error("group {group:?}: {entry:?} is no HOST, HOST:PORT or *.SUFFIX:PORT")]
    Entry {
        /// Where it is.
        group: String,
        /// What it says.
        entry: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "yes")]
    hosts_of_tasks: bool,
    #[serde(default)]
    group: Vec<Group>,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: String,
    /// Where it is documented what has to be reached; for people.
    #[serde(default)]
    #[expect(dead_code, reason = "kept with the data, and read by people")]
    source: Option<String>,
    hosts: Vec<String>,
    #[serde(default)]
    tasks: BTreeSet<TaskId>,
    #[serde(default)]
    private: bool,
}

impl Rules {
    /// Git hosts, registries and model APIs: `allow.toml` beside this file.
    pub fn usual() -> Self {
        Self::parse(USUAL).expect("a test reads it")
    }

    /// Reads an allow-list in the form of `allow.toml`.
    pub fn parse(text: &str) -> Result<Self, BadRules> {
        let file: File = toml::from_str(text).map_err(|error| BadRules::Text(located(text, &error)))?;
        let rules = file.group.into_iter().map(Group::rules).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { rules: rules.into_iter().flatten().collect(), of_tasks: file.hosts_of_tasks })
    }

    /// The same with one more entry, for everybody.
    pub fn with(mut self, entry: &str) -> Result<Self, BadRules> {
        let group = Group {
            name: "added".to_owned(),
            source: None,
            hosts: vec![entry.to_owned()],
            tasks: BTreeSet::new(),
            private: false,
        };
        self.rules.extend(group.rules()?);
        Ok(self)
    }

    /// By what the host may be reached, if it may.
    pub(crate) fn allowing(&self, host: &str, port: u16, pass: Option<&Pass>) -> Option<Allowed<'_>> {
        let task = pass.map(|pass| pass.grant.task);
        let rule = self.rules.iter().find(|rule| rule.destination.includes(host, port) && rule.is_for(task));
        let named = || pass.is_some_and(|pass| pass.hosts.iter().any(|own| own.includes(host, port)));
        match rule {
            Some(rule) => Some(Allowed { rule: &rule.group, may_be_private: rule.may_be_private }),
            None if self.of_tasks && named() => Some(Allowed { rule: OF_TASK, may_be_private: false }),
            None => None,
        }
    }
}

/// What is wrong and in which line, since TOML names neither the group nor the field of a value.
fn located(text: &str, error: &toml::de::Error) -> String {
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return error.message().to_owned();
    };
    let number = before.matches('\n').count();
    let line = text.lines().nth(number).unwrap_or_default().trim();
    format!("line {}, {line:?}: {}", number + 1, error.message())
}

impl Group {
    fn rules(self) -> Result<Vec<Rule>, BadRules> {
        let rule = |entry: &String| {
            let bad = |_| BadRules::Entry { group: self.name.clone(), entry: entry.clone() };
            let destination = entry.parse().map_err(bad)?;
            let (group, tasks) = (self.name.clone(), self.tasks.clone());
            Ok(Rule { group, destination, tasks, may_be_private: self.private })
        };
        self.hosts.iter().map(rule).collect()
    }
}

impl Rule {
    fn is_for(&self, task: Option<TaskId>) -> bool {
        self.tasks.is_empty() || task.is_some_and(|task| self.tasks.contains(&task))
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use wire::grant::Grant;

    use super::*;

    const TASK: &str = "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";

    const LIST: &str = r#"
        [[group]]
        name = "a"
        hosts = ["example.org"]
        [[group]]
        name = "b"
        hosts = ["secret.example.org"]
        tasks = ["0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70"]
        private = true
    "#;

    fn pass(task: TaskId, hosts: &[&str]) -> Pass {
        let [machine, execution] = [1, 2].map(Uuid::from_u128);
        let hosts = hosts.iter().map(|host| host.parse().expect("a host")).collect();
        Pass { grant: Grant { machine: machine.into(), task, execution: execution.into() }, hosts }
    }

    #[test]
    fn a_rule_for_some_tasks_is_for_no_other() {
        let rules = Rules::parse(LIST).expect("rules");
        let (own, other) = (TASK.parse().expect("an id"), TaskId::from(Uuid::nil()));
        let group = |pass: Option<&Pass>| rules.allowing("secret.example.org", 443, pass).map(|allowed| allowed.rule);
        assert_eq!(group(Some(&pass(own, &[]))), Some("b"));
        assert_eq!((group(Some(&pass(other, &[]))), group(None)), (None, None));
        assert_eq!(rules.allowing("example.org", 443, None).map(|allowed| allowed.rule), Some("a"));
        assert_eq!(rules.allowing("example.org", 80, None), None);
    }

    #[test]
    fn a_task_reaches_what_it_names_itself_by_no_private_address_and_where_the_list_lets_it() {
        let asked = pass(TaskId::from(Uuid::nil()), &["own.example.org:8443", "secret.example.org"]);
        let rules = Rules::parse(LIST).expect("rules");
        let own = Some(Allowed { rule: "of the task", may_be_private: false });
        assert_eq!(rules.allowing("own.example.org", 8443, Some(&asked)), own);
        assert_eq!(rules.allowing("secret.example.org", 443, Some(&asked)), own);
        assert_eq!(rules.allowing("own.example.org", 443, Some(&asked)), None);
        assert_eq!(rules.allowing("own.example.org", 8443, None), None);
        let strict = Rules::parse(&format!("hosts_of_tasks = false\n{LIST}")).expect("rules");
        assert_eq!(strict.allowing("own.example.org", 8443, Some(&asked)), None);
        assert!(strict.with("own.example.org:8443").expect("rules").allowing("own.example.org", 8443, None).is_some());
    }

    #[test]
    fn what_is_no_entry_is_named() {
        for entry in ["", "*", "*.com", "a:0", "a:65536", "a/b", "http://a"] {
            let text = format!("[[group]]\nname = \"g\"\nhosts = [{entry:?}]\n");
            let error = Rules::parse(&text).expect_err(entry).to_string();
            assert!(error.contains("\"g\"") && error.contains(&format!("{entry:?}")), "{error}");
        }
        let error = Rules::parse("[[group]]\nname = \"g\"\nhosts = []\nprot = 1").expect_err("a field").to_string();
        assert!(error.contains("prot"), "{error}");
    }

    #[test]
    fn a_value_that_is_none_is_named_with_its_line() {
        let text = "[[group]]\nname = \"g\"\nhosts = []\n  tasks = [\"nonsense\"]\n";
        let error = Rules::parse(text).expect_err("no id").to_string();
        assert!(
            error.starts_with("the allow-list cannot be read: line 4, \"tasks = [\\\"nonsense\\\"]\": "),
            "{error}"
        );
    }

    #[test]
    fn the_usual_rules_are_some_and_lead_to_no_private_address() {
        let rules = Rules::usual();
        for host in ["github.com", "registry.npmjs.org", "pypi.org", "static.crates.io", "api.anthropic.com"] {
            assert!(rules.allowing(host, 443, None).is_some(), "{host}");
            assert!(rules.allowing(host, 22, None).is_none(), "{host}");
        }
        assert!(rules.rules.iter().all(|rule| !rule.may_be_private && rule.tasks.is_empty()));
    }

    #[test]
    fn every_usual_group_says_where_it_is_documented() {
        let file: toml::Table = USUAL.parse().expect("TOML");
        for group in file["group"].as_array().expect("groups") {
            assert!(group["source"].as_str().is_some_and(|source| source.starts_with("https://")), "{group}");
        }
    }
}
