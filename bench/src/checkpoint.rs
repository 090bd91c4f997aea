//! Checkpoints, measured on a tree as large as a real project with its dependencies: the first one, the next
//! one after a few files changed, and putting the tree back; beside restic, borg, and tar with zstd, in turns.
//!
//! What is measured of ours is what `bifrost up` says of the phases of its tasks ([`product`]), and beside it the package
//! alone that the runner keeps checkpoints with, listing of the tree included. Ours is on disk (synced) before it counts;
//! so are restic's and borg's; tar's is not.

mod peers;
mod product;
mod tree;
pub(crate) use product::change;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use clap::Args;
use kit::Tasks;
use serde_json::json;
use snapshot::{Listing, Store};

use self::peers::Peer;
use crate::memory::megabytes;
use crate::report::{Figure, Report, Target, Unit, milliseconds};
use crate::sample::Sample;

/// Files that change between two checkpoints.
const CHANGED: usize = 50;

/// What to measure, and how often.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The `bifrost` to measure, from a release build
    #[arg(long, value_name = "FILE")]
    bifrost: PathBuf,
    /// Where the tree and the stores are made; not a file system in memory [default: beside this program]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// A tree to copy, in place of one that is made
    #[arg(long, value_name = "DIR")]
    tree: Option<PathBuf>,
    /// Files of the tree that is made
    #[arg(long, value_name = "N", default_value_t = 30_000)]
    files: usize,
    /// Megabytes of the tree that is made
    #[arg(long, value_name = "MB", default_value_t = 400)]
    megabytes: usize,
    /// How often
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: usize,
    /// The `restic` to compare with
    #[arg(long, value_name = "FILE")]
    restic: Option<PathBuf>,
    /// The `borg` to compare with
    #[arg(long, value_name = "FILE")]
    borg: Option<PathBuf>,
    /// The `zstd` to compare with, behind `tar`
    #[arg(long, value_name = "FILE")]
    zstd: Option<PathBuf>,
}

/// One operation of one system.
struct Measured {
    what: What,
    who: &'static str,
    sample: Sample,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    First,
    Listing,
    Next,
    Restore,
    Rewind,
    Stored,
}

impl What {
    const fn name(self) -> &'static str {
        match self {
            Self::First => "first checkpoint",
            Self::Listing => "listing the tree",
            Self::Next => "next checkpoint, 50 files changed",
            Self::Restore => "full restore",
            Self::Rewind => "rewind in place, 50 files changed",
            Self::Stored => "stored",
        }
    }
}

/// What a task meets.
const OURS: &str = "bifrost";
/// What shows every file's name, size and time: no checkpoint can do without as much.
const FIND: &str = "find";
/// What of that is the store of trees.
const PACKAGE: &str = "bifrost, the package alone";

/// Measures everything and prints it.
pub(crate) async fn measure(arguments: &Arguments, tasks: &Tasks, report: &mut Report) -> anyhow::Result<()> {
    let beside = std::env::current_exe()?.parent().map(Path::to_owned).context("this program is nowhere")?;
    let directory = tempfile::tempdir_in(arguments.directory.as_deref().unwrap_or(&beside))?;
    let tree = directory.path().join("tree");
    report.say("making the tree");
    match &arguments.tree {
        Some(from) => tree::copy(from, &tree)?,
        None => tree::make(&tree, arguments.files, arguments.megabytes * 1_000_000)?,
    }
    let peers = Peer::all(arguments.restic.as_deref(), arguments.borg.as_deref(), arguments.zstd.as_deref());
    let mut found = Vec::new();
    for round in 0..arguments.rounds {
        report.say(&format!("checkpoints: round {} of {}", round + 1, arguments.rounds));
        let place = directory.path().join(format!("round-{round}"));
        fs::create_dir(&place)?;
        let product = product::round(&arguments.bifrost, &place, &tree, tasks).await?;
        let others = rounds(&tree, &place, &peers).await?;
        for (what, who, value) in product.into_iter().chain(others) {
            report.row(&json!({ "measured": what.name(), "of": who, "round": round, "value": value }))?;
            take(&mut found, what, who, value);
        }
        fs::remove_dir_all(&place)?;
    }
    figures(&found, report)?;
    Ok(report.finish()?)
}

