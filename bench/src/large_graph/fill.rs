//! The rows of a large graph, written by the databases themselves: a task needs three of
//! the thousand before it, and some hubs are needed by a thousand each.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail, ensure};
use kit::Chance;
use tokio::io::AsyncWriteExt as _;

/// How large a graph is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// Tasks that need three others each, but for the first thousand.
    pub(super) tasks: u32,
    /// Tasks in somebody's hands that a thousand others need, besides.
    pub(super) hubs: u32,
}

/// Where the rows go.
#[derive(Debug)]
pub(super) enum Database {
    Sqlite(PathBuf),
    Postgres { psql: PathBuf, server: String, name: String },
}

/// What needs one hub.
const BEHIND_A_HUB: u32 = 1_000;
/// Before the first of these ids: those of tasks end in their numbers.
const ID_PREFIX: &str = "0197f0a45b1e7c3a9d55";
/// Before those of dependencies.
const DEPENDENCY_PREFIX: &str = "0197f0a45b1e7c3a8d55";

/// The id of the task of that number.
pub(super) fn task_id(number: u32) -> String {
    let digits = format!("{ID_PREFIX}{number:012x}");
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}

impl Size {
    /// The number of a hub.
    pub(super) fn hub(self, number: u32) -> u32 {
        self.tasks + 1 + number * (BEHIND_A_HUB + 1)
    }

    fn last(self) -> u32 {
        self.tasks + self.hubs * (BEHIND_A_HUB + 1)
    }
}

impl Database {
    /// A file in the directory, made by the server.
    pub(super) fn sqlite(directory: &Path) -> Self {
        Self::Sqlite(directory.join("bifrost.db"))
    }

    /// A new database of the server.
    pub(super) async fn postgres(psql: &Path, server: &str) -> anyhow::Result<Self> {
        let name = format!("bench_graph_{}", Chance::system().hex::<6>());
        run_psql(psql, server, &format!("CREATE DATABASE {name}")).await?;
        Ok(Self::Postgres { psql: psql.to_owned(), server: server.to_owned(), name })
    }

    /// For people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "SQLite",
            Self::Postgres { .. } => "Postgres",
        }
    }

    /// As the server takes it.
    pub(super) fn url(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Postgres { server, name, .. } => {
                let end = server.rfind('/').map_or(server.len(), |slash| slash + 1);
                format!("{}{name}", &server[..end])
            }
        }
    }

    /// Writes the rows.
    pub(super) async fn fill(&self, size: Size) -> anyhow::Result<()> {
        match self {
            Self::Sqlite(path) => {
                let (path, script) = (path.clone(), sqlite(size));
                tokio::task::spawn_blocking(move || {
                    let connection = rusqlite::Connection::open(path)?;
                    connection.execute_batch(&script).context("the rows could not be written")
                })
                .await?
            }
            Self::Postgres { psql, .. } => run_psql(psql, &self.url(), &postgres(size)).await,
        }
    }

    /// Drops what [`postgres`](Self::postgres) made.
    pub(super) async fn drop_it(&self) -> anyhow::Result<()> {
        let Self::Postgres { psql, server, name } = self else { return Ok(()) };
        run_psql(psql, server, &format!("DROP DATABASE {name} WITH (FORCE)")).await
    }
}

