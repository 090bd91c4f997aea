//! What would happen to a graph of tasks on so many machines: the scheduler's own order
//! (priority, then age) played through without a clock. Pure.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use crate::dependencies::graph::critical_path::{self, Graph, Times};

/// A task to play.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Played {
    /// How urgent; the order of the list is their age.
    pub(super) priority: i16,
    pub(super) minutes: i64,
    /// Why it would not begin whatever the others do.
    pub(super) stuck: Option<String>,
    pub(super) needs: Vec<Needed>,
}

/// What a task needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Needed {
    pub(super) on: Target,
    pub(super) group: Option<String>,
}

/// Whose end it waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    /// Another of the list, by its place.
    Task(usize),
    /// Something that is true already.
    True,
    /// Something that will not come by itself, in words.
    Never(String),
}

/// How it would go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Play {
    /// In the order of their beginnings.
    pub(super) runs: Vec<Run>,
    /// Those that would not begin, with why.
    pub(super) waiting: Vec<(usize, String)>,
    pub(super) times: Times,
    pub(super) end: i64,
    pub(super) machine_minutes: i64,
    pub(super) machines_used: usize,
}

/// One task that would run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) task: usize,
    pub(super) machine: usize,
    pub(super) ready: i64,
    pub(super) start: i64,
    pub(super) end: i64,
}

/// Plays the tasks through on so many machines, each of which works on so many at once.
pub(super) fn play(tasks: &[Played], machines: usize, at_once: usize) -> Play {
    let stuck = stuck(tasks);
    let runs = run(tasks, &stuck, machines, at_once);
    let (machine_minutes, machines_used) = busy(&runs);
    let end = runs.iter().map(|run| run.end).max().unwrap_or(0);
    let times = critical_path::times(&graph(tasks, &stuck));
    Play { runs, waiting: stuck.into_iter().collect(), times, end, machine_minutes, machines_used }
}

/// What would never begin, with why: what is stuck itself, and all that needs it.
fn stuck(tasks: &[Played]) -> BTreeMap<usize, String> {
    let of_themselves = tasks.iter().enumerate().filter_map(|(at, task)| Some((at, task.stuck.clone()?)));
    let mut stuck: BTreeMap<usize, String> = of_themselves.collect();
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); tasks.len()];
    for (at, task) in tasks.iter().enumerate() {
        for needed in &task.needs {
            if let Target::Task(on) = needed.on {
                needed_by[on].push(at);
            }
        }
    }
    let mut look: Vec<usize> = (0..tasks.len()).collect();
    while let Some(at) = look.pop() {
        if !stuck.contains_key(&at) {
            let Some(why) = hopeless(&tasks[at], &stuck) else { continue };
            stuck.insert(at, why);
            look.extend(&needed_by[at]);
        }
    }
    stuck
}

/// Why a task would wait for ever, if it would.
fn hopeless(task: &Played, stuck: &BTreeMap<usize, String>) -> Option<String> {
    let never = |needed: &Needed| match &needed.on {
        Target::True => None,
        Target::Task(on) => stuck.contains_key(on).then(|| format!("it needs task {on}, which would not begin")),
        Target::Never(why) => Some(why.clone()),
    };
    let alone = task.needs.iter().filter(|needed| needed.group.is_none()).find_map(never);
    let groups: BTreeSet<&str> = task.needs.iter().filter_map(|needed| needed.group.as_deref()).collect();
    alone.or_else(|| {
        groups.into_iter().find_map(|group| {
            let mut any = task.needs.iter().filter(|needed| needed.group.as_deref() == Some(group));
            let first = never(any.next()?)?;
            any.all(|needed| never(needed).is_some())
                .then(|| format!("{first}, and so it is with all of group {group}"))
        })
    })
}

