//! What a checkpoint says about itself: the manifest.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use wire::id::CheckpointId;

use crate::record::Subject;

/// The version of the manifest that this build writes.
pub(crate) const VERSION: u32 = 1;

/// Everything a command left behind, measured against the commit it began with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) version: u32,
    pub(crate) checkpoint_id: CheckpointId,
    pub(crate) subject: Subject,
    pub(crate) repository: String,
    pub(crate) commit: String,
    pub(crate) created_at: DateTime<Utc>,
    /// What was changed or added, by path.
    pub(crate) files: Vec<Saved>,
    /// What was deleted, by path.
    pub(crate) deleted: Vec<RelativePath>,
    /// Holds the contents of `files`; none where there are none.
    pub(crate) archive: Option<Archive>,
    /// References of the mirror under which commits are kept that nobody pushed.
    pub(crate) unpushed: Vec<String>,
}

/// One file or link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    pub(crate) path: RelativePath,
    #[serde(flatten)]
    pub(crate) content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Content {
    File { blake3: String, size: u64, mode: u32 },
    Link { target: RelativePath },
}

/// The archive beside the manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Archive {
    pub(crate) blake3: String,
    pub(crate) size: u64,
}

/// A path as git and tar know it: bytes. JSON text where they are UTF-8, a list of numbers where not.
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

/// Passes bytes on, and knows their hash and number in the end.
#[derive(Debug)]
pub(crate) struct Hashing<T> {
    inner: T,
    hasher: blake3::Hasher,
    size: u64,
}

impl<T> Hashing<T> {
    pub(crate) fn new(inner: T) -> Self {
        Self { inner, hasher: blake3::Hasher::new(), size: 0 }
    }

    pub(crate) fn finish(self) -> (T, String, u64) {
        (self.inner, self.hasher.finalize().to_hex().to_string(), self.size)
    }

    fn passed(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.passed(&buffer[..length]);
        Ok(length)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        let length = self.inner.write(buffer)?;
        self.passed(&buffer[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
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
