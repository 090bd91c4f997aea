//! The way of a trigger: asked for, written, read; each hop in the audit, with its reason code (row ORK-6.3d).

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use kernel::audit::{self, Change, Entity};
use kernel::outbox::{self, About};
use kernel::{Ctx, Error, Result, Tx};
use serde_json::json;
use wire::event::kind;
use wire::id::{RuntimeId, TenantId, TriggerId};
use wire::limit::POLL_SECONDS_MAX;
use wire::runtime::{
    ForcedTrigger, Management, NewTrigger, NextTrigger, Order, ToWrite, TriggerReason, TriggerReport, TriggerState,
    TriggerView, Via, WriteResult,
};

use crate::policy::{Settings, Step, step};
use crate::registry::{gone, load_locked};
use crate::store::{self, Runtime};

/// Something is to be written, perhaps.
pub(crate) const NUDGE: &str = "runtimes";
/// The most that a list shows.
const SHOWN: i64 = 200;
/// That a supervisor was heard is written down this often.
const HEARD_AFTER: TimeDelta = TimeDelta::seconds(10);
/// After a write that failed.
const PAUSE: TimeDelta = TimeDelta::seconds(5);
/// A supervisor defers nothing for longer at a time.
const DEFER_MAX: TimeDelta = TimeDelta::minutes(10);

/// Asks for words to be written to an agent. One with the key of another that waits, or was delivered just now, is that
/// one.
#[tracing::instrument(skip_all, fields(runtime.id = %id))]
pub async fn trigger(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    id: RuntimeId,
    new: &NewTrigger,
) -> Result<TriggerView> {
    new.validate()?;
    queue(ctx, settings, tenant, id, new, None).await
}

/// Asks for words to be written whoever types there, and although the runtime is paused.
#[tracing::instrument(skip_all, fields(runtime.id = %id))]
pub async fn force(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    id: RuntimeId,
    forced: &ForcedTrigger,
) -> Result<TriggerView> {
    forced.validate()?;
    let new = NewTrigger { text: forced.text.clone(), dedupe_key: None };
    queue(ctx, settings, tenant, id, &new, Some(&forced.reason)).await
}

async fn queue(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    id: RuntimeId,
    new: &NewTrigger,
    forced: Option<&str>,
) -> Result<TriggerView> {
    let mut tx = ctx.begin("runtimes.trigger").await?;
    let runtime = load_locked(&mut tx, tenant, id).await?;
    refuse_unmanaged(&runtime)?;
    if runtime.gone_at.is_some() {
        return Err(gone());
    }
    let now = ctx.now();
    if let Some(key) = &new.dedupe_key
        && let Some(same) = store::same_key(&mut tx, id, key, settings, now).await?
    {
        return Ok(same);
    }
    refuse_storm(&mut tx, &runtime, settings, now).await?;
    let is_forced = forced.is_some();
    let trigger = TriggerView {
        id: ctx.id(TriggerId::mint),
        runtime_id: id,
        number: runtime.last_number + 1,
        text: new.text.clone(),
        dedupe_key: new.dedupe_key.clone(),
        forced: is_forced,
        state: TriggerState::Pending,
        reason: if is_forced { TriggerReason::Forced } else { TriggerReason::Queued },
        via: None,
        attempts: 0,
        not_before: None,
        created_at: now,
        written_at: None,
        ended_at: None,
    };
    store::insert_trigger(&mut tx, tenant, id, &trigger).await?;
    store::set_number(&mut tx, id, trigger.number).await?;
    let change = Change::created(&json!({
        "runtime_id": id, "number": trigger.number, "text": trigger.text, "dedupe_key": trigger.dedupe_key,
        "forced": is_forced, "reason": trigger.reason,
    }))?;
    let change = change.because(forced.unwrap_or(trigger.reason.as_str()));
    audit::write(ctx, &mut tx, kind::TRIGGER_QUEUED, &entity(tenant, &trigger), &change).await?;
    tx.nudge(NUDGE);
    tx.commit(trigger).await
}

/// Nobody writes to the terminal of somebody else (rows ORK-6.5a to ORK-6.5c).
fn refuse_unmanaged(runtime: &Runtime) -> Result<()> {
    match runtime.registered.management {
        Management::Managed => Ok(()),
        Management::Unmanaged => Err(Error::conflict(
            "runtime_unmanaged",
            "the runtime is a person's own, and nothing is written to its terminal; have the agent started by \
             `bifrost agents start`, which registers one that is managed, or take its session up again in a task",
        )),
    }
}

