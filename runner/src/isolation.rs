//! Walls around a command: a user of its own, its own view of the files, its own
//! processes and its own System V objects. It sees its workspace, its home and its
//! temporary directory, and of the machine's volume nothing else; no process but
//! its own; and when it has ended, the kernel ends everything that it started.
//!
//! Which walls the kernel lets us build is tried once, when the runner starts, and
//! is in the record of every execution. Where one cannot stand the work goes on
//! without it, unless the operator demands all of them (`BIFROST_ISOLATION=required`).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::str::FromStr;
use std::sync::Arc;

use kit::tasks::blocking;
use tokio::process::Command;
use wire::event::{IsolationPayload, MissingWall};
use wire::execution::Wall;

use crate::volume::Volume;
use crate::workspace::Paths;

mod enter;
mod groups;
pub(crate) mod plan;
pub(crate) mod rights;
mod users;
use enter::Entry;
use groups::{Bounds, Groups};
use users::Users;

/// What a command is called where it has a user of its own.
const USER_NAME: &str = "bifrost";

/// What of the machine's memory is left to the runner.
const MEMORY_OF_RUNNER: u64 = 64 * 1024 * 1024;

/// Closes this process to others of its user, and what it forks until that is another program: they neither read its
/// environment and memory nor trace it. Where the `user` and `processes` walls stand commands do not see it anyway.
pub(crate) fn close_this_process() {
    if let Err(error) = nix::sys::prctl::set_dumpable(false) {
        tracing::warn!("a command of this user may read the runner's environment: {error}");
    }
}

/// What the operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Demand {
    /// No walls.
    Off,
    /// Those that can stand.
    #[default]
    On,
    /// All of them, or nothing runs.
    Required,
}

impl FromStr for Demand {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "on" => Ok(Self::On),
            "required" => Ok(Self::Required),
            _ => Err("must be off, on or required".into()),
        }
    }
}

/// The walls that stand on this machine.
#[derive(Debug, Clone, Default)]
pub(crate) struct Isolation {
    walls: Vec<Wall>,
    missing: Vec<MissingWall>,
    demand: Demand,
    hidden: Vec<PathBuf>,
    /// Files that no command can open.
    closed: Vec<PathBuf>,
    /// Where an execution can be kept to its part of the machine.
    groups: Option<Groups>,
    /// The memory that the runner keeps an execution to, where no group does.
    pub(crate) watched_bytes: Option<u64>,
    /// Where executions can have users of their own.
    users: Option<Arc<Users>>,
}

/// What an execution may see of what is hidden.
#[derive(Debug, Clone, Default)]
pub(crate) struct Openings {
    /// May be changed.
    pub(crate) own: Vec<PathBuf>,
    /// May be read.
    pub(crate) read: Vec<PathBuf>,
    /// Stands in for `/tmp`.
    pub(crate) temporary: PathBuf,
    /// Where the command starts.
    pub(crate) directory: PathBuf,
    /// What is the execution's besides, out of the command's sight. It is called as the execution is.
    pub(crate) execution: PathBuf,
    /// Its home, for those files.
    pub(crate) home: PathBuf,
    /// Where that directory was before: what is looked for there is found.
    pub(crate) formerly: Vec<PathBuf>,
}

impl Openings {
    /// What belongs to an execution, the objects that its repository borrows, and these caches.
    pub(crate) fn of(paths: &Paths, caches: impl IntoIterator<Item = PathBuf>) -> Self {
        let own = [&paths.tree, &paths.home, &paths.temporary].map(Clone::clone);
        Self {
            own: own.into_iter().chain(caches).collect(),
            read: vec![paths.mirror.join("objects")],
            temporary: paths.temporary.clone(),
            directory: paths.tree.clone(),
            execution: paths.own().to_owned(),
            home: paths.home.clone(),
            formerly: Vec::new(),
        }
    }
}

