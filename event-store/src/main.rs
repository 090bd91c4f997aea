//! `bifrost-events`, the event store as a program of its own. See [`event_store::program`].

mod help;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use clap::{Parser, Subcommand};
use event_store::Config;
use event_store::program::{self, Arguments, Backup, Export, Failure, Migrate, Operation, Restore, Verify};
use kit::Vars;

/// A durable log of signed events behind HTTP. Without a command it serves, and needs
/// FLY_EVENT_SECRET in the environment
#[derive(Parser)]
#[command(name = "bifrost-events", version, max_term_width = 100)]
#[command(after_help = help::PROGRAM, after_long_help = help::program_long())]
struct Cli {
    #[command(flatten)]
    arguments: Arguments,
    /// Write a command's result as JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Ask the store that listens at this address whether it is up: for the health check of an image
    #[command(after_help = help::HEALTH)]
    Health,
    #[command(flatten)]
    Operate(Operate),
}

/// What is done to a log, beside a running store or without one.
#[derive(Subcommand)]
enum Operate {
    /// Check that the log is what was once stored, beside a running store or without one
    #[command(after_help = help::VERIFY)]
    Verify(Verify),
    /// Copy the log to a file, beside a running store or without one
    #[command(after_help = help::BACKUP)]
    Backup(Backup),
    /// Make a backup the log of a data directory that has none
    #[command(after_help = help::RESTORE)]
    Restore(Restore),
    /// Write events as lines of JSON or as CSV
    #[command(after_help = help::EXPORT)]
    Export(Export),
    /// Take the database back to an older schema, for an older program
    #[command(after_help = help::MIGRATE)]
    Migrate(Migrate),
}

fn main() -> anyhow::Result<ExitCode> {
    // One processor is the log's, whose threads are none of the runtime's.
    let workers = thread::available_parallelism().map_or(1, |processors| processors.get().saturating_sub(1).max(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    runtime.block_on(run())
}

async fn run() -> anyhow::Result<ExitCode> {
    let Cli { arguments, json, command } = Cli::parse();
    let vars = Vars::from_process();
    let operate = match command {
        None => {
            program::run(arguments, vars).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Health) => {
            kit::health::ask(&arguments.listen).await?;
            return Ok(ExitCode::SUCCESS);
        }
        Some(Command::Operate(operate)) => operate,
    };
    match carry_out(operate, arguments.data, json, vars).await? {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(failure) => {
            if !failure.is_closed_output() {
                // There is nowhere left to complain to if this cannot be written.
                drop(writeln!(std::io::stderr().lock(), "error: {failure}\nhelp: {}", failure.help));
            }
            Ok(ExitCode::from(failure.trouble.exit_code()))
        }
    }
}

/// The outer error is the environment's, the inner one the command's.
async fn carry_out(
    operate: Operate,
    data: PathBuf,
    is_json: bool,
    mut vars: Vars,
) -> anyhow::Result<Result<(), Failure>> {
    let secrets = Config::secrets(&mut vars);
    vars.finish()?;
    let operation = Operation { data, secrets, is_json };
    let work = program::carry_out(move |stop| match operate {
        Operate::Verify(verify) => verify.run(&operation, stop),
        Operate::Backup(backup) => backup.run(&operation, stop),
        Operate::Restore(restore) => restore.run(&operation, stop),
        Operate::Export(export) => export.run(&operation, stop),
        Operate::Migrate(migrate) => migrate.run(&operation, stop),
    });
    Ok(work.await)
}
