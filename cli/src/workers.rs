//! `bifrost workers`: who there is to do the work, and what those of them say who
//! are no machine of the pool.

use wire::worker::{NewWorker, WorkerChange, WorkerView};

use crate::args::{AboutWorker, WorkersCommand};
use crate::connect::Server;
use crate::duration::show_age;
use crate::invocation::Invocation;
use crate::output::one_line;
use crate::table::{self, joined, or_dash};

/// Carries out one of the commands.
pub(crate) async fn run(invocation: &Invocation, command: &WorkersCommand) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    match command {
        WorkersCommand::List => {
            let workers = server.ask(async |control| control.workers().await).await?;
            list(invocation, &workers, "no workers: none has registered yet")
        }
        WorkersCommand::Show { id } => {
            let worker = server.ask(async |control| control.worker(*id).await).await?;
            show(invocation, &worker)
        }
        WorkersCommand::Add { worker_type, about } => add(invocation, &server, worker_type, about).await,
        WorkersCommand::Update { id, worker_type, about } => {
            let AboutWorker { capacity, agent_types, metadata } = about;
            let change = WorkerChange {
                worker_type: worker_type.clone(),
                capacity: *capacity,
                agent_types: (!agent_types.is_empty()).then(|| agent_types.clone()),
                metadata: metadata.clone(),
            };
            let worker = server.ask(async |control| control.update_worker(*id, &change).await).await?;
            show(invocation, &worker)
        }
        WorkersCommand::Remove { id } => {
            // Not asked twice: after a lost answer the second would find no worker.
            server.control.remove_worker(*id).await.map_err(|error| server.explain(error))?;
            let output = invocation.output;
            if output.is_json {
                return output.json(&serde_json::json!({ "id": id }));
            }
            Ok(output.line(&format!("{id} removed"))?)
        }
        WorkersCommand::Heartbeat { id, load } => {
            let worker = server.ask(async |control| control.heartbeat(*id, *load).await).await?;
            show(invocation, &worker)
        }
        WorkersCommand::Stale => {
            let stale = server.ask(async |control| control.stale_workers().await).await?;
            list(invocation, &stale, "no worker has been silent for so long")
        }
    }
}

async fn add(invocation: &Invocation, server: &Server, worker_type: &str, about: &AboutWorker) -> anyhow::Result<()> {
    let AboutWorker { capacity, agent_types, metadata } = about;
    let new = NewWorker {
        worker_type: worker_type.to_owned(),
        capacity: capacity.unwrap_or(1),
        agent_types: agent_types.clone(),
        metadata: metadata.clone().unwrap_or_default(),
    };
    // Not asked twice: after a lost answer there would be two.
    let worker = server.control.add_worker(&new).await.map_err(|error| server.explain(error))?;
    show(invocation, &worker)
}

fn list(invocation: &Invocation, workers: &[WorkerView], if_none: &str) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(&workers);
    }
    if workers.is_empty() {
        output.say(if_none);
        return Ok(());
    }
    let now = invocation.clock.now();
    let row = |worker: &WorkerView| {
        vec![
            worker.id.to_string(),
            worker.status.to_string(),
            worker.worker_type.clone(),
            load(worker),
            show_age(now, worker.last_heartbeat),
            or_dash(worker.machine_id.map(|id| id.to_string())),
            or_dash(joined(&worker.repositories)),
        ]
    };
    let header = ["ID", "STATUS", "TYPE", "LOAD", "HEARD", "MACHINE", "REPOSITORIES"];
    let rows = workers.iter().map(row).collect();
    Ok(output.line(&table::render(&header, rows, output.stdout()))?)
}

fn load(worker: &WorkerView) -> String {
    format!("{}/{}", worker.current_load, worker.capacity)
}

fn show(invocation: &Invocation, worker: &WorkerView) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(worker);
    }
    let fields = [
        ("id", worker.id.to_string()),
        ("type", worker.worker_type.clone()),
        ("status", worker.status.to_string()),
        ("load", load(worker)),
        ("takes", worker.agent_types.join(", ")),
        ("heard", show_age(invocation.clock.now(), worker.last_heartbeat)),
        ("machine", or_dash(worker.machine_id.map(|id| id.to_string()))),
        ("repositories", or_dash(joined(&worker.repositories))),
        ("metadata", worker.metadata.to_string()),
    ];
    fields.iter().try_for_each(|(name, value)| output.line(&format!("{name:<14}{}", one_line(value))))?;
    Ok(())
}
