//! The API in a sprite, on its socket: holds.

use std::path::Path;
use std::sync::Arc;

use axum::extract::{Path as Segment, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use kit::Tasks;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::UnixListener;

use super::organization::Shared;

/// Whose API it is.
#[derive(Clone)]
struct Sprite {
    shared: Arc<Shared>,
    name: String,
}

#[derive(Deserialize)]
struct Task {
    #[serde(default)]
    name: Option<String>,
    expire: String,
}

/// Serves until the tasks are told to stop.
pub(super) fn serve(shared: Arc<Shared>, name: &str, root: &Path, tasks: &Tasks) {
    let socket = root.join(".sprite/api.sock");
    let listener =
        kit::net::by_short_name(&socket, |short| UnixListener::bind(short)).expect("the root may be written");
    let app = Router::new()
        .route("/v1/tasks/{task}", get(read).put(upsert).delete(delete))
        .with_state(Sprite { shared, name: name.to_owned() });
    let stopping = tasks.clone();
    tasks.spawn_until_stopped("sprite", async move {
        let served = axum::serve(listener, app).with_graceful_shutdown(async move { stopping.stopping().await });
        if let Err(error) = served.await {
            tracing::error!(%error, "a sprite stopped serving its API");
        }
    });
}

async fn read(State(sprite): State<Sprite>, Segment(task): Segment<String>) -> Result<Json<Value>, StatusCode> {
    let state = sprite.shared.state();
    let held =
        state.sprites.get(&sprite.name).and_then(|sprite| sprite.holds.get(&task)).ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(json!({ "name": task, "expires_at": held })))
}

async fn upsert(
    State(sprite): State<Sprite>,
    Segment(task): Segment<String>,
    Json(body): Json<Task>,
) -> Result<Json<Value>, StatusCode> {
    let is_other = body.name.is_some_and(|name| name != task);
    if is_other || seconds(&body.expire).is_none_or(|seconds| seconds > 3_600) {
        return Err(StatusCode::BAD_REQUEST);
    }
    sprite.shared.hold(&sprite.name, &task, body.expire);
    Ok(Json(json!({ "name": task })))
}

async fn delete(State(sprite): State<Sprite>, Segment(task): Segment<String>) -> StatusCode {
    if sprite.shared.let_go(&sprite.name, &task) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

fn seconds(expiry: &str) -> Option<u64> {
    let (number, unit) = expiry.split_at(expiry.len().checked_sub(1)?);
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return None,
    };
    Some(number.parse::<u64>().ok()? * factor)
}
