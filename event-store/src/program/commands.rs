//! What an operator does with a log's files, as commands: of `bifrost-events`, and of
//! `bifrost events`. Each reads its arguments, has [`crate::archive`] do the work, and says
//! what came of it, for a person or as JSON.

use std::fs;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::json;
use wire::event::{Link, SignedHead};
use wire::id::TaskId;
use wire::signature::Key;

use super::failure::{Failure, Trouble};
use super::screen::Screen;
use crate::archive::{self, Damage, Error, Format, Partial, Plan, Report, Selected, Wanted};
use crate::log::{DATABASE, Head};

/// What every command is handed.
#[derive(Debug, Clone)]
pub struct Operation {
    /// The event store's data directory.
    pub data: PathBuf,
    /// The secrets that heads may be signed with; without any, signatures are not checked.
    pub secrets: Vec<Key>,
    /// Whether results are written as JSON.
    pub is_json: bool,
}

/// `verify`
#[derive(Debug, Clone, clap::Args)]
pub struct Verify {
    /// A backup to verify instead of the log in the data directory
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Only what came after a head that was saved, which the log must contain
    #[arg(long, value_name = "FILE", conflicts_with_all = ["after", "heads"])]
    since_head: Option<PathBuf>,
    /// Only what came after this event
    #[arg(long, value_name = "SEQ", requires = "link", conflicts_with = "heads")]
    after: Option<u64>,
    /// The link of that event, as a head tells it
    #[arg(long, value_name = "HEX", requires = "after")]
    link: Option<Link>,
    /// A head that was saved and that the log must contain; may be given several times
    #[arg(long = "head", value_name = "FILE")]
    heads: Vec<PathBuf>,
    /// Leave out the check of every page and index
    #[arg(long)]
    quick: bool,
}

/// `backup`
#[derive(Debug, Clone, clap::Args)]
pub struct Backup {
    /// The file to make
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// `restore`
#[derive(Debug, Clone, clap::Args)]
pub struct Restore {
    /// The backup
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// `export`
#[derive(Debug, Clone, clap::Args)]
pub struct Export {
    /// How to write the events
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "ndjson")]
    format: Format,
    /// Only events of this task
    #[arg(long, value_name = "ID")]
    task: Option<TaskId>,
    /// Only events of this type, such as execution.log
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only events that happened at this time or later, such as 2026-11-21T05:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    since: Option<DateTime<Utc>>,
    /// Only events that happened before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    until: Option<DateTime<Utc>>,
    /// Only events behind this place in the log
    #[arg(long, value_name = "SEQ", default_value_t = 0)]
    after: u64,
    /// The file to make; - is standard output
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    output: PathBuf,
}

/// `migrate`
#[derive(Debug, Clone, clap::Args)]
pub struct Migrate {
    /// The schema version that the older program knows; its error message says which
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u32).range(1..))]
    to: u32,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

fn parse_time(text: &str) -> Result<DateTime<Utc>, String> {
    text.parse().map_err(|_| "expected a time such as 2026-11-21T05:00:00Z (RFC 3339)".into())
}

/// Does the work on a thread of its own. SIGINT and SIGTERM end it early, with nothing left behind.
pub async fn carry_out(
    work: impl FnOnce(&Arc<AtomicBool>) -> Result<(), Failure> + Send + 'static,
) -> Result<(), Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut working = tokio::task::spawn_blocking({
        let stop = stop.clone();
        move || work(&stop)
    });
    tokio::select! {
        done = &mut working => return done.expect("a command does not panic"),
        () = kit::tasks::termination() => stop.store(true, Ordering::Relaxed),
    }
    working.await.expect("a command does not panic")
}

impl Verify {
    /// Verifies the log or a backup.
    pub fn run(&self, operation: &Operation, stop: &Arc<AtomicBool>) -> Result<(), Failure> {
        let path = self.file.clone().unwrap_or_else(|| operation.data.join(DATABASE));
        let screen = Screen::new(operation.is_json);
        let wanted = self.wanted(operation, &screen)?;
        let report = screen.watched(stop, |watch| archive::verify(&path, &wanted, watch))?;
        let Report { events, head, damage } = report;
        if operation.is_json {
            let first = damage.as_ref().and_then(Damage::seq);
            let detail = damage.as_ref().map(ToString::to_string);
            screen.json(&json!({
                "verified": damage.is_none(), "events": events, "head": HeadView::from(head),
                "damage": damage.as_ref().map(|damage| json!({ "seq": first, "detail": detail, "found": damage })),
            }))?;
        }
        match damage {
            Some(damage) => Err(Error::Damaged { path, damage }.into()),
            None if operation.is_json => Ok(()),
            None => screen.line(&format!("verified {}, up to {}", count(events), shown(head))),
        }
    }

    fn wanted(&self, operation: &Operation, screen: &Screen) -> Result<Wanted, Failure> {
        let read = |path: &PathBuf| read_head(path, operation, screen);
        let since = match (&self.since_head, self.after.zip(self.link)) {
            (Some(path), _) => Some(read(path)?),
            (None, Some((seq, link))) => Some(Head { seq, link: link.into() }),
            (None, None) => None,
        };
        let heads = self.heads.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Wanted { since, heads, with_pages: !self.quick })
    }
}

