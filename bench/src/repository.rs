//! A small repository to run tasks on: one commit, three files, on this computer.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use wire::task::{NewTask, TaskSpec};

/// A repository as a task names it.
#[derive(Debug, Clone)]
pub(crate) struct Repository {
    /// Its `file` URL.
    pub(crate) url: String,
    /// Its only commit, in full, as `bifrost run` sends it.
    pub(crate) commit: String,
    /// Where it is.
    pub(crate) directory: PathBuf,
}

impl Repository {
    /// Makes one in the directory, which must not be there yet.
    pub(crate) async fn make(directory: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir(directory)?;
        for (name, text) in [("README.md", "# A small repository\n"), ("a.txt", "a\n"), ("b.txt", "b\n")] {
            std::fs::write(directory.join(name), text)?;
        }
        git(directory, ["init", "--quiet"]).await?;
        git(directory, ["add", "."]).await?;
        git(directory, ["-c", "user.name=bench", "-c", "user.email=bench@example.com", "commit", "-q", "-m", "one"])
            .await?;
        let commit = git(directory, ["rev-parse", "HEAD"]).await?;
        let url = format!("file://{}", directory.display());
        Ok(Self { url, commit: commit.trim().to_owned(), directory: directory.to_owned() })
    }

    /// A task that runs a command on it.
    pub(crate) fn task(&self, title: &str, command: Vec<String>) -> NewTask {
        let spec = TaskSpec {
            repository: self.url.clone(),
            reference: Some(self.commit.clone()),
            command,
            env: Default::default(),
            ..TaskSpec::default()
        };
        NewTask { title: title.into(), spec: Some(spec), ..NewTask::default() }
    }

    /// Makes a directory one, with some of its files; gives its URL.
    pub(crate) async fn of(directory: &Path, files: &[&str]) -> anyhow::Result<String> {
        git(directory, ["init", "--quiet"]).await?;
        git(directory, ["add"].iter().chain(files)).await?;
        git(directory, ["-c", "user.name=bench", "-c", "user.email=bench@example.com", "commit", "-q", "-m", "one"])
            .await?;
        Ok(format!("file://{}", directory.display()))
    }
}

async fn git<A: AsRef<OsStr>>(directory: &Path, arguments: impl IntoIterator<Item = A>) -> anyhow::Result<String> {
    let mut command = kit::process::command("git");
    command.current_dir(directory).args(arguments);
    for isolated in ["GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"] {
        command.env(isolated, "/dev/null");
    }
    let output = command.output().await.context("git cannot be run; install it")?;
    ensure!(output.status.success(), "git failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}
