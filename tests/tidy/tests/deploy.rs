//! `scripts/deploy` against a flyctl that is none (rows FLY-001 to FLY-010, FLY-030-N,
//! FLY-004): it keeps a small state, refuses what Fly would, and can kill the script
//! after any of its commands.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// Lists say what there is; a thing that is there cannot be made again; values come by standard input.
const FLYCTL: &str = r#"#!/usr/bin/env bash
set -euo pipefail
state=$FAKE_STATE
printf '%s\n' "$*" >>"$state/calls"
listed() {
    printf '[\n'
    [ ! -e "$state/$1" ] || sed 's/.*/  { "Name": "&" }/' "$state/$1"
    printf ']\n'
}
make() {
    if grep -qx "$2" "$state/$1" 2>/dev/null; then echo "$2 is there already" >&2; exit 1; fi
    echo "$2" >>"$state/$1"
}
case "$1 ${2:-}" in
    'version ') echo 'flyctl v0' ;;
    'auth whoami') [ ! -e "$state/logged-out" ] ;;
    'auth login') [ -t 0 ]; rm "$state/can-log-in" "$state/logged-out" ;;
    'apps list') listed apps ;;
    'apps create') make apps "$3"; echo "${7:-default}" >"$state/network-$3" ;;
    'wireguard list') listed peers ;;
    'wireguard create') make peers "$5"; echo '[Interface]' >"$6" ;;
    'wireguard remove') sed -i "/^$4\$/d" "$state/peers" ;;
    'volumes list') listed "volumes-$4" ;;
    'volumes create') make "volumes-$7" "$3" ;;
    'secrets list') listed "secrets-$4" ;;
    'secrets import')
        while IFS='=' read -r name value; do
            grep -qx "$name" "$state/secrets-$4" 2>/dev/null || echo "$name" >>"$state/secrets-$4"
            echo "$4 $name=$value" >>"$state/values"
        done
        ;;
    'tokens create') echo 'FlyV1 fm2_made' ;;
    'auth token') echo 'fm2_own' ;;
    'ips list')
        [ ! -e "$state/addresses-$4" ] || sed 's/.*/[{ "Type": "&" }]/' "$state/addresses-$4"
        ;;
    'ips allocate-v6') [ "$3 $4" = '--private --network' ]; make "addresses-$7" private_v6 ;;
    'config validate') [ -e "$5" ] ;;
    'deploy .')
        grep -qx "$6" "$state/apps"
        echo "$6" >>"$state/deployed"
        [ "$7" != --build-only ] || echo "$6/manifests/${10}" >>"$state/images"
        ;;
    *) echo "unknown: $*" >&2; exit 2 ;;
esac
"#;

/// Both count, and one of their calls may be the script's last.
const COUNT: &str = r#"
count=$(($(cat "$FAKE_STATE/count" 2>/dev/null || echo 0) + 1))
echo "$count" >"$FAKE_STATE/count"
if [ "$count" = "${FAKE_KILL_AFTER:-}" ]; then kill -KILL "$FAKE_SCRIPT"; fi
"#;

/// The registry, the apps and the network policies, as far as curl is asked, for who proves to be somebody: an image
/// that was pushed has a digest, an app is in the network that it was made in, and keeps the policies that it is given.
/// What installs flyctl is for anybody.
const CURL: &str = r#"#!/usr/bin/env bash
set -euo pipefail
printf 'curl %s\n' "$*" >>"$FAKE_STATE/calls"
url=${*: -1}
body=
while [ $# -gt 1 ]; do
    case $1 in
        --config) config=$(cat "$2") ;;
        --data) body=$2 ;;
    esac
    shift
