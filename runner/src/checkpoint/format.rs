//! What a checkpoint says about itself: the manifest.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use wire::id::CheckpointId;

use crate::record::Subject;

/// The version of the manifest that this build writes.
pub(crate) const VERSION: u32 = 2;

/// Everything a command left behind, measured against the commit it began with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) version: u32,
    pub(crate) checkpoint_id: CheckpointId,
    pub(crate) subject: Subject,
    pub(crate) repository: String,
    pub(crate) commit: String,
    pub(crate) created_at: DateTime<Utc>,
    /// How many files and links were changed or added.
    pub(crate) files: usize,
    /// What was deleted, by path.
    pub(crate) deleted: Vec<RelativePath>,
    /// The hash of the listing of `files`; none where there are none.
    pub(crate) listing: Option<String>,
    /// Bytes that saving took: what other checkpoints hold is not stored again.
    pub(crate) stored_bytes: u64,
    /// References of the mirror under which commits are kept that nobody pushed.
    pub(crate) unpushed: Vec<String>,
    /// Where the workspace's own repository stood, if elsewhere than at `commit`.
    #[serde(default)]
    pub(crate) head: Option<Head>,
    /// Why what was not committed is here alone, and in no commit of the mirror.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uncommitted: Option<String>,
    /// What is here alone although the rest is in a commit of the mirror, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) left: Vec<String>,
    /// Where submodules stood that were elsewhere than `commit` says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) submodules: Vec<(RelativePath, String)>,
}

/// Of a manifest of any version.
#[derive(Debug, Deserialize)]
pub(crate) struct Versioned {
    pub(crate) version: u32,
    /// What it is of, where that version says so as this one does.
    #[serde(default)]
    pub(crate) repository: Option<String>,
}

impl Manifest {
    /// Whether nothing else has all of what it holds.
    pub(crate) fn is_alone(&self) -> bool {
        self.uncommitted.is_some() || !self.left.is_empty()
    }

    /// Whether the workspace was as it had been checked out.
    pub(crate) fn is_empty(&self) -> bool {
        self.files == 0
            && self.deleted.is_empty()
            && self.unpushed.is_empty()
            && self.head.is_none()
            && self.submodules.is_empty()
    }
}

/// The HEAD of a workspace's repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) commit: String,
    /// The branch that it was on, as `refs/heads/…`.
    pub(crate) branch: Option<String>,
}

/// A path as git knows it: bytes. JSON text where they are UTF-8, a list of numbers where not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum RelativePath {
    Text(String),
    Bytes(Vec<u8>),
}

impl RelativePath {
    pub(crate) fn new(path: &Path) -> Self {
        match path.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Bytes(path.as_os_str().as_bytes().to_vec()),
        }
    }

    pub(crate) fn as_path(&self) -> &Path {
        match self {
            Self::Text(text) => Path::new(text),
            Self::Bytes(bytes) => Path::new(OsStr::from_bytes(bytes)),
        }
    }

    /// The path below a directory; nothing where it would lead out of it.
    pub(crate) fn below(&self, directory: &Path) -> Option<PathBuf> {
        let path = self.as_path();
        let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        (plain && !path.as_os_str().is_empty()).then(|| directory.join(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_keeps_its_bytes_and_stays_below_its_directory() {
        for (bytes, below) in [
            (&b"a/b"[..], true),
            (b"\xff\xfe", true),
            (b"../x", false),
            (b"a/../../x", false),
            (b"/etc/passwd", false),
            (b"", false),
        ] {
            let path = RelativePath::new(Path::new(OsStr::from_bytes(bytes)));
            let json = serde_json::to_string(&path).expect("writes");
            let back: RelativePath = serde_json::from_str(&json).expect("reads");
            assert_eq!(back.as_path().as_os_str().as_bytes(), bytes, "{json}");
            assert_eq!(back.below(Path::new("/tree")).is_some(), below, "{json}");
        }
    }
}
