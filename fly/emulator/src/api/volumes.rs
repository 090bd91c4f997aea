//! `/v1/apps/{app}/volumes`.

use axum::Json;
use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::Emulated;
use super::body::Body;
use crate::refusal::Refusal;
use crate::registry::{NewVolume, Registry, VolumeRecord};

/// A volume in the path.
type Volume = Path<(String, String)>;

pub(super) async fn create(
    State(registry): Emulated,
    Path(app): Path<String>,
    Body(new): Body<NewVolume>,
) -> Result<Json<Value>, Refusal> {
    let volume = registry.create_volume(&app, new).await?;
    Ok(Json(show(&registry, &volume, "created")))
}

pub(super) async fn list(State(registry): Emulated, Path(app): Path<String>) -> Result<Json<Value>, Refusal> {
    let volumes = registry.volumes(&app)?;
    Ok(Json(volumes.iter().map(|volume| show(&registry, volume, "created")).collect()))
}

pub(super) async fn read(State(registry): Emulated, Path((app, id)): Volume) -> Result<Json<Value>, Refusal> {
    let volume = registry.volume(&app, &id)?;
    Ok(Json(show(&registry, &volume, "created")))
}

pub(super) async fn delete(State(registry): Emulated, Path((app, id)): Volume) -> Result<Json<Value>, Refusal> {
    let volume = registry.delete_volume(&app, &id).await?;
    Ok(Json(show(&registry, &volume, "pending_destroy")))
}

fn show(registry: &Registry, volume: &VolumeRecord, state: &str) -> Value {
    let mut shown = json!({
        "id": volume.id,
        "name": volume.name,
        "state": state,
        "region": volume.region,
        "size_gb": volume.size_gb,
        "encrypted": volume.encrypted,
        "fstype": "ext4",
        "host_status": "ok",
        "zone": "local",
        "created_at": volume.created_at,
    });
    if let Some(machine) = registry.attached_machine(&volume.id) {
        shown["attached_machine_id"] = json!(machine);
    }
    shown
}
