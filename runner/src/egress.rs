//! The way out through an egress proxy, where the machine has one: what is asked of
//! it is asked with the grant of an execution, or its pass, so that the record says for
//! which task it was. Neither is a secret ([`wire::grant`], [`wire::egress`]).

use std::collections::BTreeMap;

use wire::worker::env::PROXIES;

/// The user name is for people; the proxy reads the password.
const USER: &str = "bifrost";

/// Those variables of the environment that name a proxy without a password, with the pass for one. A
/// proxy that comes with its own is somebody else's.
pub(crate) fn proxies(environment: &BTreeMap<String, String>, pass: &str) -> BTreeMap<String, String> {
    let passed = |name: &&str| {
        let (scheme, rest) = environment.get(*name)?.split_once("://")?;
        let authority = rest.split('/').next().unwrap_or_default();
        (!authority.contains('@')).then(|| ((*name).to_owned(), format!("{scheme}://{USER}:{pass}@{rest}")))
    };
    PROXIES.iter().filter_map(passed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_without_a_password_is_asked_in_the_name_of_the_execution() {
        let environment = [
            ("HTTPS_PROXY", "http://10.89.0.1:3128"),
            ("http_proxy", "http://10.89.0.1:3128/"),
            ("HTTP_PROXY", "http://me:secret@proxy.example.org:8080"),
            ("https_proxy", "none"),
            ("PATH", "/bin"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let expected = [
            ("HTTPS_PROXY", "http://bifrost:v1.a.b@10.89.0.1:3128"),
            ("http_proxy", "http://bifrost:v1.a.b@10.89.0.1:3128/"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(proxies(&environment, "v1.a.b"), expected);
    }
}
