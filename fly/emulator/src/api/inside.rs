//! What is asked of a machine that runs: its processes, a signal, its memory.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Body, Query};
use super::machines::Machine;
use super::{Emulated, nonce, ok};
use crate::driver::Trace;
use crate::machine::{Order, Record, parse_signal};
use crate::process::Listed;
use crate::refusal::Refusal;
use crate::registry::Registry;

/// How processes are sorted.
#[derive(Deserialize)]
pub(super) struct Sorting {
    sort_by: Option<String>,
    order: Option<String>,
}

pub(super) async fn processes(
    State(registry): Emulated,
    Path((app, id)): Machine,
    Query(sorting): Query<Sorting>,
) -> Result<Json<Value>, Refusal> {
    let record = registry.machine(&app, &id)?;
    let mut listed = registry.driver.processes(&id, record.running("list processes of")?).await?;
    sort(&mut listed, &sorting)?;
    Ok(Json(json!(listed)))
}

fn sort(listed: &mut [Listed], Sorting { sort_by, order }: &Sorting) -> Result<(), Refusal> {
    match sort_by.as_deref() {
        None | Some("") => (),
        Some("pid") => listed.sort_by_key(|one| one.pid),
        Some("stime") => listed.sort_by_key(|one| one.stime),
        Some("rtime") => listed.sort_by_key(|one| one.rtime),
        Some("cpu") => listed.sort_by_key(|one| one.cpu),
        Some("rss") => listed.sort_by_key(|one| one.rss),
        Some("command") => listed.sort_by(|a, b| a.command.cmp(&b.command)),
        Some("directory") => listed.sort_by(|a, b| a.directory.cmp(&b.directory)),
        Some(other) => {
            let known = "pid, stime, rtime, cpu, rss, command, directory";
            return Err(Refusal::invalid_argument(format!("sort_by: {other:?} is none of {known}")));
        }
    }
    match order.as_deref() {
        None | Some("" | "asc") => Ok(()),
        Some("desc") => {
            listed.reverse();
            Ok(())
        }
        Some(other) => Err(Refusal::invalid_argument(format!("order: {other:?} is none of asc, desc"))),
    }
}

#[derive(Deserialize)]
pub(super) struct Signal {
    #[serde(default)]
    signal: String,
}

pub(super) async fn signal(
    State(registry): Emulated,
    Path((app, id)): Machine,
    headers: HeaderMap,
    Body(wanted): Body<Signal>,
) -> Result<Json<Value>, Refusal> {
    let signal = parse_signal(&wanted.signal).map_err(Refusal::invalid_argument)?;
    registry.order(&app, &id, Order::Signal(signal), nonce(&headers)).await?;
    Ok(ok())
}

pub(super) async fn memory(State(registry): Emulated, Path((app, id)): Machine) -> Result<Json<Value>, Refusal> {
    let record = registry.machine(&app, &id)?;
    show_memory(&registry, &record).await
}

#[derive(Deserialize)]
pub(super) struct Limit {
    limit_mb: u32,
}

pub(super) async fn limit_memory(
    State(registry): Emulated,
    Path((app, id)): Machine,
    headers: HeaderMap,
    Body(limit): Body<Limit>,
) -> Result<Json<Value>, Refusal> {
    registry.machine(&app, &id)?.running("set memory of")?;
    let outcome = registry.order(&app, &id, Order::LimitMemory(limit.limit_mb), nonce(&headers)).await?;
    show_memory(&registry, &outcome.record).await
}

/// There is no balloon in a process that could take memory back.
pub(super) async fn reclaim_memory(
    State(registry): Emulated,
    Path((app, id)): Machine,
) -> Result<Json<Value>, Refusal> {
    registry.machine(&app, &id)?.running("reclaim memory of")?;
    Ok(Json(json!({ "actual_mb": 0 })))
}

/// The limit, and what its processes have not taken of it; of a container nobody looks at those.
async fn show_memory(registry: &Registry, record: &Record) -> Result<Json<Value>, Refusal> {
    let trace = record.running("read memory of")?;
    let limit = u64::from(record.memory_limit());
    let taken = match trace {
        Trace::Process(_) => registry.driver.processes(&record.id, trace).await?.iter().map(|one| one.rss).sum(),
        Trace::Container(_) => 0_u64,
    };
    Ok(Json(json!({ "limit_mb": limit, "available_mb": limit.saturating_sub(taken >> 20) })))
}
