//! Reading what tools tell of tests (pure). No input makes it panic, and what it keeps is bounded, however much a
//! tool tells.

mod cargo;
mod go_json;
mod jest;
mod junit;
mod libtest_json;
mod nextest;
mod pytest;
mod tap;

use std::borrow::Cow;

use wire::limit::{FAILED_TESTS, TEST_MESSAGE_CHARS, TEST_NAME_CHARS};
use wire::test_report::{FailedTest, TestFormat};

/// What was read, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) format: TestFormat,
    pub(crate) tally: Tally,
}

/// What is known of tests so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// As the tool says.
    pub(crate) duration_ms: Option<u64>,
    /// The first that failed.
    pub(crate) failures: Vec<FailedTest>,
    /// Whether the text breaks off before the report does, so that more may have failed.
    pub(crate) is_torn: bool,
}

impl Tally {
    fn is_empty(&self) -> bool {
        (self.passed, self.failed, self.skipped) == (0, 0, 0)
    }

    fn fail(&mut self, name: &str, message: &str, duration_ms: Option<u64>) {
        self.failed = self.failed.saturating_add(1);
        self.name(name, message, duration_ms);
    }

    /// Names a test that failed and is counted elsewhere.
    fn name(&mut self, name: &str, message: &str, duration_ms: Option<u64>) {
        if self.failures.len() < FAILED_TESTS {
            let name = name.trim().chars().take(TEST_NAME_CHARS).collect();
            self.failures.push(FailedTest { name, message: shorten(message), duration_ms });
        }
    }

    /// Adds to what a test that failed said.
    fn say(&mut self, name: &str, message: &str) {
        if let Some(test) = self.failures.iter_mut().find(|test| test.name == name.trim() && test.message.is_empty()) {
            test.message = shorten(message);
        }
    }

    fn took(&mut self, millis: u64) {
        self.duration_ms = Some(self.duration_ms.unwrap_or(0).saturating_add(millis));
    }
}

/// Reads in the form that was named, or in the first that fits.
pub(crate) fn parse(format: Option<TestFormat>, text: &str) -> Option<Read> {
    let text = plain(text);
    let read = |format: TestFormat| read(format, &text).map(|tally| Read { format, tally });
    match format {
        Some(format) => read(format),
        // Those that nothing else looks like come first.
        None => {
            use TestFormat::{Cargo, GoJson, Jest, Junit, LibtestJson, Nextest, Pytest, Tap};
            [Junit, Jest, LibtestJson, GoJson, Nextest, Cargo, Pytest, Tap].into_iter().find_map(read)
        }
    }
}

fn read(format: TestFormat, text: &str) -> Option<Tally> {
    match format {
        TestFormat::Cargo => cargo::parse(text),
        TestFormat::LibtestJson => libtest_json::parse(text),
        TestFormat::Nextest => nextest::parse(text),
        TestFormat::Pytest => pytest::parse(text),
        TestFormat::GoJson => go_json::parse(text),
        TestFormat::Tap => tap::parse(text),
        TestFormat::Junit => junit::parse(text),
        TestFormat::Jest => jest::parse(text),
    }
}

/// Without the escapes by which terminals are told of colours.
fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains('\u{1b}') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\u{1b}' {
            out.push(character);
            continue;
        }
        // `ESC [ … letter`; any other escape is of one character.
        if characters.next() == Some('[') {
            characters.by_ref().find(|end| ('@'..='~').contains(end));
        }
    }
    Cow::Owned(out)
}

/// The beginning and the end of what a test said: what is in between is the least telling.
fn shorten(message: &str) -> String {
    let message = message.trim_matches(['\n', '\r']).trim_end();
    let length = message.chars().count();
    if length <= TEST_MESSAGE_CHARS {
        return message.to_owned();
    }
    let gap = "\n…\n";
    let half = (TEST_MESSAGE_CHARS - gap.chars().count()) / 2;
    let begin: String = message.chars().take(half).collect();
    let end: String = message.chars().skip(length - half).collect();
    format!("{begin}{gap}{end}")
}

/// The end of what a tool printed, in whole lines where they are not too long; nothing where it printed nothing.
pub(super) fn last_words(printed: &str) -> Option<String> {
    let text = plain(printed);
    let text = text.trim_end();
    let Some((cut, _)) = text.char_indices().rev().nth(TEST_MESSAGE_CHARS.saturating_sub(1)).filter(|(at, _)| *at > 0)
    else {
        return Some(text.trim_start_matches(['\n', '\r']).to_owned()).filter(|text| !text.is_empty());
    };
    let end = &text[cut..];
    Some(end.split_once('\n').map_or(end, |(_, whole)| whole).to_owned())
}

/// Seconds as tools write them, in milliseconds; nothing where they are none.
fn millis(seconds: f64) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    (0.0..1e12).contains(&seconds).then(|| (seconds * 1_000.0).round() as u64)
}

/// The number before a word, as in `3 passed; 1 failed`.
fn count_before(text: &str, word: &str) -> Option<u64> {
    let mut last = "";
    for part in text.split([' ', ',', ';', '(', ')']).filter(|part| !part.is_empty()) {
        if part == word {
            return last.parse().ok();
        }
        last = part;
    }
    None
}

#[cfg(test)]
mod tests;
