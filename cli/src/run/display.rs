//! Shows a task to whoever looks: a spinner and short lines to a person at a
//! terminal, plain lines to a log, one JSON object per line to a program. The
//! command's own bytes pass unchanged.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use wire::event::{StoredEvent, Stream};
use wire::execution::{Phase, PhaseTiming};
use wire::task::TaskView;
use wire::why::Why;

use super::progress::{Ending, Progress, Show, cache_word};
use crate::duration::show_micros;
use crate::output::Output;

/// Draws what [`Progress`] says.
pub(crate) struct Display {
    output: Output,
    progress: Progress,
    spinner: Spinner,
}

impl Display {
    /// For what happens while we look.
    pub(crate) fn live(output: Output) -> Self {
        let spinner = Spinner { is_wanted: output.is_stderr_terminal() && !output.is_json, ..Spinner::default() };
        Self { spinner, ..Self::past(output) }
    }

    /// For what has happened before: nothing moves.
    pub(crate) fn past(output: Output) -> Self {
        Self { output, progress: Progress::default(), spinner: Spinner::default() }
    }

    /// The task was accepted.
    pub(crate) fn submitted(&mut self, task: &TaskView) -> anyhow::Result<()> {
        if self.output.is_json { self.output.json(&TaskLine { task }) } else { Ok(()) }
    }

    /// Something happened to the task.
    pub(crate) fn event(&mut self, event: &StoredEvent) -> anyhow::Result<()> {
        if self.output.is_json {
            return self.output.json(&EventLine { event });
        }
        self.progress.event(event).into_iter().try_for_each(|show| self.show(show))
    }

    /// The task waits.
    pub(crate) fn waiting(&mut self, why: &Why) -> anyhow::Result<()> {
        match self.progress.waiting(why) {
            Some(show) if !self.output.is_json => self.show(show),
            Some(_) | None => Ok(()),
        }
    }

    /// The task has ended; gives our exit code.
    pub(crate) fn end(&mut self, task: &TaskView) -> anyhow::Result<u8> {
        self.spinner.clear();
        let Ending { code, summary, trouble } = self.progress.end(task);
        if self.output.is_json {
            self.output.json(&TaskLine { task })?;
            return Ok(code);
        }
        self.say(&summary);
        if let Some(trouble) = trouble {
            self.output.error(&trouble.message, trouble.help.as_deref());
        }
        Ok(code)
    }

    /// A line for the person, above whatever is drawn.
    pub(crate) fn say(&mut self, text: &str) {
        let output = self.output;
        self.spinner.above(|is_mid_line| {
            if is_mid_line {
                // The command's last line has no end; ours must not hang on to it.
                drop(output.raw(Stream::Stderr, b"\n"));
            }
            output.say(text);
        });
    }

    /// Takes away whatever is drawn.
    pub(crate) fn clear(&mut self) {
        self.spinner.clear();
    }

    /// Whether what the command writes there and what we say end up in one place.
    fn is_seen_with_ours(&self, stream: Stream) -> bool {
        match stream {
            Stream::Stdout => self.output.is_stdout_terminal() && self.output.is_stderr_terminal(),
            Stream::Stderr => true,
        }
    }

    fn show(&mut self, show: Show) -> anyhow::Result<()> {
        match show {
            Show::Now { phase, detail } => {
                if self.spinner.is_wanted {
                    self.spinner.now(phase, detail.as_deref());
                } else if let Some(detail) = detail {
                    self.say(&format!("{phase}: {detail}"));
                }
            }
            // The line at the end tells it, and the command's output should be the last before that.
            Show::Done { timing: PhaseTiming { phase: Phase::Running, .. }, .. } => (),
            Show::Done { timing, detail } => {
                let line = done_line(&timing, detail.as_deref(), self.output.is_stderr_terminal());
                self.say(&line);
            }
            Show::Output { stream, bytes } => {
                self.spinner.clear();
                self.output.raw(stream, &bytes)?;
                if self.is_seen_with_ours(stream) {
                    self.spinner.is_mid_line = bytes.last().map_or(self.spinner.is_mid_line, |byte| *byte != b'\n');
                }
            }
            Show::Note(text) => self.say(&text),
        }
        Ok(())
    }
}

