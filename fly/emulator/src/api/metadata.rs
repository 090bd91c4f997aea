//! `…/metadata`. No lease guards it, and a change makes no new version.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Emulated;
use super::body::Body;
use super::machines::Machine;
use crate::machine::{MetadataChange, Order};
use crate::refusal::Refusal;
use crate::registry::Registry;

/// A machine and a key in the path.
type Key = Path<(String, String, String)>;

pub(super) async fn list(State(registry): Emulated, Path((app, id)): Machine) -> Result<Json<Value>, Refusal> {
    Ok(Json(Value::Object(registry.machine(&app, &id)?.metadata())))
}

pub(super) async fn read(State(registry): Emulated, Path((app, id, key)): Key) -> Result<Json<Value>, Refusal> {
    let metadata = registry.machine(&app, &id)?.metadata();
    let value = metadata.get(&key).ok_or_else(|| Refusal::not_found("metadata key"))?;
    Ok(Json(json!({ "value": value })))
}

#[derive(Deserialize)]
pub(super) struct NewValue {
    value: String,
}

pub(super) async fn set(
    State(registry): Emulated,
    Path((app, id, key)): Key,
    Body(new): Body<NewValue>,
) -> Result<StatusCode, Refusal> {
    change(&registry, &app, &id, merge_one(key, Some(new.value))).await
}

pub(super) async fn remove(State(registry): Emulated, Path((app, id, key)): Key) -> Result<StatusCode, Refusal> {
    change(&registry, &app, &id, merge_one(key, None)).await
}

#[derive(Deserialize)]
pub(super) struct Bulk {
    /// Nothing and the empty text remove a key.
    #[serde(default)]
    metadata: BTreeMap<String, Option<String>>,
    #[serde(default)]
    machine_version: Option<String>,
}

pub(super) async fn replace(
    State(registry): Emulated,
    Path((app, id)): Machine,
    Body(bulk): Body<Bulk>,
) -> Result<StatusCode, Refusal> {
    change(&registry, &app, &id, bulk.into_change(true)).await
}

pub(super) async fn merge(
    State(registry): Emulated,
    Path((app, id)): Machine,
    Body(bulk): Body<Bulk>,
) -> Result<StatusCode, Refusal> {
    change(&registry, &app, &id, bulk.into_change(false)).await
}

impl Bulk {
    fn into_change(self, replaces_all: bool) -> MetadataChange {
        let values = self.metadata.into_iter().map(|(key, value)| (key, value.filter(|value| !value.is_empty())));
        MetadataChange { replaces_all, values: values.collect(), machine_version: self.machine_version }
    }
}

fn merge_one(key: String, value: Option<String>) -> MetadataChange {
    MetadataChange { replaces_all: false, values: BTreeMap::from([(key, value)]), machine_version: None }
}

async fn change(registry: &Registry, app: &str, id: &str, change: MetadataChange) -> Result<StatusCode, Refusal> {
    registry.order(app, id, Order::ChangeMetadata(change), None).await?;
    Ok(StatusCode::NO_CONTENT)
}
