//! `scripts/deploy` against a flyctl that is none (rows FLY-001 to FLY-010, FLY-030-N,
//! FLY-004): it keeps a small state, refuses what Fly would, and can kill the script
//! after any of its commands.

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
case "$1 $2" in
    'auth whoami') [ ! -e "$state/logged-out" ] ;;
    'apps list') listed apps ;;
    'apps create') make apps "$3" ;;
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

/// The registry and the network policies, as far as curl is asked, for who proves to be somebody: an image that was
/// pushed has a digest, and an app that is there keeps the policies that it is given.
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
    https://registry.fly.io/v2/*)
        [ "$config" = 'user = "x:fm2_own"' ]
        grep -qx "${url#https://registry.fly.io/v2/}" "$FAKE_STATE/images"
        printf 'HTTP/2 200\r\ndocker-content-digest: sha256:%s\r\n\r\n' "$(printf 'ab%.0s' {1..32})"
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
        for (name, script) in [("bin/flyctl", FLYCTL), ("bin/curl", CURL)] {
            fs::write(desk.path(name), [script, COUNT].concat()).expect("written");
            fs::set_permissions(desk.path(name), fs::Permissions::from_mode(0o755)).expect("a program");
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    #[expect(clippy::disallowed_methods, reason = "a script that is run to its end, with nothing to supervise")]
    fn deploy(&self, arguments: &[&str], kill_after: Option<usize>) -> Output {
        // The shell is replaced by the script, so that its id is the script's.
        let replace = "export FAKE_SCRIPT=$$; exec bash scripts/deploy \"$@\"";
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        let mut command = Command::new("bash");
        command.args(["-c", replace, "deploy"]).args(arguments).current_dir(self.0.path());
        command.env_clear().env("PATH", path).env("HOME", self.0.path()).env("FAKE_STATE", self.path("state"));
        command.env("LINEAR_API_KEY", "hunter2");
        fs::remove_file(self.path("state/count")).ok();
        if let Some(count) = kill_after {
            command.env("FAKE_KILL_AFTER", count.to_string());
        }
        command.output().expect("bash starts")
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
    assert_eq!(desk.state("apps"), "bifrost-runner\nbifrost-events\nbifrost-control\n");
    assert_eq!(desk.state("peers"), "mock1ng-mac-mini\n");
    assert_eq!(desk.state("volumes-bifrost-events"), "ev_store_data\n");
    assert_eq!(desk.state("volumes-bifrost-control"), "control_data\n");
    assert_eq!(desk.state("secrets-bifrost-events"), "FLY_EVENT_SECRET\n");
    assert_eq!(desk.state("secrets-bifrost-control"), "FLY_EVENT_SECRET\nBIFROST_SECRET\nFLY_API_TOKEN\n");
    assert_eq!(desk.state("secrets-bifrost-runner"), "LINEAR_API_KEY\n");
    let deployed = desk.state("deployed");
    assert!(deployed.ends_with("bifrost-events\nbifrost-runner\nbifrost-control\n"), "{deployed}");
    let configuration = fs::metadata(desk.path(".fly/wireguard.conf")).expect("there");
    assert_eq!(configuration.permissions().mode() & 0o777, 0o600);
    assert!(!desk.path(".fly/wireguard.conf.part").exists());
    let values = desk.state("values");
    let of = |app: &str| {
        let prefix = format!("{app} FLY_EVENT_SECRET=");
        let mut found = values.lines().filter_map(|line| line.strip_prefix(&prefix)).map(str::to_owned);
        found.next_back().expect("a secret")
    };
    assert_eq!(of("bifrost-events"), of("bifrost-control"), "both sides have the same secret");
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

#[test]
fn after_an_interruption_at_any_command_the_next_run_ends_well() {
    let desk = Desk::new();
    succeeded(&desk.deploy(&ARGUMENTS, None));
    let commands = desk.state("calls").lines().count();
    assert!(commands > 25, "{commands}");
    for count in 1..=commands {
        let desk = Desk::new();
        assert!(!desk.deploy(&ARGUMENTS, Some(count)).status.success(), "killed after command {count}");
        succeeded(&desk.deploy(&ARGUMENTS, None));
        is_complete(&desk);
    }
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
    assert!(told(&desk).contains("BIFROST_PUBLIC_URL=http://bifrost-control.internal:7600"), "{}", told(&desk));
    let desk = Desk::new();
    fs::write(desk.path("bin/curl"), "#!/bin/sh\nexit 22\n").expect("written");
    let output = desk.deploy(&ARGUMENTS, None);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("the registry does not show"), "{}", text(&output.stderr));
    assert!(!desk.state("deployed").contains("bifrost-control"));
}

#[test]
fn runners_in_a_network_of_their_own_reach_everything_through_the_egress_proxy() {
    let arguments = ["--runner-network", "runners"];
    let desk = Desk::new();
    succeeded(&desk.deploy(&arguments, None));
    let commands = desk.state("calls").lines().count();
    assert!(desk.state("calls").contains("apps create bifrost-runner --org personal --network runners"));
    for part in [
        "BIFROST_PUBLIC_URL=http://bifrost-egress.flycast:7600",
        "BIFROST_EVENTS_PUBLIC_URL=http://bifrost-egress.flycast:3000",
        "BIFROST_RUNNER_PROXY=http://bifrost-egress.flycast:3128",
    ] {
        assert!(told(&desk).contains(part), "{}", told(&desk));
    }
    for count in (commands / 2)..=commands {
        let desk = Desk::new();
        assert!(!desk.deploy(&arguments, Some(count)).status.success(), "killed after command {count}");
        succeeded(&desk.deploy(&arguments, None));
        assert_eq!(desk.state("addresses-bifrost-egress"), "private_v6\n");
        assert_eq!(desk.state("volumes-bifrost-egress"), "egress_data\n");
        assert_eq!(desk.state("policies-bifrost-runner").lines().count(), 1);
        let values = desk.state("values");
        let secrets: std::collections::BTreeSet<_> =
            values.lines().filter_map(|line| line.split_once(" FLY_EVENT_SECRET=")).map(|(_, value)| value).collect();
        assert_eq!(secrets.len(), 1, "{values}");
    }
    // Which network it is holds for later runs, and cannot be changed.
    let desk = Desk::new();
    succeeded(&desk.deploy(&arguments, None));
    succeeded(&desk.deploy(&[], None));
    assert!(told(&desk).contains("BIFROST_PUBLIC_URL=http://bifrost-egress.flycast:7600"), "{}", told(&desk));
    let output = desk.deploy(&["--runner-network", "others"], None);
    assert!(text(&output.stderr).contains("in the network runners already"), "{}", text(&output.stderr));
    let desk = Desk::new();
    succeeded(&desk.deploy(&[], None));
    let output = desk.deploy(&arguments, None);
    assert!(text(&output.stderr).contains("in the network of the organisation already"), "{}", text(&output.stderr));
    fs::remove_file(desk.path(".fly/runner-network")).expect("was kept");
    let output = desk.deploy(&arguments, None);
    assert!(text(&output.stderr).contains("bifrost-runner is there already"), "{}", text(&output.stderr));
    // A deployment from another computer does not give the proxy a secret that the others do not have.
    let desk = Desk::new();
    fs::write(desk.path("state/secrets-bifrost-events"), "FLY_EVENT_SECRET\n").expect("written");
    fs::write(desk.path("state/secrets-bifrost-control"), "FLY_EVENT_SECRET\n").expect("written");
    let output = desk.deploy(&arguments, None);
    assert!(text(&output.stderr).contains("only 2 of the 3 apps"), "{}", text(&output.stderr));
}

#[test]
fn the_runners_in_their_network_are_let_out_by_the_ports_of_the_proxy_and_dns_alone() {
    let desk = Desk::new();
    succeeded(&desk.deploy(&["--runner-network", "runners"], None));
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
    let output = desk.deploy(&["--runner-network", "runners"], None);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("network policies of bifrost-runner cannot be read"), "{output:?}");
    assert!(!desk.state("deployed").contains("bifrost-control"));
}

