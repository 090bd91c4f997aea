//! `bifrost strategies`: what is done by itself when a task fails.

use std::path::Path;

use serde::de::DeserializeOwned;
use wire::id::FailureStrategyId;
use wire::strategy::{FailureRule, FailureStrategyChange, FailureStrategyView, NewFailureStrategy};

use crate::args::StrategiesCommand;
use crate::connect::Server;
use crate::exit::{Code, failure};
use crate::invocation::Invocation;
use crate::output::one_line;
use crate::table;
use crate::tasks::import;

/// Carries out one of the commands.
pub(crate) async fn run(invocation: &Invocation, command: &StrategiesCommand) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    match command {
        StrategiesCommand::List => {
            let strategies = server.ask(async |control| control.strategies().await).await?;
            list(invocation, &strategies)
        }
        StrategiesCommand::Show { id } => {
            let strategy = server.ask(async |control| control.strategy(*id).await).await?;
            show(invocation, &strategy)
        }
        StrategiesCommand::Add { file } => {
            let new: NewFailureStrategy = read(file)?;
            // Not asked twice: after a lost answer there would be two.
            let strategy = server.control.add_strategy(&new).await.map_err(|error| server.explain(error))?;
            show(invocation, &strategy)
        }
        StrategiesCommand::Update { id, file } => {
            let change: FailureStrategyChange = read(file)?;
            let strategy = server.ask(async |control| control.update_strategy(*id, &change).await).await?;
            show(invocation, &strategy)
        }
        StrategiesCommand::Delete { id } => delete(invocation, &server, *id).await,
    }
}

fn read<T: DeserializeOwned>(file: &Path) -> anyhow::Result<T> {
    serde_json::from_str(&import::read(file, "name a file of JSON, or - for standard input")?).map_err(|error| {
        let message = format!("{} holds no failure strategy: {error}", file.display());
        failure(Code::Data, message, "`bifrost strategies --help` shows one")
    })
}

fn list(invocation: &Invocation, strategies: &[FailureStrategyView]) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(&strategies);
    }
    if strategies.is_empty() {
        output.say("no failure strategies: what fails stays failed until somebody retries it");
        return Ok(());
    }
    let row = |strategy: &FailureStrategyView| {
        let (id, attempts) = (strategy.id.to_string(), strategy.max_attempts.to_string());
        vec![id, attempts, strategy.rules.len().to_string(), strategy.name.clone()]
    };
    let rows = strategies.iter().map(row).collect();
    Ok(output.line(&table::render(&["ID", "ATTEMPTS", "RULES", "NAME"], rows, output.stdout()))?)
}

fn show(invocation: &Invocation, strategy: &FailureStrategyView) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(strategy);
    }
    output.line(&format!("{:<14}{}", "id", strategy.id))?;
    output.line(&format!("{:<14}{}", "name", one_line(&strategy.name)))?;
    output.line(&format!("{:<14}{}", "attempts", strategy.max_attempts))?;
    let line = |rule: &FailureRule| output.line(&format!("{:<14}{}", rule.on.as_str(), rule.action.kind()));
    Ok(strategy.rules.iter().try_for_each(line)?)
}

async fn delete(invocation: &Invocation, server: &Server, id: FailureStrategyId) -> anyhow::Result<()> {
    // Not asked twice: after a lost answer the second would find no strategy.
    server.control.delete_strategy(id).await.map_err(|error| server.explain(error))?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&serde_json::json!({ "id": id }));
    }
    Ok(output.line(&format!("{id} deleted"))?)
}
