//! The routes, and what every call comes through.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, Query, RawQuery, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use fly::{Sprite, SpritePolicy, SpriteService};
use serde::Deserialize;
use serde_json::{Value, json};

use super::organization::{No, Shared};
use super::programs;

const DOCUMENT: &str = include_str!("../../../spec/sprites-endpoints.json");
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const EXIT: u8 = 3;

type Fake = State<Arc<Shared>>;

pub(super) fn router(shared: Arc<Shared>) -> Router {
    let api = Router::new()
        .route("/v1/sprites", get(list).post(create))
        .route("/v1/sprites/{name}", get(read).delete(destroy))
        .route("/v1/sprites/{name}/exec", post(exec))
        .route("/v1/sprites/{name}/policy/network", get(read_policy).post(write_policy))
        .route("/v1/sprites/{name}/services/{service}", put(define))
        .route("/v1/sprites/{name}/services/{service}/restart", post(restart))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), pass));
    // A runner of a debug build is large.
    api.route("/offered", get(offered)).with_state(shared)
}

/// A refusal, in the API's form.
fn refuse(status: StatusCode, word: &str, message: &str) -> Response {
    let body = json!({ "error": word, "message": message, "retry_after_seconds": retry_after(word) });
    (status, Json(body)).into_response()
}

fn retry_after(word: &str) -> Option<u64> {
    (word == "concurrent_sprite_limit_exceeded").then_some(30)
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        match self {
            Self::Taken => refuse(StatusCode::CONFLICT, "conflict", "a sprite of this name exists"),
            Self::Gone => refuse(StatusCode::NOT_FOUND, "not_found", "there is no such sprite"),
            Self::TooManyAwake => {
                let message = "you have reached your limit of concurrent sprites";
                refuse(StatusCode::TOO_MANY_REQUESTS, "concurrent_sprite_limit_exceeded", message)
            }
        }
    }
}

/// Lets a call pass, or answers in its place.
async fn pass(State(shared): Fake, request: Request, next: Next) -> Response {
    let (method, path) = (request.method().as_str().to_owned(), request.uri().path().to_owned());
    let bearer = format!("Bearer {}", shared.token);
    let is_known = request.headers().get(header::AUTHORIZATION).is_some_and(|value| *value == bearer.as_str());
    let (refusal, hang) = {
        let mut state = shared.state();
        state.calls.push(format!("{method} {}", request.uri()));
        if !is_documented(&method, &path) {
            state.strange.push(format!("{method} {path}"));
        }
        let refusal = state
            .refusals
            .iter_mut()
            .find(|refusal| refusal.times > 0 && refusal.method == method && path.ends_with(refusal.path_end));
        let refusal = refusal.map(|refusal| {
            refusal.times -= 1;
            (refusal.status, refusal.body.clone())
        });
        let hang = state.hang.as_mut().and_then(|hang| {
            let is_it = hang.calls_left == 1;
            hang.calls_left = hang.calls_left.saturating_sub(1);
            is_it.then(|| (hang.is_carried_out, Arc::clone(&hang.came)))
        });
        (refusal, hang)
    };
    if !is_known {
        return refuse(StatusCode::UNAUTHORIZED, "unauthorized", "the token is not valid");
    }
    if let Some((status, body)) = refusal {
        return (StatusCode::from_u16(status).expect("a status"), Json(body)).into_response();
    }
    if let Some((is_carried_out, came)) = hang {
        if is_carried_out {
            drop(next.run(request).await);
        }
        came.notify_one();
        return std::future::pending().await;
    }
    next.run(request).await
}

fn is_documented(method: &str, path: &str) -> bool {
    let document: Value = serde_json::from_str(DOCUMENT).expect("the document is JSON");
    let endpoints = document["endpoints"].as_array().expect("it has endpoints");
    let asked: Vec<&str> = path.split('/').collect();
    endpoints.iter().any(|endpoint| {
        let template: Vec<&str> = endpoint["p"].as_str().expect("a path").split('/').collect();
        endpoint["m"].as_str().expect("methods").split('|').any(|known| known == method)
            && template.len() == asked.len()
            && template.iter().zip(&asked).all(|(part, asked)| part.starts_with('{') || part == asked)
    })
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    prefix: String,
    max_results: Option<usize>,
    #[serde(default)]
    continuation_token: String,
}

async fn list(State(shared): Fake, Query(page): Query<Page>) -> Json<Value> {
    let state = shared.state();
    let known = state.sprites.values().filter(|sprite| sprite.name.starts_with(&page.prefix));
    let mut found: Vec<Sprite> = known.filter(|sprite| sprite.name > page.continuation_token).map(shown).collect();
    let room = page.max_results.unwrap_or(50).clamp(1, 500);
    let has_more = found.len() > room;
    found.truncate(room);
    let next = found.last().filter(|_| has_more).map(|sprite| sprite.name.clone());
    Json(json!({ "sprites": found, "has_more": has_more, "next_continuation_token": next }))
}

