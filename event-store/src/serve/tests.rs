//! Who comes in, and beside how many.

use super::*;

const LIMITS: Limits = Limits {
    connections: 8,
    patience: Duration::from_secs(60),
    patience_when_crowded: Duration::from_secs(5),
    body: Duration::from_secs(30),
    unread: Duration::from_secs(60),
};

#[test]
fn on_fly_only_its_private_network_and_the_machine_itself_come_in() {
    let admitted = |address: &str| Peers::FlyPrivateNetwork.admit(address.parse().expect("an address"));
    for address in ["fdaa::1", "fdaa:0:1:a7b::2", "fdaa:ffff::", "::1", "127.0.0.1", "::ffff:127.0.0.1"] {
        assert!(admitted(address), "{address}");
    }
    for address in [
        "fdab::1",
        "fda9:ffff::1",
        "fd00::1",
        "fe80::1",
        "2001:db8::1",
        "10.0.0.1",
        "172.19.0.1",
        "8.8.8.8",
        "::ffff:10.0.0.1",
        "::ffff:fdaa:1",
        "::fdaa:1",
        "::",
    ] {
        assert!(!admitted(address), "{address}");
        assert!(Peers::Everybody.admit(address.parse().expect("an address")), "{address}");
    }
}

#[test]
fn any_of_the_names_that_fly_sets_makes_it_fly() {
    assert_eq!(
        Peers::from_vars(&Vars::from_pairs([("FLY_EVENT_SECRET", "x"), ("FLY_APP_NAME", "")])),
        Peers::Everybody
    );
    for name in FLY_NAMES {
        assert_eq!(Peers::from_vars(&Vars::from_pairs([(name, "x")])), Peers::FlyPrivateNetwork, "{name}");
    }
}

#[test]
fn the_fuller_the_less_patience_and_past_the_bound_none_comes_in() {
    let door = Door { peers: Peers::FlyPrivateNetwork, limits: LIMITS };
    let inside = "fdaa::2".parse().expect("an address");
    let judged = [0, 6, 7, 8, 9].map(|open| door.judge(inside, open));
    let (patient, crowded) = (Ok(LIMITS.patience), Ok(LIMITS.patience_when_crowded));
    assert_eq!(judged, [patient, patient, crowded, Err(Refusal::Full), Err(Refusal::Full)]);
    assert_eq!(door.judge("2001:db8::1".parse().expect("an address"), 8), Err(Refusal::Peer));
}

#[test]
fn connections_leave_files_to_the_rest_of_the_process() {
    assert_eq!([20_000, 1_024, 300, 2].map(at_most), [19_744, 768, 150, 1]);
}
