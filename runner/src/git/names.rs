//! What git lists with `-z` (pure).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Each name, or each line about one.
pub(crate) fn of(listed: &[u8]) -> impl Iterator<Item = &[u8]> {
    listed.split(|byte| *byte == 0).filter(|name| !name.is_empty())
}

/// A name without the mark of a directory.
pub(crate) fn path(name: &[u8]) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(name.strip_suffix(b"/").unwrap_or(name)))
}

/// What `ls-files --stage` and `ls-tree` say about a name, and the name.
pub(crate) fn entry(line: &[u8]) -> Option<(String, PathBuf)> {
    let tab = line.iter().position(|byte| *byte == b'\t')?;
    Some((String::from_utf8_lossy(&line[..tab]).into_owned(), path(&line[tab + 1..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bytes_and_what_is_said_of_them_comes_before_a_tab() {
        assert_eq!(of(b"a\0\0dir/\0b \xff\0").collect::<Vec<_>>(), [&b"a"[..], b"dir/", b"b \xff"]);
        assert_eq!(path(b"dir/"), PathBuf::from("dir"));
        let line = b"100644 0a1b 0\tb\t\xff";
        assert_eq!(entry(line), Some(("100644 0a1b 0".to_owned(), OsStr::from_bytes(b"b\t\xff").into())));
        assert_eq!(entry(b"no tab"), None);
    }
}
