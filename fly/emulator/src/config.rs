//! What an emulator is told when it starts.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};
use kit::Vars;

use crate::container::{EngineAddress, NETWORK, Settings};
use crate::faults::{BadScript, Script};

/// Variables of this computer that machines see, unless their configuration says otherwise.
const INHERITED: [&str; 3] = ["PATH", "HOME", "LANG"];

/// What an emulator is told when it starts.
#[derive(Clone)]
pub struct Config {
    /// Where it keeps everything.
    pub data: PathBuf,
    /// When set, every request must carry it.
    pub token: Option<String>,
    /// What machines run as.
    pub machines: Kind,
    /// What every machine is told, whatever its configuration says. One that was told something else is started anew
    /// when this is started again.
    pub fixed_env: BTreeMap<String, String>,
    /// The program, with its arguments, of a machine whose configuration names none; none refuses such a machine,
    /// or leaves it to its image.
    pub default_program: Vec<String>,
    /// What fails on purpose.
    pub faults: Script,
    /// Whether machines wait to be poked wherever they are on their way to another state.
    pub is_manual: bool,
    /// Whether Fly's rate limits are kept.
    pub keeps_rate_limits: bool,
}

/// What machines run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Processes of this computer.
    Process {
        /// What they see of this computer's environment.
        host_env: BTreeMap<String, String>,
    },
    /// Containers.
    Container(Settings),
}

/// What machines run as, on the command line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum MachinesAs {
    /// Processes of this computer, with your rights
    #[default]
    Process,
    /// Hardened containers of Docker or podman, in a network without a way out
    Container,
}

/// Which machines, and whose.
#[derive(Debug, Clone, Default, Args)]
pub struct MachineOptions {
    /// What machines run as
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    pub machines: MachinesAs,
    /// Where the container engine listens: unix:///PATH or tcp://HOST:PORT [default: the variable
    /// DOCKER_HOST, then unix:///var/run/docker.sock]
    #[arg(long, value_name = "URL")]
    pub engine: Option<EngineAddress>,
    /// The network that containers are in; it is made if it is missing [default: fleet-egress]
    #[arg(long, value_name = "NAME")]
    pub network: Option<String>,
}

/// An option says something about containers, and machines are processes.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is for machines that are containers, and these are processes")]
pub struct NoContainers(pub &'static str);

impl MachineOptions {
    /// Refuses what says something about containers where machines are none; `others` are such options of the caller's
    /// own, and whether they are given.
    pub fn check(&self, others: &[(&'static str, bool)]) -> Result<(), NoContainers> {
        if self.machines == MachinesAs::Container {
            return Ok(());
        }
        let own = [("--engine", self.engine.is_some()), ("--network", self.network.is_some())];
        let mut given = own.iter().chain(others).filter(|(_, is_given)| *is_given);
        given.next().map_or(Ok(()), |(option, _)| Err(NoContainers(option)))
    }
}

/// How an emulator differs from one that only does what it is asked.
#[derive(Debug, Clone, Default, Args)]
pub struct Options {
    /// Which machines, and whose
    #[command(flatten)]
    pub machines: MachineOptions,
    /// What a machine runs whose configuration names no program, such as 'sleep 1000'; no shell reads it
    #[arg(long, value_name = "COMMAND")]
    pub run: Option<Words>,
    /// The egress proxy that containers are told of, such as http://172.20.0.1:3128
    #[arg(long, value_name = "URL", value_parser = proxy_url)]
    pub egress_proxy: Option<String>,
    /// A fault script: which calls and machines fail, and how (docs/emulator.md)
    #[arg(long, value_name = "FILE")]
    pub faults: Option<PathBuf>,
    /// Let machines wait on their way to another state until they are poked
    #[arg(long)]
    pub manual: bool,
    /// Refuse with 429 what Fly's rate limits would
    #[arg(long)]
    pub rate_limits: bool,
}

impl Options {
    /// Refuses what says something about containers where machines are none.
    pub fn check(&self) -> Result<(), NoContainers> {
        self.machines.check(&[("--egress-proxy", self.egress_proxy.is_some())])
    }
}

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(Vec<String>);

impl FromStr for Words {
    type Err = &'static str;

    /// Cut as a shell would.
    fn from_str(line: &str) -> Result<Self, Self::Err> {
        let words = shlex::split(line).ok_or("a quotation mark is not closed")?;
        if words.is_empty() { Err("name a program") } else { Ok(Self(words)) }
    }
}

/// A proxy, as programs take it from their environment.
fn proxy_url(text: &str) -> Result<String, &'static str> {
    let host = text.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let port = host.and_then(|host| host.rsplit_once(':')).filter(|(host, _)| !host.is_empty());
    let is_plain = |host: &str| !host.contains(|letter: char| letter.is_whitespace() || "/@?#".contains(letter));
    match port {
        Some((host, port)) if is_plain(host) && port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(text.to_owned()),
        Some(_) | None => Err("write http://HOST:PORT, without a password"),
    }
}

/// A fault script cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadFaults {
    /// It cannot be read.
    #[error("cannot read the fault script {path}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// It says something wrong.
    #[error("the fault script {path} cannot be used")]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// What, with the field.
        #[source]
        source: BadScript,
    },
}

