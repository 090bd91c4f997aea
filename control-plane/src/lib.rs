//! The control plane's edge: the HTTP API over the slices, and the wiring that
//! makes one process of them.
//!
//! Handlers translate and nothing else; every one that needs a permission names
//! it in its arguments. [`start`] brings the database up to date, gives every
//! lease a term of grace (nobody could renew while we were away), and starts the
//! background work.

mod api;
mod config;
mod program;

use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use client::events::{EventStore, Signer};
use kernel::{Address, Ctx, Db, Election, Migration, NewerDatabase, drive, drive_everywhere, share_nudges};
use kit::{Chance, Clock, Tasks};
use metrics_exporter_prometheus::PrometheusHandle;
use signals::live::{Live, LiveFeed};
use signals::webhooks::{FanOut, Sender, WebhookDelivery};
use tokio::net::TcpListener;

pub use api::openapi;
pub use config::{API_KEY_FILE, Config, Events, MachinesApi, Provider, SpritesApi, api_key_of, secret_of};
pub use program::{Arguments, run};

/// How long requests under way may take after the stop was given.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// Why the control plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database was made by a newer program.
    #[error(transparent)]
    Newer(NewerDatabase),
    /// The database cannot be used.
    #[error("cannot use the database {address:?}; check that it is there and that this user may write to it")]
    Database {
        /// Which.
        address: Address,
        /// What it said.
        #[source]
        source: kernel::Error,
    },
    /// The API key cannot be used.
    #[error("{0}")]
    ApiKey(kernel::Error),
}

/// A running control plane.
#[derive(Debug)]
pub struct ControlPlane {
    ctx: Ctx,
    /// Where other control planes may share the database.
    election: Option<Arc<Election>>,
    background: Tasks,
    serving: Tasks,
}

/// All tables, of all slices.
pub fn migrations() -> Vec<Migration> {
    [
        kernel::MIGRATIONS,
        access::MIGRATIONS,
        pool::MIGRATIONS,
        runtimes::MIGRATIONS,
        signals::MIGRATIONS,
        work::MIGRATIONS,
    ]
    .concat()
}

/// Opens the database, starts the background work and serves the API on the listener.
pub async fn start(
    config: Config,
    listener: TcpListener,
    clock: Clock,
    chance: Chance,
    metrics: PrometheusHandle,
) -> Result<ControlPlane, StartError> {
    let mut ctx = open(&config, clock.clone(), chance.clone()).await?;
    for budget in pool::money::too_small(&config.pool, ctx.now()) {
        tracing::warn!("{budget}");
    }
    if let Some(why) = config.pool.warm_beyond_cap() {
        tracing::warn!("{why}");
    }
    let (background, serving) = (Tasks::new(), Tasks::new());
    let election = matches!(ctx.db, Db::Postgres(_)).then(|| Election::enter(&mut ctx));
    if let Some(election) = &election {
        election.run(&background);
        share_nudges(&ctx, &serving);
    }
    let signer = Signer { key: config.events.secret.clone(), key_id: None, clock, chance };
    let events = EventStore::new(&config.events.url, signer);
    let (sender, live) = (Sender::new(&config.secret, config.webhooks_reach), Live::default());
    let listeners = (sender.clone(), live.clone());
    let app = api::App::new(ctx.clone(), &config, events.clone(), listeners, metrics, serving.clone());
    reconcile(&ctx, &config, Arc::clone(&app.provider), events, &background);
    drive_everywhere(&ctx, &background, LiveFeed(live));
    drive(&ctx, &background, FanOut);
    drive(&ctx, &background, WebhookDelivery::new(sender, background.clone()));
    let stopping = serving.clone();
    let server = axum::serve(listener.tap_io(set_nodelay), api::router(app))
        .with_graceful_shutdown(async move { stopping.stopping().await });
    serving.spawn("control-plane", async move {
        if let Err(error) = server.await {
            tracing::error!(%error, "the control plane stopped serving");
        }
    });
    Ok(ControlPlane { ctx, election, background, serving })
}

/// Small answers must not wait for more; a connection that refuses is slower, not wrong.
fn set_nodelay(connection: &mut tokio::net::TcpStream) {
    connection.set_nodelay(true).ok();
}

