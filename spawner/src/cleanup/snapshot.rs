//! Snapshots: what nobody pushed, as a bundle of git's that is proven to hold it before
//! anything is removed.
//!
//! A snapshot is a directory of `.fleet-snapshots` in the repository: `work.bundle` has
//! one reference to everything, and `snapshot.json` says what it is and how to get it
//! back. What remotes have is not in it, and in a repository without remotes everything is.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use kit::Clock;
use serde::Serialize;
use wire::id::ExecutionId;

use crate::branch::Branch;
use crate::config::Config;
use crate::error::FleetError;
use crate::git::Git;
use crate::handle::{AgentHandle, Desk};

const DIRECTORY: &str = ".fleet-snapshots";
/// Whoever has no name of their own in git.
const AUTHOR: [&str; 4] = ["-c", "user.name=bifrost", "-c", "user.email=bifrost@localhost"];

/// What an agent left.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Work {
    /// The commit that the worktree stands at.
    head: String,
    /// That of the branch, where there is one.
    tip: Option<String>,
    /// The tree of what was not committed.
    pub(super) uncommitted: Option<String>,
    /// Commits that are on no other branch, no remote and under no tag.
    commits: usize,
}

impl Work {
    /// Looks at a worktree. Its own index is left as it is.
    pub(super) async fn of(tree: &Git, handle: &AgentHandle, desk: &Desk) -> Result<Self, FleetError> {
        let head = tree.text(["rev-parse", "--verify", "HEAD^{commit}"]).await?;
        let reference = format!("refs/heads/{}", handle.branch);
        let tip = tree.text(["rev-parse", "--verify", "--quiet", &reference]).await.ok();
        let index = desk.own().join("index");
        fs::remove_file(&index).ok();
        let aside = tree.clone().with("GIT_INDEX_FILE", &index);
        // With what was staged, which may be ignored otherwise.
        let own = PathBuf::from(tree.text(["rev-parse", "--path-format=absolute", "--git-path", "index"]).await?);
        match fs::copy(&own, &index) {
            Ok(_) => see_all(&aside, &own, &index, &handle.worktree).await?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                aside.bytes(["read-tree", "HEAD"], b"").await?;
            }
            Err(error) => return Err(FleetError::file(&own)(error)),
        }
        aside.bytes(["add", "--all"], b"").await?;
        let whole = aside.text(["write-tree"]).await?;
        let committed = tree.text(["rev-parse", "HEAD^{tree}"]).await?;
        refuse_repositories_within(tree, &whole, &handle.worktree).await?;
        let all: Vec<&str> = [head.as_str()].into_iter().chain(tip.as_deref()).collect();
        let commits = commits_only_here(tree, &all, &handle.branch).await?;
        Ok(Self { uncommitted: (whole != committed).then_some(whole), commits, head, tip })
    }

    /// Whether nothing would be lost with the worktree and the branch.
    pub(super) fn is_safe_elsewhere(&self) -> bool {
        self.uncommitted.is_none() && self.commits == 0
    }
}

/// Has a copy of an index see what its owner told git to pass over, and see it at the time of the original: what was
/// changed in the moment that the index was written would not show else.
async fn see_all(git: &Git, own: &Path, copy: &Path, worktree: &Path) -> Result<(), FleetError> {
    let listed = git.bytes(["ls-files", "-v", "-z"], b"").await?;
    let passed_over = |entry: &&[u8]| {
        let is_marked = entry.first().is_some_and(|tag| tag.is_ascii_lowercase() || *tag == b'S');
        // What a sparse checkout leaves out is not there to be seen.
        is_marked
            && entry.get(2..).is_some_and(|path| worktree.join(OsStr::from_bytes(path)).symlink_metadata().is_ok())
    };
    let paths: Vec<u8> =
        listed.split(|byte| *byte == 0).filter(passed_over).flat_map(|entry| [&entry[2..], b"\0"].concat()).collect();
    if !paths.is_empty() {
        for option in ["--no-assume-unchanged", "--no-skip-worktree"] {
            git.bytes(["update-index", option, "-z", "--stdin"], &paths).await?;
        }
    }
    let time = fs::metadata(own).and_then(|meta| meta.modified()).map_err(FleetError::file(own))?;
    let copied = fs::File::options().write(true).open(copy).map_err(FleetError::file(copy))?;
    copied.set_modified(time).map_err(FleetError::file(copy))
}

