//! The HTTP API: the routes, what every request goes through, and the OpenAPI
//! document made of the same handlers.
//!
//! Canonical paths begin with `/v1`; the backlogs' literal paths (`/tasks`, …)
//! lead to the same handlers (decision C-25).

mod app;
mod assignments;
mod attach;
mod audit;
mod body;
mod budgets;
mod bulk;
mod caller;
mod checkpoints;
mod claims;
mod cost;
mod dependencies;
mod document;
mod edge;
mod events;
mod executions;
mod forecast;
mod health;
mod holds;
mod import;
mod limits;
mod logs;
mod machines;
mod metadata;
mod outcomes;
mod problem;
mod projects;
mod proposals;
mod queue;
mod record;
mod runtimes;
mod schedules;
mod strategies;
mod stream;
mod tasks;
mod version;
mod webhooks;
mod worker_protocol;
mod workers;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderName, Method, Request};
use axum::middleware::from_fn_with_state;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{Any, CorsLayer};
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub(crate) use app::{App, Edge, State};
pub use document::openapi;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Every route with its documentation, below `/v1`.
fn operations() -> OpenApiRouter<Edge> {
    OpenApiRouter::new()
        .routes(routes!(tasks::submit, tasks::list))
        .routes(routes!(tasks::submit_batch))
        .routes(routes!(import::import))
        .routes(routes!(import::export))
        .routes(routes!(forecast::plan))
        .routes(routes!(forecast::critical_path))
        .routes(routes!(tasks::search))
        .routes(routes!(bulk::cancel))
        .routes(routes!(bulk::retry))
        .routes(routes!(assignments::prioritize))
        .routes(routes!(assignments::assign_batch))
        .routes(routes!(tasks::get, tasks::update, tasks::delete))
        .routes(routes!(tasks::assign))
        .routes(routes!(assignments::assign_optimal))
        .routes(routes!(assignments::preempt))
        .routes(routes!(assignments::split))
        .routes(routes!(tasks::estimate))
        .routes(routes!(tasks::cancel))
        .routes(routes!(tasks::retry))
        .routes(routes!(tasks::why))
        .routes(routes!(dependencies::list, dependencies::add))
        .routes(routes!(dependencies::remove))
        .routes(routes!(dependencies::ready))
        .routes(routes!(dependencies::blocks))
        .routes(routes!(dependencies::blocking_impact))
        .routes(routes!(dependencies::graph))
        .routes(routes!(outcomes::list))
        .routes(routes!(outcomes::set, outcomes::withdraw))
        .routes(routes!(metadata::get, metadata::set))
        .routes(routes!(metadata::of_tasks))
        .routes(routes!(metadata::tag))
        .routes(routes!(metadata::tagged))
        .routes(routes!(metadata::custom_fields))
        .routes(routes!(logs::logs))
        .routes(routes!(attach::attach))
        .routes(routes!(executions::list, executions::start))
        .routes(routes!(executions::stale))
        .routes(routes!(claims::claim))
        .routes(routes!(claims::start))
        .routes(routes!(claims::heartbeat))
        .routes(routes!(claims::release))
        .routes(routes!(claims::complete_all))
        .routes(routes!(executions::complete))
        .routes(routes!(strategies::list, strategies::add))
        .routes(routes!(strategies::get, strategies::update, strategies::delete))
        .routes(routes!(executions::subtasks))
        .routes(routes!(checkpoints::list))
        .routes(routes!(checkpoints::kept))
        .routes(routes!(checkpoints::get))
        .routes(routes!(checkpoints::diff))
        .routes(routes!(checkpoints::pin, checkpoints::unpin))
        .routes(routes!(checkpoints::restore))
        .routes(routes!(checkpoints::tell))
        .routes(routes!(machines::list))
        .routes(routes!(machines::last_sweep, machines::sweep))
        .routes(routes!(machines::get, machines::destroy))
        .routes(routes!(machines::suspend))
        .routes(routes!(machines::resume))
        .routes(routes!(machines::abandon))
        .routes(routes!(machines::abandon_app))
        .routes(routes!(machines::discard_volume))
        .routes(routes!(cost::report))
        .routes(routes!(workers::list, workers::add))
        .routes(routes!(workers::stale))
        .routes(routes!(workers::get, workers::update, workers::remove))
        .routes(routes!(worker_protocol::heartbeat))
        .routes(routes!(worker_protocol::register))
        .routes(routes!(worker_protocol::next))
        .routes(routes!(worker_protocol::start))
        .routes(routes!(attach::meet))
        .routes(routes!(worker_protocol::complete))
        .routes(routes!(holds::list, holds::set))
        .routes(routes!(holds::remove))
        .routes(routes!(limits::list))
        .routes(routes!(limits::get, limits::set, limits::remove))
        .routes(routes!(projects::list))
        .routes(routes!(queue::look))
        .routes(routes!(runtimes::list, runtimes::register))
        .routes(routes!(runtimes::get, runtimes::deregister))
        .routes(routes!(runtimes::heartbeat))
        .routes(routes!(runtimes::pause))
        .routes(routes!(runtimes::resume))
        .routes(routes!(runtimes::triggers, runtimes::trigger))
        .routes(routes!(runtimes::force))
        .routes(routes!(runtimes::next))
        .routes(routes!(runtimes::report))
        .routes(routes!(proposals::list, proposals::propose))
        .routes(routes!(proposals::accept))
        .routes(routes!(projects::weigh))
        .routes(routes!(budgets::list, budgets::create))
        .routes(routes!(budgets::get, budgets::update, budgets::delete))
        .routes(routes!(schedules::list, schedules::create))
        .routes(routes!(schedules::get, schedules::update, schedules::delete))
        .routes(routes!(events::feed))
        .routes(routes!(events::of_task))
        .routes(routes!(audit::list))
        .routes(routes!(stream::all))
        .routes(routes!(stream::of_task))
        .routes(routes!(webhooks::add, webhooks::list))
        .routes(routes!(webhooks::verify))
        .routes(routes!(webhooks::get, webhooks::update, webhooks::delete))
        .routes(routes!(webhooks::rotate))
        .routes(routes!(webhooks::ping))
        .routes(routes!(webhooks::deliveries))
        .routes(routes!(webhooks::redeliver))
}

