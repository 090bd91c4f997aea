//! One service alone, as deployed: the same programs under one name.

use std::time::Duration;

use kit::Tasks;

use crate::args::{ControlPlaneArguments, EmulatorArguments, EventStoreArguments};
use crate::exit::{Code, failure};
use crate::invocation::Invocation;

/// What a stop leaves to everything together.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Runs the control plane until it is told to stop.
pub(crate) async fn control_plane(invocation: &Invocation, arguments: &ControlPlaneArguments) -> anyhow::Result<()> {
    let arguments = control_plane::Arguments {
        listen: arguments.listen.to_string(),
        data: invocation.prepare_data()?,
        database_url: arguments.database.database_url.clone(),
    };
    control_plane::run(arguments, invocation.vars.clone()).await
}

/// Runs the event store until it is told to stop.
pub(crate) async fn event_store(invocation: &Invocation, arguments: &EventStoreArguments) -> anyhow::Result<()> {
    let arguments = event_store::program::Arguments {
        listen: arguments.listen.to_string(),
        data: invocation.prepare_data()?.join("events"),
        allow_public: arguments.allow_public,
        engine: event_store::engine::EngineArguments::default(),
        keep: arguments.keep,
    };
    event_store::program::run(arguments, invocation.vars.clone()).await
}

/// Runs the local Machines API until it is told to stop.
pub(crate) async fn emulator(invocation: &Invocation, arguments: &EmulatorArguments) -> anyhow::Result<()> {
    arguments.options.check().map_err(|error| no_containers(&error))?;
    let mut vars = invocation.vars.clone();
    let config = emulator::Config::from_vars(invocation.prepare_data()?.join("emulator"), &mut vars);
    let options = &arguments.options;
    let config = config.with_machines(&options.machines, options.egress_proxy.clone(), &mut vars);
    vars.finish()?;
    let config = config.with(options).map_err(unusable_faults)?;
    let listener = kit::net::listen(arguments.listen).await.map_err(|error| {
        let cure = "stop what listens there, or choose another address with --listen ADDR";
        failure(Code::Unavailable, format!("cannot listen on {}: {error}", arguments.listen), cure)
    })?;
    let tasks = Tasks::new();
    let told = kit::tasks::termination();
    let (clock, chance) = (invocation.clock.clone(), invocation.chance.clone());
    emulator::start(config, listener, clock, chance, &tasks).await.map_err(no_emulator)?;
    told.await;
    Ok(tasks.stop_within(STOP_LIMIT).await?)
}

/// Containers were spoken of where machines are processes.
pub(crate) fn no_containers(error: &emulator::NoContainers) -> anyhow::Error {
    failure(Code::Usage, error.to_string(), "add --machines container, or leave the option out")
}

/// Its texts name the cure themselves, but for what an engine or a script says.
fn no_emulator(error: emulator::StartError) -> anyhow::Error {
    use emulator::StartError::{Address, Damaged, Data, Engine, Faults, InUse};
    let (code, cure) = match &error {
        InUse { .. } => (Code::TryLater, "stop it, or name another directory with --data DIR"),
        Engine(_) => (Code::Unavailable, "start Docker or podman, or leave --machines container out"),
        Data { .. } => (Code::CannotCreate, "name one that you may write with --data DIR or BIFROST_DATA"),
        Damaged { .. } => (Code::Data, "move it away, or name another directory with --data DIR"),
        Faults(_) => (Code::Data, "name a script with --faults FILE; docs/emulator.md says what it may hold"),
        Address(_) => return error.into(),
    };
    failure(code, format!("{:#}", anyhow::Error::from(error)), cure)
}

fn unusable_faults(error: emulator::BadFaults) -> anyhow::Error {
    let code = match &error {
        emulator::BadFaults::Unreadable { .. } => Code::NotFound,
        emulator::BadFaults::Wrong { .. } => Code::Data,
    };
    let cure = "name a script with --faults FILE; docs/emulator.md says what it may hold";
    failure(code, format!("{:#}", anyhow::Error::from(error)), cure)
}

/// Runs the runner until it is told to stop.
pub(crate) async fn runner(invocation: &Invocation) -> anyhow::Result<()> {
    let mut vars = invocation.vars.clone();
    let config = runner::Config::from_vars(&mut vars);
    vars.finish()?;
    let config = config.expect("whatever is missing was a problem");
    let tasks = Tasks::new();
    let (told, stop) = (kit::tasks::termination(), tasks.clone());
    tasks.spawn("termination", async move {
        tokio::select! {
            () = told => stop.stop(),
            () = stop.stopping() => (),
        }
    });
    let ended = runner::run(config, invocation.clock.clone(), invocation.chance.clone(), &tasks).await;
    tasks.stop_within(STOP_LIMIT).await?;
    ended
}
