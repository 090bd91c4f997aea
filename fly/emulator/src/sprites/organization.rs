//! The sprites of an organisation, and what becomes of them.

use std::collections::BTreeMap;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use fly::{SpritePolicy, SpriteService, SpriteStatus};
use kit::process::{Sig, signal_group};
use kit::{Clock, Tasks};
use tokio::sync::{Notify, watch};

use super::{Seen, Services, inside, programs};

/// Starts of a service that keeps ending, after which it stays down.
const STARTS_MAX: u32 = 20;

/// A refusal in place of an answer.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Of calls with this method
    pub method: &'static str,
    /// whose path ends so,
    pub path_end: &'static str,
    /// this status
    pub status: u16,
    /// and this body,
    pub body: serde_json::Value,
    /// so many times.
    pub times: usize,
}

#[derive(Debug)]
pub(super) struct Hang {
    pub(super) calls_left: usize,
    pub(super) is_carried_out: bool,
    pub(super) came: Arc<Notify>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) sprites: BTreeMap<String, Sprite>,
    pub(super) offered: Option<PathBuf>,
    pub(super) refusals: Vec<Refusal>,
    pub(super) hang: Option<Hang>,
    pub(super) calls: Vec<String>,
    pub(super) strange: Vec<String>,
    pub(super) awake_max: usize,
}

#[derive(Debug)]
pub(super) struct Sprite {
    pub(super) name: String,
    pub(super) status: SpriteStatus,
    pub(super) labels: Vec<String>,
    pub(super) created_at: DateTime<Utc>,
    pub(super) policy: Option<SpritePolicy>,
    /// Holds and their expiry.
    pub(super) holds: BTreeMap<String, String>,
    /// It was held, and is not any more.
    is_let_go: bool,
    /// Programs that somebody runs in it.
    running: usize,
    service: Option<Service>,
    root: PathBuf,
    /// Ends what serves in it.
    inside: Tasks,
}

#[derive(Debug)]
struct Service {
    name: String,
    definition: SpriteService,
    starts: u32,
    /// The leader of its processes, while there are any.
    leader: watch::Sender<Option<u32>>,
    is_wanted: bool,
}

impl Sprite {
    pub(super) fn seen(&self) -> Seen {
        Seen {
            name: self.name.clone(),
            status: self.status,
            labels: self.labels.clone(),
            policy: self.policy.clone(),
            holds: self.holds.iter().map(|(name, expiry)| (name.clone(), expiry.clone())).collect(),
            service: self.service.as_ref().map(|service| (service.definition.clone(), service.starts)),
        }
    }

    fn signal(&self, signal: Sig) {
        let leader = self.service.as_ref().and_then(|service| *service.leader.borrow());
        if let Some(leader) = leader {
            signal_group(leader, signal).expect("a process of ours can be signalled");
        }
    }

    /// Sleeps where it was let go of and nothing runs in it that was asked for.
    fn settle(&mut self) {
        if self.status == SpriteStatus::Running && self.is_let_go && self.running == 0 && self.holds.is_empty() {
            self.signal(Sig::SIGSTOP);
            self.status = SpriteStatus::Warm;
        }
    }
}

/// Why something was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum No {
    Taken,
    Gone,
    TooManyAwake,
}

#[derive(Debug)]
pub(super) struct Shared {
    root: PathBuf,
    pub(super) token: String,
    pub(super) path: String,
    services: Services,
    tasks: Tasks,
    clock: Clock,
    state: Mutex<State>,
}