/// The whole API, ready to serve.
pub(crate) fn router(app: App) -> Router {
    let (operations, _) = operations().split_for_parts();
    Router::new()
        .nest("/v1", operations.clone())
        .merge(operations)
        .merge(health::router())
        .fallback(problem::no_such_route)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(DefaultBodyLimit::max(wire::limit::BODY_BYTES))
        .layer(from_fn_with_state(app.clone(), edge::edge))
        .layer(cors())
        .layer(CatchPanicLayer::custom(problem::from_panic))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetRequestIdLayer::new(REQUEST_ID, NameRequests(app.ctx.chance.clone())))
        .with_state(Edge(app))
}

/// Pages of any origin may call (row CAIRN-6): nothing here trusts a browser's cookies, every call carries
/// its key.
fn cors() -> CorsLayer {
    let methods = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let sent = ["authorization", "content-type", "idempotency-key", "if-match", "last-event-id", "x-reason"]
        .map(HeaderName::from_static);
    let shown =
        ["x-request-id", "x-total-count", "x-total-count-more", "retry-after", "etag"].map(HeaderName::from_static);
    CorsLayer::new().allow_origin(Any).allow_methods(methods).allow_headers(sent).expose_headers(shown)
}

/// Names requests that come without a name.
#[derive(Clone)]
struct NameRequests(kit::Chance);

impl MakeRequestId for NameRequests {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        self.0.hex::<8>().parse().ok().map(RequestId::new)
    }
}

#[cfg(test)]
mod tests;
