//! The form in which git keeps a file, where attributes say that it is another than the one that lies in the tree.
//!
//! Git itself finds it out, with the mirror's configuration. That names no filter, so no program of a command's is run.
//! What Git LFS would keep of a file is known without its program; of what another filter would make of one, nothing
//! is, so such a file is in no commit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use kit::tasks::blocking;
use sha2::{Digest, Sha256};

use super::unfinished::{Most, NotCommitted};
use super::view::text;
use crate::checkpoint::changes::Changes;
use crate::git::{Git, GitError, Place, names};
use crate::orders::Orders;
use crate::workspace::Paths;

/// The file that says so, of the directory that it is in and all below.
const ATTRIBUTES: &str = ".gitattributes";
/// The attributes for which a file's content matters whatever it is.
const TELLING: [&str; 3] = ["filter", "ident", "working-tree-encoding"];
/// So much is looked through for line ends.
const BYTES_READ: u64 = 32 * 1024 * 1024;
const LFS: &str = "version https://git-lfs.github.com/spec/v1\n";
const LFS_POINTER_BYTES_MAX: usize = 1024;

/// What of a file goes into a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// An object of the mirror.
    Object(String),
    /// What Git LFS keeps in place of the file.
    Pointer(Vec<u8>),
    /// Nobody here can tell: this filter knows.
    Filtered(String),
}

/// Of the files that differ those that are not as they lie there. No more is kept than `most` says.
pub(super) async fn forms(
    git: &Git,
    paths: &Paths,
    changes: &Changes,
    most: Most,
) -> Result<BTreeMap<PathBuf, Form>, NotCommitted> {
    if changes.present.len() > most.files {
        return Err(NotCommitted::TooMuch(most));
    }
    let (tree, known) = (paths.tree.clone(), changes.clone());
    let suspects = blocking(move || suspects(&tree, &known)).await;
    let attributes =
        if suspects.is_empty() { BTreeMap::new() } else { attributes(git, paths, suspects.keys()).await? };
    let mut forms = BTreeMap::new();
    let mut converted = BTreeSet::new();
    for (path, has_line_ends) in suspects {
        let value = |name: &'static str| attributes.get(&(path.clone(), name)).map_or("unspecified", String::as_str);
        let is_set = |name: &'static str| !matches!(value(name), "unspecified" | "unset");
        match value("filter") {
            "unspecified" | "unset" | "set" if has_line_ends || is_set("ident") || is_set("working-tree-encoding") => {
                converted.insert(path);
            }
            "unspecified" | "unset" | "set" => (),
            "lfs" => drop(forms.insert(path, Form::Pointer(Vec::new()))),
            other => {
                let other = other.to_owned();
                forms.insert(path, Form::Filtered(other));
            }
        }
    }
    let (tree, present) = (paths.tree.clone(), changes.present.clone());
    let forms = blocking(move || {
        let plain = present.iter().filter(|path| !forms.contains_key(*path));
        let bytes = plain.map(|path| fs::symlink_metadata(tree.join(path)).map(|meta| meta.len()));
        if bytes.sum::<io::Result<u64>>()? > most.bytes {
            return Err(NotCommitted::TooMuch(most));
        }
        for (path, form) in &mut forms {
            if let Form::Pointer(pointer) = form {
                *pointer = pointer_to(&tree.join(path))?;
            }
        }
        Ok(forms)
    });
    let mut forms = forms.await?;
    forms.extend(convert(git, paths, converted).await?);
    Ok(forms)
}

/// The files of which some attribute may hold, and whether they have line ends that git may not keep. Spares git a
/// start where there is none.
fn suspects(tree: &Path, changes: &Changes) -> BTreeMap<PathBuf, bool> {
    let mut known = BTreeMap::new();
    let mut found = BTreeMap::new();
    let mut read = 0;
    for path in &changes.present {
        let says = says(tree, path.parent().unwrap_or(Path::new("")), changes, &mut known);
        let place = tree.join(path);
        let Ok(meta) = fs::symlink_metadata(&place) else { continue };
        if says == Says::Nothing || !meta.is_file() {
            continue;
        }
        read += meta.len();
        // Of much, git tells as well.
        let has_line_ends = read > BYTES_READ || fs::read(&place).is_ok_and(|text| has_line_ends(&text));
        if has_line_ends || says == Says::More {
            found.insert(path.clone(), has_line_ends);
        }
    }
    found
}

