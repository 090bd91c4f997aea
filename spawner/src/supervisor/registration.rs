//! Keeps the control plane knowing the runtime: registers it, heartbeats, and registers it again when it was forgotten.
//! A control plane that is away is asked again, less and less often, for as long as the agent lives.

use std::sync::PoisonError;
use std::time::Duration;

use client::Error;
use wire::id::RuntimeId;
use wire::runtime::{NewRuntime, RuntimeHeartbeat, RuntimeView};

use super::progress::{Progress, State, Told};
use super::{BACKOFF, LAST_WORDS_WITHIN, Supervisor};
use crate::handle::Registered;

/// Heartbeats; what changes is told at once.
const EVERY: Duration = Duration::from_secs(30);

impl Supervisor {
    /// For as long as it is let.
    pub(super) async fn keep_registered(&self) {
        let mut state = self.state.subscribe();
        let mut told: Option<Told> = None;
        let mut failures = 0;
        loop {
            let Ok(now) = state.wait_for(|state| state.pid.is_some()).await.map(|state| state.clone()) else { return };
            match self.tell(&now, told.as_ref()).await {
                Ok(known) => {
                    failures = 0;
                    self.note(known.runtime, None);
                    // Nobody else writes this, so whoever waits for it is who should hear.
                    drop(tokio::time::timeout(EVERY, state.wait_for(|state| state.told() != known)).await);
                    told = Some(known);
                }
                Err(error) => {
                    failures += 1;
                    self.note(now.runtime, Some(&error));
                    self.forget_if_refused(&error);
                    tokio::time::sleep(BACKOFF.wait(failures, &self.chance)).await;
                }
            }
        }
    }

    /// Registers what is not registered so, or heartbeats. Gives what the control plane knows from then on.
    async fn tell(&self, now: &State, told: Option<&Told>) -> Result<Told, Error> {
        let is_registered_so = told.is_some_and(|told| told.can_resume == now.told().can_resume);
        match now.runtime.filter(|_| is_registered_so) {
            Some(runtime) => {
                self.heartbeat(runtime, now).await?;
                Ok(now.told())
            }
            None => {
                let view = self.control.register_runtime(&self.as_it_is(now)).await?;
                self.state.send_modify(|state| {
                    if state.runtime.replace(view.id).is_none() {
                        match state.known.replace(view.id) == Some(view.id) {
                            true => state.progress.read_through(view.read_cursor),
                            // What an earlier process of this session has read; also of a control plane that has begun
                            // anew.
                            false => state.progress = Progress { written: view.read_cursor, read: view.read_cursor },
                        }
                    }
                });
                Ok(Told { runtime: Some(view.id), read: view.read_cursor, ..now.told() })
            }
        }
    }

    pub(super) async fn heartbeat(&self, runtime: RuntimeId, now: &State) -> Result<RuntimeView, Error> {
        let beat = RuntimeHeartbeat { read_cursor: Some(now.progress.read), pid: now.pid.map(i64::from) };
        self.control.runtime_heartbeat(runtime, beat).await
    }

    fn as_it_is(&self, now: &State) -> NewRuntime {
        let own_target = now.terminal.clone().filter(|_| self.is_own_terminal());
        NewRuntime {
            pid: now.pid.unwrap_or_default().into(),
            target: own_target.unwrap_or_else(|| self.runtime.target.clone()),
            can_resume: now.session.is_some(),
            ..self.runtime.clone()
        }
    }

    /// Whether the agent's terminal is no pane of tmux.
    fn is_own_terminal(&self) -> bool {
        self.terminal.as_ref().is_some_and(|terminal| terminal.tmux.is_none())
    }

    /// A runtime that is gone, or unknown, or another than we think, is registered again.
    pub(super) fn forget_if_refused(&self, error: &Error) {
        if !error.is_transient() {
            // It knows of fewer triggers than we do: what we know is of another time.
            let is_of_another_time = error.code() == Some("invalid");
            self.state.send_if_modified(|state| {
                state.known = state.known.filter(|_| !is_of_another_time);
                state.runtime.take().is_some()
            });
        }
    }

    /// For a person who wonders.
    fn note(&self, id: Option<RuntimeId>, problem: Option<&Error>) {
        let registered = Registered { id, problem: problem.map(ToString::to_string) };
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if *noted != registered {
            if let Err(error) = self.desk.write_runtime(&registered) {
                tracing::warn!("what the control plane knows cannot be noted: {error}");
            }
            *noted = registered;
        }
    }

    /// Says that the runtime has ended. A control plane that does not answer finds out by itself.
    pub(crate) async fn farewell(&self) {
        let leaving = async {
            let mut failures = 0;
            loop {
                let now = self.state.borrow().clone();
                let Some(runtime) = now.runtime else { return };
                let beat = RuntimeHeartbeat { read_cursor: Some(now.progress.read), pid: None };
                let left = match self.control.runtime_heartbeat(runtime, beat).await {
                    // Another process of the session has come in our place.
                    Ok(view) if now.pid.is_some_and(|pid| i64::from(pid) != view.registered.pid) => return,
                    // What was read is delivered, and the rest has failed.
                    Ok(_) => self.control.deregister_runtime(runtime).await,
                    Err(error) => Err(error),
                };
                match left {
                    Err(error) if error.is_transient() => failures += 1,
                    Ok(()) | Err(_) => return,
                }
                tokio::time::sleep(BACKOFF.wait(failures, &self.chance)).await;
            }
        };
        drop(tokio::time::timeout(LAST_WORDS_WITHIN, leaving).await);
    }
}
