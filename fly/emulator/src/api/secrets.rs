//! `/v1/apps/{app}/secrets`. Values go out where they are asked for, as on Fly.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Emulated;
use super::body::{Body, Query};
use crate::refusal::Refusal;
use crate::registry::{AppRecord, SecretRecord};

/// How much of secrets is read.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Reading {
    show_secrets: Option<String>,
    min_version: Option<u64>,
}

impl Reading {
    /// Refuses an app whose secrets are older than the caller knows them to be.
    fn check(&self, app: &AppRecord) -> Result<(), Refusal> {
        match self.min_version {
            Some(least) if app.secrets_version < least => {
                let current = app.secrets_version;
                Err(Refusal::failed_precondition(format!("min_version is {least}, and the secrets are at {current}")))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn show(&self, name: &str, secret: &SecretRecord) -> Value {
        let mut shown = json!({ "name": name, "digest": secret.digest });
        if matches!(self.show_secrets.as_deref(), Some("true" | "1")) {
            shown["value"] = json!(secret.value);
        }
        shown
    }

    fn show_all(&self, app: &AppRecord) -> Vec<Value> {
        app.secrets.iter().map(|(name, secret)| self.show(name, secret)).collect()
    }
}

pub(super) async fn list(
    State(registry): Emulated,
    Path(app): Path<String>,
    Query(reading): Query<Reading>,
) -> Result<Json<Value>, Refusal> {
    let app = registry.app(&app)?;
    reading.check(&app)?;
    Ok(Json(json!({ "secrets": reading.show_all(&app) })))
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
    Ok(Json(json!({ "secrets": Reading::default().show_all(&app), "version": version, "Version": version })))
}

/// An app and a secret of it in the path.
type Secret = Path<(String, String)>;

pub(super) async fn read(
    State(registry): Emulated,
    Path((app, name)): Secret,
    Query(reading): Query<Reading>,
) -> Result<Json<Value>, Refusal> {
    let app = registry.app(&app)?;
    reading.check(&app)?;
    let secret = app.secrets.get(&name).ok_or_else(|| Refusal::not_found("secret"))?;
    Ok(Json(reading.show(&name, secret)))
}

#[derive(Deserialize)]
pub(super) struct NewValue {
    #[serde(default)]
    value: String,
}

pub(super) async fn set(
    State(registry): Emulated,
    Path((app, name)): Secret,
    Body(new): Body<NewValue>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    if new.value.is_empty() {
        return Err(Refusal::invalid_argument("value is required"));
    }
    let app = registry.write_secrets(&app, BTreeMap::from([(name.clone(), Some(new.value))])).await?;
    let secret = app.secrets.get(&name).ok_or_else(|| Refusal::not_found("secret"))?;
    let mut shown = Reading::default().show(&name, secret);
    (shown["version"], shown["Version"]) = (json!(app.secrets_version), json!(app.secrets_version));
    Ok((StatusCode::CREATED, Json(shown)))
}

pub(super) async fn remove(State(registry): Emulated, Path((app, name)): Secret) -> Result<Json<Value>, Refusal> {
    if !registry.app(&app)?.secrets.contains_key(&name) {
        return Err(Refusal::not_found("secret"));
    }
    let version = registry.write_secrets(&app, BTreeMap::from([(name, None)])).await?.secrets_version;
    Ok(Json(json!({ "version": version, "Version": version })))
}
