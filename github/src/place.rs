//! Where a repository's API is (pure).

use std::fmt;

use url::{Host, Url};

/// The host whose API has a name of its own.
const GITHUB: &str = "github.com";
const GITHUB_API: &str = "https://api.github.com";
/// Where a server of one's own has its API.
const OWN_API: &str = "/api/v3";

/// A repository at a host, and the address of the host's API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    api: String,
    web: String,
    owner: String,
    name: String,
}

/// The URL names no repository of a host that could have such an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no repository of a host with GitHub's API; it must be like https://github.com/OWNER/NAME")]
pub struct NoPlace;

impl Place {
    /// The place that a repository's URL means: `https`, or `ssh` to the same host. `http` stands for itself, as hosts
    /// of tests and closed networks have it.
    pub fn of(repository: &str) -> Result<Self, NoPlace> {
        let url = Url::parse(repository).map_err(|_| NoPlace)?;
        let host = match url.host() {
            Some(Host::Domain("")) | None => return Err(NoPlace),
            Some(host) => host.to_string(),
        };
        let port = |own: bool| url.port().filter(|_| own).map(|port| format!(":{port}")).unwrap_or_default();
        let web = match url.scheme() {
            scheme @ ("https" | "http") => format!("{scheme}://{host}{}", port(true)),
            // The port is that of SSH, and says nothing of the other.
            "ssh" => format!("https://{host}{}", port(false)),
            _ => return Err(NoPlace),
        };
        let path = url.path().trim_matches('/');
        let path = path.strip_suffix(".git").unwrap_or(path);
        let (owner, name) = path.split_once('/').ok_or(NoPlace)?;
        if [owner, name].iter().any(|part| part.is_empty() || *part == ".." || part.contains(['/', '%'])) {
            return Err(NoPlace);
        }
        let is_github = web == format!("https://{GITHUB}");
        let api = if is_github { GITHUB_API.to_owned() } else { format!("{web}{OWN_API}") };
        Ok(Self { api, web, owner: owner.to_owned(), name: name.to_owned() })
    }

    /// The repository as a URL that git knows, by which credentials are found.
    pub fn url(&self) -> String {
        format!("{}/{}/{}", self.web, self.owner, self.name)
    }

    /// What every address of the API begins with.
    pub(crate) fn root(&self) -> String {
        format!("{}/", self.api)
    }

    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }

    pub(crate) fn path(&self, rest: &str) -> String {
        format!("{}/repos/{}/{}{rest}", self.api, self.owner, self.name)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_api_is_that_of_the_repositorys_own_host() {
        for (repository, expect) in [
            ("https://github.com/o/n", Some("https://api.github.com/repos/o/n/pulls")),
            ("https://github.com/o/n.git/", Some("https://api.github.com/repos/o/n/pulls")),
            ("ssh://git@github.com:22/o/n.git", Some("https://api.github.com/repos/o/n/pulls")),
            ("http://github.com/o/n", Some("http://github.com/api/v3/repos/o/n/pulls")),
            ("https://git.example.org:8443/o/n", Some("https://git.example.org:8443/api/v3/repos/o/n/pulls")),
            ("http://[::1]:7/o/n", Some("http://[::1]:7/api/v3/repos/o/n/pulls")),
            ("https://github.com.evil.example/o/n", Some("https://github.com.evil.example/api/v3/repos/o/n/pulls")),
            ("https://github.com/o", None),
            ("https://github.com/o/n/tree", None),
            ("https://github.com/o/..", None),
            ("https://github.com/o/%2e%2e", None),
            ("file:///srv/o/n", None),
            ("git://github.com/o/n", None),
            ("nonsense", None),
        ] {
            let found = Place::of(repository).ok().map(|place| place.path("/pulls"));
            assert_eq!(found.as_deref(), expect, "{repository}");
        }
    }

    #[test]
    fn credentials_are_found_by_the_address_for_git() {
        let url = |repository: &str| Place::of(repository).expect("a place").url();
        assert_eq!(url("ssh://git@github.com/o/n.git"), "https://github.com/o/n");
        assert_eq!(url("http://127.0.0.1:80/o/n"), "http://127.0.0.1/o/n");
    }
}
