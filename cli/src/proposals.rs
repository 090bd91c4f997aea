//! `bifrost proposals`: looks for work in trackers and repositories, and lets a person decide what becomes of it
//! (row FR-18).

mod git;
mod github;
mod sentry;
mod sources;

use std::path::Path;
use std::time::Duration;

use kit::http::Proxies;
use serde_json::json;
use wire::id::TaskId;
use wire::limit::{BODY_BYTES, DESCRIPTION_CHARS, TASKS_PER_BATCH, TITLE_CHARS};
use wire::proposal::{NewProposal, NewProposals, ProposalView, Proposed};

use crate::args::ProposalsCommand;
use crate::connect::Server;
use crate::count::counted;
use crate::duration::show_age;
use crate::exit::{Code, failure};
use crate::invocation::Invocation;
use crate::output::one_line;
use crate::table;
use crate::tasks::import;
use sources::{Place, Source, Sources};

/// For one call of a tracker.
const WITHIN: Duration = Duration::from_secs(30);

/// Something that somebody could work on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    /// What it is known as there.
    source: String,
    title: String,
    text: String,
    tags: Vec<String>,
    /// Its page, where it has one.
    url: Option<String>,
}

/// Carries out one of the commands.
pub(crate) async fn run(invocation: &Invocation, command: &ProposalsCommand) -> anyhow::Result<()> {
    match command {
        ProposalsCommand::List => list(invocation).await,
        ProposalsCommand::Scan { file, dry_run: true, .. } => {
            let found = look(invocation, &read(invocation, file)?).await;
            show_found(invocation, &found.proposals)?;
            found.complain()
        }
        ProposalsCommand::Scan { file, every: None, .. } => scan(invocation, &read(invocation, file)?).await,
        ProposalsCommand::Scan { file, every: Some(pause), .. } => {
            let sources = read(invocation, file)?;
            loop {
                // What fails now may go well the next time.
                if let Err(error) = scan(invocation, &sources).await {
                    invocation.output.warn(&format!("{error:#}"));
                }
                tokio::time::sleep(Duration::from_secs(*pause)).await;
            }
        }
        ProposalsCommand::Accept { ids } => accept(invocation, ids).await,
    }
}

fn read(invocation: &Invocation, file: &Path) -> anyhow::Result<Sources> {
    let text = import::read(file, "name a file of TOML, or - for standard input")?;
    Sources::read(&text, &invocation.vars).map_err(|complaint| {
        let message = format!("{}: {complaint}", file.display());
        failure(Code::Data, message, "`bifrost proposals scan --help` shows a file; nothing was looked at")
    })
}

/// What was found in all places, and where it was not possible to look.
#[derive(Debug, Default)]
struct Findings {
    proposals: Vec<NewProposal>,
    troubles: Vec<String>,
}

impl Findings {
    fn complain(self) -> anyhow::Result<()> {
        match self.troubles.is_empty() {
            true => Ok(()),
            false => {
                let cure = "what was found elsewhere is not lost; mend it, and scan again";
                Err(failure(Code::Unavailable, self.troubles.join("; "), cure))
            }
        }
    }
}

/// Looks everywhere. What goes wrong in one place is no matter of the others.
async fn look(invocation: &Invocation, sources: &Sources) -> Findings {
    let mut findings = Findings::default();
    for source in &sources.sources {
        match look_into(invocation, source).await {
            Ok(found) => findings.proposals.extend(found.iter().map(|one| proposal(one, source))),
            Err(error) => findings.troubles.push(format!("{}: {error:#}", source.place)),
        }
    }
    // Two places may overlap.
    let mut known = std::collections::BTreeSet::new();
    findings.proposals.retain(|one| known.insert(one.source.clone()));
    findings
}

async fn look_into(invocation: &Invocation, source: &Source) -> anyhow::Result<Vec<Found>> {
    let proxies = Proxies::of(|name| invocation.vars.text(name));
    let http = kit::http::client_through(WITHIN, proxies)?;
    match &source.place {
        Place::Github(asked) => github::look(http, asked, &invocation.chance).await,
        Place::Sentry(asked) => sentry::look(http, asked, &invocation.chance).await,
        Place::Git(asked) => git::look(asked).await,
    }
}

