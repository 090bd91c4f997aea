//! Which stream, on which servers, and how to prove who we are. Secrets come from the
//! environment and are shown to nobody but the servers.

use std::fmt;
use std::path::PathBuf;

use async_nats::ServerAddr;
use kit::Vars;

/// What it takes to find the stream.
#[derive(Debug, Clone)]
pub struct StreamConfig {
    pub(super) servers: Vec<ServerAddr>,
    pub(super) credentials: Credentials,
    /// Certificates that the servers' are checked against, besides the system's.
    pub(super) authority: Option<PathBuf>,
    /// Its name.
    pub(super) name: String,
    /// How many servers keep each event; where it is not given, what the stream has.
    pub(super) replicas: Option<usize>,
}

/// How a client proves who it is.
#[derive(Clone)]
pub(super) enum Credentials {
    None,
    File(PathBuf),
    Token(String),
    Password { user: String, password: String },
}

/// Which kind only.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::File(_) => "File",
            Self::Token(_) => "Token([secret])",
            Self::Password { .. } => "Password([secret])",
        })
    }
}

impl StreamConfig {
    /// Takes the credentials from the environment. What is wrong is noted there, and the
    /// result is then of no use.
    pub fn new(servers: &[String], name: String, replicas: Option<u8>, vars: &mut Vars) -> Self {
        if servers.is_empty() {
            vars.problem("--nats: --engine jetstream needs a NATS server, such as --nats nats://10.0.0.1:4222");
        }
        let servers = servers.iter().filter_map(|url| server(url, vars)).collect();
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || !name.bytes().all(is_name) {
            vars.problem("--nats-stream: a stream's name has letters, digits, - and _ only");
        }
        let credentials = Credentials::from_vars(vars);
        let authority = vars.optional("BIFROST_NATS_CA");
        Self { servers, credentials, authority, name, replicas: replicas.map(usize::from) }
    }
}

/// An address that is safe to show.
fn server(url: &str, vars: &mut Vars) -> Option<ServerAddr> {
    let Some(server) = url.parse::<ServerAddr>().ok().filter(|server| matches!(server.scheme(), "nats" | "tls")) else {
        vars.problem("--nats: a server is given as nats://HOST:PORT or tls://HOST:PORT");
        return None;
    };
    if server.has_user_pass() {
        vars.problem(
            "--nats: leave the user and the password out of the URL, which others can see; set BIFROST_NATS_USER and \
             BIFROST_NATS_PASSWORD, BIFROST_NATS_TOKEN or BIFROST_NATS_CREDENTIALS",
        );
        return None;
    }
    Some(server)
}

impl Credentials {
    fn from_vars(vars: &mut Vars) -> Self {
        let text = |name| vars.text(name).map(str::to_owned);
        let file = text("BIFROST_NATS_CREDENTIALS");
        let token = text("BIFROST_NATS_TOKEN");
        let (user, password) = (text("BIFROST_NATS_USER"), text("BIFROST_NATS_PASSWORD"));
        match (file, token, user, password) {
            (None, None, None, None) => Self::None,
            (Some(file), None, None, None) => Self::File(file.into()),
            (None, Some(token), None, None) => Self::Token(token),
            (None, None, Some(user), Some(password)) => Self::Password { user, password },
            _ => {
                vars.problem(
                    "BIFROST_NATS_CREDENTIALS: set this one, or BIFROST_NATS_TOKEN, or both of BIFROST_NATS_USER and \
                     BIFROST_NATS_PASSWORD, and no other",
                );
                Self::None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(server: &str, name: &str, pairs: &[(&str, &str)], expect: &str) {
        let mut vars = Vars::from_pairs(pairs.iter().copied());
        let servers: Vec<String> = Some(server.to_owned()).into_iter().filter(|url| !url.is_empty()).collect();
        StreamConfig::new(&servers, name.into(), None, &mut vars);
        let error = vars.finish().expect_err("is refused").to_string();
        assert!(error.contains(expect), "{expect}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        refused("", "log", &[], "needs a NATS server");
        refused("http://host", "log", &[], "nats://HOST:PORT");
        refused("nats://me:hunter2@host", "log", &[], "leave the user and the password out");
        refused("nats://host", "a.b", &[], "letters, digits");
        let both = [("BIFROST_NATS_TOKEN", "hunter2"), ("BIFROST_NATS_CREDENTIALS", "/a")];
        refused("nats://host", "log", &both, "and no other");
        refused("nats://host", "log", &[("BIFROST_NATS_PASSWORD", "hunter2")], "both of");
    }

    #[test]
    fn secrets_do_not_show() {
        let mut vars = Vars::from_pairs([("BIFROST_NATS_USER", "me"), ("BIFROST_NATS_PASSWORD", "hunter2")]);
        let config = StreamConfig::new(&["nats://host".into()], "log".into(), Some(3), &mut vars);
        vars.finish().expect("nothing is wrong");
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
