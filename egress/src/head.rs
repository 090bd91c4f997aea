//! The head of a request to the proxy: `CONNECT host:port`, or a whole URL with
//! `http:`, which is sent on in the form that its host expects.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use wire::egress::host_name;
/// More than any client sends, a grant included.
const HEAD_BYTES: usize = 16 * 1024;
const HEADERS: usize = 100;
/// How long a head may take to come in.
pub(crate) const HEAD_WITHIN: Duration = Duration::from_secs(15);
/// Meant for the proxy, or for one connection, and not to be sent on.
const OWN: [&str; 6] = ["connection", "keep-alive", "proxy-authorization", "proxy-connection", "te", "upgrade"];

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) credential: Option<Vec<u8>>,
    /// What is sent to the host first: the head in another form, and what came behind it.
    pub(crate) first: Vec<u8>,
    pub(crate) is_tunnel: bool,
}

/// Reads until the end of a head; what came behind it is there as well. Nothing where the client
/// went away before it had said anything.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return if bytes.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        if bytes.windows(4).any(|four| four == b"\r\n\r\n") {
            return Ok(Some(bytes));
        }
        if bytes.len() > HEAD_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the head is too long"));
        }
    }
}

/// Pure: whether a health check is asking, which no request to a proxy looks like.
pub(crate) fn asks_for_health(bytes: &[u8]) -> bool {
    bytes.starts_with(b"GET /health HTTP/1.")
}

/// Pure: what the head asks for; nothing where it is none of a proxy's.
pub(crate) fn parse(bytes: &[u8]) -> Option<Request> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut head = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = head.parse(bytes).ok()? else { return None };
    let (method, target, minor) = (head.method?, head.path?, head.version?);
    let named = |name: &str| head.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)).count();
    // Two ways to say how long a body is are the way to smuggle a second request.
    if named("content-length") > 1 || (named("content-length") > 0 && named("transfer-encoding") > 0) {
        return None;
    }
    let mut headers = head.headers.iter();
    let credential = headers.find(|header| header.name.eq_ignore_ascii_case("proxy-authorization"));
    let credential = credential.map(|header| header.value.to_vec());
    let behind = &bytes[length..];
    if method == "CONNECT" {
        let (host, port) = authority(target, None)?;
        let first = behind.to_vec();
        return Some(Request { method: method.to_owned(), host, port, credential, first, is_tunnel: true });
    }
    let rest = strip_scheme(target)?;
    let cut = rest.find(['/', '?']).unwrap_or(rest.len());
    let (named_authority, path) = rest.split_at(cut);
    let (host, port) = authority(named_authority, Some(80))?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut first = format!("{method} {slash}{path} HTTP/1.{minor}\r\nHost: {named_authority}\r\n").into_bytes();
    for header in head.headers.iter() {
        let name = header.name.to_ascii_lowercase();
        if name != "host" && !OWN.contains(&name.as_str()) {
            first.extend_from_slice(header.name.as_bytes());
            first.extend_from_slice(b": ");
            first.extend_from_slice(header.value);
            first.extend_from_slice(b"\r\n");
        }
    }
    // One request for one connection: the next may be to another host.
    first.extend_from_slice(b"Connection: close\r\n\r\n");
    first.extend_from_slice(behind);
    Some(Request { method: method.to_owned(), host, port, credential, first, is_tunnel: false })
}

fn strip_scheme(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_once("://")?;
    scheme.eq_ignore_ascii_case("http").then_some(rest)
}

fn authority(text: &str, usual: Option<u16>) -> Option<(String, u16)> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, port.parse().ok()?),
        _ => (text, usual?),
    };
    Some((host_name(host)?, port)).filter(|(_, port)| *port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(head: &str) -> Option<(String, u16, String)> {
        let request = parse(head.as_bytes())?;
        Some((request.host, request.port, String::from_utf8(request.first).expect("text")))
    }

    #[test]
    fn a_tunnel_names_a_host_and_a_port() {
        for (target, expected) in [
            ("Example.org:443", Some(("example.org", 443))),
            ("[::1]:8443", Some(("::1", 8443))),
            ("example.org", None),
            ("example.org:0", None),
            ("example.org:99999", None),
            ("a@example.org:443", None),
            ("http://example.org:443", None),
        ] {
            let found = asked(&format!("CONNECT {target} HTTP/1.1\r\nHost: x\r\n\r\nearly"));
            let expected = expected.map(|(host, port)| (host.to_owned(), port, "early".to_owned()));
            assert_eq!(found, expected, "{target}");
        }
    }

    #[test]
    fn a_whole_url_is_sent_on_without_what_is_the_proxys() {
        let head = "POST http://example.org/a?b=c HTTP/1.1\r\nHost: other\r\nProxy-Authorization: Basic x\r\n\
                    Proxy-Connection: keep-alive\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi";
        let sent = "POST /a?b=c HTTP/1.1\r\nHost: example.org\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi";
        assert_eq!(asked(head), Some(("example.org".to_owned(), 80, sent.to_owned())));
        assert_eq!(parse(head.as_bytes()).and_then(|request| request.credential), Some(b"Basic x".to_vec()));
        let found = asked("GET http://example.org:8080 HTTP/1.0\r\n\r\n").expect("a request");
        assert_eq!(found.1, 8080);
        assert!(found.2.starts_with("GET / HTTP/1.0\r\nHost: example.org:8080\r\n"), "{}", found.2);
    }

    #[test]
    fn what_is_not_for_a_proxy_is_none() {
        for head in [
            "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
            "GET https://example.org/ HTTP/1.1\r\n\r\n",
            "GET http:///x HTTP/1.1\r\n\r\n",
            "GET http://user@example.org/ HTTP/1.1\r\n\r\n",
            "POST http://a/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "POST http://a/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "nonsense\r\n\r\n",
        ] {
            assert_eq!(parse(head.as_bytes()), None, "{head}");
        }
    }
}
