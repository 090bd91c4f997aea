//! What each state asks of the provider: one call, or one look and one call.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use fly::{Init, MachineConfig, Mount, NewMachine, NewVolume, Restart, RestartPolicy, StopConfig};
use kernel::Ctx;
use wire::id::MachineId;
use wire::machine::MachineState;
use wire::worker::env;

use super::Provision;
use super::policy::{self, Boot, Booting, Sleep, Tired, Trouble, boot};
use crate::machines::store::Made;
use crate::machines::{Machine, store};
use crate::{Settings, regions};

/// The metadata key that names the pool a machine belongs to.
pub(crate) const POOL_KEY: &str = "bifrost_pool";
/// The metadata key that names the row a machine belongs to.
pub(crate) const MACHINE_KEY: &str = "bifrost_machine";

/// Whether a machine at the provider carries the mark of a row.
pub(crate) fn is_marked(found: &fly::Machine, id: MachineId) -> bool {
    mark(found, MACHINE_KEY).is_some_and(|mark| mark == id.to_string())
}

pub(crate) fn mark<'a>(found: &'a fly::Machine, key: &str) -> Option<&'a str> {
    found.config.as_ref()?.metadata.get(key).map(String::as_str)
}

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
    /// It had ended and was started.
    Started {
        /// By when its worker has to report in.
        report_by: DateTime<Utc>,
    },
    /// It ran and was restarted.
    Restarted {
        /// By when its worker has to report in.
        report_by: DateTime<Utc>,
    },
    /// It ran and was stopped, to be started.
    Stopped {
        /// By when it has to have stopped.
        stop_by: DateTime<Utc>,
    },
    /// Its batch is over and it is to be replaced.
    Replaced,
    /// It cannot be helped where it is.
    Climb {
        /// What is wrong.
        trouble: Trouble,
        /// The same for people.
        why: String,
    },
    /// It is of no use.
    Hopeless {
        /// Why.
        why: String,
    },
}

impl Done {
    /// Whether the machine has come further. After one look that may be the fruit of an earlier call, which was
    /// accepted then.
    pub(super) fn has_moved(&self) -> bool {
        match self {
            Self::Became(_)
            | Self::Runs { .. }
            | Self::Started { .. }
            | Self::Restarted { .. }
            | Self::Stopped { .. } => true,
            Self::Recorded | Self::Waits { .. } | Self::Replaced | Self::Climb { .. } | Self::Hopeless { .. } => false,
        }
    }
}

impl Provision {
    pub(super) async fn step(&self, ctx: &Ctx, machine: &Machine) -> Result<Done, fly::Error> {
        match (machine.state, machine.provider_id.as_deref()) {
            (MachineState::Creating, _) => self.create(ctx, machine).await,
            (MachineState::Starting | MachineState::Resuming, Some(id)) => self.boot(ctx, machine, id).await,
            (MachineState::Draining, _) => Ok(self.drained(ctx, machine)),
            (MachineState::Suspending, Some(_)) if machine.retiring.is_some() => Ok(Done::Replaced),
            (MachineState::Suspending, Some(id)) => self.suspend(ctx, machine, id).await,
            (MachineState::Destroying, _) => self.destroy(ctx, machine).await,
            (state, _) => Ok(Done::Hopeless { why: format!("it is {state} but the provider never made it") }),
        }
    }

    /// What it replaces goes first, then comes its volume, then the machine. All names are made from ids, so
    /// that a repeated create finds the first.
    async fn create(&self, ctx: &Ctx, machine: &Machine) -> Result<Done, fly::Error> {
        if let Some(former) = &machine.former_provider_id {
            if !self.destroyed(former).await? {
                return Ok(going(ctx, machine));
            }
            return Ok(self.record(ctx, machine, Found::FormerGone).await);
        }
        if self.provider.has_volumes() && machine.volume_provider_id.is_none() {
            return self.create_volume(ctx, machine).await;
        }
        let Some(found) = self.create_machine(machine).await? else {
            let why = format!("the name {} is another machine's at the provider", machine.name);
            return Ok(Done::Climb { trouble: Trouble::Vanished, why });
        };
        match self.record(ctx, machine, Found::Machine(&found)).await {
            Done::Recorded => Ok(Done::Became(MachineState::Starting)),
            not_stored => Ok(not_stored),
        }
    }

