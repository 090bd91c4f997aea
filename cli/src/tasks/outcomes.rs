//! What is true of tasks besides their status.

use wire::outcome::{NewOutcome, OutcomeView};

use crate::args::OutcomesCommand;
use crate::connect::Server;
use crate::duration::show_age;
use crate::invocation::Invocation;
use crate::table;

/// Carries out one of the commands.
pub(super) async fn run(invocation: &Invocation, server: &Server, command: &OutcomesCommand) -> anyhow::Result<()> {
    let output = invocation.output;
    match command {
        OutcomesCommand::Set { id, name, detail } => {
            let new = NewOutcome { detail: detail.clone() };
            let set = server.ask(async |control| control.set_outcome(*id, name, &new).await).await?;
            if output.is_json { output.json(&set) } else { Ok(output.line(&format!("{id} {name}"))?) }
        }
        OutcomesCommand::Withdraw { id, name } => {
            // Not asked twice: after a lost answer the second would find nothing to withdraw.
            server.control.withdraw_outcome(*id, name).await.map_err(|error| server.explain(error))?;
            if output.is_json {
                output.json(&serde_json::json!({ "task_id": id, "name": name }))
            } else {
                Ok(output.line(&format!("{id} no longer {name}"))?)
            }
        }
        OutcomesCommand::List { id } => {
            let outcomes = server.ask(async |control| control.outcomes(*id).await).await?;
            list(invocation, &outcomes)
        }
    }
}

fn list(invocation: &Invocation, outcomes: &[OutcomeView]) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(&outcomes);
    }
    if outcomes.is_empty() {
        output.say("nothing is noted");
        return Ok(());
    }
    let now = invocation.clock.now();
    let row = |outcome: &OutcomeView| {
        let detail = outcome.detail.clone().unwrap_or_else(|| "-".into());
        vec![outcome.name.to_string(), show_age(now, outcome.created_at), detail]
    };
    let rows = outcomes.iter().map(row).collect();
    Ok(output.line(&table::render(&["OUTCOME", "SINCE", "DETAIL"], rows, output.stdout()))?)
}
