//! `/v1/apps/{app}/secretkeys`. Bytes are arrays of numbers, as Fly's document has them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Emulated;
use super::body::{Body, Query};
use crate::refusal::Refusal;
use crate::registry::{AppRecord, Registry};
use crate::secret_key::{SecretKey, key_bytes};

/// Which keys are listed.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    /// With commas between.
    types: String,
}

pub(super) async fn list(
    State(registry): Emulated,
    Path(app): Path<String>,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, Refusal> {
    let app = registry.app(&app)?;
    let is_asked = |key: &SecretKey| asked.types.is_empty() || asked.types.split(',').any(|kind| kind == key.kind);
    let keys = app.secret_keys.iter().filter(|(_, key)| is_asked(key));
    Ok(Json(json!({ "secret_keys": keys.map(|(name, key)| show(name, key)).collect::<Vec<_>>() })))
}

/// An app and a key of it in the path.
type Key = Path<(String, String)>;

pub(super) async fn read(State(registry): Emulated, Path((app, name)): Key) -> Result<Json<Value>, Refusal> {
    Ok(Json(show(&name, &find(&registry, &app, &name)?)))
}

/// What a key is to be.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct NewKey {
    #[serde(rename = "type")]
    kind: String,
    value: Vec<u8>,
}

pub(super) async fn set(
    State(registry): Emulated,
    Path((app, name)): Key,
    Body(new): Body<NewKey>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let key = SecretKey::new(new.kind, new.value, registry.clock.now())?;
    put(registry.put_secret_key(&app, &name, key).await?, &name)
}

pub(super) async fn generate(
    State(registry): Emulated,
    Path((app, name)): Key,
    Body(new): Body<NewKey>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let mut bytes = registry.chance.bytes::<64>().to_vec();
    bytes.truncate(key_bytes(&new.kind)?);
    let key = SecretKey::new(new.kind, bytes, registry.clock.now())?;
    put(registry.put_secret_key(&app, &name, key).await?, &name)
}

fn put(app: AppRecord, name: &str) -> Result<(StatusCode, Json<Value>), Refusal> {
    let key = app.secret_keys.get(name).ok_or_else(|| Refusal::not_found("secret key"))?;
    let mut shown = show(name, key);
    (shown["version"], shown["Version"]) = (json!(app.secrets_version), json!(app.secrets_version));
    Ok((StatusCode::CREATED, Json(shown)))
}

pub(super) async fn remove(State(registry): Emulated, Path((app, name)): Key) -> Result<Json<Value>, Refusal> {
    let version = registry.remove_secret_key(&app, &name).await?.secrets_version;
    Ok(Json(json!({ "version": version, "Version": version })))
}

/// What a key is to be used on.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Use {
    plaintext: Vec<u8>,
    ciphertext: Vec<u8>,
    associated_data: Vec<u8>,
    signature: Vec<u8>,
}

pub(super) async fn sign(
    State(registry): Emulated,
    Path((app, name)): Key,
    Body(wanted): Body<Use>,
) -> Result<Json<Value>, Refusal> {
    let signature = find(&registry, &app, &name)?.sign(&wanted.plaintext)?;
    Ok(Json(json!({ "signature": signature })))
}

pub(super) async fn verify(
    State(registry): Emulated,
    Path((app, name)): Key,
    Body(wanted): Body<Use>,
) -> Result<StatusCode, Refusal> {
    find(&registry, &app, &name)?.verify(&wanted.plaintext, &wanted.signature)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn encrypt(
    State(registry): Emulated,
    Path((app, name)): Key,
    Body(wanted): Body<Use>,
) -> Result<Json<Value>, Refusal> {
    let key = find(&registry, &app, &name)?;
    let sealed = key.encrypt(&wanted.plaintext, &wanted.associated_data, registry.chance.bytes())?;
    Ok(Json(json!({ "ciphertext": sealed })))
}

pub(super) async fn decrypt(
    State(registry): Emulated,
    Path((app, name)): Key,
    Body(wanted): Body<Use>,
) -> Result<Json<Value>, Refusal> {
    let opened = find(&registry, &app, &name)?.decrypt(&wanted.ciphertext, &wanted.associated_data)?;
    Ok(Json(json!({ "plaintext": opened })))
}

fn find(registry: &Registry, app: &str, name: &str) -> Result<SecretKey, Refusal> {
    registry.app(app)?.secret_keys.remove(name).ok_or_else(|| Refusal::not_found("secret key"))
}

fn show(name: &str, key: &SecretKey) -> Value {
    json!({
        "name": name,
        "type": key.kind,
        "created_at": key.created_at,
        "updated_at": key.updated_at,
    })
}
