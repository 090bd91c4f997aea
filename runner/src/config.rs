//! What a runner is told when it starts: by the environment its machine was
//! made with, or by the program that composes it.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::Vars;
use wire::id::MachineId;
use wire::worker::env;

use crate::agent::driver::Drivers;
use crate::agent::keys::Keys;
use crate::git::credential::{Credentials, Source};
use crate::isolation::Demand;

/// Where a machine of Fly's serves its own API to whoever asks in it, without a token.
const MACHINE_API: &str = "/.fly";
const SPRITE_DIR: &str = "/.sprite";
/// Where a sprite serves its own API.
const SPRITE_SOCKET: &str = "/.sprite/api.sock";
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Variables of the runner's own environment that tools may see: where programs and certificates
/// are, how to reach the network. Nothing secret, and nothing that leads into a person's home.
pub const TOOL_VARIABLES: [&str; 27] = [
    "PATH",
    "LANG",
    "TZ",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "PIP_INDEX_URL",
    "PIP_FIND_LINKS",
    "UV_DEFAULT_INDEX",
    "NPM_CONFIG_REGISTRY",
    "npm_config_registry",
    "GOPROXY",
    "GOSUMDB",
    "GOPRIVATE",
    "RUSTUP_HOME",
    "PYENV_ROOT",
];

/// Files of a computer by which an operator steers its runners, besides [`STEERING`](wire::worker::env::STEERING).
pub const OPERATOR_FILES: [&str; 3] = [CREDENTIALS, "BIFROST_AGENTS", KEYS];

const KEYS: &str = "BIFROST_AGENT_KEYS";
const CREDENTIALS: &str = "BIFROST_GIT_CREDENTIALS";
const CREDENTIALS_TEXT: &str = "BIFROST_GIT_CREDENTIALS_TEXT";

/// What one runner needs to know.
#[derive(Clone)]
pub struct Config {
    /// Where the control plane listens for workers (`BIFROST_CONTROL_URL`).
    pub control_url: String,
    /// Which machine this is (`BIFROST_MACHINE_ID`).
    pub machine_id: MachineId,
    /// Proves it; good for registration only (`BIFROST_MACHINE_TOKEN`).
    pub machine_token: String,
    /// Where the machine's volume is (`BIFROST_SPRITE_DIR`, default `/.sprite`).
    pub sprite_dir: PathBuf,
    /// What of the runner's own environment git, package managers and commands may see.
    pub tool_environment: BTreeMap<String, String>,
    /// What git is answered when a remote asks who we are: from the file that `BIFROST_GIT_CREDENTIALS` names, or what
    /// would be in it (`BIFROST_GIT_CREDENTIALS_TEXT`).
    pub credentials: Option<Credentials>,
    /// The agents it knows: those that come with it, and those of the file that `BIFROST_AGENTS` names.
    pub drivers: Drivers,
    /// What those authenticate with: of this environment, and of the file that `BIFROST_AGENT_KEYS` names.
    pub keys: Keys,
    /// Whether commands are kept apart from this machine (`BIFROST_ISOLATION`, default `on`).
    pub isolation: Demand,
    /// Directories and files besides the volume that commands do not see: what `BIFROST_HIDE` names, the file of keys,
    /// and where the machine serves its API.
    pub hidden: Vec<PathBuf>,
    /// Whether the emulator runs this machine as a process, and knows it by its environment (`FLY_EMULATOR_ROOT`).
    pub is_emulated: bool,
    /// The hold that keeps the sprite awake which this runs in (`BIFROST_SPRITE_HOLD`).
    pub hold: Option<Hold>,
    /// The bounds it keeps to.
    pub limits: Limits,
}

