//! The one place that writes to standard output and standard error. Results go
//! to the first, everything said about them to the second; nothing is coloured
//! unless a person looks at it.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;
use wire::event::Stream;

use crate::args::ColorChoice;

/// Where and how to write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    /// Results are JSON.
    pub(crate) is_json: bool,
    stdout: Face,
    stderr: Face,
}

/// What reads one of the streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Face {
    /// A person sees it directly.
    pub(crate) is_terminal: bool,
    /// Colours are wanted.
    pub(crate) is_coloured: bool,
}

impl Face {
    /// A pipe or a file.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { is_terminal: false, is_coloured: false };
}

impl Output {
    /// Looks at both streams once. `no_color` is the variable of that name (<https://no-color.org>).
    pub(crate) fn new(color: ColorChoice, no_color: Option<&str>, is_json: bool) -> Self {
        let face = |is_terminal| Face {
            is_terminal,
            is_coloured: match color {
                ColorChoice::Always => true,
                ColorChoice::Never => false,
                ColorChoice::Auto => is_terminal && no_color.is_none(),
            },
        };
        Self { is_json, stdout: face(io::stdout().is_terminal()), stderr: face(io::stderr().is_terminal()) }
    }

    /// What reads standard output.
    pub(crate) fn stdout(&self) -> Face {
        self.stdout
    }

    /// Whether a person sees standard output directly.
    pub(crate) fn is_stdout_terminal(&self) -> bool {
        self.stdout.is_terminal
    }

    /// Whether a person sees standard error directly.
    pub(crate) fn is_stderr_terminal(&self) -> bool {
        self.stderr.is_terminal
    }

    /// One line of a result.
    pub(crate) fn line(&self, text: &str) -> io::Result<()> {
        self.raw(Stream::Stdout, format!("{text}\n").as_bytes())
    }

    /// A result as JSON on one line.
    pub(crate) fn json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec(value)?;
        text.push(b'\n');
        Ok(self.raw(Stream::Stdout, &text)?)
    }

    /// Takes away what a person sees on standard output, for something in its place.
    pub(crate) fn clear(&self) -> io::Result<()> {
        let is_seen = self.stdout.is_terminal && !self.is_json;
        if is_seen { self.raw(Stream::Stdout, b"\x1b[2J\x1b[H") } else { Ok(()) }
    }

    /// Bytes as they are, at once. Blocks while the reader is slow, which is the back-pressure wanted here.
    pub(crate) fn raw(&self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        match stream {
            Stream::Stdout => write_now(io::stdout().lock(), bytes),
            Stream::Stderr => write_now(io::stderr().lock(), bytes),
        }
    }

    /// A line about what is going on; piped, it says who speaks. A lost one is no failure.
    pub(crate) fn say(&self, text: &str) {
        let speaker = if self.stderr.is_terminal { "" } else { "bifrost: " };
        drop(self.raw(Stream::Stderr, format!("{speaker}{text}\n").as_bytes()));
    }

    /// A line about what to do next, for a person alone: a log has no use for it.
    pub(crate) fn hint(&self, text: &str) {
        if self.stderr.is_terminal {
            self.say(text);
        }
    }

    /// A line about something odd that does not stop us.
    pub(crate) fn warn(&self, text: &str) {
        let line = format!("{} {text}\n", paint("warning:", YELLOW, self.stderr.is_coloured));
        drop(self.raw(Stream::Stderr, line.as_bytes()));
    }

    /// What went wrong and what to do about it.
    pub(crate) fn error(&self, message: &str, help: Option<&str>) {
        let coloured = self.stderr.is_coloured;
        let mut text = format!("{} {message}\n", paint("error:", RED, coloured));
        if let Some(help) = help {
            text.push_str(&format!("{} {help}\n", paint("help:", CYAN, coloured)));
        }
        drop(self.raw(Stream::Stderr, text.as_bytes()));
    }

    /// The mark of something that is well or not, for standard output.
    pub(crate) fn mark(&self, is_well: bool) -> String {
        let (mark, colour) = if is_well { ("✓", GREEN) } else { ("✗", RED) };
        paint(mark, colour, self.stdout.is_coloured)
    }
}

const RED: &str = "1;31";
const GREEN: &str = "32";
const YELLOW: &str = "1;33";
const CYAN: &str = "36";

fn paint(text: &str, colour: &str, is_coloured: bool) -> String {
    if is_coloured { format!("\u{1b}[{colour}m{text}\u{1b}[0m") } else { text.into() }
}

fn write_now(mut stream: impl Write, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}

/// Text of others on one line: what would move the cursor or colour a terminal is replaced.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .map(|character| match character {
            '\n' | '\r' | '\t' => ' ',
            character if character.is_control() => '\u{fffd}',
            character => character,
        })
        .collect()
}

/// A file's name of others as git shows it: in quotes where it would move the cursor, colour a terminal or end the line.
pub(crate) fn file_name(name: &str) -> String {
    let is_plain = |character: char| !character.is_control() && !matches!(character, '"' | '\\');
    if name.chars().all(is_plain) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.chars().map(escaped).collect::<String>())
    }
}

fn escaped(character: char) -> String {
    match character {
        '\n' => "\\n".into(),
        '\r' => "\\r".into(),
        '\t' => "\\t".into(),
        '"' | '\\' => format!("\\{character}"),
        control if control.is_control() => {
            control.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("\\{byte:03o}")).collect()
        }
        plain => plain.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_cannot_steer_the_terminal() {
        assert_eq!(one_line("a\tb\r\nc\u{1b}[31md\u{9b}e ż"), "a b  c\u{fffd}[31md\u{fffd}e ż");
    }

    #[test]
    fn a_files_name_is_told_from_every_other_and_cannot_steer_the_terminal() {
        for (name, expect) in [
            ("src/żółw (1).rs", "src/żółw (1).rs"),
            ("a\nb", r#""a\nb""#),
            (r"a\nb", r#""a\\nb""#),
            ("\u{1b}[31mred\u{9b}\t\r", r#""\033[31mred\302\233\t\r""#),
            (r#"say "a""#, r#""say \"a\"""#),
        ] {
            assert_eq!(file_name(name), expect);
        }
    }

    #[test]
    fn colours_are_given_only_where_asked_for() {
        assert_eq!(paint("error:", RED, false), "error:");
        assert_eq!(paint("error:", RED, true), "\u{1b}[1;31merror:\u{1b}[0m");
        assert!(Output::new(ColorChoice::Always, Some("1"), false).stderr.is_coloured);
        assert!(!Output::new(ColorChoice::Never, None, false).stderr.is_coloured);
        assert!(!Output::new(ColorChoice::Auto, Some("1"), false).stderr.is_coloured);
    }
}
