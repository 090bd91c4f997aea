//! How agents are started on this computer: by the environment, with defaults, and
//! refused by name before anything happens where a value cannot be meant.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use kit::Vars;
use runner::{Drivers, Keys, TOOL_VARIABLES};
use wire::limit::TIMEOUT_SECONDS_MAX;

use crate::collision::Rules;

/// What an agent sees of the person's environment besides what tools see on a machine.
const PERSONS: [&str; 4] = ["HOME", "USER", "LOGNAME", "SHELL"];
/// What tmux sees: where its server and its configuration are, and what the terminal can do.
const TMUX: [&str; 10] = ["HOME", "USER", "SHELL", "PATH", "LANG", "LC_ALL", "LC_CTYPE", "TERM", "TMUX", "TMUX_TMPDIR"];

const MINUTES_DEFAULT: u64 = 60;
const AGENTS_DEFAULT: usize = 8;
const AGENTS_MAX: usize = 100;
/// Between SIGTERM and SIGKILL when an agent is ended.
const GRACE: Duration = Duration::from_secs(30);
/// How long a terminal may take until the agent is in it.
const START_WITHIN: Duration = Duration::from_secs(20);

/// All that starting and keeping agents depends on.
#[derive(Debug, Clone)]
pub struct Config {
    /// Each agent has a directory of its own in here (`BIFROST_AGENTS_DIR`).
    pub base: PathBuf,
    /// The repository, or any directory in it (`BIFROST_AGENTS_REPO`, default the current directory).
    pub repository: PathBuf,
    /// What is copied into each worktree (`BIFROST_AGENTS_HOOKS`, default nothing).
    pub hooks: Option<PathBuf>,
    /// How long an agent may run (`BIFROST_AGENTS_TIMEOUT_MINUTES`, default 60).
    pub timeout: Duration,
    /// How many may run at once (`BIFROST_AGENTS_MAX`, default 8).
    pub agents_max: usize,
    /// What package managers installed, for every worktree (`BIFROST_AGENTS_DEPENDENCIES`).
    pub dependencies: PathBuf,
    /// The socket of the tmux server (`BIFROST_AGENTS_TMUX_SOCKET`, default the person's own server).
    pub tmux_socket: Option<PathBuf>,
    /// When something may be typed for an agent (`BIFROST_AGENTS_QUIET_SECONDS`,
    /// `BIFROST_AGENTS_RECHECK_SECONDS`, `BIFROST_AGENTS_DEFER_SECONDS`).
    pub rules: Rules,
    /// The agents there are: those that come with us, and those of the file that `BIFROST_AGENTS` names.
    pub drivers: Drivers,
    /// That file.
    pub drivers_file: Option<PathBuf>,
    /// What an agent sees of the environment without being given it.
    pub environment: BTreeMap<String, String>,
    /// What the agents authenticate with, each seen by those that look for it.
    pub keys: Keys,
    /// What tmux sees of it.
    pub tmux_environment: BTreeMap<String, String>,
    /// The program that runs in a terminal, and the arguments before the agent's directory.
    pub inside: Vec<OsString>,
    /// The programs, by name or path.
    pub git: PathBuf,
    /// As above.
    pub tmux: PathBuf,
    /// Between SIGTERM and SIGKILL when an agent is ended.
    pub grace: Duration,
    /// How long a terminal may take until the agent is in it.
    pub start_within: Duration,
}