#[test]
fn who_deploys_without_a_network_of_the_runners_is_told_that_they_reach_the_internet() {
    let desk = Desk::new();
    let says = |arguments: &[&str]| text(&desk.deploy(arguments, None).stdout).contains("runners reach the internet");
    assert!(says(&["--dry-run"]) && says(&[]));
    assert!(!says(&["--dry-run", "--runner-network", "runners"]));
}

#[test]
fn machines_and_servers_are_in_the_region_of_the_volumes() {
    let desk = Desk::new();
    succeeded(&desk.deploy(&["--region", "syd", "--runner-network", "runners"], None));
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
    let output = desk.deploy(&["--runner-network", "runners", "--runner-secret", "LINEAR_API_KEY"], None);
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
        "flyctl apps create bifrost-runner --org personal\n",
        "flyctl apps create bifrost-events --org personal\n",
        "flyctl wireguard create personal sjc mock1ng-mac-mini",
        "flyctl volumes create ev_store_data --size 1",
        "flyctl secrets import -a bifrost-events",
        "flyctl config validate --strict -c fly/events.toml",
        "flyctl deploy . -c fly/events.toml",
        "BIFROST_RUNNER_IMAGE=registry.fly.io/bifrost-runner@sha256:",
    ] {
        assert!(printed.contains(command), "{command} in\n{printed}");
    }
    let output = desk.deploy(&["--dry-run", "--runner-network", "runners"], None);
    succeeded(&output);
    assert_eq!(desk.state("calls"), "");
    let printed = text(&output.stdout);
    for part in [
        "curl https://api.machines.dev/v1/apps/bifrost-runner/network_policies\n",
        "--data '{\"name\": \"bifrost-egress-only\", \"selector\": {\"all\": true}",
    ] {
        assert!(printed.contains(part), "{part} in\n{printed}");
    }
}

#[test]
fn a_dry_run_prints_every_command_that_a_run_with_an_empty_account_calls() {
    for options in [&[][..], &["--runner-network", "runners"]] {
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
    assert!(text(&output.stderr).contains("only 1 of the 2 apps"), "{}", text(&output.stderr));
    let output = desk.deploy(&["--org", "no spaces"], None);
    assert!(text(&output.stderr).contains("--org: give a name"), "{}", text(&output.stderr));
}
