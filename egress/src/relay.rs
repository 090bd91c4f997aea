//! Carries bytes between two ends until both have said all, nothing has come for a
//! long time, or everything stops; counts them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kit::Tasks;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection on which nothing comes for so long is given up.
const SILENCE: Duration = Duration::from_secs(15 * 60);
const PIECE: usize = 16 * 1024;

/// Bytes that went to the host, and that came from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

/// Carries bytes between the client and the host; `first` goes to the host before anything else.
pub(crate) async fn carry(mut client: TcpStream, mut host: TcpStream, first: &[u8], tasks: &Tasks) -> Carried {
    let (sent, received) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
    if host.write_all(first).await.is_ok() {
        sent.fetch_add(first.len() as u64, Ordering::Relaxed);
        let (from_client, to_client) = client.split();
        let (from_host, to_host) = host.split();
        let both = async { tokio::join!(pump(from_client, to_host, &sent), pump(from_host, to_client, &received)) };
        tokio::select! {
            (up, down) = both => drop((up, down)),
            () = silence(&sent, &received) => (),
            () = tasks.stopping() => (),
        }
    }
    Carried { sent: sent.load(Ordering::Relaxed), received: received.load(Ordering::Relaxed) }
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
async fn silence(sent: &AtomicU64, received: &AtomicU64) {
    let both = || sent.load(Ordering::Relaxed) + received.load(Ordering::Relaxed);
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
