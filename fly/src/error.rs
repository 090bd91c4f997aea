//! Why a call of the Machines API or of the Sprites API failed, and what to do about it. The advice is
//! a pure function of the answer: Fly tells the same thing in several status
//! codes, and different things in one.

mod advice;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::machine::MachineState;

pub use advice::Advice;

/// What was being attempted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Read an organisation's apps.
    ListApps,
    /// Make an app.
    CreateApp,
    /// Read an app.
    ReadApp,
    /// Delete an app with everything in it.
    DeleteApp,
    /// Make a machine.
    CreateMachine,
    /// Read one machine.
    ReadMachine,
    /// Read an app's machines.
    ListMachines,
    /// Give a machine another configuration.
    UpdateMachine,
    /// Start or resume a machine.
    Start,
    /// Suspend a machine.
    Suspend,
    /// Stop a machine.
    Stop,
    /// Stop and start a machine.
    Restart,
    /// Keep requests from a machine.
    Cordon,
    /// Let requests reach a machine again.
    Uncordon,
    /// Destroy a machine.
    DestroyMachine,
    /// Wait for a machine's state.
    Wait,
    /// Read what happened to a machine.
    ReadEvents,
    /// Read a machine's versions.
    ReadVersions,
    /// Run a program in a machine.
    Exec,
    /// Read what runs in a machine.
    ListProcesses,
    /// Send a signal to a machine.
    Signal,
    /// Read how much memory a machine may take.
    ReadMemory,
    /// Change how much memory a machine may take, or ask for some of it.
    WriteMemory,
    /// Read a machine's lease.
    ReadLease,
    /// Take or prolong a machine's lease.
    AcquireLease,
    /// Give a machine's lease back.
    ReleaseLease,
    /// Read a machine's metadata.
    ReadMetadata,
    /// Change a machine's metadata.
    WriteMetadata,
    /// Make a volume.
    CreateVolume,
    /// Read one volume.
    ReadVolume,
    /// Read an app's volumes.
    ListVolumes,
    /// Change a volume's settings.
    UpdateVolume,
    /// Make a volume larger.
    ExtendVolume,
    /// Destroy a volume.
    DestroyVolume,
    /// Read a volume's snapshots.
    ListSnapshots,
    /// Make a snapshot of a volume.
    CreateSnapshot,
    /// Read the names of an app's secrets.
    ListSecrets,
    /// Set or remove an app's secrets.
    WriteSecrets,
    /// Read an app's secret keys.
    ListSecretKeys,
    /// Make, bring or remove a secret key of an app.
    WriteSecretKeys,
    /// Sign, verify, encrypt or decrypt with a secret key of an app.
    UseSecretKey,
    /// Read an app's certificates.
    ListCertificates,
    /// Ask for a certificate of an app, bring one, or remove one.
    WriteCertificates,
    /// Read an app's addresses.
    ListAddresses,
    /// Give an app an address.
    AssignAddress,
    /// Take an address from an app.
    ReleaseAddress,
    /// Ask where there is room.
    FindPlacements,
    /// Read the regions.
    ListRegions,
    /// Read an organisation's machines.
    ListOrgMachines,
    /// Read an organisation's volumes.
    ListOrgVolumes,
    /// Make a sprite.
    CreateSprite,
    /// Read one sprite.
    ReadSprite,
    /// Read the sprites.
    ListSprites,
    /// Destroy a sprite.
    DestroySprite,
    /// Run a program in a sprite.
    ExecInSprite,
    /// Hold a sprite awake, or let go of it.
    HoldSprite,
    /// Save a sprite's disk.
    SaveCheckpoint,
    /// Read a sprite's checkpoints.
    ListCheckpoints,
    /// Put a sprite's disk back.
    RestoreCheckpoint,
    /// Read what a sprite may reach.
    ReadPolicy,
    /// Decide what a sprite may reach.
    WritePolicy,
    /// Say what a sprite runs by itself.
    DefineService,
    /// Stop what a sprite runs by itself, and start it.
    RestartService,
}

impl Action {
    /// Whether a repeat could make a second thing.
    pub(crate) const fn is_create(self) -> bool {
        matches!(
            self,
            Self::CreateApp
                | Self::CreateMachine
                | Self::CreateVolume
                | Self::CreateSnapshot
                | Self::AssignAddress
                | Self::CreateSprite
                | Self::SaveCheckpoint
        )
    }