/// How many commits lead to these that are on no other branch, no remote and under no tag.
pub(super) async fn commits_only_here(git: &Git, from: &[&str], branch: &str) -> Result<usize, FleetError> {
    let exclude = format!("--exclude={branch}");
    let others = ["--not", &exclude, "--branches", "--remotes", "--tags"];
    let count = git.text(["rev-list", "--count"].iter().chain(from).chain(&others)).await?;
    count.trim().parse().map_err(|_| FleetError::NotSaved("git does not say how many commits there are".into()))
}

/// Of a repository within the worktree git keeps the name of a commit and nothing else.
async fn refuse_repositories_within(git: &Git, tree: &str, worktree: &Path) -> Result<(), FleetError> {
    let listed = git.text(["ls-tree", "-r", "-z", tree]).await?;
    let links =
        listed.split('\0').filter(|line| line.starts_with("160000 ")).filter_map(|line| line.split('\t').nth(1));
    let is_full = |path: &&str| fs::read_dir(worktree.join(path)).is_ok_and(|mut files| files.next().is_some());
    match links.into_iter().find(is_full) {
        Some(path) => Err(FleetError::NotSaved(format!(
            "{path} in {} is a repository of its own; push or move what is in it, and remove it",
            worktree.display()
        ))),
        None => Ok(()),
    }
}

/// What a snapshot says of itself.
#[derive(Debug, Serialize)]
struct Label<'a> {
    id: ExecutionId,
    agent: &'a str,
    branch: &'a str,
    taken_at: DateTime<Utc>,
    commit: &'a str,
    /// Whether the last commit is what was not committed.
    has_uncommitted: bool,
    commits: usize,
    get_it_back: String,
}

/// Saves it and proves that it is saved. Gives where.
pub(super) async fn take(
    config: &Config,
    handle: &AgentHandle,
    work: &Work,
    clock: &Clock,
) -> Result<PathBuf, FleetError> {
    let git = Git::at(&config.git, &handle.repository);
    let all = handle.repository.join(DIRECTORY);
    kit::files::make_private(&all).map_err(FleetError::file(&all))?;
    kit::files::read_or_create(&all.join(".gitignore"), 0o644, || "*\n".into()).map_err(FleetError::file(&all))?;
    let now = clock.now();
    let branch = Branch::parse(&handle.branch).map_err(FleetError::NotSaved)?;
    let name = format!("{}-{}-{}", now.format("%Y%m%d-%H%M%S"), branch.flat(), handle.id);
    let (finished, unfinished) = (all.join(&name), all.join(format!(".new-{name}")));
    kit::files::make_private(&unfinished).map_err(FleetError::file(&unfinished))?;
    let taken = fill(&git, handle, work, &unfinished, now).await;
    let references = [reference(handle, "work"), reference(handle, "branch")];
    for reference in &references {
        // The bundle has them now, or is of no use.
        git.bytes(["update-ref", "-d", reference], b"").await.ok();
    }
    let settled = taken.and_then(|()| {
        let moved = fs::rename(&unfinished, &finished).and_then(|()| kit::files::sync_directory(&all));
        moved.map_err(FleetError::file(&finished))
    });
    match settled {
        Ok(()) => Ok(finished),
        Err(error) => {
            fs::remove_dir_all(&unfinished).ok();
            Err(FleetError::NotSaved(error.to_string()))
        }
    }
}

fn reference(handle: &AgentHandle, what: &str) -> String {
    format!("refs/bifrost/fleet/{}/{what}", handle.id)
}

