//! The scripts that docs/deploy.md names, as far as they can be run where nothing is deployed: each says what it
//! does, and `scripts/test-6pn` (row FLY-031-N) judges what a ping that is none tells it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("is there")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[expect(clippy::disallowed_methods, reason = "a script that is run to its end, with nothing to supervise")]
fn script(name: &str) -> Command {
    Command::new(repository().join("scripts").join(name))
}

/// Runs `scripts/test-6pn` where `ping` says this.
fn private_network(ping: &str) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("ping");
    let words = format!("#!/bin/sh\n[ \"$*\" = '-6 -c 3 _api.internal' ] || exit 9\n{ping}\n");
    fs::write(&program, words).expect("writes");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("sets");
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    script("test-6pn").env("PATH", path).output().expect("runs")
}

#[test]
fn a_computer_is_in_the_private_network_when_its_resolver_answers_with_an_address_of_it() {
    let passed = private_network("echo 'PING _api.internal(fdaa:0:1::3) 56 data bytes'");
    assert!(passed.status.success() && text(&passed.stdout).ends_with("6pn: passed\n"), "{passed:?}");
    for (ping, expect) in [
        ("echo 'ping: _api.internal: Name or service not known' >&2; exit 2", "bring the peer up"),
        ("echo 'PING _api.internal(2001:db8::1) 56 data bytes'", "is not in the private network"),
    ] {
        let failed = private_network(ping);
        let said = text(&failed.stderr);
        assert!(!failed.status.success() && said.starts_with("6pn: wrong: ") && said.contains(expect), "{said}");
    }
}

#[test]
fn a_script_that_measures_or_deploys_says_what_it_does() {
    let scripts =
        ["bench", "bench-events", "deploy", "simulate", "images", "e2e-lifecycle", "cost-check", "test-isolation.sh"];
    for name in scripts {
        let output = script(name).arg("--help").output().expect("runs");
        assert!(output.status.success(), "{name}: {output:?}");
        assert!(text(&output.stdout).starts_with("usage: scripts/"), "{name}: {}", text(&output.stdout));
    }
}
