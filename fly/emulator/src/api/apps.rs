//! `/v1/apps`.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Emulated;
use super::body::{Body, Query};
use crate::refusal::Refusal;
use crate::registry::{AppRecord, Registry};

#[derive(Deserialize)]
pub(super) struct NewApp {
    /// Fly's documentation calls it `app_name`, its clients `name`.
    #[serde(alias = "app_name")]
    name: String,
    org_slug: String,
    #[serde(default)]
    network: Option<String>,
}

pub(super) async fn create(
    State(registry): Emulated,
    Body(new): Body<NewApp>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let app = registry.create_app(new.name, new.org_slug, new.network).await?;
    Ok((StatusCode::CREATED, Json(json!({ "id": app.id, "created_at": app.created_at.timestamp_millis() }))))
}

#[derive(Deserialize)]
pub(super) struct Filter {
    org_slug: Option<String>,
}

pub(super) async fn list(State(registry): Emulated, Query(filter): Query<Filter>) -> Json<Value> {
    let apps = registry.apps(filter.org_slug.as_deref());
    let shown: Vec<Value> = apps.iter().map(|app| show(&registry, app)).collect();
    Json(json!({ "total_apps": shown.len(), "apps": shown }))
}

pub(super) async fn read(State(registry): Emulated, Path(app): Path<String>) -> Result<Json<Value>, Refusal> {
    let app = registry.app(&app)?;
    Ok(Json(show(&registry, &app)))
}

pub(super) async fn delete(State(registry): Emulated, Path(app): Path<String>) -> Result<StatusCode, Refusal> {
    registry.delete_app(&app).await?;
    Ok(StatusCode::ACCEPTED)
}

fn show(registry: &Registry, app: &AppRecord) -> Value {
    let (machines, volumes) = registry.app_counts(&app.name);
    json!({
        "id": app.id,
        "name": app.name,
        "status": if machines > 0 { "deployed" } else { "pending" },
        "network": app.network,
        "organization": { "name": app.org_slug, "slug": app.org_slug },
        "machine_count": machines,
        "volume_count": volumes,
    })
}
