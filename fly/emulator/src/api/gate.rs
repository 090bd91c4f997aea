//! What every call of the Machines API comes through: Fly's rate limits, the fault
//! script, and the check of its body against the OpenAPI document.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::Emulated;
use super::operation::{self, Operation};
use crate::document;
use crate::faults::{Call, CallEffect, Moment};
use crate::refusal::Refusal;
use crate::registry::Registry;

/// A machine's configuration with all its files is smaller.
const BODY_BYTES: usize = 2 * 1024 * 1024;

/// Lets a call pass, or answers in its place.
pub(super) async fn pass(State(registry): Emulated, request: Request, next: Next) -> Response {
    match admit(&registry, request).await {
        Ok((request, Some(Moment::After))) => {
            drop(next.run(request).await);
            broken_off()
        }
        Ok((_, Some(Moment::Before))) => broken_off(),
        Ok((request, None)) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    }
}

async fn admit(registry: &Registry, request: Request) -> Result<(Request, Option<Moment>), Refusal> {
    let method = request.method().as_str().to_ascii_lowercase();
    let path = request.uri().path().to_owned();
    // What is not served here is refused by the router.
    let Some(operation) = operation::find(&method, &path) else { return Ok((request, None)) };
    if registry.turnstile.as_ref().is_some_and(|it| !it.lets_pass(operation.action, operation.subject)) {
        return Err(Refusal::rate_limited());
    }
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_BYTES).await;
    let body = body.map_err(|error| Refusal::malformed(format!("the body cannot be read: {error}")))?;
    let dropped = fail(registry, &operation, &body).await?;
    if let Ok(json) = serde_json::from_slice(&body) {
        document::check_body(&method, operation.template, &json)?;
    }
    Ok((Request::from_parts(head, Body::from(body)), dropped))
}

/// Does to a call what the fault script says.
async fn fail(registry: &Registry, operation: &Operation<'_>, body: &Bytes) -> Result<Option<Moment>, Refusal> {
    let targets = targets(registry, operation, body);
    let call = Call { action: operation.action, app: operation.app, targets: &targets };
    let Some(effect) = registry.faults.of_call(call) else { return Ok(None) };
    tracing::info!(fly.action = ?operation.action, ?targets, ?effect, "a call fails on purpose");
    if let Some(delay) = effect.delay() {
        tokio::select! {
            () = tokio::time::sleep(delay) => (),
            () = registry.tasks.stopping() => return Err(Refusal::stopping()),
        }
    }
    match effect {
        CallEffect::Failure(failure) => Err(failure.refusal()),
        CallEffect::Answer(answer) => Err(answer.refusal()),
        CallEffect::Drop(dropped) => Ok(Some(dropped)),
        CallEffect::DelayMs(_) => Ok(None),
    }
}

/// What a machine or volume is known by; one that is only being made by its name.
fn targets(registry: &Registry, operation: &Operation<'_>, body: &Bytes) -> Vec<String> {
    let Some(id) = operation.id else {
        let new: Option<Value> = serde_json::from_slice(body).ok();
        return new.and_then(|new| Some(new.get("name")?.as_str()?.to_owned())).into_iter().collect();
    };
    let machine = registry.machine(operation.app, id).map(|machine| machine.name.clone());
    let name = machine.or_else(|_| registry.volume(operation.app, id).map(|volume| volume.name));
    std::iter::once(id.to_owned()).chain(name.ok()).collect()
}

/// An answer that breaks off before its first byte: hyper then closes the connection without a word.
fn broken_off() -> Response {
    let nothing = std::io::Error::new(std::io::ErrorKind::ConnectionAborted, "broken off by the fault script");
    Body::from_stream(futures_util::stream::iter([Err::<Bytes, _>(nothing)])).into_response()
}
