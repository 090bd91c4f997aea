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
    let scripts = [
        "bench",
        "bench-events",
        "deploy",
        "simulate",
        "images",
        "e2e-lifecycle",
        "cost-check",
        "test-isolation.sh",
        "test-6pn",
        "test",
    ];
    for name in scripts {
        let output = script(name).arg("--help").output().expect("runs");
        assert!(output.status.success(), "{name}: {output:?}");
        assert!(
            text(&output.stdout).starts_with(&format!("usage: scripts/{name}")),
            "{name}: {}",
            text(&output.stdout)
        );
    }
}

#[test]
fn what_a_script_does_not_know_is_named_with_the_right_form_before_anything_is_done() {
    for (name, arguments, cure) in [
        ("bench-events", &["--bogus"][..], "there is no option --bogus"),
        ("bench", &["events", "--rounds=1", "--bogus=1"], "there is no option --bogus=1"),
        ("deploy", &["--bogus"], "there is no option --bogus"),
        ("deploy", &["--region", ""], "--region: give a name"),
        ("deploy", &["--region"], "--region: give a name"),
        ("deploy", &["--dry-run", "--region", "xyz"], "--region: Fly has no region xyz; use one of ams"),
        ("deploy", &["--dry-run", "--peer-region", "xyz"], "--peer-region: Fly has no region xyz; use one of ams"),
        ("deploy", &["--dry-run", "--runner-secret", "NOPE"], "--runner-secret: the environment has no NOPE"),
        ("e2e-lifecycle", &["--bogus"], "there is no option --bogus"),
        ("e2e-lifecycle", &["--within", "abc"], "--within: give whole seconds, such as 60, not abc"),
        ("e2e-lifecycle", &["--repo"], "--repo: give a value"),
        ("e2e-lifecycle", &["--resume-within", "1.5"], "--resume-within: give whole seconds, such as 2, not 1.5"),
        ("test-isolation.sh", &[], "give the MACHINE"),
        ("test-isolation.sh", &["m1", "m2"], "give one MACHINE"),
        ("test-isolation.sh", &["m1", "--app"], "--app: give a value"),
        ("test-isolation.sh", &["m1", "--outside", "nowhere"], "--outside: give HOST:PORT, not nowhere"),
        ("test-isolation.sh", &["m1", "--bogus"], "there is no option --bogus"),
        ("test-isolation.sh", &["m1", "--open-port", "443"], "--open-port: give 53, the one that is asked, not 443"),
        ("deploy", &["--open-runners", "--runner-network", "a"], "give --runner-network or --open-runners, not both"),
        ("deploy", &["--runner-network", "default"], "--runner-network: default is what Fly calls"),
        ("test-6pn", &["--bogus"], "there is no option --bogus"),
        ("test", &["--bogus"], "there is no option --bogus"),
    ] {
        let output = script(name).args(arguments).output().expect("runs");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(64), "{name} {arguments:?}: {output:?}");
        assert!(said.contains(cure) && said.lines().count() <= 2, "{name} {arguments:?}: {said}");
    }
}

/// A directory with programs that say this, and a path that begins with it.
fn programs(programs: &[(&str, &str)]) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, words) in programs {
        let program = directory.path().join(name);
        fs::write(&program, format!("#!/bin/sh\n{words}\n")).expect("writes");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("sets");
    }
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    (directory, path)
}

#[test]
fn a_check_of_costs_without_its_programs_says_so_in_a_line() {
    let output = script("cost-check").env("BIFROST", "/nonexistent").output().expect("runs");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(said.starts_with("cost-check: there is no program /nonexistent") && said.lines().count() == 1, "{said}");
    let (directory, path) = programs(&[
        ("bifrost", "echo '{\"machines\":[]}'"),
        ("flyctl", "echo 'no such app' >&2; exit 1"),
        ("jq", "echo 'jq: parse error' >&2; exit 2"),
    ]);
    let bifrost = directory.path().join("bifrost");
    let output = script("cost-check").env("BIFROST", bifrost).env("PATH", path).output().expect("runs");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(said.ends_with("cost-check: flyctl could not list the machines of bifrost-runner\n"), "{said}");
    assert!(!said.contains("parse error"), "{said}");
}

