//! `bifrost busy`: said from within a task, to the runner that it runs under.

use std::path::Path;
use std::time::Duration;

use crate::args::BusyArguments;
use crate::exit::{Code, failure};
use crate::invocation::Invocation;

/// Says that work goes on, and for how long its machine should stay awake.
pub(crate) async fn say(invocation: &Invocation, arguments: &BusyArguments) -> anyhow::Result<()> {
    let Some(channel) = invocation.vars.text(runner::CHANNEL).map(Path::new) else {
        let cure = "say this in a task's command: its runner sets BIFROST_CHANNEL there";
        return Err(failure(Code::Usage, "this is not the command of a task", cure));
    };
    let time = arguments.time.map(Duration::from_secs);
    runner::say_busy(channel, time, invocation.global.reason.clone()).await.map_err(|error| {
        let cure = "it is heard by the runner that started this command, as long as the command runs";
        failure(Code::Unavailable, format!("the runner did not hear it: {error:#}"), cure)
    })?;
    let output = invocation.output;
    if output.is_json { output.json(&serde_json::json!({ "busy_seconds": arguments.time })) } else { Ok(()) }
}