/// A hold on a sprite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Its name.
    pub name: String,
    /// Where the sprite serves its own API.
    pub socket: PathBuf,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("control_url", &self.control_url)
            .field("machine_id", &self.machine_id)
            .field("machine_token", &"[secret]")
            .field("sprite_dir", &self.sprite_dir)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// The bounds a runner keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Between SIGTERM and SIGKILL when a command is ended (`BIFROST_GRACE_SECONDS`, default 10).
    pub grace: Duration,
    /// How long an agent may take to exit once it has said how it ended (`BIFROST_AGENT_EXIT_SECONDS`, default 10).
    pub agent_exit: Duration,
    /// Of a command's output beyond this only the end is told (`BIFROST_OUTPUT_BYTES`, default 64 MiB).
    pub output_bytes: u64,
    /// The longest one git command may take.
    pub git: Duration,
    /// The longest one package manager may take.
    pub install: Duration,
    /// Checkpoints that are kept, the newest ones.
    pub checkpoints: usize,
    /// Sessions of agents that are kept, the last used ones.
    pub agent_sessions: usize,
    /// The bytes that all of them may take.
    pub agent_session_bytes: u64,
    /// Repositories of which a spare checkout is kept ready, the newest ones (`BIFROST_SPARES`, default 3).
    pub spares: usize,
    /// A repository of more bytes than this is cloned without its files' contents, which are then
    /// fetched as they are needed (`BIFROST_PARTIAL_CLONE_BYTES`, default 1 GiB).
    pub partial_above: u64,
    /// Dependency trees that are kept, the last used ones.
    pub dependency_trees: usize,
    /// Bytes of installed dependencies that are kept, the last used ones (`BIFROST_DEPENDENCY_BYTES`,
    /// default 4 GiB).
    pub dependency_bytes: u64,
    /// Damaged things of each kind that are kept for a person to look at, the newest ones.
    pub quarantined: usize,
    /// The most bytes that are kept free on a volume of which a fifth is more: docs/workspaces.md says what goes first.
    pub reserve_bytes: u64,
    /// How long to go on without hearing the control plane while there is no work in hand.
    pub silence: Duration,
    /// How long to wait for the event store before an execution is reported as complete.
    pub flush: Duration,
    /// Events kept on disk while the event store is away (`BIFROST_SPOOL_BYTES`, default 256 MiB).
    pub spool_bytes: u64,
    /// The most memory that an execution may use (`BIFROST_MEMORY_BYTES`;
    /// none means what the machine has, less 64 MiB, and without walls no limit).
    pub memory_bytes: Option<u64>,
    /// The most bytes that an execution's own files may take of the volume (`BIFROST_DISK_BYTES`; none means as much
    /// as there is).
    pub disk_bytes: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(10),
            agent_exit: Duration::from_secs(10),
            output_bytes: 64 * 1024 * 1024,
            git: Duration::from_secs(1_800),
            install: Duration::from_secs(900),
            checkpoints: 5,
            agent_sessions: 50,
            agent_session_bytes: 1024 * 1024 * 1024,
            spares: 3,
            partial_above: 1024 * 1024 * 1024,
            dependency_trees: 50,
            dependency_bytes: 4 * 1024 * 1024 * 1024,
            quarantined: 2,
            reserve_bytes: 8 * 1024 * 1024 * 1024,
            silence: Duration::from_secs(600),
            flush: Duration::from_secs(5),
            spool_bytes: 256 * 1024 * 1024,
            memory_bytes: None,
            disk_bytes: None,
        }
    }
}

/// Looks at how an operator steers runners before any is started so; `vars` then knows what is wrong.
pub fn check_operator_variables(vars: &mut Vars) {
    limits(vars);
    credentials(vars);
    if vars.text(CREDENTIALS_TEXT).is_some() {
        vars.problem(format!("{CREDENTIALS_TEXT}: is for a runner alone; name a file with {CREDENTIALS}"));
    }
    let drivers = drivers(vars).unwrap_or_else(Drivers::built_in);
    keys(vars, &drivers);
    hidden(vars);
    vars.or("BIFROST_ISOLATION", Demand::default());
}

