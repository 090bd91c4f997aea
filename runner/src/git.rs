//! Git, run through argument vectors, free of anybody's configuration, bounded
//! in time, with its complaints sorted by what to do about them.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

use crate::orders::{Halt, Orders};
use crate::process::{self, Bounds, RunError};
use crate::volume;

pub(crate) mod address;
pub(crate) mod complaint;
pub(crate) mod credential;
pub(crate) mod index;
pub(crate) mod names;
pub(crate) mod ssh;
use credential::Helper;

const SSH: &str = "ssh -oBatchMode=yes -oConnectTimeout=15 -oStrictHostKeyChecking=accept-new";

/// What a list of references or files may take in memory.
const OUTPUT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The only configuration our git reads besides a mirror's own. A file, because git takes
/// variables from the processes it starts for `file://` remotes.
const CONFIGURATION: &str = "\
[safe]\n\tdirectory = *\n\
[protocol \"ext\"]\n\tallow = never\n\
[core]\n\thooksPath = /dev/null\n\tfsmonitor = false\n\
[gc]\n\tauto = 0\n\
[maintenance]\n\tauto = false\n\
[http]\n\tlowSpeedLimit = 1000\n\tlowSpeedTime = 60\n\
[advice]\n\tdetachedHead = false\n";

/// What our git reads, and commands do not.
pub(crate) fn directory(root: &Path) -> io::Result<PathBuf> {
    let directory = root.join("git");
    kit::files::make_private(&directory)?;
    Ok(directory)
}

/// How to run git on this machine.
#[derive(Debug)]
pub(crate) struct Git {
    /// Where its configuration is.
    directory: PathBuf,
    /// This program, for what git has it asked.
    program: PathBuf,
    environment: BTreeMap<OsString, OsString>,
    within: Duration,
}

/// Which repository, index and tree one git command works on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place<'a> {
    pub(crate) repository: Option<&'a Path>,
    pub(crate) tree: Option<&'a Path>,
    pub(crate) index: Option<&'a Path>,
}

impl<'a> Place<'a> {
    pub(crate) fn bare(repository: &'a Path) -> Self {
        Self { repository: Some(repository), ..Self::default() }
    }
}

