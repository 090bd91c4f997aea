//! Reads `/proc`.

use std::fs;
use std::io;

/// What `/proc/PID/stat` says of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) session: i32,
    pub(crate) state: u8,
    /// In clock ticks since the computer's boot; with the pid, it names a process for good.
    pub(crate) start_ticks: u64,
}

impl Process {
    /// Stopped by a signal or a tracer.
    pub(crate) fn is_frozen(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }

    /// It runs no more, though somebody may still have to take note.
    pub(crate) fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }
}

/// Every process that can be seen.
pub(crate) fn all() -> io::Result<Vec<Process>> {
    let mut processes = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        if let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) {
            processes.extend(one(pid)?);
        }
    }
    Ok(processes)
}

/// One process, if there is one with that id.
pub(crate) fn one(pid: i32) -> io::Result<Option<Process>> {
    match fs::read(format!("/proc/{pid}/stat")) {
        Ok(stat) => Ok(parse(pid, &stat)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A process that ends while it is being read answers ESRCH.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error())
}

/// The fields behind the program's name, which is second in the line and may hold anything; what follows the last `)`
/// does not.
fn fields(stat: &[u8]) -> Option<Vec<&str>> {
    let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
    Some(std::str::from_utf8(&stat[after_name..]).ok()?.split_ascii_whitespace().collect())
}

fn parse(pid: i32, stat: &[u8]) -> Option<Process> {
    let fields = fields(stat)?;
    Some(Process {
        pid,
        state: *fields.first()?.as_bytes().first()?,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        start_ticks: fields.get(19)?.parse().ok()?,
    })
}

/// What a process has taken so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Usage {
    pub(super) user_ticks: u64,
    pub(super) system_ticks: u64,
    pub(super) resident_bytes: u64,
}

/// What a process has taken so far, if it is still there.
pub(super) fn usage(pid: i32) -> Option<Usage> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let fields = fields(&stat)?;
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let page = u64::try_from(rustix::param::page_size()).ok()?;
    Some(Usage { user_ticks: number(11)?, system_ticks: number(12)?, resident_bytes: number(21)? * page })
}

/// Clock ticks in whole seconds.
pub(super) fn seconds(ticks: u64) -> u64 {
    ticks / rustix::param::clock_ticks_per_second()
}

/// Whole seconds since the computer's boot, the clock of start times.
pub(super) fn since_boot() -> io::Result<u64> {
    let uptime = fs::read_to_string("/proc/uptime")?;
    let whole = uptime.split(['.', ' ']).next().and_then(|seconds| seconds.parse().ok());
    whole.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/uptime is not understood"))
}

/// A process's program and arguments with spaces between; the empty text where they may not be read.
pub(super) fn command_line(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    words.join(" ").trim_end().to_owned()
}

/// A process's working directory; the empty text where it may not be read.
pub(super) fn directory(pid: i32) -> String {
    fs::read_link(format!("/proc/{pid}/cwd")).map(|path| path.display().to_string()).unwrap_or_default()
}

/// The inodes of the sockets that a process has open; none where they may not be read.
pub(super) fn sockets(pid: i32) -> Vec<u64> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten();
    let inode = |entry: io::Result<fs::DirEntry>| {
        let target = fs::read_link(entry.ok()?.path()).ok()?;
        target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    };
    entries.filter_map(inode).collect()
}

/// A table of the network that a process is in, such as `tcp`; the empty text where there is none.
pub(super) fn network(pid: i32, table: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default()
}

/// The variables of a process's environment; none where it may not be read.
pub(crate) fn environment(pid: i32) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_brackets_does_not_confuse_the_fields() {
        let stat = b"7 (a) R (b)) S 3 4 5 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 4242 9000 1\n";
        let expected = Process { pid: 7, parent: 3, session: 5, state: b'S', start_ticks: 4_242 };
        assert_eq!(parse(7, stat), Some(expected));
        assert_eq!(parse(7, b"7 (cut off) S 3"), None);
    }

    #[test]
    fn this_process_is_in_the_table_and_one_that_cannot_be_is_not() {
        let own = i32::try_from(std::process::id()).expect("a pid");
        let seen = one(own).expect("readable").expect("there");
        assert!(all().expect("readable").iter().any(|process| process.start_ticks == seen.start_ticks));
        assert_eq!(one(i32::MAX).expect("readable"), None);
    }
}