/// The tasks that run, in the order of their beginnings.
fn run(tasks: &[Played], stuck: &BTreeMap<usize, String>, machines: usize, at_once: usize) -> Vec<Run> {
    let mut waits: Vec<Waits<'_>> = tasks.iter().map(Waits::of).collect();
    let mut needed_by: Vec<Vec<(usize, &Needed)>> = vec![Vec::new(); tasks.len()];
    for (at, task) in tasks.iter().enumerate().filter(|(at, _)| !stuck.contains_key(at)) {
        for needed in &task.needs {
            if let Target::Task(on) = needed.on {
                needed_by[on].push((at, needed));
            }
        }
    }
    let may_begin = (0..tasks.len()).filter(|at| !stuck.contains_key(at) && waits[*at].is_over());
    let mut ready: BinaryHeap<_> = may_begin.map(|at| (tasks[at].priority, Reverse(at), 0)).collect();
    // The machine that is lowest in number comes first, so that few are used.
    let mut free: BTreeSet<(usize, usize)> =
        (1..=machines).flat_map(|machine| (0..at_once).map(move |room| (machine, room))).collect();
    let mut running: BinaryHeap<Reverse<(i64, usize, (usize, usize))>> = BinaryHeap::new();
    let (mut runs, mut now) = (Vec::new(), 0);
    loop {
        while let Some(room) = free.first().copied()
            && let Some((_, Reverse(task), since)) = ready.pop()
        {
            free.remove(&room);
            let end = now + tasks[task].minutes;
            runs.push(Run { task, machine: room.0, ready: since, start: now, end });
            running.push(Reverse((end, task, room)));
        }
        let Some(Reverse((end, ..))) = running.peek() else { return runs };
        now = *end;
        // What ends at the same moment is taken together, so that the most urgent of what follows comes first.
        while let Some(Reverse((end, task, room))) = running.peek().copied()
            && end == now
        {
            running.pop();
            free.insert(room);
            for (behind, needed) in &needed_by[task] {
                if waits[*behind].satisfy(needed) {
                    ready.push((tasks[*behind].priority, Reverse(*behind), now));
                }
            }
        }
    }
}

/// What a task still waits for.
struct Waits<'a> {
    alone: usize,
    groups: BTreeSet<&'a str>,
}

impl<'a> Waits<'a> {
    fn of(task: &'a Played) -> Self {
        let open = |needed: &&Needed| needed.on != Target::True;
        let alone = task.needs.iter().filter(open).filter(|needed| needed.group.is_none()).count();
        let mut groups: BTreeSet<&str> = task.needs.iter().filter_map(|needed| needed.group.as_deref()).collect();
        for needed in task.needs.iter().filter(|needed| needed.on == Target::True) {
            groups.remove(needed.group.as_deref().unwrap_or_default());
        }
        Self { alone, groups }
    }

    fn is_over(&self) -> bool {
        self.alone == 0 && self.groups.is_empty()
    }

    /// One of its needs is true from now on; says whether it was the last that it waited for.
    fn satisfy(&mut self, needed: &Needed) -> bool {
        let is_news = match &needed.group {
            None => {
                self.alone -= 1;
                true
            }
            Some(group) => self.groups.remove(group.as_str()),
        };
        is_news && self.is_over()
    }
}

/// For how long machines work together, and how many of them.
fn busy(runs: &[Run]) -> (i64, usize) {
    let mut runs: Vec<&Run> = runs.iter().collect();
    runs.sort_by_key(|run| (run.machine, run.start));
    let (mut minutes, mut machines, mut last) = (0, 0, (0, 0));
    for run in runs {
        if last.0 != run.machine {
            machines += 1;
            last = (run.machine, run.start);
        }
        // Of two at once the machine works once.
        minutes += (run.end - run.start.max(last.1)).max(0);
        last.1 = last.1.max(run.end);
    }
    (minutes, machines)
}

/// What runs, for the critical path.
fn graph(tasks: &[Played], stuck: &BTreeMap<usize, String>) -> Graph {
    let number = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    let mut graph = Graph::default();
    for (at, task) in tasks.iter().enumerate() {
        let runs = !stuck.contains_key(&at);
        graph.efforts.push(if runs { task.minutes } else { 0 });
        if !runs {
            continue;
        }
        let mut groups: BTreeMap<&str, Option<Vec<u32>>> = BTreeMap::new();
        for needed in &task.needs {
            match (&needed.on, &needed.group) {
                (Target::Task(on), None) => graph.needs.push((number(at), number(*on))),
                (Target::Task(on), Some(group)) if !stuck.contains_key(on) => {
                    groups
                        .entry(group)
                        .or_insert_with(|| Some(Vec::new()))
                        .iter_mut()
                        .for_each(|any| any.push(number(*on)));
                }
                (Target::True, Some(group)) => {
                    groups.insert(group, None);
                }
                (Target::Task(_) | Target::True | Target::Never(_), _) => (),
            }
        }
        graph.groups.extend(groups.into_values().flatten().map(|any| (number(at), any)));
    }
    graph
}

#[cfg(test)]
mod tests;
