//! Runs a program as one more process of a machine: in its root, with its
//! environment, and so with its mark, by which it is frozen and ended with it.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;

use kit::process::Sig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::driver::Executed;

/// A program to run in a machine.
pub(crate) struct Program {
    /// The program and its arguments; never empty.
    pub(crate) command: Vec<String>,
    /// Its whole environment.
    pub(crate) env: BTreeMap<String, String>,
    /// The machine's root.
    pub(crate) root: PathBuf,
    /// What it can read.
    pub(crate) stdin: String,
}

/// Runs it to its end. Dropped before that, it ends the program and what that has started.
pub(crate) async fn execute(program: &Program) -> io::Result<Executed> {
    let (name, arguments) = program.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let mut child = kit::process::command(name)
        .args(arguments)
        .env_clear()
        .envs(&program.env)
        .current_dir(&program.root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut group = Group(child.id());
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut executed = Executed::default();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A program need not read what it is given.
            drop(stdin.write_all(program.stdin.as_bytes()).await);
        }
    };
    let (_, stdout, stderr) =
        tokio::join!(feed, drain(stdout, &mut executed.stdout), drain(stderr, &mut executed.stderr));
    stdout.and(stderr)?;
    let status = child.wait().await?;
    // What it has left in the background stays.
    group.0 = None;
    (executed.exit_code, executed.exit_signal) = (status.code(), status.signal());
    Ok(executed)
}

/// Reads to the end, for whoever writes must not be held up, and keeps the beginning.
async fn drain(stream: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) -> io::Result<()> {
    let Some(mut stream) = stream else { return Ok(()) };
    let mut buffer = vec![0; 16 * 1_024];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            count => Executed::keep(kept, &buffer[..count]),
        }
    }
}

/// The process group of a program that is not wanted any more when this is dropped.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            drop(kit::process::signal_group(leader, Sig::SIGKILL));
        }
    }
}
