//! Connections: who may open one, how many there are, and how long each may take
//! to say what it wants.
//!
//! A peer that the store is not for is turned away before a byte of it is read.
//! Past the bound a new connection is refused at once and counted; a peer that is
//! silent, drips, or takes nothing of what it asked for is let go of. HTTP/1.1
//! only, which is what our clients speak on a private network.

mod turns;

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use axum::Router;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use kit::{Tasks, Vars};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use turns::{Answer, Turns};

/// What a stop leaves to requests that are under way.
const DRAIN: Duration = Duration::from_secs(5);
/// Files that the process keeps for everything that is no connection.
const OTHER_FILES: usize = 256;
/// When the system has no file left, the next connection is asked for so much later.
const REST: Duration = Duration::from_millis(100);
/// The largest head of a request.
const HEAD_BYTES: usize = 16 * 1024;
/// What one connection may read ahead, and what it may hold back for a slow reader before it
/// asks for no more.
const BUFFER_BYTES: usize = 128 * 1024;
/// What the environment of every machine on Fly has.
const FLY_NAMES: [&str; 3] = ["FLY_PRIVATE_IP", "FLY_MACHINE_ID", "FLY_APP_NAME"];

/// What connections may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections that are open at the same time; fewer where the process may not open so many files.
    pub connections: usize,
    /// How often a connection is looked at; one on which no request was under way since the look
    /// before, nor the whole head of one came, is closed.
    pub patience: Duration,
    /// The same for those that come when seven eighths of the connections are taken, so that
    /// idle ones make room for working ones.
    pub patience_when_crowded: Duration,
    /// How long a request's body may take to arrive.
    pub body: Duration,
    /// How long a peer may take nothing of what is sent to it.
    pub unread: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 12_288,
            patience: Duration::from_secs(40),
            patience_when_crowded: Duration::from_secs(5),
            body: Duration::from_secs(30),
            unread: Duration::from_secs(60),
        }
    }
}

/// Who may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peers {
    /// Whoever reaches the address that is listened on.
    Everybody,
    /// Fly's private network, fdaa::/16, and this machine.
    FlyPrivateNetwork,
}

impl Peers {
    /// Fly's private network on a machine there; everybody elsewhere.
    pub fn from_vars(vars: &Vars) -> Self {
        let is_on_fly = FLY_NAMES.iter().any(|name| vars.text(name).is_some());
        if is_on_fly { Self::FlyPrivateNetwork } else { Self::Everybody }
    }

    fn admit(self, peer: IpAddr) -> bool {
        match (self, peer.to_canonical()) {
            (Self::Everybody, _) => true,
            (Self::FlyPrivateNetwork, IpAddr::V4(peer)) => peer.is_loopback(),
            (Self::FlyPrivateNetwork, IpAddr::V6(peer)) => peer.is_loopback() || peer.segments()[0] == 0xfdaa,
        }
    }
}

/// Lets this process open as many files as the system allows it to.
pub(crate) fn raise_open_files() -> io::Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// Decides about new connections.
#[derive(Debug, Clone, Copy)]
struct Door {
    peers: Peers,
    limits: Limits,
}

/// Why a connection is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Peer,
    Full,
}

impl Door {
    fn new(peers: Peers, limits: Limits) -> Self {
        let files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
        let connections = files.map_or(limits.connections, |files| at_most(files).min(limits.connections));
        Self { peers, limits: Limits { connections, ..limits } }
    }

    /// How long the connection may be silent, if it may come in beside those that are open.
    fn judge(&self, peer: IpAddr, open: usize) -> Result<Duration, Refusal> {
        let Limits { connections, patience, patience_when_crowded, .. } = self.limits;
        if !self.peers.admit(peer) {
            return Err(Refusal::Peer);
        }
        if open >= connections {
            return Err(Refusal::Full);
        }
        Ok(if open >= connections / 8 * 7 { patience_when_crowded } else { patience })
    }
}

