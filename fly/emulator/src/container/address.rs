//! Where the container engine listens: a socket of this computer, or a proxy of it
//! over TCP (row T-2.6).

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use kit::Vars;

/// Where Docker listens on a developer's computer.
const DEVELOPMENT: &str = "unix:///var/run/docker.sock";
/// The proxy before the engine's socket, where no socket is handed to anybody.
const PRODUCTION: &str = "tcp://docker-proxy:2375";

/// Where the container engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineAddress {
    /// `unix:///path`
    Socket(PathBuf),
    /// `tcp://host:port`
    Tcp(String),
}

/// A text that is no address of an engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an engine listens at unix:///PATH or tcp://HOST:PORT, which {0:?} is not")]
pub struct BadAddress(String);

impl EngineAddress {
    /// What was said, else `DOCKER_HOST`, else the usual place: a socket, or with
    /// `BIFROST_ENVIRONMENT=production` the proxy before one.
    pub fn find(said: Option<&Self>, vars: &mut Vars) -> Self {
        let is_production = vars.text("BIFROST_ENVIRONMENT") == Some("production");
        let usual = if is_production { PRODUCTION } else { DEVELOPMENT };
        let usual = usual.parse().expect("both are addresses");
        let host = vars.or("DOCKER_HOST", usual);
        said.cloned().unwrap_or(host)
    }
}

impl FromStr for EngineAddress {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress(text.to_owned());
        match text.split_once("://").ok_or_else(bad)? {
            ("unix", path) if path.starts_with('/') => Ok(Self::Socket(path.into())),
            ("tcp" | "http", rest) => {
                let authority = rest.trim_end_matches('/');
                let (host, port) = authority.rsplit_once(':').ok_or_else(bad)?;
                let is_one = !host.is_empty() && !host.contains(['/', '@', '?', '#']) && port.parse::<u16>().is_ok();
                if is_one { Ok(Self::Tcp(authority.to_owned())) } else { Err(bad()) }
            }
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for EngineAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_where_it_is_said_to_be_then_where_docker_says_then_where_it_usually_is() {
        let tcp = "tcp://127.0.0.1:2375";
        for (said, vars, expected) in [
            (None, &[("PATH", "/bin")][..], DEVELOPMENT),
            (None, &[("BIFROST_ENVIRONMENT", "production")][..], PRODUCTION),
            (None, &[("BIFROST_ENVIRONMENT", "staging")][..], DEVELOPMENT),
            (None, &[("DOCKER_HOST", "unix:///run/podman/podman.sock")][..], "unix:///run/podman/podman.sock"),
            (None, &[("DOCKER_HOST", tcp), ("BIFROST_ENVIRONMENT", "production")][..], tcp),
            (Some(tcp), &[("DOCKER_HOST", "unix:///elsewhere")][..], tcp),
        ] {
            let said = said.map(|text| text.parse().expect("an address"));
            let mut vars = Vars::from_pairs(vars.iter().copied());
            assert_eq!(EngineAddress::find(said.as_ref(), &mut vars).to_string(), expected);
            vars.finish().expect("no problem");
        }
    }

    #[test]
    fn what_is_no_address_is_refused_with_the_two_forms() {
        for text in
            ["", "docker.sock", "unix://relative", "ssh://host", "tcp://host", "tcp://:1", "tcp://a@b:1", "tcp://a:x"]
        {
            let error = text.parse::<EngineAddress>().expect_err(text).to_string();
            assert!(error.contains("unix:///PATH or tcp://HOST:PORT"), "{error}");
        }
        let mut vars = Vars::from_pairs([("DOCKER_HOST", "ssh://host")]);
        EngineAddress::find(None, &mut vars);
        assert!(vars.finish().expect_err("a problem").to_string().contains("DOCKER_HOST"));
    }
}
