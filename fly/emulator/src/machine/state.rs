//! Pure: a machine's states, what may happen in each, and what must be done then.

use fly::MachineState;
use serde::{Deserialize, Serialize};

/// Where a machine stands; Fly's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Created,
    Starting,
    Started,
    Stopping,
    Stopped,
    Suspending,
    Suspended,
    Restarting,
    Replacing,
    Failed,
    Destroying,
    Destroyed,
}

impl State {
    pub(crate) const fn as_str(self) -> &'static str {
        self.at_fly().as_str()
    }

    /// Whether it stays there until something happens.
    pub(crate) const fn is_settled(self) -> bool {
        !self.at_fly().is_transient()
    }

    const fn at_fly(self) -> MachineState {
        match self {
            Self::Created => MachineState::Created,
            Self::Starting => MachineState::Starting,
            Self::Started => MachineState::Started,
            Self::Stopping => MachineState::Stopping,
            Self::Stopped => MachineState::Stopped,
            Self::Suspending => MachineState::Suspending,
            Self::Suspended => MachineState::Suspended,
            Self::Restarting => MachineState::Restarting,
            Self::Replacing => MachineState::Replacing,
            Self::Failed => MachineState::Failed,
            Self::Destroying => MachineState::Destroying,
            Self::Destroyed => MachineState::Destroyed,
        }
    }
}

/// Something that somebody wants or that has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// It was created to be started.
    Launch,
    /// Somebody wants it started or resumed.
    Start,
    /// Somebody wants it suspended.
    Suspend,
    /// Somebody wants it stopped.
    Stop,
    /// Somebody wants it stopped and started.
    Restart,
    /// It has another configuration.
    Replace {
        /// And is to be started with it.
        launch: bool,
    },
    /// Somebody wants it gone.
    Destroy {
        /// Even if it runs.
        force: bool,
    },
    /// Its init runs.
    Up,
    /// The platform cannot boot it.
    BootFailed,
    /// Its processes are stopped.
    Frozen,
    /// They could not be stopped, and run.
    FreezeFailed,
    /// Its init has ended, and whatever that had started.
    InitEnded(Verdict),
    /// It was asked to stop and takes too long.
    StopOverdue,
    /// The pause before another start is over.
    RestartDue,
    /// Nothing of it is left.
    Removed,
    /// The emulator stops.
    Shutdown,
    /// The emulator was killed, and is back.
    Recovered(Found),
}

/// What follows when an init ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The machine stops.
    Stay,
    /// It is started again.
    Again,
    /// It is destroyed.
    Vanish,
}

/// What a new emulator finds of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// Its init.
    Alive,
    /// Nothing, or remains that were ended.
    Gone(Verdict),
}

/// What must be done, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Start its init; `Up`, `BootFailed` or `InitEnded` follows.
    Boot,
    /// Let its processes run again, or start its init if they are lost; what follows a boot follows.
    Resume,
    /// Stop its processes; `Frozen` or `FreezeFailed` follows.
    Freeze,
    /// Let its processes run, should they have been stopped.
    Thaw,
    /// Signal its init and set the time for `StopOverdue`; `InitEnded` follows.
    AskToStop,
    /// End all its processes.
    Kill,
    /// Empty its root.
    DropRoot,
    /// Set the time for `RestartDue`.
    AwaitRestart,
    /// Remove all of it but its volumes; `Removed` follows.
    Remove,
}

/// That does not happen in this state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Illegal {
    pub(crate) state: State,
    pub(crate) event: Event,
}

/// Decides the next state and what must be done.
pub(crate) fn step(state: State, event: Event) -> Result<(State, Vec<Effect>), Illegal> {
    use Effect::*;
    use Event::*;
    use State::*;
    Ok(match (state, event) {
        (Created, Launch)
        | (Stopped, Start | Restart | Replace { launch: true })
        | (Failed, Restart | Replace { launch: true })
        | (Restarting, RestartDue) => (Starting, vec![Boot]),
        (Suspended, Start) => (Starting, vec![Resume]),
        (Starting, Up) => (Started, vec![]),
        (Starting, BootFailed) => (Failed, vec![DropRoot]),
        (Started, Suspend) => (Suspending, vec![Freeze]),
        (Suspending, Frozen) => (Suspended, vec![]),
        (Suspending, FreezeFailed) => (Started, vec![]),
        (Started | Restarting, Stop | Replace { launch: false }) => (Stopping, vec![AskToStop]),
        (Started, Restart) => (Restarting, vec![AskToStop]),
        (Started | Restarting, Replace { launch: true }) => (Replacing, vec![AskToStop]),
        (Suspended, Stop | Replace { launch: false }) => (Stopped, vec![Kill, DropRoot]),
        (Suspended, Restart | Replace { launch: true }) => (Starting, vec![Kill, DropRoot, Boot]),
        (Stopped | Failed, Replace { launch: false }) => (Stopped, vec![]),
        // What is so already is no error.
        (Started, Start) | (Suspended, Suspend) | (Stopping | Stopped, Stop) | (Restarting, Restart) => (state, vec![]),

        (Created | Stopped | Suspended | Failed | Destroying, Destroy { .. })
        | (Starting | Started | Stopping | Suspending | Restarting | Replacing, Destroy { force: true }) => {
            (Destroying, vec![Kill, Remove])
        }
        (Destroying, Removed) => (Destroyed, vec![]),

        (Starting | Started, InitEnded(verdict)) | (Started, Recovered(Found::Gone(verdict))) => ended(verdict),
        (Stopping, InitEnded(_)) => (Stopped, vec![DropRoot]),
        (Stopping, StopOverdue) => (Stopped, vec![Kill, DropRoot]),
        (Restarting | Replacing, InitEnded(_)) => (Starting, vec![DropRoot, Boot]),
        (Restarting | Replacing, StopOverdue) => (Starting, vec![Kill, DropRoot, Boot]),
        // Its memory is lost, its root is not: the next start boots it.
        (Suspended, InitEnded(_)) => (Suspended, vec![]),

        (Starting | Started | Suspending | Restarting | Replacing, Shutdown) => (Stopping, vec![AskToStop]),
        (Suspended, Shutdown) => (Suspended, vec![Kill]),
        (Created | Stopping | Stopped | Failed | Destroying | Destroyed, Shutdown) => (state, vec![]),

        (Started, Recovered(Found::Alive)) => (Started, vec![Thaw]),
        (Suspended | Suspending, Recovered(Found::Alive)) => (Suspending, vec![Freeze]),
        (Suspended | Suspending, Recovered(Found::Gone(_))) => (Suspended, vec![]),
        (Created | Starting | Restarting | Replacing, Recovered(_)) => (Starting, vec![Kill, DropRoot, Boot]),
        (Stopping | Stopped, Recovered(_)) => (Stopped, vec![Kill, DropRoot]),
        (Failed, Recovered(_)) => (Failed, vec![Kill, DropRoot]),
        (Destroying, Recovered(_)) => (Destroying, vec![Kill, Remove]),

        (state, event) => return Err(Illegal { state, event }),
    })
}

fn ended(verdict: Verdict) -> (State, Vec<Effect>) {
    match verdict {
        Verdict::Stay => (State::Stopped, vec![Effect::DropRoot]),
        Verdict::Again => (State::Restarting, vec![Effect::DropRoot, Effect::AwaitRestart]),
        Verdict::Vanish => (State::Destroying, vec![Effect::Kill, Effect::Remove]),
    }
}

#[cfg(test)]
mod tests;
