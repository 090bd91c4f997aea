//! The HTTP surface: who may call, what the body says, and the registry's answer in
//! Fly's shapes. Nothing is decided here.

mod addresses;
mod apps;
mod body;
mod certificates;
mod control;
mod exec;
mod gate;
mod inside;
mod leases;
mod machines;
mod metadata;
mod operation;
mod organizations;
mod platform;
mod secret_keys;
mod secrets;
mod volumes;
mod wait;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use crate::document;
use crate::id;
use crate::refusal::Refusal;
use crate::registry::Registry;

pub(crate) use operation::actions;

/// What every handler gets.
type Emulated = State<Arc<Registry>>;

/// All routes; with a token, everything but the health check asks for it.
pub(crate) fn router(registry: Arc<Registry>, token: Option<String>) -> Router {
    let token: Arc<Option<String>> = Arc::new(token.map(|token| bare(&token).to_owned()));
    let authenticated = middleware::from_fn_with_state(token, authenticate);
    // The last layer is the first that a request comes to.
    let v1 = v1().layer(middleware::from_fn_with_state(Arc::clone(&registry), gate::pass)).layer(authenticated.clone());
    let control = Router::new()
        .route("/faults", get(control::faults).put(control::replace_faults))
        .route("/machines/{machine_id}/poke", post(control::poke))
        .layer(authenticated);
    Router::new()
        .route("/health", get(async || Json(json!({ "status": "ok" }))))
        .nest("/v1", v1)
        .nest("/control", control)
        .fallback(unserved)
        .method_not_allowed_fallback(unserved)
        .layer(middleware::from_fn_with_state(Arc::clone(&registry), name_request))
        .with_state(registry)
}

/// The routes of the Machines API, with the names of the OpenAPI document: the gate finds them by these.
fn v1() -> Router<Arc<Registry>> {
    let machine = Router::new()
        .route("/", get(machines::read).post(machines::update).delete(machines::destroy))
        .route("/start", post(machines::start))
        .route("/stop", post(machines::stop))
        .route("/suspend", post(machines::suspend))
        .route("/restart", post(machines::restart))
        .route("/cordon", post(machines::cordon))
        .route("/uncordon", post(machines::uncordon))
        .route("/wait", get(wait::wait))
        .route("/events", get(machines::events))
        .route("/versions", get(machines::versions))
        .route("/exec", post(exec::run))
        .route("/ps", get(inside::processes))
        .route("/signal", post(inside::signal))
        .route("/memory", get(inside::memory).put(inside::limit_memory))
        .route("/memory/reclaim", post(inside::reclaim_memory))
        .route("/lease", get(leases::read).post(leases::acquire).delete(leases::release))
        .route("/metadata", get(metadata::list).put(metadata::replace).patch(metadata::merge))
        .route("/metadata/{key}", get(metadata::read).post(metadata::set).delete(metadata::remove));
    let volume = Router::new()
        .route("/", get(volumes::read).put(volumes::update).delete(volumes::delete))
        .route("/extend", put(volumes::extend))
        .route("/snapshots", get(volumes::snapshots).post(volumes::create_snapshot));
    let certificates = Router::new()
        .route("/", get(certificates::list))
        .route("/acme", post(certificates::ask))
        .route("/custom", post(certificates::bring))
        .route("/{hostname}", get(certificates::read).delete(certificates::remove))
        .route("/{hostname}/acme", delete(certificates::remove_asked))
        .route("/{hostname}/custom", delete(certificates::remove_brought))
        .route("/{hostname}/check", post(certificates::check));
    let secret_key = Router::new()
        .route("/", get(secret_keys::read).post(secret_keys::set).delete(secret_keys::remove))
        .route("/generate", post(secret_keys::generate))
        .route("/sign", post(secret_keys::sign))
        .route("/verify", post(secret_keys::verify))
        .route("/encrypt", post(secret_keys::encrypt))
        .route("/decrypt", post(secret_keys::decrypt));
    let app = Router::new()
        .route("/", get(apps::read).delete(apps::delete))
        .route("/machines", get(machines::list).post(machines::create))
        .nest("/machines/{machine_id}", machine)
        .route("/volumes", get(volumes::list).post(volumes::create))
        .nest("/volumes/{volume_id}", volume)
        .route("/secrets", get(secrets::list).post(secrets::write))
        .route("/secrets/{secret_name}", get(secrets::read).post(secrets::set).delete(secrets::remove))
        .route("/secretkeys", get(secret_keys::list))
        .nest("/secretkeys/{secret_name}", secret_key)
        .nest("/certificates", certificates)
        .route("/ip_assignments", get(addresses::list).post(addresses::assign))
        .route("/ip_assignments/{ip}", delete(addresses::release));
    Router::new()
        .route("/apps", get(apps::list).post(apps::create))
        .nest("/apps/{app_name}", app)
        .route("/orgs/{org_slug}/machines", get(organizations::machines))
        .route("/orgs/{org_slug}/volumes", get(organizations::volumes))
        .route("/platform/placements", post(platform::placements))
        .route("/platform/regions", get(platform::list_regions))
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).expect("refusals have valid statuses");
        let mut body = json!({ "error": self.error });
        if let Some(word) = &self.word {
            body["status"] = json!(word);
        }
        (status, Json(body)).into_response()
    }
}

/// What is in Fly's document and not served here says so; a 404 would read as if a machine or an app were gone.
async fn unserved(method: Method, uri: Uri) -> Refusal {
    let method = method.as_str().to_ascii_lowercase();
    match uri.path().strip_prefix("/v1").and_then(|path| document::template(&method, path)) {
        Some(template) => Refusal::unserved(&method, template),
        None => Refusal::not_found("page"),
    }
}

/// The answer of orders that have nothing else to tell.
fn ok() -> Json<Value> {
    Json(json!({ "ok": true }))
}

/// The lease that a request is made under.
fn nonce(headers: &HeaderMap) -> Option<String> {
    Some(headers.get("fly-machine-lease-nonce")?.to_str().ok()?.to_owned())
}

async fn authenticate(
    State(token): State<Arc<Option<String>>>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    if let Some(token) = token.as_deref() {
        let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let is_known = given.is_some_and(|given| bare(given).as_bytes().ct_eq(token.as_bytes()).into());
        if !is_known {
            return Err(Refusal::unauthenticated());
        }
    }
    Ok(next.run(request).await)
}

/// A token without its scheme.
fn bare(token: &str) -> &str {
    match token.trim().split_once(' ') {
        Some((scheme, rest)) if ["bearer", "flyv1"].contains(&scheme.to_ascii_lowercase().as_str()) => bare(rest),
        Some(_) | None => token.trim(),
    }
}

/// Names the request and carries it out in a task of its own: a caller that hangs up must not leave an
/// order half done.
async fn name_request(State(registry): Emulated, request: Request, next: Next) -> Response {
    let name = format!("{}-local", id::ulid(registry.clock.now(), &registry.chance));
    let answer = registry.tasks.spawn("emulator-request", next.run(request)).await;
    let mut response =
        answer.unwrap_or_else(|error| Refusal::bug(format!("a request failed: {error}")).into_response());
    let name = HeaderValue::try_from(name).expect("a ULID is printable ASCII");
    response.headers_mut().insert("fly-request-id", name);
    response
}
