//! Listening again right after a `kill -9`, and at paths that are longer than a socket's name may be.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::path::Path;
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

/// Opens the socket at a path. Its name may be 107 bytes long, and a path longer: the directory is named by an open file
/// of ours.
pub fn by_short_name<T>(path: &Path, open: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    let directory = File::open(path.parent().unwrap_or(Path::new("/")))?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string());
    open(&short.join(path.file_name().unwrap_or_default()))
}

/// Listens on an address that this computer may only come to have: that of a network which
/// is made with the first that joins it.
#[cfg(target_os = "linux")]
pub fn listen_ahead(address: SocketAddr) -> io::Result<TcpListener> {
    use nix::sys::socket::{setsockopt, sockopt};
    let socket = if address.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    setsockopt(&socket, sockopt::IpFreebind, &true)?;
    socket.bind(address)?;
    socket.listen(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_address_that_is_not_there_yet_is_listened_on_all_the_same() {
        let address = "203.0.113.7:0".parse().expect("an address");
        assert!(TcpListener::bind(address).await.is_err());
        let listener = listen_ahead(address).expect("listens");
        assert_eq!(listener.local_addr().expect("bound").ip(), address.ip());
    }

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
