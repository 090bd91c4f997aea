//! The events that wait, as lines of files: `<offset>.jsonl`, each named by the
//! place of its first byte among all bytes ever spooled, and `cursor`, which
//! says up to where they were acknowledged.
//!
//! Losing the cursor only means sending again, so it is never synced, and the lines
//! only when asked. A line counts when its line feed is there: a torn one at the end
//! is dropped.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// A file is closed at this size, and deleted when all of it was acknowledged.
const SEGMENT_BYTES: u64 = 8 * 1024 * 1024;
/// What is kept of events that the store refused for good.
const REJECTED_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The files of one directory, which no other process has open.
#[derive(Debug)]
pub(super) struct Spool {
    directory: PathBuf,
    segment_bytes: u64,
    tail: Mutex<Tail>,
    cursor: File,
    /// Held, never read: the lock ends with the process.
    _lock: File,
}

/// The files in order; only the last is written to.
#[derive(Debug)]
struct Tail {
    starts: Vec<u64>,
    file: File,
    end: u64,
}

/// Whole lines that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch {
    /// Each without its line feed.
    pub(super) lines: Vec<Vec<u8>>,
    /// Where the next batch begins.
    pub(super) end: u64,
}

impl Batch {
    /// Only so many of its lines.
    pub(super) fn first(mut self, count: usize) -> Self {
        let rest = self.lines.drain(count..);
        self.end -= rest.map(|line| line.len() as u64 + 1).sum::<u64>();
        self
    }
}

impl Spool {
    /// Opens or makes the spool; also tells up to where it was acknowledged.
    pub(super) fn open(directory: &Path) -> io::Result<(Self, u64)> {
        Self::open_with(directory, SEGMENT_BYTES)
    }

    fn open_with(directory: &Path, segment_bytes: u64) -> io::Result<(Self, u64)> {
        fs::create_dir_all(directory)?;
        let lock = writable(&directory.join("lock"))?;
        lock.try_lock().map_err(|error| held(directory, error))?;
        let acknowledged = read_cursor(&directory.join("cursor"))?;
        let tail = Tail::open(directory, acknowledged)?;
        // A cursor before the first file stands for what is gone; one that was lost, for nothing.
        let acknowledged = acknowledged.max(tail.starts[0]);
        let cursor = writable(&directory.join("cursor"))?;
        let directory = directory.to_owned();
        Ok((Self { directory, segment_bytes, tail: Mutex::new(tail), cursor, _lock: lock }, acknowledged))
    }

    /// Adds a line, which ends with its line feed, unless more than `most` bytes would then wait
    /// behind `acknowledged`. A line that alone is larger goes in when nothing waits.
    pub(super) fn append(&self, line: &[u8], acknowledged: u64, most: u64) -> io::Result<bool> {
        let mut tail = self.tail();
        let waiting = tail.end.saturating_sub(acknowledged);
        if waiting > 0 && waiting + line.len() as u64 > most {
            return Ok(false);
        }
        if tail.end - tail.start() >= self.segment_bytes {
            tail.file = writable(&segment(&self.directory, tail.end))?;
            let start = tail.end;
            tail.starts.push(start);
        }
        let place = tail.end - tail.start();
        if let Err(error) = tail.file.write_all_at(line, place) {
            // Half a line must not be taken for the beginning of the next.
            tail.file.set_len(place)?;
            return Err(error);
        }
        tail.end += line.len() as u64;
        Ok(true)
    }

    /// Behind the last line.
    pub(super) fn end(&self) -> u64 {
        self.tail().end
    }

    /// The lines from the given place on, as many as fit in both bounds but at least one;
    /// nothing when none waits. A batch without a line passes over a hole that a power cut left.
    pub(super) fn read(&self, from: u64, most_lines: usize, most_bytes: usize) -> io::Result<Option<Batch>> {
        let (starts, end) = {
            let tail = self.tail();
            (tail.starts.clone(), tail.end)
        };
        let first = starts.partition_point(|start| *start <= from).saturating_sub(1);
        for (index, start) in starts.iter().enumerate().skip(first) {
            let from = from.max(*start);
            let segment_end = starts.get(index + 1).copied().unwrap_or(end);
            let bytes = read_from(&segment(&self.directory, *start), from - start, segment_end - from, most_bytes)?;
            let lines = cut(&bytes, most_lines, most_bytes);
            if !lines.is_empty() {
                let length: usize = lines.iter().map(|line| line.len() + 1).sum();
                return Ok(Some(Batch { lines, end: from + length as u64 }));
            }
        }
        Ok((from < end).then_some(Batch { lines: Vec::new(), end }))
    }

