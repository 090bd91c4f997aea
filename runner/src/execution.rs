//! One lease from its beginning to its end: clone, dependencies, the command,
//! checkpoint. Tells the story as it goes; `execution.finished` is its last word.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kit::tasks::blocking;
use tokio::time::Instant;
use wire::event::{IsolationPayload, Stream, kind};
use wire::execution::{Cache, Failure, Outcome, Phase};
use wire::id::ExecutionId;
use wire::pull_request::{PullRequest, PullRequestSpec};
use wire::task::{FieldError, TaskSpec};
use wire::worker::{Completion, Lease, repository_name};

use crate::agent;
use crate::agent::sessions::{self, Brought};
use crate::channel::{self, Channel};
use crate::checkpoint::format::Manifest;
use crate::checkpoint::{self, CheckpointError, CheckpointPayload};
use crate::command::environment::{self, Surroundings};
use crate::command::redaction::Secrets;
use crate::command::{self, Job};
use crate::dependencies::{self, Ready};
use crate::disk::{self, Gauge};
use crate::git::{GitError, complaint};
use crate::health;
use crate::isolation::Openings;
use crate::memory;
use crate::mirror::{self, Obtained, Told};
use crate::orders::{Commander, Halt, Orders};
use crate::pull_request::{self, NotProposed};
use crate::record::{Begun, Story, Subject};
use crate::relief;
use crate::room::Room;
use crate::settings::services::{self, Services};
use crate::settings::{self, Settings};
use crate::setup::NotReady;
use crate::workspace::former::{self, Former};
use crate::workspace::{self, CheckoutError, Marker, Paths};

pub(crate) mod end;
pub(crate) mod running;
use end::End;
use running::Ran;

/// What is shown of a path that is too long.
const REASON_CHARS_MAX: usize = 400;

/// Carries the lease out. Nothing comes back when the lease was lost: then nothing may be said.
pub(crate) async fn carry_out(room: &Arc<Room>, lease: &Lease, orders: Orders) -> Option<Completion> {
    let room = &Arc::new(room.in_the_name_of(lease));
    let subject = Subject { task_id: lease.task_id, execution_id: lease.execution_id };
    let (keeper, orders) = orders.looked_after();
    let mut story = Story::new(room.recorder.clone(), subject, orders);
    let mut commit = None;
    let (mut used, mut busy_seconds) = (None, None);
    let (mut tests, mut checkpoint, mut pull_request) = (None, None, None);
    let ended = AtomicU64::new(0);
    let worked = tokio::select! {
        worked = work(room, &mut story, &keeper, &lease.spec, &mut commit) => worked,
        () = memory::watch(room.isolation.watched_bytes, subject.execution_id, &ended) => {
            unreachable!("it watches for as long as it is let")
        }
    };
    let memory_bytes = room.isolation.payload().memory_bytes;
    let want = |starved: u64| end::want_of_memory(starved + ended.load(Ordering::Relaxed), memory_bytes);
    let end = match worked {
        Ok(Done { ran: Ran { ended, heard, report }, saved, busy, starved, session }) => {
            (tests, busy_seconds) = (report, busy.map(|busy| busy.as_secs()));
            checkpoint = saved.as_ref().and_then(|manifest| checkpoint::summary(&room.volume, manifest).ok());
            let end = match heard {
                None => End::of_command(ended, &lease.spec)?,
                Some(heard) => {
                    story.tell(kind::AGENT_REPORT, &heard.report).await;
                    used = Some((heard.tokens(), heard.report.cost_dollars.clone()));
                    let saved = saved.as_ref().map(|manifest| manifest.checkpoint_id);
                    let end = End::of_agent(ended, &heard, &lease.spec)?.unanswered(&heard.report, saved);
                    end.without_its_session(session.missing)
                }
            };
            let want = want(starved);
            let end = end.and(tests.as_ref()).starved(want.as_deref());
            if let Some(want) = want.filter(|_| end.outcome != Outcome::Failed) {
                story.log(Stream::Stderr, format!("bifrost: {want}\n").into_bytes()).await;
            }
            match &lease.spec.pull_request {
                Some(asked) if end.outcome == Outcome::Succeeded => {
                    let proposed = propose(room, &mut story, asked, &lease.spec, saved.as_ref()).await;
                    end.proposed(proposed, &mut pull_request)?
                }
                _ => end,
            }
        }
        Err(reason) => {
            let own = room.clone();
            // Nothing ran in it, so nothing is lost with it.
            let (starved, discarded) = blocking(move || {
                let starved = own.isolation.disband(&own.volume.execution(subject.execution_id));
                (starved, workspace::discard(&own, subject.execution_id))
            })
            .await;
            if let Err(error) = discarded {
                tracing::warn!("the workspace of {} cannot be removed: {error}", subject.execution_id);
            }
            End::of_setup(reason)?.starved(want(starved).as_deref())
        }
    };
    story.tell(kind::EXECUTION_FINISHED, &end.payload()).await;
    if story.orders().standing() == Some(Halt::LeaseLost) {
        return None;
    }
    let (tokens, cost_dollars) = used.unzip();
    Some(Completion {
        fence: lease.fence,
        outcome: end.outcome,
        exit: end.exit,
        failure: end.failure,
        message: end.message,
        commit,
        phases: story.phases(),
        tokens,
        cost_dollars: cost_dollars.flatten(),
        checkpoint,
        tests,
        pull_request,
        busy_seconds,
    })
}