async fn run_psql(psql: &Path, url: &str, script: &str) -> anyhow::Result<()> {
    let mut command = kit::process::command(psql);
    command.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", url]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{} cannot be started", psql.display()))?;
    let Some(mut stdin) = child.stdin.take() else { bail!("psql has no standard input") };
    stdin.write_all(script.as_bytes()).await?;
    drop(stdin);
    let done = child.wait_with_output().await?;
    ensure!(done.status.success(), "psql: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

/// What both databases compute alike: which three of those before it a task needs.
const NEEDED: [&str; 3] = ["n - 1 - (n * 31) % 97", "n - 100 - (n * 37) % 211", "n - 400 - (n * 41) % 499"];
/// Its texts; one task in a thousand has a word that is rare.
const TITLE: &str = "'task ' || n || ' of step ' || (n % 1000) || CASE WHEN n % 1000 = 7 THEN ' quartz' ELSE '' END";
const DESCRIPTION: &str = "'part ' || (n * 7919 % 1000003) || ' of what has to be done for the release'";

fn sqlite(size: Size) -> String {
    let Size { tasks, .. } = size;
    let last = size.last();
    let id = |prefix: &str, n: &str| format!("unhex('{prefix}' || printf('%012x', {n}))");
    let task = id(ID_PREFIX, "n");
    let (dependency, needed) = (id(DEPENDENCY_PREFIX, "n * 4 + which"), id(ID_PREFIX, "needed"));
    let waits = waits_for(size);
    let status = status(size);
    let which: Vec<String> = NEEDED
        .iter()
        .zip(0..)
        .map(|(needed, which)| {
            format!("SELECT n, {which} AS which, {needed} AS needed FROM numbers WHERE n > 1000 AND n <= {tasks}")
        })
        .collect();
    let hubs = behind_hubs(size);
    format!(
        "PRAGMA synchronous = OFF;
         BEGIN IMMEDIATE;
         CREATE TEMP TABLE numbers AS
             WITH RECURSIVE up (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM up WHERE n < {last}) SELECT n FROM up;
         INSERT INTO tasks (id, tenant_id, title, description, status, priority, attempts, losses, retry_count, created_at,
                            updated_at, waits_for, folded_title, folded_description)
             SELECT {task}, (SELECT id FROM tenants LIMIT 1), {TITLE}, {DESCRIPTION}, {status}, 1 + n % 5, 0, 0, 0, created,
                    created, {waits}, {TITLE}, {DESCRIPTION}
             FROM (SELECT n, strftime('%Y-%m-%dT%H:%M:%S+00:00', 1790000000 + n, 'unixepoch') AS created FROM numbers);
         INSERT INTO dependencies (id, tenant_id, task_id, depends_on_task_id, dependency_type, condition, is_satisfied,
                                   created_at)
             SELECT {dependency}, (SELECT id FROM tenants LIMIT 1), {task}, {needed}, 'hard', 'completed', 0,
                    '2026-09-21T00:00:00+00:00'
             FROM ({} UNION ALL {hubs});
         INSERT INTO task_places (tenant_id, task_id, place)
             SELECT (SELECT id FROM tenants LIMIT 1), {task}, n FROM numbers;
         COMMIT;
         PRAGMA wal_checkpoint(TRUNCATE);",
        which.join(" UNION ALL ")
    )
}

fn postgres(size: Size) -> String {
    let Size { tasks, .. } = size;
    let last = size.last();
    let id = |prefix: &str, n: &str| format!("CAST('{prefix}' || lpad(to_hex({n}), 12, '0') AS UUID)");
    let task = id(ID_PREFIX, "n");
    let (dependency, needed) = (id(DEPENDENCY_PREFIX, "n * 4 + which"), id(ID_PREFIX, "needed"));
    let waits = waits_for(size);
    let status = status(size);
    let numbers = format!("generate_series(1, CAST({last} AS BIGINT)) AS numbers (n)");
    let which: Vec<String> = NEEDED
        .iter()
        .zip(0..)
        .map(|(needed, which)| {
            format!("SELECT n, {which} AS which, {needed} AS needed FROM {numbers} WHERE n > 1000 AND n <= {tasks}")
        })
        .collect();
    let hubs = behind_hubs(size).replace("FROM numbers", &format!("FROM {numbers}"));
    // The indexes of characters are made at the end and at once, which is far faster than row by row.
    format!(
        "SET synchronous_commit = off;
         SET maintenance_work_mem = '256MB';
         CREATE TEMP TABLE made AS SELECT indexname, indexdef FROM pg_indexes WHERE indexname LIKE 'task_texts%grams';
         SELECT format('DROP INDEX %I', indexname) FROM made \\gexec
         INSERT INTO tasks (id, tenant_id, title, description, status, priority, attempts, losses, retry_count, created_at,
                            updated_at, waits_for, folded_title, folded_description)
             SELECT {task}, (SELECT id FROM tenants LIMIT 1), {TITLE}, {DESCRIPTION}, {status}, 1 + n % 5, 0, 0, 0,
                    to_timestamp(1790000000 + n), to_timestamp(1790000000 + n), {waits}, {TITLE}, {DESCRIPTION} FROM {numbers};
         INSERT INTO dependencies (id, tenant_id, task_id, depends_on_task_id, dependency_type, condition, is_satisfied,
                                   created_at)
             SELECT {dependency}, (SELECT id FROM tenants LIMIT 1), {task}, {needed}, 'hard', 'completed', FALSE,
                    to_timestamp(1790000000)
             FROM ({} UNION ALL {hubs}) needs;
         INSERT INTO task_places (tenant_id, task_id, place)
             SELECT (SELECT id FROM tenants LIMIT 1), {task}, n FROM {numbers};
         SELECT indexdef FROM made \\gexec
         VACUUM ANALYZE;\n",
        which.join(" UNION ALL ")
    )
}

/// In how many things each task waits: three, but for the first, and one behind a hub.
fn waits_for(size: Size) -> String {
    let (tasks, each) = (size.tasks, BEHIND_A_HUB + 1);
    format!("CASE WHEN n <= 1000 THEN 0 WHEN n <= {tasks} THEN 3 WHEN (n - {tasks} - 1) % {each} = 0 THEN 0 ELSE 1 END")
}

/// Hubs, and the first hundred of all, are in somebody's hands.
fn status(size: Size) -> String {
    let (tasks, each) = (size.tasks, BEHIND_A_HUB + 1);
    format!(
        "CASE WHEN n <= 100 OR (n > {tasks} AND (n - {tasks} - 1) % {each} = 0) THEN 'in_progress' ELSE 'ready' END"
    )
}

fn behind_hubs(size: Size) -> String {
    let (tasks, each) = (size.tasks, BEHIND_A_HUB + 1);
    format!(
        "SELECT n, 0 AS which, n - (n - {tasks} - 1) % {each} AS needed FROM numbers \
         WHERE n > {tasks} AND (n - {tasks} - 1) % {each} > 0"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_a_task_is_a_plain_uuid_that_ends_in_its_number() {
        assert_eq!(task_id(255), "0197f0a4-5b1e-7c3a-9d55-0000000000ff");
        assert!(task_id(1).parse::<wire::id::TaskId>().is_ok());
    }

    #[test]
    fn hubs_stand_behind_the_graph_with_what_needs_them() {
        let size = Size { tasks: 10_000, hubs: 2 };
        assert_eq!((size.hub(0), size.hub(1), size.last()), (10_001, 11_002, 12_002));
    }
}
