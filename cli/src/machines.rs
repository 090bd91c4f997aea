//! `bifrost machines list` and `bifrost workers list`: what there is to run on.

use wire::machine::MachineView;
use wire::worker::WorkerView;

use crate::connect::Server;
use crate::duration::show_age;
use crate::invocation::Invocation;
use crate::table;

/// Lists the machines of the pool.
pub(crate) async fn list(invocation: &Invocation) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    let machines = server.ask(async |control| control.machines().await).await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&machines);
    }
    if machines.is_empty() {
        output.say("no machines: the first task brings one up");
        return Ok(());
    }
    let now = invocation.clock.now();
    let row = |machine: &MachineView| {
        vec![
            machine.id.to_string(),
            machine.name.clone(),
            machine.state.to_string(),
            show_age(now, machine.state_since),
            or_dash(machine.region.clone()),
            or_dash(joined(&machine.repositories)),
            or_dash(machine.error.clone()),
        ]
    };
    let header = ["ID", "NAME", "STATE", "SINCE", "REGION", "REPOSITORIES", "LAST ERROR"];
    let rows = machines.iter().map(row).collect();
    Ok(output.line(&table::render(&header, rows, output.is_stdout_terminal()))?)
}

/// Lists the registered workers.
pub(crate) async fn list_workers(invocation: &Invocation) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    let workers = server.ask(async |control| control.workers().await).await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&workers);
    }
    if workers.is_empty() {
        output.say("no workers: none has registered yet");
        return Ok(());
    }
    let now = invocation.clock.now();
    let row = |worker: &WorkerView| {
        vec![
            worker.id.to_string(),
            worker.status.to_string(),
            worker.worker_type.clone(),
            format!("{}/{}", worker.current_load, worker.capacity),
            show_age(now, worker.last_heartbeat),
            or_dash(worker.machine_id.map(|id| id.to_string())),
            or_dash(joined(&worker.repositories)),
        ]
    };
    let header = ["ID", "STATUS", "TYPE", "LOAD", "HEARD", "MACHINE", "REPOSITORIES"];
    let rows = workers.iter().map(row).collect();
    Ok(output.line(&table::render(&header, rows, output.is_stdout_terminal()))?)
}

fn joined(words: &[String]) -> Option<String> {
    (!words.is_empty()).then(|| words.join(", "))
}

/// An empty column would make those behind it the wrong ones for `awk`.
fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}
