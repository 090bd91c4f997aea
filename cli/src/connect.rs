//! Finds the server and its key, calls it with patience, and says what a
//! refusal means and what to do about it.

use std::path::PathBuf;

use client::control::Control;
use kit::Vars;
use kit::backoff::Backoff;

use crate::args::{DEFAULT_LISTEN, Global};
use crate::exit::{Code, Failure, failure};
use crate::invocation::Invocation;
use crate::up;

/// The variable that holds the API key.
pub(crate) const API_KEY: &str = "BIFROST_API_KEY";
/// The variables that hold an API key, the first one first; a server takes its first key from them too.
const KEY_VARIABLES: [&str; 2] = [API_KEY, "CAIRN_API_KEY"];
/// The name of the key's file in the data directory.
const API_KEY_FILE: &str = "api-key";
/// How often a call that may be repeated is made before it has failed.
const ATTEMPTS: u32 = 3;
const BACKOFF: Backoff =
    Backoff { first: std::time::Duration::from_millis(200), most: std::time::Duration::from_secs(2) };

/// A server and what was needed to find it.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// Its client.
    pub(crate) control: Control,
    address: AddressSource,
    key: KeySource,
    chance: kit::Chance,
}

/// Where the address came from, for the person whose server does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AddressSource {
    /// `--url`, or the variable.
    Named,
    /// What the system that has the data directory, or had it last, wrote there.
    File(PathBuf),
    /// Nowhere: it is where `bifrost up` listens.
    Usual,
    /// The embedded system's.
    Embedded,
}

impl AddressSource {
    /// What to do where nobody answers.
    pub(crate) fn cure(&self) -> String {
        match self {
            Self::File(file) => format!(
                "{} says that the data directory's system listened there last: start it with `bifrost up`, or name another server with --url or BIFROST_URL",
                file.display()
            ),
            Self::Named | Self::Usual | Self::Embedded => {
                "is `bifrost up` running? its address goes in --url or BIFROST_URL".into()
            }
        }
    }
}

/// Where the key came from, for the person whose key is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// The variable of this name.
    Variable(&'static str),
    /// `--api-key-file`, or the data directory's own.
    File(PathBuf),
    /// The embedded system's.
    Embedded,
}

impl Server {
    /// The server that the options and the environment name; without any, the one that is up in the data directory.
    pub(crate) fn find(invocation: &Invocation) -> anyhow::Result<Self> {
        let (url, address) = url_or_default(&invocation.global)?;
        let (key, source) = read_key(&invocation.global, &invocation.vars)?;
        Ok(Self::new(&url, address, &key, source, invocation))
    }

    /// That of a system which came up for this command.
    pub(crate) fn embedded(url: &str, key: &str, invocation: &Invocation) -> Self {
        Self::new(url, AddressSource::Embedded, key, KeySource::Embedded, invocation)
    }

    fn new(url: &str, address: AddressSource, key: &str, source: KeySource, invocation: &Invocation) -> Self {
        let control = Control::new(url, key);
        let control = match &invocation.global.reason {
            Some(reason) => control.because(reason),
            None => control,
        };
        Self { control, address, key: source, chance: invocation.chance.clone() }
    }

    /// Makes a call that may be repeated: a few times, while the trouble looks as if it would pass.
    pub(crate) async fn ask<T>(&self, call: impl AsyncFn(&Control) -> Result<T, client::Error>) -> anyhow::Result<T> {
        let mut failures = 0;
        loop {
            match call(&self.control).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    failures += 1;
                    if failures >= ATTEMPTS || !error.is_transient() {
                        return Err(self.explain(error).into());
                    }
                    tokio::time::sleep(BACKOFF.wait(failures, &self.chance)).await;
                }
            }
        }
    }

    /// What a failed call means to a person. Pure.
    pub(crate) fn explain(&self, error: client::Error) -> Failure {
        explain(error, self.control.base(), &self.address, &self.key)
    }
}

/// The URL that the options or the environment name.
pub(crate) fn url(global: &Global) -> anyhow::Result<Option<String>> {
    // An empty variable is one that somebody meant to unset.
    let Some(text) = global.url.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
    let cure = || format!("write it as http://{DEFAULT_LISTEN}, in --url or BIFROST_URL");
    let parsed = url::Url::parse(text)
        .map_err(|error| failure(Code::Configuration, format!("the server's URL is not one: {error}"), cure()))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host().is_none() {
        return Err(failure(Code::Configuration, "the server's URL is not an http or https one", cure()));
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        let cure = format!("leave it out and put the API key in {API_KEY} or a file");
        return Err(failure(Code::Configuration, "the server's URL carries a credential", cure));
    }
    Ok(Some(text.trim_end_matches('/').to_owned()))
}

/// The URL that the options or the environment name, else that of the system in the data directory, else that of
/// `bifrost up` on this computer.
pub(crate) fn url_or_default(global: &Global) -> anyhow::Result<(String, AddressSource)> {
    if let Some(named) = url(global)? {
        return Ok((named, AddressSource::Named));
    }
    Ok(match up::control_url(&global.data) {
        Some((url, file)) => (url, AddressSource::File(file)),
        None => (format!("http://{DEFAULT_LISTEN}"), AddressSource::Usual),
    })
}

/// The server that somebody named, or that is up in the data directory, and its key if there is one; nothing where
/// neither is. Nobody is asked.
pub(crate) fn known(invocation: &Invocation) -> anyhow::Result<Option<(String, Option<String>)>> {
    let (url, address) = url_or_default(&invocation.global)?;
    if address == AddressSource::Usual {
        return Ok(None);
    }
    let key = find_key(&invocation.global, &invocation.vars)?;
    Ok(Some((url, key.map(|(key, _)| key))))
}