impl Config {
    /// Reads the environment; `inside` is the program for the terminal. Nothing comes back when something
    /// could not be read; `vars` then knows what.
    pub fn from_vars(vars: &mut Vars, inside: Vec<OsString>) -> Option<Self> {
        if let Some(mode) = vars.text("BIFROST_AGENTS_MODE").filter(|mode| *mode != "local").map(str::to_owned) {
            vars.problem(match mode.as_str() {
                "container" => {
                    "BIFROST_AGENTS_MODE: containers are the machines of `bifrost up --machines container`; \
                                run agents there with `bifrost run --agent …`, or set this to local"
                        .to_owned()
                }
                _ => "BIFROST_AGENTS_MODE: must be local".to_owned(),
            });
        }
        let state = vars.text("XDG_STATE_HOME").map(PathBuf::from);
        let state = state.or_else(|| Some(Path::new(vars.text("HOME")?).join(".local/state")));
        let base = directory(vars, "BIFROST_AGENTS_DIR").or_else(|| Some(state?.join("bifrost/agents")));
        if base.is_none() {
            vars.problem("BIFROST_AGENTS_DIR: is not set, and there is no HOME to find a default in");
        }
        let dependencies = directory(vars, "BIFROST_AGENTS_DEPENDENCIES");
        let dependencies = dependencies.or_else(|| Some(base.as_ref()?.join(".dependencies")));
        let hooks = directory(vars, "BIFROST_AGENTS_HOOKS");
        if hooks.as_ref().is_some_and(|hooks| !hooks.is_dir()) {
            vars.problem("BIFROST_AGENTS_HOOKS: is not a directory");
        }
        let rules = Rules::default();
        let mut seconds = |name: &str, default: Duration, least: u64| {
            Duration::from_secs(within(vars, name, default.as_secs(), least, 3_600))
        };
        let rules = Rules {
            quiet: seconds("BIFROST_AGENTS_QUIET_SECONDS", rules.quiet, 0),
            recheck: seconds("BIFROST_AGENTS_RECHECK_SECONDS", rules.recheck, 1),
            defer_max: seconds("BIFROST_AGENTS_DEFER_SECONDS", rules.defer_max, 0),
        };
        let minutes = within(vars, "BIFROST_AGENTS_TIMEOUT_MINUTES", MINUTES_DEFAULT, 1, TIMEOUT_SECONDS_MAX / 60);
        let agents_max = within(vars, "BIFROST_AGENTS_MAX", AGENTS_DEFAULT, 1, AGENTS_MAX);
        let some = |names: &[&str]| -> BTreeMap<String, String> {
            names.iter().filter_map(|name| Some(((*name).to_owned(), vars.text(name)?.to_owned()))).collect()
        };
        let tmux_environment = some(&TMUX);
        let mut environment = some(&PERSONS);
        environment.extend(some(&TOOL_VARIABLES));
        environment.entry("LANG".into()).or_insert_with(|| "C.UTF-8".into());
        let drivers_file = vars.text("BIFROST_AGENTS").map(PathBuf::from);
        let drivers = read_drivers(drivers_file.as_deref());
        let drivers = drivers.map_err(|problem| vars.problem(format!("BIFROST_AGENTS: {problem}"))).ok();
        let keys = drivers.as_ref().map(|drivers| Keys::of_environment(vars, drivers));
        Some(Self {
            base: base?,
            repository: vars.text("BIFROST_AGENTS_REPO").unwrap_or(".").into(),
            hooks,
            timeout: Duration::from_secs(minutes * 60),
            agents_max,
            dependencies: dependencies?,
            tmux_socket: directory(vars, "BIFROST_AGENTS_TMUX_SOCKET"),
            rules,
            drivers: drivers?,
            drivers_file: drivers_file.map(|path| std::path::absolute(&path).unwrap_or(path)),
            environment,
            keys: keys?,
            tmux_environment,
            inside,
            git: "git".into(),
            tmux: "tmux".into(),
            grace: GRACE,
            start_within: START_WITHIN,
        })
    }
}

/// The agents that come with us, and those of a file.
pub(crate) fn read_drivers(file: Option<&Path>) -> Result<Drivers, String> {
    let Some(path) = file else { return Ok(Drivers::built_in()) };
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Drivers::built_in().and(&text).map_err(|problem| format!("{}: {problem}", path.display()))
}

/// An absolute path, so that it is the same one from every directory.
fn directory(vars: &mut Vars, name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(vars.text(name)?);
    if !path.is_absolute() {
        vars.problem(format!("{name}: must be an absolute path"));
    }
    Some(path)
}