#[test]
fn an_api_that_refuses_to_run_anything_in_a_machine_is_quoted_in_its_words() {
    let (_directory, path) =
        programs(&[("curl", "cat >/dev/null; echo '{\"error\":\"app not found\",\"status\":404}'")]);
    let mut command = script("test-isolation.sh");
    command.arg("m1").args(["--app", "nope"]).env("PATH", path).env("FLY_FLAPS_BASE_URL", "http://127.0.0.1:1");
    let output = command.output().expect("runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert_eq!(text(&output.stderr), "isolation: wrong: machine m1 of the app nope runs nothing: app not found\n");
}

#[test]
fn where_flyctl_is_missing_the_machine_is_not_blamed_for_it() {
    let (_directory, path) = programs(&[]);
    let mut command = script("test-isolation.sh");
    let output = command.arg("m1").env("PATH", path).env_remove("FLY_FLAPS_BASE_URL").output().expect("runs");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    assert!(said.starts_with("isolation: flyctl is missing") && said.lines().count() == 1, "{said}");
    assert!(said.contains("https://fly.io/docs/flyctl/install") && !said.contains("m1"), "{said}");
}

/// Asks for the isolation of a machine in which programs reach what is named here.
fn isolation(reached: &[&str], arguments: &[&str]) -> Output {
    let reached = reached.iter().map(|place| format!("*{place}*) echo REACHED ;; "));
    let machine = format!("case \"$asked\" in {}esac; echo RAN", reached.collect::<String>());
    let (curl, flyctl) = (format!("asked=$(cat)\n{machine}"), format!("asked=$*\n{machine}"));
    let (_directory, path) = programs(&[("curl", &curl), ("flyctl", &flyctl)]);
    let ask = |api: Option<&str>| {
        let mut command = script("test-isolation.sh");
        command.arg("m1").args(arguments).env("PATH", &path).env_remove("FLY_FLAPS_BASE_URL");
        command.envs(api.map(|api| ("FLY_FLAPS_BASE_URL", api))).output().expect("runs")
    };
    let (on_fly, by_api) = (ask(None), ask(Some("http://127.0.0.1:1")));
    assert_eq!(on_fly, by_api, "it makes no difference how a program gets into the machine");
    on_fly
}

#[test]
fn a_machine_is_isolated_when_it_reaches_the_event_store_and_nothing_outside() {
    const STORE: &str = "/health";
    let passed = isolation(&[STORE], &[]);
    assert!(passed.status.success() && text(&passed.stdout).ends_with("\nisolation: passed\n"), "{passed:?}");
    let known = isolation(&[STORE, "1.1.1.1/53"], &["--open-port", "53"]);
    let last = "\nisolation: passed, but for port 53, by which every host of the internet is reached\n";
    assert!(known.status.success() && text(&known.stdout).ends_with(last), "{known:?}");
    for (reached, arguments, expect) in [
        (&[][..], &[][..], "the event store does not answer at http://bifrost-events.internal:3000"),
        (&[], &["--events", "http://[::1]:7"], "the event store does not answer at http://[::1]:7"),
        (&["1.1.1.1/443"], &[], "the event store does not answer"),
        (&[STORE, "1.1.1.1/443"], &[], "machine m1 reaches 1.1.1.1:443"),
        (&[STORE, "1.1.1.1/443"], &["--open-port", "53"], "machine m1 reaches 1.1.1.1:443"),
        (&[STORE, "1.1.1.1/53"], &[], "machine m1 reaches 1.1.1.1:53"),
        (&[STORE, "example.org/80"], &["--outside", "example.org:80"], "machine m1 reaches example.org:80"),
    ] {
        let failed = isolation(reached, arguments);
        assert_eq!(failed.status.code(), Some(1), "{reached:?} {arguments:?}: {failed:?}");
        assert!(text(&failed.stderr).starts_with(&format!("isolation: wrong: {expect}")), "{failed:?}");
        assert!(!text(&failed.stdout).contains("passed"), "{failed:?}");
    }
}

#[test]
fn a_machine_that_cannot_be_asked_is_not_taken_for_isolated() {
    let once = "case \"$(cat)\" in */health*) echo REACHED; echo RAN ;; *) echo 'too many requests' ;; esac";
    let (_directory, path) = programs(&[("curl", once)]);
    let mut command = script("test-isolation.sh");
    command.arg("m1").env("PATH", path).env("FLY_FLAPS_BASE_URL", "http://127.0.0.1:1");
    let output = command.output().expect("runs");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("runs nothing: too many requests"), "{output:?}");
    assert!(!text(&output.stdout).contains("out of reach"), "{output:?}");
}

