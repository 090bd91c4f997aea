//! What may be reached through the egress proxy: how a host is written, and the pass of an execution whose task
//! names hosts of its own.
//!
//! The control plane signs a pass with each lease of such a task, its runner gives it to the proxy as the password in
//! the grant's place, and the proxy checks it by itself. Like a grant it is no secret. It is signed because what runs
//! on a machine may not choose what it reaches: whoever made the task has.

mod address;

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::grant::{BadGrant, Grant, GrantKey};
use crate::limit;
use crate::task::{FieldError, wrong};

pub use address::{Reach, reach};

/// The port of an entry that names none.
const PORT: u16 = 443;
/// The longest name that DNS knows.
const HOST_CHARS: usize = 253;

/// Hosts that may be reached at one port: `HOST`, which is port 443, `HOST:PORT`, and `*.SUFFIX` with or without a port
/// for everything below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    host: Pattern,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    /// This name.
    Exactly(String),
    /// Whatever ends with this, which begins with a dot.
    Below(String),
}

/// Why a text is no [`Destination`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no HOST, HOST:PORT or *.SUFFIX:PORT, such as example.org, 192.0.2.1:8080 or *.example.org")]
pub struct NoDestination;

impl Destination {
    /// Whether this host, as [`host_name`] has it, is one of them at this port.
    pub fn includes(&self, host: &str, port: u16) -> bool {
        let is_host = match &self.host {
            Pattern::Exactly(name) => name == host,
            Pattern::Below(suffix) => host.len() > suffix.len() && host.ends_with(suffix.as_str()),
        };
        is_host && self.port == port
    }
}

impl Destination {
    /// Whether it is this computer or an address that is not the internet's, to which the proxy lets no task of its own
    /// accord.
    fn is_private(&self) -> bool {
        let Pattern::Exactly(name) = &self.host else { return false };
        let is_address_of_none = name.parse().is_ok_and(|address| reach(address) != Reach::Public);
        name == "localhost" || name.ends_with(".localhost") || is_address_of_none
    }
}

impl FromStr for Destination {
    type Err = NoDestination;

    fn from_str(text: &str) -> Result<Self, NoDestination> {
        let has_port = text.ends_with(|last: char| last.is_ascii_digit()) && !text.ends_with(']');
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if has_port => (host, port.parse().ok().filter(|port| *port > 0).ok_or(NoDestination)?),
            _ => (text, PORT),
        };
        let host = match host.strip_prefix("*.") {
            // A suffix of one word would be everything that a registry of names sells.
            Some(suffix) => {
                host_name(suffix).filter(|name| name.contains('.')).map(|name| Pattern::Below(format!(".{name}")))
            }
            None => host_name(host).map(Pattern::Exactly),
        };
        Ok(Self { host: host.ok_or(NoDestination)?, port })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Pattern::Exactly(name) if name.contains(':') => write!(f, "[{name}]:{}", self.port),
            Pattern::Exactly(name) => write!(f, "{name}:{}", self.port),
            Pattern::Below(suffix) => write!(f, "*{suffix}:{}", self.port),
        }
    }
}

/// A host as it is compared: in lower case, without the dot at its end or the brackets around an
/// address; nothing where it is none.
pub fn host_name(host: &str) -> Option<String> {
    if let Some(inner) = host.strip_prefix('[') {
        let address: std::net::Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
        return Some(address.to_string());
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    (host.len() <= HOST_CHARS && host.split('.').all(is_label)).then_some(host)
}

/// Refuses a task's own hosts where the proxy could not read them, or their pass would be too long for its requests.
pub(crate) fn check(hosts: &[String]) -> Result<(), FieldError> {
    const FIELD: &str = "spec.egress";
    if hosts.len() > limit::EGRESS_HOSTS {
        return Err(wrong(FIELD, format!("has more than {} hosts", limit::EGRESS_HOSTS)));
    }
    if hosts.iter().map(String::len).sum::<usize>() > limit::EGRESS_BYTES {
        return Err(wrong(FIELD, format!("is longer than {} bytes in all", limit::EGRESS_BYTES)));
    }
    for host in hosts {
        let destination = host.parse::<Destination>().map_err(|error| wrong(FIELD, format!("{host:?} {error}")))?;
        if destination.is_private() {
            let cure = "leave it out, and have the operator's allow-list lead there (docs/egress.md)";
            return Err(wrong(
                FIELD,
                format!("{host:?} is not on the internet, and a task can ask for nothing else; {cure}"),
            ));
        }
    }
    Ok(())
}

/// Who asks the proxy, and what the task may reach besides what every task may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// The execution.
    pub grant: Grant,
    /// Its task's own hosts.
    pub hosts: Vec<Destination>,
}

const VERSION: &str = "pass1";

impl GrantKey {
    /// The pass as text: `pass1.<ids>.<hosts>.<signature>`, in base64url.
    pub fn issue_pass(&self, pass: &Pass) -> String {
        let hosts = pass.hosts.iter().map(Destination::to_string).collect::<Vec<_>>().join(",");
        self.sign(format!("{VERSION}.{}.{}", pass.grant.ids(), URL_SAFE_NO_PAD.encode(hosts)))
    }

    /// Who asks with this text, which is a pass or a grant.
    pub fn open_pass(&self, text: &str) -> Result<Pass, BadGrant> {
        let Some(rest) = text.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix('.')) else {
            return Ok(Pass { grant: self.open(text)?, hosts: Vec::new() });
        };
        self.check(text)?;
        let mut parts = rest.splitn(3, '.');
        let (ids, hosts) = parts.next().zip(parts.next()).ok_or(BadGrant::Malformed)?;
        let hosts = URL_SAFE_NO_PAD.decode(hosts).map_err(|_| BadGrant::Malformed)?;
        let hosts = String::from_utf8(hosts).map_err(|_| BadGrant::Malformed)?;
        let hosts = hosts.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| BadGrant::Malformed)?;
        Ok(Pass { grant: Grant::of_ids(ids)?, hosts })
    }
}

#[cfg(test)]
mod tests;
