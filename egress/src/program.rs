//! The program `bifrost-egress`: its arguments, and its life from start to stop.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use client::events::{EventStore, Signer};
use client::sender::{Limits, Sender};
use kit::{Chance, Clock, Tasks, Vars};
use tokio::net::TcpListener;
use tokio::sync::watch;
use wire::grant::GrantKey;
use wire::limit::EVENTS_PER_BATCH;
use wire::signature::Key;

use crate::policy::BadRules;
use crate::{Config, Door, OPEN_TOLD_AFTER, Rules, STOP};

/// What waits while the event store is away; a connection that ends then waits too.
const LIMITS: Limits =
    Limits { spool_bytes: 64 * 1024 * 1024, batch_events: EVENTS_PER_BATCH, batch_bytes: 4 * 1024 * 1024 };

/// The arguments of `bifrost-egress` and `bifrost egress serve`.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Where the proxy listens
    #[arg(long, env = "BIFROST_EGRESS_LISTEN", default_value = "127.0.0.1:3128", value_name = "ADDR")]
    pub listen: String,
    /// Keeps events here until the event store has them
    #[arg(long, env = "BIFROST_EGRESS_DATA", default_value = "egress-data", value_name = "DIR")]
    pub spool: PathBuf,
    /// The allow-list, in place of the built-in one; read anew on SIGHUP
    #[arg(long, env = "BIFROST_EGRESS_ALLOW", value_name = "FILE")]
    pub allow: Option<PathBuf>,
    /// Allow this host as well, such as git.example.org or *.example.org:8443
    #[arg(long, env = "BIFROST_EGRESS_HOSTS", value_name = "HOST[:PORT]", value_delimiter = ',')]
    pub host: Vec<String>,
    /// A port that leads to one place, such as [::]:7600=bifrost-control.internal:7600
    #[arg(long, env = "BIFROST_EGRESS_DOORS", value_name = "LISTEN=HOST:PORT", value_delimiter = ',')]
    pub door: Vec<Door>,
    /// Serve requests without a grant as well, by the rules that are for every task
    #[arg(long, env = "BIFROST_EGRESS_OPEN")]
    pub open: bool,
    /// Connections at a time
    #[arg(long, env = "BIFROST_EGRESS_CONNECTIONS", default_value_t = 512, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub connections: u32,
}

/// Something that was given to the proxy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// There is no such file, or it may not be read.
    #[error("{} cannot be read: {error}", path.display())]
    Unread {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// The file is no allow-list.
    #[error("{} cannot be used: {error}", path.display())]
    List {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: BadRules,
    },
    /// It is no host.
    #[error("{0:?} is no HOST, HOST:PORT or *.SUFFIX:PORT")]
    Host(String),
    /// It is nothing to listen on.
    #[error("{0:?} is no address to listen on")]
    Listen(String),
}

/// Runs the proxy until SIGINT or SIGTERM.
pub async fn run(arguments: Arguments, mut vars: Vars) -> anyhow::Result<()> {
    let events_url = vars.required::<String>("BIFROST_EVENTS_URL");
    let secret = vars.required::<String>("FLY_EVENT_SECRET");
    let previous = vars.optional::<String>("FLY_EVENT_SECRET_PREVIOUS");
    if let Some(Err(why)) = events_url.as_deref().map(kit::http::check_base_url) {
        vars.problem(format!("BIFROST_EVENTS_URL: {why}"));
    }
    vars.finish()?;
    let (events_url, secret) = events_url.zip(secret).context("the environment is not usable")?;
    let key = Key::parse(&secret).context("FLY_EVENT_SECRET")?;
    let previous = previous.map(|text| Key::parse(&text)).transpose().context("FLY_EVENT_SECRET_PREVIOUS")?;
    let rules = rules(arguments.allow.as_deref(), &arguments.host)?;
    let listener = listen(&arguments.listen).await?;
    let mut doors = Vec::new();
    for door in &arguments.door {
        doors.push((listen(&door.listen).await?, door.clone()));
    }
    let (clock, chance, tasks) = (Clock::system(), Chance::system(), Tasks::new());
    let sender = sender(&arguments.spool, &events_url, key.clone(), (&clock, &chance), &tasks)?;
    let (current, seen) = watch::channel(rules);
    let config = Config {
        rules: seen,
        grants: std::iter::once(&key).chain(&previous).map(GrantKey::of).collect(),
        is_open: arguments.open,
        connections: usize::try_from(arguments.connections).unwrap_or(usize::MAX),
        open_told_after: OPEN_TOLD_AFTER,
    };
    let told = kit::tasks::termination();
    let address = listener.local_addr().map(|address| address.to_string()).unwrap_or_default();
    tracing::info!(address, "the egress proxy serves");
    crate::start(config, listener, doors, sender, (clock, chance), &tasks);
    tasks.spawn_until_stopped("egress rules", reload(arguments, current));
    told.await;
    Ok(tasks.stop_within(STOP).await?)
}

/// What sends the proxy's events, which are in nobody's name but the system's.
pub fn sender(
    spool: &Path,
    events_url: &str,
    key: Key,
    (clock, chance): (&Clock, &Chance),
    tasks: &Tasks,
) -> anyhow::Result<Sender> {
    let signer = Signer { key, key_id: None, clock: clock.clone(), chance: chance.clone() };
    let store = EventStore::new(events_url, signer);
    std::fs::create_dir_all(spool).with_context(|| format!("cannot make {}", spool.display()))?;
    let opened = Sender::open(spool, store, LIMITS, chance.clone(), tasks);
    opened.with_context(|| format!("cannot use {} for events that wait; name another directory", spool.display()))
}

/// The rules of a file, or the usual ones, and these hosts besides.
pub fn rules(allow: Option<&Path>, hosts: &[String]) -> Result<Rules, Unusable> {
    let rules = match allow {
        None => Rules::usual(),
        Some(path) => {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| Unusable::Unread { path: path.to_owned(), error })?;
            Rules::parse(&text).map_err(|error| Unusable::List { path: path.to_owned(), error })?
        }
    };
    hosts.iter().try_fold(rules, |rules, host| rules.with(host).map_err(|_| Unusable::Host(host.clone())))
}

/// A list that cannot be used leaves the old one in force.
async fn reload(arguments: Arguments, current: watch::Sender<Rules>) {
    let hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup());
    let Ok(mut hangup) = hangup else { return tracing::warn!("SIGHUP cannot be heard; rules stay as they are") };
    while hangup.recv().await.is_some() {
        match rules(arguments.allow.as_deref(), &arguments.host) {
            Ok(rules) => {
                current.send_replace(rules);
                tracing::info!("the egress rules were read anew");
            }
            Err(error) => tracing::error!("the egress rules stay as they are: {error}"),
        }
    }
}

async fn listen(address: &str) -> anyhow::Result<TcpListener> {
    let found = tokio::net::lookup_host(address).await.ok().and_then(|mut found| found.next());
    let found = found.ok_or_else(|| Unusable::Listen(address.to_owned()))?;
    kit::net::listen(found).await.with_context(|| format!("cannot listen on {address}; choose another address"))
}
