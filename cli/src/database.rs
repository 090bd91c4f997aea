//! `bifrost db`: carries the control plane's database elsewhere, keeps copies of it, and checks it.

use indicatif::{ProgressBar, ProgressDrawTarget};
use kernel::transfer::{self, Transferred};
use kernel::{Address, Ctx, Db, Error, NewerDatabase};

use crate::args::{DatabaseArguments, DatabaseCommand};
use crate::exit::{Code, Failure, failure};
use crate::invocation::Invocation;
use crate::table;

/// Carries out one of the commands.
pub(crate) async fn run(invocation: &Invocation, command: &DatabaseCommand) -> anyhow::Result<()> {
    match command {
        DatabaseCommand::Copy { from, to } => copy(invocation, from, to).await,
        DatabaseCommand::Backup(backup) => {
            let address = own(invocation, &backup.database)?;
            let ctx = open_existing(invocation, &address).await?;
            let bar = bar(invocation);
            let done = transfer::backup(&ctx, &backup.file, &control_plane::migrations(), &mut shown(&bar)).await;
            bar.finish_and_clear();
            ctx.db.close().await;
            tell(invocation, &done.map_err(explain)?, &format!("is backed up in {}", backup.file.display()))
        }
        DatabaseCommand::Restore(restore) => {
            let address = own(invocation, &restore.database)?;
            if restore.database.database_url.is_none() {
                // The directory may be new, and keys come to live in it.
                invocation.prepare_data()?;
            }
            let bar = bar(invocation);
            let (clock, chance) = (invocation.clock.clone(), invocation.chance.clone());
            let migrations = control_plane::migrations();
            let done = transfer::restore(clock, chance, &restore.file, &address, &migrations, &mut shown(&bar)).await;
            bar.finish_and_clear();
            tell(invocation, &done.map_err(explain)?, "is restored")
        }
        DatabaseCommand::Check { database } => check(invocation, &own(invocation, database)?).await,
    }
}

async fn copy(invocation: &Invocation, from: &str, to: &str) -> anyhow::Result<()> {
    let (from, to) = (parse(from)?, parse(to)?);
    if from == to {
        return Err(failure(Code::Usage, "both are the same database", "name another one to copy to"));
    }
    let source = open_existing(invocation, &from).await?;
    let target = open(invocation, &to).await?;
    let bar = bar(invocation);
    let done = transfer::copy(&source, &target, &control_plane::migrations(), &mut shown(&bar)).await;
    bar.finish_and_clear();
    source.db.close().await;
    target.db.close().await;
    tell(invocation, &done.map_err(explain)?, "is copied and compared")
}

async fn check(invocation: &Invocation, address: &Address) -> anyhow::Result<()> {
    let ctx = open_existing(invocation, address).await?;
    let findings = transfer::check(&ctx, &control_plane::migrations()).await;
    ctx.db.close().await;
    let findings = findings.map_err(explain)?;
    let output = invocation.output;
    if output.is_json {
        output.json(&findings)?;
    } else {
        for finding in &findings {
            output.line(&format!("{} {}", output.mark(finding.problems.is_empty()), finding.what))?;
            finding.problems.iter().try_for_each(|problem| output.line(&format!("    {problem}")))?;
        }
    }
    if findings.iter().all(|finding| finding.problems.is_empty()) {
        return Ok(());
    }
    let cure = "docs/operations-database.md says what each of them means";
    Err(failure(Code::Data, "the database is not as it should be", cure))
}

/// The database that the control plane of this data directory uses.
fn own(invocation: &Invocation, database: &DatabaseArguments) -> anyhow::Result<Address> {
    match &database.database_url {
        Some(text) => parse(text),
        None => Ok(Address::Sqlite(invocation.data()?.join("control.db"))),
    }
}

fn parse(text: &str) -> anyhow::Result<Address> {
    text.parse().map_err(|error: kernel::BadAddress| {
        failure(Code::Usage, error.to_string(), "a password belongs in PGPASSWORD, where other users do not see it")
    })
}

/// A file that is not there must not be made by looking into it.
async fn open_existing(invocation: &Invocation, address: &Address) -> anyhow::Result<Ctx> {
    if let Address::Sqlite(path) = address
        && !path.is_file()
    {
        let cure = "name the data directory with --data, or the database with DATABASE_URL";
        return Err(failure(Code::NotFound, format!("there is no database {}", path.display()), cure));
    }
    open(invocation, address).await
}

async fn open(invocation: &Invocation, address: &Address) -> anyhow::Result<Ctx> {
    let db = Db::open(address).await.map_err(explain)?;
    Ok(Ctx::new(db, invocation.clock.clone(), invocation.chance.clone()))
}

fn bar(invocation: &Invocation) -> ProgressBar {
    let is_seen = invocation.output.is_stderr_terminal() && !invocation.output.is_json;
    let target = if is_seen { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    ProgressBar::with_draw_target(None, target)
}

fn shown(bar: &ProgressBar) -> impl FnMut(&str, u64) + Send {
    move |table, rows| bar.set_message(format!("{table}: {rows} rows"))
}

fn tell(invocation: &Invocation, done: &Transferred, what: &str) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(done);
    }
    let rows = done.tables.iter().map(|tally| vec![tally.table.clone(), tally.rows.to_string(), tally.sum.clone()]);
    output.line(&table::render(&["TABLE", "ROWS", "SUM"], rows.collect(), output.stdout()))?;
    output.say(&format!("the database {what}"));
    Ok(())
}

/// What a refusal means to an operator.
fn explain(error: Error) -> anyhow::Error {
    let (code, help) = match error.code() {
        "not_found" => (Code::NotFound, "name a file that `bifrost db backup` has made"),
        "database_not_empty" => (Code::CannotCreate, "nothing was changed"),
        "file_exists" => (Code::CannotCreate, "nothing was overwritten"),
        "unavailable" => (Code::Unavailable, "is it up, and may this user use it?"),
        "internal" => (Code::Internal, "the log says more with BIFROST_LOG=info"),
        _ => (Code::Data, "nothing was changed"),
    };
    let newer = match &error {
        Error::Internal(cause) => cause.downcast_ref::<NewerDatabase>().map(ToString::to_string),
        _ => None,
    };
    if let Some(message) = newer {
        return Failure { code: Code::Configuration, message, help: None }.into();
    }
    let causes = error.causes();
    let message = if causes.is_empty() { error.to_string() } else { format!("{error}: {causes}") };
    failure(code, message, help)
}
