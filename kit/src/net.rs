//! Listening again right after a `kill -9`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::lock::PATIENCE;

const BEAT: Duration = Duration::from_millis(10);

/// Listens on the address. One that is in use is tried for [`PATIENCE`], since a killed
/// program's child may hold it for a moment.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                tokio::time::sleep(BEAT).await;
            }
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_becomes_free_is_taken_and_one_that_does_not_is_told() {
        let first = listen("127.0.0.1:0".parse().expect("an address")).await.expect("a port");
        let address = first.local_addr().expect("bound");
        let error = listen(address).await.expect_err("in use");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let (second, ()) = tokio::join!(listen(address), async move {
            tokio::task::yield_now().await;
            drop(first);
        });
        assert_eq!(second.expect("free").local_addr().expect("bound"), address);
    }
}
