//! A git repository to run things in.

use std::path::{Path, PathBuf};

use crate::command_line::bare;

/// A repository in a directory of the world.
#[derive(Debug, Clone)]
pub struct Repository {
    path: PathBuf,
}

impl Repository {
    /// A repository with one commit of one file, `README.md`, on the branch `main`.
    pub async fn create(path: PathBuf) -> Self {
        std::fs::create_dir_all(&path).expect("the world's directory may be written");
        let repository = Self { path };
        repository.git(&["init", "--quiet", "--initial-branch=main"]).await;
        repository.commit(&[("README.md", "A repository to run things in.\n")]).await;
        repository
    }

    /// Writes files and commits them; gives the commit's id.
    pub async fn commit(&self, files: &[(&str, &str)]) -> String {
        for (name, text) in files {
            std::fs::write(self.path.join(name), text).expect("the world's directory may be written");
        }
        self.git(&["add", "--all"]).await;
        self.git(&["commit", "--quiet", "--message=A change"]).await;
        self.git(&["rev-parse", "HEAD"]).await.trim().to_owned()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The same as a URL.
    pub fn url(&self) -> String {
        format!("file://{}", self.path.display())
    }

    /// What git prints.
    pub async fn git(&self, arguments: &[&str]) -> String {
        let mut git = bare("git", &self.path);
        git.args(["-c", "user.name=World", "-c", "user.email=world@example.org"]).args(arguments);
        let output = git.output().await.expect("git is installed");
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("git writes text")
    }
}
