//! The load: clients over HTTP, each with a connection of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use client::control::{Control, TaskFilter};
use kit::Tasks;
use wire::batch::NewBatch;
use wire::claim::NewClaim;
use wire::execution::ExecutionResult;
use wire::task::{NewTask, TaskStatus};

use crate::report::milliseconds;
use crate::sample::Sample;
use crate::system::System;

/// Tasks in one request.
const BATCH: usize = wire::limit::TASKS_PER_BATCH;
/// Clients that create at once.
const CREATORS: usize = 10;
/// How long nothing happens before a task is submitted to a worker that waits.
const QUIET: Duration = Duration::from_millis(5);

/// How many of something in a second.
#[expect(clippy::cast_precision_loss, reason = "nobody measures 2^52 tasks")]
pub(crate) fn rate(count: usize, span: Duration) -> f64 {
    count as f64 / span.as_secs_f64()
}

fn no_op(number: usize) -> NewTask {
    NewTask { title: format!("no-op {number}"), ..NewTask::default() }
}

/// Creates so many tasks in batches; gives how long that took.
pub(crate) async fn create(system: &System, tasks: &Tasks, count: usize) -> anyhow::Result<Duration> {
    let next = Arc::new(AtomicUsize::new(0));
    let creator = |_| {
        let (control, next) = (system.client(), Arc::clone(&next));
        tasks.spawn("creator", async move {
            loop {
                let first = next.fetch_add(BATCH, Ordering::Relaxed);
                if first >= count {
                    return Ok(());
                }
                let batch = NewBatch::List((first..count.min(first + BATCH)).map(no_op).collect());
                control.submit_batch(&batch, &format!("batch-{first}")).await?;
            }
        })
    };
    let began = Instant::now();
    let creators: Vec<_> = (0..CREATORS).map(creator).collect();
    for creator in creators {
        let created: anyhow::Result<()> = creator.await?;
        created?;
    }
    Ok(began.elapsed())
}

/// Has so many workers claim, start and complete one task after the other until there is none; gives how long that
/// took.
pub(crate) async fn work(system: &System, tasks: &Tasks, count: usize, workers: usize) -> anyhow::Result<Duration> {
    let worker = |number| {
        let control = system.client();
        tasks.spawn("worker", async move { life(&control, &format!("bench-{number}")).await })
    };
    let began = Instant::now();
    let workers: Vec<_> = (0..workers).map(worker).collect();
    let mut done = 0;
    for worker in workers {
        done += worker.await??;
    }
    let took = began.elapsed();
    ensure!(done == count, "{done} of {count} tasks were completed");
    let left = TaskFilter { status: Some(TaskStatus::Ready), limit: Some(1), ..TaskFilter::default() };
    ensure!(system.control.tasks(&left).await?.is_empty(), "a task is ready that was completed");
    Ok(took)
}

async fn life(control: &Control, name: &str) -> anyhow::Result<usize> {
    let claim = NewClaim { worker: Some(name.to_owned()), start: true, ..NewClaim::default() };
    let mut done = 0;
    while let Some(claimed) = control.claim(&claim).await?.pop() {
        let result = ExecutionResult {
            success: true,
            fence: Some(claimed.fence),
            cost_dollars: None,
            tokens: None,
            error_message: None,
        };
        control.complete_execution(claimed.execution_id, &result).await?;
        done += 1;
    }
    Ok(done)
}

/// From before a task is submitted until a worker that waits for one has it and has begun, on an idle system.
pub(crate) async fn latencies(system: &System, count: usize) -> anyhow::Result<Sample> {
    let (submitter, worker) = (system.client(), system.client());
    let claim = NewClaim { worker: Some("bench".into()), start: true, wait_seconds: Some(30), ..NewClaim::default() };
    let mut sample = Sample::default();
    for number in 0..count {
        let submit = async {
            tokio::time::sleep(QUIET).await;
            let began = Instant::now();
            submitter.submit(&no_op(number), &format!("latency-{number}")).await.map(|_| began)
        };
        let claimed = async { worker.claim(&claim).await.map(|claims| (claims, Instant::now())) };
        let (began, claimed) = tokio::join!(submit, claimed);
        let (claims, ended) = claimed?;
        let claimed = claims.first().context("nothing came within 30 seconds")?;
        sample.take(milliseconds(ended - began?));
        let result =
            ExecutionResult { success: true, fence: None, cost_dollars: None, tokens: None, error_message: None };
        worker.complete_execution(claimed.execution_id, &result).await?;
    }
    Ok(sample)
}
