//! The repository that is worked on: bare, packed as a host would have it, with a history long enough that a
//! clone is work. Every run makes the same.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::io::AsyncWriteExt;

/// Files that one commit changes.
const CHANGED: usize = 3;
/// Lines of a file.
const LINES: usize = 60;

/// A remote.
#[derive(Debug)]
pub(super) struct Upstream {
    directory: PathBuf,
}

impl Upstream {
    /// So many files, changed by so many commits.
    pub(super) async fn make(directory: &Path, files: usize, commits: usize) -> anyhow::Result<Self> {
        git(
            directory.parent().unwrap_or(directory),
            ["init", "--quiet", "--bare", "--initial-branch=main", "upstream"],
        )
        .await?;
        let upstream = Self { directory: directory.to_owned() };
        let mut stream = String::new();
        head(&mut stream, 0, None);
        for file in 0..files {
            content(&mut stream, file, 0);
        }
        for commit in 1..commits {
            head(&mut stream, commit, None);
            change(&mut stream, files, commit);
        }
        upstream.import(&stream).await?;
        Ok(upstream)
    }

    /// A copy of somebody's.
    pub(super) async fn copy(from: &Path, directory: &Path) -> anyhow::Result<Self> {
        let arguments = ["clone", "--quiet", "--bare", "--no-local"].map(OsStr::new);
        let arguments = arguments.into_iter().chain([from.as_os_str(), directory.as_os_str()]);
        git(directory.parent().unwrap_or(directory), arguments).await?;
        Ok(Self { directory: directory.to_owned() })
    }

    pub(super) fn url(&self) -> String {
        format!("file://{}", self.directory.display())
    }

    /// So many more commits, each of which changes a few files.
    pub(super) async fn advance(&self, commits: usize) -> anyhow::Result<()> {
        let list = git(&self.directory, ["ls-tree", "-r", "--name-only", "main"]).await?.0;
        let files: Vec<&str> = list.lines().collect();
        let count: usize = git(&self.directory, ["rev-list", "--count", "main"]).await?.0.trim().parse()?;
        let mut stream = String::new();
        for commit in count..count + commits {
            head(&mut stream, commit, (commit == count).then_some("refs/heads/main^0"));
            for file in (0..CHANGED).map(|step| files[(commit * 131 + step * 977) % files.len()]) {
                let text = format!("changed by commit {commit}\n");
                writeln!(stream, "M 100644 inline {file}\ndata {}\n{text}", text.len())?;
            }
        }
        self.import(&stream).await
    }

    async fn import(&self, stream: &str) -> anyhow::Result<()> {
        let mut command = command(&self.directory, ["fast-import", "--quiet"]);
        let mut child = command.stdin(Stdio::piped()).spawn().context("git cannot be run; install it")?;
        let mut stdin = child.stdin.take().context("its input is written once")?;
        stdin.write_all(stream.as_bytes()).await?;
        drop(stdin);
        ensure!(child.wait().await?.success(), "git fast-import failed");
        Ok(())
    }
}

fn head(stream: &mut String, commit: usize, from: Option<&str>) {
    let message = format!("commit {commit}");
    let second = 1_700_000_000 + commit;
    write!(
        stream,
        "commit refs/heads/main\ncommitter Bench <bench@example.com> {second} +0000\ndata {}\n{message}\n",
        message.len()
    )
    .expect("a String takes everything");
    if let Some(from) = from {
        writeln!(stream, "from {from}").expect("a String takes everything");
    }
}

fn change(stream: &mut String, files: usize, commit: usize) {
    (0..CHANGED).for_each(|step| content(stream, (commit * 131 + step * 977) % files, commit));
}

/// A file of plain statements, some of which a commit changes.
fn content(stream: &mut String, file: usize, commit: usize) {
    let mut text = String::new();
    for line in 0..LINES {
        let version = if line % 20 == commit % 20 { commit } else { 0 };
        let value = (file * 7_919 + line * 104_729 + version * 1_299_709) % 1_000_003;
        writeln!(text, "    let value_{line} = compute_{file}({value}, \"{:x}\");", value * 2_654_435_761)
            .expect("a String takes everything");
    }
    writeln!(stream, "M 100644 inline package-{}/src/file-{file}.rs\ndata {}\n{text}", file % 97, text.len())
        .expect("a String takes everything");
}

fn command<A: AsRef<OsStr>>(directory: &Path, arguments: impl IntoIterator<Item = A>) -> tokio::process::Command {
    let mut command = kit::process::command("git");
    command
        .current_dir(directory)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_SYSTEM", "/dev/null");
    command
}

/// Runs git; gives what it said and how long it took.
pub(super) async fn git<A: AsRef<OsStr>>(
    directory: &Path,
    arguments: impl IntoIterator<Item = A>,
) -> anyhow::Result<(String, Duration)> {
    let began = Instant::now();
    let output = command(directory, arguments).output().await.context("git cannot be run; install it")?;
    let took = began.elapsed();
    ensure!(output.status.success(), "git failed: {}", String::from_utf8_lossy(&output.stderr));
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), took))
}
