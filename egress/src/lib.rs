//! The egress proxy: the only way from machines to anything outside, for what is on
//! an allow-list, and on the record.
//!
//! It promises: a connection is made only to a host and a port that a rule names,
//! for a task that shows its grant; never to a private address, unless the rule
//! says so, and never to one of a metadata service, whatever name led there; what
//! was asked for, by whom, and what became of it is an event of the task. It sees
//! inside no connection: what is encrypted stays so.
//!
//! It also holds doors: ports that each lead to one place, so that machines reach
//! the control plane and the event store without being in their network.

mod connection;
mod credential;
mod door;
mod head;
mod policy;
pub mod program;
mod record;
mod relay;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use client::sender::Sender;
use kit::{Chance, Clock, Tasks};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use wire::grant::GrantKey;

pub use door::{BadDoor, Door};
pub use policy::{BadRules, Rules};

use connection::Proxy;
use record::Record;

/// How long the end of a connection may take when everything stops.
pub const STOP: Duration = Duration::from_secs(10);

/// As long as a request is usually open before it is told of, should it not have ended.
pub const OPEN_TOLD_AFTER: Duration = Duration::from_secs(10);

/// What the proxy is told when it starts.
#[derive(Debug)]
pub struct Config {
    /// What may be reached; a change counts from the next connection on.
    pub rules: watch::Receiver<Rules>,
    /// What grants are checked with, the current one first.
    pub grants: Vec<GrantKey>,
    /// Whether a request without a grant is served, by the rules that are for everybody.
    pub is_open: bool,
    /// Connections at a time; more are turned away.
    pub connections: usize,
    /// What is open for so long is told of before its end.
    pub open_told_after: Duration,
}

/// Listens on the proxy's address and on the doors until the tasks stop; what happens goes to `sender`.
pub fn start(
    config: Config,
    listener: TcpListener,
    doors: Vec<(TcpListener, Door)>,
    sender: Sender,
    (clock, chance): (Clock, Chance),
    tasks: &Tasks,
) {
    let room = Arc::new(Semaphore::new(config.connections));
    let record = Record::new(sender, clock, chance);
    let proxy = Arc::new(Proxy::new(config, record, tasks.clone()));
    for (listener, door) in doors {
        let (room, own) = (Arc::clone(&room), tasks.clone());
        tasks.spawn_until_stopped("egress door", door.serve(listener, room, own));
    }
    let own = tasks.clone();
    tasks.spawn_until_stopped("egress proxy", async move {
        loop {
            let Some((stream, peer)) = accepted(&listener).await else { continue };
            let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                own.spawn("egress refusal", connection::turn_away(stream));
                continue;
            };
            let proxy = Arc::clone(&proxy);
            own.spawn("egress connection", async move {
                proxy.serve(stream, peer).await;
                drop(permit);
            });
        }
    });
}

/// The next connection; nothing when there was trouble, which is over when this returns.
pub(crate) async fn accepted(listener: &TcpListener) -> Option<(tokio::net::TcpStream, SocketAddr)> {
    match listener.accept().await {
        Ok((stream, peer)) => {
            drop(stream.set_nodelay(true));
            Some((stream, peer))
        }
        Err(error) => {
            tracing::warn!(%error, "the egress proxy cannot take a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

#[cfg(test)]
mod tests;
