//! Git in a person's own repository: with that person's configuration, unlike a machine's
//! git, since the worktree is to look as if they had made it (filters, line ends, hooks).

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::ProgramError;
use crate::program;

/// A worktree of a large repository takes its time.
const WITHIN: Duration = Duration::from_secs(600);
/// Where a shell, or a hook of git's, may have left where it is.
const PLACES: [&str; 6] =
    ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"];

/// Git, seen from one directory.
#[derive(Debug, Clone)]
pub(crate) struct Git {
    program: PathBuf,
    directory: PathBuf,
    variables: Vec<(&'static str, PathBuf)>,
    configuration: Vec<String>,
}

impl Git {
    pub(crate) fn at(program: &Path, directory: &Path) -> Self {
        let (program, directory) = (program.to_owned(), directory.to_owned());
        Self { program, directory, variables: Vec::new(), configuration: Vec::new() }
    }

    /// The same in another directory.
    pub(crate) fn elsewhere(&self, directory: &Path) -> Self {
        Self { directory: directory.to_owned(), ..self.clone() }
    }

    /// A path as it names it.
    pub(crate) fn path(&self, said: &str) -> PathBuf {
        self.directory.join(said)
    }

    /// The same with a variable.
    pub(crate) fn with(mut self, name: &'static str, path: &Path) -> Self {
        self.variables.push((name, path.to_owned()));
        self
    }

    /// The same with what the file says left out of sight.
    pub(crate) fn excluding(mut self, file: &Path) -> Self {
        if file.exists() {
            self.configuration.push(format!("core.excludesFile={}", file.display()));
        }
        self
    }

    /// Its standard output.
    pub(crate) async fn bytes<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        input: &[u8],
    ) -> Result<Vec<u8>, ProgramError> {
        let mut command = kit::process::command(&self.program);
        for name in PLACES {
            command.env_remove(name);
        }
        command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C").current_dir(&self.directory);
        for (name, path) in &self.variables {
            command.env(name, path);
        }
        for setting in &self.configuration {
            command.args(["-c", setting]);
        }
        command.args(arguments);
        program::run(&mut command, input, WITHIN).await
    }

    /// Its standard output as text, without the last line's end.
    pub(crate) async fn text<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<String, ProgramError> {
        let bytes = self.bytes(arguments, b"").await?;
        Ok(String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned())
    }

    /// Whether it says yes.
    pub(crate) async fn agrees<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<bool, ProgramError> {
        match self.bytes(arguments, b"").await {
            Ok(_) => Ok(true),
            Err(ProgramError::Failed { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether there is such a branch.
    pub(crate) async fn has_branch(&self, name: &str) -> Result<bool, ProgramError> {
        self.agrees(["show-ref", "--verify", "--quiet", &format!("refs/heads/{name}")]).await
    }
}
