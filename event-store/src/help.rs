//! The examples below each help text of `bifrost-events`.

use event_store::program::Trouble;

pub(crate) const PROGRAM: &str = "\
Examples:
  bifrost-events --data /data --listen fly-local-6pn:3000
  bifrost-events verify --data /data
  bifrost-events backup /data/backup.db --data /data";

/// The examples and every exit code.
pub(crate) fn program_long() -> String {
    let codes: String = Trouble::ALL.iter().map(|(_, code, meaning)| format!("\n  {code:<5} {meaning}")).collect();
    format!("{PROGRAM}\n\nExit codes of the commands:\n  0     done; verify found nothing wrong{codes}")
}

pub(crate) const HEALTH: &str = "\
Examples:
  bifrost-events --listen fly-local-6pn:3000 health";

pub(crate) const VERIFY: &str = "\
Examples:
  bifrost-events verify --data /data
  bifrost-events verify --data /data --head head.json
  bifrost-events verify --data /data --since-head head.json --quick
  bifrost-events verify backup.db

The exit code is 0 only if nothing is wrong, and 65 if something is; the first event that is not
what was stored is named.";

pub(crate) const BACKUP: &str = "\
Examples:
  bifrost-events backup backup.db --data /data";

pub(crate) const RESTORE: &str = "\
Examples:
  bifrost-events restore backup.db --data /data";

pub(crate) const EXPORT: &str = "\
Examples:
  bifrost-events export --data /data > events.ndjson
  bifrost-events export --data /data --format csv --type task.failed --since 2026-11-01T00:00:00Z
  bifrost-events export --data /data --after 1000 --output later.ndjson";

pub(crate) const MIGRATE: &str = "\
Examples:
  bifrost-events migrate --data /data --to 1";
