//! Which events a task has: the index of the log by task.
//!
//! An ordinary index has a place for every task, and each event dirties the page of its
//! task's place: with hundreds of tasks at work that is a page for each event, three times
//! what the event itself takes. So the places of a task's newest events stay in memory and
//! come to disk as one run, in the transaction of the event that makes the run long enough,
//! or old enough.
//!
//! Nothing is lost with the memory: every event older than [`WINDOW`] is in a run, so opening
//! the log reads what is younger. What is in a run is no longer here.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension, params};
use uuid::Uuid;
use wire::id::TaskId;

use super::entry::uuid;

/// The length at which a run goes to disk.
const RUN: usize = 64;
/// The most events in one row; one transaction may have far more of a task.
const RUN_MOST: usize = 1_024;
/// An event that has so many behind it is in a run, however short.
const WINDOW: u64 = 16_384;

/// The newest places of every task, none of them on disk.
#[derive(Debug, Default)]
pub(super) struct Postings {
    tasks: HashMap<TaskId, Vec<u64>, RandomState>,
    /// Each task since the oldest of its places here, oldest first. Some have gone to disk since.
    since: VecDeque<(u64, TaskId)>,
}

/// Shared by the writer and the readers.
pub(super) fn lock(postings: &Mutex<Postings>) -> MutexGuard<'_, Postings> {
    postings.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Places of one task, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) task: TaskId,
    pub(super) places: Vec<u64>,
}

/// The events of one transaction: new places, and the runs that go to disk with it.
#[derive(Debug, Default)]
pub(super) struct Change {
    new: HashMap<TaskId, Vec<u64>, RandomState>,
    pub(super) runs: Vec<Run>,
}

impl Postings {
    /// What the database's index does not hold.
    pub(super) fn load(connection: &Connection, newest: u64) -> rusqlite::Result<Self> {
        const YOUNG: &str = "SELECT task_id, seq FROM events WHERE seq > ?1 AND task_id IS NOT NULL ORDER BY seq";
        const INDEXED: &str = "SELECT coalesce(max(last), 0) FROM runs WHERE task_id = ?1";
        let mut indexed = HashMap::<TaskId, u64, RandomState>::default();
        let mut new = Vec::new();
        let (mut young, mut last) = (connection.prepare(YOUNG)?, connection.prepare(INDEXED)?);
        let mut rows = young.query([newest.saturating_sub(WINDOW)])?;
        while let Some(row) = rows.next()? {
            let (id, place): (Uuid, u64) = (uuid(row.get_ref(0)?)?, row.get(1)?);
            let indexed = match indexed.entry(id.into()) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(unknown) => *unknown.insert(last.query_row([id.as_bytes()], |row| row.get(0))?),
            };
            if place > indexed {
                new.push((TaskId::from(id), place));
            }
        }
        let mut postings = Self::default();
        postings.add(group(new));
        Ok(postings)
    }

    /// What these new places change, when the newest event of all is at `newest`. Changes nothing yet.
    pub(super) fn plan(&self, new: Vec<(TaskId, u64)>, newest: u64) -> Change {
        let new = group(new);
        let is_old = |place: u64| place + WINDOW <= newest;
        let mut runs = Vec::new();
        for (task, places) in &new {
            let before = self.of(*task);
            let oldest = before.first().or(places.first());
            if before.len() + places.len() >= RUN || oldest.is_some_and(|oldest| is_old(*oldest)) {
                let all: Vec<u64> = before.iter().chain(places).copied().collect();
                runs.extend(all.chunks(RUN_MOST).map(|places| Run { task: *task, places: places.to_vec() }));
            }
        }
        for (oldest, task) in self.since.iter().take_while(|(oldest, _)| is_old(*oldest)) {
            // What was added since has its run already, and what went to disk since is not here.
            if !new.contains_key(task) && self.of(*task).first() == Some(oldest) {
                runs.push(Run { task: *task, places: self.of(*task).to_vec() });
            }
        }
        Change { new, runs }
    }

    /// Carries out a planned change, whose transaction was committed.
    pub(super) fn apply(&mut self, change: Change) {
        self.add(change.new);
        for run in &change.runs {
            self.tasks.remove(&run.task);
        }
        while let Some((oldest, task)) = self.since.front()
            && self.of(*task).first() != Some(oldest)
        {
            self.since.pop_front();
        }
    }

    /// Forgets the places of events that were deleted.
    pub(super) fn forget(&mut self, through: u64) {
        if through > 0 {
            self.tasks.retain(|_, places| {
                places.retain(|place| *place > through);
                !places.is_empty()
            });
            let tasks = &self.tasks;
            let oldest = |task: &TaskId| tasks.get(task).and_then(|places| places.first()).copied();
            let mut since: Vec<_> =
                self.since.iter().filter_map(|(_, task)| oldest(task).map(|oldest| (oldest, *task))).collect();
            since.sort_unstable_by_key(|(oldest, _)| *oldest);
            since.dedup();
            self.since = since.into();
        }
    }

    /// The task's places here, oldest first.
    pub(super) fn of(&self, task: TaskId) -> &[u64] {
        self.tasks.get(&task).map_or(&[], Vec::as_slice)
    }

    fn add(&mut self, new: HashMap<TaskId, Vec<u64>, RandomState>) {
        let mut begun: Vec<(u64, TaskId)> = Vec::new();
        for (task, places) in new {
            let known = self.tasks.entry(task).or_default();
            if let (true, Some(first)) = (known.is_empty(), places.first()) {
                begun.push((*first, task));
            }
            known.extend(places);
        }
        begun.sort_unstable_by_key(|(first, _)| *first);
        self.since.extend(begun);
    }
}