/// A workspace that is ready.
struct Prepared {
    paths: Paths,
    obtained: Obtained,
    /// Of the checkpoint that it begins from, for its marker.
    begun: Option<String>,
    settings: Settings,
    ready: Ready,
    /// What is here of the session that the agent is to go on with.
    session: Brought,
    /// That of the dependencies, which goes on.
    phase: Begun,
}

/// What an execution came to whose workspace was ready.
struct Done {
    ran: Ran,
    /// The checkpoint of what it left.
    saved: Option<Manifest>,
    /// For how much longer the machine is to stay awake.
    busy: Option<Duration>,
    /// How many of its processes the kernel has ended for want of memory.
    starved: u64,
    session: Brought,
}

async fn work(
    room: &Arc<Room>,
    story: &mut Story,
    keeper: &Commander,
    spec: &TaskSpec,
    commit: &mut Option<String>,
) -> Result<Done, NotReady> {
    spec.validate().map_err(refused)?;
    if let Some(refusal) = room.isolation.refusal() {
        return Err(NotReady::failed(Failure::NotIsolated, refusal));
    }
    let (cleared, keep) = (room.clone(), story.subject().execution_id);
    let failed = |error| NotReady::machine("making room on the volume", &error);
    make_room(room, keep, &spec.repository).await?;
    let free = room.volume.free().map_err(failed)?;
    let phase = story.begin(Phase::Clone).await;
    let former = take_over(room, keep, spec).await;
    // Old workspaces are out of the way before the command starts.
    let clearing = tokio::task::spawn_blocking(move || workspace::clear_others(&cleared, keep));
    let prepared = prepare(room, story, spec, (phase, former), commit).await;
    let unsaved = clearing.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    let mut unsaved = unsaved.map_err(|error| NotReady::machine("removing an old workspace", &error))?;
    let prepared = match prepared {
        Err(reason) => in_more_room(room, story, spec, commit, (reason, free, &mut unsaved)).await,
        ready => ready,
    };
    room.background.empty_trash(room);
    let prepared = prepared?;
    if !unsaved.is_empty() {
        settle(room, keep).await?;
    }
    let volume = room.volume.clone();
    if let Err(error) = blocking(move || volume.take_ballast()).await {
        tracing::warn!("there will be no room to note what a command did that fills the volume: {error}");
    }
    let gauge = room.limits.disk_bytes.map(|limit| Gauge::new(limit, &prepared.paths, room.volume.clone()));
    let (done, marker) = tokio::select! {
        ran = run(room, story, spec, prepared) => ran?,
        () = disk::watch(gauge, keeper) => unreachable!("it watches for as long as it is let"),
    };
    let paths = marker.paths(&room.volume);
    let saved = save(room, story, marker).await;
    if let (Some(heard), Some(agent)) = (&done.ran.heard, &spec.agent) {
        sessions::keep(room, story, agent, &heard.report, &paths, &done.session).await;
    }
    if saved.is_some() {
        give_back_if_full(room, keep).await;
    }
    Ok(Done { saved, ..done })
}