impl Shared {
    pub(super) fn new(root: &Path, token: &str, path: &str, services: Services, tasks: Tasks) -> Self {
        let state = State { awake_max: usize::MAX, ..State::default() };
        let (root, token, path) = (root.to_owned(), token.to_owned(), path.to_owned());
        Self { root, token, path, services, tasks, clock: Clock::system(), state: Mutex::new(state) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn create(self: &Arc<Self>, name: &str, labels: Vec<String>) -> Result<(), No> {
        let mut state = self.state();
        if state.sprites.contains_key(name) {
            return Err(No::Taken);
        }
        if state.awake() >= state.awake_max {
            return Err(No::TooManyAwake);
        }
        let root = self.root.join(name);
        let made = ["home/sprite", ".sprite/logs/services"]
            .map(|part| std::fs::DirBuilder::new().recursive(true).mode(0o755).create(root.join(part)));
        made.into_iter().collect::<Result<Vec<()>, _>>().expect("the root may be written");
        let inside = self.tasks.child();
        let sprite = Sprite {
            name: name.to_owned(),
            status: SpriteStatus::Running,
            labels,
            created_at: self.clock.now(),
            policy: None,
            holds: BTreeMap::new(),
            is_let_go: false,
            running: 0,
            service: None,
            root: root.clone(),
            inside: inside.clone(),
        };
        state.sprites.insert(name.to_owned(), sprite);
        drop(state);
        inside::serve(Arc::clone(self), name, &root, &inside);
        Ok(())
    }

    pub(super) fn destroy(&self, name: &str) -> bool {
        let Some(mut sprite) = self.state().sprites.remove(name) else { return false };
        if let Some(service) = &mut sprite.service {
            service.is_wanted = false;
        }
        sprite.signal(Sig::SIGKILL);
        sprite.inside.stop();
        std::fs::remove_dir_all(&sprite.root).ok();
        true
    }

    /// Wakes a sprite for a program, until [`Self::ran`].
    pub(super) fn wake(self: &Arc<Self>, name: &str) -> Result<PathBuf, No> {
        let mut state = self.state();
        let (awake, awake_max) = (state.awake(), state.awake_max);
        let sprite = state.sprites.get_mut(name).ok_or(No::Gone)?;
        if sprite.status != SpriteStatus::Running && awake >= awake_max {
            return Err(No::TooManyAwake);
        }
        sprite.running += 1;
        match sprite.status {
            SpriteStatus::Running | SpriteStatus::Unknown => (),
            SpriteStatus::Warm => sprite.signal(Sig::SIGCONT),
            SpriteStatus::Cold => self.start(sprite),
        }
        sprite.status = SpriteStatus::Running;
        Ok(sprite.root.clone())
    }

    pub(super) fn ran(&self, name: &str) {
        if let Some(sprite) = self.state().sprites.get_mut(name) {
            sprite.running -= 1;
            sprite.settle();
        }
    }

    pub(super) fn hold(&self, name: &str, hold: &str, expiry: String) {
        if let Some(sprite) = self.state().sprites.get_mut(name) {
            sprite.holds.insert(hold.to_owned(), expiry);
            sprite.is_let_go = false;
        }
    }

    pub(super) fn let_go(&self, name: &str, hold: &str) -> bool {
        let mut state = self.state();
        let Some(sprite) = state.sprites.get_mut(name) else { return false };
        let was_held = sprite.holds.remove(hold).is_some();
        sprite.is_let_go = true;
        sprite.settle();
        was_held
    }

    pub(super) fn run_out(&self, name: &str) {
        if let Some(sprite) = self.state().sprites.get_mut(name) {
            sprite.holds.clear();
            sprite.is_let_go = true;
            sprite.settle();
        }
    }

    pub(super) async fn grow_cold(&self, name: &str) {
        let ended = {
            let mut state = self.state();
            let sprite = state.sprites.get_mut(name).expect("there is one");
            assert_eq!(sprite.status, SpriteStatus::Warm, "only what sleeps grows cold");
            sprite.status = SpriteStatus::Cold;
            sprite.signal(Sig::SIGKILL);
            sprite.service.as_ref().map(|service| service.leader.subscribe())
        };
        if let Some(mut ended) = ended {
            ended.wait_for(Option::is_none).await.ok();
        }
    }

    /// Says what a sprite runs, in place of what it ran; gives the exit code where it ends at once.
    pub(super) async fn define(
        self: &Arc<Self>,
        name: &str,
        service: &str,
        definition: SpriteService,
    ) -> Result<(), No> {
        self.end_service(name).await?;
        let mut state = self.state();
        let sprite = state.sprites.get_mut(name).ok_or(No::Gone)?;
        let starts = sprite.service.as_ref().map_or(0, |service| service.starts);
        let (name, leader) = (service.to_owned(), watch::Sender::new(None));
        sprite.service = Some(Service { name, definition, starts, leader, is_wanted: true });
        self.start(sprite);
        Ok(())
    }

    pub(super) async fn restart(self: &Arc<Self>, name: &str) -> Result<(), No> {
        self.end_service(name).await?;
        let mut state = self.state();
        let sprite = state.sprites.get_mut(name).ok_or(No::Gone)?;
        if let Some(service) = &mut sprite.service {
            service.is_wanted = true;
        }
        self.start(sprite);
        Ok(())
    }

    async fn end_service(&self, name: &str) -> Result<(), No> {
        let ended = {
            let mut state = self.state();
            let sprite = state.sprites.get_mut(name).ok_or(No::Gone)?;
            if let Some(service) = &mut sprite.service {
                service.is_wanted = false;
            }
            sprite.signal(Sig::SIGCONT);
            sprite.signal(Sig::SIGTERM);
            sprite.service.as_ref().map(|service| service.leader.subscribe())
        };
        if let Some(mut ended) = ended {
            ended.wait_for(Option::is_none).await.ok();
        }
        Ok(())
    }

    pub(super) async fn end_all(&self, limit: Duration) {
        let names: Vec<String> = self.state().sprites.keys().cloned().collect();
        for name in names {
            if tokio::time::timeout(limit, self.end_service(&name)).await.is_err() {
                tracing::warn!(name, "a service does not end");
            }
            self.destroy(&name);
        }
    }

    /// Starts the service of a sprite, if it has one.
    fn start(self: &Arc<Self>, sprite: &mut Sprite) {
        let Some(service) = sprite.service.as_mut().filter(|service| service.is_wanted) else { return };
        service.starts += 1;
        if self.services == Services::Pretend {
            return;
        }
        let log = sprite.root.join(".sprite/logs/services").join(format!("{}.log", service.name));
        let child = programs::start(&service.definition, &sprite.root, &self.path, &log);
        let mut child = match child {
            Ok(child) => child,
            Err(error) => return tracing::warn!(%error, "a service cannot be started"),
        };
        service.leader.send_replace(child.id());
        let (shared, name, leader) = (Arc::clone(self), sprite.name.clone(), service.leader.clone());
        sprite.inside.spawn("service", async move {
            child.wait().await.ok();
            leader.send_replace(None);
            shared.ended(&name);
        });
    }

    /// A service that ends by itself is started again.
    fn ended(self: &Arc<Self>, name: &str) {
        let mut state = self.state();
        let Some(sprite) = state.sprites.get_mut(name) else { return };
        let is_down = sprite.service.as_ref().is_some_and(|service| {
            service.is_wanted && service.leader.borrow().is_none() && service.starts < STARTS_MAX
        });
        if is_down && sprite.status == SpriteStatus::Running {
            self.start(sprite);
        }
    }
}

impl State {
    fn awake(&self) -> usize {
        self.sprites.values().filter(|sprite| sprite.status == SpriteStatus::Running).count()
    }
}