fn within<T: FromStr<Err: Display> + PartialOrd + Display + Copy + 'static>(
    vars: &mut Vars,
    name: &str,
    default: T,
    least: T,
    most: T,
) -> T {
    let value = vars.or(name, default);
    if value < least || value > most {
        vars.problem(format!("{name}: must be from {least} to {most}"));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let mut vars =
            Vars::from_pairs([("HOME", "/home/ada"), ("PATH", "/bin")].into_iter().chain(pairs.iter().copied()));
        let config = Config::from_vars(&mut vars, vec!["bifrost".into()]);
        vars.finish().map_err(|error| error.to_string())?;
        config.ok_or_else(|| "nothing".into())
    }

    #[test]
    fn without_anything_set_there_are_defaults() {
        let config = read(&[("SECRET", "hunter2"), ("TMUX", "/tmp/t,1,2")]).expect("reads");
        assert_eq!(config.base, Path::new("/home/ada/.local/state/bifrost/agents"));
        assert_eq!(config.dependencies, Path::new("/home/ada/.local/state/bifrost/agents/.dependencies"));
        assert_eq!((config.repository.as_path(), config.hooks, config.tmux_socket), (Path::new("."), None, None));
        assert_eq!((config.timeout, config.agents_max), (Duration::from_secs(3_600), 8));
        assert_eq!(config.grace, Duration::from_secs(30));
        assert_eq!(config.rules, Rules::default());
        assert!(!config.environment.contains_key("SECRET") && !config.environment.contains_key("TMUX"));
        assert!(!config.tmux_environment.contains_key("SECRET") && config.tmux_environment.contains_key("TMUX"));
    }

    #[test]
    fn what_is_set_counts() {
        let config = read(&[
            ("BIFROST_AGENTS_DIR", "/a"),
            ("BIFROST_AGENTS_REPO", "src"),
            ("BIFROST_AGENTS_HOOKS", "/"),
            ("BIFROST_AGENTS_TIMEOUT_MINUTES", "5"),
            ("BIFROST_AGENTS_MAX", "2"),
            ("BIFROST_AGENTS_DEPENDENCIES", "/d"),
            ("BIFROST_AGENTS_TMUX_SOCKET", "/t"),
            ("BIFROST_AGENTS_QUIET_SECONDS", "1"),
            ("BIFROST_AGENTS_RECHECK_SECONDS", "2"),
            ("BIFROST_AGENTS_DEFER_SECONDS", "0"),
            ("BIFROST_AGENTS_MODE", "local"),
        ]);
        let config = config.expect("reads");
        assert_eq!((config.base.as_path(), config.repository.as_path()), (Path::new("/a"), Path::new("src")));
        assert_eq!(config.hooks.as_deref(), Some(Path::new("/")));
        assert_eq!((config.timeout, config.agents_max), (Duration::from_secs(300), 2));
        assert_eq!(
            (config.dependencies.as_path(), config.tmux_socket.as_deref()),
            (Path::new("/d"), Some(Path::new("/t")))
        );
        let second = Duration::from_secs(1);
        assert_eq!(config.rules, Rules { quiet: second, recheck: second * 2, defer_max: Duration::ZERO });
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name() {
        for (name, value, cure) in [
            ("BIFROST_AGENTS_DIR", "agents", "absolute"),
            ("BIFROST_AGENTS_HOOKS", "/nowhere/at/all", "not a directory"),
            ("BIFROST_AGENTS_TIMEOUT_MINUTES", "0", "from 1 to"),
            ("BIFROST_AGENTS_TIMEOUT_MINUTES", "soon", "must be a whole number"),
            ("BIFROST_AGENTS_MAX", "101", "from 1 to 100"),
            ("BIFROST_AGENTS_DEPENDENCIES", "deps", "absolute"),
            ("BIFROST_AGENTS_TMUX_SOCKET", "tmux", "absolute"),
            ("BIFROST_AGENTS_QUIET_SECONDS", "4000", "from 0 to 3600"),
            ("BIFROST_AGENTS_RECHECK_SECONDS", "0", "from 1 to"),
            ("BIFROST_AGENTS_DEFER_SECONDS", "-1", "must be a whole number"),
            ("BIFROST_AGENTS_MODE", "container", "bifrost run --agent"),
            ("BIFROST_AGENTS_MODE", "vm", "must be local"),
            ("BIFROST_AGENTS", "/nowhere/at/all", "No such file"),
        ] {
            let error = read(&[(name, value)]).expect_err(value);
            assert!(error.contains(&format!("{name}: ")) && error.contains(cure), "{name}={value}: {error}");
        }
    }
}
