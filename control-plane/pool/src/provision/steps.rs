//! What each state asks of the provider: one call, or one look and one call.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use fly::{Guest, Init, MachineConfig, Mount, NewMachine, NewVolume, Restart, RestartPolicy, StopConfig, StopOptions};
use kernel::Ctx;
use wire::machine::MachineState;
use wire::worker::env;

use super::Provision;
use super::policy::{Boot, Booting, boot};
use crate::machines::{Machine, store};

/// The metadata key that names the pool a machine belongs to.
pub(crate) const POOL_KEY: &str = "bifrost_pool";
/// The metadata key that names the row a machine belongs to.
pub(crate) const MACHINE_KEY: &str = "bifrost_machine";
/// The longest one step waits for a state.
const WAIT_LIMIT: Duration = Duration::from_secs(30);

/// Refused suspensions after which a machine is stopped instead.
const SUSPENDS_MAX: i32 = 3;

/// What a step achieved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Done {
    /// The machine stands in this state now.
    Became(MachineState),
    /// Something was stored; the next step may follow at once.
    Recorded,
    /// Nothing more to do until its worker reports in or this time comes.
    Waits {
        /// When to look again.
        until: DateTime<Utc>,
    },
    /// It runs.
    Runs {
        /// By when its worker has to report in.
        report_by: DateTime<Utc>,
    },
    /// It was started again.
    Restarted {
        /// By when its worker has to report in.
        report_by: DateTime<Utc>,
    },
    /// It is of no use.
    Hopeless {
        /// Why.
        why: String,
    },
}

impl Provision {
    pub(super) async fn step(&self, ctx: &Ctx, machine: &Machine) -> Result<Done, fly::Error> {
        match (machine.state, machine.provider_id.as_deref()) {
            (MachineState::Creating, _) => self.create(ctx, machine).await,
            (MachineState::Starting | MachineState::Resuming, Some(id)) => self.boot(ctx, machine, id).await,
            (MachineState::Draining, _) => Ok(self.drained(ctx, machine)),
            (MachineState::Suspending, Some(id)) => self.suspend(machine, id).await,
            (MachineState::Destroying, _) => self.destroy(machine).await,
            (state, _) => Ok(Done::Hopeless { why: format!("it is {state} but the provider never made it") }),
        }
    }

    /// Volume first, then machine. Both names are made from ids, so that a repeated create finds the first.
    async fn create(&self, ctx: &Ctx, machine: &Machine) -> Result<Done, fly::Error> {
        let Some(volume) = &machine.volume_provider_id else {
            let volume = self.create_volume(machine).await?;
            return Ok(self.record(ctx, machine, Found::Volume(&volume.id, &volume.region)).await);
        };
        let made = self.create_machine(machine, volume).await?;
        match self.record(ctx, machine, Found::Machine(&made.0, &made.1)).await {
            Done::Recorded => Ok(Done::Became(MachineState::Starting)),
            not_stored => Ok(not_stored),
        }
    }

    async fn create_volume(&self, machine: &Machine) -> Result<fly::Volume, fly::Error> {
        let provider = &self.settings.provider;
        // A volume's name is not unique at Fly: look before making one, an earlier try may have come through.
        let known = self.machines.volumes(&provider.app).await?;
        if let Some(volume) = known.into_iter().find(|volume| volume.name == machine.volume_name) {
            return Ok(volume);
        }
        let new = NewVolume {
            name: machine.volume_name.clone(),
            region: Some(provider.region.clone()),
            size_gb: Some(provider.volume_gb),
            compute: Some(self.guest()),
            ..NewVolume::default()
        };
        self.machines.create_volume(&provider.app, &new).await
    }

    /// The provider's id and region of the machine, made now or by an earlier try.
    async fn create_machine(&self, machine: &Machine, volume: &str) -> Result<(String, String), fly::Error> {
        let provider = &self.settings.provider;
        let new = NewMachine {
            name: machine.name.clone(),
            region: Some(provider.region.clone()),
            config: self.config(machine, volume),
            skip_launch: false,
        };
        let error = match self.machines.create_machine(&provider.app, &new).await {
            Ok(made) => return Ok((made.id, made.region)),
            Err(error) => error,
        };
        match error.advice() {
            fly::Advice::Adopt(id) => Ok((id, provider.region.clone())),
            fly::Advice::LookAgain => {
                let found = self.machines.machines(&provider.app).await?;
                let found = found.into_iter().find(|found| found.name == machine.name);
                found.map(|found| (found.id, found.region)).ok_or(error)
            }
            _ => Err(error),
        }
    }

    /// A machine whose worker should report in.
    async fn boot(&self, ctx: &Ctx, machine: &Machine, id: &str) -> Result<Done, fly::Error> {
        let app = &self.settings.provider.app;
        let is_first_look = machine.report_by.is_none() && machine.failures == 0 && machine.restarts == 0;
        if machine.state == MachineState::Resuming && is_first_look {
            // Whoever waits for a machine that sleeps should not wait for a look at it as well.
            self.machines.start(app, id).await?;
            return Ok(Done::Runs { report_by: ctx.now() + span(self.settings.resume_patience) });
        }
        let booting = Booting {
            since: machine.state_since,
            restarts: machine.restarts,
            report_by: machine.report_by,
            patience: self.settings.boot_patience,
        };
        let found = self.machines.machine(app, id).await?;
        match boot(booting, found.state, ctx.now()) {
            Boot::Start => {
                self.machines.start(app, id).await?;
                Ok(Done::Restarted { report_by: ctx.now() + span(self.settings.resume_patience) })
            }
            Boot::Stop => {
                self.machines.stop(app, id, &StopOptions::default()).await?;
                Ok(Done::Waits { until: ctx.now() + TimeDelta::seconds(1) })
            }
            Boot::GrantTime => {
                let first = machine.state == MachineState::Starting && machine.restarts == 0;
                let grace = if first { self.settings.boot_patience } else { self.settings.resume_patience };
                Ok(Done::Runs { report_by: ctx.now() + span(grace) })
            }
            Boot::Wait(until) => Ok(Done::Waits { until }),
            Boot::GiveUp(why) => Ok(Done::Hopeless { why }),
        }
    }