    async fn create_volume(&self, ctx: &Ctx, machine: &Machine) -> Result<Done, fly::Error> {
        // A volume's name is not unique at Fly: look before making one, an earlier try may have come through.
        let known = self.provider.volumes().await?;
        if let Some(volume) = known.into_iter().find(|volume| volume.name == machine.volume_name) {
            return Ok(self.record(ctx, machine, Found::Volume(&volume)).await);
        }
        let provider = &self.settings.provider;
        let new = NewVolume {
            name: machine.volume_name.clone(),
            region: Some(self.region_of(machine).to_owned()),
            size_gb: Some(provider.volume_gb),
            source_volume_id: machine.volume_source_id.clone(),
            compute: Some(provider.guest()),
            ..NewVolume::default()
        };
        match self.provider.create_volume(&new).await {
            Ok(volume) => Ok(self.record(ctx, machine, Found::Volume(&volume)).await),
            // What cannot be copied is lost anyway; an empty volume is as good as a new machine's.
            Err(error) if machine.volume_source_id.is_some() && cannot_be_copied(&error) => {
                tracing::warn!(machine.id = %machine.id, %error, "a volume cannot be copied; the machine gets an empty one");
                Ok(self.record(ctx, machine, Found::NoCopy).await)
            }
            Err(error) => Err(error),
        }
    }

    /// The machine at the provider, made now or by an earlier try; none where what has its name does not carry its mark.
    async fn create_machine(&self, machine: &Machine) -> Result<Option<fly::Machine>, fly::Error> {
        let region = Some(self.region_of(machine).to_owned());
        let config = self.config(machine);
        let new = NewMachine { name: machine.name.clone(), region, config, ..NewMachine::default() };
        let error = match self.provider.create_machine(&new).await {
            Ok(made) => return Ok(Some(made)),
            Err(error) => error,
        };
        let named = |all: Vec<fly::Machine>| all.into_iter().find(|found| found.name == machine.name);
        let found = match error.advice() {
            fly::Advice::Adopt(id) => Some(self.provider.machine(&id).await?),
            // Where it cannot be looked for, it is tried again once a list would have it.
            fly::Advice::LookAgain => self.provider.machines().await.ok().and_then(named),
            // What has the name is what is to be gone on with, and no machine yet.
            _ if matches!(error, fly::Error::Unfinished { .. }) => None,
            // An earlier try may have come through, whatever this one is refused for: there may be no room for another.
            _ if machine.failures > 0 => named(self.provider.machines().await?),
            _ => None,
        };
        // While its host is away, nobody can say whose it is.
        let found = found.filter(|found| found.config.is_some()).ok_or(error)?;
        Ok(Some(found).filter(|found| is_marked(found, machine.id)))
    }

    /// A machine whose worker should report in.
    async fn boot(&self, ctx: &Ctx, machine: &Machine, id: &str) -> Result<Done, fly::Error> {
        let is_first_look = policy::is_first_look(machine.report_by, machine.failures, machine.restarts);
        let report_by = ctx.now() + span(self.settings.resume_patience);
        if machine.state == MachineState::Resuming && is_first_look {
            self.provider.start(id).await?;
            return Ok(Done::Runs { report_by });
        }
        let found = self.provider.machine(id).await?;
        let booting = Booting {
            is_host_well: found.host_status != fly::HostStatus::Unreachable,
            since: machine.state_since,
            restarts: machine.restarts,
            report_by: machine.report_by,
            patience: self.settings.boot_patience,
            rung: machine.rung,
        };
        match boot(booting, found.state, ctx.now()) {
            Boot::Start => {
                self.provider.start(id).await?;
                Ok(Done::Started { report_by })
            }
            Boot::Restart => {
                self.provider.restart(id).await?;
                Ok(Done::Restarted { report_by })
            }
            Boot::Stop => {
                self.provider.stop(id).await?;
                Ok(Done::Stopped { stop_by: report_by + policy::STOP_TIMEOUT })
            }
            Boot::GrantTime => {
                let first = machine.state == MachineState::Starting && machine.restarts == 0;
                let grace = if first { self.settings.boot_patience } else { self.settings.resume_patience };
                Ok(Done::Runs { report_by: ctx.now() + span(grace) })
            }
            Boot::Wait(until) => Ok(Done::Waits { until }),
            Boot::Climb(trouble, why) => Ok(Done::Climb { trouble, why }),
        }
    }

