//! `bifrost` as a person calls it: arguments in, an exit code and two streams out.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use kit::Vars;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::time::timeout;

use crate::PATIENCE;

/// The program under test, which stands beside the folder of the test programs.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a program knows where it is");
    let built = test.parent().and_then(Path::parent).map(|profile| profile.join("bifrost"));
    let built = built.filter(|built| built.is_file());
    built.unwrap_or_else(|| panic!("there is no bifrost beside {}: run `cargo build` first", test.display()))
}

/// A command with nothing of our environment but where programs are, and a home of its own.
pub(crate) fn bare(program: impl AsRef<OsStr>, home: &Path) -> Command {
    let vars = Vars::from_process();
    let mut command = kit::process::command(program);
    command.env_clear().env("PATH", vars.text("PATH").unwrap_or("/usr/bin:/bin")).env("LANG", "C.UTF-8");
    command.env("HOME", home).current_dir(home);
    command
}

/// One call of the program.
#[derive(Debug)]
pub struct CommandLine {
    command: Command,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; 128 and the signal where one killed it.
    pub code: i32,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

/// A call that has not ended.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: ChildStderr,
}

impl CommandLine {
    /// `bifrost` with these arguments, in a home that nothing else uses.
    pub fn new<A: AsRef<OsStr>>(home: &Path, arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = bare(program(), home);
        command.args(arguments);
        command.into()
    }

    /// One of the repository's own scripts, in a home that nothing else uses, with the same `bifrost`.
    pub fn script(name: &str, home: &Path) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts").join(name);
        let mut command = bare(path, home);
        command.env("BIFROST", program()).env("TMPDIR", home);
        command.into()
    }

    /// Gives it arguments.
    #[must_use]
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.command.args(arguments);
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Calls it from another directory.
    #[must_use]
    pub fn in_directory(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Has it read this file on its standard input.
    #[must_use]
    pub fn reading(mut self, file: &Path) -> Self {
        self.command.stdin(std::fs::File::open(file).expect("is there"));
        self
    }

    /// Starts it.
    pub fn spawn(mut self) -> Running {
        let mut child = self.command.spawn().expect("the program starts");
        let stdout = BufReader::new(child.stdout.take().expect("is piped")).lines();
        let stderr = child.stderr.take().expect("is piped");
        Running { child, stdout, stderr }
    }

    /// Runs it to its end.
    pub async fn output(self) -> Output {
        self.spawn().output().await
    }
}

impl From<Command> for CommandLine {
    fn from(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command }
    }
}

impl Running {
    /// The next line of its standard output.
    pub async fn line(&mut self) -> String {
        let line = timeout(PATIENCE, self.stdout.next_line()).await.expect("it writes a line in time");
        line.expect("its output is text").expect("it does not end before that line")
    }

    /// Sends what Ctrl-C sends.
    pub fn interrupt(&self) {
        let leader = self.child.id().expect("it has not ended");
        kit::process::signal_group(leader, kit::process::Sig::SIGINT).expect("it may be signalled");
    }

    /// Waits for its end; lines that were taken are not told again.
    pub async fn output(mut self) -> Output {
        use std::os::unix::process::ExitStatusExt;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut rest = self.stdout.into_inner();
        let ended = async {
            tokio::join!(rest.read_to_end(&mut stdout), self.stderr.read_to_end(&mut stderr), self.child.wait())
        };
        let (_, _, status) = timeout(PATIENCE, ended).await.expect("the program ends in time");
        let status = status.expect("it was started here");
        let code = status.code().or(status.signal().map(|signal| 128 + signal)).expect("it ended in one of two ways");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Output { code, stdout: text(stdout), stderr: text(stderr) }
    }
}
