//! `bifrost machines list`: what there is to run on.

use wire::machine::MachineView;

use crate::connect::Server;
use crate::duration::show_age;
use crate::invocation::Invocation;
use crate::table::{self, joined, or_dash};

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
