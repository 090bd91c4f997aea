//! Where a remote's repository is, as far as it decides who is given a credential for it (pure).
//!
//! Addresses of submodules are written by whoever writes a commit. What could mean one place here and another to a
//! server is therefore nobody's neighbour: a path that goes up, has empty parts, or is escaped twice.

use super::credential::decode;

/// A URL's scheme, what stands before the `@` of its host, its host with its port, and its path; nothing of what names no
/// scheme.
pub(super) fn parts(url: &str) -> Option<(&str, Option<&str>, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (own, host) = authority.rsplit_once('@').map_or((None, authority), |(own, host)| (Some(own), host));
    Some((scheme, own, host, path))
}

/// A host, and what is asked for there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    is_ssh: bool,
    /// In lower case.
    host: String,
    /// Nothing where it is the scheme's own.
    port: Option<&'a str>,
    /// Without its escapes.
    path: String,
}

impl<'a> Address<'a> {
    /// Of a URL; nothing of one that names no host.
    pub(crate) fn of_url(url: &'a str) -> Option<Self> {
        let (scheme, _, host, path) = parts(url)?;
        if host.is_empty() {
            return None;
        }
        Some(Self::new(scheme, host, &decode(path)?))
    }

    /// Of what git asks about: a host, with its port where the URL has one, and a path without its escapes.
    pub(super) fn new(scheme: &str, host: &'a str, path: &str) -> Self {
        let (host, port) = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, port),
            _ => (host, ""),
        };
        let own = match scheme {
            "https" => "443",
            "http" => "80",
            "git" => "9418",
            "ssh" => "22",
            _ => "",
        };
        let port = (!port.is_empty() && port != own).then_some(port);
        Self { is_ssh: scheme == "ssh", host: host.to_ascii_lowercase(), port, path: path.trim_matches('/').to_owned() }
    }

    /// Where the repositories of the same owner are. Nothing where that is the whole host.
    pub(crate) fn owner(&self) -> Option<&str> {
        let (owner, _) = self.path.rsplit_once('/')?;
        is_plain(owner).then_some(owner)
    }

    /// Whether the other is of the same owner at the same host. Another port is another host; between ssh and HTTP, only
    /// the port that each has by itself is the same one, and that by which the repository itself is reached by ssh.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        let is_same_port = match self.is_ssh == other.is_ssh {
            true => self.port == other.port,
            false => other.port.is_none() && (self.is_ssh || self.port.is_none()),
        };
        let is_below = |owner| other.path.strip_prefix(owner).is_some_and(|rest: &str| rest.starts_with('/'));
        self.host == other.host && is_same_port && is_plain(&other.path) && self.owner().is_some_and(is_below)
    }

    /// Whether the path is read in one way only.
    pub(super) fn is_plain(&self) -> bool {
        is_plain(&self.path)
    }
}

fn is_plain(path: &str) -> bool {
    let is_name = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['%', '\\', ';', '?', '#']);
    path.split('/').all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_a_repository_is_what_its_owner_has_at_the_same_host() {
        for (repository, submodule, expect) in [
            ("https://git.example/team/app.git", "https://git.example/team/lib", true),
            ("https://git.example/team/app.git", "https://GIT.example:443/team/lib/", true),
            ("https://Git.Example:443/team/app/", "https://x@git.example/team/sub/lib", true),
            ("http://git.example:80/team/app", "https://git.example/team/lib", true),
            ("http://git.example:8080/team/app", "http://git.example:8080/team/lib", true),
            ("http://git.example:8080/team/app", "http://git.example:8081/team/lib", false),
            ("https://[::1]:7/team/app", "https://[::1]:7/team/lib", true),
            ("https://git.example/team/app", "https://git.example/other/private", false),
            ("https://git.example/team/app", "https://git.example/teams/lib", false),
            ("https://git.example/team/app", "https://git.example/team", false),
            ("https://git.example/team/app", "https://git.example/Team/lib", false),
            ("https://git.example/team/app", "https://other.example/team/lib", false),
            ("https://git.example/team/app", "https://git.example@other.example/team/lib", false),
            ("https://git.example/team/app", "https://git.example/team/../other/private", false),
            ("https://git.example/team/app", "https://git.example/team/./../other/private", false),
            ("https://git.example/team/app", "https://git.example/team/%2e%2e/other/private", false),
            ("https://git.example/team/app", "https://git.example/team/..%2fother/private", false),
            ("https://git.example/team/app", "https://git.example/team/..;/other/private", false),
            ("https://git.example/team/app", "https://git.example/team/..\\other\\private", false),
            ("https://git.example/team/app", "https://git.example/team//lib", false),
            ("https://git.example/group/team/app", "https://git.example/group/other/lib", false),
            ("https://git.example/My%20Team/app", "https://git.example/My%20Team/lib", true),
            ("https://git.example/%2e%2e/team/app", "https://git.example/%2e%2e/team/lib", false),
            ("https://git.example/te%2561m/app", "https://git.example/te%2561m/lib", false),
            ("https://git.example/../app", "https://git.example/../lib", false),
            ("https://git.example/app", "https://git.example/lib", false),
            ("ssh://git@git.example:2222/team/app", "https://git.example/team/lib", true),
            ("ssh://git@git.example:2222/team/app", "https://git.example/other/private", false),
            ("ssh://git@git.example:2222/team/app", "https://git.example:8443/team/lib", false),
            ("ssh://git@git.example:2222/team/app", "ssh://git@git.example:2222/team/lib", true),
            ("ssh://git@git.example:2222/team/app", "ssh://git@git.example/team/lib", false),
            ("https://git.example/team/app", "ssh://git@git.example:22/team/lib", true),
            ("https://git.example/team/app", "ssh://git@git.example:2222/team/lib", false),
        ] {
            let of = |url| Address::of_url(url).expect("names a host");
            assert_eq!(of(repository).is_beside(&of(submodule)), expect, "{repository} and {submodule}");
        }
        assert_eq!((Address::of_url("file:///srv/app"), Address::of_url("/srv/app")), (None, None));
    }
}