/// Where the volume is nearly full, frees what it can before anything is made: an earlier command may have filled it,
/// and nothing here would ever work again.
async fn make_room(room: &Arc<Room>, keep: ExecutionId, repository: &str) -> Result<(), NotReady> {
    let failed = |error| NotReady::machine("making room on the volume", &error);
    if !room.volume.is_tight().map_err(failed)? {
        return Ok(());
    }
    if room.volume.is_full().map_err(failed)? {
        settle(room, keep).await?;
    }
    let free = room.volume.reserve().map_err(failed)?;
    relief::relieve(room, free, &repository_name(repository)).await.map_err(failed)?;
    let (volume, mark) = (room.volume.clone(), room.mark());
    let relieved = blocking(move || {
        sessions::relieve(&volume, &mark)?;
        volume.relieve_of_damaged()
    });
    for gone in relieved.await.map_err(failed)? {
        health::tell_removed(room, gone).await;
    }
    Ok(())
}

/// Prepares anew what there was no room for, as long as more can be had. `free` is what there was before; what nobody
/// saved is saved and removed for it as well.
async fn in_more_room(
    room: &Arc<Room>,
    story: &mut Story,
    spec: &TaskSpec,
    commit: &mut Option<String>,
    (mut reason, mut free, unsaved): (NotReady, u64, &mut Vec<ExecutionId>),
) -> Result<Prepared, NotReady> {
    let (keep, repository) = (story.subject().execution_id, repository_name(&spec.repository));
    let failed = |error| NotReady::machine("making room on the volume", &error);
    let mut more = room.volume.reserve().map_err(failed)?;
    while more <= room.volume.size().map_err(failed)? && is_for_want_of_room(room, &reason) {
        let cleared = relief::clear_away(room, keep).await.map_err(failed)?;
        if !unsaved.is_empty() {
            settle(room, keep).await?;
            unsaved.clear();
        }
        relief::relieve(room, cleared.saturating_add(more), &repository).await.map_err(failed)?;
        let freed = room.volume.free().map_err(failed)?;
        // What is out of the way since the attempt began counts as well.
        if freed <= cleared && freed <= free {
            break;
        }
        // How much it takes is not known, and each attempt costs a download.
        (free, more) = (freed, more.saturating_mul(2));
        let phase = story.begin(Phase::Clone).await;
        match prepare(room, story, spec, (phase, None), commit).await {
            Err(again) => reason = again,
            ready => return ready,
        }
    }
    Err(reason)
}

/// Where a command has filled the volume, its workspace goes as soon as it is saved: nobody else can work until then, and
/// neither can whoever shares the disk.
async fn give_back_if_full(room: &Arc<Room>, id: ExecutionId) {
    let own = room.clone();
    let given_back = blocking(move || {
        if own.volume.is_full()? {
            workspace::discard(&own, id)?;
            own.volume.empty_trash()?;
        }
        Ok::<_, std::io::Error>(())
    });
    if let Err(error) = given_back.await {
        tracing::warn!("the volume is full, and the workspace of {id} cannot be removed: {error}");
    }
}

/// Git does not always say why it cannot write.
fn is_for_want_of_room(room: &Room, reason: &NotReady) -> bool {
    let NotReady::Failed { failure: Failure::MachineFault, message } = reason else { return false };
    let message = message.to_lowercase();
    let said = ["no space left on device", "no storage space", "disk quota exceeded", "unable to write file"];
    said.iter().any(|words| message.contains(words)) || room.volume.is_tight().unwrap_or(false)
}

/// Saves what an earlier execution left unsaved, and then removes it.
async fn settle(room: &Arc<Room>, keep: ExecutionId) -> Result<(), NotReady> {
    health::settle_others(room, keep).await;
    let room = room.clone();
    let cleared = blocking(move || workspace::clear_others(&room, keep)).await;
    cleared.map(drop).map_err(|error| NotReady::machine("removing an old workspace", &error))
}

/// A specification that the control plane should have refused.
fn refused(error: FieldError) -> NotReady {
    let failure = match error.field {
        "spec.repository" => Failure::RepositoryNotFound,
        "spec.reference" => Failure::UnknownReference,
        _ => Failure::MachineFault,
    };
    NotReady::failed(failure, error.to_string())
}

