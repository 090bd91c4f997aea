//! `bifrost-runner`: reads its environment, works until it is told to stop.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use kit::{Chance, Clock, Tasks, Vars};

fn main() -> ExitCode {
    let mut vars = Vars::from_process();
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

fn work(config: runner::Config) -> anyhow::Result<()> {
    // A runner mostly waits: two threads keep a busy log and a heartbeat apart.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let tasks = Tasks::new();
        let signalled = tasks.clone();
        tasks.spawn_until_stopped("termination", async move {
            kit::tasks::termination().await;
            signalled.stop();
        });
        let ended = runner::run(config, Clock::system(), Chance::system(), &tasks).await;
        tasks.stop_within(Duration::from_secs(5)).await?;
        ended
    })
}
