//! `/control`: for tests, and no part of Fly's API.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::Emulated;
use crate::Script;
use crate::faults::Count;
use crate::machine::Order;
use crate::refusal::Refusal;

/// How often each rule of the fault script was right, and how often it let something fail.
pub(super) async fn faults(State(registry): Emulated) -> Json<Value> {
    let counts = registry.faults.counts();
    let shown = |counts: Vec<Count>| -> Vec<Value> {
        counts.into_iter().map(|count| json!({ "seen": count.seen, "fired": count.fired })).collect()
    };
    Json(json!({ "call": shown(counts.calls), "machine": shown(counts.machines) }))
}

/// Takes another fault script, in TOML or in JSON, from its beginning.
pub(super) async fn replace_faults(State(registry): Emulated, script: String) -> Result<StatusCode, Refusal> {
    let script = Script::from_either(&script).and_then(|script| registry.driver.check_script(&script).map(|()| script));
    let script = script.map_err(|error| Refusal::malformed(error.to_string()))?;
    registry.faults.replace(script);
    Ok(StatusCode::NO_CONTENT)
}

/// Sends a held machine on, and tells the state that it is in then.
pub(super) async fn poke(State(registry): Emulated, Path(id): Path<String>) -> Result<Json<Value>, Refusal> {
    let app = registry.app_of(&id)?;
    let outcome = registry.order(&app, &id, Order::Poke, None).await?;
    Ok(Json(json!({ "state": outcome.record.state.as_str() })))
}
