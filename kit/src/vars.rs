//! The environment, read once, with all problems reported together.
//!
//! A program makes one [`Vars`], takes what it needs by name, and at the end
//! asks [`Vars::finish`] whether anything was missing or could not be read.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// A snapshot of the environment and what was found wrong with it.
#[derive(Clone, Default)]
pub struct Vars {
    values: BTreeMap<String, String>,
    problems: Vec<String>,
}

/// Names only: a value may be a secret.
impl fmt::Debug for Vars {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vars").field("names", &self.values.keys()).field("problems", &self.problems).finish()
    }
}

impl Vars {
    /// The process's own environment; what is not UTF-8 is left out.
    pub fn from_process() -> Self {
        let values =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self { values: values.collect(), problems: Vec::new() }
    }

    /// Given values, for tests and for programs that compose others.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        let values = pairs.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self { values: values.collect(), problems: Vec::new() }
    }

    /// The same with some values set anew: for a program that composes others.
    #[must_use]
    pub fn with<K: Into<String>, V: Into<String>>(mut self, pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        self.values.extend(pairs.into_iter().map(|(name, value)| (name.into(), value.into())));
        self
    }

    /// The text, if set and not empty.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The value, or the default where it is not set.
    pub fn or<T: FromStr>(&mut self, name: &str, default: T) -> T
    where
        T::Err: fmt::Display,
    {
        self.optional(name).unwrap_or(default)
    }

    /// The value, if set.
    pub fn optional<T: FromStr>(&mut self, name: &str) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        let parsed = self.text(name)?.parse();
        // The value itself stays out of the message: it may be a secret.
        parsed.map_err(|error| self.problems.push(format!("{name}: {error}"))).ok()
    }

    /// The value; it is a problem when it is not set.
    pub fn required<T: FromStr>(&mut self, name: &str) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        if self.text(name).is_none() {
            self.problems.push(format!("{name}: is not set"));
        }
        self.optional(name)
    }

    /// Notes a problem that only the caller can see.
    pub fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    /// Everything that was wrong, or nothing.
    pub fn finish(self) -> Result<(), BadEnvironment> {
        if self.problems.is_empty() { Ok(()) } else { Err(BadEnvironment(self.problems)) }
    }
}

/// All that is wrong with the environment, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment is not usable:\n  {}", .0.join("\n  "))]
pub struct BadEnvironment(pub Vec<String>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_problems_are_reported_together_and_without_values() {
        let mut vars = Vars::from_pairs([("PORT", "hunter2"), ("EMPTY", ""), ("RATE", "5")]);
        assert_eq!(vars.or("RATE", 1), 5);
        assert_eq!(vars.or("EMPTY", 3), 3);
        assert_eq!(vars.or("PORT", 80_u16), 80);
        assert_eq!(vars.required::<String>("URL"), None);
        let error = vars.finish().expect_err("two problems").to_string();
        assert!(error.contains("PORT: ") && error.contains("URL: is not set"), "{error}");
        assert!(!error.contains("hunter2"));
    }
}