/// A storm of triggers would drown an agent (row ORK-6.4a).
async fn refuse_storm(tx: &mut Tx, runtime: &Runtime, settings: &Settings, now: chrono::DateTime<Utc>) -> Result<()> {
    let waiting = store::waiting(tx, runtime.id).await?;
    if waiting >= settings.waiting {
        let message = format!("{waiting} triggers wait for this runtime already, which is the most");
        return Err(Error::TooMany { code: "too_many_triggers", message, seconds: 60 });
    }
    let minute = TimeDelta::minutes(1);
    let (recent, first) = store::recent(tx, runtime.id, now - minute).await?;
    if recent >= settings.per_minute {
        let free_at = first.map_or(now, |first| first + minute);
        let seconds = u64::try_from((free_at - now).num_seconds()).unwrap_or_default() + 1;
        let message = format!("{recent} triggers in a minute are the most for one runtime; the next in {seconds} s");
        return Err(Error::TooMany { code: "too_many_triggers", message, seconds });
    }
    Ok(())
}

/// A runtime's triggers, the newest first.
pub async fn list(ctx: &Ctx, tenant: TenantId, id: RuntimeId) -> Result<Vec<TriggerView>> {
    let mut tx = ctx.read("runtimes.triggers").await?;
    store::get(&mut tx, tenant, id).await?.ok_or(Error::NotFound { what: "runtime" })?;
    store::of_runtime(&mut tx, tenant, id, SHOWN).await
}

/// Waits for something to write, at most as long as is asked.
pub async fn next(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    id: RuntimeId,
    asked: NextTrigger,
) -> Result<ToWrite> {
    let wait = Duration::from_secs(asked.wait_seconds.min(POLL_SECONDS_MAX));
    let deadline = tokio::time::Instant::now() + wait;
    let mut nudged = ctx.nudges.subscribe(NUDGE);
    loop {
        nudged.borrow_and_update();
        let (order, due) = look(ctx, settings, tenant, id).await?;
        if order.is_some() {
            return Ok(ToWrite { trigger: order });
        }
        // Something falls due by the clock alone.
        let due = due.and_then(|time| (time - ctx.now()).to_std().ok()).map(|wait| tokio::time::Instant::now() + wait);
        let until = due.map_or(deadline, |due| due.min(deadline));
        tokio::select! {
            _ = nudged.changed() => (),
            () = tokio::time::sleep_until(until) => {
                if tokio::time::Instant::now() >= deadline {
                    return Ok(ToWrite::default());
                }
            }
        }
    }
}

async fn look(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    id: RuntimeId,
) -> Result<(Option<Order>, Option<chrono::DateTime<Utc>>)> {
    let mut tx = ctx.read("runtimes.look").await?;
    let runtime = store::get(&mut tx, tenant, id).await?.ok_or(Error::NotFound { what: "runtime" })?;
    if runtime.gone_at.is_some() {
        return Err(gone());
    }
    let is_heard = ctx.now() - runtime.last_heartbeat_at < HEARD_AFTER;
    // Who asks is there.
    let mut runtime = Runtime { last_heartbeat_at: ctx.now(), ..runtime };
    let mut first = first(ctx, &mut tx, settings, &runtime).await?;
    drop(tx);
    // Most looks find nothing to write down: many wait here, and all are woken by what is one's.
    if !is_heard || matches!(first, Some((_, Step::End(..)))) {
        let mut tx = ctx.begin("runtimes.next").await?;
        let locked = load_locked(&mut tx, tenant, id).await?;
        runtime = Runtime { last_heartbeat_at: ctx.now(), ..locked };
        store::heartbeat(&mut tx, id, ctx.now(), runtime.read_cursor, runtime.registered.pid).await?;
        first = settle(ctx, &mut tx, settings, &runtime).await?;
        tx.commit(()).await?;
    }
    Ok(match first {
        Some((trigger, Step::Write(via))) => {
            let TriggerView { number, text, forced, created_at, attempts, .. } = trigger;
            (Some(Order { number, attempt: attempts + 1, text, via, forced, created_at }), None)
        }
        Some((_, Step::Wait(until))) => (None, until),
        Some((_, Step::End(..))) | None => (None, None),
    })
}

/// Ends what has ended, in the order of the numbers; gives the first that has not, and what is to be done about it. The
/// runtime is locked.
pub(crate) async fn settle(
    ctx: &Ctx,
    tx: &mut Tx,
    settings: &Settings,
    runtime: &Runtime,
) -> Result<Option<(TriggerView, Step)>> {
    while let Some((trigger, next)) = first(ctx, tx, settings, runtime).await? {
        let Step::End(state, reason) = next else { return Ok(Some((trigger, next))) };
        let ended = TriggerView { state, reason, ended_at: Some(ctx.now()), ..trigger.clone() };
        put(ctx, tx, runtime.tenant, &trigger, &ended).await?;
        let kind = if state == TriggerState::Delivered { kind::TRIGGER_DELIVERED } else { kind::TRIGGER_FAILED };
        // Whoever waits for the next one need not wait longer.
        tx.nudge(NUDGE);
        let about = About { tenant: Some(runtime.tenant), task: runtime.registered.task_id, ..About::default() };
        outbox::push(ctx, tx, kind, about, &ended).await?;
    }
    Ok(None)
}

