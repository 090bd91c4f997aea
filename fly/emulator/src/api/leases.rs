//! `…/lease`. Its answers come in an envelope, against what the OpenAPI document says.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use chrono::TimeDelta;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{Body, Query};
use super::machines::Machine;
use super::{Emulated, nonce, ok};
use crate::machine::{OWNER, Order, Record, current};
use crate::refusal::Refusal;
use crate::registry::Registry;

/// When none is given.
const TTL_SECONDS: u32 = 60;

#[derive(Deserialize)]
pub(super) struct NewLease {
    #[serde(default)]
    description: String,
    #[serde(default)]
    ttl: Option<u32>,
}

#[derive(Deserialize)]
pub(super) struct Ttl {
    ttl: Option<u32>,
}

pub(super) async fn acquire(
    State(registry): Emulated,
    Path((app, id)): Machine,
    headers: HeaderMap,
    Query(query): Query<Ttl>,
    Body(new): Body<NewLease>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let seconds = new.ttl.or(query.ttl).unwrap_or(TTL_SECONDS);
    if seconds == 0 {
        return Err(Refusal::invalid_argument("ttl must be at least one second"));
    }
    let ttl = TimeDelta::seconds(i64::from(seconds));
    let order = Order::AcquireLease { description: new.description, ttl };
    let outcome = registry.order(&app, &id, order, nonce(&headers)).await?;
    Ok((StatusCode::CREATED, Json(show(&registry, &outcome.record)?)))
}

pub(super) async fn read(State(registry): Emulated, Path((app, id)): Machine) -> Result<Json<Value>, Refusal> {
    let record = registry.machine(&app, &id)?;
    Ok(Json(show(&registry, &record)?))
}

pub(super) async fn release(
    State(registry): Emulated,
    Path((app, id)): Machine,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    registry.order(&app, &id, Order::ReleaseLease, nonce(&headers)).await?;
    Ok(ok())
}

fn show(registry: &Registry, record: &Record) -> Result<Value, Refusal> {
    let lease = current(record.lease.as_ref(), registry.clock.now()).ok_or_else(|| Refusal::not_found("lease"))?;
    let data = json!({
        "nonce": lease.nonce,
        "expires_at": lease.expires_at.timestamp(),
        "owner": OWNER,
        "description": lease.description,
        "version": record.instance_id,
    });
    Ok(json!({ "status": "success", "data": data }))
}
