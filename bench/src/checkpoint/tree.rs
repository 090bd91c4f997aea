//! The tree that is saved: made of words, so that it compresses about as source code does, and the same in
//! every run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Words that the files are made of.
const WORDS: usize = 4_000;

/// Steps of a plain generator: what matters is that every run makes the same tree.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        // SplitMix64, https://prng.di.unimi.it/splitmix64.c
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or(0)
    }
}

/// Makes a tree of so many files that hold so many bytes together, few of them large.
pub(super) fn make(tree: &Path, files: usize, bytes: usize) -> io::Result<()> {
    let mut numbers = Numbers(1);
    let words: Vec<String> = (0..WORDS).map(|_| word(&mut numbers)).collect();
    let mean = bytes / files.max(1);
    for number in 0..files {
        let directory = tree.join(format!("package-{}", number / 60)).join(format!("src-{}", number % 7));
        fs::create_dir_all(&directory)?;
        // Half of the files are far below the mean, and one in twenty far above it.
        let length = match number % 20 {
            0 => mean * 10,
            1..=9 => mean * 8 / 10,
            _ => mean * 28 / 100,
        };
        fs::write(directory.join(format!("file-{number}.rs")), text(&mut numbers, &words, length))?;
    }
    Ok(())
}

fn word(numbers: &mut Numbers) -> String {
    let length = 2 + numbers.below(9);
    (0..length).map(|_| char::from(b'a' + u8::try_from(numbers.below(26)).unwrap_or(0))).collect()
}

fn text(numbers: &mut Numbers, words: &[String], length: usize) -> String {
    let mut text = String::with_capacity(length + 64);
    while text.len() < length {
        text.extend(std::iter::repeat_n(' ', numbers.below(4) * 4));
        for _ in 0..3 + numbers.below(8) {
            // The product of two makes some words far more frequent than others, as they are.
            let at = numbers.below(words.len()) * numbers.below(words.len()) / words.len();
            text.push_str(&words[at]);
            text.push([' ', '(', ')', '.', ';', ','][numbers.below(6)]);
        }
        text.push('\n');
    }
    text.truncate(length);
    text
}

/// Copies files and links.
pub(super) fn copy(from: &Path, tree: &Path) -> io::Result<()> {
    for relative in list(from)? {
        let (source, target) = (from.join(&relative), tree.join(&relative));
        fs::create_dir_all(target.parent().unwrap_or(tree))?;
        if fs::symlink_metadata(&source)?.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(&source)?, &target)?;
        } else {
            fs::copy(&source, &target)?;
        }
    }
    Ok(())
}

/// Every file and link, in order.
pub(super) fn list(tree: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(tree.join(&directory))? {
            let entry = entry?;
            let (relative, kind) = (directory.join(entry.file_name()), entry.file_type()?);
            if kind.is_dir() {
                directories.push(relative);
            } else if kind.is_file() || kind.is_symlink() {
                found.push(relative);
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Changes so many files all over the tree, as an editor does: a new file in the old one's place.
pub(super) fn change(tree: &Path, count: usize) -> io::Result<()> {
    let mut files = list(tree)?;
    files.retain(|path| fs::symlink_metadata(tree.join(path)).is_ok_and(|meta| meta.is_file()));
    for number in 0..count {
        let path = tree.join(&files[number * files.len() / count]);
        let beside = path.with_extension("changed");
        let mut content = fs::read(&path)?;
        content.extend_from_slice(b"// changed\n");
        fs::write(&beside, content)?;
        fs::set_permissions(&beside, fs::metadata(&path)?.permissions())?;
        fs::rename(&beside, &path)?;
    }
    Ok(())
}