/// The file that the key would be read from if it is not in the environment.
pub(crate) fn key_file(global: &Global) -> PathBuf {
    global.api_key_file.clone().unwrap_or_else(|| global.data.join(API_KEY_FILE))
}

/// The key, where there must be one.
pub(crate) fn read_key(global: &Global, vars: &Vars) -> anyhow::Result<(String, KeySource)> {
    find_key(global, vars)?.ok_or_else(|| {
        let cure = format!(
            "set {API_KEY}, or name the server's data directory with --data or its key's file with --api-key-file; `bifrost up` makes one"
        );
        let shown = key_file(global).display().to_string();
        failure(Code::Configuration, format!("no API key: {API_KEY} is not set and there is no file {shown}"), cure)
    })
}

/// The key: from the file that was named, else from a variable, else from the data directory.
/// Nothing when the data directory has none yet; none is made.
pub(crate) fn find_key(global: &Global, vars: &Vars) -> anyhow::Result<Option<(String, KeySource)>> {
    let variable = KEY_VARIABLES.into_iter().find_map(|name| Some((name, vars.text(name)?)));
    if global.api_key_file.is_none()
        && let Some((name, key)) = variable
    {
        return Ok(Some((header_safe(key, name)?, KeySource::Variable(name))));
    }
    let path = key_file(global);
    let shown = path.display().to_string();
    let key = kit::files::read_if_exists(&path).map_err(|error| {
        let cure = "its owner is whoever started the server: ask them, or set BIFROST_API_KEY";
        failure(Code::NoPermission, format!("the key file {shown} cannot be read: {error}"), cure)
    })?;
    match key {
        Some(key) => Ok(Some((header_safe(&key, &shown)?, KeySource::File(path)))),
        None if global.api_key_file.is_some() => {
            let cure = "name the one that the server's data directory has, or leave --api-key-file out";
            Err(failure(Code::Configuration, format!("there is no key file {shown}"), cure))
        }
        None => Ok(None),
    }
}

fn header_safe(key: &str, place: &str) -> anyhow::Result<String> {
    let key = key.trim();
    if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        let cure = "it must hold the one line that the server's data directory has in api-key";
        return Err(failure(Code::Configuration, format!("{place} does not hold an API key"), cure));
    }
    Ok(key.to_owned())
}

fn explain(error: client::Error, base: &str, address: &AddressSource, key: &KeySource) -> Failure {
    let (code, message, help) = match error {
        client::Error::Unreachable { source, .. } => {
            let message = format!("the server at {base} cannot be reached: {}", innermost(&source));
            (Code::Unavailable, message, Some(address.cure()))
        }
        client::Error::Unexpected { .. } => {
            (Code::Internal, error.to_string(), Some("use the same version of bifrost on both ends".into()))
        }
        client::Error::Refused(problem) => {
            let said = match &problem.field {
                Some(field) if !problem.detail.starts_with(field.as_str()) => format!("{field}: {}", problem.detail),
                _ => problem.detail.clone(),
            };
            match problem.status {
                502 | 504 => {
                    let message = format!("what stands before the server at {base} does not reach it: {said}");
                    (Code::Unavailable, message, Some("try again in a moment".into()))
                }
                _ if problem.code == "not_a_problem_document" => {
                    let message = format!("what answers at {base} is not a Bifrost server: {said}");
                    (
                        Code::Unavailable,
                        message,
                        Some(match address {
                            AddressSource::File(_) => address.cure(),
                            _ => "check --url or BIFROST_URL".into(),
                        }),
                    )
                }
                401 => (
                    Code::NoPermission,
                    format!("the server at {base} does not accept the API key"),
                    Some(key_cure(key)),
                ),
                403 => (Code::NoPermission, said, Some("ask for an API key with this permission".into())),
                404 => {
                    let list = list_of(&said).map(|list| format!("`bifrost {list}` shows what there is"));
                    (Code::NotFound, said, list)
                }
                408 | 429 | 503 | 507 => (Code::TryLater, said, Some("try again in a moment".into())),
                400..500 => (Code::Data, said, None),
                _ => (Code::Internal, said, Some("the server's own log says more".into())),
            }
        }
    };
    Failure { code, message, help }
}

/// The command that lists what the server has of the kind that it found none of; nothing where there is no such list.
fn list_of(said: &str) -> Option<&'static str> {
    let (_, kind) = said.rsplit_once("there is no such ")?;
    Some(match kind {
        "budget" => "budgets list",
        "checkpoint" | "checkpoint of this task" => "checkpoints list",
        "delivery of this webhook" => "webhooks deliveries ID",
        "dependency of this task" => "graph",
        "execution" | "task" => "tasks list",
        "failure strategy" => "strategies list",
        "hold" => "holds",
        "kept volume" => "machines sweep",
        "limit" => "limits list",
        "machine" => "machines list",
        "metadata key" => "tasks metadata keys",
        "outcome of this task" => "tasks outcomes list ID",
        "project" => "projects list",
        "runtime" => "runtimes list",
        "schedule" => "schedules list",
        "trigger" => "runtimes triggers ID",
        "webhook" => "webhooks list",
        "worker" => "workers list",
        _ => return None,
    })
}

fn key_cure(key: &KeySource) -> String {
    match key {
        KeySource::Variable(name) => {
            format!("the key comes from {name}; the server's own is in the file api-key of its data directory")
        }
        KeySource::File(path) => {
            format!(
                "the key comes from {}; the server's own is in the file api-key of its data directory",
                path.display()
            )
        }
        KeySource::Embedded => "this is a fault of ours: please report it".into(),
    }
}

/// The last cause says what happened; those around it say only that something did.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests;