    /// A worker that is still heard is saving, or cannot deliver its events yet: asleep, it would keep them
    /// from the record. One that fell silent will not save anything any more.
    fn drained(&self, ctx: &Ctx, machine: &Machine) -> Done {
        let heard_at = machine.worker_heard_at.unwrap_or(machine.state_since).max(machine.state_since);
        let deadline = heard_at + span(self.settings.drain_patience);
        if ctx.now() < deadline { Done::Waits { until: deadline } } else { Done::Became(MachineState::Suspending) }
    }

    /// Sleep, or, where that is refused again and again, a stop: its volume keeps what matters.
    async fn suspend(&self, machine: &Machine, id: &str) -> Result<Done, fly::Error> {
        use fly::MachineState as At;
        let app = &self.settings.provider.app;
        match self.machines.machine(app, id).await?.state {
            At::Suspended | At::Stopped => return Ok(Done::Became(MachineState::Suspended)),
            At::Destroyed | At::Failed => return Ok(Done::Became(MachineState::Destroying)),
            At::Suspending | At::Stopping => (),
            _ if machine.failures >= SUSPENDS_MAX => self.machines.stop(app, id, &StopOptions::default()).await?,
            _ => self.machines.suspend(app, id).await?,
        }
        let wanted = if machine.failures >= SUSPENDS_MAX { At::Stopped } else { At::Suspended };
        self.machines.wait(app, id, wanted, None, WAIT_LIMIT).await?;
        Ok(Done::Became(MachineState::Suspended))
    }

    async fn destroy(&self, machine: &Machine) -> Result<Done, fly::Error> {
        let app = &self.settings.provider.app;
        let known = match &machine.provider_id {
            Some(id) => Some(id.clone()),
            // An earlier create may have come through without our learning of it.
            None => self.machines.machines(app).await?.into_iter().find(|m| m.name == machine.name).map(|m| m.id),
        };
        if let Some(id) = known {
            self.machines.destroy(app, &id, true).await?;
        }
        let volumes = match &machine.volume_provider_id {
            Some(id) => vec![id.clone()],
            None => {
                let all = self.machines.volumes(app).await?;
                all.into_iter().filter(|v| v.name == machine.volume_name).map(|v| v.id).collect()
            }
        };
        for volume in volumes {
            self.machines.destroy_volume(app, &volume).await?;
        }
        Ok(Done::Became(MachineState::Destroyed))
    }

    /// Stores an id at once, before anything else can fail: it is what ties the row to what costs money.
    async fn record(&self, ctx: &Ctx, machine: &Machine, found: Found<'_>) -> Done {
        let stored = async {
            let mut tx = ctx.begin("pool.provision.record").await?;
            match found {
                Found::Volume(id, region) => store::set_volume(&mut tx, machine.volume_id, id, region).await?,
                Found::Machine(id, region) => store::set_provider_id(&mut tx, machine.id, id, region).await?,
            }
            tx.commit(()).await
        };
        match stored.await {
            Ok(()) => Done::Recorded,
            Err(error) => {
                // The next try finds the same thing by its name.
                tracing::warn!(machine.id = %machine.id, %error, "a provider's id was not stored");
                Done::Waits { until: ctx.now() + TimeDelta::seconds(1) }
            }
        }
    }

    fn guest(&self) -> Guest {
        let provider = &self.settings.provider;
        Guest { cpu_kind: provider.cpu_kind.clone(), cpus: provider.cpus, memory_mb: provider.memory_mb }
    }

    fn config(&self, machine: &Machine, volume: &str) -> MachineConfig {
        let provider = &self.settings.provider;
        let mut variables: BTreeMap<String, String> = provider.runner_env.iter().cloned().collect();
        variables.insert(env::CONTROL_URL.into(), provider.control_url.clone());
        variables.insert(env::MACHINE_ID.into(), machine.id.to_string());
        variables.insert(env::MACHINE_TOKEN.into(), self.credentials.machine_token(machine.id));
        variables.insert(env::SPRITE_DIR.into(), "/.sprite".into());
        MachineConfig {
            image: provider.image.clone(),
            env: variables,
            init: Init { exec: provider.runner_command.clone(), ..Init::default() },
            guest: self.guest(),
            mounts: vec![Mount { volume: Some(volume.to_owned()), path: "/.sprite".into(), ..Mount::default() }],
            // A runner that is told to stop ends its command, saves what it left and delivers its events.
            stop_config: Some(StopConfig { signal: Some("SIGTERM".into()), timeout: Some("60s".into()) }),
            // The pool itself decides whether a machine is worth another start.
            restart: Restart { policy: RestartPolicy::No, max_retries: None },
            metadata: [
                (POOL_KEY.to_owned(), provider.pool_name.clone()),
                (MACHINE_KEY.to_owned(), machine.id.to_string()),
            ]
            .into(),
            ..MachineConfig::default()
        }
    }
}

/// An id that the provider gave.
enum Found<'a> {
    Volume(&'a str, &'a str),
    Machine(&'a str, &'a str),
}

fn span(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::days(1))
}
