//! What runs beside an agent, and makes its terminal a managed runtime of the control plane (rows ORK-6.1 to
//! ORK-6.4): it registers the runtime, says every half minute that it is there and how far the agent has read, types
//! what it is given to type, and says in the end that the runtime is gone.
//!
//! It promises: the agent waits for no control plane, and ends with none; nobody is typed over while they type; and
//! nothing counts as read that nobody has read. It says nothing in the terminal, which is the agent's: what goes wrong
//! is in `runtime.json`.
//!
//! Read in this order: `progress` is what is known, `registration` keeps the control plane knowing it, `delivery` types,
//! `reading` sees what was read, `channel` hears what an agent says of that itself, `later` is for agents that read
//! nothing before they have ended.

mod channel;
mod delivery;
mod later;
mod progress;
mod reading;
mod registration;

use std::io;
use std::sync::Mutex;
use std::time::Duration;

use client::control::Control;
use kit::backoff::Backoff;
use kit::{Chance, Clock, Vars};
use runner::local::Life;
use tokio::net::UnixListener;
use tokio::sync::watch;
use wire::runtime::{Backend, Management, NewRuntime};
use wire::task::TaskSpec;

use crate::collision::Rules;
use crate::handle::{Desk, Job, Registered, Registration};
use crate::tmux::{self, Tmux};
use crate::typing::Terminal;
pub(crate) use channel::VARIABLE;
pub use channel::acknowledge;
pub(crate) use later::For;
use progress::State;

/// Between attempts to reach the control plane.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(500), most: Duration::from_secs(30) };
/// What is said when the agent has ended may take so long: somebody may wait for its terminal to close.
const LAST_WORDS_WITHIN: Duration = Duration::from_secs(5);

/// What this computer is called.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Looks after one agent's terminal.
pub(crate) struct Supervisor {
    control: Control,
    /// But for the process, which may be another one later, and whether it can be taken up again.
    runtime: NewRuntime,
    desk: Desk,
    /// Nothing where the agent reads none.
    terminal: Option<Terminal>,
    rules: Rules,
    life: watch::Receiver<Option<Life>>,
    state: watch::Sender<State>,
    noted: Mutex<Registered>,
    listener: UnixListener,
    clock: Clock,
    chance: Chance,
}

impl Supervisor {
    /// One for this agent; `vars` are those of the terminal.
    pub(crate) async fn new(
        desk: &Desk,
        job: &Job,
        registration: &Registration,
        life: watch::Receiver<Option<Life>>,
        vars: &Vars,
        clock: &Clock,
        chance: &Chance,
    ) -> io::Result<Self> {
        let tmux = registration.tmux.as_ref().map(|tmux| Tmux {
            program: tmux.program.clone(),
            socket: vars.text("TMUX").and_then(tmux::socket_of),
            environment: tmux.environment.clone(),
        });
        let target = match &tmux {
            Some(tmux) => tmux.target(job.id).await.unwrap_or_else(|_| tmux::session(job.id)),
            // The terminal's name, once it has one; what has none can be seen here.
            None => desk.log().to_string_lossy().into_owned(),
        };
        let named = job.agent().and_then(|agent| agent.session.clone());
        let runtime = NewRuntime {
            // It is the same runtime when the same session is begun again.
            session_id: named.unwrap_or_else(|| tmux::session(job.id)),
            agent: registration.agent.clone(),
            host: host(),
            pid: 0,
            backend: if tmux.is_some() { Backend::Tmux } else { Backend::Pty },
            target,
            management: Management::Managed,
            can_resume: false,
            task_id: registration.task_id,
        };
        let terminal = job.spec.terminal.then(|| Terminal { id: job.id, desk: desk.clone(), tmux });
        Ok(Self {
            control: Control::new(&registration.server.url, &registration.server.api_key),
            runtime,
            desk: desk.clone(),
            terminal,
            rules: registration.rules,
            life,
            state: watch::Sender::default(),
            noted: Mutex::default(),
            listener: channel::open(&desk.acks())?,
            clock: clock.clone(),
            chance: chance.clone(),
        })
    }

    /// Looks after an agent while it runs; types to one that has the terminal.
    pub(crate) async fn beside(&self, spec: &TaskSpec) {
        let typing = async {
            if let Some(terminal) = self.terminal.as_ref().filter(|_| spec.terminal) {
                tokio::join!(self.deliver(terminal), self.watch_reading());
            }
        };
        tokio::join!(self.watch_life(), self.keep_registered(), self.hear(), typing);
    }

    /// Which process it is.
    async fn watch_life(&self) {
        let mut life = self.life.clone();
        loop {
            if let Some(life) = &*life.borrow_and_update() {
                self.state.send_if_modified(|state| state.runs(life));
            }
            if life.changed().await.is_err() {
                return;
            }
        }
    }
}
