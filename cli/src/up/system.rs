//! The parts of a local system and the order in which they stop: first nobody
//! decides any more, then the machines end, then those who listen to them.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use control_plane::ControlPlane;
use kit::{Tasks, Vars};
use serde_json::json;
use wire::worker::env::{CONTROL_URL, HIDE, STEERING};

use super::addresses::{Addresses, Listen, Listeners};
use super::inside::Inside;
use crate::args::MachineArguments;
use crate::connect::{self, KeySource};
use crate::exit::{Code, failure};
use crate::invocation::Invocation;

pub(crate) const LOCK_FILE: &str = "lock";
pub(super) const EVENT_SECRET_FILE: &str = "event-secret";
/// Opens the local Machines API to whoever may read the data directory, and so to no other program's pool.
const MACHINES_TOKEN_FILE: &str = "machines-api-token";
/// A little more than machines get to end.
const MACHINES_LIMIT: Duration = Duration::from_secs(emulator::SHUTDOWN_GRACE.as_secs() + 10);
/// At a time, of all local machines.
const EGRESS_CONNECTIONS: usize = 1_024;
/// What `scripts/images runner` builds.
const RUNNER_IMAGE: &str = "bifrost-runner";
const MACHINE_PRICE: &str = "BIFROST_MACHINE_MICRODOLLARS_PER_HOUR";
const EVENTS_LIMIT: Duration = Duration::from_secs(10);

/// A running local system.
pub(super) struct System {
    pub(super) addresses: Addresses,
    pub(super) api_key: String,
    pub(super) key_source: KeySource,
    control: ControlPlane,
    emulator: Tasks,
    egress: Tasks,
    events: Tasks,
    _lock: File,
}

/// What the command line says of a local system.
pub(super) struct Wanted {
    /// Where the control plane listens.
    pub(super) listen: Listen,
    /// Its database, if it is not the one in the data directory.
    pub(super) database_url: Option<String>,
    /// When a batch counts as over, if not after the usual time.
    pub(super) suspend_after_ms: Option<u64>,
    /// What its machines are.
    pub(super) machines: MachineArguments,
}

/// Takes the data directory; nothing when another process has it for longer than `patience`.
pub(super) fn lock(data: &Path, patience: Duration) -> anyhow::Result<Option<File>> {
    kit::lock::take(&data.join(LOCK_FILE), patience).map_err(|error| {
        let message = format!("the data directory {} cannot be used: {error}", data.display());
        failure(Code::CannotCreate, message, "name one that you may write with --data DIR or BIFROST_DATA")
    })
}

impl System {
    /// Starts event store, emulator and control plane, in that order.
    pub(super) async fn start(
        invocation: &Invocation,
        data: &Path,
        lock: File,
        wanted: &Wanted,
    ) -> anyhow::Result<Self> {
        let (clock, chance) = (invocation.clock.clone(), invocation.chance.clone());
        let (mut addresses, listeners) = Addresses::bind(data, wanted.listen).await?;
        let Listeners { control, events, emulator } = listeners;
        let own_key = || KeySource::File(data.join(control_plane::API_KEY_FILE));
        let (api_key, key_source) = connect::find_key(&invocation.global, &invocation.vars)?.unzip();
        let inside = inside(invocation, data, &mut addresses, wanted).await?;
        let mut vars = compose(invocation, data, (&addresses, inside.as_ref()), wanted, api_key)?;
        let metrics = kit::telemetry::init_metrics();
        let event_tasks = Tasks::new();
        let event_config = event_store::Config::from_vars(&mut vars, data.join("events"));
        let emulator_tasks = Tasks::new();
        let emulator_config = emulator::Config::from_vars(data.join("emulator"), &mut vars);
        let proxy_url = inside.as_ref().map(|inside| inside.proxy_url.clone());
        let emulator_config = emulator_config.with_machines(&wanted.machines.options, proxy_url, &mut vars);
        let mut emulator_config = hand_on(emulator_config, data, &invocation.vars);
        // What a machine was made with says where an earlier start listened.
        let control_url = inside.as_ref().map_or_else(|| addresses.control_url(), |inside| inside.control_url.clone());
        emulator_config.fixed_env.insert(CONTROL_URL.to_owned(), control_url);
        let control_config = control_plane::Config::from_vars(&mut vars, data, None, &chance);
        if inside.is_none() {
            runner::check_operator_variables(&mut vars);
        }
        vars.finish()?;
        let (event_config, control_config) =
            event_config.zip(control_config).expect("whatever is missing was a problem");
        let api_key = control_config.api_key.clone();
        event_store::start(event_config, events, clock.clone(), None, &event_tasks).await?;
        let egress_tasks = Tasks::new();
        if let Some(inside) = inside {
            start_egress(inside, invocation, data, &addresses, &wanted.machines, &egress_tasks)?;
        }
        emulator::start(emulator_config, emulator, clock.clone(), chance.clone(), &emulator_tasks).await?;
        let control = control_plane::start(control_config, control, clock, chance, metrics).await?;
        let key_source = key_source.unwrap_or_else(own_key);
        let (emulator, egress, events) = (emulator_tasks, egress_tasks, event_tasks);
        Ok(Self { addresses, api_key, key_source, control, emulator, egress, events, _lock: lock })
    }

