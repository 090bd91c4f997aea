//! `/v1/apps/{app}/machines` and what can be asked of one.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use fly::HostStatus;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Body, Query};
use super::{Emulated, nonce, ok};
use crate::machine::{HowToStop, LogEntry, Order, Record, current, parse_duration, parse_signal};
use crate::refusal::Refusal;
use crate::registry::{MachineUpdate, NewMachine, PRIVATE_IP, Registry};

/// Fly's page of events, and its largest.
const EVENTS: usize = 20;
const EVENTS_MAX: usize = 50;

pub(super) async fn create(
    State(registry): Emulated,
    Path(app): Path<String>,
    Body(new): Body<NewMachine>,
) -> Result<Json<Value>, Refusal> {
    let record = registry.create_machine(&app, new).await?;
    Ok(Json(show_to_holder(&registry, &record)))
}

/// `state`, `region` and any number of `metadata.KEY`.
pub(super) async fn list(
    State(registry): Emulated,
    Path(app): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Refusal> {
    let is_set = |name: &str| query.get(name).is_some_and(|value| value == "true" || value == "1");
    let machines = registry.machines(&app, is_set("include_deleted"))?;
    let is_listed = |record: &Record| is_asked(record, &query) && !registry.faults.leaves_out(record);
    let mut shown: Vec<Value> =
        machines.iter().filter(|record| is_listed(record)).map(|one| show(&registry, one)).collect();
    if is_set("summary") {
        for machine in shown.iter_mut().filter_map(Value::as_object_mut) {
            machine.retain(|field, _| !["config", "incomplete_config", "checks", "events"].contains(&field.as_str()));
        }
    }
    Ok(Json(Value::Array(shown)))
}

pub(super) fn is_asked(record: &Record, query: &BTreeMap<String, String>) -> bool {
    query.iter().all(|(name, value)| match (name.as_str(), name.strip_prefix("metadata.")) {
        ("state", _) => value.split(',').any(|state| state.trim() == record.state.as_str()),
        ("region", _) => *value == record.region,
        (_, Some(key)) => record.metadata().get(key).and_then(Value::as_str) == Some(value),
        (_, None) => true,
    })
}

/// A machine in the path.
pub(super) type Machine = Path<(String, String)>;

pub(super) async fn read(State(registry): Emulated, Path((app, id)): Machine) -> Result<Json<Value>, Refusal> {
    Ok(Json(show(&registry, &*registry.machine(&app, &id)?)))
}

pub(super) async fn update(
    State(registry): Emulated,
    Path((app, id)): Machine,
    headers: HeaderMap,
    Body(update): Body<MachineUpdate>,
) -> Result<Json<Value>, Refusal> {
    let record = registry.update_machine(&app, &id, update, nonce(&headers)).await?;
    Ok(Json(show_to_holder(&registry, &record)))
}

/// Newest first.
pub(super) async fn versions(State(registry): Emulated, Path((app, id)): Machine) -> Result<Json<Value>, Refusal> {
    let record = registry.machine(&app, &id)?;
    let earlier = record.versions.iter().rev().map(|version| (&version.instance_id, &version.config));
    let all = std::iter::once((&record.instance_id, &record.config)).chain(earlier);
    Ok(Json(all.map(|(version, config)| json!({ "version": version, "user_config": config })).collect()))
}

pub(super) async fn cordon(
    State(registry): Emulated,
    Path((app, id)): Machine,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    registry.order(&app, &id, Order::Cordon(true), nonce(&headers)).await?;
    Ok(ok())
}

pub(super) async fn uncordon(
    State(registry): Emulated,
    Path((app, id)): Machine,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    registry.order(&app, &id, Order::Cordon(false), nonce(&headers)).await?;
    Ok(ok())
}

pub(super) async fn start(
    State(registry): Emulated,
    Path((app, id)): Machine,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let outcome = registry.order(&app, &id, Order::Start, nonce(&headers)).await?;
    Ok(Json(json!({ "previous_state": outcome.previous.as_str(), "migrated": false, "new_host": "" })))
}

pub(super) async fn suspend(
    State(registry): Emulated,
    Path((app, id)): Machine,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    registry.order(&app, &id, Order::Suspend, nonce(&headers)).await?;
    Ok(ok())
}

#[derive(Deserialize)]
pub(super) struct Stop {
    #[serde(default)]
    signal: Option<String>,
    #[serde(default)]
    timeout: Option<Value>,
}

pub(super) async fn stop(
    State(registry): Emulated,
    Path((app, id)): Machine,
    headers: HeaderMap,
    Body(stop): Body<Stop>,
) -> Result<Json<Value>, Refusal> {
    let order = Order::Stop(how(stop.signal.as_deref(), stop.timeout.as_ref())?);
    registry.order(&app, &id, order, nonce(&headers)).await?;
    Ok(ok())
}

#[derive(Deserialize)]
pub(super) struct Restart {
    signal: Option<String>,
    timeout: Option<String>,
}

pub(super) async fn restart(
    State(registry): Emulated,
    Path((app, id)): Machine,
    headers: HeaderMap,
    Query(restart): Query<Restart>,
) -> Result<Json<Value>, Refusal> {
    // Here, and only here, a bare number is in seconds.
    let timeout = restart.timeout.map(|text| match text.parse::<u64>() {
        Ok(_) => json!(format!("{text}s")),
        Err(_) => json!(text),
    });
    let order = Order::Restart(how(restart.signal.as_deref(), timeout.as_ref())?);
    registry.order(&app, &id, order, nonce(&headers)).await?;
    Ok(ok())
}

#[derive(Deserialize)]
pub(super) struct Destroy {
    #[serde(default)]
    force: bool,
    /// What Fly's own client says instead.
    #[serde(default)]
    kill: bool,
}

pub(super) async fn destroy(
    State(registry): Emulated,
    Path((app, id)): Machine,
    headers: HeaderMap,
    Query(destroy): Query<Destroy>,
) -> Result<Json<Value>, Refusal> {
    let order = Order::Destroy { force: destroy.force || destroy.kill };
    registry.order(&app, &id, order, nonce(&headers)).await?;
    Ok(ok())
}

#[derive(Deserialize)]
pub(super) struct Page {
    limit: Option<usize>,
}

pub(super) async fn events(
    State(registry): Emulated,
    Path((app, id)): Machine,
    Query(page): Query<Page>,
) -> Result<Json<Value>, Refusal> {
    let limit = page.limit.unwrap_or(EVENTS).min(EVENTS_MAX);
    let record = registry.machine(&app, &id)?;
    Ok(Json(json!(newest_first(&record).take(limit).collect::<Vec<_>>())))
}

/// A duration is text as Go writes it, or nanoseconds.
fn how(signal: Option<&str>, timeout: Option<&Value>) -> Result<HowToStop, Refusal> {
    let timeout = match timeout {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(parse_duration(text).map_err(Refusal::malformed)?),
        Some(number) => {
            let nanos = number.as_u64().ok_or_else(|| Refusal::malformed("timeout is no duration"))?;
            Some(Duration::from_nanos(nanos))
        }
    };
    let signal = signal.map(parse_signal).transpose().map_err(Refusal::malformed)?;
    Ok(HowToStop { signal, timeout })
}

fn newest_first(record: &Record) -> impl Iterator<Item = &LogEntry> {
    record.events.iter().rev()
}

/// The same to whoever has just changed it: a lease that is on it now is theirs.
fn show_to_holder(registry: &Registry, record: &Record) -> Value {
    let mut shown = show(registry, record);
    if let Some(lease) = current(record.lease.as_ref(), registry.clock.now()) {
        shown["nonce"] = json!(lease.nonce);
    }
    shown
}

/// A machine as Fly shows it. What it runs is known to its host, and in full to nobody else.
fn show(registry: &Registry, record: &Record) -> Value {
    let host_status = registry.faults.host_status(record);
    let mut shown = json!({
        "id": record.id,
        "name": record.name,
        "state": record.state.as_str(),
        "region": record.region,
        "instance_id": record.instance_id,
        "private_ip": PRIVATE_IP,
        "host_status": host_status,
        "checks": [],
        "events": newest_first(record).take(EVENTS).collect::<Vec<_>>(),
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    });
    if host_status == HostStatus::Ok {
        shown["config"] = json!(record.config);
    } else {
        shown["incomplete_config"] = json!({ "image": record.config.get("image") });
    }
    shown
}
