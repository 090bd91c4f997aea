//! The life of a runtime: registered, heard of, paused, gone.

use kernel::audit::{self, Change, Entity};
use kernel::{Ctx, Error, Result, Tx};
use serde_json::json;
use wire::event::kind;
use wire::id::{RuntimeId, TenantId};
use wire::runtime::{NewRuntime, Pause, RuntimeHeartbeat, RuntimeState, RuntimeView};

use crate::policy::{self, Receiver, Settings};
use crate::store::{self, Runtime};
use crate::triggers::{NUDGE, settle};

/// The most of one tenant.
const RUNTIMES_MAX: i64 = 10_000;
/// The most that a list shows.
const SHOWN: i64 = 1_000;

impl Runtime {
    pub(crate) fn state(&self, ctx: &Ctx, settings: &Settings) -> RuntimeState {
        policy::state(self.last_heartbeat_at, self.gone_at, ctx.now(), settings)
    }

    pub(crate) fn receiver(&self, ctx: &Ctx, settings: &Settings) -> Receiver {
        Receiver {
            state: self.state(ctx, settings),
            management: self.registered.management,
            is_paused: self.paused.is_some(),
            can_resume: self.registered.can_resume,
            read_cursor: self.read_cursor,
        }
    }

    pub(crate) fn entity(&self) -> Entity {
        Entity::new(self.tenant, "runtime", self.id)
    }
}

async fn view(ctx: &Ctx, tx: &mut Tx, settings: &Settings, runtime: Runtime) -> Result<RuntimeView> {
    let waiting = store::waiting(tx, runtime.id).await?;
    Ok(view_with(ctx, settings, runtime, waiting))
}

fn view_with(ctx: &Ctx, settings: &Settings, runtime: Runtime, waiting: i64) -> RuntimeView {
    RuntimeView {
        id: runtime.id,
        state: runtime.state(ctx, settings),
        waiting,
        registered: runtime.registered,
        paused: runtime.paused,
        read_cursor: runtime.read_cursor,
        registered_at: runtime.registered_at,
        last_heartbeat_at: runtime.last_heartbeat_at,
        expires_at: runtime.last_heartbeat_at + settings.silence,
    }
}

pub(crate) async fn load_locked(tx: &mut Tx, tenant: TenantId, id: RuntimeId) -> Result<Runtime> {
    store::lock(tx, tenant, id).await?.ok_or(Error::NotFound { what: "runtime" })
}

/// Registers a runtime. The same session again is the same runtime, with what waits for it; but while its supervisor is
/// heard of, nobody takes it over from another computer.
#[tracing::instrument(skip_all)]
pub async fn register(ctx: &Ctx, settings: &Settings, tenant: TenantId, new: &NewRuntime) -> Result<RuntimeView> {
    new.validate()?;
    let mut tx = ctx.begin("runtimes.register").await?;
    let now = ctx.now();
    let known = store::lock_session(&mut tx, tenant, &new.session_id).await?;
    match &known {
        Some(known) => {
            if known.registered.host != new.host && known.state(ctx, settings) == RuntimeState::Live {
                return Err(in_use(known, settings));
            }
            if known.registered.pid != new.pid {
                // What the process before did not read went with its terminal.
                store::unwrite(&mut tx, known.id, known.read_cursor, known.last_number).await?;
            }
            store::register_again(&mut tx, known.id, new, now).await?;
        }
        None => {
            if store::count(&mut tx, tenant).await? >= RUNTIMES_MAX {
                let message =
                    format!("there are {RUNTIMES_MAX} runtimes, which is the most; remove some that have ended");
                return Err(Error::conflict("too_many_runtimes", message));
            }
            store::insert(&mut tx, ctx.id(RuntimeId::mint), tenant, new, now).await?;
        }
    }
    let runtime = store::lock_session(&mut tx, tenant, &new.session_id).await?;
    let runtime = runtime.ok_or(Error::NotFound { what: "runtime" })?;
    let change = match &known {
        Some(known) => Change::between(&known.registered, new)?,
        None => Change::created(new)?,
    };
    if known.is_none_or(|known| known.registered != *new || known.gone_at.is_some()) {
        audit::write(ctx, &mut tx, kind::RUNTIME_REGISTERED, &runtime.entity(), &change).await?;
    }
    tx.nudge(NUDGE);
    let view = view(ctx, &mut tx, settings, runtime).await?;
    tx.commit(view).await
}

/// Every runtime, those that live and were heard of last first.
pub async fn list(ctx: &Ctx, settings: &Settings, tenant: TenantId) -> Result<Vec<RuntimeView>> {
    let mut tx = ctx.read("runtimes.list").await?;
    let waiting = store::waiting_of_all(&mut tx, tenant).await?;
    let runtimes = store::list(&mut tx, tenant, SHOWN).await?.into_iter();
    let shown = runtimes.map(|runtime| {
        let waits = waiting.get(&runtime.id).copied().unwrap_or_default();
        view_with(ctx, settings, runtime, waits)
    });
    Ok(shown.collect())
}

