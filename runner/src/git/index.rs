//! What can be told of git's index without starting git (pure). Its format is that of gitformat-index(5).

use memchr::memmem;

/// The signature, the version and the number of entries.
const HEADER: usize = 12;
/// Where the size of a file is in its entry.
const SIZE: usize = 36;
/// Where an entry's flags are, behind an id of SHA-1; the third version may have more of them.
const FLAGS: usize = 60;
const EXTENDED: u16 = 0x4000;
/// As much of the flags is the length of the name, or all of it where that is longer.
const NAME_LENGTH: u16 = 0x0FFF;

/// Whether an index lists no file of this name: where it has its paths in full, the name would be in it.
pub(crate) fn names_none(index: &[u8], name: &str) -> bool {
    has_whole_paths(index) && memmem::find(index, name.as_bytes()).is_none()
}

/// How many bytes its files have together as they were checked out; nothing where that cannot be told.
pub(crate) fn size_of_files(index: &[u8]) -> Option<u64> {
    let mut entries = index.get(HEADER..).filter(|_| has_whole_paths(index))?;
    let count = u32::from_be_bytes(index[8..HEADER].try_into().ok()?);
    let mut size = 0;
    for _ in 0..count {
        size += u64::from(u32::from_be_bytes(entries.get(SIZE..SIZE + 4)?.try_into().ok()?));
        let flags = u16::from_be_bytes(entries.get(FLAGS..FLAGS + 2)?.try_into().ok()?);
        let name = FLAGS + if flags & EXTENDED == 0 { 2 } else { 4 };
        let length = memchr::memchr(0, entries.get(name..)?)?;
        // Of longer ids it would be somewhere else.
        if length.min(NAME_LENGTH.into()) != usize::from(flags & NAME_LENGTH) {
            return None;
        }
        // Each entry ends with one to eight zeros, at a multiple of eight bytes.
        let end = name + length;
        entries = entries.get((end / 8 + 1) * 8..)?;
    }
    Some(size)
}

/// From its fourth version on it has of a path only what differs from the one before.
fn has_whole_paths(index: &[u8]) -> bool {
    matches!(index, [b'D', b'I', b'R', b'C', 0, 0, 0, 2 | 3, ..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Remote;

    #[tokio::test]
    async fn an_index_is_read_unless_it_shortens_paths() {
        let files = [("src/.gitattributes", ""), ("src/lib.txt", "12345"), ("a/b/readme", "123"), ("x", "1")];
        let remote = Remote::with(&files).await;
        let index = || std::fs::read(remote.path().join(".git/index")).expect("reads");
        assert_eq!(size_of_files(&index()), Some(9));
        assert!(!names_none(&index(), ".gitattributes") && !names_none(&index(), "lib.txt"));
        assert!(names_none(&index(), "Cargo.toml"));

        let whole = index();
        assert!((0..whole.len() - 64).all(|length| size_of_files(&whole[..length]).is_none_or(|size| size <= 9)));

        // A file that is not there yet has a flag of the third version.
        std::fs::write(remote.path().join("later"), "1234567").expect("writes");
        remote.git(&["add", "--intent-to-add", "later"]).await;
        assert_eq!((index()[7], size_of_files(&index())), (3, Some(9)));

        remote.git(&["update-index", "--index-version", "4"]).await;
        assert!(!names_none(&index(), "Cargo.toml") && !names_none(b"", "Cargo.toml"));
        assert_eq!((size_of_files(&index()), size_of_files(b""), size_of_files(b"DIRC\0\0\0\x02")), (None, None, None));
    }
}
