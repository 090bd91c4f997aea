//! What `--repo` and `--ref` mean. A path becomes a `file` URL and a full commit
//! id, so that the commit a person sees is the commit that runs; a URL and its
//! ref are passed on as they are, and so is a full commit id that is not known here.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::exit::{Code, failure};

/// The longest that git may take on this computer; `status` reads the whole tree.
const DEADLINE: Duration = Duration::from_secs(60);

/// A repository and the place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// For [`wire::task::TaskSpec::repository`].
    pub(crate) repository: String,
    /// For [`wire::task::TaskSpec::reference`].
    pub(crate) reference: Option<String>,
    /// Files that are changed but not committed, and so are not part of it.
    pub(crate) uncommitted_files: usize,
}

/// Reads `--repo` and `--ref`; a relative path is seen from `directory`.
pub(crate) async fn resolve(repo: &str, reference: Option<&str>, directory: &Path) -> anyhow::Result<Source> {
    // Joined to the directory it would be that one: an unset variable would run what nobody meant.
    if repo.trim().is_empty() {
        let cure = "name a repository, or leave --repo out for the current directory";
        return Err(failure(Code::Usage, "--repo is empty", cure));
    }
    if repo.contains("://") {
        let reference = reference.map(str::to_owned);
        return Ok(Source { repository: repo.to_owned(), reference, uncommitted_files: 0 });
    }
    let path = existing(repo, directory)?;
    let place = locate(&path).await?;
    let commit = commit(&place.root, reference).await?;
    let uncommitted_files = if place.is_bare { 0 } else { uncommitted_files(&place.root).await? };
    Ok(Source { repository: file_url(&place.root)?, reference: Some(commit), uncommitted_files })
}

/// A repository on this computer.
struct Place {
    root: PathBuf,
    is_bare: bool,
}

fn existing(repo: &str, directory: &Path) -> anyhow::Result<PathBuf> {
    let path = directory.join(repo);
    match path.canonicalize() {
        Ok(path) if path.is_dir() => Ok(path),
        Ok(path) => Err(failure(
            Code::NotFound,
            format!("{} is a file, not a repository", path.display()),
            "name the directory that holds the repository with --repo",
        )),
        Err(error) => {
            let cure = match repo.split_once(':') {
                // What scp and git write for ssh, owner@host:path.
                Some((host, path)) if !host.contains('/') => {
                    format!("if it is a remote, write it as a URL: ssh://{host}/{}", path.trim_start_matches('/'))
                }
                _ => "name a directory with a git repository, or a URL such as https://github.com/owner/name".into(),
            };
            Err(failure(Code::NotFound, format!("there is no repository {repo}: {error}"), cure))
        }
    }
}

async fn locate(path: &Path) -> anyhow::Result<Place> {
    let answer = git(path, ["rev-parse", "--is-bare-repository", "--absolute-git-dir"]).await?;
    let mut lines = answer.stdout.lines();
    if answer.is_success && lines.next() == Some("true") {
        return Ok(Place { root: PathBuf::from(lines.next().unwrap_or_default()), is_bare: true });
    }
    let answer = git(path, ["rev-parse", "--show-toplevel"]).await?;
    if answer.is_success {
        return Ok(Place { root: PathBuf::from(answer.stdout.trim_end_matches('\n')), is_bare: false });
    }
    let shown = path.display();
    if answer.stderr.contains("not a git repository") {
        let cure =
            "run it inside of one, name one with --repo PATH or --repo URL, or make one: git init, git add, git commit";
        return Err(failure(Code::NotFound, format!("{shown} is not in a git repository"), cure));
    }
    let message = format!("git cannot use {shown}: {}", answer.complaint());
    Err(failure(Code::NotFound, message, "make `git status` work there first"))
}

async fn commit(root: &Path, reference: Option<&str>) -> anyhow::Result<String> {
    let name = reference.unwrap_or("HEAD");
    let unknown = || {
        let cure = "see `git branch --all` and `git tag`; what is only on a remote needs `git fetch` first";
        failure(Code::Data, format!("there is no branch, tag or commit {name:?} in {}", root.display()), cure)
    };
    // Git would read it as an option.
    if name.is_empty() || name.starts_with('-') {
        return Err(unknown());
    }
    let answer = git(root, ["rev-parse", "--verify", "--quiet", &format!("{name}^{{commit}}")]).await?;
    if answer.is_success {
        return Ok(answer.stdout.trim().to_owned());
    }
    if is_commit_id(name) && !git(root, ["cat-file", "-e", name]).await?.is_success {
        // The machine may know it all the same: work that it keeps is nowhere else.
        return Ok(name.to_ascii_lowercase());
    }
    let commits = git(root, ["rev-list", "--all", "--max-count=1"]).await?;
    if commits.stdout.trim().is_empty() {
        let cure = "commit something first: git add . && git commit";
        return Err(failure(Code::Data, format!("the repository {} has no commits yet", root.display()), cure));
    }
    Err(unknown())
}

/// Whether it is a whole id, of SHA-1 or of SHA-256, and not git's word for none.
fn is_commit_id(name: &str) -> bool {
    let is_none = name.bytes().all(|byte| byte == b'0');
    matches!(name.len(), 40 | 64) && !is_none && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

async fn uncommitted_files(root: &Path) -> anyhow::Result<usize> {
    let answer = git(root, ["status", "--porcelain", "--no-renames"]).await?;
    if !answer.is_success {
        let message = format!("git cannot tell what is uncommitted in {}: {}", root.display(), answer.complaint());
        return Err(failure(Code::Data, message, "make `git status` work there first"));
    }
    // One line for each: git quotes names with line breaks.
    Ok(answer.stdout.lines().count())
}

fn file_url(root: &Path) -> anyhow::Result<String> {
    url::Url::from_file_path(root).map(String::from).map_err(|()| {
        let message = format!("git gave a path that is not absolute: {}", root.display());
        failure(Code::Data, message, "name the repository by an absolute path with --repo")
    })
}

/// What git said.
struct Answer {
    is_success: bool,
    stdout: String,
    stderr: String,
}

impl Answer {
    /// Its own words, on one line.
    fn complaint(&self) -> String {
        crate::output::one_line(self.stderr.trim())
    }
}

async fn git<const N: usize>(directory: &Path, arguments: [&str; N]) -> anyhow::Result<Answer> {
    let mut command = kit::process::command("git");
    command.arg("-C").arg(directory).args(arguments.map(OsStr::new));
    // Inside a git hook these point at the hook's repository, whatever -C says.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_PREFIX"] {
        command.env_remove(name);
    }
    // Its words are looked at below, and looking must not lock the index.
    command.env("LC_ALL", "C").env("GIT_OPTIONAL_LOCKS", "0");
    let output = match tokio::time::timeout(DEADLINE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => {
            let cure = "install git and see that it is on the PATH";
            return Err(failure(Code::Unavailable, format!("git cannot be started: {error}"), cure));
        }
        Err(_) => {
            let message = format!("git {} took longer than {} s", arguments.join(" "), DEADLINE.as_secs());
            return Err(failure(Code::TryLater, message, "see why `git status` is slow there, or give --repo a URL"));
        }
    };
    Ok(Answer {
        is_success: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

#[cfg(test)]
mod tests;
