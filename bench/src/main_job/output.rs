//! A command that says much: whether all of it arrives, and what that takes the runner.
//!
//! The runner is the program of its own that machines of an image run; `bifrost up` has it in
//! itself, together with everything else.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use client::sse::Messages;
use kit::Chance;
use serde_json::json;
use wire::event::{LogPayload, kind};

use super::memory::{self, Usages};
use super::told::Told;
use crate::memory::peak;
use crate::repository::Repository;
use crate::system::System;

/// What a command says in a second, and for how long.
const BYTES_PER_SECOND: usize = 20_000_000;
const SECONDS: usize = 10;
/// Every line has a number, so that one that is missing or there twice is found.
const LINE_BYTES: usize = 100;
/// The longest it may take until all of it is stored and read.
const LIMIT: Duration = Duration::from_secs(300);
/// Between two writes of the command.
const BEAT: Duration = Duration::from_millis(10);
/// What is kept of a command's output is bounded, else.
pub(super) const KEEP: (&str, &str) = ("BIFROST_OUTPUT_BYTES", "1073741824");

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    /// When nothing had happened for a while.
    pub(super) idle: Usages,
    /// What the command could say in a second, in millions of bytes: less than it wanted where it was held up.
    pub(super) rate: f64,
    /// The most that was resident of the runner, in bytes.
    pub(super) peak: u64,
}

/// Runs a command that says little, waits, and then one that says much.
pub(super) async fn measure(system: &System, repository: &Repository, idle: Duration) -> anyhow::Result<Found> {
    run(system, repository, vec!["true".into()]).await?;
    tokio::time::sleep(idle).await;
    let idle = memory::of_system(system.process_id)?;
    let program = std::env::current_exe()?.to_string_lossy().into_owned();
    let mut heard = Heard::default();
    let mut messages = run(system, repository, vec![program, "talk".into()]).await?;
    tokio::time::timeout(LIMIT, heard.all(&mut messages)).await.context("the output takes too long")??;
    let lines = BYTES_PER_SECOND * SECONDS / LINE_BYTES;
    ensure!(heard.lines == lines, "of {lines} lines {} arrived", heard.lines);
    let took = heard.took.context("the command did not say how long it took")?;
    let peaks = memory::children(system.process_id)?.into_iter().map(peak).collect::<anyhow::Result<Vec<_>>>()?;
    #[expect(clippy::cast_precision_loss, reason = "it is far less than 2^52")]
    let rate = (lines * LINE_BYTES) as f64 / took.as_secs_f64() / 1e6;
    Ok(Found { idle, rate, peak: peaks.into_iter().max().unwrap_or_default() })
}

/// How to start the runner beside this `bifrost` as a program of its own.
pub(super) fn runner(bifrost: &Path) -> anyhow::Result<String> {
    let runner: PathBuf = bifrost.with_file_name("bifrost-runner");
    ensure!(runner.exists(), "{} is missing; build it with cargo build --release -p runner", runner.display());
    Ok(json!([runner]).to_string())
}

/// The command itself: numbered lines at a steady pace, and at the end how long it took.
pub(crate) fn talk() -> io::Result<()> {
    let mut out = io::stdout().lock();
    let began = Instant::now();
    let per_beat = BYTES_PER_SECOND / LINE_BYTES / 100;
    let mut number = 0;
    for beat in 1..=SECONDS * 100 {
        let mut text = String::with_capacity(per_beat * LINE_BYTES);
        for _ in 0..per_beat {
            text.push_str(&format!("{number:0width$}\n", width = LINE_BYTES - 1));
            number += 1;
        }
        out.write_all(text.as_bytes())?;
        let due = BEAT * u32::try_from(beat).expect("a thousand");
        std::thread::sleep(due.saturating_sub(began.elapsed()));
    }
    writeln!(out, "took {}", began.elapsed().as_millis())
}

async fn run(system: &System, repository: &Repository, command: Vec<String>) -> anyhow::Result<Messages> {
    let submitted = system.control.submit(&repository.task("talk", command), &Chance::system().hex::<16>()).await?;
    Ok(system.control.logs(submitted.id, None, true, None).await?)
}

/// What was read of the command's output.
#[derive(Debug, Default)]
struct Heard {
    lines: usize,
    took: Option<Duration>,
    /// The beginning of a line whose end is to come.
    rest: Vec<u8>,
}

impl Heard {
    async fn all(&mut self, messages: &mut Messages) -> anyhow::Result<()> {
        while let Told::Event(event) = Told::next(messages).await? {
            if event.kind == kind::EXECUTION_LOG {
                let said: LogPayload = serde_json::from_str(event.payload.get())?;
                self.take(&said.data.to_bytes())?;
            }
        }
        Ok(())
    }

    /// Every number comes after the one before it.
    fn take(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.rest.extend_from_slice(bytes);
        let whole = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line = std::str::from_utf8(line)?;
            match line.strip_prefix("took ") {
                Some(took) => self.took = Some(Duration::from_millis(took.parse()?)),
                None => {
                    ensure!(line.parse() == Ok(self.lines), "line {} is {line:?}", self.lines);
                    self.lines += 1;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_however_they_are_cut_and_none_may_be_missing() {
        let mut heard = Heard::default();
        for piece in ["00\n0", "1\n", "02\ntook 1", "5\n"] {
            heard.take(piece.as_bytes()).expect("in order");
        }
        assert_eq!((heard.lines, heard.took), (3, Some(Duration::from_millis(15))));
        assert!(heard.take(b"04\n").is_err());
    }
}