impl Config {
    /// Reads the environment. Nothing comes back when something was missing or unreadable;
    /// `vars` then knows what.
    pub fn from_vars(vars: &mut Vars) -> Option<Self> {
        let control_url: Option<String> = vars.required(env::CONTROL_URL);
        let machine_id = vars.required(env::MACHINE_ID);
        let machine_token = vars.required(env::MACHINE_TOKEN);
        if control_url.as_deref().is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
            vars.problem(format!("{}: must be an http or https URL", env::CONTROL_URL));
        }
        let root = vars.text(env::MACHINE_ROOT).map(PathBuf::from);
        let named = PathBuf::from(vars.text(env::SPRITE_DIR).unwrap_or(SPRITE_DIR));
        let sprite_dir = below_machine_root(root.as_deref(), named);
        let hold = hold(vars, root.as_deref());
        let limits = limits(vars);
        let tool_environment = tool_environment(vars);
        let drivers = drivers(vars);
        let credentials = credentials(vars);
        let isolation = vars.or("BIFROST_ISOLATION", Demand::default());
        let hidden = hidden(vars).into_iter().chain(vars.text(KEYS).map(PathBuf::from));
        let hidden = hidden.chain([below_machine_root(root.as_deref(), MACHINE_API.into())]).collect();
        let keys = drivers.as_ref().map(|drivers| keys(vars, drivers));
        Some(Self {
            control_url: control_url?,
            machine_id: machine_id?,
            machine_token: machine_token?,
            sprite_dir,
            tool_environment,
            credentials,
            drivers: drivers?,
            keys: keys?,
            isolation,
            hidden,
            is_emulated: root.is_some(),
            hold,
            limits,
        })
    }
}

/// The bounds, as far as the operator sets them.
fn limits(vars: &mut Vars) -> Limits {
    let defaults = Limits::default();
    let disk_bytes = vars.optional("BIFROST_DISK_BYTES");
    if disk_bytes == Some(0) {
        vars.problem("BIFROST_DISK_BYTES: must be more than 0; leave it out where nothing is to be limited".to_owned());
    }
    Limits {
        grace: Duration::from_secs(vars.or("BIFROST_GRACE_SECONDS", defaults.grace.as_secs())),
        agent_exit: Duration::from_secs(vars.or("BIFROST_AGENT_EXIT_SECONDS", defaults.agent_exit.as_secs())),
        output_bytes: vars.or("BIFROST_OUTPUT_BYTES", defaults.output_bytes),
        spool_bytes: vars.or("BIFROST_SPOOL_BYTES", defaults.spool_bytes),
        spares: vars.or("BIFROST_SPARES", defaults.spares),
        partial_above: vars.or("BIFROST_PARTIAL_CLONE_BYTES", defaults.partial_above),
        dependency_bytes: vars.or("BIFROST_DEPENDENCY_BYTES", defaults.dependency_bytes),
        memory_bytes: vars.optional("BIFROST_MEMORY_BYTES"),
        disk_bytes,
        ..defaults
    }
}

/// What the operator keeps commands from seeing.
fn hidden(vars: &mut Vars) -> Vec<PathBuf> {
    let named = vars.text(env::HIDE).unwrap_or_default().split(':').filter(|path| !path.is_empty());
    let named: Vec<PathBuf> = named.map(PathBuf::from).collect();
    for path in named.iter().filter(|path| !path.is_absolute()) {
        // Each machine starts in another directory.
        let problem = format!("{}: {}: name each by its whole path, beginning with /", env::HIDE, path.display());
        vars.problem(problem);
    }
    named
}