impl Backup {
    /// Backs the log up, beside a running store.
    pub fn run(&self, operation: &Operation, stop: &Arc<AtomicBool>) -> Result<(), Failure> {
        let screen = Screen::new(operation.is_json);
        let report = screen.watched(stop, |watch| archive::backup(&operation.data, &self.file, watch))?;
        told(&screen, operation, "backed up", &self.file, &report)
    }
}

impl Restore {
    /// Restores a backup into a data directory without a log.
    pub fn run(&self, operation: &Operation, stop: &Arc<AtomicBool>) -> Result<(), Failure> {
        let screen = Screen::new(operation.is_json);
        let report = screen.watched(stop, |watch| archive::restore(&self.file, &operation.data, watch))?;
        told(&screen, operation, "restored", &operation.data, &report)
    }
}

impl Export {
    /// Writes events for other programs.
    pub fn run(&self, operation: &Operation, stop: &Arc<AtomicBool>) -> Result<(), Failure> {
        let screen = Screen::new(operation.is_json);
        let is_standard_output = self.output == Path::new("-");
        let exported = screen.watched(stop, |watch| {
            let selected = Selected {
                task: self.task,
                kind: self.kind.clone(),
                since: self.since,
                until: self.until,
                after: self.after,
            };
            let export = |out: &mut dyn Write| archive::export(&operation.data, &selected, self.format, out, watch);
            if is_standard_output {
                return export(&mut BufWriter::new(io::stdout().lock()));
            }
            let partial = Partial::new(&self.output)?;
            let exported = export(&mut BufWriter::new(partial.writer()))?;
            partial.install()?;
            Ok(exported)
        })?;
        if exported.joined > 0 {
            screen.say(&format!("{} had line breaks between tokens, which are blanks now", count(exported.joined)));
        }
        match (is_standard_output, operation.is_json) {
            (true, _) => Ok(()),
            (false, true) => screen.json(&json!({
                "file": self.output, "events": exported.events, "seen": exported.seen, "joined": exported.joined,
            })),
            (false, false) => screen.line(&format!(
                "exported {} to {}; go on later with --after {}",
                count(exported.events),
                self.output.display(),
                exported.seen
            )),
        }
    }
}

impl Migrate {
    /// Takes the database back to an older schema.
    pub fn run(&self, operation: &Operation, stop: &Arc<AtomicBool>) -> Result<(), Failure> {
        let screen = Screen::new(operation.is_json);
        let plan = screen.watched(stop, |watch| {
            archive::migrate(&operation.data, self.to, watch, |plan| self.confirm(plan, &screen, stop))
        })?;
        if operation.is_json {
            return screen.json(&json!({ "from": plan.from, "to": plan.to, "lost": plan.losses }));
        }
        screen.line(&format!("the database has schema version {} (it had {})", plan.to, plan.from))
    }

    fn confirm(&self, plan: &Plan, screen: &Screen, stop: &AtomicBool) -> Result<(), Error> {
        screen.say(&format!("going back from schema version {} to {} loses:", plan.from, plan.to));
        plan.losses.iter().for_each(|loss| screen.say(&format!("  {loss}")));
        let is_confirmed = self.yes || (io::stdin().is_terminal() && screen.asks("go on?", stop));
        if is_confirmed { Ok(()) } else { Err(Error::Unconfirmed) }
    }
}

/// A head that somebody kept, whose signature is checked where that is possible.
fn read_head(path: &PathBuf, operation: &Operation, screen: &Screen) -> Result<Head, Failure> {
    let shown = path.display();
    let read = || -> anyhow::Result<SignedHead> { Ok(serde_json::from_slice(&fs::read(path)?)?) };
    let kept = read().with_context(|| format!("{shown} is no saved head"));
    let kept =
        kept.map_err(|cause| Failure::new(Trouble::Usage, cause, "save one with: bifrost events head --save FILE"))?;
    if operation.secrets.is_empty() {
        screen.say(&format!("the signature of {shown} is not checked: FLY_EVENT_SECRET is not set"));
    } else if !operation.secrets.iter().any(|secret| kept.is_signed_by(secret)) {
        let cause = anyhow::anyhow!("the head in {shown} was not signed with this event store's secret");
        let help = "check FLY_EVENT_SECRET and FLY_EVENT_SECRET_PREVIOUS; if they are right, the file was changed";
        return Err(Failure::new(Trouble::Damaged, cause, help));
    }
    Ok(Head { seq: kept.seq, link: kept.link.into() })
}

fn told(screen: &Screen, operation: &Operation, done: &str, place: &Path, report: &Report) -> Result<(), Failure> {
    let Report { events, head, .. } = *report;
    if operation.is_json {
        return screen.json(&json!({ "file": place, "events": events, "head": HeadView::from(head) }));
    }
    screen.line(&format!("{done} {} to {}, up to {}", count(events), place.display(), shown(head)))
}

#[derive(Serialize)]
struct HeadView {
    seq: u64,
    link: Link,
}

impl From<Head> for HeadView {
    fn from(head: Head) -> Self {
        Self { seq: head.seq, link: head.link.into() }
    }
}

fn shown(head: Head) -> String {
    format!("event {} with link {}", head.seq, Link::from(head.link))
}

fn count(events: u64) -> String {
    if events == 1 { "1 event".into() } else { format!("{events} events") }
}