async fn prepare(
    room: &Arc<Room>,
    story: &mut Story,
    spec: &TaskSpec,
    (phase, former): (Begun, Option<Former>),
    commit: &mut Option<String>,
) -> Result<Prepared, NotReady> {
    let checked_out = check_out(room, story, spec, former).await;
    let (paths, obtained, begun) = end_if_failed(story, &phase, checked_out).await?;
    *commit = Some(obtained.commit.clone());
    // Before anything of the repository's runs there, and could put a link in its way.
    let session = sessions::bring(room, story, spec.agent.as_ref(), &paths).await;
    let session = end_if_failed(story, &phase, session).await?;
    story.end(phase, Some(obtained.cache), Some(obtained.commit.clone())).await;

    let settings = Settings::read(&paths.tree)?;
    let told = [&room.environment, &settings.variables(), &spec.env];
    story.learn(room.secrets.and(&Secrets::new(told.into_iter().flat_map(Secrets::of_environment))));
    settings::checkout::complete(room, story.orders(), &paths, &spec.repository, &settings.checkout).await?;

    let phase = story.begin(Phase::Dependencies).await;
    let terms = settings.terms(&spec.env, room.limits.install);
    let prepared = match settings.setup.dependencies {
        true => dependencies::prepare(room, story, &paths, &terms).await,
        false => Ok(Ready::default()),
    };
    let ready = end_if_failed(story, &phase, prepared).await?;
    Ok(Prepared { paths, obtained, begun, settings, ready, session, phase })
}

/// The repository's own set-up, with which the phase of the dependencies ends.
async fn set_up(
    room: &Room,
    story: &mut Story,
    prepared: &Prepared,
    repository: &str,
    environment: &BTreeMap<String, String>,
    openings: &Openings,
) -> Result<Services, NotReady> {
    let Prepared { paths, settings, ready, phase, .. } = prepared;
    let worked = async {
        settings::caches::put(&room.volume, repository, &paths.tree, &settings.cached())
            .map_err(|error| NotReady::machine("putting cached directories in place", &error))?;
        settings::steps::run(room, story, settings, environment, openings).await?;
        services::start(room, story, settings, environment, openings).await
    };
    let since = Instant::now();
    let worked = worked.await;
    let services = end_if_failed(story, phase, worked).await?;
    let detail: Vec<String> = ready.detail.iter().cloned().chain(settings.told(since.elapsed())).collect();
    let detail = (!detail.is_empty()).then(|| detail.join("; "));
    story.end(*phase, Some(ready.cache.unwrap_or(Cache::Unused)), detail).await;
    Ok(services)
}

async fn end_if_failed<T>(story: &mut Story, phase: &Begun, result: Result<T, NotReady>) -> Result<T, NotReady> {
    if result.is_err() {
        story.end(*phase, None, None).await;
    }
    result
}

/// The repository at its commit, in a workspace, and what its marker is to say of the checkpoint that it begins from. A
/// mirror that turns out damaged is made anew, once.
async fn check_out(
    room: &Arc<Room>,
    story: &Story,
    spec: &TaskSpec,
    former: Option<Former>,
) -> Result<(Paths, Obtained, Option<String>), NotReady> {
    // Of one that is put back in place only what differs is needed, and whether that is there shows then.
    let look = if former.is_some() { checkpoint::read } else { checkpoint::verify };
    let begins_from = spec.checkpoint.map(|id| look(&room.volume, id));
    let begins_from = begins_from.transpose().map_err(|error| gone(&error))?;
    let spec = match &begins_from {
        Some(manifest) if manifest.repository == spec.repository => {
            &TaskSpec { reference: Some(manifest.commit.clone()), ..spec.clone() }
        }
        Some(_) => return Err(gone(&"it is of another repository")),
        None => spec,
    };
    let (mut told, mut is_second) = (Told::ByFiles, false);
    let mut obtained = mirror::obtain(room, story, spec, told).await?;
    if let (Some(manifest), Some(former)) = (&begins_from, former) {
        match Box::pin(begin_in(room, story, manifest, former, &obtained)).await {
            Ok((paths, begun)) => {
                story.tell(kind::CHECKPOINT_RESTORED, &CheckpointPayload::from(manifest).asked().in_place()).await;
                return Ok((paths, obtained, begun));
            }
            Err(error) => tracing::warn!("the workspace of the execution before cannot be gone on with: {error}"),
        }
        checkpoint::verify(&room.volume, manifest.checkpoint_id).map_err(|error| gone(&error))?;
    }
    loop {
        let created = workspace::create(room, story.orders(), story.subject(), &spec.repository, &obtained).await;
        match created {
            Ok(paths) => {
                let Some(manifest) = &begins_from else { return Ok((paths, obtained, None)) };
                let begun = checkpoint::begin_from(room, manifest, &paths).await.map_err(|error| gone(&error))?;
                let payload = CheckpointPayload::from(manifest).asked();
                story.tell(kind::CHECKPOINT_RESTORED, &payload).await;
                return Ok((paths, obtained, begun));
            }
            Err(CheckoutError::Git(GitError::Failed { stderr, .. })) if complaint::blames_commit(&stderr) => {
                return Err(unfit(&spec.repository, &obtained.commit, complaint::telling_line(&stderr)));
            }
            // It may be the remote that said something wrong, and not the mirror.
            Err(CheckoutError::Git(GitError::Failed { .. })) if told == Told::ByFiles => {
                told = Told::ByGit;
                obtained = mirror::obtain(room, story, spec, told).await?;
            }
            Err(CheckoutError::Git(error)) if !is_second && mirror::blames_mirror(&error) => {
                is_second = true;
                obtained = mirror::renew(room, story, spec, &error.to_string()).await?;
            }
            Err(CheckoutError::Git(GitError::Halted(halt))) => return Err(NotReady::Halted(halt)),
            Err(error) => return Err(NotReady::machine("checking the repository out", &error)),
        }
    }
}