    /// Waits until no machine has anything to do, at most so long.
    pub(super) async fn settled_within(&self, limit: Duration) {
        self.control.settled_within(limit).await;
    }

    /// Stops everything and leaves no process behind.
    pub(super) async fn stop(self) {
        self.control.stop_background().await;
        if let Err(still) = self.emulator.stop_within(MACHINES_LIMIT).await {
            tracing::warn!(%still, "machines had to be left");
        }
        if let Err(still) = self.egress.stop_within(egress::STOP).await {
            tracing::warn!(%still, "the egress proxy had to be left");
        }
        self.control.stop().await;
        if let Err(still) = self.events.stop_within(EVENTS_LIMIT).await {
            tracing::warn!(%still, "the event store had to be left");
        }
    }
}

/// Where machines reach this computer, if they are containers.
async fn inside(
    invocation: &Invocation,
    data: &Path,
    addresses: &mut Addresses,
    wanted: &Wanted,
) -> anyhow::Result<Option<Inside>> {
    let mut vars = invocation.vars.clone();
    let config = emulator::Config::from_vars(data.join("emulator"), &mut vars);
    let config = config.with_machines(&wanted.machines.options, None, &mut vars);
    vars.finish()?;
    let emulator::Kind::Container(settings) = config.machines else { return Ok(None) };
    let inside = Inside::open(&settings, addresses).await?;
    let image = runner_image(&invocation.vars);
    emulator::ensure_image(&settings, image).await.map_err(|error| no_image(image, &error))?;
    addresses.egress = Some(inside.proxy.local_addr()?.port());
    addresses.write(data)?;
    Ok(Some(inside))
}

/// What to do about it: our own image is nowhere to be pulled from, it is built.
fn no_image(image: &str, error: &emulator::NoImage) -> anyhow::Error {
    let cure = match image == RUNNER_IMAGE {
        true => "build it in a checkout of Bifrost with scripts/images runner, with the same engine",
        false => {
            "see whether the engine may pull it, or leave BIFROST_RUNNER_IMAGE out and build the usual one: scripts/images runner"
        }
    };
    failure(Code::Unavailable, error.to_string(), cure)
}

fn start_egress(
    inside: Inside,
    invocation: &Invocation,
    data: &Path,
    addresses: &Addresses,
    machines: &MachineArguments,
    tasks: &Tasks,
) -> anyhow::Result<()> {
    let (clock, chance) = (invocation.clock.clone(), invocation.chance.clone());
    let key = control_plane::secret_of(data, EVENT_SECRET_FILE, &chance)?;
    let rules = egress::program::rules(machines.egress_allow.as_deref(), &machines.egress_host)
        .map_err(|unusable| crate::egress::refusal(&unusable, "--egress-allow", "--egress-host"))?;
    let config = egress::Config {
        // Nobody changes them while this system is up.
        rules: tokio::sync::watch::channel(rules).1,
        grants: vec![wire::grant::GrantKey::of(&key)],
        is_open: false,
        connections: EGRESS_CONNECTIONS,
        open_told_after: egress::OPEN_TOLD_AFTER,
    };
    let spool = data.join("egress");
    let sender = egress::program::sender(&spool, &addresses.events_url(), key, (&clock, &chance), tasks)?;
    egress::start(config, inside.proxy, inside.doors, sender, (clock, chance), tasks);
    Ok(())
}

