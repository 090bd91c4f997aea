//! `bifrost runtimes`: agents' terminals, and words that are typed to their agents (rows ORK-6.1 to ORK-6.5).

use wire::id::RuntimeId;
use wire::runtime::{ForcedTrigger, NewTrigger, Pause, RuntimeView, TriggerView};

use crate::args::RuntimesCommand;
use crate::connect::Server;
use crate::duration::show_age;
use crate::exit::{Code, failure};
use crate::invocation::Invocation;
use crate::output::one_line;
use crate::table;
use crate::tasks::import;

/// Carries out one of the commands.
pub(crate) async fn run(invocation: &Invocation, command: &RuntimesCommand) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    match command {
        RuntimesCommand::List => {
            let runtimes = server.ask(async |control| control.runtimes().await).await?;
            list(invocation, &runtimes)
        }
        RuntimesCommand::Triggers { id } => {
            let triggers = server.ask(async |control| control.triggers(*id).await).await?;
            show(invocation, &triggers)
        }
        RuntimesCommand::Trigger { id, file, dedupe, force } => {
            let text = import::read(file, "name a file of text, or - for standard input")?;
            let text = text.trim_end().to_owned();
            // Not asked twice: after a lost answer the agent would be told twice.
            let asked = match invocation.global.reason.clone().filter(|_| *force) {
                Some(reason) => {
                    let forced = ForcedTrigger { text, reason };
                    server.control.force_trigger(*id, &forced).await
                }
                None => server.control.trigger(*id, &NewTrigger { text, dedupe_key: dedupe.clone() }).await,
            };
            show(invocation, &[asked.map_err(|error| server.explain(error))?])
        }
        RuntimesCommand::Pause { id } => {
            let missing =
                || failure(Code::Usage, "--reason is missing", "say why: it is shown to whoever wonders, and kept");
            let pause = Pause { reason: invocation.global.reason.clone().ok_or_else(missing)? };
            let runtime = server.ask(async |control| control.pause_runtime(*id, &pause).await).await?;
            list(invocation, &[runtime])
        }
        RuntimesCommand::Resume { id } => {
            let runtime = server.ask(async |control| control.resume_runtime(*id).await).await?;
            list(invocation, &[runtime])
        }
        RuntimesCommand::Remove { id } => remove(invocation, &server, *id).await,
    }
}

fn list(invocation: &Invocation, runtimes: &[RuntimeView]) -> anyhow::Result<()> {
    let (output, now) = (invocation.output, invocation.clock.now());
    if output.is_json {
        return output.json(&runtimes);
    }
    if runtimes.is_empty() {
        output.say("no agent's terminal is registered; `bifrost agents start` registers one");
        return Ok(());
    }
    let row = |one: &RuntimeView| {
        let known = &one.registered;
        let state = if one.paused.is_some() { format!("{}, paused", one.state) } else { one.state.to_string() };
        let terminal = format!("{} {}", known.backend, one_line(&known.target));
        vec![
            one.id.to_string(),
            state,
            known.management.to_string(),
            one_line(&known.agent),
            format!("{}:{}", one_line(&known.host), known.pid),
            terminal,
            one.waiting.to_string(),
            show_age(now, one.last_heartbeat_at),
        ]
    };
    let header = ["ID", "STATE", "MANAGEMENT", "AGENT", "PROCESS", "TERMINAL", "WAITING", "HEARD OF"];
    Ok(output.line(&table::render(&header, runtimes.iter().map(row).collect(), output.stdout()))?)
}

fn show(invocation: &Invocation, triggers: &[TriggerView]) -> anyhow::Result<()> {
    let (output, now) = (invocation.output, invocation.clock.now());
    if output.is_json {
        return output.json(&triggers);
    }
    if triggers.is_empty() {
        output.say("nothing was to be typed there");
        return Ok(());
    }
    let row = |one: &TriggerView| {
        vec![
            one.number.to_string(),
            one.state.to_string(),
            one.reason.to_string(),
            one.attempts.to_string(),
            show_age(now, one.created_at),
            one_line(&one.text),
        ]
    };
    let header = ["NUMBER", "STATE", "REASON", "ATTEMPTS", "ASKED FOR", "WORDS"];
    Ok(output.line(&table::render(&header, triggers.iter().map(row).collect(), output.stdout()))?)
}

async fn remove(invocation: &Invocation, server: &Server, id: RuntimeId) -> anyhow::Result<()> {
    server.ask(async |control| control.deregister_runtime(id).await).await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&serde_json::json!({ "id": id }));
    }
    Ok(output.line(&format!("{id} is gone: what waited for it has failed"))?)
}
