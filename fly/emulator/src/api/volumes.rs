//! `/v1/apps/{app}/volumes`.

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::Body;
use super::{Emulated, ok};
use crate::refusal::Refusal;
use crate::registry::{NewVolume, Registry, SnapshotRecord, VolumeRecord, VolumeUpdate};

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

pub(super) async fn update(
    State(registry): Emulated,
    Path((app, id)): Volume,
    Body(update): Body<VolumeUpdate>,
) -> Result<Json<Value>, Refusal> {
    let volume = registry.update_volume(&app, &id, update).await?;
    Ok(Json(show(&registry, &volume, "created")))
}

#[derive(Deserialize)]
pub(super) struct Extension {
    size_gb: u32,
}

pub(super) async fn extend(
    State(registry): Emulated,
    Path((app, id)): Volume,
    Body(extension): Body<Extension>,
) -> Result<Json<Value>, Refusal> {
    let volume = registry.extend_volume(&app, &id, extension.size_gb).await?;
    // A directory has no size that a machine would have to learn of.
    Ok(Json(json!({ "needs_restart": false, "volume": show(&registry, &volume, "created") })))
}

pub(super) async fn snapshots(State(registry): Emulated, Path((app, id)): Volume) -> Result<Json<Value>, Refusal> {
    let volume = registry.volume(&app, &id)?;
    let show = |snapshot: &SnapshotRecord| {
        json!({
            "id": snapshot.id,
            "status": "created",
            "size": snapshot.size,
            "volume_size": u64::from(volume.size_gb) << 30,
            "retention_days": volume.snapshot_retention,
            "created_at": snapshot.created_at,
        })
    };
    Ok(Json(volume.snapshots.iter().rev().map(show).collect()))
}

pub(super) async fn create_snapshot(
    State(registry): Emulated,
    Path((app, id)): Volume,
) -> Result<Json<Value>, Refusal> {
    registry.create_snapshot(&app, &id).await?;
    Ok(ok())
}

pub(super) fn show(registry: &Registry, volume: &VolumeRecord, state: &str) -> Value {
    let mut shown = json!({
        "id": volume.id,
        "name": volume.name,
        "state": state,
        "region": volume.region,
        "size_gb": volume.size_gb,
        "encrypted": volume.encrypted,
        "fstype": "ext4",
        "host_status": "ok",
        "zone": volume.zone,
        "snapshot_retention": volume.snapshot_retention,
        "auto_backup_enabled": volume.auto_backup_enabled,
        "created_at": volume.created_at,
    });
    if let Some(machine) = registry.attached_machine(&volume.id) {
        // Where a volume is, its machine is too.
        let host = registry.machine(&volume.app, &machine).map(|record| registry.faults.host_status(&record));
        shown["host_status"] = json!(host.unwrap_or_default());
        shown["attached_machine_id"] = json!(machine);
    }
    shown
}
