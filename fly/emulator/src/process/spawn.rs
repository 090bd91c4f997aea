//! Starts a machine's init: in a session of its own, with its root as working
//! directory and nothing of this program's environment but what is named.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;

use super::init::Init;
use super::{clock, root};

/// All that is needed to start a machine's init.
#[derive(Clone)]
pub(crate) struct Launch {
    /// The program and its arguments.
    pub(crate) command: Vec<String>,
    /// Its whole environment.
    pub(crate) env: BTreeMap<String, String>,
    /// The machine's directory, where its log is.
    pub(crate) directory: PathBuf,
    /// Its root.
    pub(crate) root: PathBuf,
    /// Where its volumes are seen, and where they are.
    pub(crate) mounts: Vec<(PathBuf, PathBuf)>,
    /// Whether its clock may be behind later.
    pub(crate) may_lag: bool,
    /// This computer's boot.
    pub(crate) boot_id: String,
}

/// Of a machine that was made by an emulator with a program for such.
fn no_program() -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, "no program is named; start the emulator with --run")
}

/// Starts it. Blocks for as long as a fork and some small files take.
pub(crate) fn spawn(launch: &Launch) -> io::Result<Init> {
    root::prepare(&launch.root, &launch.mounts)?;
    let mut env = launch.env.clone();
    if launch.may_lag {
        env.extend(clock::install(&launch.directory)?.map(|(name, value)| (name.to_owned(), value)));
    } else {
        clock::uninstall(&launch.directory)?;
    }
    let log = root::open_log(&launch.directory)?;
    let (program, arguments) = launch.command.split_first().ok_or_else(no_program)?;
    let child = kit::process::session(program)
        .args(arguments)
        .env_clear()
        .envs(env)
        .current_dir(&launch.root)
        .stdout(Stdio::from(log.try_clone()?))
        .stderr(Stdio::from(log))
        .spawn()?;
    Init::of_child(child, &launch.boot_id)
}