/// One runtime.
pub async fn get(ctx: &Ctx, settings: &Settings, tenant: TenantId, id: RuntimeId) -> Result<RuntimeView> {
    let mut tx = ctx.read("runtimes.get").await?;
    let runtime = store::get(&mut tx, tenant, id).await?.ok_or(Error::NotFound { what: "runtime" })?;
    view(ctx, &mut tx, settings, runtime).await
}

/// Hears that a supervisor is there, and how far its agent has read: what was written and is read is delivered.
pub async fn heartbeat(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    id: RuntimeId,
    heartbeat: RuntimeHeartbeat,
) -> Result<RuntimeView> {
    heartbeat.validate()?;
    let mut tx = ctx.begin("runtimes.heartbeat").await?;
    let mut runtime = load_locked(&mut tx, tenant, id).await?;
    if runtime.gone_at.is_some() {
        return Err(gone());
    }
    if heartbeat.read_cursor.is_some_and(|cursor| cursor > runtime.last_number) {
        let message = format!("is beyond the runtime's newest trigger, which is {}", runtime.last_number);
        return Err(Error::invalid("read_cursor", message));
    }
    let read_before = runtime.read_cursor;
    runtime.read_cursor = heartbeat.read_cursor.unwrap_or_default().max(read_before);
    if runtime.read_cursor > read_before {
        // What comes behind it may be written now.
        tx.nudge(NUDGE);
    }
    runtime.registered.pid = heartbeat.pid.unwrap_or(runtime.registered.pid);
    runtime.last_heartbeat_at = ctx.now();
    store::heartbeat(&mut tx, id, ctx.now(), runtime.read_cursor, runtime.registered.pid).await?;
    settle(ctx, &mut tx, settings, &runtime).await?;
    let view = view(ctx, &mut tx, settings, runtime).await?;
    tx.commit(view).await
}

fn in_use(known: &Runtime, settings: &Settings) -> Error {
    let NewRuntime { session_id, host, pid, .. } = &known.registered;
    let message = format!(
        "the process {pid} on {host} is in the session {session_id} (runtime {}); end that agent first, or wait until \
         nothing was heard of it for {} s",
        known.id,
        settings.silence.num_seconds()
    );
    Error::conflict("session_in_use", message)
}

pub(crate) fn gone() -> Error {
    Error::conflict("runtime_gone", "the runtime has ended; register it again")
}

/// Hears that a runtime has ended. What waits for it fails. The same word twice counts once.
#[tracing::instrument(skip_all, fields(runtime.id = %id))]
pub async fn deregister(ctx: &Ctx, settings: &Settings, tenant: TenantId, id: RuntimeId) -> Result<()> {
    let mut tx = ctx.begin("runtimes.deregister").await?;
    let mut runtime = load_locked(&mut tx, tenant, id).await?;
    if runtime.gone_at.is_some() {
        return Ok(());
    }
    store::set_gone(&mut tx, id, ctx.now()).await?;
    runtime.gone_at = Some(ctx.now());
    settle(ctx, &mut tx, settings, &runtime).await?;
    let change = Change::removed(&runtime.registered)?;
    audit::write(ctx, &mut tx, kind::RUNTIME_DEREGISTERED, &runtime.entity(), &change).await?;
    // A supervisor that asks for something to write must not wait for it.
    tx.nudge(NUDGE);
    tx.commit(()).await
}

/// Has nothing written to a runtime until somebody resumes it; triggers wait.
#[tracing::instrument(skip_all, fields(runtime.id = %id))]
pub async fn pause(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    id: RuntimeId,
    pause: &Pause,
) -> Result<RuntimeView> {
    pause.validate()?;
    set_paused(ctx, settings, tenant, id, Some(pause.reason.as_str())).await
}

/// Has what waits written.
#[tracing::instrument(skip_all, fields(runtime.id = %id))]
pub async fn resume(ctx: &Ctx, settings: &Settings, tenant: TenantId, id: RuntimeId) -> Result<RuntimeView> {
    set_paused(ctx, settings, tenant, id, None).await
}

async fn set_paused(
    ctx: &Ctx,
    settings: &Settings,
    tenant: TenantId,
    id: RuntimeId,
    reason: Option<&str>,
) -> Result<RuntimeView> {
    let mut tx = ctx.begin("runtimes.set_paused").await?;
    let mut runtime = load_locked(&mut tx, tenant, id).await?;
    if runtime.paused.as_deref() != reason {
        store::set_paused(&mut tx, id, reason).await?;
        let change = Change::between(&json!({ "paused": runtime.paused }), &json!({ "paused": reason }))?;
        let action = if reason.is_some() { kind::RUNTIME_PAUSED } else { kind::RUNTIME_RESUMED };
        audit::write(ctx, &mut tx, action, &runtime.entity(), &change).await?;
        runtime.paused = reason.map(str::to_owned);
        tx.nudge(NUDGE);
    }
    let view = view(ctx, &mut tx, settings, runtime).await?;
    tx.commit(view).await
}
