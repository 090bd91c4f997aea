//! The longest chain through a graph of tasks, and how much time every other task has
//! to spare (the critical path method). Pure, and made for a million tasks: tasks are
//! numbers from 0, and what they need of each other is in flat lists.
//!
//! A task begins when the last of what it needs has ended. Of a group one suffices, and
//! that is the one that ends first.

use std::collections::HashMap;

/// Tasks and what they need.
#[derive(Debug, Clone, Default)]
pub(crate) struct Graph {
    /// How long each task lasts.
    pub(crate) efforts: Vec<i64>,
    /// A task and another that it needs.
    pub(crate) needs: Vec<(u32, u32)>,
    /// A task and others of which it needs one.
    pub(crate) groups: Vec<(u32, Vec<u32>)>,
}

/// When each task can begin and when it has to, and the chain that decides it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) earliest: Vec<i64>,
    pub(crate) latest: Vec<i64>,
    /// How long all of it takes at least.
    pub(crate) length: i64,
    /// The longest chain, in order.
    pub(crate) path: Vec<u32>,
    /// In which wave each task is, from 1: it needs something of the wave before.
    pub(crate) waves: Vec<u32>,
}

impl Times {
    /// How long a task may be put off.
    pub(crate) fn slack(&self, task: usize) -> i64 {
        self.latest[task] - self.earliest[task]
    }
}

/// A list of lists in two: where each begins, and all their members.
struct Lists {
    starts: Vec<u32>,
    members: Vec<u32>,
}

impl Lists {
    fn new(count: usize, pairs: impl Iterator<Item = (u32, u32)> + Clone) -> Self {
        let mut starts = vec![0_u32; count + 1];
        for (of, _) in pairs.clone() {
            starts[of as usize + 1] += 1;
        }
        for at in 1..=count {
            starts[at] += starts[at - 1];
        }
        let mut next = starts.clone();
        let mut members = vec![0; starts[count] as usize];
        for (of, member) in pairs {
            members[next[of as usize] as usize] = member;
            next[of as usize] += 1;
        }
        Self { starts, members }
    }

    fn of(&self, at: u32) -> &[u32] {
        &self.members[self.starts[at as usize] as usize..self.starts[at as usize + 1] as usize]
    }
}

/// Computes it all. What is in a circle, which should not be, is left at 0.
pub(crate) fn times(graph: &Graph) -> Times {
    let count = graph.efforts.len();
    let of_groups = || graph.groups.iter().flat_map(|(task, any)| any.iter().map(|needed| (*task, *needed)));
    let needs = Lists::new(count, graph.needs.iter().copied());
    let all = graph.needs.iter().copied().chain(of_groups());
    let needed_by = Lists::new(count, all.clone().map(|(task, needed)| (needed, task)));
    let mut groups: HashMap<u32, Vec<&[u32]>> = HashMap::new();
    for (task, any) in &graph.groups {
        groups.entry(*task).or_default().push(any);
    }
    let order = order(count, all, &needed_by);
    let mut times =
        Times { earliest: vec![0; count], latest: vec![0; count], waves: vec![1; count], ..Times::default() };
    // What each task waits for in the end: the need, or of a group the member, that decides when it begins.
    for task in &order {
        let at = *task as usize;
        for needed in needs.of(*task).iter().copied().chain(first_of(groups.get(task), &graph.efforts, &times.earliest))
        {
            let needed = needed as usize;
            times.earliest[at] = times.earliest[at].max(times.earliest[needed] + graph.efforts[needed]);
            times.waves[at] = times.waves[at].max(times.waves[needed] + 1);
        }
        times.length = times.length.max(times.earliest[at] + graph.efforts[at]);
    }
    let mut ends = vec![times.length; count];
    for task in order.iter().rev() {
        let at = *task as usize;
        times.latest[at] = ends[at] - graph.efforts[at];
        for needed in needs.of(*task).iter().copied().chain(first_of(groups.get(task), &graph.efforts, &times.earliest))
        {
            ends[needed as usize] = ends[needed as usize].min(times.latest[at]);
        }
    }
    times.path = path(graph, &times, &order, &needs, &groups);
    times
}

