//! What a reference means in a mirror (pure).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use wire::execution::Failure;

use crate::setup::NotReady;

pub(crate) mod files;

/// Where the remote's default branch is kept.
pub(super) const HEAD: &str = "refs/bifrost/head";
/// Where a reference is kept that is neither branch nor tag, such as `refs/pull/7/head`.
pub(super) const REQUESTED: &str = "refs/bifrost/requested";

const BRANCHES: &str = "refs/remotes/origin/";
const TAGS: &str = "refs/tags/";
const REFERENCE_CHARS_MAX: usize = 128;

/// What [`References::parse`] reads.
pub(super) const FORMAT: &str = "--format=%(objectname) %(objecttype) %(*objectname) %(*objecttype) %(refname)";

/// What an execution asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Whatever the remote's HEAD is.
    Default,
    /// A full commit id.
    Commit(String),
    /// A branch, a tag, or the beginning of a commit id.
    Name(String),
    /// A full reference outside branches and tags.
    Elsewhere(String),
}

impl Wanted {
    /// Sorts a reference. Row T-2.2a bounds what a name may be before anything uses it.
    pub(super) fn parse(reference: Option<&str>) -> Result<Self, NotReady> {
        let Some(name) = reference else { return Ok(Self::Default) };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
        if name.is_empty()
            || name.len() > REFERENCE_CHARS_MAX
            || name.starts_with('-')
            || name.contains("..")
            || !name.chars().all(is_plain)
        {
            return Err(NotReady::failed(
                Failure::UnknownReference,
                format!("the reference {name:?} cannot be used: letters, digits and . _ / - are taken, 128 at most"),
            ));
        }
        if matches!(name.len(), 40 | 64) && name.chars().all(|c| c.is_ascii_hexdigit()) {
            return Ok(Self::Commit(name.to_ascii_lowercase()));
        }
        let is_elsewhere = name.starts_with("refs/") && !["refs/heads/", TAGS].iter().any(|at| name.starts_with(at));
        Ok(if is_elsewhere { Self::Elsewhere(name.into()) } else { Self::Name(name.into()) })
    }

    /// What to fetch for it: all branches and tags, and what lies outside of them.
    pub(super) fn refspecs(&self) -> Vec<String> {
        let mut specs = vec![format!("+refs/heads/*:{BRANCHES}*"), format!("+{TAGS}*:{TAGS}*")];
        match self {
            Self::Default => specs.push(format!("+HEAD:{HEAD}")),
            Self::Elsewhere(name) => specs.push(format!("+{name}:{REQUESTED}")),
            Self::Commit(_) | Self::Name(_) => (),
        }
        specs
    }

    /// The name, where it may be the beginning of a commit id.
    pub(super) fn abbreviated(&self) -> Option<&str> {
        match self {
            Self::Name(name) if name.len() >= 4 && name.chars().all(|c| c.is_ascii_hexdigit()) => Some(name),
            Self::Default | Self::Commit(_) | Self::Name(_) | Self::Elsewhere(_) => None,
        }
    }
}

/// A mirror's branches and tags.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct References(BTreeMap<String, Target>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Target {
    object: String,
    /// What an annotated tag leads to.
    peeled: Option<String>,
    commit: Option<String>,
}

impl References {
    /// Reads the output of `git for-each-ref` with [`FORMAT`].
    pub(super) fn parse(listed: &[u8]) -> Self {
        let line = |line: &str| {
            // The two middle fields are empty where there is nothing to peel.
            let fields: Vec<&str> = line.splitn(5, ' ').collect();
            let [object, kind, peeled, peeled_kind, name] = fields[..] else { return None };
            let peeled = (!peeled.is_empty()).then(|| peeled.to_owned());
            let commit = match (kind, peeled_kind) {
                ("commit", _) => Some(object.to_owned()),
                ("tag", "commit") => peeled.clone(),
                _ => None,
            };
            Some((name.to_owned(), Target { object: object.to_owned(), peeled, commit }))
        };
        Self(String::from_utf8_lossy(listed).lines().filter_map(line).collect())
    }

    /// The commit that is meant: of two with one name, the branch before the tag.
    pub(super) fn resolve(&self, wanted: &Wanted) -> Option<String> {
        let commit = |name: &str| self.0.get(name)?.commit.clone();
        match wanted {
            Wanted::Default => commit(HEAD),
            Wanted::Commit(id) => Some(id.clone()),
            Wanted::Elsewhere(_) => commit(REQUESTED),
            Wanted::Name(name) => {
                let branch = name.strip_prefix("refs/heads/").unwrap_or(name);
                let tag = name.strip_prefix(TAGS).unwrap_or(name);
                commit(&format!("{BRANCHES}{branch}")).or_else(|| commit(&format!("{TAGS}{tag}")))
            }
        }
    }

    /// The branches and tags as a `packed-refs` file, for a repository that borrows this one's objects.
    pub(crate) fn packed(&self) -> String {
        let mut text = String::from("# pack-refs with: peeled fully-peeled sorted \n");
        for (name, target) in &self.0 {
            if name.starts_with(BRANCHES) || name.starts_with(TAGS) {
                writeln!(text, "{} {name}", target.object).expect("a String takes everything");
                if let Some(peeled) = &target.peeled {
                    writeln!(text, "^{peeled}").expect("a String takes everything");
                }
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTED: &str = "a1 commit   refs/bifrost/head\nb2 commit   refs/remotes/origin/both\n\
                          c3 tag d4 commit refs/tags/both\nc3 tag d4 commit refs/tags/v1\ne5 blob   refs/tags/blob\n";

    fn name(name: &str) -> Wanted {
        Wanted::parse(Some(name)).expect("usable")
    }

    #[test]
    fn names_resolve_to_commits_branches_first() {
        let references = References::parse(LISTED.as_bytes());
        for (wanted, expect) in [
            (Wanted::Default, Some("a1")),
            (name("both"), Some("b2")),
            (name("refs/tags/both"), Some("d4")),
            (name("refs/heads/both"), Some("b2")),
            (name("v1"), Some("d4")),
            (name("refs/heads/v1"), None),
            (name("blob"), None),
            (name("none"), None),
        ] {
            assert_eq!(references.resolve(&wanted).as_deref(), expect, "{wanted:?}");
        }
    }

    #[test]
    fn a_borrowing_repository_gets_the_branches_and_tags_only() {
        let packed = References::parse(
            b"a1 commit   refs/bifrost/head\nb2 commit   refs/remotes/origin/x\nc3 tag d4 commit refs/tags/v1\n",
        )
        .packed();
        assert_eq!(packed.lines().skip(1).collect::<Vec<_>>(), ["b2 refs/remotes/origin/x", "c3 refs/tags/v1", "^d4"]);
    }

    #[test]
    fn hostile_or_overlong_references_are_refused_and_commits_are_known() {
        for bad in ["", "-x", "a b", "a;b", "$(x)", "a\0b", "../../etc", "a`b", "é", &"x".repeat(129)] {
            assert!(Wanted::parse(Some(bad)).is_err(), "{bad:?}");
        }
        let id = "A".repeat(40);
        assert_eq!(name(&id), Wanted::Commit("a".repeat(40)));
        assert_eq!(name("refs/pull/7/head"), Wanted::Elsewhere("refs/pull/7/head".into()));
        assert_eq!(name("abcd12").abbreviated(), Some("abcd12"));
        assert_eq!(name("abc").abbreviated(), None);
        assert_eq!(name("feature/x.y_z-1").abbreviated(), None);
    }
}
