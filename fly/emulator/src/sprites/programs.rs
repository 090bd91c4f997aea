//! What runs in a sprite: processes of this computer that are told paths below the
//! directory that stands for the sprite's `/`.

use std::fs::File;
use std::io;
use std::path::Path;
use std::process::Stdio;

use fly::{SpriteAction, SpritePolicy, SpriteRule, SpriteService};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use wire::worker::env::MACHINE_ROOT;

/// The paths that are a sprite's own.
const OWN: [&str; 2] = ["/home/", "/.sprite/"];
/// What curl says to a name that is not looked up.
const UNRESOLVED: u8 = 6;
/// What says that there is no such program.
const NO_PROGRAM: u8 = 127;

/// How a program ended.
pub(super) struct Ended {
    pub(super) code: u8,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Runs a program to its end.
pub(super) async fn run(
    words: &[String],
    stdin: &[u8],
    root: &Path,
    path: &str,
    policy: Option<&SpritePolicy>,
) -> io::Result<Ended> {
    if let Some(host) = words.iter().filter(|_| words[0] == "curl").find_map(|word| host_of(word))
        && policy.is_none_or(|policy| !allows(policy, host))
    {
        let stderr = format!("curl: ({UNRESOLVED}) Could not resolve host: {host}").into_bytes();
        return Ok(Ended { code: UNRESOLVED, stdout: Vec::new(), stderr });
    }
    let mut command = command(&words[0], root, path);
    command.args(words[1..].iter().map(|word| below(root, word)));
    let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match spawned {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Ended { code: NO_PROGRAM, stdout: Vec::new(), stderr: error.to_string().into_bytes() });
        }
        spawned => spawned?,
    };
    if let Some(mut pipe) = child.stdin.take() {
        let text = String::from_utf8_lossy(stdin);
        let told: Vec<String> = text.split(' ').map(|word| below(root, word)).collect();
        // A program that does not read is no failure.
        pipe.write_all(told.join(" ").as_bytes()).await.ok();
    }
    let output = child.wait_with_output().await?;
    let code = output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX);
    Ok(Ended { code, stdout: output.stdout, stderr: output.stderr })
}

/// Starts a service, in a session of its own.
pub(super) fn start(service: &SpriteService, root: &Path, path: &str, log: &Path) -> io::Result<Child> {
    let output = File::options().create(true).append(true).open(log)?;
    let mut command = kit::process::session(below(root, &service.cmd));
    command.args(service.args.iter().map(|word| below(root, word)));
    surround(&mut command, root, path);
    command.envs(&service.env).env(MACHINE_ROOT, root);
    if let Some(directory) = &service.dir {
        command.current_dir(below(root, directory));
    }
    command.stdout(Stdio::from(output.try_clone()?)).stderr(Stdio::from(output)).spawn()
}

fn command(program: &str, root: &Path, path: &str) -> Command {
    let mut command = kit::process::command(program);
    surround(&mut command, root, path);
    command
}

fn surround(command: &mut Command, root: &Path, path: &str) {
    let home = root.join("home/sprite");
    command.env_clear().env("PATH", path).env("LANG", "C.UTF-8").env("HOME", &home).current_dir(home);
}

/// A path of the sprite's own, as this computer has it; any other word as it is.
fn below(root: &Path, word: &str) -> String {
    match OWN.iter().any(|own| word.starts_with(own)) {
        true => format!("{}{word}", root.display()),
        false => word.to_owned(),
    }
}

/// The host of a URL, but for that of the sprite's own API.
fn host_of(word: &str) -> Option<&str> {
    let rest = word.strip_prefix("http://").or_else(|| word.strip_prefix("https://"))?;
    let host = rest.split(['/', ':']).next()?;
    (host != "sprite").then_some(host)
}

/// Whether a policy lets a name be looked up: the rule that says most about it counts.
fn allows(policy: &SpritePolicy, host: &str) -> bool {
    let says = |wanted: &str| {
        policy.rules.iter().find_map(|rule| match rule {
            SpriteRule::Domain { domain, action } if domain == wanted => Some(*action == SpriteAction::Allow),
            SpriteRule::Domain { .. } | SpriteRule::Include { .. } => None,
        })
    };
    let parents = host.match_indices('.').map(|(place, _)| format!("*{}", &host[place..]));
    let names = [host.to_owned()].into_iter().chain(parents).chain(["*".to_owned()]);
    names.into_iter().find_map(|name| says(&name)).unwrap_or(policy.rules.is_empty())
}
