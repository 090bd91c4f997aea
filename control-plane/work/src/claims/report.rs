//! Words about executions that are held under a claim, or were begun by hand:
//! start, renew, end.

use std::collections::{HashMap, HashSet};

use kernel::{Ctx, Error, Result, Tx};
use pool::workers::Worker;
use wire::execution::{ExecutionResult, Outcome};
use wire::id::{ExecutionId, TenantId, WorkerId};
use wire::limit::MESSAGE_CHARS;
use wire::task::TaskStatus;

use super::policy::{self, Verdict};
use crate::Settings;
use crate::executions::{self, Begin, End, Ending, Execution, store};
use crate::tasks::{self, Task};

/// What somebody says of an execution that they hold.
#[derive(Debug, Clone)]
pub(super) struct Report {
    /// Who, and why.
    pub(super) by: Ctx,
    pub(super) tenant: TenantId,
    pub(super) execution: ExecutionId,
    /// Where it is sent, it has to be right; the execution's id alone names one attempt of one worker.
    pub(super) fence: Option<i64>,
    pub(super) word: Word,
}

/// What is said.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    /// They have begun.
    Start,
    /// They are still at it, and want the lease to last so long from now on.
    Renew {
        /// In seconds.
        lease_seconds: u64,
    },
    /// They are done with it.
    End { ending: Ending, cost_micros: i64, tokens: i64 },
}

/// How things stand after that.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    pub(super) task_status: TaskStatus,
    pub(super) execution: Execution,
    pub(super) is_called_off: bool,
}

/// Hears what several say of executions, in one transaction. What cannot be so is refused by itself.
pub(super) async fn hear_all(ctx: &Ctx, settings: &Settings, reports: &[Report]) -> Result<Vec<Result<Heard>>> {
    let mut tx = ctx.begin("claims.hear").await?;
    let mut heard: Vec<Option<Result<Heard>>> = reports.iter().map(|_| None).collect();
    let mut rest: Vec<usize> = (0..reports.len()).collect();
    while !rest.is_empty() {
        // One word of each execution in a round: a second sees what the first came to.
        let mut seen = HashSet::new();
        let (round, later): (Vec<usize>, Vec<usize>) =
            rest.into_iter().partition(|place| seen.insert(reports[*place].execution));
        hear_round(ctx, &mut tx, settings, reports, &round, &mut heard).await?;
        rest = later;
    }
    tx.commit(heard.into_iter().flatten().collect()).await
}

async fn hear_round(
    ctx: &Ctx,
    tx: &mut Tx,
    settings: &Settings,
    reports: &[Report],
    round: &[usize],
    heard: &mut [Option<Result<Heard>>],
) -> Result<()> {
    let now = ctx.now();
    let held = hold(tx, reports, round).await?;
    let mut begun: Vec<Begin<'_>> = Vec::new();
    let (mut extended, mut silent) = (Vec::new(), Vec::new());
    let (mut ends, mut end_places) = (Vec::new(), Vec::new());
    for place in round {
        let report = &reports[*place];
        let Some(Held { task, execution, worker }) = held.get(&report.execution) else {
            heard[*place] = Some(Err(Error::NotFound { what: "execution" }));
            continue;
        };
        let stand = |task_status, execution: Execution| {
            Ok(Heard { task_status, execution, is_called_off: task.cancel_requested_at.is_some() })
        };
        let is_pooled = worker.as_ref().is_some_and(|worker| worker.machine_id.is_some());
        heard[*place] = Some(match policy::judge(report, task, execution, is_pooled, now) {
            Err(refused) => Err(refused),
            Ok(Verdict::Known) => stand(task.status, execution.clone()),
            Ok(Verdict::Begin) => {
                begun.push(Begin { by: &report.by, task, execution });
                stand(TaskStatus::InProgress, Execution { started_at: Some(now), ..execution.clone() })
            }
            Ok(Verdict::Extend(until)) => {
                extended.push((execution.id, until));
                silent.extend(worker.as_ref().map(|worker| (&report.by, worker)));
                stand(task.status, Execution { lease_until: Some(until), ..execution.clone() })
            }
            Ok(Verdict::Finish { ending, cost_micros, tokens }) => {
                let ended = Execution { cost_micros, tokens, ..execution.clone() };
                // Who claims is on no machine of the pool: else this was refused.
                let is_on_machine = false;
                ends.push(End { by: &report.by, task, execution: ended.clone(), ending, is_on_machine });
                end_places.push(*place);
                stand(task.status, ended)
            }
        });
    }
    executions::start_all(ctx, tx, &begun).await?;
    if !extended.is_empty() {
        store::extend(tx, &extended).await?;
        pool::workers::heard(tx, &silent, now).await?;
    }
    let mut unheard: Vec<&mut Execution> =
        ends.iter_mut().filter(|end| began_unheard(end)).map(|end| &mut end.execution).collect();
    executions::began_unheard(tx, &mut unheard).await?;
    for (ended, place) in executions::finish_all(ctx, tx, settings, ends).await?.into_iter().zip(end_places) {
        if let Some(Ok(heard)) = &mut heard[place] {
            (heard.task_status, heard.execution) = (ended.task_status, ended.execution);
        }
    }
    Ok(())
}

