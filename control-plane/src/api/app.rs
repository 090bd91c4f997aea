//! What handlers are given: the state of the API, in which the context is that
//! of one request. Whoever is found to ask for it is noted there, so that the
//! audit can name them.

use std::sync::Arc;

use access::KnownKeys;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use client::events::EventStore;
use kernel::{Ctx, Error};
use kit::Tasks;
use metrics_exporter_prometheus::PrometheusHandle;
use pool::{Credentials, SharedProvider};
use signals::live::Live;
use signals::webhooks::Sender;
use wire::audit::REASON_HEADER;
use wire::grant::GrantKey;
use wire::limit::REASON_CHARS;
use wire::signature::Key;
use work::claims::Desk;

use super::attach::Attachments;
use super::problem::ApiError;
use crate::Config;

/// The state of the API; clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) ctx: Ctx,
    pub(crate) keys: KnownKeys,
    pub(crate) desk: Desk,
    pub(crate) work: Arc<work::Settings>,
    pub(crate) pool: Arc<pool::Settings>,
    pub(crate) provider: SharedProvider,
    pub(crate) work_on_disks: pool::SharedWork,
    pub(crate) runtimes: runtimes::Settings,
    pub(crate) credentials: Credentials,
    pub(crate) events: EventStore,
    pub(crate) event_secret: Key,
    /// Where machines reach the event store.
    pub(crate) events_public_url: Arc<str>,
    pub(crate) event_grants: GrantKey,
    pub(crate) sender: Sender,
    pub(crate) live: Live,
    pub(crate) attachments: Attachments,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) serving: Tasks,
}

impl App {
    pub(crate) fn new(
        ctx: Ctx,
        config: &Config,
        events: EventStore,
        (sender, live): (Sender, Live),
        metrics: PrometheusHandle,
        serving: Tasks,
    ) -> Self {
        Self {
            keys: KnownKeys::default(),
            desk: Desk::open(&ctx, &config.work, &serving),
            ctx,
            work: Arc::clone(&config.work),
            pool: Arc::clone(&config.pool),
            provider: config.provider.machines(&config.pool),
            work_on_disks: config.work_on_disks(),
            runtimes: config.runtimes,
            credentials: config.credentials(),
            events,
            event_secret: config.events.secret.clone(),
            events_public_url: config.events.public_url.as_str().into(),
            event_grants: GrantKey::of(&config.events.secret),
            sender,
            live,
            attachments: Attachments::default(),
            metrics,
            serving,
        }
    }
}

/// What the router holds: the state of the API outside of any request.
#[derive(Debug, Clone)]
pub(crate) struct Edge(pub(crate) App);

/// The state of the API in one request. It takes the place of axum's extractor of this name, which would
/// give a context that knows nobody.
pub(crate) struct State<T>(pub(crate) T);

impl FromRequestParts<Edge> for State<App> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, Edge(app): &Edge) -> Result<Self, ApiError> {
        let ctx = match parts.extensions.get::<Ctx>() {
            Some(ctx) => ctx.clone(),
            None => app.ctx.of_request(reason(parts)?),
        };
        parts.extensions.insert(ctx.clone());
        Ok(Self(App { ctx, ..app.clone() }))
    }
}

/// Why the caller asks, if it says so.
fn reason(parts: &Parts) -> Result<Option<String>, Error> {
    let Some(value) = parts.headers.get(REASON_HEADER) else { return Ok(None) };
    let text = std::str::from_utf8(value.as_bytes()).map(str::trim).unwrap_or_default();
    if text.is_empty() || text.chars().count() > REASON_CHARS || text.chars().any(char::is_control) {
        return Err(Error::invalid(REASON_HEADER, format!("must have 1 to {REASON_CHARS} characters, in UTF-8")));
    }
    Ok(Some(text.to_owned()))
}