/// The first trigger that has not ended, and what is to be done about it. What somebody forced goes before what waits,
/// whatever that waits for.
pub(crate) async fn first(
    ctx: &Ctx,
    tx: &mut Tx,
    settings: &Settings,
    runtime: &Runtime,
) -> Result<Option<(TriggerView, Step)>> {
    let receiver = runtime.receiver(ctx, settings);
    let with_step = |trigger: TriggerView| {
        let next = step(&trigger, &receiver, ctx.now(), settings);
        (trigger, next)
    };
    let Some(first) = store::first_open(tx, runtime.id).await?.map(with_step) else { return Ok(None) };
    if matches!(first.1, Step::End(..)) {
        return Ok(Some(first));
    }
    let forced = store::first_forced(tx, runtime.id).await?.map(with_step);
    Ok(Some(forced.filter(|(_, next)| matches!(next, Step::Write(_))).unwrap_or(first)))
}

/// Stores where a trigger stands by now, and tells the audit.
async fn put(ctx: &Ctx, tx: &mut Tx, tenant: TenantId, before: &TriggerView, after: &TriggerView) -> Result<()> {
    store::put(tx, after).await?;
    let action = match after.state {
        TriggerState::Pending => kind::TRIGGER_DEFERRED,
        TriggerState::Written => kind::TRIGGER_WRITTEN,
        TriggerState::Delivered => kind::TRIGGER_DELIVERED,
        TriggerState::Failed => kind::TRIGGER_FAILED,
    };
    let told = |one: &TriggerView| json!({ "state": one.state, "reason": one.reason, "via": one.via, "attempts": one.attempts });
    let change = Change::between(&told(before), &told(after))?.because(after.reason.as_str());
    audit::write(ctx, tx, action, &entity(tenant, after), &change).await
}

fn entity(tenant: TenantId, trigger: &TriggerView) -> Entity {
    Entity::new(tenant, "trigger", trigger.id)
}

/// Hears what became of an order.
#[tracing::instrument(skip_all, fields(runtime.id = %id))]
pub async fn report(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    id: RuntimeId,
    report: &TriggerReport,
) -> Result<TriggerView> {
    let now = ctx.now();
    let until = match (report.result, report.until) {
        (WriteResult::Deferred, Some(until)) if until <= now + DEFER_MAX => Some(until),
        (WriteResult::Deferred, _) => {
            return Err(Error::invalid("until", "must say when to try again, within ten minutes"));
        }
        (WriteResult::Written | WriteResult::Failed, None) => None,
        (WriteResult::Written | WriteResult::Failed, Some(_)) => {
            return Err(Error::invalid("until", "is for what was deferred"));
        }
    };
    let mut tx = ctx.begin("runtimes.report").await?;
    let runtime = load_locked(&mut tx, tenant, id).await?;
    let numbered = store::numbered(&mut tx, id, report.number).await?;
    let before = numbered.ok_or(Error::NotFound { what: "trigger" })?;
    // What was heard already, or is about an earlier time.
    let is_old = report.attempt.is_some_and(|attempt| attempt != before.attempts + 1);
    if before.ended_at.is_some() || is_old {
        return Ok(before);
    }
    let after = match report.result {
        WriteResult::Written => TriggerView {
            state: TriggerState::Written,
            reason: match (report.via, before.state) {
                (Via::Resume, _) => TriggerReason::Resumed,
                (Via::Terminal, TriggerState::Written) => TriggerReason::AckTimeout,
                (Via::Terminal, _) => TriggerReason::Written,
            },
            via: Some(report.via),
            attempts: before.attempts + 1,
            not_before: None,
            written_at: Some(now),
            ..before.clone()
        },
        WriteResult::Deferred => {
            TriggerView { reason: TriggerReason::HumanTyping, not_before: until, ..before.clone() }
        }
        WriteResult::Failed => TriggerView {
            state: TriggerState::Pending,
            reason: TriggerReason::WriteFailed,
            via: Some(report.via),
            attempts: before.attempts + 1,
            not_before: Some(now + PAUSE),
            // Without an order it is the word that what was written there is lost.
            written_at: before.written_at.filter(|_| report.attempt.is_some()),
            ..before.clone()
        },
    };
    put(ctx, &mut tx, tenant, &before, &after).await?;
    if report.result == WriteResult::Failed && report.attempt.is_none() {
        store::unwrite(&mut tx, id, runtime.read_cursor, report.number).await?;
    }
    if after.forced && after.state == TriggerState::Written {
        // One cursor says how far the agent has read: what was overtaken must not seem to be read with this.
        store::put_behind(&mut tx, &runtime, after.number).await?;
    }
    settle(ctx, &mut tx, settings, &runtime).await?;
    let stands = store::numbered(&mut tx, id, report.number).await?.ok_or(Error::NotFound { what: "trigger" })?;
    tx.nudge(NUDGE);
    tx.commit(stands).await
}
