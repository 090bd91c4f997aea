//! The files of the data directory's event log: what `bifrost-events` does with them.

use event_store::Config;
use event_store::program::{self, Operation};
use wire::signature::Key;

use crate::args::FilesCommand;
use crate::exit::{Code, failure};
use crate::invocation::Invocation;
use crate::up;

/// Carries out one of the commands, as `bifrost-events` does it.
pub(super) async fn run(invocation: &Invocation, command: FilesCommand) -> anyhow::Result<()> {
    if let FilesCommand::Restore(_) = command {
        // The directory may be new, and keys come to live in it.
        invocation.prepare_data()?;
    }
    let data = invocation.data()?.join("events");
    let operation = Operation { data, secrets: secrets(invocation)?, is_json: invocation.output.is_json };
    let work = program::carry_out(move |stop| match command {
        FilesCommand::Verify(verify) => verify.run(&operation, stop),
        FilesCommand::Backup(backup) => backup.run(&operation, stop),
        FilesCommand::Restore(restore) => restore.run(&operation, stop),
        FilesCommand::Export(export) => export.run(&operation, stop),
        FilesCommand::Migrate(migrate) => migrate.run(&operation, stop),
    });
    Ok(work.await?)
}

/// What heads may be signed with: what the environment names, else what `bifrost up` keeps in
/// the data directory, which may be nothing.
pub(super) fn secrets(invocation: &Invocation) -> anyhow::Result<Vec<Key>> {
    let mut vars = invocation.vars.clone();
    let named = Config::secrets(&mut vars);
    vars.finish()?;
    if !named.is_empty() {
        return Ok(named);
    }
    let kept = up::event_secret(&invocation.data()?)?.map(|text| Key::parse(&text)).transpose();
    let kept = kept.map_err(|error| {
        let cure = "put the event store's own in FLY_EVENT_SECRET";
        failure(Code::Configuration, format!("the event store's secret in the data directory: {error}"), cure)
    })?;
    Ok(kept.into_iter().collect())
}
