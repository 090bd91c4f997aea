//! The environment, read once, with all problems reported together.
//!
//! A program makes one [`Vars`], takes what it needs by name, and at the end
//! asks [`Vars::finish`] whether anything was missing or could not be read.

use std::any::TypeId;
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
    pub fn or<T: FromStr + 'static>(&mut self, name: &str, default: T) -> T
    where
        T::Err: fmt::Display,
    {
        self.optional(name).unwrap_or(default)
    }

    /// The value, if set.
    pub fn optional<T: FromStr + 'static>(&mut self, name: &str) -> Option<T>
    where
        T::Err: fmt::Display,
    {
        let parsed = self.text(name)?.parse();
        // The value itself stays out of the message: it may be a secret.
        let why = |error: T::Err| expected::<T>().map_or_else(|| error.to_string(), str::to_owned);
        parsed.map_err(|error| self.problems.push(format!("{name}: {}", why(error)))).ok()
    }

    /// The value; it is a problem when it is not set.
    pub fn required<T: FromStr + 'static>(&mut self, name: &str) -> Option<T>
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

/// What a number or a switch has to be; nothing for other types, whose own errors say it.
fn expected<T: 'static>() -> Option<&'static str> {
    // Of what nobody will ever exceed, only the least is said.
    let known = [
        (TypeId::of::<bool>(), "must be true or false"),
        (TypeId::of::<f64>(), "must be a number, such as 2.5"),
        (TypeId::of::<u8>(), "must be a whole number from 0 to 255"),
        (TypeId::of::<u16>(), "must be a whole number from 0 to 65535"),
        (TypeId::of::<u32>(), "must be a whole number from 0 to 4294967295"),
        (TypeId::of::<u64>(), "must be a whole number, 0 or more"),
        (TypeId::of::<usize>(), "must be a whole number, 0 or more"),
        (TypeId::of::<i32>(), "must be a whole number from -2147483648 to 2147483647"),
        (TypeId::of::<i64>(), "must be a whole number"),
    ];
    known.into_iter().find(|(of, _)| *of == TypeId::of::<T>()).map(|(_, expected)| expected)
}

/// All that is wrong with the environment, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment is not usable:\n  {}", .0.join("\n  "))]
pub struct BadEnvironment(pub Vec<String>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_number_and_a_switch_it_is_said_what_they_have_to_be() {
        fn problem<T: FromStr<Err: fmt::Display> + 'static>(text: &str) -> String {
            let mut vars = Vars::from_pairs([("X", text)]);
            assert!(vars.optional::<T>("X").is_none());
            vars.finish().expect_err("a problem").0.concat()
        }
        assert_eq!(problem::<bool>("maybe"), "X: must be true or false");
        assert_eq!(problem::<usize>("abc"), "X: must be a whole number, 0 or more");
        assert_eq!(problem::<u64>("-4"), "X: must be a whole number, 0 or more");
        assert_eq!(problem::<u32>("-1"), "X: must be a whole number from 0 to 4294967295");
        assert_eq!(problem::<u16>("65536"), "X: must be a whole number from 0 to 65535");
        assert_eq!(problem::<i32>("1.5"), "X: must be a whole number from -2147483648 to 2147483647");
        assert_eq!(problem::<i64>("1.5"), "X: must be a whole number");
        assert_eq!(problem::<f64>("ten"), "X: must be a number, such as 2.5");
        assert_eq!(problem::<char>("ab"), "X: too many characters in string", "others say it themselves");
    }

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