/// Why a git command gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitError {
    #[error("it was called off")]
    Halted(Halt),
    #[error("git {command} did not end within {within:?}")]
    TimedOut { command: String, within: Duration },
    #[error("git cannot be run on this machine; install it")]
    Missing(#[source] io::Error),
    #[error("the workspace's repository cannot be shown to git")]
    View(#[source] io::Error),
    #[error("git {command} gave more than 64 MiB of output")]
    TooLong { command: String },
    #[error("git {command} failed: {}", complaint::telling_line(.stderr))]
    Failed { command: String, stderr: String },
}

/// Writes what git is to read, and says where.
fn configure(directory: &Path, name: &str, helper: Option<&Helper>, top: Option<&str>) -> io::Result<PathBuf> {
    let configuration = directory.join(name);
    let asks = helper.map(|helper| helper.configuration(top)).unwrap_or_default();
    volume::swap_in(&configuration, format!("{CONFIGURATION}{asks}").as_bytes())?;
    Ok(configuration)
}

impl Git {
    /// Writes git's configuration and fixes its environment.
    pub(crate) fn new(
        root: &Path,
        tools: &BTreeMap<String, String>,
        within: Duration,
        helper: Option<&Helper>,
    ) -> io::Result<Self> {
        let directory = directory(root)?;
        let configuration = configure(&directory, "config", helper, None)?;
        let mut environment: BTreeMap<OsString, OsString> =
            tools.iter().map(|(name, value)| (name.into(), value.into())).collect();
        for (name, value) in [
            ("HOME", directory.as_os_str()),
            ("GIT_CONFIG_GLOBAL", configuration.as_os_str()),
            ("GIT_CONFIG_NOSYSTEM", OsStr::new("1")),
            ("GIT_TERMINAL_PROMPT", OsStr::new("0")),
            ("GIT_SSH_COMMAND", OsStr::new(SSH)),
            ("LC_ALL", OsStr::new("C")),
        ] {
            environment.insert(name.into(), value.into());
        }
        let program = helper.map_or_else(std::env::current_exe, |helper| Ok(helper.program.clone()))?;
        Ok(Self { directory, program, environment, within })
    }

    /// The same for the submodules of a repository: it asks for credentials, and for ssh, in that one's name. There is one such
    /// configuration on a machine, which executes one thing at a time.
    pub(crate) fn for_submodules(&self, helper: Option<&Helper>, top: &str, protocols: &str) -> io::Result<Self> {
        let configuration = configure(&self.directory, "config-submodules", helper, Some(top))?;
        let mut git = self.with([("GIT_ALLOW_PROTOCOL".to_owned(), protocols.to_owned())].into());
        git.environment.insert("GIT_CONFIG_GLOBAL".into(), configuration.into());
        // Git has a shell read it, with what is for ssh as its arguments and once more behind the line.
        let (program, top) = (credential::escape(&self.program.to_string_lossy()), credential::escape(top));
        let asks_first = format!("{program} git-ssh {top} \"$@\" < /dev/null >&2 && exec {SSH}");
        git.environment.insert("GIT_SSH_COMMAND".into(), asks_first.into());
        git.environment.insert("GIT_SSH_VARIANT".into(), "ssh".into());
        Ok(git)
    }

    /// The same with other values for some variables.
    pub(crate) fn with(&self, variables: BTreeMap<String, String>) -> Self {
        let mut environment = self.environment.clone();
        environment.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
        Self { directory: self.directory.clone(), program: self.program.clone(), environment, within: self.within }
    }

    /// Runs git and gives back its standard output.
    pub(crate) async fn run<A: AsRef<OsStr>>(
        &self,
        place: Place<'_>,
        arguments: impl IntoIterator<Item = A>,
        input: &[u8],
        orders: &Orders,
    ) -> Result<Vec<u8>, GitError> {
        self.heard(place, arguments, input, orders).await.map(|(output, _)| output)
    }

    /// As [`Git::run`], for who must know what git only warned of.
    pub(crate) async fn heard<A: AsRef<OsStr>>(
        &self,
        place: Place<'_>,
        arguments: impl IntoIterator<Item = A>,
        input: &[u8],
        orders: &Orders,
    ) -> Result<(Vec<u8>, String), GitError> {
        let (mut command, name) = self.command(place, arguments);
        let bounds = Bounds { within: self.within, keep: OUTPUT_BYTES_MAX };
        let output = process::run(&mut command, input, bounds, orders).await.map_err(|error| match error {
            RunError::Halted(halt) => GitError::Halted(halt),
            RunError::TimedOut { within, .. } => GitError::TimedOut { command: name.clone(), within },
            RunError::Io(error) => GitError::Missing(error),
        })?;
        let stderr = String::from_utf8_lossy(&output.stderr.bytes).into_owned();
        if !output.status.success() {
            return Err(GitError::Failed { command: name, stderr });
        }
        if output.stdout.is_cut { Err(GitError::TooLong { command: name }) } else { Ok((output.stdout.bytes, stderr)) }
    }

    fn command<A: AsRef<OsStr>>(&self, place: Place<'_>, arguments: impl IntoIterator<Item = A>) -> (Command, String) {
        let arguments: Vec<OsString> = arguments.into_iter().map(|argument| argument.as_ref().to_owned()).collect();
        let name = arguments.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut command = kit::process::command("git");
        command.env_clear().envs(&self.environment).args(arguments);
        let variables = [("GIT_DIR", place.repository), ("GIT_WORK_TREE", place.tree), ("GIT_INDEX_FILE", place.index)];
        for (variable, path) in variables {
            if let Some(path) = path {
                command.env(variable, path);
            }
        }
        if let Some(directory) = place.tree.or(place.repository).map(PathBuf::from) {
            command.current_dir(directory);
        }
        (command, name)
    }
}
