//! The pool: its cap, and machines that come, go or appear without its doing.

use std::collections::BTreeMap;

use fly::{Init, MachineConfig, MachineState as At, NewMachine};
use serde_json::Value;
use wire::event::kind;
use wire::execution::Outcome;
use wire::machine::MachineState;
use wire::task::TaskStatus;
use wire::why::ReasonCode;
use wire::worker::env;
use world::{CommandLine, Output, PATIENCE, Process, World, until};

#[tokio::test]
async fn at_the_cap_tasks_wait_for_the_one_machine_and_say_so() {
    let world = World::plan().set("BIFROST_MAX_MACHINES", 1).set("BIFROST_QUEUE_PER_MACHINE", 1).start().await;
    let mut tasks = Vec::new();
    for _ in 0..4 {
        tasks.push(world.submit(&world.gated("end")).await);
    }
    let (first, last) = (tasks[0], tasks[3]);
    world.until_output(first, "started").await;
    let control = world.control();
    until("the last task waits for the cap", PATIENCE, async || {
        let why = control.why(last).await.expect("answers");
        why.reasons.iter().any(|reason| reason.code == ReasonCode::MachineCap).then_some(())
    })
    .await;
    world.open("end");
    for task in &tasks {
        world.until_task(*task, TaskStatus::Completed).await;
    }
    assert_eq!(machines_made(&world).await, 1);
    world.finish().await;
}

/// What row FLY-016 wants sent; the task comes later, with a lease, and so does the event store's address.
#[tokio::test]
async fn a_machine_is_made_with_the_runners_image_and_where_its_worker_registers() {
    let world = World::plan().set("BIFROST_RUNNER_IMAGE", "example/runner:7").start().await;
    let task = world.submit("true").await;
    world.until_task(task, TaskStatus::Completed).await;
    let known = world.control().machines().await.expect("lists").remove(0);
    let made = world.provider().machine(world.app(), &known.provider_id.expect("it ran")).await.expect("is there");
    let config = made.config.expect("its host is there");
    assert_eq!((config.image.as_str(), known.image.as_str()), ("example/runner:7", "example/runner:7"));
    assert_eq!(config.env[env::CONTROL_URL], world.url());
    assert_eq!(config.env[env::MACHINE_ID], known.id.to_string());
    world.finish().await;
}

async fn machines_made(world: &World) -> usize {
    let feed = world.events().feed(0, 1_000).await.expect("answers").events;
    let states = feed.iter().filter(|event| event.kind == kind::MACHINE_STATE);
    let states = states.map(|event| serde_json::from_str::<Value>(event.payload.get()).expect("JSON"));
    states.filter(|payload| payload["state"] == "creating").count()
}

#[tokio::test]
async fn a_machine_of_the_pool_that_no_row_knows_is_reaped() {
    let world = World::start().await;
    let task = world.submit("true").await;
    world.until_task(task, TaskStatus::Completed).await;
    let provider = world.provider();
    let known = provider.machines(world.app()).await.expect("lists").remove(0);
    let metadata = known.config.expect("its host is there").metadata;
    let orphan = provider.create_machine(world.app(), &sleeper("orphan", metadata)).await.expect("is made");
    let stranger = provider.create_machine(world.app(), &sleeper("stranger", BTreeMap::new())).await.expect("is made");
    until("the orphan is gone", PATIENCE, async || {
        let there = provider.machines(world.app()).await.expect("lists");
        there.iter().all(|machine| machine.id != orphan.id || machine.state == At::Destroyed).then_some(())
    })
    .await;
    // A machine without the pool's mark is somebody else's.
    let spared = provider.machine(world.app(), &stranger.id).await.expect("is there");
    assert_ne!(spared.state, At::Destroyed);
    provider.destroy(world.app(), &stranger.id, true).await.expect("is destroyed");
    world.finish().await;
}

fn sleeper(name: &str, metadata: BTreeMap<String, String>) -> NewMachine {
    let command = ["sleep", "86421"].map(str::to_owned).to_vec();
    let config = MachineConfig {
        image: "example/image:1".to_owned(),
        init: Init { exec: Some(command), ..Init::default() },
        metadata,
        ..MachineConfig::default()
    };
    NewMachine { name: name.to_owned(), config, ..NewMachine::default() }
}