async fn fill(
    git: &Git,
    handle: &AgentHandle,
    work: &Work,
    directory: &Path,
    now: DateTime<Utc>,
) -> Result<(), FleetError> {
    let commit = match &work.uncommitted {
        Some(tree) => {
            let message = format!("Not committed by {} on {}", handle.agent, handle.branch);
            let arguments = ["commit-tree", tree, "-p", &work.head, "-m", &message];
            git.text(AUTHOR.into_iter().chain(arguments)).await?
        }
        None => work.head.clone(),
    };
    let whole = reference(handle, "work");
    let mut wanted = vec![(whole.clone(), commit.clone())];
    // A branch that the worktree has left.
    wanted
        .extend(work.tip.iter().filter(|tip| **tip != work.head).map(|tip| (reference(handle, "branch"), tip.clone())));
    for (name, commit) in &wanted {
        git.bytes(["update-ref", name, commit], b"").await?;
    }
    let bundle = directory.join("work.bundle");
    let path = bundle.to_string_lossy().into_owned();
    let names = wanted.iter().map(|(name, _)| name.as_str());
    // What a remote's main branch has stays; other branches of it go once they are merged, whatever became of their commits.
    let heads = git.text(["for-each-ref", "--format=%(refname)", "refs/remotes/*/HEAD"]).await?;
    let kept: Vec<&str> = if heads.is_empty() { vec!["--remotes"] } else { heads.lines().collect() };
    let arguments = ["bundle", "create", "--quiet", &path].into_iter().chain(names).chain(["--not"]).chain(kept);
    git.bytes(arguments, b"").await?;
    prove(git, &bundle, &wanted, &directory.join("proof")).await?;
    fs::File::open(&bundle).and_then(|file| file.sync_all()).map_err(FleetError::file(&bundle))?;
    let rescued = format!("rescued/{}", handle.branch);
    let label = Label {
        id: handle.id,
        agent: &handle.agent,
        branch: &handle.branch,
        taken_at: now,
        commit: &commit,
        has_uncommitted: work.uncommitted.is_some(),
        commits: work.commits,
        get_it_back: format!("git fetch WHERE-THIS-IS/work.bundle {whole}:refs/heads/{rescued}"),
    };
    let text = serde_json::to_vec_pretty(&label).map_err(io::Error::from);
    let label = directory.join("snapshot.json");
    let written = text.and_then(|text| kit::files::replace(&label, &text, 0o600));
    written.map_err(FleetError::file(&label))
}

/// Unpacks the bundle elsewhere and looks there for every object that remotes do not have.
async fn prove(git: &Git, bundle: &Path, wanted: &[(String, String)], scratch: &Path) -> Result<(), FleetError> {
    let format = git.text(["rev-parse", "--show-object-format"]).await?;
    let (path, bundle) = (scratch.to_string_lossy().into_owned(), bundle.to_string_lossy().into_owned());
    git.bytes(["init", "--quiet", "--bare", &format!("--object-format={format}"), &path], b"").await?;
    let alone = git.elsewhere(scratch);
    let objects = git.text(["rev-parse", "--git-path", "objects"]).await?;
    let beside = alone.clone().with("GIT_ALTERNATE_OBJECT_DIRECTORIES", &git.path(&objects));
    // Git unpacks a bundle only beside what it builds on.
    let theirs = git.text(["for-each-ref", "--format=%(objectname)", "refs/remotes"]).await?;
    let known = theirs.lines().enumerate().map(|(number, commit)| format!("create refs/known/{number} {commit}\n"));
    beside.bytes(["update-ref", "--stdin"], known.collect::<String>().as_bytes()).await?;
    let unpacked = beside.text(["bundle", "unbundle", &bundle]).await?;
    let heads: BTreeSet<&str> = unpacked.lines().filter_map(|line| line.split(' ').next()).collect();
    // One that a remote has needs no place in it.
    for (_, commit) in wanted {
        let count = git.text(["rev-list", "--count", commit, "--not", "--remotes"]).await?;
        if count != "0" && !heads.contains(commit.as_str()) {
            return Err(FleetError::NotSaved(format!("{commit} is not in the bundle")));
        }
    }
    let commits = wanted.iter().map(|(_, commit)| commit.as_str());
    let arguments = ["rev-list", "--objects", "--no-object-names"].into_iter().chain(commits);
    let objects = git.bytes(arguments.chain(["--not", "--remotes"]), b"").await?;
    let found = alone.bytes(["cat-file", "--batch-check"], &objects).await?;
    let found = String::from_utf8_lossy(&found);
    if let Some(missing) = found.lines().find(|line| line.ends_with(" missing")) {
        return Err(FleetError::NotSaved(format!("{missing} from the bundle")));
    }
    if found.lines().count() != String::from_utf8_lossy(&objects).lines().count() {
        return Err(FleetError::NotSaved("not every object could be read back".into()));
    }
    fs::remove_dir_all(scratch).map_err(FleetError::file(scratch))
}
