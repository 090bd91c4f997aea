//! How a task is scored. Pure: one pass over the graph for each of the two facts
//! that need it, in the order of what needs what.
//!
//! Who needs a task, directly or through others, is counted without a walk for
//! each task: every task keeps the smallest few of the numbers that its dependents
//! drew. While there are few, they are all of them and the count is exact; beyond,
//! it is estimated from how small they are, with an error of about a tenth.

use wire::prioritize::Algorithm;

/// What a task without an estimate counts, in minutes.
const USUAL_MINUTES: i32 = 60;
/// Numbers that a task keeps; counts below are exact.
const KEPT: usize = 128;

/// A task, as far as a score needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) priority: i16,
    pub(super) effort_minutes: Option<i32>,
    /// Whether it gets a score; others only stand in the graph.
    pub(super) is_ready: bool,
}

impl Node {
    fn minutes(self) -> i32 {
        self.effort_minutes.unwrap_or(USUAL_MINUTES)
    }
}

/// Tasks and what needs what.
#[derive(Debug)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    /// Where each task's dependents begin in `dependents`, and at last where they end.
    starts: Vec<usize>,
    dependents: Vec<u32>,
    /// A task stands before all that need it; what stands in a circle is not in it.
    order: Vec<u32>,
}

impl Graph {
    /// Of tasks and of dependencies by the tasks' places, the one that is needed first.
    pub(super) fn new(nodes: Vec<Node>, edges: &[(u32, u32)]) -> Self {
        let mut starts = vec![0; nodes.len() + 1];
        for (needed, _) in edges {
            starts[*needed as usize + 1] += 1;
        }
        for at in 1..starts.len() {
            starts[at] += starts[at - 1];
        }
        let (mut next, mut dependents, mut needs) = (starts.clone(), vec![0; edges.len()], vec![0_u32; nodes.len()]);
        for (needed, task) in edges {
            dependents[next[*needed as usize]] = *task;
            next[*needed as usize] += 1;
            needs[*task as usize] += 1;
        }
        let mut graph = Self { nodes, starts, dependents, order: Vec::new() };
        graph.order = graph.in_order(needs);
        graph
    }

    fn in_order(&self, mut needs: Vec<u32>) -> Vec<u32> {
        let mut order: Vec<u32> = (0..).zip(&needs).filter(|(_, needs)| **needs == 0).map(|(at, _)| at).collect();
        let mut read = 0;
        while let Some(at) = order.get(read).copied() {
            read += 1;
            for task in self.dependents(at) {
                needs[*task as usize] -= 1;
                if needs[*task as usize] == 0 {
                    order.push(*task);
                }
            }
        }
        order
    }

    fn dependents(&self, at: u32) -> &[u32] {
        &self.dependents[self.starts[at as usize]..self.starts[at as usize + 1]]
    }

    /// For each task the length of the longest chain of work that begins with it, in minutes.
    fn chains(&self) -> Vec<f64> {
        let mut chains = vec![0.0_f64; self.nodes.len()];
        for at in self.order.iter().rev() {
            let behind = self.dependents(*at).iter().map(|task| chains[*task as usize]).fold(0.0, f64::max);
            chains[*at as usize] = f64::from(self.nodes[*at as usize].minutes()) + behind;
        }
        chains
    }

    /// For each task how many tasks wait for it, directly or through others.
    fn waiting(&self) -> Vec<f64> {
        let mut waiting = vec![0.0; self.nodes.len()];
        let mut drawn: Vec<Vec<u64>> = vec![Vec::new(); self.nodes.len()];
        // How many tasks have yet to look at what a task has drawn, after which it is forgotten.
        let mut readers = vec![0_u32; self.nodes.len()];
        for task in &self.dependents {
            readers[*task as usize] += 1;
        }
        for at in self.order.iter().rev() {
            let mut numbers = Vec::new();
            for task in self.dependents(*at) {
                numbers.push(draw(*task));
                numbers.extend_from_slice(&drawn[*task as usize]);
                readers[*task as usize] -= 1;
                if readers[*task as usize] == 0 {
                    drawn[*task as usize] = Vec::new();
                }
                if numbers.len() > 16 * KEPT {
                    keep_smallest(&mut numbers);
                }
            }
            keep_smallest(&mut numbers);
            waiting[*at as usize] = count(&numbers);
            drawn[*at as usize] = numbers;
        }
        waiting
    }
}

fn keep_smallest(numbers: &mut Vec<u64>) {
    numbers.sort_unstable();
    numbers.dedup();
    numbers.truncate(KEPT);
    numbers.shrink_to_fit();
}