/// The workspace of the execution before, where the task's checkpoint is put back into it.
async fn take_over(room: &Arc<Room>, id: ExecutionId, spec: &TaskSpec) -> Option<Former> {
    let (room, spec) = (room.clone(), spec.clone());
    let taken = blocking(move || former::take(&room, id, &spec)).await;
    taken.unwrap_or_else(|error| {
        tracing::warn!("no workspace is taken over: {error}");
        None
    })
}

/// Puts the checkpoint that a task begins from back into the workspace of the execution before.
async fn begin_in(
    room: &Arc<Room>,
    story: &Story,
    manifest: &Manifest,
    former: Former,
    obtained: &Obtained,
) -> Result<(Paths, Option<String>), CheckpointError> {
    let paths = workspace::place(room, story.subject(), &manifest.repository)?;
    let (references, orders) = (obtained.references.packed(), story.orders());
    let begun = checkpoint::rewind::begin_in(room, former, manifest, &paths, &references, orders).await?;
    Ok((paths, begun))
}

/// A commit that no machine can check out. What git says of it may be as long as the path.
fn unfit(repository: &str, commit: &str, reason: &str) -> NotReady {
    let shown: String = reason.chars().take(REASON_CHARS_MAX).collect();
    let rest = if shown.len() < reason.len() { "…" } else { "" };
    let message = format!(
        "the commit {commit} of {repository} cannot be checked out ({shown}{rest}); rename or shorten that path, or \
         name another commit"
    );
    NotReady::failed(Failure::CheckoutFailed, message)
}

/// The checkpoint that a task begins from is of no use.
fn gone(reason: &impl std::fmt::Display) -> NotReady {
    let cure = "begin from another one, or from the repository";
    NotReady::failed(Failure::CheckpointGone, format!("the task cannot begin from its checkpoint: {reason}; {cure}"))
}

