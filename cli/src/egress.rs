//! `bifrost egress`: what tasks have asked of the world outside, and the proxy itself.

use wire::event::{EgressPayload, EgressVerdict, StoredEvent, kind};
use wire::id::TaskId;

use crate::args::EgressCommand;
use crate::connect::Server;
use crate::duration::show_age;
use crate::events::each_of_task;
use crate::invocation::Invocation;
use crate::table;

/// Carries out one of the commands.
pub(crate) async fn run(invocation: &Invocation, command: &EgressCommand) -> anyhow::Result<()> {
    match command {
        EgressCommand::Show { id } => show(invocation, *id).await,
        EgressCommand::Serve(arguments) => egress::program::run(arguments.clone(), invocation.vars.clone()).await,
    }
}

async fn show(invocation: &Invocation, id: TaskId) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    let mut events = Vec::new();
    each_of_task(&server, id, |event| {
        if event.kind == kind::EGRESS_REQUEST {
            events.push(event.clone());
        }
        Ok(())
    })
    .await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&events);
    }
    if events.is_empty() {
        output.say("the task has asked nothing of an egress proxy");
        return Ok(());
    }
    let now = invocation.clock.now();
    let row = |event: &StoredEvent| {
        let payload: EgressPayload = serde_json::from_str(event.payload.get())?;
        Ok(vec![
            show_age(now, event.created_at),
            if payload.is_open { format!("{}, open", payload.verdict) } else { payload.verdict.to_string() },
            payload.method,
            format!("{}:{}", payload.host, payload.port),
            sent(payload.verdict, payload.bytes_sent),
            sent(payload.verdict, payload.bytes_received),
            payload.rule.unwrap_or_else(|| "-".into()),
        ])
    };
    let rows = events.iter().map(row).collect::<anyhow::Result<_>>()?;
    let header = ["WHEN", "VERDICT", "METHOD", "HOST", "SENT", "RECEIVED", "RULE"];
    Ok(output.line(&table::render(&header, rows, output.stdout()))?)
}

/// Nothing is carried for what was refused.
fn sent(verdict: EgressVerdict, bytes: u64) -> String {
    if verdict == EgressVerdict::Allowed { bytes.to_string() } else { "-".into() }
}
