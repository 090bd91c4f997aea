//! Git and tmux: run with argument vectors, bounded in time, and their complaints in one line.

use std::ffi::{OsStr, OsString};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::error::ProgramError;

/// Runs it to its end with this input, and gives its standard output.
pub(crate) async fn run(command: &mut Command, input: &[u8], within: Duration) -> Result<Vec<u8>, ProgramError> {
    let name = name(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let missing = |source| ProgramError::Missing { program: name.clone(), source };
    let mut child = command.spawn().map_err(missing)?;
    let mut stdin = child.stdin.take();
    let feed = async {
        if let Some(stdin) = &mut stdin {
            // One that ends without reading says why on its standard error.
            drop(stdin.write_all(input).await);
        }
        drop(stdin);
    };
    let finished = tokio::time::timeout(within, async { tokio::join!(feed, child.wait_with_output()).1 }).await;
    let output = finished.map_err(|_| ProgramError::TimedOut { command: name.clone(), within })?.map_err(missing)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = telling(&String::from_utf8_lossy(&output.stderr));
    let said = if said.is_empty() { output.status.to_string() } else { said };
    Err(ProgramError::Failed { command: name, said })
}

/// The program and the word that says what it is to do.
fn name(command: &Command) -> String {
    let command = command.as_std();
    let verbs = ["worktree", "branch", "bundle", "status", "update-ref", "new-session", "paste-buffer"];
    let verb = command.get_args().find(|word| verbs.iter().any(|verb| OsStr::new(verb) == *word));
    let words: Vec<OsString> = [command.get_program()].into_iter().chain(verb).map(OsStr::to_owned).collect();
    words.join(OsStr::new(" ")).to_string_lossy().into_owned()
}

/// The line that says what is wrong; git says hints around it.
fn telling(stderr: &str) -> String {
    let lines = || stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let complaint = lines().find(|line| line.starts_with("fatal:") || line.starts_with("error:"));
    complaint.or_else(|| lines().next_back()).unwrap_or_default().to_owned()
}