    /// Makes every line that is still here survive the loss of power.
    pub(super) fn sync(&self) -> io::Result<()> {
        let starts = self.tail().starts.clone();
        for start in starts {
            match File::open(segment(&self.directory, start)) {
                Ok(file) => file.sync_data()?,
                // All of it was acknowledged in the meantime.
                Err(error) if error.kind() == io::ErrorKind::NotFound => (),
                Err(error) => return Err(error),
            }
        }
        kit::files::sync_directory(&self.directory)
    }

    /// Notes that everything before the place was acknowledged, and deletes what nobody needs.
    pub(super) fn acknowledge(&self, place: u64) -> io::Result<()> {
        self.cursor.write_all_at(format!("{place:020}\n").as_bytes(), 0)?;
        let done: Vec<u64> = {
            let mut tail = self.tail();
            let keep = tail.starts.partition_point(|start| *start <= place).saturating_sub(1);
            tail.starts.drain(..keep).collect()
        };
        done.into_iter().try_for_each(|start| fs::remove_file(segment(&self.directory, start)))
    }

    /// Keeps a refused line for a person to look at; whether there was room for it.
    pub(super) fn set_aside(&self, reason: &str, line: &[u8]) -> io::Result<bool> {
        #[derive(Serialize)]
        struct Rejected<'a> {
            reason: &'a str,
            line: &'a str,
        }
        let line = String::from_utf8_lossy(line);
        let mut text = serde_json::to_vec(&Rejected { reason, line: &line })?;
        text.push(b'\n');
        let mut file = OpenOptions::new().append(true).create(true).open(self.directory.join("rejected.jsonl"))?;
        if file.metadata()?.len() + text.len() as u64 > REJECTED_BYTES_MAX {
            return Ok(false);
        }
        file.write_all(&text)?;
        Ok(true)
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tail {
    fn open(directory: &Path, acknowledged: u64) -> io::Result<Self> {
        let mut starts = Vec::new();
        for entry in fs::read_dir(directory)? {
            starts.extend(segment_start(&entry?.path()));
        }
        starts.sort_unstable();
        if let Some(start) = starts.last() {
            let file = writable(&segment(directory, *start))?;
            let whole = whole_lines(&file)?;
            file.set_len(whole)?;
            // After a power cut the file may be shorter than the cursor that was written after it.
            if start + whole >= acknowledged {
                return Ok(Self { end: start + whole, starts, file });
            }
        }
        starts.push(acknowledged);
        Ok(Self { starts, file: writable(&segment(directory, acknowledged))?, end: acknowledged })
    }

    fn start(&self) -> u64 {
        *self.starts.last().expect("there is always a last file")
    }
}

fn writable(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
}

fn segment(directory: &Path, start: u64) -> PathBuf {
    directory.join(format!("{start:020}.jsonl"))
}

fn segment_start(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?.strip_suffix(".jsonl")?;
    if name.len() == 20 { name.parse().ok() } else { None }
}

/// A cursor that is missing or damaged stands at the beginning.
fn read_cursor(path: &Path) -> io::Result<u64> {
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    Ok(text.trim_end().parse().unwrap_or(0))
}

fn held(directory: &Path, error: fs::TryLockError) -> io::Error {
    match error {
        fs::TryLockError::Error(error) => error,
        fs::TryLockError::WouldBlock => io::Error::new(
            io::ErrorKind::ResourceBusy,
            format!("another process sends from the event spool {}", directory.display()),
        ),
    }
}

/// How much of the file is lines with their line feed.
fn whole_lines(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = [0; 4096];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let length = usize::try_from(end - start).expect("a block is small");
        file.read_exact_at(&mut block[..length], start)?;
        if let Some(last) = block[..length].iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

/// At most `available` bytes from the place on: about `wanted`, or more where one line needs it.
fn read_from(path: &Path, place: u64, available: u64, wanted: usize) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let available = available.min(file.metadata()?.len().saturating_sub(place));
    let mut wanted = wanted as u64;
    loop {
        let mut bytes = vec![0; usize::try_from(wanted.min(available)).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, place)?;
        if wanted >= available || bytes.contains(&b'\n') {
            return Ok(bytes);
        }
        wanted = wanted.saturating_mul(2).max(1);
    }
}

/// The whole lines at the beginning that fit in both bounds, but at least one.
fn cut(bytes: &[u8], most_lines: usize, most_bytes: usize) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut taken = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let Some(text) = line.strip_suffix(b"\n") else { break };
        if !lines.is_empty() && (lines.len() >= most_lines || taken + line.len() > most_bytes) {
            break;
        }
        taken += line.len();
        lines.push(text.to_vec());
    }
    lines
}

#[cfg(test)]
mod tests;