/// A task as a line of JSON.
#[derive(Serialize)]
pub(super) struct TaskLine<'a> {
    pub(super) task: &'a TaskView,
}

/// An event as a line of JSON.
#[derive(Serialize)]
struct EventLine<'a> {
    event: &'a StoredEvent,
}

fn done_line(timing: &PhaseTiming, detail: Option<&str>, is_terminal: bool) -> String {
    let words: Vec<&str> = cache_word(timing.phase, timing.cache).into_iter().chain(detail).collect();
    let colon = if words.is_empty() { "" } else { ": " };
    let (text, time) = (format!("{}{colon}{}", timing.phase, words.join(", ")), show_micros(timing.micros));
    if is_terminal { format!("{text}  {time}") } else { format!("{text} ({time})") }
}

/// The one moving line; gone while the command writes.
#[derive(Default)]
struct Spinner {
    is_wanted: bool,
    is_mid_line: bool,
    drawn: Option<(ProgressBar, Phase)>,
}

impl Spinner {
    fn now(&mut self, phase: Phase, detail: Option<&str>) {
        let message = detail.map_or_else(|| phase.to_string(), |detail| format!("{phase}: {detail}"));
        match &mut self.drawn {
            Some((bar, drawn)) => {
                if *drawn != phase {
                    bar.reset_elapsed();
                    *drawn = phase;
                }
                bar.set_message(message);
            }
            // It would be drawn over the line that the command has not ended.
            None if self.is_mid_line => (),
            None => {
                let bar = ProgressBar::new_spinner().with_message(message);
                bar.set_style(
                    ProgressStyle::with_template("{spinner} {elapsed:>4} {wide_msg}").expect("the template is sound"),
                );
                bar.enable_steady_tick(Duration::from_millis(100));
                self.drawn = Some((bar, phase));
            }
        }
    }

    fn clear(&mut self) {
        if let Some((bar, _)) = self.drawn.take() {
            bar.finish_and_clear();
        }
    }

    /// Lets something be printed without the line in its way; says whether the cursor is behind unended output.
    fn above(&mut self, print: impl FnOnce(bool)) {
        let is_mid_line = std::mem::take(&mut self.is_mid_line);
        match &self.drawn {
            Some((bar, _)) => bar.suspend(|| print(is_mid_line)),
            None => print(is_mid_line),
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::execution::Cache;

    use super::*;

    #[test]
    fn a_finished_phase_is_one_short_line() {
        let timing = |phase, cache| PhaseTiming { phase, micros: 3_000, cache };
        for (timing, detail, piped, terminal) in [
            (timing(Phase::Queued, None), None, "queued (3 ms)", "queued  3 ms"),
            (timing(Phase::Clone, Some(Cache::Hit)), None, "clone: cached (3 ms)", "clone: cached  3 ms"),
            (timing(Phase::Clone, Some(Cache::Miss)), None, "clone: fetched (3 ms)", "clone: fetched  3 ms"),
            (
                timing(Phase::Dependencies, Some(Cache::Miss)),
                Some("npm"),
                "dependencies: installed, npm (3 ms)",
                "dependencies: installed, npm  3 ms",
            ),
            (
                timing(Phase::Dependencies, Some(Cache::Unused)),
                None,
                "dependencies: none (3 ms)",
                "dependencies: none  3 ms",
            ),
            (
                timing(Phase::Dependencies, Some(Cache::Unused)),
                Some("1 set-up command in 2 ms"),
                "dependencies: none, 1 set-up command in 2 ms (3 ms)",
                "dependencies: none, 1 set-up command in 2 ms  3 ms",
            ),
        ] {
            assert_eq!(done_line(&timing, detail, false), piped);
            assert_eq!(done_line(&timing, detail, true), terminal);
        }
    }
}