done
case $url in
    https://fly.io/install.sh) cat "$FAKE_STATE/install.sh" ;;
    https://registry.fly.io/v2/*)
        [ "$config" = 'user = "x:fm2_own"' ]
        grep -qx "${url#https://registry.fly.io/v2/}" "$FAKE_STATE/images"
        printf 'HTTP/2 200\r\ndocker-content-digest: sha256:%s\r\n\r\n' "$(printf 'ab%.0s' {1..32})"
        ;;
    https://api.machines.dev/v1/apps?org_slug=personal)
        [ "$config" = 'header = "authorization: Bearer fm2_own"' ]
        printf '{"total_apps":%s,"apps":[' "$(wc -l <"$FAKE_STATE/apps")"
        separator=
        while read -r app; do
            printf '%s{"id":"a","name":"%s","organization":{"name":"%s","slug":"personal"},"network":"%s"}' \
                "$separator" "$app" bifrost-runner "$(cat "$FAKE_STATE/network-$app")"
            separator=,
        done <"$FAKE_STATE/apps"
        printf ']}\n'
        ;;
    https://api.machines.dev/v1/apps/*/network_policies)
        [ "$config" = 'header = "authorization: Bearer fm2_own"' ]
        [ ! -e "$FAKE_STATE/no-policies" ]
        app=${url#https://api.machines.dev/v1/apps/}
        app=${app%/network_policies}
        grep -qx "$app" "$FAKE_STATE/apps"
        [ -z "$body" ] || printf '%s\n' "$body" >>"$FAKE_STATE/policies-$app"
        printf '[%s]\n' "$(paste -sd, "$FAKE_STATE/policies-$app" 2>/dev/null)"
        ;;
    *) exit 6 ;;
esac
"#;