    /// Whose answer it is.
    pub(crate) const fn api(self) -> &'static str {
        match self {
            Self::CreateSprite
            | Self::ReadSprite
            | Self::ListSprites
            | Self::DestroySprite
            | Self::ExecInSprite
            | Self::HoldSprite
            | Self::SaveCheckpoint
            | Self::ListCheckpoints
            | Self::RestoreCheckpoint
            | Self::ReadPolicy
            | Self::WritePolicy
            | Self::DefineService
            | Self::RestartService => "the Sprites API",
            _ => "the Machines API",
        }
    }

    /// Whether it is about a machine's lease and nothing else.
    pub(crate) const fn is_of_lease(self) -> bool {
        matches!(self, Self::ReadLease | Self::AcquireLease | Self::ReleaseLease)
    }

    /// Whether, when it is not known how it went, one must look before it is done again.
    pub(crate) const fn needs_a_look(self) -> bool {
        self.is_create()
            || matches!(self, Self::UpdateMachine | Self::Restart | Self::ExecInSprite | Self::RestoreCheckpoint)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ListApps => "list the apps",
            Self::CreateApp => "create the app",
            Self::ReadApp => "read the app",
            Self::DeleteApp => "delete the app",
            Self::CreateMachine => "create the machine",
            Self::ReadMachine => "read the machine",
            Self::ListMachines => "list the machines",
            Self::UpdateMachine => "update the machine",
            Self::Start => "start the machine",
            Self::Suspend => "suspend the machine",
            Self::Stop => "stop the machine",
            Self::Restart => "restart the machine",
            Self::Cordon => "cordon the machine",
            Self::Uncordon => "uncordon the machine",
            Self::DestroyMachine => "destroy the machine",
            Self::Wait => "wait for the machine",
            Self::ReadEvents => "read the machine's events",
            Self::ReadVersions => "read the machine's versions",
            Self::Exec => "run a program in the machine",
            Self::ListProcesses => "list the machine's processes",
            Self::Signal => "signal the machine",
            Self::ReadMemory => "read the machine's memory",
            Self::WriteMemory => "change the machine's memory",
            Self::ReadLease => "read the machine's lease",
            Self::AcquireLease => "lease the machine",
            Self::ReleaseLease => "release the machine's lease",
            Self::ReadMetadata => "read the machine's metadata",
            Self::WriteMetadata => "change the machine's metadata",
            Self::CreateVolume => "create the volume",
            Self::ReadVolume => "read the volume",
            Self::ListVolumes => "list the volumes",
            Self::UpdateVolume => "update the volume",
            Self::ExtendVolume => "extend the volume",
            Self::DestroyVolume => "destroy the volume",
            Self::ListSnapshots => "list the volume's snapshots",
            Self::CreateSnapshot => "make a snapshot of the volume",
            Self::ListSecrets => "list the secrets",
            Self::WriteSecrets => "write the secrets",
            Self::ListSecretKeys => "list the secret keys",
            Self::WriteSecretKeys => "change the secret keys",
            Self::UseSecretKey => "use the secret key",
            Self::ListCertificates => "list the certificates",
            Self::WriteCertificates => "change the certificates",
            Self::ListAddresses => "list the addresses",
            Self::AssignAddress => "assign the address",
            Self::ReleaseAddress => "release the address",
            Self::FindPlacements => "find room",
            Self::ListRegions => "list the regions",
            Self::ListOrgMachines => "list the organisation's machines",
            Self::ListOrgVolumes => "list the organisation's volumes",
            Self::CreateSprite => "create the sprite",
            Self::ReadSprite => "read the sprite",
            Self::ListSprites => "list the sprites",
            Self::DestroySprite => "destroy the sprite",
            Self::ExecInSprite => "run a program in the sprite",
            Self::HoldSprite => "hold the sprite",
            Self::SaveCheckpoint => "save a checkpoint",
            Self::ListCheckpoints => "list the checkpoints",
            Self::RestoreCheckpoint => "restore the checkpoint",
            Self::ReadPolicy => "read the network policy",
            Self::WritePolicy => "write the network policy",
            Self::DefineService => "define the service",
            Self::RestartService => "restart the service",
        })
    }
}