#[tokio::test]
async fn a_machine_destroyed_behind_the_pools_back_is_made_anew_and_its_task_runs_again() {
    let world = World::start().await;
    let task = world.submit(&world.gated("end")).await;
    world.until_output(task, "started").await;
    let lost = world.control().machines().await.expect("lists").remove(0);
    let id = lost.provider_id.expect("it runs");
    world.provider().destroy(world.app(), &id, true).await.expect("is destroyed");
    world.until_outcome(task, Outcome::WorkerLost).await;
    world.until_output(task, "started").await;
    world.open("end");
    let ended = world.until_task(task, TaskStatus::Completed).await;
    assert_eq!(ended.attempts, 1);
    // It is the same row, and the same volume with what is on it.
    let machines = world.control().machines().await.expect("lists");
    assert_eq!(machines.iter().map(|machine| machine.id).collect::<Vec<_>>(), [lost.id]);
    assert!(machines[0].provider_id.as_ref().is_some_and(|now| *now != id), "{machines:?}");
    assert_eq!(world.provider().volumes(world.app()).await.expect("lists").len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_machine_that_nobody_needs_is_destroyed_with_its_volume() {
    let world = World::plan().set("BIFROST_DESTROY_AFTER_SECONDS", 1).start().await;
    let task = world.submit("true").await;
    world.until_task(task, TaskStatus::Completed).await;
    let (control, provider) = (world.control(), world.provider());
    until("nothing is left", PATIENCE, async || {
        let rows = control.machines().await.expect("lists");
        let rows = rows.iter().filter(|machine| machine.state != MachineState::Destroyed).count();
        let there = provider.machines(world.app()).await.expect("lists");
        let there = there.iter().filter(|machine| machine.state != At::Destroyed).count();
        let volumes = provider.volumes(world.app()).await.expect("lists").len();
        ((rows, there, volumes) == (0, 0, 0)).then_some(())
    })
    .await;
    world.finish().await;
}

#[tokio::test]
async fn a_machine_that_alone_has_somebodys_work_sleeps_on_until_nobody_wants_it() {
    let world = World::plan().set("BIFROST_DESTROY_AFTER_SECONDS", 1).start().await;
    let task = world.submit("echo unfinished > left").await;
    world.until_task(task, TaskStatus::Completed).await;
    // Its checkpoint goes with those of its age, and what nobody pushed stays.
    for _ in 0..6 {
        let other = world.submit("true").await;
        world.until_task(other, TaskStatus::Completed).await;
    }
    let control = world.control();
    assert!(control.checkpoints(Some(task)).await.expect("lists").is_empty());
    let kept = control.kept_work().await.expect("lists");
    let [work] = &kept[..] else { panic!("{kept:?}") };
    assert_eq!((work.task_id, work.work.reference.starts_with("refs/bifrost/wip/")), (task, true), "{work:?}");
    let asleep = until("it sleeps for longer than machines may", PATIENCE, async || {
        let machine = world.until_machine(MachineState::Suspended).await;
        (kit::Clock::system().now() - machine.state_since > chrono::TimeDelta::seconds(4)).then_some(machine)
    })
    .await;
    // What asks for it wakes the machine that has it, and finds it.
    let mut asking = world.script("cat left");
    asking.spec.as_mut().expect("has one").reference = Some(work.work.commit.clone());
    let found = control.submit(&asking, "asks-for-it").await.expect("submits");
    world.until_task(found.id, TaskStatus::Completed).await;
    let shown = world.bifrost(&["checkpoints", "kept"]).output().await;
    assert!(shown.code == 0 && shown.stdout.contains(&work.work.commit), "{shown:?}");
    control.delete(task).await.expect("deleted");
    until("it is gone", PATIENCE, async || {
        let machines = control.machines().await.expect("lists");
        let is_there = |machine: &wire::machine::MachineView| machine.id == asleep.id;
        (!machines.iter().any(|one| is_there(one) && one.state != MachineState::Destroyed)).then_some(())
    })
    .await;
    world.finish().await;
}

#[tokio::test]
async fn the_lifecycle_script_sees_a_machine_made_heard_and_destroyed() {
    let home = tempfile::tempdir().expect("a directory");
    // This computer may be busy with other tests.
    let script = CommandLine::script("e2e-lifecycle", home.path()).arguments(&["--resume-within", "60"]);
    let output = script.output().await;
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    // Asleep and awake again, with a figure of each.
    let measured =
        |line: &&str| line.starts_with("e2e: the machine was suspended") && line.matches(" ms after").count() == 2;
    assert!(output.stdout.lines().any(|line| measured(&line)), "{}", output.stdout);
    assert_eq!(Process::all_of(home.path()), []);
}

#[tokio::test]
async fn the_lifecycle_script_names_the_event_that_does_not_come_and_the_machine_that_stays() {
    let world = World::plan().set("BIFROST_MAX_MACHINES", 1).set("BIFROST_QUEUE_PER_MACHINE", 1).start().await;
    let first = world.submit(&world.gated("end")).await;
    world.until_output(first, "started").await;
    let lifecycle = async |within: &str| {
        let home = tempfile::tempdir().expect("a directory");
        let script = CommandLine::script("e2e-lifecycle", home.path());
        let repository = world.repository.url();
        let script = script.arguments(&["--within", within, "--resume-within", "60", "--repo", &repository]);
        script.env("BIFROST_URL", world.url()).env("BIFROST_DATA", world.data()).output().await
    };
    // The only machine that may be has its hands full, so nobody takes the script's task.
    let unheard = lifecycle("2").await;
    let missing = "e2e: missing: the event execution.finished, within 2 s\n";
    assert!(unheard.code == 1 && unheard.stderr.ends_with(missing), "{unheard:?}");
    world.open("end");
    world.until_task(first, TaskStatus::Completed).await;
    // Nothing here destroys a machine within minutes.
    let stays = lifecycle("25").await;
    let missing = "e2e: missing: the machine's destruction: the server still lists it, within 25 s\n";
    assert!(stays.code == 1 && stays.stderr.ends_with(missing), "{stays:?}");
    world.finish().await;
}

#[tokio::test]
async fn the_cost_report_shows_each_machine_what_was_spent_and_what_it_comes_to() {
    let world = World::plan().set("BIFROST_BUDGET_DAY_DOLLARS", 3).start().await;
    let nothing = world.bifrost(&["cost", "report"]).output().await;
    assert_eq!(nothing.code, 0, "{nothing:?}");
    assert!(nothing.stderr.contains("no machines"), "{nothing:?}");
    let task = world.submit(&world.gated("end")).await;
    world.until_output(task, "started").await;
    let machine = world.until_machine(MachineState::Ready).await;

    // Nothing is known of what should not be there before the first look at the provider.
    let cost = until("registry and provider were compared", PATIENCE, async || {
        let report = world.bifrost(&["--json", "cost", "report"]).output().await;
        assert_eq!(report.code, 0, "{report:?}");
        let cost: wire::cost::CostView = serde_json::from_str(&report.stdout).expect("JSON");
        cost.findings.is_empty().then_some(cost)
    })
    .await;
    let [its] = &cost.machines[..] else { panic!("{cost:?}") };
    assert_eq!((its.id, its.state, its.size.as_str()), (machine.id, MachineState::Ready, "shared-cpu-2x 2048 MB"));
    // By the price list, which has a date, and by the second, so that there is something of it already.
    assert!(its.hourly_micros > 0 && its.today_micros <= its.month_micros, "{its:?}");
    assert!(!cost.prices_of.is_empty(), "{cost:?}");
    let budgets: Vec<_> = cost.spending.iter().map(|spending| spending.budget_micros).collect();
    assert_eq!(budgets, [Some(3_000_000), None]);
    for spending in &cost.spending {
        assert!(spending.forecast_micros >= spending.spent_micros, "{spending:?}");
    }

    let shown = world.bifrost(&["cost", "report"]).output().await;
    assert_eq!(shown.code, 0, "{shown:?}");
    let lines: Vec<_> = shown.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
    assert!(lines.iter().any(|line| line.first() == Some(&machine.id.to_string().as_str())), "{}", shown.stdout);
    assert!(
        lines.iter().any(|line| line.first() == Some(&"day") && line.last() == Some(&"$3.0000")),
        "{}",
        shown.stdout
    );
    world.open("end");
    world.until_task(task, TaskStatus::Completed).await;
    world.finish().await;
}

/// Lists as many machines as a file has lines; of those whose line says so, one is destroyed.
const FLYCTL: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
case "$1 $2" in
    "status --all") echo "App $4" ;;
    "machines list") [ -e listed ] || exit 1; sed 's/.*/{"id": "m", "state": "&"}/' listed | jq --slurp . ;;