/// A copy of what the script reads, and a flyctl on the path before all others.
struct Desk(TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().expect("a directory"));
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for directory in ["scripts", "fly", "bin", "state"] {
            fs::create_dir(desk.path(directory)).expect("made");
        }
        for file in
            ["scripts/deploy", "fly/events.toml", "fly/runner.toml", "fly/control-plane.toml", "fly/egress.toml"]
        {
            fs::copy(root.join(file), desk.path(file)).expect("copied");
        }
        desk.program("flyctl", &[FLYCTL, COUNT].concat());
        desk.program("curl", &[CURL, COUNT].concat());
        desk
    }

    /// One that has no flyctl yet; what is served as its installer does this.
    fn without_flyctl(install: &str) -> Self {
        let desk = Self::new();
        fs::rename(desk.path("bin/flyctl"), desk.path("state/flyctl")).expect("moved");
        fs::write(desk.path("state/install.sh"), install).expect("written");
        desk
    }

    /// Puts a program on the path before all others.
    fn program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        fs::write(&path, script).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn deploy(&self, arguments: &[&str], kill_after: Option<usize>) -> Output {
        // The shell is replaced by the script, so that its id is the script's.
        let replace = "export FAKE_SCRIPT=$$; exec bash scripts/deploy \"$@\"";
        let mut command = self.command("bash");
        command.args(["-c", replace, "deploy"]).args(arguments);
        if let Some(count) = kill_after {
            command.env("FAKE_KILL_AFTER", count.to_string());
        }
        command.output().expect("bash starts")
    }

    /// As somebody at a terminal runs it.
    fn deploy_at_a_terminal(&self, token: Option<&str>) -> Output {
        let mut command = self.command("script");
        command.args(["--quiet", "--return", "--command", "bash scripts/deploy", "/dev/null"]);
        if let Some(token) = token {
            command.env("FLY_API_TOKEN", token);
        }
        command.output().expect("script starts (Debian: bsdutils)")
    }

    #[expect(clippy::disallowed_methods, reason = "a script that is run to its end, with nothing to supervise")]
    fn command(&self, program: &str) -> Command {
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let mut command = Command::new(program);
        command.current_dir(self.0.path()).env_clear().env("PATH", path).env("HOME", self.0.path());
        command.env("FAKE_STATE", self.path("state")).env("LINEAR_API_KEY", "hunter2");
        fs::remove_file(self.path("state/count")).ok();
        command
    }

    fn state(&self, name: &str) -> String {
        fs::read_to_string(self.path("state").join(name)).unwrap_or_default()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn succeeded(output: &Output) {
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

const ARGUMENTS: [&str; 2] = ["--runner-secret", "LINEAR_API_KEY"];

/// What must be there in the end, whichever way it came about.
#[track_caller]
fn is_complete(desk: &Desk) {
    assert_eq!(desk.state("apps"), "bifrost-runner\nbifrost-events\nbifrost-control\nbifrost-egress\n");
    assert_eq!(desk.state("network-bifrost-runner"), "bifrost-runners\n");
    assert_eq!(desk.state("addresses-bifrost-egress"), "private_v6\n");
    assert_eq!(desk.state("policies-bifrost-runner").lines().count(), 1);
    assert_eq!(desk.state("peers"), "mock1ng-mac-mini\n");
    assert_eq!(desk.state("volumes-bifrost-events"), "ev_store_data\n");
    assert_eq!(desk.state("volumes-bifrost-control"), "control_data\n");
    assert_eq!(desk.state("volumes-bifrost-egress"), "egress_data\n");
    assert_eq!(desk.state("secrets-bifrost-egress"), "FLY_EVENT_SECRET\n");
    assert_eq!(desk.state("secrets-bifrost-events"), "FLY_EVENT_SECRET\n");
    assert_eq!(desk.state("secrets-bifrost-control"), "FLY_EVENT_SECRET\nBIFROST_SECRET\nFLY_API_TOKEN\n");
    assert_eq!(desk.state("secrets-bifrost-runner"), "LINEAR_API_KEY\n");
    let deployed = desk.state("deployed");
    let last = "bifrost-events\nbifrost-egress\nbifrost-runner\nbifrost-control\n";
    assert!(deployed.ends_with(last), "{deployed}");
    let configuration = fs::metadata(desk.path(".fly/wireguard.conf")).expect("there");
    assert_eq!(configuration.permissions().mode() & 0o777, 0o600);
    assert!(!desk.path(".fly/wireguard.conf.part").exists());
    assert_eq!(event_secrets(desk).len(), 1, "all sides have the same secret");
}

/// The values that were given as the secret of the events.
fn event_secrets(desk: &Desk) -> BTreeSet<String> {
    let values = desk.state("values");
    let values = values.lines().filter_map(|line| line.split_once(" FLY_EVENT_SECRET="));
    values.map(|(_, value)| value.to_owned()).collect()
}

#[test]
fn everything_is_made_once_and_a_second_run_makes_nothing() {
    let desk = Desk::new();
    succeeded(&desk.deploy(&ARGUMENTS, None));
    is_complete(&desk);
    let before = (desk.state("apps"), desk.state("values"));
    succeeded(&desk.deploy(&ARGUMENTS, None));
    is_complete(&desk);
    assert_eq!((desk.state("apps"), desk.state("values")), before);
}

/// Kills a run after every second of its commands, and has another one end.
#[track_caller]
fn interrupted(first: usize) {
    let desk = Desk::new();
    succeeded(&desk.deploy(&ARGUMENTS, None));
    let commands = desk.state("calls").lines().count();
    assert!(commands > 40, "{commands}");
    for count in (first..=commands).step_by(2) {
        let desk = Desk::new();
        assert!(!desk.deploy(&ARGUMENTS, Some(count)).status.success(), "killed after command {count}");
        succeeded(&desk.deploy(&ARGUMENTS, None));
        is_complete(&desk);
    }
}

#[test]
fn after_an_interruption_at_an_odd_command_the_next_run_ends_well() {
    interrupted(1);
}

#[test]
fn after_an_interruption_at_an_even_command_the_next_run_ends_well() {
    interrupted(2);
}

/// What the last deployment of the control plane was told.
fn told(desk: &Desk) -> String {
    let calls = desk.state("calls");
    calls.lines().rfind(|call| call.starts_with("deploy . -c fly/control-plane.toml")).expect("deployed").to_owned()
}

#[test]
fn the_control_plane_gets_the_runners_image_by_its_digest() {
    let desk = Desk::new();
    succeeded(&desk.deploy(&ARGUMENTS, None));
    let image = format!("BIFROST_RUNNER_IMAGE=registry.fly.io/bifrost-runner@sha256:{}", "ab".repeat(32));
    assert!(told(&desk).contains(&image), "{}", told(&desk));
    let desk = Desk::new();
    desk.program("curl", "#!/bin/sh\nexit 22\n");
    let output = desk.deploy(&["--open-runners"], None);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("the registry does not show"), "{}", text(&output.stderr));
    assert!(!desk.state("deployed").contains("bifrost-control"));
}

#[test]
fn runners_in_a_network_of_their_own_reach_everything_through_the_egress_proxy() {
    let desk = Desk::new();
    succeeded(&desk.deploy(&[], None));
    assert!(desk.state("calls").contains("apps create bifrost-runner --org personal --network bifrost-runners"));
    assert!(desk.state("calls").contains("ips allocate-v6 --private --network bifrost-runners -a bifrost-egress"));
    for part in [
        "BIFROST_PUBLIC_URL=http://bifrost-egress.flycast:7600",
        "BIFROST_EVENTS_PUBLIC_URL=http://bifrost-egress.flycast:3000",
        "BIFROST_RUNNER_PROXY=http://bifrost-egress.flycast:3128",
    ] {
        assert!(told(&desk).contains(part), "{}", told(&desk));
    }
    // A deployment from another computer does not give the proxy a secret that the others do not have.
    let desk = Desk::new();
    fs::write(desk.path("state/secrets-bifrost-events"), "FLY_EVENT_SECRET\n").expect("written");
    fs::write(desk.path("state/secrets-bifrost-control"), "FLY_EVENT_SECRET\n").expect("written");
    let output = desk.deploy(&[], None);
    assert!(text(&output.stderr).contains("only 2 of the 3 apps"), "{}", text(&output.stderr));
}

#[test]
fn open_runners_are_made_where_they_are_asked_for_and_only_there() {
    let desk = Desk::new();
    let output = desk.deploy(&["--open-runners"], None);
    succeeded(&output);
    assert!(text(&output.stdout).contains("runners reach the internet"), "{}", text(&output.stdout));
    assert_eq!(desk.state("network-bifrost-runner"), "default\n");
    assert_eq!(desk.state("apps"), "bifrost-runner\nbifrost-events\nbifrost-control\n");
    assert_eq!(desk.state("policies-bifrost-runner"), "");
    let inside = "BIFROST_PUBLIC_URL=http://bifrost-control.internal:7600";
    assert!(told(&desk).contains(inside) && !told(&desk).contains("bifrost-egress"), "{}", told(&desk));
    succeeded(&desk.deploy(&["--open-runners"], None));
    // Fly's document does not say what it calls the network of the organisation.
    fs::write(desk.path("state/network-bifrost-runner"), "").expect("written");
    succeeded(&desk.deploy(&["--open-runners"], None));
    let dry = Desk::new().deploy(&["--dry-run"], None);
    assert!(!text(&dry.stdout).contains("runners reach the internet"), "{}", text(&dry.stdout));
}

/// Everything on Fly that a run could change.
fn everything(desk: &Desk) -> Vec<(PathBuf, String)> {
    let seen = ["calls", "count", "can-log-in"];
    let files = fs::read_dir(desk.path("state")).expect("there").map(|entry| entry.expect("readable").path());
    let files = files.filter(|path| !seen.iter().any(|name| path.ends_with(name)));
    let mut all: Vec<_> = files.map(|path| (path.clone(), fs::read_to_string(path).expect("text"))).collect();
    all.sort();
    all
}

/// Deploys, and again with other options: nothing is changed, and these words say what stands and what to do.
#[track_caller]
fn is_left_alone(first: &[&str], then: &[&str], expect: &[&str]) -> Desk {
    let desk = Desk::new();
    succeeded(&desk.deploy(first, None));
    let before = everything(&desk);
    // What this computer remembers makes no difference.
    fs::remove_dir_all(desk.path(".fly")).expect("was there");
    let output = desk.deploy(then, None);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(expect.iter().all(|words| said.contains(words)), "{said}");
    assert_eq!(everything(&desk), before);
    desk
}

#[test]
fn an_app_that_was_made_open_stays_as_it_is_until_another_is_closed() {
    let said = ["made in the organisation's network", "Nothing was changed", "--runner-app", "with --open-runners"];
    is_left_alone(&["--open-runners"], &["--runner-network", "runners"], &said);
    let desk = is_left_alone(&["--open-runners", "--runner-secret", "LINEAR_API_KEY"], &[], &said);
    // Who says that it stays open goes on, and who gives another app has it closed; both keep what the servers have.
    let secret = event_secrets(&desk).pop_first().expect("a secret");
    fs::write(desk.path(".fly/FLY_EVENT_SECRET"), secret).expect("the copy that was kept");
    succeeded(&desk.deploy(&["--open-runners"], None));
    succeeded(&desk.deploy(&["--runner-app", "closed", "--runner-secret", "LINEAR_API_KEY"], None));
    assert_eq!(desk.state("network-closed"), "bifrost-runners\n");
    assert_eq!(desk.state("policies-closed").lines().count(), 1);
    assert!(told(&desk).contains("BIFROST_RUNNER_APP=closed"), "{}", told(&desk));
    assert!(told(&desk).contains("BIFROST_RUNNER_PROXY=http://bifrost-egress.flycast:3128"), "{}", told(&desk));
    assert_eq!(event_secrets(&desk).len(), 1);
    assert_eq!(desk.state("volumes-bifrost-events"), "ev_store_data\n");
}

#[test]
fn an_app_that_was_made_in_a_network_of_its_own_is_neither_opened_nor_moved() {
    let said = ["made in the network bifrost-runners", "Nothing was changed", "Leave --open-runners out"];
    is_left_alone(&[], &["--open-runners"], &said);
    let said = ["made in the network runners", "Nothing was changed", "or give runners"];
    let desk = is_left_alone(&["--runner-network", "runners"], &["--runner-network", "others"], &said);
    // Its name does not have to be said again.
    let secret = event_secrets(&desk).pop_first().expect("a secret");
    fs::write(desk.path(".fly/FLY_EVENT_SECRET"), secret).expect("the copy that was kept");
    succeeded(&desk.deploy(&[], None));
    assert_eq!(desk.state("addresses-bifrost-egress"), "private_v6\n");
    assert!(told(&desk).contains("BIFROST_PUBLIC_URL=http://bifrost-egress.flycast:7600"), "{}", told(&desk));
}

#[test]
fn where_fly_does_not_list_the_runners_app_nothing_is_done() {
    let desk = Desk::new();
    succeeded(&desk.deploy(&[], None));
    let before = everything(&desk);
    desk.program("curl", "#!/bin/sh\necho '{\"total_apps\":0,\"apps\":[]}'\n");
    let silent = desk.deploy(&[], None);
    assert!(text(&silent.stderr).contains("does not list bifrost-runner among the apps of personal"), "{silent:?}");
    desk.program("curl", "#!/bin/sh\nexit 22\n");
    let refused = desk.deploy(&[], None);
    assert!(text(&refused.stderr).contains("the apps of personal cannot be read"), "{refused:?}");
    assert!(!silent.status.success() && !refused.status.success());
    assert_eq!(everything(&desk), before);
}

#[test]
fn the_runners_in_their_network_are_let_out_by_the_ports_of_the_proxy_and_dns_alone() {
    let desk = Desk::new();
    succeeded(&desk.deploy(&[], None));
    let policies = desk.state("policies-bifrost-runner");
    let policy: serde_json::Value = serde_json::from_str(&policies).expect("one policy");
    let port = |protocol: &str, port: u16| serde_json::json!({ "protocol": protocol, "port": port });
    let ports = [port("tcp", 3128), port("tcp", 7600), port("tcp", 3000), port("udp", 53), port("tcp", 53)];
    let expected = serde_json::json!({
        "name": "bifrost-egress-only",
        "selector": { "all": true },
        "rules": [{ "action": "allow", "direction": "egress", "ports": ports }],
    });
    assert_eq!(policy, expected);
    // No machine is made before: the control plane comes last.
    let calls = desk.state("calls");
    let at = |what: &str| calls.lines().position(|call| call.contains(what)).expect(what);
    assert!(at("--data") < at("deploy . -c fly/control-plane.toml"), "{calls}");
    succeeded(&desk.deploy(&[], None));
    assert_eq!(desk.state("policies-bifrost-runner"), policies, "it is made once");
}

#[test]
fn where_the_network_policy_is_refused_there_is_no_control_plane_that_would_make_machines() {
    let desk = Desk::new();
    fs::write(desk.path("state/no-policies"), "").expect("written");
    let output = desk.deploy(&[], None);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("network policies of bifrost-runner cannot be read"), "{output:?}");
    assert!(!desk.state("deployed").contains("bifrost-control"));
}

