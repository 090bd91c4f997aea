//! Telling of a change of a task, in the transaction that makes it: one event
//! for the record and for those who listen, and one row of the audit (decision
//! C-43, row CAIRN-75). Whoever changes a task tells of it here and nowhere else.

use chrono::{DateTime, Utc};
use kernel::audit::{self, Change, Entity, WITHHELD};
use kernel::outbox::{self, About, Snapshot};
use kernel::{Ctx, Error, Result, Tx};
use serde::Serialize;
use wire::budget::TaskBudget;
use wire::id::ExecutionId;
use wire::task::{Priority, TaskSpec, TaskStatus};

use super::Task;
use crate::executions::{Execution, store};

/// What became of a task.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Turn<'a> {
    /// It is new.
    Created(&'a Task),
    /// It was the first and is the second.
    Changed(&'a Task, &'a Task),
    /// It is gone; what hung on it may be gone already.
    Deleted(&'a Task),
}

/// Tells of it, under the event's type.
pub(crate) async fn tell(
    ctx: &Ctx,
    tx: &mut Tx,
    kind: &str,
    about: About,
    turn: Turn<'_>,
    payload: &impl Serialize,
) -> Result<()> {
    let newest = match turn {
        Turn::Created(Task { execution_id: Some(id), tenant, .. })
        | Turn::Changed(_, Task { execution_id: Some(id), tenant, .. }) => store::get(tx, *tenant, *id).await?,
        Turn::Created(_) | Turn::Changed(..) | Turn::Deleted(_) => None,
    };
    tell_with(ctx, tx, kind, about, turn, newest, payload).await
}

/// As [`tell`], by whoever knows the task's newest execution.
pub(crate) async fn tell_with(
    ctx: &Ctx,
    tx: &mut Tx,
    kind: &str,
    about: About,
    turn: Turn<'_>,
    newest: Option<Execution>,
    payload: &impl Serialize,
) -> Result<()> {
    let change = change(turn)?;
    let (Turn::Created(task) | Turn::Changed(_, task) | Turn::Deleted(task)) = turn;
    let view = task.clone().into_view(newest);
    let thing = serde_json::to_value(view).map_err(|error| Error::Internal(error.into()))?;
    let snapshot = Snapshot { thing, old: change.old.clone() };
    outbox::push(ctx, tx, kind, About { snapshot: Some(snapshot), ..about }, payload).await?;
    write(ctx, tx, kind, turn, &change).await
}

/// Notes in the audit alone what shows in no answer.
pub(crate) async fn note(ctx: &Ctx, tx: &mut Tx, action: &str, turn: Turn<'_>) -> Result<()> {
    write(ctx, tx, action, turn, &change(turn)?).await
}

async fn write(ctx: &Ctx, tx: &mut Tx, action: &str, turn: Turn<'_>, change: &Change) -> Result<()> {
    let (Turn::Created(task) | Turn::Changed(_, task) | Turn::Deleted(task)) = turn;
    audit::write(ctx, tx, action, &Entity::new(task.tenant, "task", task.id), change).await
}

fn change(turn: Turn<'_>) -> Result<Change> {
    match turn {
        Turn::Created(task) => Change::created(&Audited::of(task)),
        Turn::Deleted(task) => Change::removed(&Audited::of(task)),
        // A specification may be large, and is the same throughout a task's life.
        Turn::Changed(old, new) if old.spec == new.spec => {
            let bare = |task| Audited { spec: None, ..Audited::of(task) };
            Change::between(&bare(old), &bare(new))
        }
        Turn::Changed(old, new) => Change::between(&Audited::of(old), &Audited::of(new)),
    }
}

/// A task as the audit keeps it.
#[derive(Serialize)]
struct Audited<'a> {
    title: &'a str,
    description: &'a str,
    status: TaskStatus,
    priority: Priority,
    effort_estimate: Option<i32>,
    spec: Option<TaskSpec>,
    attempts: i32,
    losses: i32,
    waits_for: i32,
    cancel_requested_at: Option<DateTime<Utc>>,
    execution_id: Option<ExecutionId>,
    project: Option<&'a str>,
    keys: &'a [String],
    not_before: Option<DateTime<Utc>>,
    deadline: Option<DateTime<Utc>>,
    overdue_at: Option<DateTime<Utc>>,
    budget: Option<TaskBudget>,
}

impl<'a> Audited<'a> {
    fn of(task: &'a Task) -> Self {
        Self {
            title: &task.title,
            description: &task.description,
            status: task.status,
            priority: task.priority,
            effort_estimate: task.effort_estimate,
            spec: task.spec.as_ref().map(without_values),
            attempts: task.attempts,
            losses: task.losses,
            waits_for: task.waits_for,
            cancel_requested_at: task.cancel_requested_at,
            execution_id: task.execution_id,
            project: task.project.as_deref(),
            keys: &task.keys,
            not_before: task.not_before,
            deadline: task.deadline,
            overdue_at: task.overdue_at,
            budget: task.budget_limits(),
        }
    }
}

/// The values of variables are no place for secrets, and where some hold one after all.
pub(crate) fn without_values(spec: &TaskSpec) -> TaskSpec {
    let env = spec.env.keys().map(|name| (name.clone(), WITHHELD.to_owned())).collect();
    TaskSpec { env, ..spec.clone() }
}
