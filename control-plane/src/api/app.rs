//! What handlers are given.

use std::sync::Arc;

use access::KnownKeys;
use client::events::EventStore;
use kernel::Ctx;
use kit::Tasks;
use metrics_exporter_prometheus::PrometheusHandle;
use pool::Credentials;
use wire::grant::GrantKey;
use wire::signature::Key;
use work::claims::Desk;

use crate::Config;

/// The state of the API; clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) ctx: Ctx,
    pub(crate) keys: KnownKeys,
    pub(crate) desk: Desk,
    pub(crate) work: Arc<work::Settings>,
    pub(crate) pool: Arc<pool::Settings>,
    pub(crate) credentials: Credentials,
    pub(crate) events: EventStore,
    pub(crate) event_secret: Key,
    pub(crate) event_grants: GrantKey,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) serving: Tasks,
}

impl App {
    pub(crate) fn new(
        ctx: Ctx,
        config: &Config,
        events: EventStore,
        metrics: PrometheusHandle,
        serving: Tasks,
    ) -> Self {
        Self {
            keys: KnownKeys::default(),
            desk: Desk::open(&ctx, &config.work, &serving),
            ctx,
            work: Arc::clone(&config.work),
            pool: Arc::clone(&config.pool),
            credentials: config.credentials(),
            events,
            event_secret: config.events.secret.clone(),
            event_grants: GrantKey::of(&config.events.secret),
            metrics,
            serving,
        }
    }
}