#[test]
fn machines_and_servers_are_in_the_region_of_the_volumes() {
    let desk = Desk::new();
    succeeded(&desk.deploy(&["--region", "syd"], None));
    let calls = desk.state("calls");
    let of = |what: &str| calls.lines().filter(|call| call.contains(what)).collect::<Vec<_>>();
    assert_eq!(of("volumes create").len(), 3, "{calls}");
    assert!(of("volumes create").iter().all(|call| call.contains("--region syd")), "{calls}");
    assert_eq!(of("--ha=false").len(), 3, "{calls}");
    assert!(of("--ha=false").iter().all(|call| call.contains("--primary-region syd")), "{calls}");
    assert!(told(&desk).contains("BIFROST_REGION=syd"), "{}", told(&desk));
    assert!(calls.contains("wireguard create personal syd mock1ng-mac-mini"), "{calls}");
}

#[test]
fn the_peer_may_be_in_a_region_of_its_own() {
    let desk = Desk::new();
    let output = desk.deploy(&["--dry-run", "--peer-region", "sea"], None);
    succeeded(&output);
    let printed = text(&output.stdout);
    assert!(printed.contains("flyctl wireguard create personal sea mock1ng-mac-mini"), "{printed}");
    assert!(printed.contains("--region sjc") && !printed.contains("--region sea"), "{printed}");
}

