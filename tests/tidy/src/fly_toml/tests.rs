//! The deploy rules, shown failing on one file at a time.

use super::*;

const EVENTS: &str = "app = \"a\"\n[build]\ndockerfile = \"../Dockerfile.events\"\n[[mounts]]\nsource = \"ev_store_data\"\ndestination = \"/data\"\ninitial_size = \"1gb\"\n[[machine_checks]]\ncommand = [\"x\"]\n";
const IMAGE: &str = "FROM debian AS one\nENV LANG=C.UTF-8 BIFROST_EVENTS_DATA=/data\n";
const RUNNER: &str = "app = \"b\"\n";
const CONTROL: &str =
    "app = \"c\"\n[http_service]\nauto_stop_machines = \"off\"\n[[http_service.checks]]\npath = \"/health\"\n";

const EGRESS: &str = "[[services]]\ninternal_port = 1\n[[services.ports]]\nport = 1\n[[services]]\ninternal_port = 2\n[[services]]\ninternal_port = 3\n";

#[track_caller]
fn check(events: &str, runner: &str, control: &str, expect: &[&str]) {
    check_with(events, runner, control, EGRESS, expect);
}

#[track_caller]
fn check_with(events: &str, runner: &str, control: &str, egress: &str, expect: &[&str]) {
    let tree = Tree::of(&[
        ("Dockerfile.events", IMAGE),
        ("fly/Cargo.toml", "[package]\nname = \"fly\""),
        ("fly/events.toml", events),
        ("fly/runner.toml", runner),
        ("fly/control-plane.toml", control),
        ("fly/egress.toml", egress),
    ]);
    let found: Vec<_> = offences(&tree).iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), expect.len(), "{found:?}");
    assert!(found.iter().zip(expect).all(|(found, expect)| found.starts_with(expect)), "{found:?}");
}

#[test]
fn a_key_that_flyctl_does_not_know_is_found_with_its_line() {
    check(EVENTS, RUNNER, CONTROL, &[]);
    check(
        EVENTS,
        "app = \"b\"\nkil_signal = \"SIGTERM\"\n",
        CONTROL,
        &["fly/runner.toml:2: flyctl knows no `kil_signal`"],
    );
    let typo = format!("{CONTROL}[[http_service.checks]]\npaht = \"/ready\"\n");
    check(EVENTS, RUNNER, &typo, &["fly/control-plane.toml:7: flyctl knows no `http_service.checks.paht`"]);
    check(EVENTS, "deploy = \"rolling\"\n", CONTROL, &["fly/runner.toml:1: flyctl knows no `deploy`"]);
    check(EVENTS, RUNNER, &format!("{CONTROL}[attic]\n"), &["fly/control-plane.toml:1: flyctl knows no `attic`"]);
}

#[test]
fn names_of_ones_own_are_known_where_they_are_allowed() {
    let own = format!("{CONTROL}[env]\nANY = \"x\"\n[checks.alive]\nport = 1\n[checks.alive.headers]\nHost = \"x\"\n");
    check(EVENTS, RUNNER, &own, &[]);
}

#[test]
fn the_event_store_and_the_runner_have_no_public_door() {
    let service = "[[services]]\ninternal_port = 1\n";
    let http = "[http_service]\ninternal_port = 1\n";
    check(&format!("{EVENTS}{service}"), RUNNER, CONTROL, &["fly/events.toml: the event store is private"]);
    check(&format!("{EVENTS}{http}"), RUNNER, CONTROL, &["fly/events.toml: the event store is private"]);
    check(EVENTS, &format!("{RUNNER}{http}"), CONTROL, &["fly/runner.toml: a runner is never called"]);
    check(EVENTS, &format!("{RUNNER}[env]\nA = \"b\"\n"), CONTROL, &["fly/runner.toml: machines of the runner app"]);
}