/// Whether an attempt that ends has begun, though nobody said so.
fn began_unheard(end: &End<'_>) -> bool {
    end.execution.started_at.is_none() && end.ending.outcome.spends_attempt()
}

/// An execution with its task, both locked, and the worker that has it, where that is still known.
struct Held {
    task: Task,
    execution: Execution,
    worker: Option<Worker>,
}

/// The executions of a round, the tasks locked first. What is another tenant's is not there.
async fn hold(tx: &mut Tx, reports: &[Report], round: &[usize]) -> Result<HashMap<ExecutionId, Held>> {
    let ids: Vec<ExecutionId> = round.iter().map(|place| reports[*place].execution).collect();
    let tasks = tasks::store::lock_of_executions(tx, &ids).await?;
    let tasks: HashMap<_, Task> = tasks.into_iter().map(|task| (task.id, task)).collect();
    let tenants: HashMap<ExecutionId, TenantId> =
        round.iter().map(|place| (reports[*place].execution, reports[*place].tenant)).collect();
    let executions = store::lock_all(tx, &ids).await?;
    let workers: Vec<WorkerId> = executions.iter().map(|execution| execution.worker).collect();
    let workers = pool::workers::find_all(tx, &workers).await?;
    let mine = executions.into_iter().filter(|execution| tenants.get(&execution.id) == Some(&execution.tenant));
    let held = mine.filter_map(|execution| {
        let task = tasks.get(&execution.task)?.clone();
        let worker = workers.iter().find(|worker| worker.id == execution.worker).cloned();
        Some((execution.id, Held { task, execution, worker }))
    });
    Ok(held.collect())
}

/// What a worker says of an end, as an ending; refuses what cannot be kept.
pub(super) fn ended(result: ExecutionResult) -> Result<Word> {
    let cost_micros = executions::cost_micros(result.cost_dollars.as_deref())?;
    let tokens = executions::tokens(result.tokens)?;
    let mut ending = Ending::bare(if result.success { Outcome::Succeeded } else { Outcome::Failed });
    ending.message = result.error_message.map(|text| message("error_message", text)).transpose()?;
    Ok(Word::End { ending, cost_micros, tokens })
}

/// The end of an execution whose worker gives it back.
pub(super) fn released(reason: Option<String>) -> Result<Word> {
    let mut ending = Ending::bare(Outcome::Released);
    ending.message = reason.map(|text| message("reason", text)).transpose()?;
    Ok(Word::End { ending, cost_micros: 0, tokens: 0 })
}

fn message(field: &str, text: String) -> Result<String> {
    if text.chars().count() > MESSAGE_CHARS || text.contains('\0') {
        return Err(Error::invalid(field, format!("must have at most {MESSAGE_CHARS} characters and no NUL")));
    }
    Ok(text)
}