/// The regions that the price list says are offered.
fn offered() -> Vec<String> {
    let list = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fly/src/price.rs")).expect("there");
    let list = list.split("const OFFERED").nth(1).and_then(|rest| rest.split("];").next()).expect("the list");
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_region_that_fly_offers_is_taken_and_another_is_refused_before_anything_is_made() {
    let regions = offered();
    assert!(regions.len() > 10, "{regions:?}");
    for region in &regions {
        succeeded(&Desk::new().deploy(&["--dry-run", "--region", region], None));
    }
    for region in ["sea", "xyz", "sj", "ams-arn"] {
        let desk = Desk::new();
        let output = desk.deploy(&["--region", region], None);
        assert!(!output.status.success(), "{region}");
        let why = text(&output.stderr);
        let cure = format!("--region: Fly has no region {region}; use one of {}\n", regions.join(" "));
        assert!(why.ends_with(&cure), "{why}");
        assert_eq!(desk.state("calls"), "");
    }
}

#[test]
fn the_deploy_files_name_a_region_that_fly_offers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fly");
    for file in ["events", "runner", "control-plane", "egress"] {
        let text = fs::read_to_string(root.join(format!("{file}.toml"))).expect("there");
        let named = text.lines().filter(|line| line.contains("primary_region =") || line.contains("BIFROST_REGION ="));
        let named: Vec<&str> = named.filter_map(|line| line.split('"').nth(1)).collect();
        assert!(
            !named.is_empty() && named.iter().all(|region| offered().iter().any(|one| one == region)),
            "{file}: {named:?}"
        );
    }
}