#[test]
fn the_egress_proxy_is_asked_by_the_runners_alone_and_in_its_own_protocol() {
    let cure = "fly/egress.toml: three `services`";
    let egress = |egress: &str, expect: &[&str]| check_with(EVENTS, RUNNER, CONTROL, egress, expect);
    egress(&EGRESS.replace("port = 1\n[[services]]", "port = 1\nhandlers = [\"http\"]\n[[services]]"), &[cure]);
    egress("app = \"e\"\n", &[cure]);
    egress(&format!("{EGRESS}[http_service]\ninternal_port = 1\n"), &["fly/egress.toml: only the runners' network"]);
}

#[test]
fn the_event_stores_database_is_on_its_volume() {
    const ELSEWHERE: &str = "[env]\nBIFROST_EVENTS_DATA = \"/var/events\"\n";
    check(&format!("{EVENTS}{}", ELSEWHERE.replace("/var/events", "/data")), RUNNER, CONTROL, &[]);
    let at = |path: &str| EVENTS.replace("destination = \"/data\"", &format!("destination = \"{path}\""));
    let cure = |line: usize, path: &str, data: &str| {
        format!("fly/events.toml:{line}: mounts `ev_store_data` at `{path}`, and BIFROST_EVENTS_DATA is `{data}`")
    };
    check(&at("/events"), RUNNER, CONTROL, &[&cure(6, "/events", "/data")]);
    check(&EVENTS.replace("destination = \"/data\"\n", ""), RUNNER, CONTROL, &[&cure(1, "", "/data")]);
    check(&format!("{EVENTS}{ELSEWHERE}"), RUNNER, CONTROL, &[&cure(6, "/data", "/var/events")]);
    check(&format!("{}{ELSEWHERE}", at("/var/events")), RUNNER, CONTROL, &[]);
    for (image, data) in
        [("", ""), (IMAGE, "/data"), ("ENV BIFROST_EVENTS_DATA=/a\nENV BIFROST_EVENTS_DATA=/b\n", "/b")]
    {
        let files = [("Dockerfile.events", image), ("fly/events.toml", &at("/mnt"))];
        let found: Vec<_> = offences(&Tree::of(&files)).iter().map(ToString::to_string).collect();
        assert!(found.iter().any(|found| found.starts_with(&cure(6, "/mnt", data))), "{found:?}");
    }
}

#[test]
fn the_event_volume_is_mounted_by_name_and_size() {
    for (from, to) in [("ev_store_data", "other"), ("1gb", "3gb")] {
        check(&EVENTS.replace(from, to), RUNNER, CONTROL, &["fly/events.toml: mount `ev_store_data`"]);
    }
}

#[test]
fn the_control_plane_is_never_stopped_for_want_of_requests() {
    for (from, to) in [("auto_stop_machines = \"off\"\n", ""), ("\"off\"", "\"suspend\"")] {
        let text = CONTROL.replace(from, to);
        check(EVENTS, RUNNER, &text, &["fly/control-plane.toml: set http_service.auto_stop_machines"]);
    }
}

#[test]
fn a_server_that_hangs_is_seen_and_a_new_store_is_asked() {
    check(EVENTS, RUNNER, &CONTROL.replace("/health", "/"), &["fly/control-plane.toml: check `/health`"]);
    check(
        &EVENTS.replace("machine_checks", "metrics"),
        RUNNER,
        CONTROL,
        &["fly/events.toml:", "fly/events.toml: a deploy goes on"],
    );
}

#[test]
fn a_file_that_is_gone_or_broken_is_found() {
    check("app = ", RUNNER, CONTROL, &["fly/events.toml: is not TOML"]);
    check(
        &EVENTS.replace("../Dockerfile.events", "Dockerfile.events"),
        RUNNER,
        CONTROL,
        &["fly/events.toml:3: builds", "fly/events.toml:6: mounts"],
    );
    let found = offences(&Tree::of(&[("fly/events.toml", EVENTS), ("Dockerfile.events", IMAGE)]));
    assert_eq!(found.len(), 6, "{found:?}");
}
