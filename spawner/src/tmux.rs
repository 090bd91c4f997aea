//! Tmux: a session for each agent, on the person's own server or on one of a named socket.
//!
//! It gets argument vectors, runs no shell for us, and sees no secret. Text goes to it on
//! its standard input.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use wire::id::ExecutionId;

use crate::error::ProgramError;
use crate::program;

/// What the names of our sessions begin with.
const PREFIX: &str = "fleet-";
const WITHIN: Duration = Duration::from_secs(10);
/// The window before somebody attaches.
const COLUMNS: &str = "200";
const ROWS: &str = "50";

/// A tmux server.
#[derive(Debug, Clone)]
pub(crate) struct Tmux {
    pub(crate) program: PathBuf,
    pub(crate) socket: Option<PathBuf>,
    /// All that it sees of the environment.
    pub(crate) environment: BTreeMap<String, String>,
}

/// The server that a process runs in, by its variable TMUX: socket, process and session.
pub(crate) fn socket_of(variable: &str) -> Option<PathBuf> {
    variable.rsplitn(3, ',').nth(2).filter(|socket| !socket.is_empty()).map(PathBuf::from)
}

/// What the session of an agent is called.
pub(crate) fn session(id: ExecutionId) -> String {
    format!("{PREFIX}{id}")
}

/// Whether tmux says that there is nobody to ask: one that has ended, or never began, has no session.
fn is_no_server(said: &str) -> bool {
    ["no server running", "server exited", "lost server", "No such file or directory", "Connection refused"]
        .iter()
        .any(|words| said.contains(words))
}

impl Tmux {
    /// Whether there is such a program.
    pub(crate) async fn is_there(&self) -> bool {
        self.run(["-V"], b"").await.is_ok()
    }

    /// Opens a session in which this program runs, and gives the server's socket.
    pub(crate) async fn open(
        &self,
        id: ExecutionId,
        directory: &Path,
        words: &[OsString],
    ) -> Result<PathBuf, ProgramError> {
        let name = session(id);
        let options = ["new-session", "-d", "-P", "-F", "#{socket_path}", "-s", &name, "-x", COLUMNS, "-y", ROWS, "-c"];
        // Of several words tmux makes a program's arguments; of one it would make a line for a shell.
        let arguments = options.map(OsStr::new).into_iter().chain([directory.as_os_str(), OsStr::new("--")]);
        let printed = self.run(arguments.chain(words.iter().map(OsString::as_os_str)), b"").await?;
        Ok(PathBuf::from(String::from_utf8_lossy(&printed).trim_end()))
    }

    /// Our sessions, and where each was started; none where no server runs. Others' are left out.
    pub(crate) async fn sessions(&self) -> Result<BTreeMap<ExecutionId, PathBuf>, ProgramError> {
        let listed = match self.run(["list-sessions", "-F", "#{session_name} #{session_path}"], b"").await {
            Err(ProgramError::Failed { said, .. }) if is_no_server(&said) => Vec::new(),
            listed => listed?,
        };
        let listed = String::from_utf8_lossy(&listed);
        let ours = |line: &str| {
            let (id, path) = line.strip_prefix(PREFIX)?.split_once(' ')?;
            Some((id.parse().ok()?, PathBuf::from(path)))
        };
        Ok(listed.lines().filter_map(ours).collect())
    }

    /// Ends a session. One that is gone is no error.
    pub(crate) async fn close(&self, id: ExecutionId) -> Result<(), ProgramError> {
        match self.run(["kill-session", "-t", &exactly(id)], b"").await {
            Ok(_) | Err(ProgramError::Failed { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// What the pane shows, and so many lines that have left it.
    pub(crate) async fn capture(&self, id: ExecutionId, lines: usize) -> Result<String, ProgramError> {
        let (pane, start) = (pane(id), format!("-{lines}"));
        let shown = self.run(["capture-pane", "-p", "-J", "-t", &pane, "-S", &start], b"").await?;
        Ok(String::from_utf8_lossy(&shown).into_owned())
    }

    /// Where a session's program runs: `session:window.pane`.
    pub(crate) async fn target(&self, id: ExecutionId) -> Result<String, ProgramError> {
        let format = "#{session_name}:#{window_index}.#{pane_index}";
        let printed = self.run(["display-message", "-p", "-t", &pane(id), format], b"").await?;
        Ok(String::from_utf8_lossy(&printed).trim_end().to_owned())
    }

    /// When somebody who is attached last pressed a key.
    pub(crate) async fn last_typed(&self, id: ExecutionId) -> Result<Option<DateTime<Utc>>, ProgramError> {
        let listed = self.run(["list-clients", "-t", &exactly(id), "-F", "#{client_activity}"], b"").await?;
        let listed = String::from_utf8_lossy(&listed);
        let times = listed.lines().filter_map(|seconds| DateTime::from_timestamp(seconds.trim().parse().ok()?, 0));
        Ok(times.max())
    }

    /// Types a text as it is, and Enter. Nothing of it is in an argument.
    pub(crate) async fn paste(&self, id: ExecutionId, text: &str) -> Result<(), ProgramError> {
        let (name, pane) = (session(id), pane(id));
        self.run(["load-buffer", "-b", &name, "-"], text.as_bytes()).await?;
        self.run(["paste-buffer", "-d", "-p", "-b", &name, "-t", &pane], b"").await?;
        // A key would go to somebody who scrolls there; a line's end that is pasted becomes Enter for the program.
        self.run(["load-buffer", "-b", &name, "-"], b"\n").await?;
        self.run(["paste-buffer", "-d", "-b", &name, "-t", &pane], b"").await.map(drop)
    }

    /// What a person types to look into a session. Some shells would expand the `=` of an exact name.
    pub(crate) fn attach(&self, id: ExecutionId) -> Vec<String> {
        let socket = self.socket.iter().flat_map(|socket| ["-S".to_owned(), socket.to_string_lossy().into_owned()]);
        let program = self.program.to_string_lossy().into_owned();
        [program].into_iter().chain(socket).chain(["attach".into(), "-t".into(), session(id)]).collect()
    }

    async fn run<A: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = A>,
        input: &[u8],
    ) -> Result<Vec<u8>, ProgramError> {
        let mut command = kit::process::command(&self.program);
        command.env_clear().envs(&self.environment);
        if let Some(socket) = &self.socket {
            command.arg("-S").arg(socket);
        }
        command.args(arguments);
        program::run(&mut command, input, WITHIN).await
    }
}

/// Not another session whose name begins so.
fn exactly(id: ExecutionId) -> String {
    format!("={}", session(id))
}

fn pane(id: ExecutionId) -> String {
    format!("{}:", exactly(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_names_the_servers_socket() {
        assert_eq!(socket_of("/tmp/a,b/default,71,0"), Some(PathBuf::from("/tmp/a,b/default")));
        assert_eq!([socket_of(""), socket_of("71,0"), socket_of(",71,0")], [None, None, None]);
    }
}