/// One round: everybody does the same, one after the other.
async fn rounds(tree: &Path, place: &Path, peers: &[Peer]) -> anyhow::Result<Vec<(What, &'static str, f64)>> {
    let mut found = Vec::new();
    let store = Store::new(&place.join("store"))?;
    let listed = place.join("listing");
    quiet();
    let (first, took) = timed(|| checkpoint(&store, tree, None, &listed))?;
    found.push((What::First, PACKAGE, milliseconds(took)));
    found.push((What::Stored, PACKAGE, megabytes(store.bytes()? + fs::metadata(&listed)?.len())));
    for peer in peers {
        peer.prepare(place).await?;
        quiet();
        found.push((What::First, peer.name(), milliseconds(peer.save(tree, place).await?)));
        found.push((What::Stored, peer.name(), megabytes(peer.stored(place)?)));
    }
    tree::change(tree, CHANGED)?;
    quiet();
    let (_, took) = timed(|| checkpoint(&store, tree, Some(&first), &place.join("listing-next")))?;
    found.push((What::Next, PACKAGE, milliseconds(took)));
    quiet();
    found.push((What::Listing, FIND, milliseconds(peers::find(tree).await?)));
    for peer in peers {
        quiet();
        found.push((What::Next, peer.name(), milliseconds(peer.save_again(tree, place).await?)));
    }
    quiet();
    let (restored, took) = timed(|| Ok(store.restore(&mut first.clone(), tree)?))?;
    ensure!(restored.written == CHANGED, "the rewind wrote {} files", restored.written);
    found.push((What::Rewind, PACKAGE, milliseconds(took)));
    let full = place.join("full");
    fs::create_dir(&full)?;
    quiet();
    found.push((What::Restore, PACKAGE, milliseconds(timed(|| Ok(store.restore(&mut first.clone(), &full)?))?.1)));
    fs::remove_dir_all(&full)?;
    for peer in peers {
        fs::create_dir(&full)?;
        quiet();
        found.push((What::Restore, peer.name(), milliseconds(peer.restore(place, &full).await?)));
        fs::remove_dir_all(&full)?;
    }
    Ok(found)
}

/// As the runner does: list the tree, save what is there, write down what that is.
fn checkpoint(store: &Store, tree: &Path, base: Option<&Listing>, listed: &Path) -> anyhow::Result<Listing> {
    let saved = store.save(tree, &tree::list(tree)?, base)?;
    saved.listing.write(listed)?;
    Ok(saved.listing)
}

fn timed<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<(T, Duration)> {
    let began = Instant::now();
    let value = work()?;
    Ok((value, began.elapsed()))
}

/// What the last one left to be written is not the next one's work.
fn quiet() {
    nix::unistd::sync();
}

fn take(found: &mut Vec<Measured>, what: What, who: &'static str, value: f64) {
    match found.iter_mut().find(|measured| measured.what == what && measured.who == who) {
        Some(measured) => measured.sample.take(value),
        None => found.push(Measured { what, who, sample: [value].into_iter().collect() }),
    }
}

/// How many times ours the other's is to be; what is not named here is shown only.
fn wanted(what: What, who: &str) -> Option<f64> {
    match (what, who) {
        (What::First, "restic") => Some(2.0),
        (What::First, "tar | zstd -3") => Some(1.2),
        (What::Stored, "restic") => Some(1.0),
        (What::Next, "restic" | "borg") => Some(5.0),
        (What::Restore, _) => Some(10.0),
        _ => None,
    }
}

fn figures(found: &[Measured], report: &mut Report) -> anyhow::Result<()> {
    for what in [What::First, What::Listing, What::Next, What::Rewind, What::Restore, What::Stored] {
        let unit = if what == What::Stored { Unit::Megabytes } else { Unit::Milliseconds };
        for Measured { who, sample, .. } in found.iter().filter(|measured| measured.what == what) {
            let name = format!("{}, {who}", what.name());
            report.figure(Figure { name, unit, sample: sample.clone(), target: Target::default() })?;
        }
    }
    for Measured { what, who, sample } in found {
        // A full restore is what one would do in place of a rewind.
        let ours = if *what == What::Restore { What::Rewind } else { *what };
        // What is stored is the package's in any case.
        let whose = if *what == What::Stored { PACKAGE } else { OURS };
        let Some(ours) = found.iter().find(|measured| measured.what == ours && measured.who == whose) else { continue };
        if [OURS, PACKAGE].contains(who) && *what != What::Restore {
            continue;
        }
        let name = match what {
            What::Restore => format!("full restore of {who} against our rewind"),
            _ => format!("{}, {who} against ours", what.name()),
        };
        let target = Target { at_least: wanted(*what, who), ..Target::default() };
        report.figure(Figure { name, unit: Unit::Times, sample: sample.over(&ours.sample), target })?;
    }
    Ok(())
}