/// The task that something found is to be.
fn proposal(found: &Found, source: &Source) -> NewProposal {
    let title = cut(&one_line(found.title.trim()), TITLE_CHARS);
    let page = found.url.as_ref().map(|url| format!("\n\n{url}")).unwrap_or_default();
    let room = DESCRIPTION_CHARS - page.chars().count();
    // What Postgres cannot keep is nobody's words.
    let text: String = found.text.chars().filter(|c| *c != '\0').collect();
    let description = format!("{}{page}", cut(text.trim(), room)).trim().to_owned();
    let mut proposal = source.task.proposal(&title, &description);
    proposal.source = cut(&one_line(&found.source), wire::limit::SOURCE_CHARS);
    let tags = found.tags.iter().map(|tag| cut(tag.trim(), wire::limit::TAG_CHARS)).filter(|tag| !tag.is_empty());
    proposal.tags.extend(tags);
    proposal.tags.sort();
    proposal.tags.dedup();
    proposal.metadata.extend(found.url.clone().map(|url| ("source_url".to_owned(), url)));
    proposal
}

fn cut(text: &str, chars: usize) -> String {
    if text.chars().count() <= chars {
        return text.to_owned();
    }
    text.chars().take(chars - 1).chain(['…']).collect()
}

async fn scan(invocation: &Invocation, sources: &Sources) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    let mut found = look(invocation, sources).await;
    let mut proposed: Vec<Proposed> = Vec::new();
    for proposals in batches(std::mem::take(&mut found.proposals)) {
        let new = NewProposals { proposals };
        match server.ask(async |control| control.propose(&new).await).await {
            Ok(told) => proposed.extend(told),
            // What is wrong with some is no matter of the others.
            Err(error) => found.troubles.push(format!("{error:#}")),
        }
    }
    let output = invocation.output;
    let new: Vec<&Proposed> = proposed.iter().filter(|one| one.is_new).collect();
    if output.is_json {
        output.json(&proposed)?;
    } else {
        let row = |one: &&Proposed| vec![one.task_id.to_string(), one_line(&one.source)];
        if !new.is_empty() {
            output.line(&table::render(&["TASK", "SOURCE"], new.iter().map(row).collect(), output.stdout()))?;
        }
        let found = counted(proposed.len(), "thing is", "things are");
        output.say(&format!("{found} to be done, {} of them new", new.len()));
    }
    found.complain()
}

/// As many in one request as the server takes.
fn batches(proposals: Vec<NewProposal>) -> Vec<Vec<NewProposal>> {
    let mut batches: Vec<Vec<NewProposal>> = Vec::new();
    let mut bytes = 0;
    for one in proposals {
        let size = serde_json::to_vec(&one).map_or(0, |text| text.len());
        let is_full = bytes + size > BODY_BYTES / 2 || batches.last().is_none_or(|last| last.len() == TASKS_PER_BATCH);
        if is_full {
            batches.push(Vec::new());
            bytes = 0;
        }
        bytes += size;
        batches.last_mut().expect("there is one").push(one);
    }
    batches
}

fn show_found(invocation: &Invocation, found: &[NewProposal]) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(&found);
    }
    if found.is_empty() {
        output.say("nothing is found");
        return Ok(());
    }
    let row = |one: &NewProposal| vec![one_line(&one.source), one.title.clone()];
    Ok(output.line(&table::render(&["SOURCE", "TITLE"], found.iter().map(row).collect(), output.stdout()))?)
}

async fn list(invocation: &Invocation) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    let proposals = server.ask(async |control| control.proposals().await).await?;
    let (output, now) = (invocation.output, invocation.clock.now());
    if output.is_json {
        return output.json(&proposals);
    }
    if proposals.is_empty() {
        output.say("nothing is proposed");
        return Ok(());
    }
    let row = |one: &ProposalView| {
        let (id, since) = (one.task.id.to_string(), show_age(now, one.task.created_at));
        vec![id, one.task.priority.get().to_string(), since, one_line(&one.source), one.task.title.clone()]
    };
    let rows = proposals.iter().map(row).collect();
    Ok(output.line(&table::render(&["TASK", "PRIORITY", "SINCE", "SOURCE", "TITLE"], rows, output.stdout()))?)
}

async fn accept(invocation: &Invocation, ids: &[TaskId]) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    for id in ids {
        // Not asked twice: after a lost answer the second would find no proposal.
        server.control.accept(*id).await.map_err(|error| server.explain(error))?;
        let output = invocation.output;
        match output.is_json {
            true => output.json(&json!({ "id": id }))?,
            false => output.line(&format!("{id} accepted"))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