/// Each behind what it needs.
fn order(count: usize, all: impl Iterator<Item = (u32, u32)>, needed_by: &Lists) -> Vec<u32> {
    let mut missing = vec![0_u32; count];
    for (task, _) in all {
        missing[task as usize] += 1;
    }
    let tasks = 0..u32::try_from(count).unwrap_or(u32::MAX);
    let mut order: Vec<u32> = Vec::with_capacity(count);
    order.extend(tasks.filter(|task| missing[*task as usize] == 0));
    let mut next = 0;
    while let Some(task) = order.get(next).copied() {
        next += 1;
        for behind in needed_by.of(task) {
            missing[*behind as usize] -= 1;
            if missing[*behind as usize] == 0 {
                order.push(*behind);
            }
        }
    }
    order
}

/// Of each of a task's groups the member that ends first.
fn first_of<'a>(groups: Option<&'a Vec<&'a [u32]>>, efforts: &[i64], earliest: &[i64]) -> Vec<u32> {
    let end = |task: &&u32| earliest[**task as usize] + efforts[**task as usize];
    groups.into_iter().flatten().filter_map(|any| any.iter().min_by_key(end)).copied().collect()
}

/// From the task that ends last back along what made it wait.
fn path(graph: &Graph, times: &Times, order: &[u32], needs: &Lists, groups: &HashMap<u32, Vec<&[u32]>>) -> Vec<u32> {
    let end = |task: u32| times.earliest[task as usize] + graph.efforts[task as usize];
    // The last of those, so that what takes no time at its end belongs to it.
    let mut at = order.iter().rev().copied().find(|task| end(*task) == times.length);
    let mut path = Vec::new();
    while let Some(task) = at {
        path.push(task);
        let start = times.earliest[task as usize];
        let decides =
            |needed: &u32| end(*needed) == start && times.waves[*needed as usize] < times.waves[task as usize];
        let mut needed = needs.of(task).iter().copied();
        at = needed
            .find(decides)
            .or_else(|| first_of(groups.get(&task), &graph.efforts, &times.earliest).into_iter().find(decides));
    }
    path.reverse();
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(efforts: &[i64], needs: &[(u32, u32)]) -> Graph {
        Graph { efforts: efforts.to_vec(), needs: needs.to_vec(), groups: vec![] }
    }

    #[test]
    fn of_a_diamond_the_longer_side_decides_and_the_shorter_has_time_to_spare() {
        let times = times(&graph(&[10, 30, 5, 10], &[(1, 0), (2, 0), (3, 1), (3, 2)]));
        assert_eq!((times.length, times.path.as_slice()), (50, &[0, 1, 3][..]));
        assert_eq!(times.earliest, [0, 10, 10, 40]);
        assert_eq!(times.latest, [0, 10, 35, 40]);
        assert_eq!((0..4).map(|task| times.slack(task)).collect::<Vec<_>>(), [0, 0, 25, 0]);
        assert_eq!(times.waves, [1, 2, 2, 3]);
    }

    #[test]
    fn of_a_group_the_member_that_ends_first_decides() {
        let mut graph = graph(&[20, 5, 10], &[]);
        graph.groups = vec![(2, vec![0, 1])];
        let times = times(&graph);
        assert_eq!(times.earliest, [0, 0, 5]);
        assert_eq!((times.length, times.path.as_slice()), (20, &[0][..]));
        assert_eq!(times.latest, [0, 5, 10]);
    }

    #[test]
    fn nothing_and_tasks_that_need_nothing_and_a_stored_circle_come_to_an_end() {
        assert_eq!(times(&Graph::default()), Times::default());
        let alone = times(&graph(&[5, 7], &[]));
        assert_eq!((alone.length, alone.path.as_slice(), alone.slack(0)), (7, &[1][..], 2));
        let circle = times(&graph(&[5, 7, 1], &[(0, 1), (1, 0)]));
        assert_eq!((circle.length, circle.path.as_slice()), (1, &[2][..]));
        let of_nothing = times(&graph(&[0, 0], &[(1, 0)]));
        assert_eq!((of_nothing.length, of_nothing.path.as_slice()), (0, &[0, 1][..]));
    }

    #[test]
    fn a_very_long_chain_is_walked() {
        let needs: Vec<(u32, u32)> = (1..200_000).map(|task| (task, task - 1)).collect();
        let times = times(&graph(&vec![1; 200_000], &needs));
        assert_eq!((times.length, times.path.len(), times.earliest[199_999]), (200_000, 200_000, 199_999));
    }
}
