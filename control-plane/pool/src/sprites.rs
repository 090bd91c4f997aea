//! Sprites as machines (decision C-16). A sprite's name is its id, its disk is its
//! own, and it has no region, no size and no image: the runner is fetched into it and
//! defined as a service, so that it comes again when a sprite wakes without its
//! processes.
//!
//! **A hold is the word to stay awake.** A sprite sleeps half a minute after its last
//! work, and a runner that waits for a task is no work to it. So whoever makes or
//! wakes one takes hold of it, and to put it to sleep is to let go. Nobody else makes
//! a hold or ends one. It lasts five minutes, and the runner in the sprite prolongs
//! it, as long as it is there and the control plane answers: not we, because to
//! prolong it from outside is a program run in each sprite each minute, and because a
//! hold must run out by itself when either of us is gone. The runner never makes one
//! anew, so that even one that is at work sleeps when the budget says so.
//!
//! **A sprite is finished when its creation has returned.** Everything before may
//! fail, each step may be repeated, and a failure never reads as if there were a
//! machine to adopt.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fly::{
    Error, Machine, MachineConfig, MachineState, NewMachine, NewVolume, SPRITE_HOLD, Sprite, SpriteService,
    SpriteStatus, Volume,
};
use wire::worker::env;

use crate::machines::MACHINE_PREFIX;
use crate::provider::{Answer, MachineProvider};

/// The region that stands for wherever sprites are.
pub const SPRITES_REGION: &str = "sprites";
/// The name of the runner's service.
const SERVICE: &str = "bifrost-runner";
/// The longest that a sprite stays awake when nobody prolongs its hold.
const HOLD: Duration = Duration::from_secs(300);
/// How long a sprite of which we let go may take to fall asleep; to let go again would wake it.
const FALLING_ASLEEP: Duration = Duration::from_secs(90);
/// What the platform keeps in a sprite: its API, which is open to every user there, and old disks.
const PLATFORM: &str = "/.sprite";
/// Between the key and the value of a label, which has no room for both.
const EQUALS: char = '-';

/// Sprites of one organisation.
pub struct SpriteMachines {
    sprites: fly::Sprites,
    settings: crate::Sprites,
    /// When we let go of which sprite. Forgotten with the process: then one is let go of once more.
    let_go: Mutex<HashMap<String, Instant>>,
}

impl fmt::Debug for SpriteMachines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpriteMachines").field("sprites", &self.sprites).finish_non_exhaustive()
    }
}

impl SpriteMachines {
    /// Sprites that are made so.
    pub fn new(sprites: fly::Sprites, settings: crate::Sprites) -> Self {
        Self { sprites, settings, let_go: Mutex::default() }
    }

    /// Makes a sprite, or goes on with one that is half made.
    async fn make(&self, new: &NewMachine) -> Result<Machine, Error> {
        let (name, labels) = (&new.name, labels(&new.config));
        let directory = &self.settings.directory;
        let program = format!("{directory}/bin/bifrost-runner");
        self.sprites.create_sprite(name, &labels).await?;
        self.sprites.set_network_policy(name, &self.settings.policy).await?;
        self.sprites.install(name, &self.settings.runner, &program).await?;
        self.hold(name).await?;
        let service = SpriteService { cmd: program, env: environment(&new.config), ..SpriteService::default() };
        self.sprites.define_service(name, SERVICE, &service).await?;
        Ok(self.seen(self.sprites.sprite(name).await?))
    }

    async fn hold(&self, name: &str) -> Result<(), Error> {
        self.sprites.resume_sprite(name, HOLD).await?;
        self.falling_asleep().remove(name);
        Ok(())
    }

    async fn let_go(&self, name: &str) -> Result<(), Error> {
        self.sprites.pause_sprite(name).await?;
        self.falling_asleep().insert(name.to_owned(), Instant::now());
        Ok(())
    }