fn shown(sprite: &super::organization::Sprite) -> Sprite {
    Sprite {
        name: sprite.name.clone(),
        status: sprite.status,
        labels: sprite.labels.clone(),
        created_at: Some(sprite.created_at),
    }
}

#[derive(Deserialize)]
struct New {
    name: String,
    #[serde(default)]
    labels: Vec<String>,
}

async fn create(State(shared): Fake, Json(new): Json<New>) -> Result<Response, No> {
    shared.create(&new.name, new.labels)?;
    let shown = shared.state().sprites.get(&new.name).map(shown).ok_or(No::Gone)?;
    Ok((StatusCode::CREATED, Json(shown)).into_response())
}

async fn read(State(shared): Fake, Path(name): Path<String>) -> Result<Json<Sprite>, No> {
    shared.state().sprites.get(&name).map(shown).map(Json).ok_or(No::Gone)
}

async fn destroy(State(shared): Fake, Path(name): Path<String>) -> Result<StatusCode, No> {
    if shared.destroy(&name) { Ok(StatusCode::NO_CONTENT) } else { Err(No::Gone) }
}

async fn exec(
    State(shared): Fake,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    stdin: Bytes,
) -> Result<Response, Response> {
    let pairs: Vec<(String, String)> = Query::try_from_uri(
        &format!("/?{}", query.unwrap_or_default())
            .parse()
            .map_err(|_| refuse(StatusCode::BAD_REQUEST, "bad_request", "the query is none"))?,
    )
    .map(|Query(pairs)| pairs)
    .map_err(IntoResponse::into_response)?;
    let words: Vec<String> = pairs.iter().filter(|(key, _)| key == "cmd").map(|(_, word)| word.clone()).collect();
    let reads = pairs.iter().any(|(key, value)| key == "stdin" && value == "true");
    if words.is_empty() {
        return Err(refuse(StatusCode::BAD_REQUEST, "bad_request", "cmd is missing"));
    }
    let root = shared.wake(&name).map_err(IntoResponse::into_response)?;
    // Dropped with the call, as when the caller has gone.
    let run = Running { shared: &shared, name: &name };
    let policy = shared.state().sprites.get(&name).and_then(|sprite| sprite.policy.clone());
    let stdin = if reads { stdin } else { Bytes::new() };
    let ended = programs::run(&words, &stdin, &root, &shared.path, policy.as_ref()).await;
    drop(run);
    let ended = ended.map_err(|error| refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal", &error.to_string()))?;
    let mut frames = Vec::new();
    for (stream, text) in [(STDOUT, ended.stdout), (STDERR, ended.stderr)] {
        if !text.is_empty() {
            frames.push(stream);
            frames.extend(text);
        }
    }
    frames.extend([EXIT, ended.code]);
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], frames).into_response())
}

struct Running<'a> {
    shared: &'a Shared,
    name: &'a str,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.shared.ran(self.name);
    }
}

async fn read_policy(State(shared): Fake, Path(name): Path<String>) -> Result<Json<SpritePolicy>, No> {
    let state = shared.state();
    let sprite = state.sprites.get(&name).ok_or(No::Gone)?;
    Ok(Json(sprite.policy.clone().unwrap_or_default()))
}

async fn write_policy(
    State(shared): Fake,
    Path(name): Path<String>,
    Json(policy): Json<SpritePolicy>,
) -> Result<StatusCode, No> {
    shared.state().sprites.get_mut(&name).ok_or(No::Gone)?.policy = Some(policy);
    Ok(StatusCode::OK)
}

async fn define(
    State(shared): Fake,
    Path((name, service)): Path<(String, String)>,
    Json(definition): Json<SpriteService>,
) -> Result<Response, No> {
    shared.wake(&name)?;
    let run = Running { shared: &shared, name: &name };
    shared.define(&name, &service, definition).await?;
    drop(run);
    Ok(stream(&["started", "complete"]))
}

async fn restart(State(shared): Fake, Path((name, _)): Path<(String, String)>) -> Result<Response, No> {
    shared.wake(&name)?;
    let run = Running { shared: &shared, name: &name };
    shared.restart(&name).await?;
    drop(run);
    Ok(stream(&["stopping", "stopped", "started", "complete"]))
}

fn stream(kinds: &[&str]) -> Response {
    let lines: String = kinds.iter().map(|kind| format!("{}\n", json!({ "type": kind, "timestamp": 0 }))).collect();
    ([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response()
}

async fn offered(State(shared): Fake) -> Result<Vec<u8>, StatusCode> {
    let file = shared.state().offered.clone().ok_or(StatusCode::NOT_FOUND)?;
    tokio::fs::read(file).await.map_err(|_| StatusCode::NOT_FOUND)
}
