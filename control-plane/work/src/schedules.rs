//! Schedules: a task that is submitted again and again, by a cron expression in a
//! time zone. Exactly one for each occurrence, whatever is restarted and however
//! many control planes there are: the schedule's row moves on in the transaction
//! that submits the task, and the database refuses a second one.

pub(crate) mod plan;
pub(crate) mod store;

use kernel::audit::{self, Change, Entity};
use kernel::idempotency::{self, Attempt};
use kernel::outbox::{self, About};
use kernel::{Ctx, Error, Result, Tx};
use serde_json::json;
use wire::admission::SCHEDULE_KEYS;
use wire::event::{SkippedPayload, kind};
use wire::id::{ScheduleId, TaskId, TenantId};
use wire::schedule::{CatchUp, NewSchedule, Overlap, ScheduleChange, ScheduleView};
use wire::task::NewTask;

use crate::tasks::{self, Turn};
use crate::{Scheduler, Settings};
use plan::{Due, Timetable};

/// The most schedules of one tenant.
const SCHEDULES_MAX: i64 = 10_000;
const MISSING: Error = Error::NotFound { what: "schedule" };

fn entity(tenant: TenantId, id: ScheduleId) -> Entity {
    Entity::new(tenant, "schedule", id)
}

/// As the audit keeps it, without the values of variables.
fn audited(view: &ScheduleView) -> ScheduleView {
    let spec = view.task.spec.as_ref().map(tasks::without_values);
    ScheduleView { task: NewTask { spec, ..view.task.clone() }, ..view.clone() }
}

fn timetable(cron: &str, zone: &str) -> Result<Timetable> {
    Timetable::read(cron, zone).map_err(|unreadable| Error::invalid(unreadable.field, unreadable.message))
}

fn check_task(settings: &Settings, task: &NewTask) -> Result<()> {
    if task.spec.as_ref().is_some_and(|spec| spec.checkpoint.is_some()) {
        let message = "cannot be scheduled: a checkpoint goes with its machine; fork one task from it instead";
        return Err(Error::invalid("task.spec.checkpoint", message));
    }
    tasks::refuse_local(settings, task.spec.as_ref()).map_err(|error| Error::invalid("task", error.to_string()))
}

/// Makes a schedule. The same attempt again gives the first answer.
#[tracing::instrument(skip_all)]
pub async fn create(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    new: NewSchedule,
    attempt: Option<&Attempt>,
) -> Result<ScheduleView> {
    new.validate()?;
    check_task(settings, &new.task)?;
    let timetable = timetable(&new.cron, &new.time_zone)?;
    let now = ctx.now();
    let next_at = timetable.next_after(now);
    if next_at.is_none() {
        return Err(Error::invalid("cron", "never comes"));
    }
    let mut tx = ctx.begin("schedules.create").await?;
    if let Some(first) = idempotency::replay_if(&mut tx, tenant, attempt).await? {
        return Ok(first);
    }
    if store::count(&mut tx, tenant).await? >= SCHEDULES_MAX {
        let message = format!("there are {SCHEDULES_MAX} schedules already; remove some");
        return Err(Error::conflict("too_many_schedules", message));
    }
    let view = ScheduleView {
        id: ctx.id(ScheduleId::mint),
        name: new.name,
        cron: new.cron,
        time_zone: new.time_zone,
        task: new.task,
        overlap: new.overlap,
        catch_up: new.catch_up,
        paused: new.paused,
        next_at: next_at.filter(|_| !new.paused),
        last_at: None,
        last_task_id: None,
        created_at: now,
        updated_at: now,
    };
    store::insert(&mut tx, tenant, &view).await?;
    audit::write(ctx, &mut tx, "schedule.made", &entity(tenant, view.id), &Change::created(&audited(&view))?).await?;
    idempotency::remember_if(&mut tx, tenant, attempt, &view, now).await?;
    tx.commit(view).await
}

/// Every schedule, the oldest first.
pub async fn list(ctx: &Ctx, tenant: TenantId) -> Result<Vec<ScheduleView>> {
    let mut tx = ctx.read("schedules.list").await?;
    store::list(&mut tx, tenant).await
}

/// One schedule.
pub async fn get(ctx: &Ctx, tenant: TenantId, id: ScheduleId) -> Result<ScheduleView> {
    let mut tx = ctx.read("schedules.get").await?;
    store::get(&mut tx, tenant, id).await?.ok_or(MISSING)
}

/// Changes some fields of a schedule. Another time, and the end of a rest, count from now: nothing is made up for.
#[tracing::instrument(skip_all, fields(schedule.id = %id))]
pub async fn update(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    id: ScheduleId,
    change: ScheduleChange,
) -> Result<ScheduleView> {
    change.validate()?;
    change.task.as_ref().map_or(Ok(()), |task| check_task(settings, task))?;
    let now = ctx.now();
    let mut tx = ctx.begin("schedules.update").await?;
    let mut view = store::lock(&mut tx, tenant, id).await?.ok_or(MISSING)?;
    let before = view.clone();
    let is_retimed = change.cron.is_some() || change.time_zone.is_some() || change.paused.is_some();
    view.name = change.name.unwrap_or(view.name);
    view.cron = change.cron.unwrap_or(view.cron);
    view.time_zone = change.time_zone.unwrap_or(view.time_zone);
    view.task = change.task.unwrap_or(view.task);
    view.overlap = change.overlap.unwrap_or(view.overlap);
    view.catch_up = change.catch_up.unwrap_or(view.catch_up);
    view.paused = change.paused.unwrap_or(view.paused);
    view.updated_at = now;
    if is_retimed {
        let next_at = timetable(&view.cron, &view.time_zone)?.next_after(now);
        if next_at.is_none() {
            return Err(Error::invalid("cron", "never comes"));
        }
        view.next_at = next_at.filter(|_| !view.paused);
    }
    store::save(&mut tx, tenant, &view).await?;
    let change = Change::between(&audited(&before), &ScheduleView { updated_at: before.updated_at, ..audited(&view) })?;
    audit::write(ctx, &mut tx, "schedule.changed", &entity(tenant, id), &change).await?;
    tx.commit(view).await
}

