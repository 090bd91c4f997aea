//! Understanding what an agent prints (pure): text for the log, and what it says of itself.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use wire::agent::{AgentReport, AgentUsage};
use wire::limit::{BUDGET_MICROS_MAX, BUDGET_UNITS_MAX};

use super::driver::{Driver, Ending, Rule, taken_away};

/// A longer line is not understood, only counted.
const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Last words are cut to this.
const MESSAGE_CHARS: usize = 2_000;

/// What an agent has said so far.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    driver: &'a Driver,
    line: Vec<u8>,
    /// The line is too long already; it is passed over up to its end.
    is_skipping: bool,
    /// The log's last text has no line's end yet.
    is_in_chunk: bool,
    /// What the numbers that it says contain of earlier runs.
    before: Taken,
    /// The last line that was understood was a piece of a longer text.
    is_after_chunk: bool,
    report: AgentReport,
    /// What nobody has taken yet of what requests took.
    usages: Vec<AgentUsage>,
    cost_micros: Option<u64>,
    has_failed: Option<bool>,
    /// The last line that was understood said how it ended.
    is_over: bool,
    /// It waits for something before it really is over.
    is_busy: bool,
    is_sealed: bool,
}

/// Tokens that a session has taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// Those that the agent read.
    pub input_tokens: u64,
    /// Those that it wrote.
    pub output_tokens: u64,
}

impl Taken {
    /// Those of one run.
    pub fn by(report: &AgentReport) -> Self {
        Self { input_tokens: report.input_tokens, output_tokens: report.output_tokens }
    }

    /// These, and those of another run.
    pub fn and(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_add(other.input_tokens),
            output_tokens: self.output_tokens.saturating_add(other.output_tokens),
        }
    }
}

/// What was heard of an agent when it had ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heard {
    pub(crate) report: AgentReport,
    pub(crate) verdict: Verdict,
}

impl Heard {
    /// All tokens together; no more than can be counted, whatever the agent says.
    pub(crate) fn tokens(&self) -> i64 {
        let tokens = self.report.input_tokens.saturating_add(self.report.output_tokens);
        i64::try_from(tokens).unwrap_or(i64::MAX).min(BUDGET_UNITS_MAX)
    }

    /// Whether it has done what it was asked to, and asks nothing.
    pub(crate) fn is_content(&self) -> bool {
        self.verdict == Verdict::Succeeded && self.report.asks.is_none()
    }
}

/// What an agent's words come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Succeeded,
    Failed,
    /// It never said.
    Silent,
}

impl<'a> Reading<'a> {
    /// Of an agent whose session had taken so much before.
    pub(crate) fn new(driver: &'a Driver, name: &str, before: Taken) -> Self {
        let before = if driver.counts_session { before } else { Taken::default() };
        let Taken { input_tokens, output_tokens } = before;
        let report = AgentReport { agent: name.to_owned(), input_tokens, output_tokens, ..AgentReport::default() };
        Self {
            driver,
            line: Vec::new(),
            is_skipping: false,
            is_in_chunk: false,
            is_after_chunk: false,
            before,
            report,
            usages: Vec::new(),
            cost_micros: None,
            has_failed: None,
            is_over: false,
            is_busy: false,
            is_sealed: false,
        }
    }

