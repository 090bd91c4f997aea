//! The control plane's configuration, read once. Each field names its variable,
//! unit and default.

mod machines;
mod sprites;

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use fly::{Pace, Token};
use kernel::Address;
use kit::http::check_base_url;
use kit::{Chance, Vars, files};
use pool::Credentials;
use signals::webhooks::Reach;
use wire::signature::Key;

/// Everything the control plane must know to start.
#[derive(Debug, Clone)]
pub struct Config {
    /// `DATABASE_URL`: `postgres://…` or a file; `control.db` in the data directory by default.
    pub database: Address,
    /// `BIFROST_API_KEY` or `CAIRN_API_KEY`: the first key; made in the file `api-key` when not set.
    pub api_key: String,
    /// `BIFROST_SECRET`: what tokens are derived from, base64; made in the file `secret` when not set.
    pub secret: Key,
    /// Where machines come from.
    pub provider: Provider,
    /// The event store.
    pub events: Events,
    /// Bounds of the pool.
    pub pool: Arc<pool::Settings>,
    /// Bounds of work.
    pub work: Arc<work::Settings>,
    /// `BIFROST_WEBHOOKS_REACH`: how far webhooks reach: `public` (the default), `loopback` or `any`.
    pub webhooks_reach: Reach,
    /// Intervals of runtimes.
    pub runtimes: runtimes::Settings,
}

/// Where machines come from (`BIFROST_PROVIDER`: `fly`, the default, or `sprites`).
#[derive(Debug, Clone)]
pub enum Provider {
    /// They are Fly's, or the emulator's.
    Fly(MachinesApi),
    /// They are sprites.
    Sprites {
        /// The Sprites API.
        sprites: SpritesApi,
        /// How sprites are made.
        settings: pool::Sprites,
        /// For the event store's machine, where `FLY_API_TOKEN` is set.
        machines: Option<MachinesApi>,
    },
}

/// How the Sprites API is reached.
#[derive(Debug, Clone)]
pub struct SpritesApi {
    /// `BIFROST_SPRITES_URL`: the base URL without `/v1`.
    pub url: String,
    /// `BIFROST_SPRITES_TOKEN`.
    pub token: Token,
    /// Rate limits as of Fly's machines, or none for a fake.
    pub pace: Pace,
}

/// How the Machines API is reached.
#[derive(Debug, Clone)]
pub struct MachinesApi {
    /// `FLY_FLAPS_BASE_URL` or `FLY_API_HOSTNAME`: the base URL without `/v1`; on a machine of Fly's, the private one.
    pub url: String,
    /// `FLY_API_TOKEN`.
    pub token: Token,
    /// Fly's rate limits, or none for the local emulator.
    pub pace: Pace,
}

/// How the event store is reached.
#[derive(Debug, Clone)]
pub struct Events {
    /// `BIFROST_EVENTS_URL`: its base URL, as the control plane reaches it.
    pub url: String,
    /// `BIFROST_EVENTS_PUBLIC_URL`: as the machines reach it; the same where it is not set.
    pub public_url: String,
    /// `FLY_EVENT_SECRET`: the master secret, base64 of at least 32 bytes.
    pub secret: Key,
    /// `BIFROST_EVENTS_APP`: its app at the provider; without one its machine is not woken.
    pub app: Option<String>,
}

/// The file of the data directory that holds the first API key.
pub const API_KEY_FILE: &str = "api-key";
/// The file of the data directory that holds the secret of tokens.
const SECRET_FILE: &str = "secret";

