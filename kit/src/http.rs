//! An HTTP client on which every call has a deadline.

pub mod answer;
mod trust;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// A client for our own services and the provider: rustls, no redirects, no
/// proxy from the environment (tokens must not leave by accident).
///
/// `deadline` bounds a whole call; a streaming call sets its own with
/// `RequestBuilder::timeout`.
pub fn client(deadline: Duration) -> reqwest::Client {
    builder(deadline).build().expect("the TLS back end initialises")
}

/// As [`client`], for requests that become another protocol, which those of HTTP/2 cannot.
pub fn client_of_upgrades(deadline: Duration) -> reqwest::Client {
    let tls = trust::configuration(&["http/1.1"]);
    builder(deadline).tls_backend_preconfigured(tls).http1_only().build().expect("the TLS back end initialises")
}

/// Whether a text is an address that one of our clients can call.
pub fn check_base_url(text: &str) -> Result<(), &'static str> {
    let is_called = |url: &reqwest::Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    match reqwest::Url::parse(text) {
        Ok(url) if is_called(&url) => Ok(()),
        Ok(_) | Err(_) => {
            Err("must be an http or https URL, such as https://host.example.org or http://127.0.0.1:3000")
        }
    }
}

/// The proxies that a computer's environment names, as curl has them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Proxies<'a> {
    /// For `http`.
    pub http: Option<&'a str>,
    /// For `https`.
    pub https: Option<&'a str>,
    /// Hosts that are reached without one, with commas between them.
    pub except: Option<&'a str>,
}

impl<'a> Proxies<'a> {
    /// Those that an environment names, in small letters or else in capitals; what is empty names none.
    pub fn of(environment: impl Fn(&str) -> Option<&'a str>) -> Self {
        let named = |lower, upper| environment(lower).or_else(|| environment(upper)).filter(|text| !text.is_empty());
        Self {
            http: named("http_proxy", "HTTP_PROXY"),
            https: named("https_proxy", "HTTPS_PROXY"),
            except: named("no_proxy", "NO_PROXY"),
        }
    }
}

/// As [`client`], through proxies: for hosts outside of a closed network. A proxy's address that is none fails.
pub fn client_through(deadline: Duration, proxies: Proxies<'_>) -> Result<reqwest::Client, reqwest::Error> {
    let except = proxies.except.and_then(reqwest::NoProxy::from_string);
    let mut builder = builder(deadline);
    if let Some(address) = proxies.http {
        builder = builder.proxy(reqwest::Proxy::http(address)?.no_proxy(except.clone()));
    }
    if let Some(address) = proxies.https {
        builder = builder.proxy(reqwest::Proxy::https(address)?.no_proxy(except));
    }
    builder.build()
}

/// An error and what lies beneath it, in one line: the first sentence alone says only that something went wrong.
pub fn whole_story(error: &dyn std::error::Error) -> String {
    let beneath = std::iter::successors(Some(error), |error| error.source());
    beneath.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// As [`client`], for addresses that somebody else chose: a name leads only to those of its addresses that are
/// allowed. They are looked at when a connection is made, so a name that means another address by then gains
/// nothing. An address that stands in the URL itself is nobody's to resolve: look at it before the call.
pub fn client_of_strangers(
    deadline: Duration,
    allows: impl Fn(IpAddr) -> bool + Send + Sync + 'static,
) -> reqwest::Client {
    let resolver = AllowedOnly(Arc::new(allows));
    builder(deadline).dns_resolver(Arc::new(resolver)).build().expect("the TLS back end initialises")
}

/// A client whose every connection goes to this socket of the computer, whatever host its URLs name.
#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "this is the one place that builds clients")]
pub fn client_over(socket: &std::path::Path, deadline: Duration) -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(deadline)
        .pool_idle_timeout(Duration::from_secs(30))
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("bifrost/", env!("CARGO_PKG_VERSION")))
        .unix_socket(socket)
        .tls_backend_preconfigured(trust::configuration(&["http/1.1"]))
        .build()
        .expect("the TLS back end initialises")
}

#[expect(clippy::disallowed_methods, reason = "this is the one place that builds clients")]
fn builder(deadline: Duration) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .timeout(deadline)
        .connect_timeout(Duration::from_secs(5).min(deadline))
        .pool_idle_timeout(Duration::from_secs(30))
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tls_backend_preconfigured(trust::configuration(&["h2", "http/1.1"]))
        .user_agent(concat!("bifrost/", env!("CARGO_PKG_VERSION")))
}

/// Resolves names to addresses that are allowed.
struct AllowedOnly(Arc<dyn Fn(IpAddr) -> bool + Send + Sync>);

impl Resolve for AllowedOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let allows = Arc::clone(&self.0);
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| allows(address.ip())).collect();
            if allowed.is_empty() {
                return Err(format!("{} leads to no address that is allowed", name.as_str()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_leads_to_allowed_addresses_alone() {
        let resolve = async |allows: fn(IpAddr) -> bool| {
            let name: Name = "localhost".parse().expect("a name");
            AllowedOnly(Arc::new(allows)).resolve(name).await.map(Iterator::count)
        };
        assert!(resolve(|address| address.is_loopback()).await.is_ok_and(|count| count > 0));
        let refused = resolve(|address| !address.is_loopback()).await.expect_err("none is allowed");
        assert_eq!(refused.to_string(), "localhost leads to no address that is allowed");
    }
}
