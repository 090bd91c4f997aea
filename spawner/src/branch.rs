//! Names of branches and the places they lead to (pure): what is refused before git or
//! the file system hear of it.

use std::path::{Component, Path, PathBuf};

/// The longest name.
const CHARS_MAX: usize = 128;

/// A name that is safe as an argument and as a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch(String);

impl Branch {
    /// Takes letters, digits and any of `. _ - /`; git has the last word on the rest.
    pub fn parse(name: &str) -> Result<Self, String> {
        let is_plain = |character: char| character.is_ascii_alphanumeric() || "._/-".contains(character);
        if name.is_empty() || name.len() > CHARS_MAX || !name.chars().all(is_plain) {
            return Err(format!("must have 1 to {CHARS_MAX} letters, digits or any of . _ - /, such as fix/login"));
        }
        if name.starts_with('-') {
            return Err("must not begin with -, which programs take for an option".into());
        }
        Ok(Self(name.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its worktree below the directory of one agent, which must not be left.
    pub fn worktree(&self, own: &Path) -> Result<PathBuf, String> {
        let mut path = own.to_owned();
        for part in Path::new(&self.0).components() {
            match part {
                Component::Normal(part) => path.push(part),
                Component::CurDir => (),
                Component::ParentDir => return Err(self.leads_out(own, "leave out the dots")),
                Component::RootDir | Component::Prefix(_) => {
                    return Err(self.leads_out(own, "leave out the / that it begins with"));
                }
            }
        }
        if path == own {
            return Err(format!("{} names no directory", self.0));
        }
        Ok(path)
    }

    fn leads_out(&self, own: &Path, cure: &str) -> String {
        format!("{} would lead out of {}; {cure}", self.0, own.display())
    }

    /// As one part of a path.
    pub(crate) fn flat(&self) -> String {
        self.0.replace('/', "-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_letters_digits_dots_dashes_and_slashes_are_taken() {
        for name in ["main", "fix/login", "a.b_c-d/E9", &"x".repeat(CHARS_MAX)] {
            assert_eq!(Branch::parse(name).expect(name).as_str(), name);
        }
    }

    #[test]
    fn everything_that_a_shell_a_path_or_an_option_could_be_made_of_is_refused() {
        let long = "x".repeat(CHARS_MAX + 1);
        for name in [
            "", " ", "a b", "a;b", "a&b", "a|b", "$(id)", "`id`", "a\0b", "a\nb", "a'b", "a\"b", "a>b", "a*", "a~b",
            "a^b", "a:b", "a\\b", "a@b", "a{b", "ü", "-b", "--force", &long,
        ] {
            assert!(Branch::parse(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_worktree_stays_below_its_agents_directory() {
        let own = Path::new("/agents/1");
        let at = |name: &str| Branch::parse(name).expect(name).worktree(own);
        assert_eq!(at("fix/login"), Ok(PathBuf::from("/agents/1/fix/login")));
        for name in ["../../etc/passwd", "..", "a/../../b", "/etc/passwd", "a/..", ".", "./."] {
            assert!(at(name).is_err(), "{name}");
        }
        assert!(at("/a").is_err_and(|why| why.ends_with("leave out the / that it begins with")));
        assert!(at("a/../../b").is_err_and(|why| why.ends_with("leave out the dots")));
    }
}
