//! Coding agents: a task may ask one instead of naming a command.
//!
//! An agent is a program that is told what to do on its standard input and prints
//! JSON lines about it. How each is started and understood is data
//! ([`driver`], `drivers.toml`), not code. The log shows what the agent says; what
//! it says of itself (session, tokens, cost, result) is one event at its end. Its
//! word decides, not only its exit: an agent that ends without a result has failed.

pub(crate) mod driver;
pub(crate) mod keys;
pub(crate) mod mock;
pub(crate) mod reading;
pub(crate) mod sessions;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use wire::agent::AgentSpec;
use wire::execution::Failure;

use crate::setup::NotReady;
use driver::{Driver, Drivers};
use keys::Keys;

/// How an agent that was asked for is started.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    pub(crate) driver: &'a Driver,
    /// Program and arguments.
    pub(crate) arguments: Vec<String>,
    /// What its driver sets and its keys, where the task says nothing else.
    pub(crate) environment: BTreeMap<String, String>,
    /// The prompt, for its standard input.
    pub(crate) input: File,
}

/// Prepares an agent; `directory` is out of the command's sight.
pub(crate) fn prepare<'a>(
    drivers: &'a Drivers,
    keys: &Keys,
    spec: &AgentSpec,
    directory: &Path,
) -> Result<Launch<'a>, NotReady> {
    let driver = drivers.get(&spec.name).ok_or_else(|| {
        let message = format!("this runner knows no agent {}; it knows {}", spec.name, drivers.names().join(", "));
        NotReady::failed(Failure::UnknownAgent, message)
    })?;
    let arguments = driver.command(spec);
    let input =
        prompt(&driver.prompt(spec), directory).map_err(|error| NotReady::machine("noting the prompt", &error))?;
    let mut environment = driver.environment.clone();
    environment.extend(keys.of(driver));
    Ok(Launch { driver, arguments, environment, input })
}

/// A file without a name that holds the prompt: however long it is, nobody has to feed it.
fn prompt(text: &str, directory: &Path) -> io::Result<File> {
    let path = directory.join("prompt");
    let mut options = fs::OpenOptions::new();
    let mut file = options.read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

#[cfg(test)]
mod tests;
