//! What strace wrote down, as the steps that matter. With `-f -y -xx`: each line begins
//! with the thread, files stand beside their numbers, texts are hexadecimal, and a call
//! that another thread's came in between has two lines.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use wire::id::EventId;

/// The calls to write down.
pub(crate) const CALLS: &str = "trace=pwrite64,write,writev,sendto,sendmsg,ftruncate,unlink,fdatasync,fsync";

/// One call; its lines say when it began and when it had ended.
#[derive(Debug)]
pub(crate) enum Step {
    /// Bytes went to a file.
    Write { began: usize, ended: usize, file: String, place: usize, bytes: Vec<u8> },
    /// A file was cut off.
    Truncate { began: usize, ended: usize, file: String, length: usize },
    /// A file was deleted.
    Remove { began: usize, ended: usize, file: String },
    /// A file is on disk; the nameless one is the folder, and with it what was deleted.
    Sync { began: usize, ended: usize, file: String },
    /// Somebody was told of these events.
    Tell { began: usize, events: Vec<EventId> },
}

impl Step {
    pub(crate) fn began(&self) -> usize {
        match self {
            Self::Write { began, .. }
            | Self::Truncate { began, .. }
            | Self::Remove { began, .. }
            | Self::Sync { began, .. }
            | Self::Tell { began, .. } => *began,
        }
    }
}

/// Every event that anybody had been told of.
pub(crate) fn told_before(steps: &[Step], line: usize) -> HashSet<EventId> {
    let told = steps.iter().filter_map(|step| match step {
        Step::Tell { began, events } if *began <= line => Some(events),
        _ => None,
    });
    told.flatten().copied().collect()
}

/// Reads the record of a program whose files are in the folder `data`.
pub(crate) fn read(record: &Path, data: &Path) -> io::Result<Vec<Step>> {
    let mut steps = Vec::new();
    let mut unfinished: HashMap<String, (usize, String)> = HashMap::new();
    for (number, line) in BufReader::new(File::open(record)?).lines().enumerate() {
        let line = line?;
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let call = call.trim_start();
        if let Some(beginning) = call.strip_suffix(" <unfinished ...>") {
            unfinished.insert(thread.to_owned(), (number, beginning.to_owned()));
        } else if call.starts_with("<... ") {
            let Some((began, beginning)) = unfinished.remove(thread) else { continue };
            let end = call.split_once(" resumed>").map_or("", |(_, end)| end);
            steps.extend(step(&format!("{beginning}{end}"), began, number, data));
        } else {
            steps.extend(step(call, number, number, data));
        }
    }
    // What the end of the program interrupted may have happened.
    for (began, beginning) in unfinished.into_values() {
        steps.extend(step(&beginning, began, usize::MAX, data));
    }
    steps.sort_by_key(Step::began);
    Ok(steps)
}

fn step(call: &str, began: usize, ended: usize, data: &Path) -> Option<Step> {
    let (name, arguments) = call.split_once('(')?;
    let inside = |path: &str| Path::new(path).strip_prefix(data).ok()?.to_str().map(str::to_owned);
    if name == "unlink" {
        let file = inside(&String::from_utf8(texts(arguments)).ok()?)?;
        return Some(Step::Remove { began, ended, file });
    }
    let (target, rest) = arguments.split_once('<')?.1.split_once('>')?;
    let target = String::from_utf8(hex(target)).ok()?;
    if matches!(name, "write" | "writev" | "sendto" | "sendmsg") {
        let is_socket = target.starts_with("socket:") || target.starts_with("TCP:");
        let events = if is_socket { events_in(&texts(rest)) } else { Vec::new() };
        return (!events.is_empty()).then_some(Step::Tell { began, events });
    }
    let file = inside(&target)?;
    // The last number in the parentheses is the place of a write, and the length of a truncation.
    let last = || rest.split(')').next()?.rsplit(", ").next()?.trim().parse().ok();
    Some(match name {
        "pwrite64" => Step::Write { began, ended, file, place: last()?, bytes: texts(rest) },
        "ftruncate" => Step::Truncate { began, ended, file, length: last()? },
        "fdatasync" | "fsync" => Step::Sync { began, ended, file },
        _ => return None,
    })
}

/// Everything between quotation marks.
fn texts(rest: &str) -> Vec<u8> {
    rest.split('"').skip(1).step_by(2).flat_map(hex).collect()
}

/// The bytes of `\x41\x42…`.
fn hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok()).unwrap_or(0);
    text.as_bytes().chunks_exact(4).map(|byte| digit(byte[2]) << 4 | digit(byte[3])).collect()
}

/// The ids in an answer or in a stream.
fn events_in(sent: &[u8]) -> Vec<EventId> {
    const BEFORE: &[u8] = b"\"id\":\"";
    let starts = sent.windows(BEFORE.len()).enumerate().filter(|(_, window)| *window == BEFORE);
    let id = |start: usize| std::str::from_utf8(sent.get(start..start + 36)?).ok()?.parse().ok();
    starts.filter_map(|(start, _)| id(start + BEFORE.len())).collect()
}