    fn drained(&self, ctx: &Ctx, machine: &Machine) -> Done {
        let patience = self.settings.drain_patience;
        let deadline = policy::drains_until(machine.state_since, machine.worker_heard_at, patience);
        if ctx.now() < deadline { Done::Waits { until: deadline } } else { Done::Became(MachineState::Suspending) }
    }

    /// Sleep, or, where that is refused again and again, a stop: its volume keeps what matters.
    async fn suspend(&self, ctx: &Ctx, machine: &Machine, id: &str) -> Result<Done, fly::Error> {
        let tired = Tired { since: machine.state_since, failures: machine.failures };
        let wanted = match policy::suspend(tired, self.provider.machine(id).await?.state, ctx.now()) {
            Sleep::Asleep => return Ok(Done::Became(MachineState::Suspended)),
            Sleep::Climb(trouble) => {
                let why = "it does not go to sleep, nor can it be stopped".to_owned();
                return Ok(Done::Climb { trouble, why });
            }
            Sleep::Wait => fly::MachineState::Suspended,
            Sleep::Suspend => {
                self.provider.suspend(id).await?;
                fly::MachineState::Suspended
            }
            Sleep::Stop => {
                self.provider.stop(id).await?;
                fly::MachineState::Stopped
            }
        };
        let looks_again = Done::Waits { until: ctx.now() + TimeDelta::seconds(2) };
        if self.settings.step_wait.is_zero() {
            return Ok(looks_again);
        }
        match self.provider.wait(id, wanted, self.settings.step_wait).await {
            Ok(()) => Ok(Done::Became(MachineState::Suspended)),
            Err(fly::Error::NotReached { .. }) => Ok(looks_again),
            Err(error) => Err(error),
        }
    }

    async fn destroy(&self, ctx: &Ctx, machine: &Machine) -> Result<Done, fly::Error> {
        let is_looked_for = machine.provider_id.is_none()
            || (self.provider.has_volumes() && !machine.is_volume_kept && machine.volume_provider_id.is_none());
        let is_listed_from = machine.state_since + span(policy::LIST_LAG);
        if is_looked_for && ctx.now() < is_listed_from {
            return Ok(Done::Waits { until: is_listed_from });
        }
        let known = match &machine.provider_id {
            Some(id) => Some(id.clone()),
            // An earlier create may have come through without our learning of it.
            None => self.provider.machines().await?.into_iter().find(|m| m.name == machine.name).map(|m| m.id),
        };
        for id in known.iter().chain(&machine.former_provider_id) {
            if !self.destroyed(id).await? {
                return Ok(going(ctx, machine));
            }
        }
        let volumes = match &machine.volume_provider_id {
            _ if !self.provider.has_volumes() || machine.is_volume_kept => Vec::new(),
            Some(id) => vec![id.clone()],
            None => {
                let all = self.provider.volumes().await?;
                all.into_iter().filter(|v| v.name == machine.volume_name).map(|v| v.id).collect()
            }
        };
        for volume in volumes {
            self.provider.destroy_volume(&volume).await?;
        }
        Ok(Done::Became(MachineState::Destroyed))
    }

    /// Destroys a machine, and says whether it is gone already.
    async fn destroyed(&self, id: &str) -> Result<bool, fly::Error> {
        use fly::MachineState::{Destroyed, LaunchFailed};
        self.provider.destroy(id).await?;
        match self.provider.machine(id).await {
            Ok(found) => Ok(matches!(found.state, Destroyed | LaunchFailed)),
            // Believed only where its app still answers: otherwise it may cost money for ever.
            Err(error) if error.advice() == fly::Advice::Gone => self.provider.machines().await.map(|_| true),
            Err(error) => Err(error),
        }
    }