esac
"#;

/// `scripts/cost-check` beside that flyctl.
struct CostScript(tempfile::TempDir);

impl CostScript {
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().expect("a directory");
        let flyctl = home.path().join("flyctl");
        std::fs::write(&flyctl, FLYCTL).expect("written");
        std::fs::set_permissions(&flyctl, std::fs::Permissions::from_mode(0o755)).expect("a program");
        Self(home)
    }

    /// Asks where Fly lists these.
    async fn check(&self, world: &World, listed: Option<&str>) -> Output {
        let (home, list) = (self.0.path(), self.0.path().join("listed"));
        match listed {
            Some(listed) => std::fs::write(&list, listed).expect("written"),
            None => std::fs::remove_file(&list).expect("was there"),
        }
        let path = format!("{}:{}", home.display(), kit::Vars::from_process().text("PATH").unwrap_or_default());
        let script = CommandLine::script("cost-check", home).env("PATH", &path);
        let script = script.env("BIFROST_URL", world.url()).env("BIFROST_DATA", world.data());
        script.in_directory(home).output().await
    }
}

#[tokio::test]
async fn the_cost_script_compares_what_bifrost_knows_with_what_fly_lists() {
    let world = World::start().await;
    let task = world.submit("true").await;
    world.until_task(task, TaskStatus::Completed).await;
    let own = world.bifrost(&["cost", "check"]).output().await.code;
    let script = CostScript::new();
    let agreed = script.check(&world, Some("started\ndestroyed\n")).await;
    assert_eq!(agreed.code, own, "{agreed:?}");
    assert!(agreed.stderr.contains("of at most"), "{agreed:?}");
    let more = script.check(&world, Some("started\nsuspended\n")).await;
    assert_eq!(more.code, 1, "{more:?}");
    assert!(more.stderr.contains("Fly lists 2 machines of bifrost-runner and Bifrost knows 1"), "{more:?}");
    let silent = script.check(&world, None).await;
    assert!(silent.code != 0 && silent.stderr.contains("could not list"), "{silent:?}");
    world.finish().await;
}

