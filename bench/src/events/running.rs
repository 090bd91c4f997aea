//! A store that runs already, such as the one of a deployment: the same writes as of
//! a store of our own, over its network and on its disk, and every acknowledged event
//! asked for afterwards (row FLY-026). What was written stays until its time is over.

use std::collections::HashSet;
use std::net::SocketAddr;

use anyhow::{Context, ensure};
use client::events::{EventStore, Signer};
use kit::{Chance, Clock};
use wire::id::EventId;
use wire::signature::Key;

use super::Arguments;
use super::case::{CASES, System};
use super::comparison::{self, Run};
use super::http::Http;
use super::runs::Generator;
use super::store::PAGE;
use crate::report::Report;

/// Who signs, where an event store expects it.
const SECRET: &str = "FLY_EVENT_SECRET";

/// The store that listens at a URL.
struct Running {
    address: SocketAddr,
    protocol: Http,
    client: EventStore,
}

/// Measures every case on the store at the URL.
pub(crate) async fn measure(
    url: &str,
    arguments: &Arguments,
    generator: &Generator<'_>,
    report: &mut Report,
) -> anyhow::Result<()> {
    let store = Running::find(url).await?;
    report.say(&format!("writing to {url}; what is written stays there until the store deletes it by its rules"));
    let mut runs = Vec::new();
    for round in 0..arguments.rounds {
        for case in CASES.into_iter().filter(|case| super::is_wanted(&arguments.connections, &case.connections)) {
            let from = store.head().await?;
            let (mut acknowledged, mut refusal) = (HashSet::new(), None);
            let outcome = generator.load(&store.protocol, store.address, case, |records, outcome| {
                acknowledged.extend(records.iter().take(outcome.sent * case.batch).map(|record| record.id));
                refusal = refusal.take().or_else(|| outcome.refusal.clone());
            })?;
            ensure!(refusal.is_none(), "the store refused an event: {}", refusal.unwrap_or_default());
            store.holds(acknowledged, from).await?;
            let run =
                Run { round, case, system: System::Store, label: url.to_owned(), speed: outcome.speed(case.batch) };
            report.say(&format!("round {round}, {}: {:.0}/s", case.name, run.speed.per_second));
            report.row(&run)?;
            runs.push(run);
        }
    }
    let lines = comparison::lines(&runs);
    for line in &lines {
        report.row(line)?;
    }
    Ok(report.print(&comparison::table(&lines))?)
}

impl Running {
    async fn find(url: &str) -> anyhow::Result<Self> {
        let authority = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let authority = authority.filter(|authority| !authority.contains('/'));
        let authority = authority
            .context("--url names a store on a private network, such as http://bifrost-events.internal:3000")?;
        let found = tokio::net::lookup_host(authority).await.ok().and_then(|mut found| found.next());
        let address = found.with_context(|| format!("{authority} cannot be looked up; give HOST:PORT"))?;
        let mut vars = kit::Vars::from_process();
        let secret = vars.required::<String>(SECRET);
        vars.finish()?;
        let key = Key::parse(&secret.unwrap_or_default()).context(SECRET)?;
        let signer = Signer { key: key.clone(), key_id: None, clock: Clock::system(), chance: Chance::system() };
        let client = EventStore::new(&format!("http://{authority}"), signer);
        client.ready().await.with_context(|| format!("the store at {url} is not ready"))?;
        Ok(Self { address, protocol: Http { key, clock: Clock::system() }, client })
    }

    /// The place of its last event.
    async fn head(&self) -> anyhow::Result<u64> {
        Ok(self.client.head().await.context("cannot ask for the last event; is FLY_EVENT_SECRET the store's?")?.seq)
    }

    /// Reads what came after the place, others' events too, and checks that each of these is there once.
    async fn holds(&self, mut acknowledged: HashSet<EventId>, from: u64) -> anyhow::Result<()> {
        let (mut after, all) = (from, acknowledged.len());
        let mut seen = HashSet::with_capacity(all);
        while !acknowledged.is_empty() {
            let page = self.client.feed(after, PAGE).await.context("cannot read what was stored")?;
            let Some(last) = page.events.last() else { break };
            after = last.seq;
            for event in &page.events {
                ensure!(seen.insert(event.id), "the event {} is stored twice", event.id);
                acknowledged.remove(&event.id);
            }
        }
        ensure!(acknowledged.is_empty(), "{} of {all} acknowledged events are lost", acknowledged.len());
        Ok(())
    }
}
