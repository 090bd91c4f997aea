//! A store that has been in use for long: how fast it finds one task's events
//! among many, and how soon it is ready after a start.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use tokio::task::block_in_place;
use wire::id::TaskId;

use super::case::Case;
use super::load::{Load, Protocol};
use super::records::Source;
use super::runs::Bench;
use super::store::Store;
use crate::report::{Figure, Report, Target, Unit, milliseconds};
use crate::sample::Sample;

/// Events of each task. All tasks write in turns, so that no two events of one lie side by side.
const EACH: usize = 100;
/// Over which the store is filled, in batches.
const FILLING: Case = Case { name: "filling", connections: 16, batch: 100 };
/// Events that are prepared at once while it is filled.
const PIECE: usize = 100_000;
/// Readers at the same time.
const READERS: [usize; 3] = [1, 4, 16];
/// The one whose figures have a target: the processors are busy, and nobody waits in a queue.
const JUDGED: usize = 4;
/// Starts on what is there.
const STARTS: usize = 5;
/// Longer than any filling takes.
const NO_LIMIT: Duration = Duration::from_secs(24 * 3_600);

/// Fills a store with so many events, reads from it and restarts it; then, where there are to be
/// more, fills it up and restarts it again.
pub(crate) async fn measure(
    bench: &Bench<'_>,
    events: usize,
    more: Option<usize>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let directory = bench.new_directory()?;
    let mut source = Source::new(events.div_ceil(EACH));
    let store = Store::start(bench.program, directory.path()).await?;
    fill(bench, &store, &mut source, events, report)?;
    reads(bench, &store, &source, events, report).await?;
    store.stop().await?;
    starts(bench, directory.path(), events, report).await?;
    if let Some(more) = more.filter(|more| *more > events) {
        let store = Store::start(bench.program, directory.path()).await?;
        fill(bench, &store, &mut source, more - events, report)?;
        store.stop().await?;
        starts(bench, directory.path(), more, report).await?;
    }
    Ok(())
}

fn fill(bench: &Bench<'_>, store: &Store, source: &mut Source, events: usize, report: &Report) -> anyhow::Result<()> {
    report.say(&format!("writing {events} events"));
    block_in_place(|| {
        let mut load = Load::open(&store.protocol, store.address(), FILLING.connections, bench.generator.tasks)?;
        for from in (0..events).step_by(PIECE) {
            let records = source.records(PIECE.min(events - from));
            let requests = records.chunks(FILLING.batch).map(|some| store.protocol.request(source, some));
            let outcome = load.run(&mut requests.collect::<Vec<_>>(), NO_LIMIT)?;
            ensure!(outcome.refused == 0, "not stored: {}", outcome.refusal.unwrap_or_default());
        }
        Ok(())
    })
}

async fn reads(
    bench: &Bench<'_>,
    store: &Store,
    source: &Source,
    events: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let tasks: Vec<TaskId> = source.tasks().collect();
    let found = store.count_of(tasks[tasks.len() / 2], 1_000).await?;
    ensure!(found == EACH.min(events), "a task has {found} events and not {EACH}");
    for readers in READERS {
        let case = Case { name: "read a task's events", connections: readers, batch: 1 };
        report.say(&format!("{}, {readers} at a time", case.name));
        let mut load = block_in_place(|| Load::open(&store.protocol, store.address(), readers, bench.generator.tasks))?;
        let mut next = 0;
        let outcome = bench.generator.timed(case, |requests, limit| {
            let requests = (next..next + requests).map(|number| {
                // Far from the one before, so that no two reads in a row share much.
                let task = tasks[number.wrapping_mul(7_919) % tasks.len()];
                let target = format!("/v1/events/{task}?limit={EACH}");
                store.protocol.read(&target, &format!("read-{readers}-{number}"))
            });
            let mut requests: Vec<_> = requests.collect();
            next += requests.len();
            load.run(&mut requests, limit)
        })?;
        let speed = outcome.speed(1);
        ensure!(speed.refused == 0, "a read was refused: {}", speed.refusal.unwrap_or_default());
        report.row(&json!({ "case": case, "of_events": events, "speed": speed }))?;
        let name = format!("read {EACH} of {}, {readers} at a time", millions(events));
        let judged = readers == JUDGED;
        let target = Target { p99: judged.then_some(2.0), ..Target::default() };
        let sample = outcome.latencies.into_iter().map(milliseconds).collect();
        report.figure(Figure { name: name.clone(), unit: Unit::Milliseconds, sample, target })?;
        let target = Target { at_least: judged.then_some(10_000.0), ..Target::default() };
        let sample = [speed.per_second].into_iter().collect();
        report.figure(Figure { name, unit: Unit::PerSecond, sample, target })?;
    }
    Ok(())
}

/// What was written last is in the system's cache, as after any restart that is not the machine's.
async fn starts(bench: &Bench<'_>, data: &Path, events: usize, report: &mut Report) -> anyhow::Result<()> {
    let name = format!("start to ready, {} on disk", millions(events));
    report.say(&name);
    let mut sample = Sample::default();
    for round in 0..STARTS {
        let store = Store::start(bench.program, data).await?;
        report.row(&json!({ "measured": name, "round": round, "ms": milliseconds(store.ready_after) }))?;
        sample.take(milliseconds(store.ready_after));
        store.stop().await?;
    }
    let target = Target { p99: Some(300.0), ..Target::default() };
    report.figure(Figure { name, unit: Unit::Milliseconds, sample, target })
}

fn millions(events: usize) -> String {
    if events.is_multiple_of(1_000_000) {
        format!("{} M events", events / 1_000_000)
    } else {
        format!("{events} events")
    }
}
