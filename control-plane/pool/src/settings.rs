//! What the operator decides about the pool.

use std::time::Duration;

use fly::{Program, SpritePolicy, price};
use wire::limit::MACHINES_MAX;

use crate::warm::Schedule;

/// Bounds and patience of the pool.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The most machines that may exist, suspended ones included; see [`Settings::cap`].
    pub machines_max: usize,
    /// Whether `machines_max` may be more than [`MACHINES_MAX`].
    pub allow_more_machines: bool,
    /// Another machine comes when more than this many tasks wait for each active one (row FLY-037).
    pub queue_per_machine: usize,
    /// When how many machines are kept awake though nothing waits.
    pub warm: Schedule,
    /// Whether machines are also kept awake for what usually comes at this hour of the week (row FR-20).
    pub prewarm: bool,
    /// How long a worker is idle before its batch counts as over and its machine is suspended.
    pub suspend_after: Duration,
    /// How long a machine is suspended before it is destroyed.
    pub destroy_after: Duration,
    /// How old a machine becomes before it is replaced.
    pub machine_age_max: Duration,
    /// How many executions a machine does before it is replaced.
    pub machine_executions_max: i64,
    /// How long a new machine may take until its worker reports in; images are pulled meanwhile.
    pub boot_patience: Duration,
    /// How long a resumed or restarted machine may take until its worker reports in.
    pub resume_patience: Duration,
    /// How long a worker that should save a checkpoint may be silent before its machine is suspended anyway; one that is
    /// heard has until the machine is stuck: see [`crate::recovery::STUCK_ACT_MINUTES`].
    pub drain_patience: Duration,
    /// How long one step waits for the provider to put a machine to sleep, before it looks again later.
    pub step_wait: Duration,
    /// A worker that was silent for longer gets no work.
    pub worker_silence: Duration,
    /// Whether orphans are destroyed when they are old enough, or only reported.
    pub reap_orphans: bool,
    /// For how long an orphan is only reported that is awake, or that was to go.
    pub orphan_age: Duration,
    /// For how long an orphan is only reported that sleeps or holds a disk.
    pub orphan_keep: Duration,
    /// How long a volume that was replaced is kept, in case something on it is still wanted.
    pub released_volume_keep: Duration,
    /// The most that machines may cost in a day, in millionths of a dollar.
    pub budget_day_micros: Option<i64>,
    /// The most that machines may cost in a month, in millionths of a dollar.
    pub budget_month_micros: Option<i64>,
    /// The parts of a budget, in percent, at which somebody is told.
    pub budget_alerts: Vec<u32>,
    /// For how long a budget must pay for a machine that is to be woken or made: longer than `budget_margin`.
    pub budget_reserve: Duration,
    /// How long before a budget is used up machines are put to sleep: longer than that takes, also where the provider
    /// fails. `work/src/scheduler/simulation.rs` proves this and `budget_reserve` as they are here.
    pub budget_margin: Duration,
    /// What the provider is asked for.
    pub provider: Provider,
}

impl Settings {
    /// The most machines that may exist (row FLY-038).
    pub fn cap(&self) -> usize {
        if self.allow_more_machines { self.machines_max } else { self.machines_max.min(MACHINES_MAX) }
    }

    /// That more machines are to be kept warm than may exist, for people; nothing where that is not so.
    pub fn warm_beyond_cap(&self) -> Option<String> {
        let (warm, cap) = (self.warm.most(), self.cap());
        let told = || {
            format!(
                "BIFROST_WARM keeps {warm} machines awake and BIFROST_MAX_MACHINES lets {cap} exist, so it is {cap}; \
                 make the two agree"
            )
        };
        (warm > cap).then(told)
    }
}

/// What the provider is asked for.
#[derive(Debug, Clone)]
pub struct Provider {
    /// The app that the machines belong to.
    pub app: String,
    /// The organisation that the app belongs to.
    pub org: String,
    /// Names this pool at the provider, so that it never touches another's machines and volumes:
    /// up to eight lower-case letters and digits.
    pub pool_name: String,
    /// The image, pinned by digest on Fly.
    pub image: String,
    /// How large it is unpacked: a machine that sleeps keeps its root file system, which is charged.
    pub image_mb: u32,
    /// Where machines and volumes are made, the first choice first.
    pub regions: Vec<String>,
    /// The processors' kind: `shared` or `performance`.
    pub cpu_kind: String,
    /// Processors of a machine.
    pub cpus: u32,
    /// Memory of a machine; above 2,048 it cannot be suspended.
    pub memory_mb: u32,
    /// Size of a machine's volume.
    pub volume_gb: u32,
    /// The runner's argument vector, where the image does not say it.
    pub runner_command: Option<Vec<String>>,
    /// Where workers reach the control plane.
    pub control_url: String,
    /// Variables added to the environment of every runner.
    pub runner_env: Vec<(String, String)>,
    /// How sprites are made, where the machines are sprites.
    pub sprites: Option<Sprites>,
}

