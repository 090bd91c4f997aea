//! An HTTP client on which every call has a deadline.

use std::time::Duration;

/// A client for our own services and the provider: rustls, no redirects, no
/// proxy from the environment (tokens must not leave by accident).
///
/// `deadline` bounds a whole call; a streaming call sets its own with
/// `RequestBuilder::timeout`.
#[expect(clippy::disallowed_methods, reason = "this is the one place that builds clients")]
pub fn client(deadline: Duration) -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(deadline)
        .connect_timeout(Duration::from_secs(5).min(deadline))
        .pool_idle_timeout(Duration::from_secs(30))
        .tcp_nodelay(true)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("bifrost/", env!("CARGO_PKG_VERSION")))
        .build()
        .expect("the TLS back end initialises")
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
        .build()
        .expect("the TLS back end initialises")
}
