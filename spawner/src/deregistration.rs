//! The last word for an agent whose supervisor was killed with it, and could not say that its runtime is gone.
//!
//! It promises: a runtime whose process lives is left alone, also where that is another one that has taken the session up,
//! or one of another computer.

use std::fs;
use std::time::Duration;

use client::Error;
use client::control::Control;
use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::time::Instant;
use wire::id::RuntimeId;
use wire::runtime::{RuntimeState, RuntimeView};

use crate::BEAT;
use crate::handle::Server;
use crate::supervisor::host;

/// One that was killed may take so long to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(2);

/// Says that a runtime has ended, where its process has and nobody has said so; whether it is gone then.
pub async fn deregister(server: &Server, id: RuntimeId) -> Result<bool, Error> {
    let control = Control::new(&server.url, &server.api_key);
    let runtime = control.runtime(id).await?;
    if runtime.state == RuntimeState::Gone {
        return Ok(true);
    }
    if !has_ended(&runtime).await {
        return Ok(false);
    }
    control.deregister_runtime(id).await?;
    Ok(true)
}

async fn has_ended(runtime: &RuntimeView) -> bool {
    let Ok(pid) = i32::try_from(runtime.registered.pid) else { return false };
    if runtime.registered.host != host() || pid <= 1 {
        return false;
    }
    let deadline = Instant::now() + GONE_WITHIN;
    let mut beat = tokio::time::interval(BEAT);
    while !is_gone(pid) {
        if Instant::now() > deadline {
            return false;
        }
        beat.tick().await;
    }
    true
}

/// Whether no process of this number runs; one that nobody has waited for yet does not.
fn is_gone(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)
        || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| is_dead(&stat))
}

/// `pid (name) state …`, where the name may hold anything.
fn is_dead(stat: &str) -> bool {
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    matches!(state, Some('Z' | 'X'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_gone_once_it_has_ended_whether_somebody_waited_for_it_or_not() {
        let mut child = kit::process::command("sleep").arg("60").spawn().expect("starts");
        let pid = i32::try_from(child.id().expect("runs")).expect("a number");
        assert!(!is_gone(pid));
        kill(Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).expect("is ours");
        child.wait().await.expect("ends");
        assert!(is_gone(pid));
    }

    #[test]
    fn what_nobody_has_waited_for_is_dead() {
        for (stat, expect) in [("7 (a) Z) S 1 5", false), ("7 (a) Z 1 5", true), ("7 (a) X 1", true), ("", false)] {
            assert_eq!(is_dead(stat), expect, "{stat}");
        }
    }
}
