//! The scheduler's decision: how long it takes over a million tasks and ten
//! thousand machines, how that grows, and what a look costs that finds nothing new.

use std::time::Instant;

use work::PlannerLoad;

use crate::report::{Figure, Report, Target, Unit};
use crate::sample::Sample;

/// How to measure the planner.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Decisions of each size
    #[arg(long, default_value_t = 9)]
    rounds: usize,
}

/// Tasks and machines, the greatest last.
const SIZES: [(usize, usize); 4] = [(1_000, 10), (10_000, 100), (100_000, 1_000), (1_000_000, 10_000)];

pub(crate) fn measure(arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    for (tasks, machines) in SIZES {
        let load = PlannerLoad::new(tasks, machines, true);
        let target =
            if tasks == 1_000_000 { Target { p99: Some(1_000.0), ..Target::default() } } else { Target::default() };
        let name = format!("plan {tasks} tasks, {machines} machines");
        report.figure(Figure { name, unit: Unit::Milliseconds, sample: time(&load, arguments.rounds), target })?;
    }
    let (tasks, machines) = SIZES[SIZES.len() - 1];
    let busy = PlannerLoad::new(tasks, machines, false);
    let target = Target { p99: Some(10.0), ..Target::default() };
    let name = "the same, nothing new and nobody free".to_owned();
    report.figure(Figure { name, unit: Unit::Milliseconds, sample: time(&busy, arguments.rounds * 10), target })?;
    Ok(report.finish()?)
}

fn time(load: &PlannerLoad, rounds: usize) -> Sample {
    let one = |_| {
        let began = Instant::now();
        std::hint::black_box(load.plan());
        began.elapsed().as_secs_f64() * 1_000.0
    };
    (0..rounds).map(one).collect()
}
