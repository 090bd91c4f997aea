//! Hosts are compared as DNS does, and a pass opens as it was issued and in no other way.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::signature::Key;

fn destination(text: &str) -> Destination {
    text.parse().expect("a host")
}

fn key(number: u8) -> GrantKey {
    GrantKey::of(&Key::from_bytes([number; 32]))
}

fn grant() -> Grant {
    let [machine, task, execution] = [1, 2, 3].map(Uuid::from_u128);
    Grant { machine: machine.into(), task: task.into(), execution: execution.into() }
}

#[test]
fn a_host_is_included_by_its_name_and_port_and_nothing_that_only_looks_like_it() {
    let [domain, below, address, six] =
        ["Example.org", "*.example.net:8443", "10.0.0.1:80", "[::1]:81"].map(destination);
    let all = [&domain, &below, &address, &six];
    for (host, port, is_included) in [
        ("example.org", 443, true),
        ("example.org", 80, false),
        ("www.example.org", 443, false),
        ("example.org.evil.com", 443, false),
        ("notexample.org", 443, false),
        ("a.example.net", 8443, true),
        ("a.b.example.net", 8443, true),
        ("example.net", 8443, false),
        ("aexample.net", 8443, false),
        ("a.example.net", 443, false),
        ("10.0.0.1", 80, true),
        ("10.0.0.2", 80, false),
        ("::1", 81, true),
    ] {
        assert_eq!(all.iter().any(|one| one.includes(host, port)), is_included, "{host}:{port}");
    }
}

#[test]
fn names_are_compared_as_dns_does() {
    for (text, expected) in [
        ("GitHub.com", Some("github.com")),
        ("github.com.", Some("github.com")),
        ("[::1]", Some("::1")),
        ("[::0:1]", Some("::1")),
        ("", None),
        (".", None),
        ("a..b", None),
        ("a b", None),
        ("a/b", None),
        ("a@b", None),
        ("[::1", None),
        ("gïthub.com", None),
    ] {
        assert_eq!(host_name(text).as_deref(), expected, "{text}");
    }
    assert_eq!(host_name(&"a.".repeat(200)), None);
}

#[test]
fn what_is_no_host_is_refused_with_the_task_and_named() {
    for host in ["", "*", "*.com", "a:0", "a:65536", "a/b", "http://a", "a,b"] {
        let error = check(&[host.to_owned()]).expect_err(host).to_string();
        assert!(error.starts_with("spec.egress: ") && error.contains(&format!("{host:?}")), "{error}");
    }
    assert!(check(&vec!["a.example".to_owned(); 17]).is_err());
    assert!(check(&vec![format!("{}.example", "a.".repeat(50)); 16]).is_err());
    assert_eq!(check(&["a.example".to_owned(), "*.b.example:8443".to_owned(), "[2606:4700::1]:80".to_owned()]), Ok(()));
}

#[test]
fn what_no_task_can_reach_of_its_own_accord_is_refused_with_the_cure() {
    for host in [
        "10.0.0.1",
        "172.16.0.1:80",
        "192.168.1.1",
        "127.0.0.1:8080",
        "169.254.169.254:80",
        "0.0.0.0",
        "localhost",
        "LocalHost:80",
        "db.localhost",
        "[::1]:80",
        "[fd00::1]",
        "[fe80::1]",
        "[::ffff:10.0.0.1]",
        "100.64.0.1",
        "[64:ff9b::a00:1]",
    ] {
        let error = check(&[host.to_owned()]).expect_err(host).to_string();
        assert!(error.starts_with("spec.egress: ") && error.contains("the operator's allow-list"), "{error}");
    }
    for host in ["8.8.8.8", "172.32.0.1", "localhost.example", "[2606:4700::1]"] {
        assert_eq!(check(&[host.to_owned()]), Ok(()), "{host}");
    }
}

#[test]
fn a_pass_opens_as_it_was_issued_and_a_grant_is_one_to_no_host_of_its_own() {
    let hosts = ["example.org", "*.example.net:8443", "10.0.0.1:80", "[::1]:81"].map(destination).to_vec();
    let pass = Pass { grant: grant(), hosts };
    let text = key(1).issue_pass(&pass);
    assert_eq!(key(1).open_pass(&text), Ok(pass));
    assert_eq!(key(2).open_pass(&text), Err(BadGrant::WrongSignature));
    assert_eq!(key(1).open_pass(&key(1).issue(&grant())), Ok(Pass { grant: grant(), hosts: Vec::new() }));
    // Nobody writes events with it.
    assert_eq!(key(1).open(&text), Err(BadGrant::Malformed));
}

proptest! {
    #[test]
    fn a_pass_with_any_byte_changed_is_refused(at: prop::sample::Index, byte in 0x21..0x7f_u8) {
        let text = key(1).issue_pass(&Pass { grant: grant(), hosts: vec![destination("example.org")] });
        let mut changed = text.clone().into_bytes();
        let at = at.index(changed.len());
        prop_assume!(changed[at] != byte);
        changed[at] = byte;
        prop_assert!(key(1).open_pass(std::str::from_utf8(&changed).expect("is ASCII")).is_err());
    }

    #[test]
    fn no_text_makes_it_panic(text in "(pass1\\.)?.{0,200}") {
        prop_assert!(key(1).open_pass(&text).is_err());
    }
}
