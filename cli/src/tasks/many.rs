//! Calling tasks off and having them retried, one or many at a time.

use wire::bulk::{BulkAnswer, Selection, TaskSelector};
use wire::id::TaskId;
use wire::limit::BULK_TASKS;

use super::steered;
use crate::args::Selected;
use crate::connect::Server;
use crate::count::counted;
use crate::exit::{Code, failure};
use crate::invocation::Invocation;
use crate::output::one_line;

/// What is done to the tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// Call them off.
    Cancel,
    /// Have them retried.
    Retry,
}

/// Does it, to the one task that is named or to all that are meant.
pub(super) async fn run(invocation: &Invocation, server: &Server, act: Act, selected: &Selected) -> anyhow::Result<()> {
    match selected.ids.as_slice() {
        [id] => one(invocation, server, act, *id).await,
        _ => many(invocation, server, act, selected).await,
    }
}

async fn one(invocation: &Invocation, server: &Server, act: Act, id: TaskId) -> anyhow::Result<()> {
    let task = match act {
        Act::Cancel => server.ask(async |control| control.cancel(id).await).await?,
        // Not asked twice: after a lost answer the second would be refused, since the task is ready already.
        Act::Retry => server.control.retry(id).await.map_err(|error| server.explain(error))?,
    };
    steered(invocation, &task)
}

async fn many(invocation: &Invocation, server: &Server, act: Act, selected: &Selected) -> anyhow::Result<()> {
    let mut whole = BulkAnswer { results: Vec::new(), remaining: 0 };
    for selection in selections(selected) {
        let answer = match act {
            Act::Cancel => server.ask(async |control| control.cancel_many(&selection).await).await?,
            Act::Retry => server.control.retry_many(&selection).await.map_err(|error| server.explain(error))?,
        };
        whole.results.extend(answer.results);
        whole.remaining += answer.remaining;
    }
    print(invocation, &whole)?;
    let refused = whole.results.iter().filter(|result| result.problem.is_some()).count();
    if refused == 0 {
        return Ok(());
    }
    let tasks = counted(whole.results.len(), "task stayed as it was", "tasks stayed as they were");
    let message = format!("{refused} of {tasks}");
    Err(failure(Code::Data, message, "the lines above say why"))
}

/// Ids in requests of as many as one takes, or the filter.
fn selections(selected: &Selected) -> Vec<Selection> {
    if selected.ids.is_empty() {
        let filter = TaskSelector { status: selected.status, priority: selected.priority, tag: selected.tag.clone() };
        return vec![Selection { ids: None, filter: Some(filter), all: selected.all }];
    }
    let of_ids = |ids: &[TaskId]| Selection { ids: Some(ids.to_vec()), ..Selection::default() };
    selected.ids.chunks(BULK_TASKS).map(of_ids).collect()
}

fn print(invocation: &Invocation, answer: &BulkAnswer) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(answer);
    }
    for result in &answer.results {
        let status = result.status.map(|status| status.to_string());
        let problem = result.problem.as_ref().map(|problem| one_line(&problem.detail));
        output.line(&format!("{} {}", result.id, status.or(problem).unwrap_or_default()))?;
    }
    if answer.results.is_empty() {
        output.say("no task matches");
    }
    if answer.remaining > 0 {
        let more = counted(answer.remaining, "more matches", "more match");
        output.say(&format!("{more}; ask again, or with --all"));
    }
    Ok(())
}