/// How sprites are made.
#[derive(Debug, Clone)]
pub struct Sprites {
    /// The runner's program.
    pub runner: Program,
    /// The directory in a sprite that is the runner's.
    pub directory: String,
    /// What a sprite may reach.
    pub policy: SpritePolicy,
}

impl Provider {
    /// Processors and memory of a machine.
    pub fn guest(&self) -> fly::Guest {
        fly::Guest {
            cpu_kind: self.cpu_kind.clone(),
            cpus: self.cpus,
            memory_mb: self.memory_mb,
            ..fly::Guest::default()
        }
    }

    /// The same for people.
    pub(crate) fn size(&self) -> String {
        if self.sprites.is_some() {
            return "sprite, at most 8 CPUs and 4 GB".to_owned();
        }
        format!("{}-cpu-{}x {} MB", self.cpu_kind, self.cpus, self.memory_mb)
    }

    /// What a machine costs awake and asleep, in picodollars a second.
    pub(crate) fn rates(&self, region: &str) -> (u64, u64) {
        if self.sprites.is_some() {
            return (price::sprite_awake(), price::sprite_asleep());
        }
        self.listed_rates(&self.guest(), region)
    }

    /// The same of a machine that is not as this pool's are; nothing where the price list does not know its like.
    pub(crate) fn rates_of(&self, guest: &fly::Guest, region: &str) -> Option<(u64, u64)> {
        // What else it has, such as a graphics processor, may cost more.
        let is_known = price::check_size(guest).is_ok() && guest.others == fly::Others::default();
        (self.sprites.is_none() && is_known).then(|| self.listed_rates(guest, region))
    }

    /// Its root file system and its memory are stored while it sleeps.
    fn listed_rates(&self, guest: &fly::Guest, region: &str) -> (u64, u64) {
        let asleep = u64::from(self.image_mb) + u64::from(guest.memory_mb);
        (price::started(guest, region), price::stored(asleep))
    }

    /// What a machine costs awake, in picodollars a second, where that is dearest.
    pub fn dearest_rate(&self) -> u64 {
        self.regions.iter().map(|region| self.rates(region).0).max().unwrap_or(0)
    }

    /// What a volume costs, in picodollars a second; nothing where a machine's disk is its own.
    pub(crate) fn volume_rate(&self) -> u64 {
        if self.sprites.is_some() { 0 } else { stored_gb(self.volume_gb) }
    }

    /// See [`crate::MachineProvider::has_volumes`].
    pub fn has_volumes(&self) -> bool {
        self.sprites.is_none()
    }

    /// The directory on a machine that its runner has for itself.
    pub(crate) fn runner_directory(&self) -> &str {
        self.sprites.as_ref().map_or("/.sprite", |sprites| &sprites.directory)
    }

    /// Where the first machine is made.
    pub(crate) fn first_region(&self) -> &str {
        self.regions.first().map_or("iad", String::as_str)
    }
}

/// What storing so much costs, in picodollars a second.
pub(crate) fn stored_gb(gigabytes: u32) -> u64 {
    price::stored(u64::from(gigabytes) * 1_024)
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            machines_max: MACHINES_MAX,
            allow_more_machines: false,
            queue_per_machine: 5,
            warm: Schedule::default(),
            prewarm: false,
            suspend_after: Duration::from_secs(5),
            destroy_after: Duration::from_secs(24 * 3_600),
            machine_age_max: Duration::from_secs(7 * 24 * 3_600),
            machine_executions_max: 1_000,
            boot_patience: Duration::from_secs(600),
            resume_patience: Duration::from_secs(30),
            drain_patience: Duration::from_secs(60),
            step_wait: Duration::from_secs(30),
            worker_silence: Duration::from_secs(45),
            reap_orphans: true,
            orphan_age: Duration::from_secs(10),
            orphan_keep: Duration::from_secs(7 * 24 * 3_600),
            released_volume_keep: Duration::from_secs(3_600),
            budget_day_micros: None,
            budget_month_micros: None,
            budget_alerts: vec![50, 80, 100],
            budget_reserve: Duration::from_secs(3_600),
            budget_margin: Duration::from_secs(45 * 60),
            provider: Provider::default(),
        }
    }
}

impl Default for Provider {
    fn default() -> Self {
        Self {
            app: "bifrost-runner".into(),
            org: "personal".into(),
            pool_name: "bifrost".into(),
            image: "registry.fly.io/bifrost-runner:latest".into(),
            image_mb: 700,
            regions: vec!["iad".into()],
            cpu_kind: "shared".into(),
            cpus: 2,
            memory_mb: 2_048,
            volume_gb: 10,
            runner_command: None,
            control_url: "http://127.0.0.1:7600".into(),
            runner_env: Vec::new(),
            sprites: None,
        }
    }
}