/// What a deployment says of one machine and two tasks.
struct Deployment {
    /// The kinds of the events of either task.
    events: &'static [&'static str],
    /// Who wrote the last of them.
    producer: &'static str,
    /// How often the machine is still asleep after the second task.
    looks_asleep: usize,
    /// Whether the server has destroyed it in the end.
    is_gone: bool,
    /// What the Machines API lists.
    listed: &'static str,
}

const EVENTS: [&str; 7] = [
    "task.submitted",
    "task.assigned",
    "task.started",
    "execution.phase",
    "execution.log",
    "execution.finished",
    "task.completed",
];

const AS_IT_SHOULD_BE: Deployment =
    Deployment { events: &EVENTS, producer: "machine/m1", looks_asleep: 2, is_gone: true, listed: "[]" };

/// How `scripts/e2e-lifecycle` ends there.
fn lifecycle(deployment: &Deployment, arguments: &[&str]) -> Output {
    let kinds: Vec<_> = deployment.events.iter().map(|kind| format!(r#"{{"type":"{kind}"}}"#)).collect();
    let events = format!(r#"[{},{{"producer":"{}"}}]"#, kinds.join(","), deployment.producer);
    let last = if deployment.is_gone { "[]" } else { r#"[{"id":"m1","state":"ready"}]"# };
    let bifrost = format!(
        r#"
there=$(dirname "$0")
count() {{ echo x >>"$there/$1"; wc -l <"$there/$1"; }}
case $1 in
    run) echo "task-$(count runs)" ;;
    events) echo '{events}' ;;
    machines)
        looks=0
        [ "$(wc -l <"$there/runs")" -eq 1 ] || looks=$(count looks)
        if [ "$looks" -le {asleep} ]; then echo '[{{"id":"m1","state":"suspended"}}]'
        elif [ "$looks" -eq {awake} ]; then echo '[{{"id":"m1","state":"ready"}}]'
        else echo '{last}'; fi
        ;;
esac"#,
        asleep = deployment.looks_asleep,
        awake = deployment.looks_asleep + 1,
    );
    let curl = format!("cat >/dev/null; echo '{}'", deployment.listed);
    let (directory, path) = programs(&[("bifrost", &bifrost), ("curl", &curl)]);
    let mut command = script("e2e-lifecycle");
    command.args(["--repo", "any"]).args(arguments).env("PATH", path).env("TMPDIR", directory.path());
    command.env("BIFROST", directory.path().join("bifrost")).env("BIFROST_URL", "http://127.0.0.1:1");
    command.env("FLY_FLAPS_BASE_URL", "https://machines.example").env("FLY_API_TOKEN", "fm2_own");
    command.output().expect("runs")
}

#[test]
fn a_lifecycle_passes_when_every_step_of_it_was_seen() {
    let passed = lifecycle(&AS_IT_SHOULD_BE, &["--within", "60", "--resume-within", "60"]);
    let said = text(&passed.stdout);
    assert!(passed.status.success() && said.ends_with("e2e: machine m1 is destroyed\ne2e: passed\n"), "{passed:?}");
    assert!(said.contains(" ms after its task and awake "), "{said}");
}

#[test]
fn a_lifecycle_names_the_step_that_is_missing() {
    const ONE: &[&str] = &["--within", "1", "--resume-within", "60"];
    const PATIENT: &[&str] = &["--within", "60", "--resume-within", "1"];
    let there = r#"[{"name":"bifrost-m1"}]"#;
    for (deployment, arguments, expect) in [
        (Deployment { events: &[], ..AS_IT_SHOULD_BE }, ONE, "the event execution.finished, within 1 s"),
        (Deployment { events: &EVENTS[..6], ..AS_IT_SHOULD_BE }, ONE, "the event task.completed, within 1 s"),
        (Deployment { events: &EVENTS[1..], ..AS_IT_SHOULD_BE }, ONE, "the event task.submitted"),
        (Deployment { producer: "control", ..AS_IT_SHOULD_BE }, ONE, "the machine that wrote the events"),
        (Deployment { looks_asleep: 1_000, ..AS_IT_SHOULD_BE }, ONE, "a resume: the machine is suspended after "),
        (Deployment { looks_asleep: 40, ..AS_IT_SHOULD_BE }, PATIENT, "a resume within 1 s: it took "),
        (
            Deployment { looks_asleep: 0, is_gone: false, ..AS_IT_SHOULD_BE },
            ONE,
            "the machine's destruction: the server still lists it, within 1 s",
        ),
        (
            Deployment { looks_asleep: 0, listed: there, ..AS_IT_SHOULD_BE },
            ONE,
            "the machine's destruction: the Machines API still has it, within 1 s",
        ),
    ] {
        let failed = lifecycle(&deployment, arguments);
        assert_eq!(failed.status.code(), Some(1), "{expect}: {failed:?}");
        assert!(text(&failed.stderr).starts_with(&format!("e2e: missing: {expect}")), "{expect}: {failed:?}");
        assert!(!text(&failed.stdout).contains("passed"), "{failed:?}");
    }
}

/// Builds images with an engine in whose images these programs run.
fn images(engine: &str, tools: &str, arguments: &[&str]) -> Output {
    let runs =
        |tool: &str| format!("case {tool} in {tools}) echo \"{tool} version 1\"; echo more ;; *) exit 127 ;; esac");
    let docker = format!(
        "case $1 in image) echo 90000000 ;; run) [ \"$5 $7\" = '--entrypoint bifrost-runner' ] || exit 9; {} ;; esac",
        runs("$6")
    );
    let buildah = format!(
        "case $1 in images) echo '90 MB' ;; from) echo c1 ;; run) [ \"$2 $3\" = 'c1 --' ] || exit 9; {} ;; esac",
        runs("$4")
    );
    let (_directory, path) = programs(&[("docker", &docker), ("buildah", &buildah)]);
    script("images").args(arguments).env("PATH", path).env("ENGINE", engine).output().expect("runs")
}

#[test]
fn the_runners_image_is_asked_for_its_tools_when_it_is_built() {
    for engine in ["docker", "buildah"] {
        // The base has none of them.
        let built = images(engine, "git|curl|cc|make", &["runner-base", "runner"]);
        let tools = ["git", "curl", "cc", "make"].map(|tool| format!("runner:{tool:<5} {tool} version 1\n"));
        let expect = format!("runner-base  90000000\nrunner       90000000\n{}", tools.concat());
        assert_eq!(text(&built.stdout), expect, "{built:?}");
        let lacking = images(engine, "git|curl|make", &["runner"]);
        assert_eq!(lacking.status.code(), Some(1), "{lacking:?}");
        assert!(text(&lacking.stderr).ends_with("images: cc does not run in the runner's image\n"), "{lacking:?}");
    }
}
