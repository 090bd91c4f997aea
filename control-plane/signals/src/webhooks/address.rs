//! Which addresses a webhook may reach. Whoever may register one chooses where
//! the control plane connects to, from inside its network: so nowhere but the
//! public Internet, unless the operator says otherwise. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use url::{Host, Url};

/// How far webhooks reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Public addresses, by `https`.
    #[default]
    Public,
    /// Also this computer itself, and it without TLS.
    Loopback,
    /// Any address, with TLS or without.
    Any,
}

/// The text names no reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be public, loopback or any")]
pub struct UnknownReach;

impl FromStr for Reach {
    type Err = UnknownReach;

    fn from_str(text: &str) -> Result<Self, UnknownReach> {
        match text {
            "public" => Ok(Self::Public),
            "loopback" => Ok(Self::Loopback),
            "any" => Ok(Self::Any),
            _ => Err(UnknownReach),
        }
    }
}

impl Reach {
    /// Whether a connection to the address is allowed.
    pub(crate) fn allows(self, address: IpAddr) -> bool {
        match self {
            Self::Public => is_public(address),
            Self::Loopback => is_public(address) || plain(address).is_loopback(),
            Self::Any => true,
        }
    }

    /// Why messages cannot go to the URL, as far as it says by itself; what a name stands for is seen when a
    /// connection is made.
    pub(crate) fn fault_of(self, url: &Url) -> Option<&'static str> {
        let is_local = match url.host()? {
            Host::Domain(name) => name == "localhost" || name.ends_with(".localhost"),
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => plain(address.into()).is_loopback(),
        };
        let needs_tls = match self {
            Self::Public => true,
            Self::Loopback => !is_local,
            Self::Any => false,
        };
        if url.scheme() != "https" && needs_tls {
            return Some("must be an https URL");
        }
        let is_allowed = match url.host()? {
            Host::Domain(_) => !is_local || self != Self::Public,
            Host::Ipv4(address) => self.allows(address.into()),
            Host::Ipv6(address) => self.allows(address.into()),
        };
        (!is_allowed).then_some("must not lead to a private address; the operator may allow that")
    }
}

/// An IPv4 address in the clothes of IPv6 as what it is.
fn plain(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(address, IpAddr::V4),
        IpAddr::V4(_) => address,
    }
}

fn is_public(address: IpAddr) -> bool {
    match plain(address) {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// What the registry of special-purpose addresses (RFC 6890 and its successors) leaves.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = match a {
        // This network, private, loopback; multicast, reserved, broadcast.
        0 | 10 | 127 | 224.. => true,
        // Shared by a provider's customers.
        100 => (64..128).contains(&b),
        // Link-local, where clouds serve their metadata.
        169 => b == 254,
        172 => (16..32).contains(&b),
        // Protocol assignments, documentation, an abandoned relay, private.
        192 => matches!((b, c), (0, 0 | 2) | (88, 99) | (168, _)),
        // Measurements, documentation.
        198 => matches!((b, c), (18 | 19, _) | (51, 100)),
        203 => (b, c) == (0, 113),
        _ => false,
    };
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match (a, b) {
        // Translated to IPv4 on the way: as good as what it is translated to.
        (0x64, 0xff9b) if [c, d, e, f] == [0; 4] => is_public_v4(v4(g, h)),
        (0x2002, _) => is_public_v4(v4(b, c)),
        // Protocol assignments, tunnels among them; documentation.
        (0x2001, 0..0x200) | (0x2001, 0x0db8) | (0x3fff, 0..0x1000) => false,
        // Nothing else is given to anybody yet, or it is local in one way or another.
        _ => (0x2000..0x4000).contains(&a),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn public_is_what_no_registry_calls_special() {
        for public in [
            "1.1.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.20.0.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "::ffff:8.8.8.8",
            "64:ff9b::808:808",
            "2002:808:808::1",
        ] {
            assert!(Reach::Public.allows(address(public)), "{public}");
        }
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "127.0.0.1",
            "127.255.255.254",
            "100.64.0.1",
            "100.127.255.255",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.170",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "::7f00:1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fdaa::3",
            "fd00:ec2::254",
            "ff02::1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::",
            "3fff::1",
            "5f00::1",
            "4000::1",
        ] {
            assert!(!Reach::Public.allows(address(private)), "{private}");
            assert!(Reach::Any.allows(address(private)), "{private}");
        }
    }

    #[test]
    fn a_laptops_webhooks_reach_the_laptop_and_not_its_neighbours() {
        for own in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "1.1.1.1"] {
            assert!(Reach::Loopback.allows(address(own)), "{own}");
        }
        for other in ["10.0.0.1", "192.168.1.1", "169.254.169.254", "fdaa::3", "0.0.0.0"] {
            assert!(!Reach::Loopback.allows(address(other)), "{other}");
        }
    }

    #[test]
    fn a_url_is_refused_for_what_it_says_by_itself() {
        const TLS: Option<&str> = Some("must be an https URL");
        const PRIVATE: Option<&str> = Some("must not lead to a private address; the operator may allow that");
        for (url, public, loopback) in [
            ("https://example.org/hook", None, None),
            ("http://example.org/hook", TLS, TLS),
            ("https://10.0.0.1/", PRIVATE, PRIVATE),
            ("http://127.0.0.1:9000/", TLS, None),
            ("https://127.0.0.1/", PRIVATE, None),
            ("http://localhost:9000/", TLS, None),
            ("https://a.localhost/", PRIVATE, None),
            // However an address is written, it is read as one.
            ("https://2130706433/", PRIVATE, None),
            ("https://0x7f.1/", PRIVATE, None),
            ("https://0251.0376.0251.0376/", PRIVATE, PRIVATE),
            ("https://[::1]/", PRIVATE, None),
            ("https://[::ffff:a9fe:a9fe]/", PRIVATE, PRIVATE),
            ("https://[fdaa::3]/", PRIVATE, PRIVATE),
        ] {
            let url: Url = url.parse().expect(url);
            assert_eq!((Reach::Public.fault_of(&url), Reach::Loopback.fault_of(&url)), (public, loopback), "{url}");
            assert_eq!(Reach::Any.fault_of(&url), None, "{url}");
        }
    }
}