/// Connections of a process that may open so many files.
fn at_most(files: usize) -> usize {
    files.saturating_sub(OTHER_FILES).max(files / 2)
}

/// Accepts connections and serves them until the stop is given; then those that are under way
/// end well or, when it takes them too long, are cut off. None outlives this.
pub(crate) async fn serve(listener: TcpListener, router: Router, peers: Peers, limits: Limits, tasks: &Tasks) {
    let door = Door::new(peers, limits);
    let mut open = JoinSet::new();
    let stop = GracefulShutdown::new();
    loop {
        metrics::gauge!("event_store_connections").set(open.len() as f64);
        tokio::select! {
            () = tasks.stopping() => break,
            Some(ended) = open.join_next() => report(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => match door.judge(peer.ip(), open.len()) {
                    Ok(patience) => {
                        prepare(&stream, limits.unread);
                        open.spawn(connection(stream, patience, router.clone(), stop.watcher(), tasks.clone()));
                    }
                    Err(refusal) => refuse(stream, peer.ip(), refusal),
                },
                Err(error) => rest_after(&error).await,
            },
        }
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, stop.shutdown()).await.is_err() {
        tracing::warn!(connections = open.len(), "connections were still open when the event store stopped");
    }
    open.shutdown().await;
}

/// Sets the socket up; one that refuses is slower, not wrong.
fn prepare(stream: &TcpStream, unread: Duration) {
    // Small answers must not wait for more.
    stream.set_nodelay(true).ok();
    // So the kernel lets go of a machine that was suspended, and of a stream that nobody reads.
    let unread_ms = u32::try_from(unread.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(stream, unread_ms).ok();
}

/// Serves one connection to its end.
async fn connection(stream: TcpStream, patience: Duration, router: Router, stop: Watcher, tasks: Tasks) {
    // Until a peer says something it costs its socket and this task, and none of hyper's buffers.
    let mut first = [0];
    let spoke = tokio::select! {
        spoke = tokio::time::timeout(patience, stream.peek(&mut first)) => matches!(spoke, Ok(Ok(1))),
        () = tasks.stopping() => false,
    };
    if spoke {
        // In a box, so that those who are silent do not take the room for it.
        Box::pin(speak(stream, patience, router, stop)).await;
    }
}

/// Answers requests until the peer has no more, or takes too long to begin one.
async fn speak(stream: TcpStream, patience: Duration, router: Router, stop: Watcher) {
    let turns = Turns::default();
    let router = TowerToHyperService::new(router);
    let service = service_fn(|request: Request<Incoming>| {
        let under_way = turns.begin();
        let answer = router.call(request);
        async move { answer.await.map(|answer| answer.map(|body| Answer { body, _under_way: under_way })) }
    });
    let mut http = http1::Builder::new();
    http.max_header_size(HEAD_BYTES).max_buf_size(BUFFER_BYTES);
    tokio::select! {
        biased;
        served = stop.watch(http.serve_connection(TokioIo::new(stream), service)) => {
            if let Err(error) = served {
                tracing::debug!(error = &error as &dyn std::error::Error, "a connection broke off");
            }
        }
        () = turns.silence(patience) => (),
    }
}

/// Resets the connection, which leaves nothing of it behind.
fn refuse(stream: TcpStream, peer: IpAddr, refusal: Refusal) {
    let reason = match refusal {
        Refusal::Peer => "peer",
        Refusal::Full => "full",
    };
    metrics::counter!("event_store_connections_refused_total", "reason" => reason).increment(1);
    // Not louder: whoever is refused could fill the log.
    tracing::debug!(%peer, reason, "a connection was refused");
    // Without it the kernel would say goodbye at length.
    stream.set_zero_linger().ok();
}

/// What a peer did to its own connection is over; a lack of files or memory passes.
async fn rest_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!(%error, "cannot accept connections; trying again");
        tokio::time::sleep(REST).await;
    }
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection ended by a bug");
    }
}

#[cfg(test)]
mod tests;