impl Isolation {
    /// No walls: on a person's own computer, for what that person started.
    pub(crate) fn none() -> Self {
        Self { demand: Demand::Off, ..Self::default() }
    }

    /// No walls, and a control group for each execution.
    #[cfg(test)]
    pub(crate) fn in_groups() -> Self {
        let groups = Groups::unbounded().expect("control groups of version 2");
        Self { demand: Demand::On, groups: Some(groups), ..Self::default() }
    }

    /// Whether an execution is stopped.
    #[cfg(test)]
    pub(crate) fn holds(&self, execution: &Path) -> bool {
        let group = self.groups.as_ref().expect("has groups").group(&name(execution));
        fs::read_to_string(group.join("cgroup.events")).is_ok_and(|events| events.contains("frozen 1"))
    }

    /// Tries which walls stand. Takes some milliseconds.
    pub(crate) async fn probe(volume: &Volume, demand: Demand, hide: &[PathBuf], memory_bytes: Option<u64>) -> Self {
        let hide = hide.iter().filter_map(|path| path.canonicalize().ok()).chain([volume.root().to_owned()]);
        let (hidden, closed) = hide.partition(|path| path.is_dir());
        let mut found = Self { demand, hidden, closed, watched_bytes: memory_bytes, ..Self::default() };
        if demand == Demand::Off {
            return found;
        }
        let memory_bytes = memory_bytes.unwrap_or_else(|| machine_memory().saturating_sub(MEMORY_OF_RUNNER));
        found.watched_bytes = match found.take_groups(volume, memory_bytes).await {
            Ok(()) => None,
            Err(reason) => {
                tracing::info!("the runner watches the memory of commands, as the kernel cannot: {reason}");
                Some(memory_bytes)
            }
        };
        let mut wanted = Wall::ALL.to_vec();
        if let Err(reason) = found.take_user(volume.root()).await {
            wanted.retain(|wall| *wall != Wall::User);
            found.missing.push(MissingWall { wall: Wall::User, reason });
        }
        let mut first_error = None;
        for walls in plan::attempts(&wanted) {
            found.walls = walls;
            match found.try_out(volume).await {
                Ok(()) => break,
                Err(error) => drop(first_error.get_or_insert(error.to_string())),
            }
        }
        let missing = wanted.into_iter().filter(|wall| !found.walls.contains(wall)).collect::<Vec<_>>();
        let reason = first_error.unwrap_or_default();
        found.missing.extend(missing.into_iter().map(|wall| MissingWall { wall, reason: reason.clone() }));
        for MissingWall { wall, reason } in &found.missing {
            tracing::warn!("commands get no wall of the kind {wall}: {reason}");
        }
        for directory in &found.payload().shared {
            tracing::warn!("commands share {} with the machine, because the volume is below it", directory.display());
        }
        found
    }

    /// Groups that can be found may still be nobody's to make, or to join.
    async fn take_groups(&mut self, volume: &Volume, memory_bytes: u64) -> Result<(), String> {
        self.groups = Some(Groups::find(Bounds { memory_bytes, processes: enter::PROCESSES_MAX })?);
        let tried = self.try_out(volume).await;
        tried.map_err(|error| {
            self.groups = None;
            error.to_string()
        })
    }

    /// A user of its own needs an owner for files that is mapped to it, and a way to the volume.
    async fn take_user(&mut self, root: &Path) -> Result<(), String> {
        if !rights::suffice() {
            return Err(rights::insufficient());
        }
        for directory in root.ancestors().skip(1) {
            let mode = fs::metadata(directory).map_err(|error| error.to_string())?.permissions().mode();
            if mode & 0o001 == 0 {
                return Err(format!("{} is closed to other users, and the volume is below it", directory.display()));
            }
        }
        let users = blocking(Users::find).await.map_err(|error| format!("no user namespace can be made: {error}"))?;
        self.users = Some(Arc::new(users));
        Ok(())
    }