/// That a machine without a live task is found needs ten minutes, and is shown in `pool::money`; the code is the same.
#[tokio::test]
async fn the_cost_script_lists_what_runs_and_fails_while_it_is_more_than_the_cap() {
    let world = World::plan().set("BIFROST_MAX_MACHINES", 1).start().await;
    let task = world.submit(&world.gated("end")).await;
    world.until_output(task, "started").await;
    let machine = world.until_machine(MachineState::Ready).await;
    let script = CostScript::new();
    let until_found = async |expect: &[&str]| {
        until("the script has found what there is", PATIENCE, async || {
            let output = script.check(&world, Some("started\n")).await;
            let findings: Vec<_> = output.stdout.lines().filter_map(|line| line.split_once(": ")).collect();
            (findings.iter().map(|(problem, _)| *problem).collect::<Vec<_>>() == expect).then_some(output)
        })
        .await
    };
    let fine = until_found(&[]).await;
    let row = fine.stdout.lines().find(|line| line.starts_with(&machine.id.to_string())).expect("its row");
    assert_eq!(
        (fine.code, row.split_whitespace().nth(1), row.split_whitespace().last()),
        (0, Some("ready"), Some("1"))
    );
    let made = world.provider().create_machine(world.app(), &sleeper("stranger", BTreeMap::new())).await;
    let stranger = made.expect("is made");
    let more = until_found(&["over_cap", "stranger"]).await;
    assert_eq!(more.code, 1, "{more:?}");
    assert!(more.stdout.contains("over_cap: 2 machines exist and 1 are allowed"), "{more:?}");
    world.provider().destroy(world.app(), &stranger.id, true).await.expect("is destroyed");
    assert_eq!(until_found(&[]).await.code, 0);
    world.open("end");
    world.until_task(task, TaskStatus::Completed).await;
    world.finish().await;
}