/// The environment that the parts would have if they were deployed: they find each other by URL.
fn compose(
    invocation: &Invocation,
    data: &Path,
    (addresses, inside): (&Addresses, Option<&Inside>),
    wanted: &Wanted,
    api_key: Option<String>,
) -> anyhow::Result<Vars> {
    let secret = control_plane::secret_of(data, EVENT_SECRET_FILE, &invocation.chance)?;
    let machines_token = || format!("{}\n", invocation.chance.hex::<20>());
    let machines_token = kit::files::read_or_create(&data.join(MACHINES_TOKEN_FILE), 0o600, machines_token)?;
    let runner = match invocation.vars.text("BIFROST_RUNNER_COMMAND") {
        Some(command) => command.to_owned(),
        None => json!([std::env::current_exe()?, "runner"]).to_string(),
    };
    let settings = [
        ("FLY_EVENT_SECRET", secret.reveal()),
        ("FLY_FLAPS_BASE_URL", addresses.emulator_url()),
        ("FLY_API_TOKEN", machines_token.trim().to_owned()),
        ("BIFROST_PROVIDER", "fly".into()),
        ("BIFROST_FLY_UNPACED", "true".into()),
        ("BIFROST_EVENTS_URL", addresses.events_url()),
        ("BIFROST_PUBLIC_URL", addresses.control_url()),
        ("BIFROST_RUNNER_IMAGE", image_of_machine(&runner)),
        ("BIFROST_RUNNER_COMMAND", runner),
        ("BIFROST_ALLOW_LOCAL_REPOSITORIES", "true".into()),
        (MACHINE_PRICE, machine_price(&invocation.vars).into()),
        // Who may register a webhook here may run any command here: reaching this computer gives them nothing.
        ("BIFROST_WEBHOOKS_REACH", invocation.vars.text("BIFROST_WEBHOOKS_REACH").unwrap_or("loopback").into()),
        // A local machine is a process of this program: there is no image to pin.
        ("BIFROST_ALLOW_UNPINNED_IMAGE", "true".into()),
        // Machines reach it as everybody does; containers are told otherwise below.
        ("BIFROST_EVENTS_PUBLIC_URL", String::new()),
        // Nothing copies this system's database away.
        ("BIFROST_EVENTS_REPLICA", String::new()),
        // Set even where it is empty: what the shell has may be another program's database.
        ("DATABASE_URL", wanted.database_url.clone().unwrap_or_default()),
    ];
    let vars = invocation.vars.clone().with(settings);
    let batch_end = wanted.suspend_after_ms.map(|ms| ("BIFROST_SUSPEND_AFTER_MS", ms.to_string()));
    let api_key = api_key.map(|key| (connect::API_KEY, key));
    let containers = inside.map(|inside| of_containers(inside, &invocation.vars));
    Ok(vars.with(batch_end).with(api_key).with(containers.into_iter().flatten()))
}

/// Machines of this computer are paid for already, unless somebody wants to see what budgets do.
fn machine_price(vars: &Vars) -> &str {
    vars.text(MACHINE_PRICE).unwrap_or("0")
}

/// What a local machine counts as its image, which is what it was made with and keeps: its program and the version of
/// that. Where one is another by now, its machine is made anew with the volume that it has.
fn image_of_machine(command: &str) -> String {
    let made_with = &blake3::hash(command.as_bytes()).to_hex()[..12];
    format!("{RUNNER_IMAGE}:{}-{made_with}", env!("CARGO_PKG_VERSION"))
}

/// The image of machines that are containers.
fn runner_image(vars: &Vars) -> &str {
    vars.text("BIFROST_RUNNER_IMAGE").unwrap_or(RUNNER_IMAGE)
}