impl Config {
    /// Takes everything from the environment and the data directory; problems stay in `vars`.
    pub fn from_vars(vars: &mut Vars, data: &Path, database: Option<&str>, chance: &Chance) -> Option<Self> {
        let database = match database.or(vars.text("DATABASE_URL")) {
            Some(text) => problem(vars, "DATABASE_URL", Address::from_str(text)),
            None => Some(Address::Sqlite(data.join("control.db"))),
        };
        let given_key = vars.text("BIFROST_API_KEY").or(vars.text("CAIRN_API_KEY")).map(str::to_owned);
        let api_key = match given_key {
            Some(key) => Some(key),
            None => problem(vars, API_KEY_FILE, api_key_of(data, chance)),
        };
        let secret = match vars.text("BIFROST_SECRET").map(str::to_owned) {
            Some(text) => problem(vars, "BIFROST_SECRET", Key::parse(&text)),
            None => problem(vars, SECRET_FILE, secret_of(data, SECRET_FILE, chance)),
        };
        let is_sprites = sprites::are_chosen(vars);
        let events = Events::from_vars(vars);
        let (database, api_key, secret) = (database?, api_key?, secret?);
        let events_url = events.as_ref().map(|events| events.public_url.as_str()).filter(|_| is_sprites);
        let machines = match is_sprites {
            true => sprites::provider(vars, pool_name(&secret), events_url),
            false => Some(machines::provider(vars, pool_name(&secret))),
        };
        let settings = machines.as_ref().and_then(|machines| machines.sprites.clone());
        let provider = Provider::from_vars(vars, is_sprites, settings);
        let pool = machines::settings(vars, machines.unwrap_or_default());
        let work = work_settings(vars, pool.provider.dearest_rate());
        let webhooks_reach = vars.or("BIFROST_WEBHOOKS_REACH", Reach::default());
        Some(Self {
            database,
            api_key,
            secret,
            provider: provider?,
            events: events?,
            pool: pool.into(),
            work: work.into(),
            webhooks_reach,
            runtimes: runtime_settings(vars),
        })
    }

    /// Who tells the pool what is on a machine's disk.
    pub(crate) fn work_on_disks(&self) -> pool::SharedWork {
        Arc::new(work::checkpoints::OnDisks::new(&self.work))
    }

    pub(crate) fn credentials(&self) -> Credentials {
        Credentials::new(&self.secret)
    }
}

/// How long runtimes and their agents may be silent.
fn runtime_settings(vars: &mut Vars) -> runtimes::Settings {
    let defaults = runtimes::Settings::default();
    let mut seconds = |name: &str, default: TimeDelta| {
        let seconds = vars.or(name, u32::try_from(default.num_seconds()).unwrap_or(u32::MAX));
        if seconds == 0 {
            vars.problem(format!("{name}: must be at least 1"));
        }
        TimeDelta::seconds(seconds.into())
    };
    runtimes::Settings {
        silence: seconds("BIFROST_RUNTIME_SILENCE_SECONDS", defaults.silence),
        ack_within: seconds("BIFROST_TRIGGER_ACK_SECONDS", defaults.ack_within),
        expires: seconds("BIFROST_TRIGGER_EXPIRY_SECONDS", defaults.expires),
        ..defaults
    }
}

impl Provider {
    fn from_vars(vars: &mut Vars, is_sprites: bool, settings: Option<pool::Sprites>) -> Option<Self> {
        if !is_sprites {
            return MachinesApi::from_vars(vars).map(Self::Fly);
        }
        let needs_machines = vars.text("BIFROST_EVENTS_APP").is_some() || vars.text("FLY_API_TOKEN").is_some();
        let machines = needs_machines.then(|| MachinesApi::from_vars(vars));
        let sprites = SpritesApi::from_vars(vars);
        let machines = match machines {
            None => None,
            Some(machines) => Some(machines?),
        };
        Some(Self::Sprites { sprites: sprites?, settings: settings?, machines })
    }

    /// The provider itself.
    pub(crate) fn machines(&self, pool: &pool::Settings) -> pool::SharedProvider {
        match self {
            Self::Fly(api) => Arc::new(pool::FlyMachines::new(api.client(), &pool.provider)),
            Self::Sprites { sprites: api, settings, .. } => {
                let sprites = fly::Sprites::with_pace(&api.url, &api.token, api.pace);
                Arc::new(pool::SpriteMachines::new(sprites, settings.clone()))
            }
        }
    }

    /// The Machines API, where there is something for it.
    pub(crate) fn machines_api(&self) -> Option<&MachinesApi> {
        match self {
            Self::Fly(machines) => Some(machines),
            Self::Sprites { machines, .. } => machines.as_ref(),
        }
    }
}

impl SpritesApi {
    fn from_vars(vars: &mut Vars) -> Option<Self> {
        let url = vars.text("BIFROST_SPRITES_URL").unwrap_or(fly::SPRITES_URL).to_owned();
        problem(vars, "BIFROST_SPRITES_URL", check_base_url(&url));
        let token = vars.required("BIFROST_SPRITES_TOKEN");
        let pace = if vars.or("BIFROST_FLY_UNPACED", false) { Pace::Unlimited } else { Pace::Fly };
        Some(Self { url, token: token?, pace })
    }
}

impl MachinesApi {
    pub(crate) fn client(&self) -> fly::Machines {
        fly::Machines::with_pace(&self.url, &self.token, self.pace)
    }