/// Why a call did not do what it should; [`Error::advice`] says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No whole answer came, so the call may or may not have been carried out.
    #[error("no answer from {} at {url} when asked to {action}; check the address and that it is up", .action.api())]
    NoAnswer {
        /// What was asked.
        action: Action,
        /// The API's base address.
        url: String,
        /// Whether it is certain that nothing was carried out.
        never_sent: bool,
        /// What broke; a timeout as well.
        #[source]
        source: reqwest::Error,
    },
    /// The API refused.
    #[error("{} refused to {action}: {message} (HTTP {status}{})", .action.api(), request_note(.request_id.as_deref()))]
    Refused {
        /// What was asked.
        action: Action,
        /// The HTTP status.
        status: u16,
        /// The word of the body that says which, such as `insufficient_capacity`.
        code: Option<String>,
        /// The text of the body.
        message: String,
        /// Fly's name for the request, for a support ticket.
        request_id: Option<String>,
        /// For how long the same should not be asked again.
        retry_after: Option<Duration>,
    },
    /// A machine did not reach a state in time.
    #[error("the machine did not become {wanted} in {waited_ms} ms: {detail}")]
    NotReached {
        /// The state that was waited for.
        wanted: MachineState,
        /// How long.
        waited_ms: u64,
        /// What the API said last.
        detail: String,
    },
    /// The API's answer is not one this version understands.
    #[error("{} gave an answer this version does not understand when asked to {action}: {detail}", .action.api())]
    Unexpected {
        /// What was asked.
        action: Action,
        /// What was odd about it.
        detail: String,
    },
    /// So many calls wait for Fly's rate limit that this one would wait too long.
    #[error("too many calls wait for Fly's rate limit to {action}; send fewer at once")]
    Crowded {
        /// What was asked.
        action: Action,
    },
    /// A sprite was asked for, and is not what it should be yet: to ask for it again goes on from there.
    #[error("the sprite {name} is not ready: {cause}")]
    Unfinished {
        /// Which.
        name: String,
        /// What failed.
        cause: Box<Self>,
    },
    /// A program is not the one that it should be.
    #[error("what {url} gives does not have the SHA-256 {sha256}; correct the address or the digest")]
    WrongProgram {
        /// Where it came from.
        url: String,
        /// What it is pinned to.
        sha256: String,
    },
}

fn request_note(id: Option<&str>) -> String {
    id.map(|id| format!(", fly-request-id {id}")).unwrap_or_default()
}

/// What is behind all else.
fn root<'a>(error: &'a (dyn std::error::Error + 'static)) -> &'a (dyn std::error::Error + 'static) {
    std::iter::successors(Some(error), |error| error.source()).last().unwrap_or(error)
}

impl Error {
    /// What to do about it.
    pub fn advice(&self) -> Advice {
        match self {
            Self::NoAnswer { action, never_sent, .. } => match (action.needs_a_look(), never_sent) {
                (true, false) => Advice::LookAgain,
                (true, true) | (false, _) => Advice::WaitAndRetry,
            },
            Self::Refused { action, status, code, message, .. } => {
                advice::for_refusal(*action, *status, code.as_deref(), message)
            }
            Self::NotReached { .. } => Advice::LookAgain,
            Self::Unexpected { action, .. } => match action.needs_a_look() {
                true => Advice::LookAgain,
                false => Advice::GiveUp,
            },
            Self::Crowded { .. } => Advice::SlowDown,
            Self::Unfinished { cause, .. } => match cause.advice() {
                // Whoever looks finds a sprite, and not what is missing in it.
                Advice::LookAgain | Advice::Adopt(_) | Advice::Gone => Advice::WaitAndRetry,
                advice => advice,
            },
            Self::WrongProgram { .. } => Advice::Undo,
        }
    }

    /// The HTTP status, if the API refused.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            Self::Unfinished { cause, .. } => cause.status(),
            Self::NoAnswer { .. }
            | Self::NotReached { .. }
            | Self::Unexpected { .. }
            | Self::Crowded { .. }
            | Self::WrongProgram { .. } => None,
        }
    }

    /// For a row that is shown for as long as this lasts: without the name of the request, which is another each time, and
    /// with what broke where no answer came.
    pub fn lasting(&self) -> String {
        match self {
            Self::Refused { action, status, message, .. } => {
                format!("{} refused to {action}: {message} (HTTP {status})", action.api())
            }
            Self::Unfinished { name, cause } => format!("the sprite {name} is not ready: {}", cause.lasting()),
            Self::NoAnswer { source, .. } => format!("{self}: {}", root(source)),
            Self::NotReached { .. } | Self::Unexpected { .. } | Self::Crowded { .. } | Self::WrongProgram { .. } => {
                self.to_string()
            }
        }
    }

    /// Whether the machine's image cannot be had, at least not yet: a registry is behind a push for a while.
    pub fn is_of_image(&self) -> bool {
        match self {
            Self::Refused { status: 400..=499, message, .. } => advice::is_of_image(message),
            Self::Refused { .. }
            | Self::Unfinished { .. }
            | Self::NoAnswer { .. }
            | Self::NotReached { .. }
            | Self::Unexpected { .. }
            | Self::Crowded { .. }
            | Self::WrongProgram { .. } => false,
        }
    }

    /// For how long the same should not be asked again, if the API said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            Self::Unfinished { cause, .. } => cause.retry_after(),
            Self::NoAnswer { .. }
            | Self::NotReached { .. }
            | Self::Unexpected { .. }
            | Self::Crowded { .. }
            | Self::WrongProgram { .. } => None,
        }
    }

    /// Whether the same call may well succeed a moment later, if it may be repeated at all.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::NoAnswer { .. } => true,
            Self::Refused { status, .. } => matches!(status, 408 | 429 | 500..),
            Self::NotReached { .. }
            | Self::Unexpected { .. }
            | Self::Crowded { .. }
            | Self::Unfinished { .. }
            | Self::WrongProgram { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests;
