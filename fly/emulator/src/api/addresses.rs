//! `/v1/apps/{app}/ip_assignments`. Addresses are given and lead nowhere.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Emulated;
use super::body::Body;
use crate::refusal::Refusal;
use crate::registry::AddressRecord;

pub(super) async fn list(State(registry): Emulated, Path(app): Path<String>) -> Result<Json<Value>, Refusal> {
    let ips: Vec<Value> = registry.app(&app)?.addresses.iter().map(show).collect();
    Ok(Json(json!({ "ips": ips })))
}

#[derive(Deserialize)]
pub(super) struct NewAddress {
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(default)]
    region: Option<String>,
}

pub(super) async fn assign(
    State(registry): Emulated,
    Path(app): Path<String>,
    Body(new): Body<NewAddress>,
) -> Result<Json<Value>, Refusal> {
    let address = registry.assign_address(&app, &new.kind, new.region.unwrap_or_default()).await?;
    Ok(Json(show(&address)))
}

pub(super) async fn release(
    State(registry): Emulated,
    Path((app, ip)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    registry.release_address(&app, ip).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn show(address: &AddressRecord) -> Value {
    json!({
        "ip": address.ip,
        "region": address.region,
        "shared": address.is_shared,
        "created_at": address.created_at,
    })
}
