//! What runs in a workspace that is ready: the command or the agent, and, where that ended well, the tests.

use std::sync::Arc;

use kit::tasks::blocking;
use wire::event::kind;
use wire::execution::{Exit, Outcome};
use wire::task::TaskSpec;
use wire::test_report::{TestReport, TestsSpec};

use crate::agent::Launch;
use crate::agent::reading::{Heard, Reading, Taken};
use crate::command::{self, Cause, Ended, Job};
use crate::record::Story;
use crate::test_report;

/// What a shell says of a program that is not there; here no tests are.
const NOT_FOUND: i32 = 127;

/// How what ran last has ended, what was heard of the agent, and what came of the tests.
pub(crate) struct Ran {
    pub(crate) ended: Ended,
    pub(crate) heard: Option<Heard>,
    pub(crate) report: Option<TestReport>,
}

/// Runs what the specification asks for; `job` is its command. An agent's session had taken so much before.
pub(crate) async fn run(
    story: &mut Story,
    spec: &TaskSpec,
    job: Job,
    launch: Option<Launch<'_>>,
    before: Taken,
) -> Ran {
    let ran = match (launch, &spec.tests) {
        (None, Some(tests)) if spec.command.is_empty() => return run_tests(story, tests, job, None).await,
        (launch, _) => run_command(story, spec, &job, launch, before).await,
    };
    let is_agent_content = ran.heard.as_ref().is_none_or(Heard::is_content);
    let is_well = is_agent_content && command::outcome(ran.ended.cause, ran.ended.exit) == Some(Outcome::Succeeded);
    match &spec.tests {
        Some(tests) if is_well => run_tests(story, tests, job, ran.heard).await,
        _ => ran,
    }
}

async fn run_command(story: &mut Story, spec: &TaskSpec, job: &Job, launch: Option<Launch<'_>>, before: Taken) -> Ran {
    let (Some(Launch { driver, arguments, environment, input }), Some(agent)) = (launch, &spec.agent) else {
        return Ran { ended: command::run(job, story, None).await, heard: None, report: None };
    };
    let mut environment = environment;
    environment.extend(job.environment.clone());
    let job = Job { arguments, input: Some(Arc::new(input)), environment, ..job.clone() };
    let mut reading = Reading::new(driver, &agent.name, before);
    let ended = command::run(&job, story, Some(&mut reading)).await;
    let mut heard = reading.conclude();
    let Heard { report, .. } = &mut heard;
    for said in [&mut report.message, &mut report.asks].into_iter().flatten() {
        *said = job.secrets.hide(said);
    }
    Ran { ended, heard: Some(heard), report: None }
}

/// Runs the tests and tells what came of them.
async fn run_tests(story: &mut Story, tests: &TestsSpec, job: Job, heard: Option<Heard>) -> Ran {
    let (tree, named) = (job.directory.clone(), tests.command.clone());
    let arguments = match named.is_empty() {
        false => named,
        true => blocking(move || test_report::plan::command(&test_report::look(&tree))).await.unwrap_or_default(),
    };
    let there_are_some = !arguments.is_empty();
    // Reports are read from pipes.
    let job = Job { arguments, has_terminal: false, ..job };
    let (place, asked) = (job.directory.clone(), tests.clone());
    let asked = blocking(move || test_report::Asked::of(asked, &place)).await;
    story.listen();
    let since = tokio::time::Instant::now();
    let ended = match there_are_some {
        true => command::run(&job, story, None).await,
        false => Ended { exit: Exit::Code(NOT_FOUND), cause: Cause::Itself, truncated_bytes: 0 },
    };
    let (printed, took) = (story.heard(), since.elapsed());
    let Job { arguments, directory, secrets, .. } = job;
    let report =
        blocking(move || test_report::report(&asked, &arguments, &directory, &printed, &secrets, ended, took)).await;
    story.tell(kind::TESTS_REPORT, &report).await;
    Ran { ended, heard, report: Some(report) }
}
