//! What a command shows: results on standard output, everything said about them on standard
//! error, and a bar there while a person waits.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Serialize;

use super::failure::{Failure, Trouble};
use crate::archive::{Error, Stage, Watch};

/// Standard output and standard error of one command.
pub(super) struct Screen {
    bar: ProgressBar,
}

impl Screen {
    pub(super) fn new(is_json: bool) -> Self {
        let is_seen = io::stderr().is_terminal() && !is_json;
        let target = if is_seen { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bar: ProgressBar::with_draw_target(None, target) }
    }

    /// Does the work with its progress shown; nothing of that is left afterwards.
    pub(super) fn watched<T>(
        &self,
        stop: &Arc<AtomicBool>,
        work: impl FnOnce(&Watch<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let done = work(&Watch { stop: stop.clone(), progress: &|stage, done, total| self.show(stage, done, total) });
        self.bar.finish_and_clear();
        done
    }

    fn show(&self, stage: Stage, done: u64, total: u64) {
        let (text, template) = match stage {
            Stage::Copying => ("copying", "{msg} {wide_bar} {percent}%"),
            Stage::Verifying => ("verifying", "{msg} {wide_bar} {percent}%"),
            Stage::Exporting => ("exporting", "{msg} {wide_bar} {percent}%"),
            Stage::CheckingPages => ("checking pages and indexes", "{msg}"),
        };
        if self.bar.message() != text {
            self.bar.set_style(ProgressStyle::with_template(template).expect("the template is sound"));
            self.bar.set_message(text);
        }
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    /// One line of a result.
    pub(super) fn line(&self, text: &str) -> Result<(), Failure> {
        self.result(text)
    }

    /// A result as JSON on one line.
    pub(super) fn json(&self, value: &impl Serialize) -> Result<(), Failure> {
        self.result(&serde_json::to_string(value).expect("a result is plain data"))
    }

    fn result(&self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        let written = out.write_all(format!("{text}\n").as_bytes()).and_then(|()| out.flush());
        written.map_err(|error| Failure::new(Trouble::InputOutput, error.into(), "check where standard output goes"))
    }

    /// A line about what is going on; a lost one is no failure.
    pub(super) fn say(&self, text: &str) {
        self.bar.suspend(|| drop(io::stderr().lock().write_all(format!("{text}\n").as_bytes())));
    }

    /// Whether the person at the terminal says yes; Ctrl-C is a no.
    pub(super) fn asks(&self, question: &str, stop: &AtomicBool) -> bool {
        const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        self.bar.suspend(|| {
            drop(io::stderr().lock().write_all(format!("{question} [y/N] ").as_bytes()));
            let stdin = io::stdin();
            while !stop.load(Ordering::Relaxed) {
                let mut ready = [PollFd::new(&stdin, PollFlags::IN)];
                // A signal that interrupts it is seen above.
                if poll(&mut ready, Some(&LOOK)).is_ok_and(|count| count > 0) {
                    let mut answer = String::new();
                    let was_read = stdin.lock().read_line(&mut answer).is_ok();
                    return was_read && matches!(answer.trim(), "y" | "Y" | "yes");
                }
            }
            false
        })
    }
}
