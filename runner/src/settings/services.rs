//! What runs beside a command: started before it, ended after it, each in a process
//! group of its own.

use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kit::process::Sig;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wire::event::Stream;
use wire::execution::Failure;

use super::{FILE, Service, Settings};
use crate::dependencies;
use crate::isolation::Openings;
use crate::process::{self, Bounds, Group, Kept};
use crate::record::Story;
use crate::room::Room;
use crate::setup::NotReady;

/// How long a service may take until it can be used, where nothing is said.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// Between two questions whether it can be.
const BEAT: Duration = Duration::from_millis(100);
/// How long the last words of one that has ended are waited for.
const LINGER: Duration = Duration::from_millis(500);
/// What of each of its streams is kept, for the log of an execution that it fails.
const OUTPUT_BYTES: usize = 64 * 1024;
/// As much of what is said by the command that asks whether it can be used.
const ANSWER_BYTES: usize = 4 * 1024;

/// How long those are watched together that nobody can ask: most that cannot run at all have ended by then.
const GLANCE: Duration = Duration::from_millis(200);

/// The services of one execution. They are killed when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Services(Vec<Running>);

/// A service that was started.
#[derive(Debug)]
struct Running {
    name: String,
    child: Child,
    group: Group,
    said: [Said; 2],
    tails: [JoinHandle<()>; 2],
}

/// The end of what a service said on one stream.
type Said = Arc<Mutex<Kept>>;

/// Starts the services one after the other, each when the one before it can be used, where that can be asked. All of them
/// are there then.
pub(crate) async fn start(
    room: &Room,
    story: &mut Story,
    settings: &Settings,
    environment: &BTreeMap<String, String>,
    openings: &Openings,
) -> Result<Services, NotReady> {
    let mut services = Services::default();
    let mut watched_until = Instant::now();
    for (name, service) in &settings.services {
        let words = service.command.get_ref();
        let walled = room.isolation.walled(words, environment, openings);
        let mut child = walled
            .and_then(|mut command| command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn())
            .map_err(|error| {
                fault(
                    name.get_ref(),
                    &format!("cannot be started ({:?}: {error}); install it on the machine", words[0]),
                )
            })?;
        let said = [Said::default(), Said::default()];
        let tails = [
            room.background.listen(tail(child.stdout.take(), said[0].clone())),
            room.background.listen(tail(child.stderr.take(), said[1].clone())),
        ];
        let group = Group::of(&child);
        services.0.push(Running { name: name.get_ref().clone(), child, group, said, tails });
        let Some(ready) = &service.ready else {
            watched_until = Instant::now() + GLANCE;
            continue;
        };
        let ready = (ready.get_ref().as_slice(), patience(service));
        if let Err(unusable) = services.wait(room, story, ready, environment, openings).await? {
            return Err(services.given_up(story, unusable).await);
        }
    }
    tokio::time::sleep_until(watched_until).await;
    match services.first_ended() {
        Some(unusable) => Err(services.given_up(story, unusable).await),
        None => Ok(services),
    }
}

fn fault(name: &str, how: &str) -> NotReady {
    NotReady::failed(Failure::SetUpStepFailed, format!("the service {name} ({FILE}, services.{name}) {how}"))
}

fn ended(status: ExitStatus) -> String {
    format!(
        "ended with {status} before the command began; what it said is in the log, and it must stay in the foreground \
         for as long as it is needed"
    )
}

fn patience(service: &Service) -> Duration {
    service.timeout_seconds.as_ref().map_or(PATIENCE, |seconds| Duration::from_secs(*seconds.get_ref()))
}

async fn tail(stream: Option<impl AsyncRead + Unpin>, said: Said) {
    let Some(mut stream) = stream else { return };
    let mut buffer = vec![0; 4096];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.bytes.extend_from_slice(&buffer[..length]);
        let surplus = said.bytes.len().saturating_sub(OUTPUT_BYTES);
        said.bytes.drain(..surplus);
        said.is_cut |= surplus > 0;
    }
}

/// A service that cannot be used.
struct Unusable {
    place: usize,
    how: String,
    /// What was said last by the command that asked whether it can be.
    answer: Option<[Kept; 2]>,
}