async fn run(
    room: &Arc<Room>,
    story: &mut Story,
    spec: &TaskSpec,
    prepared: Prepared,
) -> Result<(Done, Marker), NotReady> {
    let Prepared { paths, obtained, begun, settings, ready, session, .. } = &prepared;
    let own = room.volume.execution(story.subject().execution_id);
    let launch = spec.agent.as_ref().map(|agent| agent::prepare(&room.drivers, &room.keys, agent, &own)).transpose();
    let launch = launch.and_then(|launch| match story.orders().standing() {
        Some(halt) => Err(NotReady::Halted(halt)),
        None => Ok(launch),
    });
    let launch = end_if_failed(story, &prepared.phase, launch).await?;
    let openings = Openings::of(paths, ready.caches.iter().cloned());
    let openings = Openings { formerly: session.earlier.clone(), ..openings };
    // From here on there may be work in the workspace, and the marker says so.
    let mut marker = Marker::new(story.subject(), &spec.repository, &obtained.commit, room.clock.now());
    (marker.cached, marker.push) = (settings.cached(), spec.push_unfinished);
    marker.begun.clone_from(begun);
    marker.title = spec.pull_request.as_ref().and_then(|asked| asked.title.clone());
    marker.write(&room.volume).map_err(|error| NotReady::machine("noting the workspace", &error))?;
    let surroundings = Surroundings {
        tools: &room.environment,
        home: &paths.home,
        temporary: &paths.temporary,
        dependencies: &ready.variables,
        programs: ready.programs.as_deref(),
    };
    let mut own = settings.variables();
    own.extend(spec.env.clone());
    let mut environment = environment::whole(&surroundings, story.subject(), &own);
    if spec.terminal {
        environment.entry("TERM".into()).or_insert_with(|| "xterm-256color".into());
    }
    let channel = Channel::open(&paths.temporary).map_err(|error| NotReady::machine("opening the channel", &error))?;
    let seen = room.isolation.in_temporary(&openings, channel::NAME);
    environment.insert(channel::VARIABLE.into(), seen.to_string_lossy().into_owned());
    let services = set_up(room, story, &prepared, &spec.repository, &environment, &openings).await?;
    let job = Job {
        arguments: spec.command.clone(),
        directory: paths.tree.clone(),
        environment,
        input: None,
        stage: room.stage.clone(),
        has_terminal: spec.terminal,
        signs: channel.signs(),
        isolation: room.isolation.clone(),
        openings,
        secrets: story.secrets().clone(),
        timeout: Duration::from_secs(spec.timeout_seconds()),
        idle_timeout: spec.idle_timeout_seconds.map(Duration::from_secs),
        stall_timeout: spec.stall_timeout_seconds.map(Duration::from_secs),
        grace: room.limits.grace,
        hold: command::HELD_AT_MOST,
        agent_exit: room.limits.agent_exit,
        output_bytes: room.limits.output_bytes,
    };
    room.background.prepare_next(room, &spec.repository, obtained, &paths.index, ready);
    let kept_to = IsolationPayload { disk_bytes: room.limits.disk_bytes, ..room.isolation.payload() };
    story.tell(kind::EXECUTION_ISOLATION, &kept_to).await;
    let (phase, secrets) = (story.begin(Phase::Running).await, story.secrets().clone());
    let ran = tokio::select! {
        ran = running::run(story, spec, job, launch, session.taken) => ran,
        () = channel.serve(secrets) => unreachable!("it listens for ever"),
    };
    services.end(room.limits.grace).await;
    let (ended, own) = (room.clone(), paths.own().to_owned());
    let starved = blocking(move || ended.isolation.disband(&own)).await;
    let busy = channel.signs().borrow().busy_left(Instant::now());
    story.end(phase, None, None).await;
    Ok((Done { ran, saved: None, busy, starved, session: prepared.session }, marker))
}

/// Proposes what was saved.
async fn propose(
    room: &Room,
    story: &mut Story,
    asked: &PullRequestSpec,
    spec: &TaskSpec,
    saved: Option<&Manifest>,
) -> Result<Option<PullRequest>, NotProposed> {
    let saved = saved.ok_or(NotProposed::NotSaved)?;
    let proposed = pull_request::propose(room, story, asked, spec.reference.as_deref(), saved).await?;
    if proposed.is_none() {
        let words = "bifrost: nothing was changed, so there is no pull request\n";
        story.log(Stream::Stderr, words.as_bytes().to_vec()).await;
    }
    Ok(proposed)
}

async fn save(room: &Arc<Room>, story: &mut Story, marker: Marker) -> Option<Manifest> {
    let phase = story.begin(Phase::Checkpoint).await;
    let mut saved = None;
    let detail = match checkpoint::save(room, marker, story.orders()).await {
        Ok(manifest) => {
            story.tell(kind::CHECKPOINT_SAVED, &CheckpointPayload::from(&manifest)).await;
            let detail = match manifest.files + manifest.deleted.len() {
                0 => "nothing changed".to_owned(),
                1 => "1 file changed".to_owned(),
                changed => format!("{changed} files changed"),
            };
            if !manifest.left.is_empty() {
                let words =
                    format!("bifrost: in the checkpoint alone, and in no commit: {}\n", manifest.left.join(", "));
                story.log(Stream::Stderr, words.into_bytes()).await;
            }
            saved = Some(manifest);
            detail
        }
        Err(error) => {
            // The workspace stays until it could be saved.
            tracing::warn!("what the command left could not be saved: {error}");
            story.log(Stream::Stderr, format!("bifrost: no checkpoint could be saved: {error}\n").into_bytes()).await;
            format!("not saved: {error}")
        }
    };
    story.end(phase, None, Some(detail)).await;
    saved
}

#[cfg(test)]
mod tests;