/// A number of a task's own, spread evenly over all there are: the finalizer of splitmix64.
fn draw(task: u32) -> u64 {
    let mut number = u64::from(task).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// How many drew, if these are the smallest numbers that were drawn.
#[expect(clippy::cast_precision_loss, reason = "an estimate needs no more than 52 bits")]
fn count(smallest: &[u64]) -> f64 {
    match smallest.last() {
        Some(largest) if smallest.len() == KEPT => {
            let share = (*largest as f64 + 1.0) / u64::MAX as f64;
            ((KEPT - 1) as f64 / share).round()
        }
        _ => smallest.len() as f64,
    }
}

/// A score for each task, from 0 to 100, with two decimal places.
pub(super) fn scores(algorithm: Algorithm, graph: &Graph) -> Vec<f64> {
    let nodes = || graph.nodes.iter();
    let priority = |node: &Node| f64::from(node.priority) * 20.0;
    let effort = |node: &Node| 6_000.0 / (60.0 + f64::from(node.minutes()));
    let raw: Vec<f64> = match algorithm {
        Algorithm::HighestPriority => nodes().map(priority).collect(),
        Algorithm::Effort => nodes().map(effort).collect(),
        Algorithm::BlockerImpact => shares(graph, &graph.waiting()),
        Algorithm::CriticalPath => shares(graph, &graph.chains()),
        Algorithm::Balanced => {
            let impact = shares(graph, &graph.waiting());
            nodes().zip(impact).map(|(node, impact)| 0.4 * priority(node) + 0.4 * impact + 0.2 * effort(node)).collect()
        }
    };
    raw.into_iter().map(|score| (score * 100.0).round() / 100.0).collect()
}

/// Each against the largest of the tasks that get a score, in percent.
fn shares(graph: &Graph, values: &[f64]) -> Vec<f64> {
    let of_ready = values.iter().zip(&graph.nodes).filter(|(_, node)| node.is_ready);
    let most = of_ready.map(|(value, _)| *value).fold(0.0, f64::max);
    values.iter().map(|value| if most > 0.0 { 100.0 * value.min(most) / most } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(priority: i16, effort_minutes: Option<i32>) -> Node {
        Node { priority, effort_minutes, is_ready: true }
    }

    /// A small project: 0 is needed by 1 and 2, both by 3; 4 stands alone.
    fn project() -> Graph {
        let nodes = vec![node(1, Some(30)), node(2, Some(90)), node(3, None), node(4, Some(0)), node(5, Some(540))];
        Graph::new(nodes, &[(0, 1), (0, 2), (1, 3), (2, 3)])
    }

    #[test]
    fn each_algorithm_scores_a_fixed_graph() {
        for (algorithm, expect) in [
            (Algorithm::HighestPriority, [20.0, 40.0, 60.0, 80.0, 100.0]),
            // 0 is waited for by three tasks, each counted once.
            (Algorithm::BlockerImpact, [100.0, 33.33, 33.33, 0.0, 0.0]),
            (Algorithm::Effort, [66.67, 40.0, 50.0, 100.0, 10.0]),
            (Algorithm::Balanced, [61.33, 37.33, 47.33, 52.0, 42.0]),
            // The longest is 4 alone with 540 minutes; the chain 0, 1, 3 takes 120.
            (Algorithm::CriticalPath, [22.22, 16.67, 11.11, 0.0, 100.0]),
        ] {
            assert_eq!(scores(algorithm, &project()), expect, "{algorithm}");
        }
    }

    #[test]
    fn nothing_to_compare_is_nothing_and_a_circle_comes_to_an_end() {
        let alone = Graph::new(vec![node(3, None)], &[]);
        assert_eq!(scores(Algorithm::BlockerImpact, &alone), [0.0]);
        assert_eq!(scores(Algorithm::BlockerImpact, &Graph::new(vec![], &[])), [0.0; 0]);
        let circle = Graph::new(vec![node(3, None); 3], &[(0, 1), (1, 0), (1, 2)]);
        assert_eq!(scores(Algorithm::CriticalPath, &circle), [0.0; 3]);
    }

    #[test]
    fn a_large_graph_is_counted_about_right_in_one_pass() {
        // A chain of 100,000, of which each thousandth has 100 more behind it.
        let (length, mut edges): (u32, Vec<(u32, u32)>) = (100_000, (0..99_999).map(|at| (at, at + 1)).collect());
        for at in (0..length).step_by(1_000) {
            edges.extend((0..100).map(|leaf| (at, length + at / 10 + leaf)));
        }
        let graph = Graph::new(vec![node(3, None); 110_000], &edges);
        let waiting = graph.waiting();
        assert_eq!((waiting[99_999], waiting[99_900], waiting[109_999]), (0.0, 99.0, 0.0));
        for (at, exact) in [(0, 109_999.0), (50_000, 54_999.0), (90_000, 10_999.0)] {
            let off: f64 = (waiting[at] - exact) / exact;
            assert!(off.abs() < 0.3, "{at}: {} instead of {exact}", waiting[at]);
        }
        assert_eq!(graph.chains()[0], 60.0 * 100_000.0);
    }
}