/// What is different where machines are containers: they have their image's runner and not this
/// computer's files, and reach it by another address.
fn of_containers(inside: &Inside, vars: &Vars) -> [(&'static str, String); 5] {
    [
        ("BIFROST_PUBLIC_URL", inside.control_url.clone()),
        ("BIFROST_EVENTS_PUBLIC_URL", inside.events_url.clone()),
        ("BIFROST_RUNNER_COMMAND", String::new()),
        ("BIFROST_RUNNER_IMAGE", runner_image(vars).to_owned()),
        ("BIFROST_ALLOW_LOCAL_REPOSITORIES", "false".into()),
    ]
}

/// Local runners use this computer's tools, so they need what the tools find their way by, and are steered as this
/// program's own environment says. It is given to their processes and written into no machine: the next start of this
/// program may say otherwise, also to machines that are there then. Containers have their image's.
fn hand_on(mut config: emulator::Config, data: &Path, vars: &Vars) -> emulator::Config {
    if let emulator::Kind::Process { host_env } = &mut config.machines {
        let names = runner::TOOL_VARIABLES.iter().chain(&runner::OPERATOR_FILES).chain(&STEERING);
        host_env.extend(names.filter_map(|name| Some(((*name).to_owned(), vars.text(name)?.to_owned()))));
        host_env.insert(HIDE.to_owned(), hidden(data, vars));
    }
    config
}

/// What commands are kept apart from: this system's own files, the other machines' among them, and what the operator
/// names besides.
fn hidden(data: &Path, vars: &Vars) -> String {
    let data = data.canonicalize().map(|data| data.to_string_lossy().into_owned());
    data.into_iter().chain(vars.text(HIDE).map(str::to_owned)).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_steered_as_this_start_says_whatever_they_were_made_with() {
        let data = tempfile::tempdir().expect("a directory");
        let handed_on = |pairs: &[(&str, &str)]| {
            let vars = Vars::from_pairs(pairs.iter().copied());
            let config = emulator::Config::from_vars(data.path().into(), &mut vars.clone());
            let emulator::Kind::Process { host_env } = hand_on(config, data.path(), &vars).machines else { panic!() };
            ["BIFROST_ISOLATION", "BIFROST_AGENT_KEYS", "GOPROXY", "SECRET", "PATH"]
                .map(|name| host_env.get(name).cloned().unwrap_or_default())
        };
        let all =
            [("BIFROST_ISOLATION", "required"), ("BIFROST_AGENT_KEYS", "/k"), ("GOPROXY", "off"), ("SECRET", "x")];
        assert_eq!(handed_on(&all), ["required", "/k", "off", "", ""]);
        assert_eq!(handed_on(&[("PATH", "/bin")]), ["", "", "", "", "/bin"]);
    }

    #[test]
    fn commands_see_neither_this_systems_files_nor_what_the_operator_hides() {
        let data = tempfile::tempdir().expect("a directory");
        let own = data.path().canonicalize().expect("is there").to_string_lossy().into_owned();
        for (named, expect) in [(None, own.clone()), (Some("/home/me/.ssh:/srv"), format!("{own}:/home/me/.ssh:/srv"))]
        {
            let vars = Vars::from_pairs(named.map(|named| (HIDE, named)));
            assert_eq!(hidden(data.path(), &vars), expect);
        }
    }

    #[test]
    fn a_runner_that_must_kill_its_command_has_time_to_save_what_that_left_before_it_is_killed_itself() {
        let command = runner::Limits::default().grace;
        assert!(command * 2 < emulator::SHUTDOWN_GRACE, "{command:?} and as long again for its work");
        assert!(emulator::SHUTDOWN_GRACE < MACHINES_LIMIT, "no machine has to be left");
    }

    #[test]
    fn the_machines_of_another_program_are_not_taken_for_those_of_this_one() {
        let own = image_of_machine("[\"/a\"]");
        assert_eq!(own, image_of_machine("[\"/a\"]"));
        assert_ne!(own, image_of_machine("[\"/b\"]"));
        assert!(own.starts_with(concat!("bifrost-runner:", env!("CARGO_PKG_VERSION"), "-")));
    }

    #[test]
    fn a_machine_of_this_computer_costs_nothing_unless_its_price_is_said() {
        assert_eq!(machine_price(&Vars::default()), "0");
        assert_eq!(machine_price(&Vars::from_pairs([(MACHINE_PRICE, "15820")])), "15820");
    }
}