    /// Whether the last that the agent said is how it ended, and no sign of more to come.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over && !self.is_busy
    }

    /// It is being ended: what it says of that is not how it ended.
    pub(crate) fn seal(&mut self) {
        self.is_sealed = true;
    }

    /// Takes what was read, and gives what the log is to show of it.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut shown = Vec::new();
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.is_skipping {
                self.line.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                self.end_line(&mut shown);
            } else if self.line.len() > LINE_BYTES_MAX {
                self.line = Vec::new();
                self.is_skipping = true;
                shown.extend_from_slice(b"bifrost: a line of the agent is too long to be read\n");
            }
        }
        shown
    }

    /// What requests took, as far as it was said since this was last asked.
    pub(crate) fn usages(&mut self) -> Vec<AgentUsage> {
        std::mem::take(&mut self.usages)
    }

    /// Nothing more will come: gives the rest for the log.
    pub(crate) fn finish(&mut self) -> Vec<u8> {
        let mut shown = Vec::new();
        if !self.line.is_empty() {
            self.end_line(&mut shown);
        }
        self.end_chunk(&mut shown);
        shown
    }

    /// What the agent said of itself, and its word on how it ended.
    pub(crate) fn conclude(mut self) -> Heard {
        let report = &mut self.report;
        report.input_tokens = report.input_tokens.saturating_sub(self.before.input_tokens);
        report.output_tokens = report.output_tokens.saturating_sub(self.before.output_tokens);
        // No more than can be counted, whatever the agent says.
        let most = BUDGET_MICROS_MAX.unsigned_abs();
        self.report.cost_dollars = self.cost_micros.map(|micros| dollars(micros.min(most)));
        let verdict = match self.has_failed {
            Some(true) => Verdict::Failed,
            Some(false) => Verdict::Succeeded,
            None => Verdict::Silent,
        };
        Heard { report: self.report, verdict }
    }

    fn end_line(&mut self, shown: &mut Vec<u8>) {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.is_skipping) {
            return;
        }
        match serde_json::from_slice::<Value>(&line) {
            Ok(value) if value.is_object() => {
                let driver = self.driver;
                self.is_over = false;
                let mut is_chunk = false;
                for rule in driver.read.iter().filter(|rule| matches(rule, &value)) {
                    self.apply(rule, &value, shown);
                    self.is_over |= rule.ends.is_some();
                    is_chunk |= rule.chunk;
                }
                self.is_after_chunk = is_chunk;
                if !is_chunk {
                    self.end_chunk(shown);
                }
            }
            _ => {
                self.end_chunk(shown);
                shown.extend_from_slice(&line);
            }
        }
    }

    fn apply(&mut self, rule: &Rule, line: &Value, shown: &mut Vec<u8>) {
        let text = |pointer: &Option<String>| line.pointer(pointer.as_deref()?).map(words);
        if let Some(session) = text(&rule.session).filter(|session| !session.is_empty()) {
            self.report.session = Some(session);
        }
        if let Some(said) = text(&rule.says).filter(|said| !said.is_empty()) {
            if !rule.chunk {
                self.end_chunk(shown);
            }
            shown.extend_from_slice(said.as_bytes());
            self.is_in_chunk = !said.ends_with('\n');
            if !rule.chunk {
                self.end_chunk(shown);
            }
        }
        if let Some(message) = text(&rule.message).filter(|message| !message.is_empty()) {
            let goes_on = rule.chunk && self.is_after_chunk;
            let before = self.report.message.take().filter(|_| goes_on).unwrap_or_default();
            self.report.message = Some(before.chars().chain(message.chars()).take(MESSAGE_CHARS).collect());
        }
        if let Some(question) = text(&rule.asks).filter(|question| !question.is_empty()) {
            self.report.asks = Some(question.chars().take(MESSAGE_CHARS).collect());
        }
        let (input, output) = (sum(line, &rule.input_tokens), sum(line, &rule.output_tokens));
        let costs = rule.cost_dollars.iter().flat_map(|pointer| all_at(line, pointer));
        let cost = costs.filter_map(micros).reduce(u64::saturating_add);
        // Where the numbers are those of the whole run, the rest was told before.
        let [more_input, more_output] = match rule.total {
            true => [input.saturating_sub(self.report.input_tokens), output.saturating_sub(self.report.output_tokens)],
            false => [input, output],
        };
        if (more_input, more_output) != (0, 0) {
            let agent = self.report.agent.clone();
            self.usages.push(AgentUsage { agent, input_tokens: more_input, output_tokens: more_output });
        }
        if rule.total {
            (self.report.input_tokens, self.report.output_tokens) = (input, output);
            self.cost_micros = cost.or(self.cost_micros);
        } else {
            self.report.input_tokens = self.report.input_tokens.saturating_add(input);
            self.report.output_tokens = self.report.output_tokens.saturating_add(output);
            self.cost_micros = cost.map(|cost| self.cost_micros.unwrap_or(0).saturating_add(cost)).or(self.cost_micros);
        }
        if let Some(waits_for) = rule.busy.as_ref().and_then(|pointer| line.pointer(pointer)?.as_array()) {
            self.is_busy = !waits_for.is_empty();
        }
        match &rule.ends {
            _ if self.is_sealed => (),
            None => (),
            Some(Ending::Succeeded) => self.has_failed = Some(false),
            Some(Ending::Failed) => self.has_failed = Some(true),
            Some(Ending::FailedIf(pointer)) => {
                self.has_failed = Some(line.pointer(pointer).and_then(Value::as_bool).unwrap_or(false));
            }
        }
    }

    fn end_chunk(&mut self, shown: &mut Vec<u8>) {
        if std::mem::take(&mut self.is_in_chunk) {
            shown.push(b'\n');
        }
    }
}

fn matches(rule: &Rule, line: &Value) -> bool {
    let is_lacking = rule.lacks.as_ref().is_none_or(|pointer| line.pointer(pointer).is_none());
    is_lacking
        && rule.when.iter().all(|(pointer, expect)| line.pointer(pointer).and_then(Value::as_str) == Some(expect))
}

/// What stands there; where a part of the way is `*`, in each value that is there.
fn all_at<'v>(value: &'v Value, pointer: &str) -> Vec<&'v Value> {
    let Some((before, after)) = pointer.split_once("/*") else { return value.pointer(pointer).into_iter().collect() };
    let inside: Vec<&Value> = match value.pointer(before) {
        Some(Value::Object(members)) => members.values().collect(),
        Some(Value::Array(items)) => items.iter().collect(),
        _ => Vec::new(),
    };
    inside.into_iter().flat_map(|value| all_at(value, after)).collect()
}

/// Numbers together, less those that are to be taken away.
fn sum(line: &Value, numbers: &[String]) -> u64 {
    let [added, taken] = [false, true].map(|is_taken| {
        let pointers = numbers.iter().map(|number| taken_away(number)).filter(|(taken, _)| *taken == is_taken);
        let values = pointers.flat_map(|(_, pointer)| all_at(line, pointer));
        values.filter_map(Value::as_u64).fold(0, u64::saturating_add)
    });
    added.saturating_sub(taken)
}

/// A string, or of a list of objects each one's `text`.
fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// Millionths of a dollar, rounded. No agent says more exactly what it costs.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked before")]
fn micros(value: &Value) -> Option<u64> {
    let dollars = value.as_f64().filter(|dollars| (0.0..1e9).contains(dollars))?;
    Some((dollars * 1e6).round() as u64)
}

fn dollars(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests;
