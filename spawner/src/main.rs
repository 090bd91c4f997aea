//! `bifrost-inside`: what runs in an agent's terminal, without the rest of `bifrost`, and the
//! mock agent, which its driver takes from the program that it is asked by.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    kit::telemetry::init_logs("error");
    let vars = kit::Vars::from_process();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("{error}");
            return ExitCode::FAILURE;
        }
    };
    match words.split_first() {
        Some((word, rest)) if word == "mock-agent" => ExitCode::from(runtime.block_on(runner::run_mock_agent(rest))),
        Some((word, [directory])) if word == "inside" => {
            if let Err(error) = kit::process::keep_inherited_files() {
                tracing::error!("the agent would share what this program was started with: {error}");
                return ExitCode::FAILURE;
            }
            let (clock, chance) = (kit::Clock::system(), kit::Chance::system());
            match runtime.block_on(spawner::run_inside(Path::new(directory), &vars, &clock, &chance)) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    tracing::error!("{error:#}");
                    ExitCode::FAILURE
                }
            }
        }
        _ => {
            tracing::error!("usage: bifrost-inside inside DIRECTORY");
            ExitCode::from(64)
        }
    }
}
