//! What one would use instead, through its command line with its defaults.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kit::process::command;
use tokio::process::Command;

/// Another program that keeps trees.
#[derive(Debug, Clone)]
pub(super) enum Peer {
    Restic(PathBuf),
    Borg(PathBuf),
    TarZstd(PathBuf),
}

impl Peer {
    /// Those that are there.
    pub(super) fn all(restic: Option<&Path>, borg: Option<&Path>, zstd: Option<&Path>) -> Vec<Self> {
        let tar = zstd.map(|program| Self::TarZstd(program.to_owned()));
        let restic = restic.map(|program| Self::Restic(program.to_owned()));
        let borg = borg.map(|program| Self::Borg(program.to_owned()));
        [tar, restic, borg].into_iter().flatten().collect()
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Restic(_) => "restic",
            Self::Borg(_) => "borg",
            Self::TarZstd(_) => "tar | zstd -3",
        }
    }

    fn repository(&self, place: &Path) -> PathBuf {
        match self {
            Self::Restic(_) => place.join("restic"),
            Self::Borg(_) => place.join("borg"),
            Self::TarZstd(_) => place.join("tar"),
        }
    }

    /// The program, with what it remembers kept in the place of the round.
    fn program(&self, program: &Path, place: &Path) -> Command {
        let mut command = command(program);
        command.env("HOME", place).env("XDG_CACHE_HOME", place.join("cache")).env("RESTIC_PASSWORD", "measured");
        command.env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes");
        command.env("BORG_RELOCATED_REPO_ACCESS_IS_OK", "yes");
        command
    }

    /// Makes an empty repository.
    pub(super) async fn prepare(&self, place: &Path) -> anyhow::Result<()> {
        let repository = self.repository(place);
        match self {
            Self::Restic(program) => {
                run(self.program(program, place).args(["init", "--quiet", "--repo"]).arg(repository)).await
            }
            Self::Borg(program) => {
                run(self.program(program, place).args(["init", "--encryption", "none"]).arg(repository)).await
            }
            Self::TarZstd(_) => Ok(fs::create_dir(repository)?),
        }
    }

    /// Saves the tree for the first time.
    pub(super) async fn save(&self, tree: &Path, place: &Path) -> anyhow::Result<Duration> {
        self.save_as("first", tree, place).await
    }

    /// Saves the tree again.
    pub(super) async fn save_again(&self, tree: &Path, place: &Path) -> anyhow::Result<Duration> {
        self.save_as("next", tree, place).await
    }

    async fn save_as(&self, name: &str, tree: &Path, place: &Path) -> anyhow::Result<Duration> {
        let repository = self.repository(place);
        let began = Instant::now();
        match self {
            Self::Restic(program) => {
                let mut backup = self.program(program, place);
                backup.current_dir(tree).args(["backup", "--quiet", "--repo"]).arg(repository);
                run(backup.args(["--tag", name, "."])).await?;
            }
            Self::Borg(program) => {
                let mut create = self.program(program, place);
                create.current_dir(tree).arg("create").arg(format!("{}::{name}", repository.display()));
                run(create.arg(".")).await?;
            }
            Self::TarZstd(program) => {
                let to = fs::File::create(repository.join(name))?;
                let mut pack = command("tar");
                pack.current_dir(tree).args(["--create", "."]).stdout(Stdio::piped());
                let mut pack = pack.spawn().context("tar cannot be started")?;
                let packed: Stdio = pack.stdout.take().context("tar gives nothing")?.try_into()?;
                let mut compress = command(program);
                run(compress.args(["--quiet", "-3"]).stdin(packed).stdout(to)).await?;
                ensure!(pack.wait().await?.success(), "tar failed");
            }
        }
        Ok(began.elapsed())
    }

    /// Writes the first state of the tree to an empty directory.
    pub(super) async fn restore(&self, place: &Path, to: &Path) -> anyhow::Result<Duration> {
        let repository = self.repository(place);
        let began = Instant::now();
        match self {
            Self::Restic(program) => {
                let mut restore = self.program(program, place);
                restore.args(["restore", "latest", "--quiet", "--tag", "first", "--repo"]).arg(repository);
                run(restore.arg("--target").arg(to)).await?;
            }
            Self::Borg(program) => {
                let mut extract = self.program(program, place);
                run(extract.current_dir(to).arg("extract").arg(format!("{}::first", repository.display()))).await?;
            }
            Self::TarZstd(program) => {
                let mut expand = command(program);
                expand.args(["--quiet", "--decompress", "--stdout"]).arg(repository.join("first"));
                let mut expand = expand.stdout(Stdio::piped()).spawn().context("zstd cannot be started")?;
                let expanded: Stdio = expand.stdout.take().context("zstd gives nothing")?.try_into()?;
                run(command("tar").current_dir(to).args(["--extract"]).stdin(expanded)).await?;
                ensure!(expand.wait().await?.success(), "zstd failed");
            }
        }
        Ok(began.elapsed())
    }

    /// Bytes of everything it keeps.
    pub(super) fn stored(&self, place: &Path) -> anyhow::Result<u64> {
        let repository = self.repository(place);
        let files = super::tree::list(&repository)?;
        files.iter().map(|path| Ok(fs::symlink_metadata(repository.join(path))?.len())).sum()
    }
}

/// Lists the tree with every file's size and time.
pub(super) async fn find(tree: &Path) -> anyhow::Result<Duration> {
    let mut find = command("find");
    find.arg(tree).args(["-printf", "%P %s %T@\n"]).stdout(Stdio::null());
    let began = Instant::now();
    run(&mut find).await?;
    Ok(began.elapsed())
}

async fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stderr(Stdio::piped()).spawn().context("a peer cannot be started")?.wait_with_output().await?;
    ensure!(output.status.success(), "a peer failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}
