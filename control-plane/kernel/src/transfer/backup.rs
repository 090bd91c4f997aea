//! Backup files: SQLite databases, for their owner's eyes only, under their name once they are whole and on disk.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use kit::{Chance, Clock, files};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions as _, Connection as _};

use super::{Progress, Transferred, check, copy, survey};
use crate::{Address, Ctx, Db, Error, Migration, Result};

/// Writes the whole database into a new file, beside a running control plane or without one.
pub async fn backup(ctx: &Ctx, file: &Path, migrations: &[Migration], progress: Progress<'_>) -> Result<Transferred> {
    let partial = Partial::begin(file)?;
    let copied = match &ctx.db {
        Db::Sqlite { reader, .. } => {
            let options = (*reader.connect_options()).clone().pragma("query_only", "OFF");
            condense(&options, &partial.path).await?;
            None
        }
        Db::Postgres(_) => {
            let between = Partial::begin(&with_end(file, ".rows"))?;
            let beside = open(&Address::Sqlite(between.path.clone()), &ctx.clock, &ctx.chance).await?;
            let copied = copy(ctx, &beside, migrations, progress).await;
            beside.db.close().await;
            let copied = copied?;
            condense(&SqliteConnectOptions::new().filename(&between.path), &partial.path).await?;
            Some(copied)
        }
    };
    let beside = open(&Address::Sqlite(partial.path.clone()), &ctx.clock, &ctx.chance).await?;
    let content = look_through(beside, migrations, progress).await?;
    partial.finish(file)?;
    Ok(copied.unwrap_or(content))
}

/// Makes a backup the content of a database that has none: of a file that is not there, or of an empty database
/// on Postgres.
pub async fn restore(
    clock: Clock,
    chance: Chance,
    file: &Path,
    to: &Address,
    migrations: &[Migration],
    progress: Progress<'_>,
) -> Result<Transferred> {
    let backup = SqliteConnectOptions::new().filename(file).read_only(true);
    if !file.is_file() {
        return Err(Error::NotFound { what: "backup file" });
    }
    let Address::Sqlite(target) = to else {
        let name = format!("bifrost-restore-{}.db", chance.hex::<8>());
        let between = Partial::begin(&std::env::temp_dir().join(name))?;
        condense(&backup, &between.path).await?;
        let beside = open(&Address::Sqlite(between.path.clone()), &clock, &chance).await?;
        let target = open(to, &clock, &chance).await?;
        // A backup of an older version is brought up to date first; the file itself stays as it is.
        let copied = match crate::migrate(&beside, migrations).await {
            Ok(_) => copy(&beside, &target, migrations, progress).await,
            Err(error) => Err(error),
        };
        beside.db.close().await;
        target.db.close().await;
        return copied;
    };
    let partial = Partial::begin(target)?;
    condense(&backup, &partial.path).await?;
    let beside = open(&Address::Sqlite(partial.path.clone()), &clock, &chance).await?;
    let content = look_through(beside, migrations, progress).await?;
    partial.finish(target)?;
    Ok(content)
}

/// A context over another database.
async fn open(address: &Address, clock: &Clock, chance: &Chance) -> Result<Ctx> {
    Ok(Ctx::new(Db::open(address).await?, clock.clone(), chance.clone()))
}

/// Writes everything of one SQLite database into an empty file, in order and without gaps.
async fn condense(from: &SqliteConnectOptions, file: &Path) -> Result<()> {
    let mut connection: SqliteConnection = from.connect().await.map_err(not_a_database)?;
    let path = file.to_str().ok_or_else(|| Error::invalid("file", "its path must be UTF-8"))?;
    let done = sqlx::query("VACUUM INTO $1").bind(path).execute(&mut connection).await;
    connection.close().await?;
    done.map(drop).map_err(not_a_database)
}

fn not_a_database(error: sqlx::Error) -> Error {
    let code = error.as_database_error().and_then(|refused| refused.code()?.parse::<u32>().ok());
    // SQLITE_CORRUPT and SQLITE_NOTADB.
    match code.map(|code| code & 0xff) {
        Some(11 | 26) => Error::conflict("damaged", format!("it is no database of Bifrost, or is damaged: {error}")),
        _ => error.into(),
    }
}

/// Reads every page and every row of a file, and refuses one that is damaged or of a newer program.
async fn look_through(beside: Ctx, migrations: &[Migration], progress: Progress<'_>) -> Result<Transferred> {
    let content = async {
        let mut tx = beside.read("kernel.backup.look").await?;
        if let Some(newer) = crate::migrate::unknown(&mut tx, migrations).await? {
            return Err(Error::Internal(crate::NewerDatabase(newer).into()));
        }
        for finding in check::pages_and_links(&mut tx).await? {
            if let Some(problem) = finding.problems.first() {
                return Err(Error::conflict("damaged", format!("{}: {problem}", finding.what)));
            }
        }
        survey(&mut tx, progress).await
    }
    .await;
    beside.db.close().await;
    content
}

/// A file that is not whole yet; it is removed unless it is finished.
#[derive(Debug)]
struct Partial {
    path: PathBuf,
}

impl Partial {
    /// Refuses a name that is taken.
    fn begin(file: &Path) -> Result<Self> {
        if file.exists() {
            let message = format!("{} is there already; name a file that is not", file.display());
            return Err(Error::conflict("file_exists", message));
        }
        let path = with_end(file, ".partial");
        let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        created.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                let message =
                    format!("{} is there: another run writes it, or left it and it may be removed", path.display());
                Error::conflict("file_exists", message)
            }
            _ => unwritable(&path, error),
        })?;
        Ok(Self { path })
    }

    /// Gives it its name, which nobody may have taken meanwhile.
    fn finish(self, file: &Path) -> Result<()> {
        let done = || {
            File::open(&self.path)?.sync_all()?;
            fs::hard_link(&self.path, file)?;
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            files::sync_directory(folder.unwrap_or(Path::new(".")))
        };
        done().map_err(|error| unwritable(file, error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm"] {
            fs::remove_file(with_end(&self.path, end)).ok();
        }
    }
}

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    path.into()
}

fn unwritable(path: &Path, error: io::Error) -> Error {
    Error::Internal(anyhow::Error::new(error).context(format!("cannot write {}", path.display())))
}
