//! Pure: what may be reached, and by which tasks.

use std::collections::BTreeSet;

use serde::Deserialize;
use wire::id::TaskId;

/// What is allowed where nobody says otherwise.
const USUAL: &str = include_str!("allow.toml");
/// The port of an entry that names none.
const PORT: u16 = 443;
/// The longest name that DNS knows.
const HOST_CHARS: usize = 253;

/// What may be reached; everything else may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

/// One line of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// The group that it is in.
    pub(crate) group: String,
    host: Pattern,
    port: u16,
    /// Nobody else may; everybody when there are none.
    tasks: BTreeSet<TaskId>,
    /// Whether the host may have a private address.
    pub(crate) may_be_private: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    /// This name.
    Exactly(String),
    /// Whatever ends with this, which begins with a dot.
    Below(String),
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
    #[serde(default)]
    group: Vec<Group>,
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
        let file: File = toml::from_str(text).map_err(|error| BadRules::Text(error.message().to_owned()))?;
        let rules = file.group.into_iter().map(Group::rules).collect::<Result<Vec<_>, _>>()?;
        Ok(Self(rules.into_iter().flatten().collect()))
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
        self.0.extend(group.rules()?);
        Ok(self)
    }

    /// The rule by which the task may reach the host, if there is one.
    pub(crate) fn allowing(&self, host: &str, port: u16, task: Option<TaskId>) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.port == port && rule.host.is_for(host) && rule.is_for(task))
    }
}

impl Group {
    fn rules(self) -> Result<Vec<Rule>, BadRules> {
        let rule = |entry: &String| {
            let bad = || BadRules::Entry { group: self.name.clone(), entry: entry.clone() };
            let (host, port) = entry_of(entry).ok_or_else(bad)?;
            Ok(Rule { group: self.name.clone(), host, port, tasks: self.tasks.clone(), may_be_private: self.private })
        };
        self.hosts.iter().map(rule).collect()
    }
}

fn entry_of(entry: &str) -> Option<(Pattern, u16)> {
    let has_port = entry.ends_with(|last: char| last.is_ascii_digit()) && !entry.ends_with(']');
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) if has_port => (host, port.parse().ok().filter(|port| *port > 0)?),
        _ => (entry, PORT),
    };
    let pattern = match host.strip_prefix("*.") {
        // A suffix of one word would be everything that a registry of names sells.
        Some(suffix) => Pattern::Below(format!(".{}", name(suffix).filter(|suffix| suffix.contains('.'))?)),
        None => Pattern::Exactly(name(host)?),
    };
    Some((pattern, port))
}

/// A host as it is compared: in lower case, without the dot at its end or the brackets around an
/// address; nothing where it is none.
pub(crate) fn name(host: &str) -> Option<String> {
    if let Some(inner) = host.strip_prefix('[') {
        let address: std::net::Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
        return Some(address.to_string());
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    (host.len() <= HOST_CHARS && host.split('.').all(is_label)).then_some(host)
}

impl Pattern {
    fn is_for(&self, host: &str) -> bool {
        match self {
            Self::Exactly(name) => name == host,
            Self::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        }
    }
}

impl Rule {
    fn is_for(&self, task: Option<TaskId>) -> bool {
        self.tasks.is_empty() || task.is_some_and(|task| self.tasks.contains(&task))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";

    fn rules() -> Rules {
        let text = format!(
            "[[group]]\nname = \"a\"\nhosts = [\"Example.org\", \"*.example.net:8443\", \"10.0.0.1:80\", \"[::1]:81\"]\n\
             [[group]]\nname = \"b\"\nhosts = [\"secret.example.org\"]\ntasks = [\"{TASK}\"]\nprivate = true\n"
        );
        Rules::parse(&text).expect("rules")
    }

    #[test]
    fn a_host_is_allowed_by_its_name_and_port_and_nothing_that_only_looks_like_it() {
        let rules = rules();
        for (host, port, is_allowed) in [
            ("example.org", 443, true),
            ("example.org", 80, false),
            ("www.example.org", 443, false),
            ("example.org.evil.com", 443, false),
            ("notexample.org", 443, false),
            ("a.example.net", 8443, true),
            ("a.b.example.net", 8443, true),
            ("example.net", 8443, false),
            ("aexample.net", 8443, false),
            ("a.example.net", 443, false),
            ("10.0.0.1", 80, true),
            ("10.0.0.2", 80, false),
            ("::1", 81, true),
        ] {
            assert_eq!(rules.allowing(host, port, None).is_some(), is_allowed, "{host}:{port}");
        }
    }

    #[test]
    fn a_rule_for_some_tasks_is_for_no_other() {
        let rules = rules();
        let (own, other) = (TASK.parse().expect("an id"), TaskId::from(uuid::Uuid::nil()));
        let group = |task| rules.allowing("secret.example.org", 443, task).map(|rule| rule.group.as_str());
        assert_eq!(group(Some(own)), Some("b"));
        assert_eq!((group(Some(other)), group(None)), (None, None));
    }

    #[test]
    fn names_are_compared_as_dns_does() {
        for (text, expected) in [
            ("GitHub.com", Some("github.com")),
            ("github.com.", Some("github.com")),
            ("[::1]", Some("::1")),
            ("[::0:1]", Some("::1")),
            ("", None),
            (".", None),
            ("a..b", None),
            ("a b", None),
            ("a/b", None),
            ("a@b", None),
            ("[::1", None),
            ("gïthub.com", None),
        ] {
            assert_eq!(name(text).as_deref(), expected, "{text}");
        }
        assert_eq!(name(&"a.".repeat(200)), None);
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
    fn the_usual_rules_are_some_and_lead_to_no_private_address() {
        let rules = Rules::usual();
        for host in ["github.com", "registry.npmjs.org", "pypi.org", "static.crates.io", "api.anthropic.com"] {
            assert!(rules.allowing(host, 443, None).is_some(), "{host}");
            assert!(rules.allowing(host, 22, None).is_none(), "{host}");
        }
        assert!(rules.0.iter().all(|rule| !rule.may_be_private && rule.tasks.is_empty()));
    }

    #[test]
    fn every_usual_group_says_where_it_is_documented() {
        let file: toml::Table = USUAL.parse().expect("TOML");
        for group in file["group"].as_array().expect("groups") {
            assert!(group["source"].as_str().is_some_and(|source| source.starts_with("https://")), "{group}");
        }
    }
}
