//! Whether a server on this computer is up: what the health check of an image runs, without a tool in the image that
//! could ask.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Less than what engines give a check.
const WITHIN: Duration = Duration::from_secs(5);

/// The server is not up, or not well.
#[derive(Debug, thiserror::Error)]
#[error("no healthy server answers at {listen}: {why}")]
pub struct Unhealthy {
    listen: String,
    why: String,
}

/// Asks `/health` of the server that was told to listen at this address.
pub async fn ask(listen: &str) -> Result<(), Unhealthy> {
    let unhealthy = |why: String| Unhealthy { listen: listen.to_owned(), why };
    let address = tokio::net::lookup_host(listen).await.map_err(|error| unhealthy(error.to_string()))?.next();
    let address = address.ok_or_else(|| unhealthy("it is the name of no address".into()))?;
    let mut why = String::new();
    for address in reached_at(address) {
        match ask_at(address).await {
            Ok(()) => return Ok(()),
            Err(error) => why = error,
        }
    }
    Err(unhealthy(why))
}

/// Who listens on all addresses is reached at this computer's own; of those of both families, an engine's network may
/// lack the second.
fn reached_at(address: SocketAddr) -> Vec<SocketAddr> {
    let own: &[IpAddr] = match address.ip() {
        ip if !ip.is_unspecified() => return vec![address],
        IpAddr::V4(_) => &[IpAddr::V4(Ipv4Addr::LOCALHOST)],
        IpAddr::V6(_) => &[IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)],
    };
    own.iter().map(|ip| SocketAddr::new(*ip, address.port())).collect()
}

async fn ask_at(address: SocketAddr) -> Result<(), String> {
    let asked = crate::http::client(WITHIN).get(format!("http://{address}/health")).send().await;
    let answer = asked.map_err(|error| crate::http::whole_story(&error))?;
    if answer.status().is_success() { Ok(()) } else { Err(format!("it says {}", answer.status())) }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// What is found of a server that listens there and answers one request so.
    async fn found(listen: &str, status: &str) -> Result<(), Unhealthy> {
        let listener = TcpListener::bind(listen).await.expect("binds");
        let port = listener.local_addr().expect("bound").port();
        let address = listen.replace(":0", &format!(":{port}"));
        let serve = async {
            let (mut stream, _) = listener.accept().await.expect("somebody asks");
            let mut head = [0; 1_024];
            let read = stream.read(&mut head).await.expect("a request");
            assert!(head[..read].starts_with(b"GET /health HTTP/1.1\r\n"));
            stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).await.expect("sent");
        };
        tokio::join!(ask(&address), serve).0
    }

    #[tokio::test]
    async fn a_server_is_healthy_where_it_says_so_however_its_address_is_written() {
        for listen in ["127.0.0.1:0", "localhost:0", "0.0.0.0:0", "[::]:0"] {
            found(listen, "200 OK").await.expect(listen);
        }
    }

    #[tokio::test]
    async fn a_server_that_is_not_well_or_not_there_is_named_with_what_happened() {
        let error = found("127.0.0.1:0", "503 Service Unavailable").await.expect_err("not well").to_string();
        assert!(error.contains("no healthy server answers at 127.0.0.1:") && error.contains("it says 503"), "{error}");
        let gone = TcpListener::bind("127.0.0.1:0").await.expect("binds").local_addr().expect("bound").to_string();
        let error = ask(&gone).await.expect_err("nobody listens").to_string();
        assert!(error.to_lowercase().contains("refused"), "{error}");
        assert!(ask("nowhere").await.is_err());
    }
}
