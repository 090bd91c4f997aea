//! What a repository says about itself in `.bifrost.toml`: set-up commands, variables,
//! services, directories to keep, times, and how it is checked out.
//!
//! It is read after the checkout and refused before anything of it runs: a complaint
//! names the line, the key and the cure. Nothing in it is a secret, and no shell reads
//! its commands.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use toml::Spanned;
use wire::execution::Failure;

use crate::config::Limits;
use crate::dependencies::Terms;
use crate::isolation::Openings;
use crate::orders::Orders;
use crate::process::{self, Bounds, Output, RunError};
use crate::room::Room;
use crate::setup::NotReady;

pub(crate) mod caches;
pub(crate) mod checkout;
mod keys;
pub(crate) mod services;
pub(crate) mod steps;

/// Runs a command of the repository's own to its end.
async fn run(
    room: &Room,
    words: &[String],
    environment: &BTreeMap<String, String>,
    openings: &Openings,
    bounds: Bounds,
    orders: &Orders,
) -> Result<Output, RunError> {
    let mut command = room.isolation.walled(words, environment, openings)?;
    process::run(&mut command, b"", bounds, orders).await
}

/// The file's name, at the root of the repository.
pub(crate) const FILE: &str = ".bifrost.toml";
/// A larger file is not one.
const BYTES_MAX: u64 = 256 * 1024;
/// The longest that anything in it may take.
const SECONDS_MAX: u64 = 24 * 60 * 60;

/// What a repository asks for. All of it may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Settings {
    pub(crate) checkout: Checkout,
    pub(crate) setup: Setup,
    env: BTreeMap<Spanned<String>, String>,
    services: BTreeMap<Spanned<String>, Service>,
    cache: Cache,
    timeouts: Timeouts,
}

/// How it is checked out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Checkout {
    /// Whether submodules are fetched.
    pub(crate) submodules: bool,
    /// Whether pointers will do in place of the files that Git LFS keeps.
    pub(crate) lfs_pointers: bool,
}

impl Default for Checkout {
    fn default() -> Self {
        Self { submodules: true, lfs_pointers: false }
    }
}

/// What is run once it is checked out.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Setup {
    /// Whether the package managers that the repository's files call for are run.
    pub(crate) dependencies: bool,
    /// What they are given of the variables of the task and of `env`.
    dependency_env: Vec<Spanned<String>>,
    /// What they read besides manifests and lockfiles: where it changes, they are run again.
    dependency_files: Vec<Spanned<String>>,
    commands: Vec<Spanned<Vec<String>>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self { dependencies: true, dependency_env: Vec::new(), dependency_files: Vec::new(), commands: Vec::new() }
    }
}

/// Something that runs beside the command.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    command: Spanned<Vec<String>>,
    /// Ends with 0 once the service can be used.
    ready: Option<Spanned<Vec<String>>>,
    /// How long it may take until then.
    #[serde(default)]
    timeout_seconds: Option<Spanned<u64>>,
}

/// What is kept from one execution to the next.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Cache {
    paths: Vec<Spanned<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Timeouts {
    /// One package manager.
    install_seconds: Option<Spanned<u64>>,
    /// One set-up command.
    setup_seconds: Option<Spanned<u64>>,
}

impl Settings {
    /// Reads the file of a checked-out tree.
    pub(crate) fn read(tree: &Path) -> Result<Self, NotReady> {
        let path = tree.join(FILE);
        let text = match std::fs::symlink_metadata(&path) {
            Err(_) => return Ok(Self::default()),
            Ok(meta) => match misfit(&meta) {
                Some(misfit) => return Err(refused(format!("{FILE} {misfit}"))),
                None => std::fs::read_to_string(&path),
            },
        };
        let text = text.map_err(|error| refused(format!("{FILE} cannot be read: {error}; save it as UTF-8")))?;
        Self::parse(&text).map_err(refused)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let settings: Self = toml::from_str(text).map_err(|error| {
            let at = error.span().unwrap_or_default();
            let path = keys::at(text, &at);
            let key = path.as_ref().map_or_else(String::new, |path| format!("{}: ", path.shown));
            let said = error.message().replace('\n', "; ");
            let cure = path.filter(|_| said.starts_with("invalid ")).and_then(|path| keys::cure(&path.keys));
            let cure = cure.unwrap_or("see docs/workspaces.md");
            format!("{FILE} line {}: {key}{said}; {cure}", line(text, at.start))
        })?;
        settings.check(text)?;
        Ok(settings)
    }

