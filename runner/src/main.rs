//! `bifrost-runner`: reads its environment, works until it is told to stop.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use kit::{Chance, Clock, Tasks, Vars};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    if first.as_deref() == Some("mock-agent") {
        return mock_agent(&arguments.collect::<Vec<_>>());
    }
    if first.as_deref() == Some("git-credential") {
        return git_credential(&arguments.collect::<Vec<_>>());
    }
    if first.as_deref() == Some("git-ssh") {
        return git_ssh(&arguments.collect::<Vec<_>>());
    }
    let mut vars = Vars::from_process();
    if first.as_deref() == Some("busy") {
        return busy(&vars, &arguments.collect::<Vec<_>>());
    }
    kit::telemetry::init_logs(vars.text("BIFROST_LOG").unwrap_or("info"));
    let config = runner::Config::from_vars(&mut vars);
    let ended =
        vars.finish().map_err(Into::into).and_then(|()| work(config.context("the configuration is incomplete")?));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("the runner cannot go on: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// `bifrost-runner busy [--for SECONDS] [--reason TEXT]`, said by a command.
fn busy(vars: &Vars, arguments: &[String]) -> ExitCode {
    let option = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1);
    let said = (|| {
        let channel = vars.text(runner::CHANNEL).context("this is not the command of a task")?;
        let seconds = option("--for").map(|text| text.parse()).transpose().context("--for: give whole seconds")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let word = runner::say_busy(channel.as_ref(), seconds.map(Duration::from_secs), option("--reason").cloned());
        runtime.block_on(word)
    })();
    match said {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            kit::telemetry::init_logs("info");
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The runner's own program is what the driver of the mock agent names.
fn mock_agent(arguments: &[String]) -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => ExitCode::from(runtime.block_on(runner::run_mock_agent(arguments))),
        Err(error) => {
            tracing::error!("the mock agent cannot run: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What our git asks who we are, it asks this program.
fn git_credential(arguments: &[String]) -> ExitCode {
    match runner::answer_git(arguments, std::io::stdin(), std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("git gets no credential: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where our git may go by ssh for a submodule, it asks this program.
fn git_ssh(arguments: &[String]) -> ExitCode {
    match runner::may_reach_by_ssh(arguments, std::io::stderr()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!("git gets no ssh: {error}");
            ExitCode::FAILURE
        }
    }
}

fn work(config: runner::Config) -> anyhow::Result<()> {
    kit::process::keep_inherited_files().context("commands would share what the runner was started with")?;
    runner::take_rights(config.isolation).context("the capabilities of the runner's file cannot be taken")?;
    // A runner mostly waits: two threads keep a busy log and a heartbeat apart.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let tasks = Tasks::new();
        let (told, signalled) = (kit::tasks::termination(), tasks.clone());
        tasks.spawn_until_stopped("termination", async move {
            told.await;
            signalled.stop();
        });
        let ended = runner::run(config, Clock::system(), Chance::system(), &tasks).await;
        tasks.stop_within(Duration::from_secs(5)).await?;
        ended
    })
}
