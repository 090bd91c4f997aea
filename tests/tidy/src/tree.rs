//! The repository as a list of files, and what can be wrong with one.
//!
//! Build output, the data directory of a local system and hidden state are not
//! part of it; files git has not seen yet are.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

/// What a build or a running system leaves behind.
const NOT_OURS: [&str; 5] = [".git", "target", ".bifrost", ".fly", "node_modules"];

/// Kinds of files whose text some rule reads.
const READ: [&str; 5] = ["rs", "sql", "toml", "md", "js"];

/// One file, its path relative to the repository's root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// With `/` between its parts.
    pub path: String,
    /// Empty for kinds that no rule reads.
    pub text: String,
}

impl File {
    /// The last part of the path.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The name without its last extension.
    pub fn stem(&self) -> &str {
        self.name().rsplit_once('.').map_or(self.name(), |(stem, _)| stem)
    }

    /// The parts of the path before the name.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        self.path.rsplit_once('/').map_or("", |(folders, _)| folders).split('/')
    }

    /// Whether the name ends in this extension.
    pub fn is(&self, extension: &str) -> bool {
        self.name().rsplit_once('.').is_some_and(|(_, found)| found == extension)
    }
}

/// All files of the repository, by path.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree(Vec<File>);

impl Tree {
    /// Reads the repository under `root`.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        collect(root, "", &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self(files))
    }

    /// A tree of given paths and texts.
    pub fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| File { path: (*path).into(), text: (*text).into() }).collect())
    }

    /// Every file.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.0.iter()
    }

    /// The files of one kind.
    pub fn of_kind<'a>(&'a self, extension: &'a str) -> impl Iterator<Item = &'a File> {
        self.files().filter(move |file| file.is(extension))
    }

    /// The file at this path.
    pub fn file(&self, path: &str) -> Option<&File> {
        self.files().find(|file| file.path == path)
    }

    /// Whether a file or a folder has this path; the empty path is the root.
    pub fn has(&self, path: &str) -> bool {
        path.is_empty()
            || self
                .files()
                .any(|file| file.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }
}

fn collect(folder: &Path, prefix: &str, files: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if NOT_OURS.contains(&name.as_str()) {
            continue;
        }
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &path, files)?;
        } else {
            let mut file = File { path, text: String::new() };
            if READ.iter().any(|extension| file.is(extension)) || file.name().starts_with("Dockerfile.") {
                file.text = fs::read_to_string(entry.path())?;
            }
            files.push(file);
        }
    }
    Ok(())
}

/// A place that breaks a rule, and the cure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offence {
    path: String,
    line: Option<usize>,
    cure: String,
}

impl Offence {
    /// Something about a file as a whole.
    pub fn in_file(path: &str, cure: impl Into<String>) -> Self {
        Self { path: path.into(), line: None, cure: cure.into() }
    }

    /// Something at a line, counted from one.
    pub fn at(path: &str, line: usize, cure: impl Into<String>) -> Self {
        Self { path: path.into(), line: Some(line), cure: cure.into() }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path, self.cure),
            None => write!(f, "{}: {}", self.path, self.cure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_there_when_it_is_a_file_or_a_folder_of_one() {
        let tree = Tree::of(&[("docs/adr/one.md", "")]);
        for path in ["", "docs", "docs/adr", "docs/adr/one.md"] {
            assert!(tree.has(path), "{path}");
        }
        for path in ["doc", "docs/ad", "docs/adr/one", "one.md"] {
            assert!(!tree.has(path), "{path}");
        }
    }

    #[test]
    fn an_offence_prints_where_it_is_so_that_an_editor_can_go_there() {
        assert_eq!(Offence::at("a/b.rs", 7, "do this").to_string(), "a/b.rs:7: do this");
        assert_eq!(Offence::in_file("a/b.rs", "do this").to_string(), "a/b.rs: do this");
    }
}