    fn falling_asleep(&self) -> std::sync::MutexGuard<'_, HashMap<String, Instant>> {
        self.let_go.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A sprite as the pool knows machines.
    fn seen(&self, sprite: Sprite) -> Machine {
        let mut falling_asleep = self.falling_asleep();
        let is_falling = falling_asleep.get(&sprite.name).is_some_and(|since| since.elapsed() < FALLING_ASLEEP);
        let state = match sprite.status {
            SpriteStatus::Running if is_falling => MachineState::Suspending,
            SpriteStatus::Running | SpriteStatus::Warm | SpriteStatus::Cold | SpriteStatus::Unknown => {
                falling_asleep.remove(&sprite.name);
                sprite.status.as_machine()
            }
        };
        drop(falling_asleep);
        let marks = sprite.labels.iter().filter_map(|label| label.split_once(EQUALS));
        let metadata = marks.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
        Machine {
            id: sprite.name.clone(),
            name: sprite.name,
            state,
            region: SPRITES_REGION.to_owned(),
            instance_id: String::new(),
            private_ip: String::new(),
            host_status: fly::HostStatus::Ok,
            config: Some(MachineConfig { metadata, ..MachineConfig::default() }),
            incomplete_config: None,
            created_at: sprite.created_at,
            updated_at: None,
            nonce: None,
        }
    }
}

/// The marks of a machine, as labels.
fn labels(config: &MachineConfig) -> Vec<String> {
    config.metadata.iter().map(|(key, value)| format!("{key}{EQUALS}{value}")).collect()
}

/// What the runner is told. Its commands see nothing of the platform's own directory: whoever reaches the API
/// there can hold the sprite, put an old disk back, and start programs.
fn environment(config: &MachineConfig) -> std::collections::BTreeMap<String, String> {
    let mut variables = config.env.clone();
    variables.insert(env::SPRITE_HOLD.to_owned(), SPRITE_HOLD.to_owned());
    let hidden = variables.entry(env::HIDE.to_owned()).or_default();
    if !hidden.is_empty() {
        hidden.push(':');
    }
    hidden.push_str(PLATFORM);
    variables
}

impl MachineProvider for SpriteMachines {
    fn name(&self) -> &'static str {
        "the Sprites API"
    }

    fn token_cure(&self) -> &'static str {
        "set BIFROST_SPRITES_TOKEN to a Sprites token of the organisation, and start the control plane again"
    }

    fn address(&self) -> String {
        format!("it is called at {}, for which BIFROST_SPRITES_URL names another address", self.sprites.url())
    }

    fn prepare(&self) -> Answer<'_, ()> {
        Box::pin(async { self.sprites.sprites(MACHINE_PREFIX).await.map(drop) })
    }

    fn has_volumes(&self) -> bool {
        false
    }

    fn machines(&self) -> Answer<'_, Vec<Machine>> {
        Box::pin(async {
            let sprites = self.sprites.sprites(MACHINE_PREFIX).await?;
            Ok(sprites.into_iter().map(|sprite| self.seen(sprite)).collect())
        })
    }

    fn machine<'a>(&'a self, id: &'a str) -> Answer<'a, Machine> {
        Box::pin(async { Ok(self.seen(self.sprites.sprite(id).await?)) })
    }

    fn create_machine<'a>(&'a self, new: &'a NewMachine) -> Answer<'a, Machine> {
        Box::pin(async {
            let made = self.make(new).await;
            made.map_err(|cause| Error::Unfinished { name: new.name.clone(), cause: Box::new(cause) })
        })
    }

    fn start<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(self.hold(id))
    }

    fn suspend<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(self.let_go(id))
    }

    /// A sprite cannot be stopped: its disk stays whatever sleep it falls into.
    fn stop<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(self.let_go(id))
    }

    fn restart<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(async {
            self.hold(id).await?;
            self.sprites.restart_service(id, SERVICE).await
        })
    }

    fn wait<'a>(&'a self, id: &'a str, state: MachineState, limit: Duration) -> Answer<'a, ()> {
        Box::pin(self.sprites.wait_for_sprite(id, state, limit))
    }

    fn destroy<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        Box::pin(async {
            self.falling_asleep().remove(id);
            self.sprites.destroy_sprite(id).await
        })
    }

    fn volumes(&self) -> Answer<'_, Vec<Volume>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Nobody asks for one: there are none.
    fn create_volume<'a>(&'a self, new: &'a NewVolume) -> Answer<'a, Volume> {
        let detail = format!("a sprite has no volume such as {}", new.name);
        Box::pin(async { Err(Error::Unexpected { action: fly::Action::CreateVolume, detail }) })
    }

    fn destroy_volume<'a>(&'a self, _id: &'a str) -> Answer<'a, ()> {
        Box::pin(async { Ok(()) })
    }
}