#[test]
fn no_value_of_a_secret_is_in_an_argument_or_printed() {
    let desk = Desk::new();
    let output = desk.deploy(&ARGUMENTS, None);
    succeeded(&output);
    let seen = [desk.state("calls"), text(&output.stdout), text(&output.stderr)].concat();
    assert!(!seen.contains("fm2_"), "{seen}");
    let values = desk.state("values");
    assert_eq!(values.lines().count(), 6, "{values}");
    for value in values.lines().filter_map(|line| line.split_once('=')).map(|(_, value)| value) {
        assert!(!value.is_empty() && !seen.contains(value), "{value}");
    }
}

#[test]
fn a_dry_run_prints_the_rows_commands_and_runs_none() {
    let desk = Desk::new();
    let output = desk.deploy(&["--dry-run"], None);
    succeeded(&output);
    assert_eq!(desk.state("calls"), "");
    assert!(!desk.path(".fly").exists());
    let printed = text(&output.stdout);
    for command in [
        "curl -L https://fly.io/install.sh | sh",
        "flyctl auth whoami",
        "flyctl apps create bifrost-runner --org personal --network bifrost-runners\n",
        "flyctl apps create bifrost-events --org personal\n",
        "flyctl wireguard create personal sjc mock1ng-mac-mini",
        "flyctl volumes create ev_store_data --size 1",
        "flyctl secrets import -a bifrost-events",
        "flyctl config validate --strict -c fly/events.toml",
        "flyctl deploy . -c fly/events.toml",
        "BIFROST_RUNNER_IMAGE=registry.fly.io/bifrost-runner@sha256:",
        "curl https://api.machines.dev/v1/apps/bifrost-runner/network_policies\n",
        "--data '{\"name\": \"bifrost-egress-only\", \"selector\": {\"all\": true}",
    ] {
        assert!(printed.contains(command), "{command} in\n{printed}");
    }
    // The row has no network in it: its command alone makes an app whose machines reach the internet.
    let open = desk.deploy(&["--dry-run", "--open-runners"], None);
    assert!(text(&open.stdout).contains("flyctl apps create bifrost-runner --org personal\n"), "{open:?}");
    assert_eq!(desk.state("calls"), "");
}

