//! Carries bytes between two ends until both have said all, nothing has come for a
//! long time, or everything stops; counts them.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kit::Tasks;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection on which nothing comes for so long is given up.
const SILENCE: Duration = Duration::from_secs(15 * 60);
const PIECE: usize = 16 * 1024;

/// Bytes that went to the host, and that came from it, so far.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Carried {
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(crate) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// Carries bytes between the client and the host; `first` goes to the host before anything else.
pub(crate) async fn carry(mut client: TcpStream, mut host: TcpStream, first: &[u8], tasks: &Tasks, carried: &Carried) {
    if host.write_all(first).await.is_err() {
        return;
    }
    carried.sent.fetch_add(first.len() as u64, Ordering::Relaxed);
    let (from_client, to_client) = client.split();
    let (from_host, to_host) = host.split();
    let up = pump(from_client, to_host, &carried.sent);
    let down = pump(from_host, to_client, &carried.received);
    let both = async { tokio::join!(up, down) };
    tokio::select! {
        (up, down) = both => drop((up, down)),
        () = silence(carried) => (),
        () = tasks.stopping() => (),
    }
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, count: &AtomicU64) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        match from.read(&mut piece).await? {
            0 => return to.shutdown().await,
            length => {
                to.write_all(&piece[..length]).await?;
                count.fetch_add(length as u64, Ordering::Relaxed);
            }
        }
    }
}

/// Resolves when neither has grown for a while.
async fn silence(carried: &Carried) {
    let both = || carried.sent() + carried.received();
    let mut before = both();
    loop {
        tokio::time::sleep(SILENCE).await;
        let now = both();
        if now == before {
            return;
        }
        before = now;
    }
}
