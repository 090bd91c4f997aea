//! Child processes: argument vectors only, each in its own process group or
//! session, and signals to whole groups.

use std::ffi::OsStr;
use std::io;

use nix::errno::Errno;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use tokio::process::Command;

/// A command in a process group of its own, killed when its handle is dropped.
/// No shell reads the program or its arguments.
#[expect(clippy::disallowed_methods, reason = "this is the one place that makes commands")]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.process_group(0).kill_on_drop(true).stdin(std::process::Stdio::null());
    command
}

/// A command in a session of its own, out of reach of this program's terminal and
/// signals; killed when its handle is dropped, but not when this program is.
#[expect(clippy::disallowed_methods, reason = "this is the one place that makes commands")]
#[expect(unsafe_code, reason = "setsid is async-signal-safe, which is all that pre_exec asks for")]
pub fn session(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.kill_on_drop(true).stdin(std::process::Stdio::null());
    // SAFETY: the closure makes one system call, allocates nothing and touches no lock.
    unsafe { command.pre_exec(|| nix::unistd::setsid().map(drop).map_err(io::Error::from)) };
    command
}

/// Keeps what this program was started with besides its three streams, such as what a shell or a build tool has open,
/// from every program that it starts. Said once, first of all.
#[expect(unsafe_code, reason = "no library sets a flag of a descriptor that is nobody's here")]
pub fn keep_inherited_files() -> io::Result<()> {
    for entry in std::fs::read_dir("/dev/fd")? {
        let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        if number > 2 {
            // SAFETY: it changes a flag that matters to other programs only; a number that is free by now is refused.
            unsafe { nix::libc::fcntl(number, nix::libc::F_SETFD, nix::libc::FD_CLOEXEC) };
        }
    }
    Ok(())
}

/// Sends a signal to every process of the group. A group that is gone is no error.
pub fn signal_group(leader: u32, signal: Signal) -> io::Result<()> {
    let Ok(leader) = i32::try_from(leader) else { return Ok(()) };
    // 0 and 1 would mean our own group and everything.
    if leader <= 1 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a process group of ours"));
    }
    match signal::killpg(Pid::from_raw(leader), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

pub use nix::sys::signal::Signal as Sig;

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use nix::fcntl::{FcntlArg, FdFlag, fcntl};

    use super::*;

    #[tokio::test]
    async fn a_signal_reaches_the_whole_group() {
        let mut child = command("sh").args(["-c", "sleep 60 & wait"]).spawn().expect("starts");
        signal_group(child.id().expect("runs"), Signal::SIGKILL).expect("signals");
        assert!(!child.wait().await.expect("ends").success());
    }

    #[tokio::test]
    async fn a_session_has_a_leader_of_its_own() {
        let child = session("sleep").arg("60").spawn().expect("starts");
        let pid = i32::try_from(child.id().expect("runs")).expect("a process id");
        assert_eq!(nix::unistd::getsid(Some(Pid::from_raw(pid))), Ok(Pid::from_raw(pid)));
    }

    #[tokio::test]
    async fn what_was_inherited_is_handed_on_until_it_is_kept() {
        let file = std::fs::File::open("/dev/null").expect("opens");
        fcntl(&file, FcntlArg::F_SETFD(FdFlag::empty())).expect("sets");
        let path = format!("/dev/fd/{}", file.as_raw_fd());
        let has_it = async || command("test").args(["-e", &path]).status().await.expect("runs").success();
        assert!(has_it().await);
        keep_inherited_files().expect("keeps");
        assert!(!has_it().await);
    }

    #[test]
    fn our_own_group_is_never_signalled() {
        assert!(signal_group(0, Signal::SIGKILL).is_err());
        assert!(signal_group(1, Signal::SIGKILL).is_err());
    }
}