fn group(places: Vec<(TaskId, u64)>) -> HashMap<TaskId, Vec<u64>, RandomState> {
    let mut grouped = HashMap::<TaskId, Vec<u64>, RandomState>::default();
    for (task, place) in places {
        grouped.entry(task).or_default().push(place);
    }
    grouped
}

impl Run {
    /// The newest place, which names the run's row.
    pub(super) fn last(&self) -> u64 {
        *self.places.last().expect("a run has places")
    }

    /// Each place less the one before it, seven bits in a byte, the lowest first; a byte that is
    /// not a number's last has its highest bit set (LEB128).
    pub(super) fn packed(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(2 * self.places.len());
        let mut before = 0;
        for place in &self.places {
            let mut rest = place - before;
            before = *place;
            while rest >= 0x80 {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
        }
        bytes
    }
}

/// The places of [`Run::packed`]. Bytes that are none of that are an error: the database is damaged.
pub(super) fn unpack(bytes: &[u8]) -> Result<Vec<u64>, FromSqlError> {
    let damaged = || FromSqlError::Other("a run of the task index cannot be read".into());
    let (mut places, mut last, mut number, mut shift) = (Vec::new(), 0_u64, 0_u64, 0);
    for byte in bytes {
        if shift > 56 {
            return Err(damaged());
        }
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            last = last
                .checked_add(number)
                .filter(|place| number > 0 && i64::try_from(*place).is_ok())
                .ok_or_else(damaged)?;
            places.push(last);
            (number, shift) = (0, 0);
        }
    }
    if shift == 0 { Ok(places) } else { Err(damaged()) }
}

/// Puts every event of a log that was written with an ordinary index into runs.
pub(super) fn index_all(connection: &Connection) -> rusqlite::Result<()> {
    const ALL: &str = "SELECT task_id, seq FROM events WHERE task_id IS NOT NULL ORDER BY task_id, seq";
    let (mut all, mut add) = (connection.prepare(ALL)?, connection.prepare(ADD_RUN)?);
    let mut rows = all.query([])?;
    let mut run: Option<Run> = None;
    loop {
        let next = match rows.next()? {
            Some(row) => Some((TaskId::from(uuid(row.get_ref(0)?)?), row.get(1)?)),
            None => None,
        };
        if let (Some(open), Some((task, place))) = (&mut run, next)
            && open.task == task
            && open.places.len() < RUN_MOST
        {
            open.places.push(place);
            continue;
        }
        if let Some(whole) = run.take() {
            add_run(&mut add, &whole)?;
        }
        let Some((task, place)) = next else { return Ok(()) };
        run = Some(Run { task, places: vec![place] });
    }
}

/// What is wrong with the runs of a log whose newest event is at `newest`: a place that is no
/// event of its task, or an event that no run and no young place stands for.
pub(crate) fn faults(connection: &Connection, newest: u64) -> rusqlite::Result<Vec<String>> {
    const RUNS: &str = "SELECT task_id, last, places FROM runs ORDER BY task_id, last";
    const TASK: &str = "SELECT task_id FROM events WHERE seq = ?1";
    const COUNT: &str = "SELECT count(*) FROM events WHERE task_id IS NOT NULL AND seq <= ?1";
    const START: &str = "SELECT coalesce((SELECT seq FROM start), 0)";
    let start: u64 = connection.query_row(START, [], |row| row.get(0))?;
    let (mut runs, mut task_of) = (connection.prepare(RUNS)?, connection.prepare(TASK)?);
    let mut rows = runs.query([])?;
    let (mut known, mut before) = (0, (Vec::new(), 0));
    while let Some(row) = rows.next()? {
        let (task, last): (Vec<u8>, u64) = (row.get(0)?, row.get(1)?);
        let fault = format!("the task index is wrong in the run that ends at event {last}");
        let Ok(places) = unpack(row.get_ref(2)?.as_blob()?) else { return Ok(vec![fault]) };
        let mut after = if before.0 == task { before.1 } else { 0 };
        for place in places.iter().copied().filter(|place| *place > start && *place <= newest) {
            let found = task_of.query_row([place], |row| row.get::<_, Option<Vec<u8>>>(0)).optional()?;
            if place <= after || found.flatten().as_ref() != Some(&task) {
                return Ok(vec![fault]);
            }
            after = place;
            known += 1;
        }
        if places.last() != Some(&last) {
            return Ok(vec![fault]);
        }
        before = (task, last);
    }
    let events: u64 = connection.query_row(COUNT, [newest], |row| row.get(0))?;
    let young: usize = Postings::load(connection, newest)?.tasks.values().map(Vec::len).sum();
    let missing = events.saturating_sub(known + young as u64);
    Ok((missing > 0).then(|| format!("the task index lacks {missing} events")).into_iter().collect())
}

pub(super) const ADD_RUN: &str = "INSERT INTO runs (task_id, last, places) VALUES (?1, ?2, ?3)";

pub(super) fn add_run(add: &mut rusqlite::Statement<'_>, run: &Run) -> rusqlite::Result<()> {
    add.execute(params![run.task.uuid().as_bytes(), run.last(), run.packed()]).map(drop)
}

#[cfg(test)]
mod tests;
