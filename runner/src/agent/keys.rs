//! Keys: what agents authenticate with at their makers' APIs (pure).
//!
//! They are the machine's, not the task's: no task, event or database of the control plane has them. An agent is
//! given those that its driver names, and nothing else that runs is given any.

use std::collections::BTreeMap;
use std::fmt;

use kit::Vars;

use super::driver::{Driver, Drivers};

/// The keys that a machine has, by the variable that an agent looks for.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Keys(BTreeMap<String, String>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Keys {
    /// Those that an environment has of what these agents look for.
    pub fn of_environment(vars: &Vars, drivers: &Drivers) -> Self {
        Self(drivers.keys().filter_map(|name| Some((name.to_owned(), vars.text(name)?.to_owned()))).collect())
    }

    /// These, and those of a file with one `NAME=VALUE` in a line, which win. Says what is wrong with it, and nothing of
    /// what is in it.
    pub(crate) fn and(mut self, text: &str, drivers: &Drivers) -> Result<Self, String> {
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (name, value) = line
                .split_once('=')
                .map(|(name, value)| (name.trim(), value.trim()))
                .filter(|(name, value)| !name.is_empty() && !value.is_empty())
                .ok_or_else(|| format!("line {number} is no key; write NAME=VALUE"))?;
            if !drivers.keys().any(|known| known == name) {
                let problem = "line {number} is a key that no agent looks for; name it in `keys` of an agent in the file \
                               of BIFROST_AGENTS";
                return Err(problem.replace("{number}", &number.to_string()));
            }
            self.0.insert(name.to_owned(), value.to_owned());
        }
        Ok(self)
    }

    /// Those that one agent is given.
    pub fn of(&self, driver: &Driver) -> BTreeMap<String, String> {
        let has = |name: &String| Some((name.clone(), self.0.get(name)?.clone()));
        driver.keys.iter().filter_map(has).collect()
    }

    /// What nobody is to be told.
    pub(crate) fn values(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_agent_is_given_its_own_keys_and_no_others() {
        let drivers = Drivers::built_in();
        let names = ["ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN", "CODEX_API_KEY", "GEMINI_API_KEY", "GITHUB_TOKEN"];
        let vars = Vars::from_pairs(names.map(|name| (name, "hunter2")));
        let keys = Keys::of_environment(&vars, &drivers);
        for (agent, expect) in [
            ("claude_code", &["ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"][..]),
            ("codex", &["CODEX_API_KEY"]),
            ("gemini", &["GEMINI_API_KEY"]),
            ("opencode", &["ANTHROPIC_API_KEY"]),
            ("mock", &[]),
        ] {
            let given = keys.of(drivers.get(agent).expect("known"));
            assert_eq!(given.keys().map(String::as_str).collect::<Vec<_>>(), expect, "{agent}");
        }
        let shown = format!("{keys:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("GITHUB_TOKEN"), "{shown}");
    }

    #[test]
    fn a_file_adds_keys_and_what_is_wrong_in_it_is_said_without_them() {
        let drivers = Drivers::built_in();
        let vars = Vars::from_pairs([("CODEX_API_KEY", "old"), ("GEMINI_API_KEY", "kept")]);
        let keys = Keys::of_environment(&vars, &drivers);
        let keys = keys.and("# mine\n\n CODEX_API_KEY = a=b \n", &drivers).expect("reads");
        assert_eq!(keys.values().collect::<Vec<_>>(), ["a=b", "kept"]);
        for (text, expect) in [
            ("hunter2", "line 1 is no key; write NAME=VALUE"),
            ("\nCODEX_API_KEY=\n", "line 2 is no key"),
            ("hunter2=hunter2", "line 1 is a key that no agent looks for; name it in `keys`"),
        ] {
            let complaint = Keys::default().and(text, &drivers).expect_err("refused");
            assert!(complaint.starts_with(expect) && !complaint.contains("hunter2"), "{complaint}");
        }
    }
}
