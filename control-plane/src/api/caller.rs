//! Who is asking: people and programs by API key, machines by their token,
//! workers by theirs. A handler that needs a permission names it in its
//! arguments, and gets a tenant from nowhere else. Whoever was proven to ask is
//! noted in the request's context, here and nowhere else.

use std::marker::PhantomData;

use access::Caller;
use access::permission::{Required, WorkersWrite};
use axum::extract::{FromRequestParts, Path};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use kernel::{Actor, Ctx, Error};
use pool::workers::Worker;
use wire::id::WorkerId;

use super::app::Edge;
use super::problem::ApiError;
use super::{App, State};

/// A caller whose key carries the permission `P`.
pub(crate) struct Allowed<P>(pub(crate) Caller, pub(crate) PhantomData<P>);

impl<P: Required> FromRequestParts<Edge> for Allowed<P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, ApiError> {
        let caller = edge.0.keys.authenticate(&edge.0.ctx, bearer(parts)?).await?;
        caller.require(P::PERMISSION)?;
        identify(parts, edge, Actor::ApiKey(caller.key)).await?.belongs_to(caller.tenant);
        Ok(Self(caller, PhantomData))
    }
}

/// The token that a machine or a worker sent; what it opens depends on the body.
pub(crate) struct Bearer(pub(crate) String);

impl FromRequestParts<Edge> for Bearer {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Edge) -> Result<Self, ApiError> {
        Ok(Self(bearer(parts)?.to_owned()))
    }
}

/// The worker that the path names, proven by its token.
pub(crate) struct ThisWorker(pub(crate) Worker);

impl FromRequestParts<Edge> for ThisWorker {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, ApiError> {
        let refused = Error::Unauthenticated("the worker's token is not valid; register again");
        proven_worker(parts, edge).await?.map(Self).ok_or_else(|| refused.into())
    }
}

/// Whoever may say that the worker of the path is alive: a runner with its own token, or anybody
/// whose key may write workers.
pub(crate) enum Witness {
    /// The worker's own runner.
    Runner(Box<Worker>),
    /// A key's holder.
    Key,
}

impl FromRequestParts<Edge> for Witness {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, edge: &Edge) -> Result<Self, ApiError> {
        match proven_worker(parts, edge).await? {
            Some(worker) => Ok(Self::Runner(Box::new(worker))),
            None => Allowed::<WorkersWrite>::from_request_parts(parts, edge).await.map(|_| Self::Key),
        }
    }
}

/// The worker that the path names, if the bearer is its token.
async fn proven_worker(parts: &mut Parts, edge: &Edge) -> Result<Option<Worker>, ApiError> {
    let Edge(app) = edge;
    let token = bearer(parts)?.to_owned();
    let Ok(Path(names)) = Path::<Vec<(String, String)>>::from_request_parts(parts, edge).await else {
        return Ok(None);
    };
    let Some(id) = names.first().and_then(|(_, text)| text.parse::<WorkerId>().ok()) else { return Ok(None) };
    let mut tx = app.ctx.read("api.proven_worker").await?;
    let worker = pool::workers::find(&mut tx, id).await?;
    let owns = |worker: &Worker| worker.boot.is_some_and(|boot| app.credentials.owns_worker_token(id, boot, &token));
    let proven = worker.filter(owns);
    if let Some(worker) = &proven {
        identify(parts, edge, Actor::Worker(worker.id)).await?;
    }
    Ok(proven)
}

/// Notes who asks, in the context that the handler is given, and gives it.
async fn identify(parts: &mut Parts, edge: &Edge, actor: Actor) -> Result<Ctx, ApiError> {
    let State(app) = State::<App>::from_request_parts(parts, edge).await?;
    app.ctx.identify(actor);
    Ok(app.ctx)
}

fn bearer(parts: &Parts) -> Result<&str, Error> {
    let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = header.and_then(|value| value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer ")));
    token.map(str::trim).filter(|token| !token.is_empty()).ok_or(Error::Unauthenticated(
        "an API key is needed: send the header Authorization: Bearer KEY (see the file api-key of the data directory)",
    ))
}