#[test]
fn a_dry_run_prints_every_command_that_a_run_with_an_empty_account_calls() {
    for options in [&[][..], &["--open-runners"]] {
        let desk = Desk::new();
        let output = desk.deploy(&[options, &["--dry-run"]].concat(), None);
        succeeded(&output);
        let printed = text(&output.stdout);
        assert_eq!(text(&output.stderr), "");
        succeeded(&desk.deploy(options, None));
        let calls = desk.state("calls");
        assert!(calls.lines().count() > 30, "{calls}");
        for call in calls.lines().filter(|call| !call.starts_with("curl ")) {
            // What only the run knows: a digest, and the name that a file has until it is whole.
            let call = call.split("@sha256:").next().expect("a part").trim_end_matches(".part");
            assert!(printed.contains(&format!("flyctl {call}")), "{call} is not in\n{printed}");
        }
    }
}

#[test]
fn who_is_not_logged_in_learns_which_step_failed() {
    let desk = Desk::new();
    fs::write(desk.path("state/logged-out"), "").expect("written");
    let output = desk.deploy(&[], None);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("step \"flyctl auth whoami\" failed"), "{}", text(&output.stderr));
    assert_eq!(desk.state("apps"), "");
}

#[test]
fn who_sits_at_a_terminal_is_logged_in_and_who_gave_a_token_is_not_asked() {
    let desk = Desk::new();
    for name in ["logged-out", "can-log-in"] {
        fs::write(desk.path("state").join(name), "").expect("written");
    }
    let refused = desk.deploy_at_a_terminal(Some("fm2_expired"));
    assert!(text(&refused.stdout).contains("step \"flyctl auth whoami\" failed"), "{refused:?}");
    assert!(!refused.status.success() && !desk.state("calls").contains("auth login"), "{}", desk.state("calls"));
    succeeded(&desk.deploy_at_a_terminal(None));
    let calls = desk.state("calls");
    assert!(calls.contains("auth whoami\nauth login\nauth whoami\n"), "{calls}");
    assert!(desk.state("deployed").ends_with("bifrost-control\n"));
    // A log-in that fails ends the run before anything is made.
    let desk = Desk::new();
    fs::write(desk.path("state/logged-out"), "").expect("written");
    let failed = desk.deploy_at_a_terminal(None);
    assert!(!failed.status.success(), "{failed:?}");
    assert!(text(&failed.stdout).contains("step \"flyctl auth login\" failed"), "{failed:?}");
    assert_eq!(desk.state("apps"), "");
}