    fn from_vars(vars: &mut Vars) -> Option<Self> {
        let url = fly::BaseUrl {
            flaps: vars.text("FLY_FLAPS_BASE_URL"),
            hostname: vars.text("FLY_API_HOSTNAME"),
            machine_id: vars.text("FLY_MACHINE_ID"),
        };
        let name = if url.is_of_flaps() { "FLY_FLAPS_BASE_URL" } else { "FLY_API_HOSTNAME" };
        let url = url.resolve();
        problem(vars, name, check_base_url(&url));
        let token = vars.required("FLY_API_TOKEN");
        let pace = if vars.or("BIFROST_FLY_UNPACED", false) { Pace::Unlimited } else { Pace::Fly };
        Some(Self { url, token: token?, pace })
    }
}

impl Events {
    fn from_vars(vars: &mut Vars) -> Option<Self> {
        let url = vars.required::<String>("BIFROST_EVENTS_URL");
        let public_url = vars.text("BIFROST_EVENTS_PUBLIC_URL").map(str::to_owned);
        for (name, url) in [("BIFROST_EVENTS_URL", &url), ("BIFROST_EVENTS_PUBLIC_URL", &public_url)] {
            if let Some(url) = url {
                problem(vars, name, check_base_url(url));
            }
        }
        let secret = vars.required::<String>("FLY_EVENT_SECRET");
        let secret = problem(vars, "FLY_EVENT_SECRET", Key::parse(&secret?));
        let app = vars.text("BIFROST_EVENTS_APP").map(str::to_owned);
        let url = url?;
        Some(Self { public_url: public_url.unwrap_or_else(|| url.clone()), url, secret: secret?, app })
    }
}

/// The first API key of a data directory; made, for its owner's eyes only, when there is none.
pub fn api_key_of(data: &Path, chance: &Chance) -> std::io::Result<String> {
    let path = data.join(API_KEY_FILE);
    let key = files::read_or_create(&path, 0o600, || format!("bifrost_{}\n", chance.hex::<20>()))?;
    Ok(key.trim().to_owned())
}

/// A secret of a data directory; made, for its owner's eyes only, when there is none.
pub fn secret_of(data: &Path, file: &str, chance: &Chance) -> anyhow::Result<Key> {
    let text = files::read_or_create(&data.join(file), 0o600, || Key::from_bytes(chance.bytes()).reveal() + "\n")?;
    Ok(Key::parse(&text)?)
}

/// Names the pool at the provider: derived, so that it stays the same, and of letters that Fly allows in names.
fn pool_name(secret: &Key) -> String {
    let token = secret.derive("pool").token("name").to_ascii_lowercase();
    token.chars().filter(char::is_ascii_alphanumeric).take(8).collect()
}

/// A machine's rate is in picodollars a second, as the price list is.
fn work_settings(vars: &mut Vars, rate: u64) -> work::Settings {
    let defaults = work::Settings::default();
    let fixed = vars.optional::<i64>("BIFROST_MACHINE_MICRODOLLARS_PER_HOUR");
    let lease = Duration::from_secs(vars.or("BIFROST_LEASE_SECONDS", defaults.lease.as_secs()));
    if lease < Duration::from_secs(4) {
        vars.problem("BIFROST_LEASE_SECONDS: must be at least 4");
    }
    work::Settings {
        lease,
        heartbeat: lease / 4,
        losses_max: vars.or("BIFROST_WORKER_LOSSES_MAX", defaults.losses_max),
        stale_after: Duration::from_secs(vars.or("BIFROST_EXECUTION_STALE_SECONDS", defaults.stale_after.as_secs())),
        machine_micros_per_hour: fixed.unwrap_or_else(|| work::micros_per_hour(rate)).max(0),
        is_machine_price_fixed: fixed.is_some(),
        keep_work: Duration::from_secs(vars.or("BIFROST_KEEP_WORK_SECONDS", defaults.keep_work.as_secs())),
        allow_local_repositories: vars.or("BIFROST_ALLOW_LOCAL_REPOSITORIES", false),
    }
}

