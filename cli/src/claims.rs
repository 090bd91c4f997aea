//! `bifrost claim`, `renew`, `complete` and `release`: work for whoever is no
//! machine of the pool, from a shell.

use wire::claim::{Claim, ClaimCompletion, CompletionView, Completions, LeaseView, NewClaim, ReleaseClaim, RenewClaim};
use wire::execution::{ExecutionResult, ExecutionView};
use wire::id::ExecutionId;
use wire::limit::{COMPLETIONS_PER_BATCH, POLL_SECONDS_MAX};

use crate::args::{ClaimArguments, CompleteArguments, ReleaseArguments, RenewArguments};
use crate::connect::Server;
use crate::duration::show_time;
use crate::exit::{Code, failure};
use crate::invocation::Invocation;
use crate::output::one_line;
use crate::tasks;

/// Claims, and waits if that is wanted; the exit code says whether there was anything.
pub(crate) async fn claim(invocation: &Invocation, arguments: &ClaimArguments) -> anyhow::Result<u8> {
    let server = Server::find(invocation)?;
    let claims = until_found(invocation, &server, arguments).await?;
    let output = invocation.output;
    if output.is_json {
        output.json(&claims)?;
    }
    if claims.is_empty() {
        output.say("there is nothing to claim");
        return Ok(Code::NothingToDo.number());
    }
    if !output.is_json {
        claims.iter().try_for_each(|claim| show(invocation, claim))?;
    }
    Ok(0)
}

async fn until_found(
    invocation: &Invocation,
    server: &Server,
    arguments: &ClaimArguments,
) -> anyhow::Result<Vec<Claim>> {
    let began = invocation.clock.now();
    let whole = arguments.wait.unwrap_or(0);
    loop {
        let waited = (invocation.clock.now() - began).num_seconds();
        let left = whole.saturating_sub(u64::try_from(waited).unwrap_or(0));
        let claim = NewClaim {
            worker: arguments.worker_id.is_none().then(|| arguments.worker.clone()),
            worker_id: arguments.worker_id,
            agent_type: arguments.agent_type.clone(),
            limit: Some(arguments.limit),
            lease_seconds: Some(arguments.lease),
            tags: arguments.tags.clone(),
            include_spec: arguments.include_spec,
            start: true,
            wait_seconds: Some(left.min(POLL_SECONDS_MAX)),
        };
        // Not asked twice: after a lost answer the second would take another task.
        let claims = server.control.claim(&claim).await.map_err(|error| server.explain(error))?;
        if !claims.is_empty() || left <= POLL_SECONDS_MAX {
            return Ok(claims);
        }
    }
}

fn show(invocation: &Invocation, claim: &Claim) -> anyhow::Result<()> {
    tasks::show(invocation, &claim.task)?;
    let until = show_time(claim.lease_until);
    invocation.output.say(&format!("it is yours until {until}; then: bifrost complete {}", claim.execution_id));
    Ok(())
}

/// Renews a claim.
pub(crate) async fn renew(invocation: &Invocation, arguments: &RenewArguments) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    let renew = RenewClaim { fence: None, lease_seconds: Some(arguments.lease) };
    let lease: LeaseView =
        server.ask(async |control| control.renew_execution(arguments.execution, &renew).await).await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&lease);
    }
    if lease.is_called_off {
        output.warn("somebody has called the task off: stop, and complete or release it");
    }
    let until = show_time(lease.lease_until);
    Ok(output.line(&format!("{} until {until}", lease.execution_id))?)
}

/// Ends a claim with its task.
pub(crate) async fn complete(invocation: &Invocation, arguments: &CompleteArguments) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    let [id] = *arguments.executions.as_slice() else { return complete_all(invocation, &server, arguments).await };
    let result = ExecutionResult {
        success: !arguments.failed,
        fence: None,
        cost_dollars: arguments.cost.clone(),
        tokens: arguments.tokens,
        error_message: arguments.message.clone(),
    };
    let ended = server.ask(async |control| control.complete_execution(id, &result).await).await?;
    say_ended(invocation, &ended)
}

/// Ends several, each by itself: what is refused keeps the others from nothing.
async fn complete_all(invocation: &Invocation, server: &Server, arguments: &CompleteArguments) -> anyhow::Result<()> {
    let completion = |id: &ExecutionId| ClaimCompletion {
        execution_id: *id,
        fence: None,
        success: !arguments.failed,
        cost_dollars: arguments.cost.clone(),
        tokens: arguments.tokens,
        error_message: arguments.message.clone(),
    };
    let mut ended = Vec::new();
    for ids in arguments.executions.chunks(COMPLETIONS_PER_BATCH) {
        let all = Completions { completions: ids.iter().map(completion).collect() };
        ended.extend(server.ask(async |control| control.complete_executions(&all).await).await?);
    }
    let output = invocation.output;
    if output.is_json {
        output.json(&ended)?;
    } else {
        ended.iter().try_for_each(|one| output.line(&in_words(one)))?;
    }
    let refused = ended.iter().filter(|one| one.problem.is_some()).count();
    if refused == 0 {
        return Ok(());
    }
    let message = format!("{refused} of {} executions did not end so", ended.len());
    Err(failure(Code::Data, message, "the lines above say why"))
}

fn in_words(ended: &CompletionView) -> String {
    let status = ended.task_status.map(|status| format!("ended, its task is {status}"));
    let problem = ended.problem.as_ref().map(|problem| one_line(&problem.detail));
    format!("{} {}", ended.execution_id, status.or(problem).unwrap_or_default())
}

/// Gives a claimed task back.
pub(crate) async fn release(invocation: &Invocation, arguments: &ReleaseArguments) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    let release = ReleaseClaim { fence: None, reason: arguments.reason.clone() };
    let id = arguments.execution;
    let ended = server.ask(async |control| control.release_execution(id, &release).await).await?;
    say_ended(invocation, &ended)
}

fn say_ended(invocation: &Invocation, ended: &ExecutionView) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(ended);
    }
    let outcome = ended.outcome.map_or("running", |outcome| outcome.as_str());
    Ok(output.line(&format!("{} of task {} {outcome}", ended.id, ended.task_id))?)
}

#[cfg(test)]
mod tests {
    use wire::problem::Problem;
    use wire::task::TaskStatus;

    use super::*;

    #[test]
    fn of_several_each_says_for_itself_what_became_of_it() {
        let execution_id: ExecutionId = "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70".parse().expect("an id");
        let ended = CompletionView { execution_id, task_status: Some(TaskStatus::Completed), problem: None };
        assert_eq!(in_words(&ended), format!("{execution_id} ended, its task is completed"));
        let problem = Problem::new(409, "conflict", "lease_lost", "the work was\ngiven away");
        let refused = CompletionView { execution_id, task_status: None, problem: Some(problem) };
        assert_eq!(in_words(&refused), format!("{execution_id} the work was given away"));
    }
}