/// What the attributes of a directory, and of those above it, are about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Says {
    Nothing,
    /// Line ends at most.
    LineEnds,
    More,
}

fn says(tree: &Path, directory: &Path, changes: &Changes, known: &mut BTreeMap<PathBuf, Says>) -> Says {
    if let Some(says) = known.get(directory) {
        return *says;
    }
    let above = directory.parent().map_or(Says::Nothing, |above| says(tree, above, changes, known));
    let path = directory.join(ATTRIBUTES);
    let own = match text(&tree.join(&path)) {
        // Git goes by the one that was checked out.
        Ok(text) if text.is_empty() && changes.deleted.contains(&path) => Says::More,
        Ok(text) if text.is_empty() => Says::Nothing,
        Ok(text) if !TELLING.iter().any(|name| text.contains(name)) => Says::LineEnds,
        Ok(_) | Err(_) => Says::More,
    };
    known.insert(directory.to_owned(), above.max(own));
    above.max(own)
}

fn has_line_ends(text: &[u8]) -> bool {
    text.windows(2).any(|two| two == b"\r\n")
}

/// What git says of these files, by path and attribute.
async fn attributes(
    git: &Git,
    paths: &Paths,
    files: impl Iterator<Item = &PathBuf>,
) -> Result<BTreeMap<(PathBuf, &'static str), String>, GitError> {
    let arguments = ["check-attr", "-z", "--stdin"].into_iter().chain(TELLING);
    let told = git.run(paths.compared(), arguments, &separated(files), &Orders::none()).await?;
    let words: Vec<&[u8]> = told.split(|byte| *byte == 0).collect();
    let told = words.chunks_exact(3).filter_map(|words| {
        let name = TELLING.into_iter().find(|name| name.as_bytes() == words[1])?;
        Some(((names::path(words[0]), name), String::from_utf8_lossy(words[2]).into_owned()))
    });
    Ok(told.collect())
}

/// Has git add files to an index of its own, as it would to any.
async fn convert(git: &Git, paths: &Paths, files: BTreeSet<PathBuf>) -> Result<BTreeMap<PathBuf, Form>, NotCommitted> {
    if files.is_empty() {
        return Ok(BTreeMap::new());
    }
    let index = paths.own().join("clean-index");
    fs::copy(&paths.index, &index)?;
    // By the age of an index git knows which of its files may have been written to since in the same second.
    let age = fs::metadata(&paths.index)?.modified()?;
    File::options().append(true).open(&index)?.set_modified(age)?;
    let place = Place { index: Some(&index), ..paths.compared() };
    let arguments = ["-c", "core.compression=1", "update-index", "--add", "--replace", "-z", "--stdin"];
    git.run(place, arguments, &separated(files.iter()), &Orders::none()).await?;
    let staged = git.run(place, ["ls-files", "-z", "--stage"], b"", &Orders::none()).await?;
    fs::remove_file(&index)?;
    let object = |line: &[u8]| {
        let (about, path) = names::entry(line)?;
        let object = about.split(' ').nth(1)?.to_owned();
        files.contains(&path).then_some((path, Form::Object(object)))
    };
    Ok(names::of(&staged).filter_map(object).collect())
}

fn separated<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Vec<u8> {
    files.flat_map(|path| [path.as_os_str().as_bytes(), b"\0"].concat()).collect()
}

/// What Git LFS keeps in place of a file (its spec.md): one that is a pointer already stays one, and one without
/// content as it is.
fn pointer_to(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if size == 0 && read < LFS_POINTER_BYTES_MAX && buffer[..read].starts_with(LFS.as_bytes()) {
            buffer.truncate(read);
            return Ok(buffer);
        }
        match (read, size) {
            (0, 0) => return Ok(Vec::new()),
            (0, _) => break,
            _ => (),
        }
        hash.update(&buffer[..read]);
        size += read;
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{LFS}oid sha256:{digest}\nsize {size}\n").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_as_git_lfs_writes_it_and_is_none_of_a_pointer() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file");
        // From the specification of Git LFS, with a content that is known.
        let expect = "version https://git-lfs.github.com/spec/v1\n\
                      oid sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\nsize 5\n";
        for (content, expect) in [("hello", expect), (expect, expect), ("", "")] {
            fs::write(&path, content).expect("writes");
            assert_eq!(String::from_utf8(pointer_to(&path).expect("reads")).expect("text"), expect);
        }
    }
}