    /// Runs a program that does nothing behind these walls.
    async fn try_out(&self, volume: &Volume) -> io::Result<()> {
        let own = volume.trial();
        for directory in ["home", "tmp"] {
            kit::files::make_private(&own.join(directory))?;
        }
        let openings = Openings {
            own: vec![own.clone()],
            temporary: own.join("tmp"),
            directory: own.clone(),
            execution: own.clone(),
            home: own.join("home"),
            ..Openings::default()
        };
        let mut command = kit::process::command("true");
        command.stdout(Stdio::null()).stderr(Stdio::null()).current_dir(&own);
        let status = match self.enclose(&mut command, &openings) {
            Ok(()) => command.status().await,
            Err(error) => Err(error),
        };
        self.disband(&own);
        crate::volume::remove(&own)?;
        let status = status?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("a trial ended with {status}"))) }
    }

    /// A command of the repository's own, in its workspace and behind the walls.
    pub(crate) fn walled(
        &self,
        words: &[String],
        environment: &BTreeMap<String, String>,
        openings: &Openings,
    ) -> io::Result<Command> {
        let mut command = kit::process::command(&words[0]);
        command.args(&words[1..]).current_dir(&openings.directory).env_clear().envs(environment);
        self.enclose(&mut command, openings)?;
        Ok(command)
    }

    /// Puts a command that is about to be started behind the walls.
    pub(crate) fn enclose(&self, command: &mut Command, openings: &Openings) -> io::Result<()> {
        self.enclose_with(command, openings, false)
    }

    /// As [`enclose`](Self::enclose); its standard input may be a terminal, which becomes its own.
    pub(crate) fn enclose_with(
        &self,
        command: &mut Command,
        openings: &Openings,
        has_terminal: bool,
    ) -> io::Result<()> {
        if has_terminal && !self.stands(Wall::Processes) {
            enter::before_exec(command, enter::take_terminal);
        }
        if self.demand == Demand::Off {
            return Ok(());
        }
        let mut view = plan::view(&self.hidden, &self.closed, openings);
        let users = self.users.as_ref().filter(|_| self.stands(Wall::User));
        let owner = users.map(|users| users.of(&name(&openings.execution))).transpose()?;
        if let Some(owner) = &owner {
            view.replaced.extend(accounts(openings, owner.id)?);
        }
        // Root could leave its group where it can write there.
        view.replaced.extend(self.groups.iter().map(|groups| (groups.mount.clone(), groups.mount.clone())));
        let mut entry = Entry::new(&self.walls, &view, owner, has_terminal)?;
        if let Some(groups) = &self.groups {
            entry.group = Some(groups.entrance(&name(&openings.execution))?);
        }
        enter::before_exec(command, move || entry.enter());
        Ok(())
    }

    /// The directory in which the file lies, as it is named or where its links lead, and in whose place a command sees
    /// something else.
    pub(crate) fn covering(&self, file: &Path, openings: &Openings) -> Option<PathBuf> {
        if !self.stands(Wall::Files) {
            return None;
        }
        let covers: Vec<_> = plan::stand_ins(&self.hidden).into_iter().chain(self.hidden.iter().cloned()).collect();
        let covering = |file: &Path| {
            let is_open = openings.own.iter().chain(&openings.read).any(|open| file.starts_with(open));
            covers.iter().find(|cover| !is_open && file.starts_with(cover)).cloned()
        };
        covering(file).or_else(|| covering(&file.canonicalize().ok()?))
    }

    /// What a command calls a file of its temporary directory: by the shortest way that it sees.
    pub(crate) fn in_temporary(&self, openings: &Openings, name: &str) -> PathBuf {
        let places = if self.stands(Wall::Files) { plan::stand_ins(&self.hidden) } else { Vec::new() };
        let place = places.iter().find(|place| place.is_dir()).unwrap_or(&openings.temporary);
        place.join(name)
    }

    pub(crate) fn stands(&self, wall: Wall) -> bool {
        self.walls.contains(&wall)
    }

    /// Stops all of an execution, or lets it go on. Whether that can be done on this machine. Nothing may be started in it
    /// meanwhile: whoever starts something waits until it runs.
    pub(crate) fn hold(&self, execution: &Path, is_held: bool) -> io::Result<bool> {
        let held = self.groups.as_ref().map(|groups| groups.hold(&name(execution), is_held));
        Ok(held.transpose()?.is_some())
    }

    /// Ends whatever is left of an execution and of its group. Tells how many processes the kernel ended because
    /// they wanted more than their memory. Blocks for a moment.
    pub(crate) fn disband(&self, execution: &Path) -> u64 {
        if let Some(Err(error)) = self.users.as_ref().map(|users| users.end(&name(execution))) {
            tracing::warn!("the next execution's user is not ready: {error}");
        }
        let disbanded = self.groups.as_ref().map(|groups| groups.disband(&name(execution)));
        disbanded.transpose().map(Option::unwrap_or_default).unwrap_or_else(|error| {
            tracing::warn!("the control group of {} cannot be removed: {error}", execution.display());
            0
        })
    }

    /// To whom files belong that no command may write, where the kernel can see to that.
    pub(crate) fn keeper(&self) -> Option<u32> {
        self.stands(Wall::User).then_some(users::KEEPER)
    }

    /// What the record says.
    pub(crate) fn payload(&self) -> IsolationPayload {
        let bounds = self.groups.as_ref().and_then(|groups| groups.bounds);
        let of_user = self.stands(Wall::User).then(enter::processes_of_user);
        IsolationPayload {
            walls: self.walls.clone(),
            missing: self.missing.clone(),
            shared: if self.stands(Wall::Files) { plan::shared(&self.hidden) } else { Vec::new() },
            memory_bytes: bounds.map(|bounds| bounds.memory_bytes).or(self.watched_bytes),
            processes: bounds.map(|bounds| bounds.processes).or(of_user),
            disk_bytes: None,
        }
    }

    /// Why nothing may run, where the operator demands every wall.
    pub(crate) fn refusal(&self) -> Option<String> {
        if self.demand != Demand::Required || self.missing.is_empty() {
            return None;
        }
        let missing: Vec<String> =
            self.missing.iter().map(|MissingWall { wall, reason }| format!("{wall} ({reason})")).collect();
        Some(format!(
            "BIFROST_ISOLATION=required, but this machine cannot build these walls: {}; run the runner as root, or its \
             image with every capability, on a kernel with namespaces, or set it to on",
            missing.join("; ")
        ))
    }
}

/// What an execution is called, by the directory that is called so.
fn name(execution: &Path) -> String {
    execution.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Bytes of memory that the machine has; as good as none where it does not say.
fn machine_memory() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    total.map_or(u64::MAX, |kilobytes: u64| kilobytes * 1024)
}

/// Accounts files with the command's user in them, to stand in for the machine's: ssh and others ask who they are.
fn accounts(openings: &Openings, id: u32) -> io::Result<Vec<(PathBuf, PathBuf)>> {
    let home = openings.home.display();
    let user = format!("{USER_NAME}:x:{id}:{id}::{home}:/bin/sh\n");
    let group = format!("{USER_NAME}:x:{id}:\n");
    let mut replaced = Vec::new();
    for (name, line) in [("passwd", user), ("group", group)] {
        let machines = Path::new("/etc").join(name);
        let Some(text) = kit::files::read_if_exists(&machines)? else { continue };
        let own = openings.execution.join(name);
        fs::write(&own, format!("{}\n{line}", text.trim_end()))?;
        fs::set_permissions(&own, fs::Permissions::from_mode(0o644))?;
        replaced.push((own, machines));
    }
    Ok(replaced)
}

#[cfg(test)]
mod tests;
