//! `/v1/apps/{app}/secrets`. Values come in and never go out.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Emulated;
use super::body::Body;
use crate::refusal::Refusal;
use crate::registry::AppRecord;

pub(super) async fn list(State(registry): Emulated, Path(app): Path<String>) -> Result<Json<Value>, Refusal> {
    Ok(Json(json!({ "secrets": show(&registry.app(&app)?) })))
}

#[derive(Deserialize)]
pub(super) struct Values {
    /// Nothing and the empty text remove a secret.
    #[serde(default)]
    values: BTreeMap<String, Option<String>>,
}

pub(super) async fn write(
    State(registry): Emulated,
    Path(app): Path<String>,
    Body(new): Body<Values>,
) -> Result<Json<Value>, Refusal> {
    let app = registry.write_secrets(&app, new.values).await?;
    let version = app.secrets_version;
    Ok(Json(json!({ "secrets": show(&app), "version": version, "Version": version })))
}

fn show(app: &AppRecord) -> Vec<Value> {
    app.secrets.iter().map(|(name, secret)| json!({ "name": name, "digest": secret.digest })).collect()
}