    /// What the types cannot say.
    fn check(&self, text: &str) -> Result<(), String> {
        let complain = |at: std::ops::Range<usize>, problem: String| {
            Err(format!("{FILE} line {}: {problem}", line(text, at.start)))
        };
        let commands = self.setup.commands.iter().map(|command| ("setup.commands".to_owned(), command));
        let services = self.services.iter().flat_map(|(name, service)| {
            let name = name.get_ref();
            let ready = service.ready.iter().map(move |command| (format!("services.{name}.ready"), command));
            ready.chain([(format!("services.{name}.command"), &service.command)])
        });
        for (key, command) in commands.chain(services) {
            if command.get_ref().first().is_none_or(String::is_empty) {
                return complain(
                    command.span(),
                    format!("{key} names no program; write it as a list, such as [\"npm\", \"run\", \"build\"]"),
                );
            }
        }
        let is_name = |name: &str| {
            let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            plain && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit())
        };
        for name in self.env.keys() {
            if !is_name(name.get_ref()) || name.get_ref().starts_with("BIFROST_") {
                let problem = "cannot be set; use letters, digits and _, and no name that begins with BIFROST_";
                return complain(name.span(), format!("env.{} {problem}", name.get_ref()));
            }
        }
        if let Some(name) = self.setup.dependency_env.iter().find(|name| !is_name(name.get_ref())) {
            let problem = "is no name of a variable; use letters, digits and _";
            return complain(name.span(), format!("setup.dependency_env: {:?} {problem}", name.get_ref()));
        }
        let files = self.setup.dependency_files.iter().map(|path| ("setup.dependency_files", "path", "patches", path));
        let cached = self.cache.paths.iter().map(|path| ("cache.paths", "directory", "target", path));
        for (key, what, such_as, path) in files.chain(cached) {
            let plain = Path::new(path.get_ref()).components().all(|part| matches!(part, Component::Normal(_)));
            if path.get_ref().is_empty() || !plain || path.get_ref().starts_with(".git/") || path.get_ref() == ".git" {
                let problem = format!("must be a {what} inside the repository, such as {such_as:?}");
                return complain(path.span(), format!("{key}: {:?} {problem}", path.get_ref()));
            }
        }
        let services = self.services.iter().filter_map(|(name, service)| {
            Some((format!("services.{}.timeout_seconds", name.get_ref()), service.timeout_seconds.as_ref()?))
        });
        let timeouts =
            [("install_seconds", &self.timeouts.install_seconds), ("setup_seconds", &self.timeouts.setup_seconds)];
        let timeouts =
            timeouts.into_iter().filter_map(|(key, value)| Some((format!("timeouts.{key}"), value.as_ref()?)));
        for (key, seconds) in services.chain(timeouts) {
            if !(1..=SECONDS_MAX).contains(seconds.get_ref()) {
                return complain(seconds.span(), format!("{key} must be from 1 to {SECONDS_MAX}"));
            }
        }
        let seconds = |own: &Option<Spanned<u64>>, default: u64| own.as_ref().map_or(default, |own| *own.get_ref());
        let commands = self.setup.commands.len() as u64
            * seconds(&self.timeouts.setup_seconds, Limits::default().install.as_secs());
        let services: u64 =
            self.services.values().map(|service| seconds(&service.timeout_seconds, services::PATIENCE.as_secs())).sum();
        if commands + services > SECONDS_MAX {
            let at = self.setup.commands.first().map_or(0, |first| first.span().start);
            let problem = format!(
                "setup.commands and services may take {} seconds together, and {SECONDS_MAX} are the most; lower their \
                 timeouts",
                commands + services
            );
            return complain(at..at, problem);
        }
        Ok(())
    }

    /// Variables of the set-up commands, the services and the command.
    pub(crate) fn variables(&self) -> BTreeMap<String, String> {
        self.env.iter().map(|(name, value)| (name.get_ref().clone(), value.clone())).collect()
    }

    /// How dependencies are installed for a task with these variables, where one package manager may take `within`
    /// unless something is said.
    pub(crate) fn terms(&self, variables: &BTreeMap<String, String>, within: Duration) -> Terms {
        let (own, names) = (self.variables(), &self.setup.dependency_env);
        let given = names.iter().filter_map(|name| {
            let value = variables.get(name.get_ref()).or_else(|| own.get(name.get_ref()))?;
            Some((name.get_ref().clone(), value.clone()))
        });
        Terms {
            within: self.timeouts.install_seconds.as_ref().map_or(within, |own| Duration::from_secs(*own.get_ref())),
            variables: given.collect(),
            reads: self.setup.dependency_files.iter().map(|path| path.get_ref().clone()).collect(),
        }
    }

    fn commands(&self) -> impl Iterator<Item = &[String]> {
        self.setup.commands.iter().map(|command| command.get_ref().as_slice())
    }

    /// What was done of it in this time, in a few words; nothing where there was nothing to do.
    pub(crate) fn told(&self, took: Duration) -> Option<String> {
        let several = |number: usize, what: &str| match number {
            0 => None,
            1 => Some(format!("1 {what}")),
            _ => Some(format!("{number} {what}s")),
        };
        let done = [several(self.setup.commands.len(), "set-up command"), several(self.services.len(), "service")];
        let done = done.into_iter().flatten().collect::<Vec<_>>().join(" and ");
        (!done.is_empty()).then(|| format!("{done} in {} ms", took.as_millis()))
    }

    /// Directories that are kept.
    pub(crate) fn cached(&self) -> Vec<PathBuf> {
        self.cache.paths.iter().map(|path| PathBuf::from(path.get_ref())).collect()
    }

    fn setup_timeout(&self) -> Option<Duration> {
        self.timeouts.setup_seconds.as_ref().map(|seconds| Duration::from_secs(*seconds.get_ref()))
    }
}

/// Why what has the file's name cannot be read.
fn misfit(meta: &Metadata) -> Option<String> {
    let cure = |kind: &str| Some(format!("is {kind}; commit a file under this name, or nothing"));
    match meta.file_type() {
        kind if kind.is_symlink() => cure("a symbolic link, which is not followed"),
        kind if kind.is_dir() => cure("a directory"),
        kind if !kind.is_file() => cure("no file"),
        _ if meta.len() > BYTES_MAX => {
            Some(format!("has {} bytes, and {BYTES_MAX} are the most; take something out of it", meta.len()))
        }
        _ => None,
    }
}

fn refused(message: String) -> NotReady {
    NotReady::failed(Failure::InvalidSettings, message)
}

/// The line, from 1, in which a byte lies.
fn line(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests;
