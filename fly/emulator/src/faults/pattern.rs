//! Pure: names with stars in them.

use serde::Deserialize;

/// A name in which `*` stands for anything, also for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Pattern(String);

impl Pattern {
    pub(super) fn matches(&self, name: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else { return self.0 == name };
        let Some(mut name) = name.strip_prefix(first) else { return false };
        let mut parts: Vec<&str> = rest.split('*').collect();
        let last = parts.pop().unwrap_or_default();
        // The earliest place for each part leaves the most room for those behind it.
        for part in parts {
            let Some(at) = name.find(part) else { return false };
            name = &name[at + part.len()..];
        }
        name.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, expected) in [
            ("runner", "runner", true),
            ("runner", "runner-1", false),
            ("*", "", true),
            ("run*", "runner", true),
            ("run*", "prune", false),
            ("*-1", "runner-1", true),
            ("*-1", "runner-12", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c", false),
            ("ab*b", "ab", false),
            ("ü*", "über", true),
        ] {
            assert_eq!(Pattern(pattern.to_owned()).matches(name), expected, "{pattern} {name}");
        }
    }
}