/// What the installer does: flyctl is below the home, and on no path.
const INSTALL: &str = "mkdir -p \"$HOME/.fly/bin\" && cp \"$FAKE_STATE/flyctl\" \"$HOME/.fly/bin/flyctl\"\n";

#[test]
fn where_flyctl_is_missing_it_is_installed_once() {
    for system in ["Linux", "Darwin"] {
        let desk = Desk::without_flyctl(INSTALL);
        desk.program("uname", &format!("#!/bin/sh\necho {system}\n"));
        succeeded(&desk.deploy(&ARGUMENTS, None));
        is_complete(&desk);
        let calls = desk.state("calls");
        let first: Vec<_> = calls.lines().take(3).collect();
        assert_eq!(first, ["curl -L https://fly.io/install.sh", "version", "auth whoami"], "{system}");
        succeeded(&desk.deploy(&ARGUMENTS, None));
        assert_eq!(desk.state("calls").matches("install.sh").count(), 1, "{system}");
    }
}

#[test]
fn an_installation_that_fails_is_named_before_anything_is_made() {
    for (system, install, expect) in [
        ("Linux", "exit 1\n", "step \"install flyctl\" failed: see https://fly.io/docs/flyctl/install"),
        ("Darwin", "true\n", "step \"install flyctl\" failed: it does not run"),
        ("MINGW64_NT", INSTALL, "step \"install flyctl\" failed: it is for Linux and macOS"),
    ] {
        let desk = Desk::without_flyctl(install);
        desk.program("uname", &format!("#!/bin/sh\necho {system}\n"));
        let output = desk.deploy(&[], None);
        assert_eq!(output.status.code(), Some(1), "{system}");
        assert!(text(&output.stderr).contains(expect), "{system}: {}", text(&output.stderr));
        assert_eq!((desk.state("apps"), desk.path(".fly/wireguard.conf").exists()), (String::new(), false));
    }
    // And one that cannot be fetched.
    let desk = Desk::without_flyctl(INSTALL);
    fs::remove_file(desk.path("state/install.sh")).expect("was there");
    let output = desk.deploy(&[], None);
    assert!(text(&output.stderr).contains("step \"install flyctl\" failed: see"), "{}", text(&output.stderr));
}

#[test]
fn a_peer_whose_keys_are_lost_is_replaced_and_a_configuration_is_never_overwritten() {
    let desk = Desk::new();
    fs::write(desk.path("state/peers"), "mock1ng-mac-mini\n").expect("written");
    succeeded(&desk.deploy(&[], None));
    assert!(desk.state("calls").contains("wireguard remove personal mock1ng-mac-mini"));
    let desk = Desk::new();
    fs::create_dir(desk.path(".fly")).expect("made");
    fs::write(desk.path(".fly/wireguard.conf"), "mine").expect("written");
    succeeded(&desk.deploy(&[], None));
    assert_eq!(fs::read_to_string(desk.path(".fly/wireguard.conf")).expect("there"), "mine");
    assert!(!desk.state("calls").contains("wireguard create"));
}

#[test]
fn a_secret_that_only_one_side_has_stops_the_run() {
    let desk = Desk::new();
    fs::write(desk.path("state/secrets-bifrost-events"), "FLY_EVENT_SECRET\n").expect("written");
    let output = desk.deploy(&[], None);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("only 1 of the 3 apps"), "{}", text(&output.stderr));
    let output = desk.deploy(&["--org", "no spaces"], None);
    assert!(text(&output.stderr).contains("--org: give a name"), "{}", text(&output.stderr));
}
