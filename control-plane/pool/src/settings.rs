//! What the operator decides about the pool.

use std::time::Duration;

use wire::limit::MACHINES_MAX;

/// Bounds and patience of the pool.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The most machines that may exist, suspended ones included; at most [`MACHINES_MAX`].
    pub machines_max: usize,
    /// Another machine comes when more than this many tasks wait for each active one (row FLY-037).
    pub queue_per_machine: usize,
    /// How long a worker is idle before its batch counts as over and its machine is suspended.
    pub suspend_after: Duration,
    /// How long a machine is suspended before it is destroyed.
    pub destroy_after: Duration,
    /// How long a new machine may take until its worker reports in; images are pulled meanwhile.
    pub boot_patience: Duration,
    /// How long a resumed or restarted machine may take until its worker reports in.
    pub resume_patience: Duration,
    /// How long a worker that should save a checkpoint may be silent before its machine is suspended anyway.
    pub drain_patience: Duration,
    /// A worker that was silent for longer gets no work.
    pub worker_silence: Duration,
    /// What the provider is asked for.
    pub provider: Provider,
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
    /// Where machines and volumes are made.
    pub region: String,
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
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            machines_max: MACHINES_MAX,
            queue_per_machine: 5,
            suspend_after: Duration::from_secs(5),
            destroy_after: Duration::from_secs(24 * 3_600),
            boot_patience: Duration::from_secs(600),
            resume_patience: Duration::from_secs(30),
            drain_patience: Duration::from_secs(60),
            worker_silence: Duration::from_secs(45),
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
            region: "iad".into(),
            cpu_kind: "shared".into(),
            cpus: 2,
            memory_mb: 2_048,
            volume_gb: 10,
            runner_command: None,
            control_url: "http://127.0.0.1:7600".into(),
            runner_env: Vec::new(),
        }
    }
}
