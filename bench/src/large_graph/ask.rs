//! The questions, each over HTTP as `bifrost` asks them, one after the other.

use std::time::Instant;

use anyhow::{Context, ensure};
use client::control::TaskFilter;
use wire::dependency::NewDependency;
use wire::id::TaskId;
use wire::task::{NewTask, Priority, TaskChange, TaskStatus};

use super::fill::{Size, task_id};
use crate::report::milliseconds;
use crate::sample::Sample;
use crate::system::System;

/// What was asked, and how long the answers took.
pub(super) struct Asked {
    pub(super) name: &'static str,
    pub(super) sample: Sample,
}

/// Tasks that are closed in a row.
const CLOSED: u32 = 100;
/// Rounds of what takes seconds.
const FEW: u32 = 5;

/// Texts that are looked for: in every title, in one of a thousand, in one alone, in none, and of two letters.
const SEARCHES: [(&str, &str); 6] = [
    ("search, in every title", "of step"),
    ("search, in one of a thousand", "QUARTZ"),
    ("search, in one description", "part 7 of what"),
    ("search, in none", "no such text"),
    ("search, two letters in all", "of"),
    ("search, two letters in one of a thousand", "qu"),
];

/// Asks everything.
pub(super) async fn everything(system: &System, size: Size, rounds: u32) -> anyhow::Result<Vec<Asked>> {
    let control = &system.control;
    let ready =
        TaskFilter { status: Some(TaskStatus::Ready), blocked: Some(false), limit: Some(100), ..TaskFilter::default() };
    let mut asked = vec![
        ask("ready list of 100", rounds, async |_| Ok(control.tasks(&ready).await?)).await?,
        ask("list of 100", rounds, async |_| Ok(control.tasks(&TaskFilter::default()).await?)).await?,
    ];
    asked.push(
        ask("create a task", rounds, async |round| {
            let new = NewTask {
                title: format!("new {round}"),
                description: String::new(),
                priority: Priority::default(),
                effort_estimate: None,
                spec: None,
                ..NewTask::default()
            };
            Ok(control.submit(&new, &format!("bench-{}-{round}", system.process_id)).await?)
        })
        .await?,
    );
    // From 101 on: those before are in somebody's hands already.
    asked.push(
        ask("claim", rounds, async |round| Ok(set(system, id(101 + round)?, TaskStatus::Assigned).await?)).await?,
    );
    asked.push(
        ask("depend on an earlier task", rounds, async |round| {
            Ok(control.depend(id(size.tasks - round)?, &NewDependency::on(id(10 + round)?)).await?)
        })
        .await?,
    );
    asked.push(
        ask("refuse a circle of near tasks", rounds, async |round| {
            refuse(system, id(size.tasks / 2 + round)?, id(size.tasks / 2 + 150 + round)?).await
        })
        .await?,
    );
    asked.push(
        ask("refuse a circle through a thousand tasks", rounds, async |round| {
            refuse(system, id(size.tasks / 2 + round)?, id(size.tasks / 2 + 1_150 + round)?).await
        })
        .await?,
    );
    asked.push(
        ask("blocking impact of a hub", rounds, async |round| {
            Ok(control.blocking_impact(id(size.hub(round))?).await?)
        })
        .await?,
    );
    for (name, text) in SEARCHES {
        asked.push(ask(name, rounds, async |_| Ok(control.search(text).await?)).await?);
    }
    asked.push(ask("critical path", FEW.min(rounds), async |_| Ok(control.critical_path(100).await?)).await?);
    asked.push(
        ask("close one that 1,000 need", rounds, async |round| {
            set(system, id(size.hub(round))?, TaskStatus::Completed).await
        })
        .await?,
    );
    asked.push(
        ask("close 100 tasks one by one", 1, async |_| {
            for number in 1..=CLOSED {
                set(system, id(number)?, TaskStatus::Completed).await?;
            }
            Ok(())
        })
        .await?,
    );
    Ok(asked)
}

/// Asks so often; the first time is for warming up, where there are more.
async fn ask<T>(
    name: &'static str,
    rounds: u32,
    question: impl AsyncFn(u32) -> anyhow::Result<T>,
) -> anyhow::Result<Asked> {
    let mut sample = Sample::default();
    for round in 0..rounds {
        let began = Instant::now();
        question(round).await.with_context(|| format!("{name}, round {round}"))?;
        if round > 0 || rounds == 1 {
            sample.take(milliseconds(began.elapsed()));
        }
    }
    Ok(Asked { name, sample })
}

fn id(number: u32) -> anyhow::Result<TaskId> {
    Ok(task_id(number).parse()?)
}

async fn set(system: &System, id: TaskId, status: TaskStatus) -> anyhow::Result<()> {
    let change = TaskChange { status: Some(status), ..TaskChange::default() };
    system.control.update(id, &change, None).await?;
    Ok(())
}

/// A dependency that closes a circle has to be refused.
async fn refuse(system: &System, task: TaskId, needed: TaskId) -> anyhow::Result<()> {
    let refused = system.control.depend(task, &NewDependency::on(needed)).await;
    let code = refused.as_ref().err().and_then(|error| error.code());
    // Where no chain leads from the one to the other, it is as good as any, and its place has to be found all the same.
    ensure!(refused.is_ok() || code == Some("dependency_cycle"), "neither taken nor refused as a circle: {refused:?}");
    Ok(())
}