/// Removes a schedule. The tasks that it made stay.
#[tracing::instrument(skip_all, fields(schedule.id = %id))]
pub async fn delete(ctx: &Ctx, tenant: TenantId, id: ScheduleId) -> Result<()> {
    let mut tx = ctx.begin("schedules.delete").await?;
    let before = store::lock(&mut tx, tenant, id).await?.ok_or(MISSING)?;
    store::delete(&mut tx, tenant, id).await?;
    audit::write(ctx, &mut tx, "schedule.removed", &entity(tenant, id), &Change::removed(&audited(&before))?).await?;
    tx.commit(()).await
}

/// Submits what is due; gives how many schedules moved on. One that fails does not keep the others.
pub(crate) async fn fire(ctx: &Ctx, settings: &Settings) -> Result<usize> {
    let mut tx = ctx.read("schedules.due").await?;
    let due = store::due(&mut tx, ctx.now()).await?;
    drop(tx);
    let mut fired = 0;
    for (tenant, id) in due {
        match fire_one(ctx, settings, tenant, id).await {
            Ok(is_news) => fired += usize::from(is_news),
            Err(error) => {
                tracing::error!(schedule.id = %id, %error, cause = error.causes(), "a schedule did not fire");
            }
        }
    }
    Ok(fired)
}

async fn fire_one(ctx: &Ctx, settings: &Settings, tenant: TenantId, id: ScheduleId) -> Result<bool> {
    call_off_earlier(ctx, settings, tenant, id).await?;
    let mut tx = ctx.begin("schedules.fire").await?;
    let Some(mut schedule) = store::lock(&mut tx, tenant, id).await? else { return Ok(false) };
    let Some(due) = due(&schedule, ctx)? else { return Ok(false) };
    let earlier = store::unfinished(&mut tx, tenant, id).await?;
    let skipped = match (schedule.catch_up, schedule.overlap) {
        (CatchUp::None, _) if due.is_missed => Some("missed"),
        (_, Overlap::Skip) if !earlier.is_empty() => Some("overlap"),
        (CatchUp::One | CatchUp::None, Overlap::Skip | Overlap::Queue | Overlap::CancelPrevious) => None,
    };
    schedule.next_at = due.next;
    schedule.last_at = Some(due.at);
    match skipped {
        Some(reason) => {
            let payload = SkippedPayload { schedule_id: id, occurrence_at: due.at, reason: reason.into() };
            let about = About { tenant: Some(tenant), ..About::default() };
            outbox::push(ctx, &mut tx, kind::SCHEDULE_SKIPPED, about, &payload).await?;
        }
        None => schedule.last_task_id = Some(submit(ctx, &mut tx, tenant, &schedule, due).await?),
    }
    store::save(&mut tx, tenant, &schedule).await?;
    tx.commit(true).await
}

fn due(schedule: &ScheduleView, ctx: &Ctx) -> Result<Option<Due>> {
    let Some(next_at) = schedule.next_at.filter(|_| !schedule.paused) else { return Ok(None) };
    Ok(timetable(&schedule.cron, &schedule.time_zone)?.due(next_at, ctx.now()))
}

/// Before the next one is submitted; a second time nothing is left to call off.
async fn call_off_earlier(ctx: &Ctx, settings: &Settings, tenant: TenantId, id: ScheduleId) -> Result<()> {
    let mut tx = ctx.read("schedules.earlier").await?;
    let Some(schedule) = store::get(&mut tx, tenant, id).await? else { return Ok(()) };
    let is_dropped = |due: &Due| due.is_missed && schedule.catch_up == CatchUp::None;
    if schedule.overlap != Overlap::CancelPrevious || due(&schedule, ctx)?.is_none_or(|due| is_dropped(&due)) {
        return Ok(());
    }
    let earlier = store::unfinished(&mut tx, tenant, id).await?;
    drop(tx);
    for task in earlier {
        match tasks::cancel(ctx, settings, tenant, task).await {
            // It has ended, or is gone, meanwhile.
            Ok(_) | Err(Error::Conflict { .. } | Error::NotFound { .. }) => (),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn submit(ctx: &Ctx, tx: &mut Tx, tenant: TenantId, schedule: &ScheduleView, due: Due) -> Result<TaskId> {
    let (id, now) = (ctx.id(TaskId::mint), ctx.now());
    let mut new = schedule.task.clone();
    if schedule.overlap == Overlap::Queue {
        // Of the tasks with such a key, one is in hand at a time.
        new.keys.push(format!("{SCHEDULE_KEYS}{}", schedule.id));
    }
    tasks::store::insert(tx, tenant, id, &new, now).await?;
    tasks::store::set_occurrence(tx, id, schedule.id, due.at).await?;
    let payload = json!({ "title": new.title, "schedule_id": schedule.id, "occurrence_at": due.at });
    let task = tasks::load(tx, tenant, id).await?;
    let about = About::task(tenant, id);
    tasks::tell(ctx, tx, kind::TASK_SUBMITTED, about, Turn::Created(&task), &payload).await?;
    metrics::counter!("tasks_submitted_total").increment(1);
    tx.nudge(Scheduler::NUDGE);
    Ok(id)
}

#[cfg(test)]
mod tests;