    /// Stores what was found at once, before anything else can fail: it is what ties the row to what costs money.
    async fn record(&self, ctx: &Ctx, machine: &Machine, found: Found<'_>) -> Done {
        let stored = async {
            let mut tx = ctx.begin("pool.provision.record").await?;
            match found {
                Found::Volume(found) => {
                    let at = made_at(found.created_at, ctx.now());
                    store::set_volume(&mut tx, machine.volume_id, &found.id, &found.region, at).await?;
                }
                Found::NoCopy => {
                    store::forget_source(&mut tx, machine.volume_id).await?;
                    self.work.gone(ctx, &mut tx, machine.id).await?;
                }
                Found::FormerGone => {
                    crate::money::settle_machine(&mut tx, machine.id, ctx.now()).await?;
                    store::forget_former(&mut tx, machine.id).await?;
                    if !self.provider.has_volumes() {
                        store::set_used(&mut tx, machine.id, false).await?;
                        self.work.gone(ctx, &mut tx, machine.id).await?;
                    }
                }
                Found::Machine(found) => {
                    // It may have cost something already, if it was seen before it was finished.
                    crate::money::settle_machine(&mut tx, machine.id, ctx.now()).await?;
                    store::set_provider_id(&mut tx, machine.id, &made(&self.settings, found, ctx.now())).await?;
                    regions::has_room(&mut tx, &found.region).await?;
                    regions::image_found(&mut tx, self.image_of(machine)).await?;
                }
            }
            tx.commit(()).await
        };
        match stored.await {
            Ok(()) => Done::Recorded,
            Err(error) => {
                // The next try finds the same thing by its name.
                tracing::warn!(machine.id = %machine.id, %error, "what the provider made was not stored");
                Done::Waits { until: ctx.now() + span(policy::LIST_LAG) }
            }
        }
    }

    pub(super) fn region_of<'a>(&'a self, machine: &'a Machine) -> &'a str {
        machine.region.as_deref().unwrap_or(self.settings.provider.first_region())
    }

    fn config(&self, machine: &Machine) -> MachineConfig {
        let provider = &self.settings.provider;
        let mut variables: BTreeMap<String, String> = provider.runner_env.iter().cloned().collect();
        variables.insert(env::CONTROL_URL.into(), provider.control_url.clone());
        variables.insert(env::MACHINE_ID.into(), machine.id.to_string());
        variables.insert(env::MACHINE_TOKEN.into(), self.credentials.machine_token(machine.id));
        let directory = provider.runner_directory();
        variables.insert(env::SPRITE_DIR.into(), directory.into());
        let mount =
            |volume: &String| Mount { volume: Some(volume.clone()), path: directory.into(), ..Mount::default() };
        MachineConfig {
            image: self.image_of(machine).to_owned(),
            env: variables,
            init: Init { exec: provider.runner_command.clone(), ..Init::default() },
            guest: provider.guest(),
            mounts: machine.volume_provider_id.iter().map(mount).collect(),
            // A runner that is told to stop ends its command, saves what it left and delivers its events.
            stop_config: Some(StopConfig {
                signal: Some("SIGTERM".into()),
                timeout: Some(format!("{}s", policy::STOP_TIMEOUT.num_seconds())),
                ..StopConfig::default()
            }),
            // The pool itself decides whether a machine is worth another start.
            restart: Restart { policy: RestartPolicy::No, ..Restart::default() },
            metadata: [
                (POOL_KEY.to_owned(), provider.pool_name.clone()),
                (MACHINE_KEY.to_owned(), machine.id.to_string()),
            ]
            .into(),
            ..MachineConfig::default()
        }
    }
}

/// Whether what was to be copied is not there, or not where it could be. Any other refusal may pass.
fn cannot_be_copied(error: &fly::Error) -> bool {
    use fly::Advice::{Gone, RecreateElsewhere};
    error.status().is_some_and(|status| (400..500).contains(&status))
        && matches!(error.advice(), Gone | RecreateElsewhere)
}

/// What the provider made, or what became of it.
enum Found<'a> {
    Volume(&'a fly::Volume),
    Machine(&'a fly::Machine),
    NoCopy,
    FormerGone,
}

/// A machine as the provider made it, and what it costs.
pub(crate) fn made<'a>(settings: &Settings, found: &'a fly::Machine, now: DateTime<Utc>) -> Made<'a> {
    let (awake_rate, asleep_rate) = settings.provider.rates(&found.region);
    let at = made_at(found.created_at, now);
    Made { provider_id: &found.id, region: &found.region, at, awake_rate, asleep_rate }
}

/// When the provider made something, by its clock, which may be ahead of ours.
fn made_at(said: Option<DateTime<Utc>>, now: DateTime<Utc>) -> DateTime<Utc> {
    said.map_or(now, |at| at.min(now))
}

fn going(ctx: &Ctx, machine: &Machine) -> Done {
    Done::Waits { until: policy::goes_until(machine.state_since, ctx.now()) }
}

fn span(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::days(1))
}
