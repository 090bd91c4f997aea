//! Pure: which addresses are the internet's, and which are some network's own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// The internet.
    Public,
    /// Somebody's own network, or this computer.
    Private,
    /// Nothing that anybody may ask for: the metadata services of clouds, this link, groups, nobody.
    Never,
}

/// What the address leads to. What is an IPv4 address in another form is looked at as that.
pub fn reach(address: IpAddr) -> Reach {
    match address.to_canonical() {
        IpAddr::V4(address) => of_v4(address),
        IpAddr::V6(address) => embedded(address).map_or_else(|| of_v6(address), of_v4),
    }
}

fn of_v4(address: Ipv4Addr) -> Reach {
    let [a, b, c, _] = address.octets();
    let is_shared = a == 100 && (64..128).contains(&b);
    let is_protocol = (a, b, c) == (192, 0, 0);
    let is_benchmark = a == 198 && (18..20).contains(&b);
    if address.is_link_local() || address.is_multicast() || address.is_broadcast() || a == 0 || a >= 240 {
        Reach::Never
    } else if address.is_loopback() || address.is_private() || is_shared || is_protocol || is_benchmark {
        Reach::Private
    } else if address.is_documentation() {
        Reach::Never
    } else {
        Reach::Public
    }
}

fn of_v6(address: Ipv6Addr) -> Reach {
    /// Where Amazon answers for metadata over IPv6, among private addresses.
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    let [first, second, ..] = address.segments();
    if address == METADATA || address.is_unspecified() || address.is_unicast_link_local() || address.is_multicast() {
        Reach::Never
    } else if address.is_loopback() || address.is_unique_local() || first & 0xffc0 == 0xfec0 {
        Reach::Private
    } else if first & 0xe000 != 0x2000 || (first, second) == (0x2001, 0xdb8) {
        // Only 2000::/3 is given out.
        Reach::Never
    } else {
        Reach::Public
    }
}

/// The IPv4 address that a gateway would make of it: NAT64 and 6to4. Teredo hides one in no single way.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let at = |index: usize| {
        let [a, b] = segments[index].to_be_bytes();
        let [c, d] = segments[index + 1].to_be_bytes();
        Ipv4Addr::new(a, b, c, d)
    };
    match segments {
        [0x64, 0xff9b, 0, 0, 0, 0, _, _] => Some(at(6)),
        [0, 0, 0, 0, 0, 0, high, _] if high > 0 => Some(at(6)),
        [0x2002, ..] => Some(at(1)),
        [0x2001, 0, ..] => Some(Ipv4Addr::UNSPECIFIED),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_address_is_known_in_every_form() {
        use Reach::{Never, Private, Public};
        for (address, expected) in [
            ("8.8.8.8", Public),
            ("2606:4700::1", Public),
            ("127.0.0.1", Private),
            ("10.1.2.3", Private),
            ("172.16.0.1", Private),
            ("172.32.0.1", Public),
            ("192.168.0.1", Private),
            ("100.64.0.1", Private),
            ("100.128.0.1", Public),
            ("198.18.0.1", Private),
            ("169.254.169.254", Never),
            ("0.0.0.0", Never),
            ("255.255.255.255", Never),
            ("224.0.0.1", Never),
            ("240.0.0.1", Never),
            ("192.0.2.1", Never),
            ("::", Never),
            ("::1", Private),
            ("fdaa:0:1::2", Private),
            ("fd00:ec2::254", Never),
            ("fe80::1", Never),
            ("fec0::1", Private),
            ("ff02::1", Never),
            ("2001:db8::1", Never),
            ("4000::1", Never),
            ("::ffff:169.254.169.254", Never),
            ("::ffff:10.0.0.1", Private),
            ("::ffff:8.8.8.8", Public),
            ("64:ff9b::a9fe:a9fe", Never),
            ("64:ff9b::8.8.8.8", Public),
            ("2002:a00:1::", Private),
            ("2001:0:53aa:64c:0:7c43:ba26:1", Never),
            ("::7f00:1", Private),
        ] {
            assert_eq!(reach(address.parse().expect("an address")), expected, "{address}");
        }
    }
}