impl Config {
    /// Reads `FLY_API_TOKEN` (the token that requests must carry; none when not set), and `PATH`,
    /// `HOME` and `LANG`, which machines inherit.
    pub fn from_vars(data: PathBuf, vars: &mut Vars) -> Self {
        let inherited = |name: &&str| Some(((*name).to_owned(), vars.text(name)?.to_owned()));
        let host_env = INHERITED.iter().filter_map(inherited).collect();
        Self {
            data,
            token: vars.optional("FLY_API_TOKEN"),
            machines: Kind::Process { host_env },
            fixed_env: BTreeMap::new(),
            default_program: Vec::new(),
            faults: Script::default(),
            is_manual: false,
            keeps_rate_limits: false,
        }
    }

    /// The same with containers for machines, where these options ask for them; reads `DOCKER_HOST`
    /// and `BIFROST_ENVIRONMENT`.
    pub fn with_machines(self, options: &MachineOptions, egress_proxy: Option<String>, vars: &mut Vars) -> Self {
        match options.machines {
            MachinesAs::Process => self,
            MachinesAs::Container => {
                let engine = EngineAddress::find(options.engine.as_ref(), vars);
                let network = options.network.clone().unwrap_or_else(|| NETWORK.to_owned());
                let settings = Settings { engine, network, egress_proxy };
                Self { machines: Kind::Container(settings), ..self }
            }
        }
    }

    /// The same with these options; reads the fault script, in JSON where the file's name says so.
    pub fn with(self, options: &Options) -> Result<Self, BadFaults> {
        let faults = options.faults.as_deref().map(read_script).transpose()?.unwrap_or_default();
        let default_program = options.run.clone().map(|Words(words)| words).unwrap_or_default();
        let (is_manual, keeps_rate_limits) = (options.manual, options.rate_limits);
        Ok(Self { default_program, faults, is_manual, keeps_rate_limits, ..self })
    }
}

fn read_script(path: &Path) -> Result<Script, BadFaults> {
    let unreadable = |source| BadFaults::Unreadable { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let is_json = path.extension().is_some_and(|extension| extension == "json");
    let read = if is_json { Script::from_json(&text) } else { Script::from_toml(&text) };
    read.map_err(|source| BadFaults::Wrong { path: path.to_owned(), source })
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "[secret]");
        f.debug_struct("Config").field("data", &self.data).field("token", &token).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    #[test]
    fn machines_inherit_three_variables_and_the_token_is_not_printed() {
        let mut vars = Vars::from_pairs([("PATH", "/bin"), ("SECRET", "hunter2"), ("FLY_API_TOKEN", "hunter2")]);
        let config = Config::from_vars(PathBuf::from("data"), &mut vars);
        let host_env = BTreeMap::from([("PATH".to_owned(), "/bin".to_owned())]);
        assert_eq!(config.machines, Kind::Process { host_env });
        assert_eq!(config.token.as_deref(), Some("hunter2"));
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn what_is_for_containers_alone_is_refused_where_machines_are_processes() {
        let options = |words: &[&str]| {
            let command = Options::augment_args(clap::Command::new("emulator"));
            let matches = command.try_get_matches_from([&["emulator"], words].concat()).expect("are options");
            Options::from_arg_matches(&matches).expect("fit").check()
        };
        assert_eq!(options(&["--run", "sleep 9"]), Ok(()));
        for (option, value) in
            [("--engine", "unix:///x"), ("--network", "fleet-egress"), ("--egress-proxy", "http://10.0.0.1:3128")]
        {
            assert_eq!(options(&[option, value]), Err(NoContainers(option)));
            assert_eq!(options(&["--machines", "container", option, value]), Ok(()), "{option}");
        }
    }

    #[test]
    fn a_command_is_cut_into_words_as_a_shell_would() {
        let words = |line: &str| line.parse::<Words>().map(|Words(words)| words);
        assert_eq!(words("sh -c 'sleep 1; true'"), Ok(["sh", "-c", "sleep 1; true"].map(str::to_owned).to_vec()));
        assert!(words(" ").is_err() && words("sh '").is_err());
    }

    #[test]
    fn a_proxy_is_a_url_with_a_port() {
        for url in ["http://172.20.0.1:3128", "http://[::1]:3128", "http://egress.internal:3128/"] {
            assert_eq!(proxy_url(url), Ok(url.to_owned()));
        }
        for wrong in
            ["notaurl", "", "http://", "http://:3128", "http://a", "http://a:0", "http://a:b@c:1/d", "http://u:p@c:1"]
        {
            assert!(proxy_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_fault_script_is_read_by_its_ending_and_named_when_it_is_wrong() {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text, is_good) in [
            ("a.toml", "seed = 1", true),
            ("a.json", r#"{"seed": 1}"#, true),
            ("b.json", "seed = 1", false),
            ("b.toml", "sede = 1", false),
        ] {
            let path = directory.path().join(name);
            std::fs::write(&path, text).expect("written");
            let options = Options { faults: Some(path), ..Options::default() };
            let config = Config::from_vars(PathBuf::from("data"), &mut Vars::from_pairs([("A", "b")])).with(&options);
            assert_eq!(config.is_ok(), is_good, "{name}");
            assert!(config.err().is_none_or(|error| error.to_string().contains(name)));
        }
    }
}