async fn open(config: &Config, clock: Clock, chance: Chance) -> Result<Ctx, StartError> {
    let database = |source| StartError::Database { address: config.database.clone(), source };
    let db = Db::open(&config.database).await.map_err(database)?;
    let ctx = Ctx::new(db, clock, chance);
    kernel::migrate(&ctx, &migrations()).await.map_err(|error| match newer(error) {
        Ok(newer) => StartError::Newer(newer),
        Err(error) => database(error),
    })?;
    access::ensure_bootstrap_key(&ctx, &config.api_key).await.map_err(StartError::ApiKey)?;
    work::leases::grant_grace(&ctx, &config.work).await.map_err(database)?;
    pool::orphans::begin(&ctx).await.map_err(database)?;
    Ok(ctx)
}

fn newer(error: kernel::Error) -> Result<NewerDatabase, kernel::Error> {
    match error {
        kernel::Error::Internal(cause) => cause.downcast().map_err(kernel::Error::Internal),
        other => Err(other),
    }
}

fn reconcile(ctx: &Ctx, config: &Config, provider: pool::SharedProvider, events: EventStore, tasks: &Tasks) {
    let (pool, work) = (Arc::clone(&config.pool), Arc::clone(&config.work));
    drive(ctx, tasks, work::Scheduler::new(Arc::clone(&work), Arc::clone(&pool)));
    drive(ctx, tasks, work::Timers::new(Arc::clone(&work)));
    drive(ctx, tasks, work::LostWork::new(work));
    drive(ctx, tasks, work::Arrivals);
    drive(ctx, tasks, work::checkpoints::LostCheckpoints);
    let waker = config.events.app.as_ref().zip(config.provider.machines_api());
    let waker = waker.map(|(app, api)| signals::Waker::new(api.client(), app));
    drive(ctx, tasks, pool::EnsureApp::new(Arc::clone(&provider), &pool));
    let steps = tasks.clone();
    let (credentials, on_disks) = (config.credentials(), config.work_on_disks());
    drive(ctx, tasks, pool::Provision::new(Arc::clone(&provider), Arc::clone(&pool), on_disks, credentials, steps));
    drive(ctx, tasks, pool::Ledger::new(Arc::clone(&pool)));
    drive(ctx, tasks, pool::Watch::new(provider, pool));
    drive(ctx, tasks, pool::StaleWorkers::default());
    drive(ctx, tasks, signals::OutboxDelivery::new(events, waker));
    drive(ctx, tasks, signals::Housekeeping);
    drive(ctx, tasks, runtimes::Sweep::new(config.runtimes));
}

impl ControlPlane {
    /// Waits until no machine is at work or on its way to sleep, at most so long; says whether it came to that.
    pub async fn settled_within(&self, limit: Duration) -> bool {
        let mut nudged = self.ctx.nudges.subscribe(pool::CAPACITY_NUDGE);
        let settled = async {
            loop {
                nudged.borrow_and_update();
                match pool::machines::list(&self.ctx).await {
                    Ok(machines) if machines.iter().all(|machine| is_at_rest(machine.state)) => return,
                    Ok(_) | Err(_) => (),
                }
                if nudged.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::time::timeout(limit, settled).await.is_ok()
    }

    /// Ends the background work: from now on nobody starts a machine or schedules a task.
    pub async fn stop_background(&self) {
        if let Err(still) = self.background.stop_within(STOP_LIMIT).await {
            tracing::warn!(%still, "background work had to be left");
        }
        if let Some(election) = &self.election {
            election.leave().await;
        }
    }

    /// Ends what is under way and closes the database.
    pub async fn stop(self) {
        self.stop_background().await;
        if let Err(still) = self.serving.stop_within(STOP_LIMIT).await {
            tracing::warn!(%still, "requests had to be left");
        }
        self.ctx.db.close().await;
    }
}

fn is_at_rest(state: wire::machine::MachineState) -> bool {
    use wire::machine::MachineState::{
        Creating, Destroyed, Destroying, Draining, Ready, Resuming, Starting, Suspended, Suspending,
    };
    match state {
        Suspended | Destroyed => true,
        Creating | Starting | Ready | Draining | Suspending | Resuming | Destroying => false,
    }
}