fn problem<T, E: std::fmt::Display>(vars: &mut Vars, name: &str, read: Result<T, E>) -> Option<T> {
    read.map_err(|error| vars.problem(format!("{name}: {error}"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &[(&str, &str)]) -> Result<Config, String> {
        let data = tempfile::tempdir().expect("a directory");
        let secret = Key::from_bytes([1; 32]).reveal();
        let needed = [
            ("FLY_EVENT_SECRET", secret.as_str()),
            ("BIFROST_PROVIDER", "sprites"),
            ("BIFROST_EVENTS_URL", "http://events.internal:3000"),
            ("BIFROST_EVENTS_PUBLIC_URL", "https://events.example.org"),
            ("BIFROST_PUBLIC_URL", "https://bifrost.example.org"),
            (
                "BIFROST_SPRITES_RUNNER",
                "https://dl.example.org/r@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
            ),
        ];
        let mut vars = Vars::from_pairs(needed.into_iter().chain(more.iter().copied()));
        let config = Config::from_vars(&mut vars, data.path(), None, &Chance::system());
        vars.finish().map_err(|error| error.to_string()).map(|()| config.expect("whatever is missing is a problem"))
    }

    #[test]
    fn an_address_that_no_client_can_call_is_refused_by_name_with_its_form() {
        for (name, value) in [
            ("FLY_FLAPS_BASE_URL", "ftp://x"),
            ("FLY_API_HOSTNAME", "ftp://x"),
            ("FLY_API_HOSTNAME", "a b"),
            ("BIFROST_SPRITES_URL", "ftp://x"),
            ("BIFROST_EVENTS_URL", "ftp://x"),
            ("BIFROST_EVENTS_URL", "events.internal"),
            ("BIFROST_EVENTS_PUBLIC_URL", "ftp://x"),
        ] {
            let tokens = [("BIFROST_SPRITES_TOKEN", "org/t"), ("FLY_API_TOKEN", "t")];
            let error = read(&[tokens.as_slice(), &[(name, value)]].concat()).expect_err(name);
            assert!(error.contains(&format!("{name}: must be an http or https URL")), "{error}");
        }
    }

    #[test]
    fn budgets_count_a_machine_by_the_price_list_unless_told_otherwise() {
        let fly = |more: &[(&'static str, &'static str)]| {
            let (data, secret) = (tempfile::tempdir().expect("a directory"), Key::from_bytes([1; 32]).reveal());
            let needed = [
                ("FLY_EVENT_SECRET", secret.as_str()),
                ("FLY_API_TOKEN", "t"),
                ("BIFROST_EVENTS_URL", "http://events.internal:3000"),
                ("BIFROST_ALLOW_UNPINNED_IMAGE", "true"),
            ];
            let mut vars = Vars::from_pairs(needed.into_iter().chain(more.iter().copied()));
            let config = Config::from_vars(&mut vars, data.path(), None, &Chance::system());
            vars.finish().expect("is whole");
            let work = config.expect("is whole").work;
            let is_fixed = more.iter().any(|(name, _)| *name == "BIFROST_MACHINE_MICRODOLLARS_PER_HOUR");
            assert_eq!(work.is_machine_price_fixed, is_fixed);
            work.machine_micros_per_hour
        };
        let one = fly(&[]);
        assert_eq!(one, 15_820, "a shared-cpu-2x with 2 GB in iad");
        assert_eq!(fly(&[("BIFROST_REGION", "iad")]), one);
        let dearer = fly(&[("BIFROST_REGION", "iad,gru")]);
        assert!(dearer > one, "the dearest of its regions: {dearer}");
        assert!(fly(&[("BIFROST_MACHINE_MEMORY_MB", "4096")]) > one);
        assert_eq!(fly(&[("BIFROST_MACHINE_MICRODOLLARS_PER_HOUR", "5")]), 5);
    }

    #[test]
    fn with_sprites_the_machines_api_is_for_the_event_stores_machine_alone() {
        let token = ("BIFROST_SPRITES_TOKEN", "org/hunter2");
        let config = read(&[token]).expect("is whole");
        assert!(config.provider.machines_api().is_none() && !format!("{config:?}").contains("hunter2"));
        assert_eq!(config.work.machine_micros_per_hour, 807_223);
        let error = read(&[token, ("BIFROST_EVENTS_APP", "bifrost-events")]).expect_err("whom to ask?");
        assert!(error.contains("FLY_API_TOKEN: is not set"), "{error}");
        let waking = [token, ("BIFROST_EVENTS_APP", "bifrost-events"), ("FLY_API_TOKEN", "t")];
        assert!(read(&waking).expect("is whole").provider.machines_api().is_some());
        assert!(read(&[]).expect_err("no token").contains("BIFROST_SPRITES_TOKEN: is not set"));
    }
}