/// The operator's credentials, and this program to answer from them.
fn credentials(vars: &mut Vars) -> Option<Credentials> {
    let source = match (vars.text(CREDENTIALS), vars.text(CREDENTIALS_TEXT)) {
        (None, None) => return None,
        (Some(_), Some(_)) => {
            Err(format!("{CREDENTIALS}, {CREDENTIALS_TEXT}: give one of them and take the other away"))
        }
        (Some(file), None) => check_private(Path::new(file))
            .map(|()| Source::File(file.into()))
            .map_err(|problem| format!("{CREDENTIALS}: {file}: {problem}")),
        (None, Some(text)) => Source::of_text(text).map_err(|problem| format!("{CREDENTIALS_TEXT}: {problem}")),
    };
    let program = std::env::current_exe().map_err(|error| format!("this program cannot be found: {error}"));
    match source.and_then(|source| Ok(Credentials { program: program?, source })) {
        Ok(credentials) => Some(credentials),
        Err(problem) => {
            vars.problem(problem);
            None
        }
    }
}

/// A file with secrets of the operator's must be for its owner alone.
fn check_private(file: &Path) -> Result<(), String> {
    match std::fs::metadata(file) {
        Ok(meta) if meta.permissions().mode() & 0o077 != 0 => Err("others may read it; run chmod 600 on it".to_owned()),
        Ok(_) if file.is_absolute() => Ok(()),
        Ok(_) => Err("must be an absolute path".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The agents that come with the runner, and the operator's.
fn drivers(vars: &mut Vars) -> Option<Drivers> {
    let Some(path) = vars.text("BIFROST_AGENTS").map(PathBuf::from) else { return Some(Drivers::built_in()) };
    let read = std::fs::read_to_string(&path).map_err(|error| error.to_string());
    match read.and_then(|text| Drivers::built_in().and(&text)) {
        Ok(drivers) => Some(drivers),
        Err(complaint) => {
            vars.problem(format!("BIFROST_AGENTS: {}: {complaint}", path.display()));
            None
        }
    }
}

/// What the agents authenticate with.
fn keys(vars: &mut Vars, drivers: &Drivers) -> Keys {
    let own = Keys::of_environment(vars, drivers);
    let Some(path) = vars.text(KEYS).map(PathBuf::from) else { return own };
    let read = check_private(&path).and_then(|()| std::fs::read_to_string(&path).map_err(|error| error.to_string()));
    read.and_then(|text| own.and(&text, drivers)).unwrap_or_else(|problem| {
        vars.problem(format!("{KEYS}: {}: {problem}", path.display()));
        Keys::default()
    })
}

/// A machine of the emulator sees its root directory as `/`; the runner in it must do so itself.
fn below_machine_root(root: Option<&Path>, named: PathBuf) -> PathBuf {
    match (root, named.strip_prefix("/")) {
        (Some(root), Ok(inside)) if !named.starts_with(root) => root.join(inside),
        _ => named,
    }
}

fn hold(vars: &mut Vars, root: Option<&Path>) -> Option<Hold> {
    let name = vars.text(env::SPRITE_HOLD)?.to_owned();
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)) {
        vars.problem(format!("{}: must be letters, digits, - and _", env::SPRITE_HOLD));
        return None;
    }
    Some(Hold { name, socket: below_machine_root(root, SPRITE_SOCKET.into()) })
}

/// What of our environment tools are to see.
pub(crate) fn tool_environment(vars: &Vars) -> BTreeMap<String, String> {
    let mut found: BTreeMap<String, String> =
        TOOL_VARIABLES.iter().filter_map(|name| Some(((*name).to_owned(), vars.text(name)?.to_owned()))).collect();
    found.entry("PATH".into()).or_insert_with(|| DEFAULT_PATH.into());
    found.entry("LANG".into()).or_insert_with(|| "C.UTF-8".into());
    // Commands get a home of their own, in which rustup would find no toolchain.
    if let Some(home) = vars.text("HOME") {
        let rustup = Path::new(home).join(".rustup");
        if rustup.is_dir() {
            found.entry("RUSTUP_HOME".into()).or_insert_with(|| rustup.to_string_lossy().into_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const MACHINE: &str = "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";

    fn vars(more: &[(&str, &str)]) -> Vars {
        let needed =
            [(env::CONTROL_URL, "http://control"), (env::MACHINE_ID, MACHINE), (env::MACHINE_TOKEN, "hunter2")];
        Vars::from_pairs(needed.into_iter().chain(more.iter().copied()))
    }

    #[test]
    fn the_volume_is_taken_below_the_emulated_machines_root() {
        for (more, expect) in [
            (&[][..], "/.sprite"),
            (&[(env::SPRITE_DIR, "/data")][..], "/data"),
            (&[(env::MACHINE_ROOT, "/m/1")][..], "/m/1/.sprite"),
            (&[(env::MACHINE_ROOT, "/m/1"), (env::SPRITE_DIR, "/data")][..], "/m/1/data"),
            (&[(env::MACHINE_ROOT, "/m/1"), (env::SPRITE_DIR, "/m/1/data")][..], "/m/1/data"),
            (&[(env::MACHINE_ROOT, "/m/1"), (env::SPRITE_DIR, "data")][..], "data"),
        ] {
            let config = Config::from_vars(&mut vars(more)).expect("complete");
            assert_eq!(config.sprite_dir, Path::new(expect), "{more:?}");
        }
    }

    #[test]
    fn in_a_sprite_it_knows_the_hold_and_where_the_sprite_serves_its_api() {
        let config = Config::from_vars(&mut vars(&[])).expect("complete");
        assert_eq!(config.hold, None);
        let named = [(env::SPRITE_HOLD, "bifrost"), (env::MACHINE_ROOT, "/m/1")];
        let config = Config::from_vars(&mut vars(&named)).expect("complete");
        assert_eq!(config.hold, Some(Hold { name: "bifrost".into(), socket: "/m/1/.sprite/api.sock".into() }));
        let mut wrong = vars(&[(env::SPRITE_HOLD, "../x")]);
        Config::from_vars(&mut wrong);
        assert!(wrong.finish().expect_err("a problem").to_string().contains(env::SPRITE_HOLD));
    }

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let mut vars = Vars::from_pairs([(env::CONTROL_URL, "ftp://x")]);
        assert!(Config::from_vars(&mut vars).is_none());
        let text = vars.finish().expect_err("problems").to_string();
        for name in [env::CONTROL_URL, env::MACHINE_ID, env::MACHINE_TOKEN] {
            assert!(text.contains(name), "{text}");
        }
    }

    #[test]
    fn a_limit_of_the_disk_that_nothing_could_keep_is_refused() {
        for (text, expect) in [("0", None), ("5000000000", Some(5_000_000_000))] {
            let mut vars = vars(&[("BIFROST_DISK_BYTES", text)]);
            let config = Config::from_vars(&mut vars).expect("complete");
            assert_eq!(vars.finish().is_ok(), expect.is_some(), "{text}");
            assert_eq!(config.limits.disk_bytes, expect.or(Some(0)));
        }
    }

    #[test]
    fn commands_do_not_see_the_machines_own_api_nor_what_holds_keys() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("keys").to_string_lossy().into_owned();
        kit::files::replace(file.as_ref(), b"CODEX_API_KEY=hunter2", 0o600).expect("writes");
        for (more, expect) in [
            (&[][..], &["/.fly"][..]),
            (&[(env::HIDE, "/a:/b"), (KEYS, file.as_str())][..], &["/a", "/b", file.as_str(), "/.fly"]),
            (&[(env::MACHINE_ROOT, "/m/1")][..], &["/m/1/.fly"]),
        ] {
            let mut vars = vars(more);
            let config = Config::from_vars(&mut vars).expect("complete");
            vars.finish().expect("well");
            assert_eq!(config.hidden, expect.iter().map(PathBuf::from).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_to_be_hidden_is_named_by_its_whole_path() {
        for (text, refused) in [("", None), ("/a::/b", None), ("/a:~/b", Some("~/b")), ("secrets", Some("secrets"))] {
            let mut of_a_computer = Vars::from_pairs([(env::HIDE, text)]);
            check_operator_variables(&mut of_a_computer);
            let mut of_a_machine = vars(&[(env::HIDE, text)]);
            Config::from_vars(&mut of_a_machine);
            for vars in [of_a_computer, of_a_machine] {
                let problem = vars.finish().err().map(|problem| problem.to_string());
                assert_eq!(problem.is_some(), refused.is_some(), "{text}: {problem:?}");
                let expect = refused.map(|path| format!("BIFROST_HIDE: {path}: name each by its whole path"));
                assert!(problem.unwrap_or_default().contains(&expect.unwrap_or_default()), "{text}");
            }
        }
    }

    #[test]
    fn keys_are_of_the_environment_and_of_a_file_for_its_owner_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("keys").to_string_lossy().into_owned();
        for (mode, text, problem) in [
            (0o600, "CODEX_API_KEY=hunter3", None),
            (0o644, "CODEX_API_KEY=hunter3", Some("run chmod 600")),
            (0o600, "hunter3", Some("write NAME=VALUE")),
        ] {
            kit::files::replace(file.as_ref(), text.as_bytes(), mode).expect("writes");
            let mut vars = vars(&[(KEYS, file.as_str()), ("GEMINI_API_KEY", "hunter4")]);
            let config = Config::from_vars(&mut vars).expect("complete");
            match (vars.finish(), problem) {
                (Ok(()), None) => assert_eq!(config.keys.values().collect::<Vec<_>>(), ["hunter3", "hunter4"]),
                (Err(error), Some(problem)) => {
                    let text = error.to_string();
                    assert!(text.contains(KEYS) && text.contains(problem) && !text.contains("hunter3"), "{text}");
                }
                (found, _) => panic!("{mode:o} {text}: {found:?}"),
            }
        }
    }

    #[test]
    fn credentials_are_in_a_file_or_in_a_variable_and_not_in_both() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("credentials").to_string_lossy().into_owned();
        kit::files::replace(file.as_ref(), b"https://me:hunter2@example.org", 0o600).expect("writes");
        let text = "https://me:hunter2@example.org";
        for (more, expect) in [
            (&[(CREDENTIALS, file.as_str())][..], None),
            (&[(CREDENTIALS_TEXT, text)][..], None),
            (&[(CREDENTIALS, file.as_str()), (CREDENTIALS_TEXT, text)][..], Some("give one of them")),
            (&[(CREDENTIALS_TEXT, "hunter2")][..], Some("write https://NAME:PASSWORD@HOST")),
        ] {
            let mut vars = vars(more);
            let config = Config::from_vars(&mut vars).expect("complete");
            assert_eq!(config.credentials.is_some(), expect.is_none(), "{more:?}");
            assert!(!format!("{:?} {config:?}", config.credentials).contains("hunter2"));
            let problem = vars.finish().err().map(|problem| problem.to_string()).unwrap_or_default();
            assert!(problem.contains(expect.unwrap_or_default()) && !problem.contains("hunter2"), "{problem}");
        }
        let mut of_a_computer = Vars::from_pairs([(CREDENTIALS_TEXT, text)]);
        check_operator_variables(&mut of_a_computer);
        let problem = of_a_computer.finish().expect_err("nobody would hand it on").to_string();
        assert!(problem.contains("name a file with BIFROST_GIT_CREDENTIALS"), "{problem}");
    }

    #[test]
    fn the_token_is_in_neither_the_debug_text_nor_the_tools_environment() {
        let config = Config::from_vars(&mut vars(&[("PATH", "/bin"), ("SECRET", "hunter2")])).expect("complete");
        assert!(!format!("{config:?}").contains("hunter2"));
        assert_eq!(config.tool_environment.get("PATH").map(String::as_str), Some("/bin"));
        assert!(!config.tool_environment.values().any(|value| value == "hunter2"));
    }
}