/// What a command that asks has said, each stream to the end of a line; nothing where that is nothing.
fn answer(said: [Kept; 2]) -> Option<[Kept; 2]> {
    let said = said.map(|mut kept| {
        if kept.bytes.last().is_some_and(|last| *last != b'\n') {
            kept.bytes.push(b'\n');
        }
        kept
    });
    said.iter().any(|kept| !kept.bytes.is_empty()).then_some(said)
}

impl Services {
    /// Waits until the one that was started last can be used, as these words say, and for so long; says what cannot be.
    async fn wait(
        &mut self,
        room: &Room,
        story: &Story,
        (words, patience): (&[String], Duration),
        environment: &BTreeMap<String, String>,
        openings: &Openings,
    ) -> Result<Result<(), Unusable>, NotReady> {
        let last = self.0.len() - 1;
        let deadline = Instant::now() + patience;
        let mut heard = None;
        loop {
            let bounds = Bounds { within: deadline.saturating_duration_since(Instant::now()), keep: ANSWER_BYTES };
            let asked = super::run(room, words, environment, openings, bounds, story.orders()).await;
            // Whatever answers then is another, and what waits for one that has ended waits in vain.
            if let Some(ended) = self.first_ended() {
                return Ok(Err(ended));
            }
            match asked {
                Ok(output) if output.status.success() => return Ok(Ok(())),
                Err(process::RunError::Halted(halt)) => return Err(NotReady::Halted(halt)),
                Err(process::RunError::Io(error)) => {
                    let how = format!("cannot be asked ({:?}: {error})", words[0]);
                    return Ok(Err(Unusable { place: last, how, answer: None }));
                }
                Ok(output) => heard = answer([output.stdout, output.stderr]).or(heard),
                // The last one is often cut short, and the one before it has said more.
                Err(process::RunError::TimedOut { said, .. }) => heard = heard.or_else(|| answer(*said)),
            }
            if Instant::now() + BEAT > deadline {
                let log = "what it and its ready command said is in the log";
                let how =
                    format!("could not be used after {patience:?}; {log}, or give it longer with its timeout_seconds");
                return Ok(Err(Unusable { place: last, how, answer: heard }));
            }
            tokio::time::sleep(BEAT).await;
        }
    }

    /// One that could be used may have ended while others came up.
    fn first_ended(&mut self) -> Option<Unusable> {
        let mut all = self.0.iter_mut().enumerate();
        all.find_map(|(place, service)| {
            let how = ended(service.child.try_wait().ok()??);
            Some(Unusable { place, how, answer: None })
        })
    }

    /// Ends them all for what is wrong with one, and logs what was said of that one and by it.
    async fn given_up(mut self, story: &mut Story, unusable: Unusable) -> NotReady {
        let Unusable { place, how, answer } = unusable;
        let Running { name, child, group, said, tails } = self.0.remove(place);
        drop((self, child, group));
        // Ended, so that it says no more.
        for tail in tails {
            drop(tokio::time::timeout(LINGER, tail).await);
        }
        let said = said.map(|said| std::mem::take(&mut *said.lock().unwrap_or_else(PoisonError::into_inner)));
        if let Some(answer) = answer {
            let whose = format!("bifrost: what the ready command of the service {name} said last:\n");
            story.log(Stream::Stderr, whose.into_bytes()).await;
            dependencies::log(story, answer.each_ref()).await;
            if said.iter().any(|kept| !kept.bytes.is_empty()) {
                let whose = format!("bifrost: what the service {name} said:\n");
                story.log(Stream::Stderr, whose.into_bytes()).await;
            }
        }
        dependencies::log(story, said.each_ref()).await;
        fault(&name, &how)
    }

    /// Ends them: asks, waits for as long as a command is waited for, and kills.
    pub(crate) async fn end(mut self, grace: Duration) {
        self.0.iter().for_each(|service| service.group.signal(Sig::SIGTERM));
        let all = async {
            for service in &mut self.0 {
                // One that cannot be waited for is killed all the same.
                drop(service.child.wait().await);
            }
        };
        drop(tokio::time::timeout(grace, all).await);
    }
}
