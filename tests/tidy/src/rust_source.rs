//! Rust text taken apart: code on one side, string literals on the other,
//! comments dropped, and where the tests begin.
//!
//! A rule that reads code is not misled by a word in a comment or a message,
//! and a rule that reads SQL sees nothing but literals. This is a scanner, not a
//! parser: it knows where tokens end and nothing about what they mean.

use crate::tree::File;

/// A Rust file taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RustSource {
    /// The text with comments and the insides of literals left out; lines stay where they were.
    code: String,
    /// Every string literal, in order.
    literals: Vec<Literal>,
    /// The line from which on everything is tests.
    tests_from: usize,
}

/// A string literal without its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Literal {
    /// Where it begins, counted from one.
    pub line: usize,
    /// Its text; line continuations are closed up, `\n` and `\t` are what they stand for.
    pub text: String,
}

impl RustSource {
    /// Takes a file apart.
    pub fn of(file: &File) -> Self {
        let (code, literals) = Scanner::new(&file.text).run();
        let tests_from = if is_test_file(file) { 1 } else { test_module_line(&code).unwrap_or(usize::MAX) };
        Self { code, literals, tests_from }
    }

    /// All lines of code with their numbers.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The lines of code that ship.
    pub fn shipped_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.lines().filter(|(line, _)| !self.is_test(*line))
    }

    /// All string literals.
    pub fn literals(&self) -> impl Iterator<Item = &Literal> {
        self.literals.iter()
    }

    /// Whether the line belongs to a test.
    pub fn is_test(&self, line: usize) -> bool {
        line >= self.tests_from
    }
}

/// Whether the whole file is tests: `tests.rs`, or anything in a `tests` folder
/// other than the top one, which is the home of the test packages.
pub fn is_test_file(file: &File) -> bool {
    file.name() == "tests.rs" || file.folders().skip(1).any(|folder| folder == "tests")
}

/// Whether the word stands in the line by itself, not as a part of a longer name.
pub fn has_word(line: &str, word: &str) -> bool {
    after_each(line, word).next().is_some()
}

/// Whether something of this name is called in the line.
pub fn has_call(line: &str, name: &str) -> bool {
    after_each(line, name).any(|rest| rest.starts_with('('))
}

/// What follows each place where the word stands by itself.
fn after_each<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(word).filter_map(move |(at, _)| {
        let (before, rest) = (&line[..at], &line[at + word.len()..]);
        let alone = !before.ends_with(is_in_name) && !rest.starts_with(is_in_name);
        alone.then_some(rest)
    })
}

fn is_in_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The line of a `#[cfg(test)]` that is followed by a module's body, which by
/// the house's order of things is the last item of a file.
fn test_module_line(code: &str) -> Option<usize> {
    let lines: Vec<&str> = code.lines().collect();
    let opens_module = |line: &&str| line.trim_start().starts_with("mod ") && line.contains('{');
    lines.windows(2).position(|pair| pair[0].trim() == "#[cfg(test)]" && opens_module(&pair[1])).map(|index| index + 1)
}

struct Scanner<'a> {
    rest: &'a str,
    line: usize,
    code: String,
    literals: Vec<Literal>,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text, line: 1, code: String::new(), literals: Vec::new() }
    }

    fn run(mut self) -> (String, Vec<Literal>) {
        while let Some(next) = self.rest.chars().next() {
            if self.rest.starts_with("//") {
                let end = self.rest.find('\n').unwrap_or(self.rest.len());
                self.drop(end);
            } else if self.rest.starts_with("/*") {
                let end = block_comment_end(self.rest);
                self.drop(end);
            } else if let Some(hashes) = self.raw_string_hashes() {
                self.raw_string(hashes);
            } else if next == '"' {
                self.string();
            } else if let Some(length) = char_literal_length(self.rest) {
                self.code.push_str("' '");
                self.drop(length);
            } else {
                self.code.push(next);
                self.drop_into_code(next);
            }
        }
        (self.code, self.literals)
    }

    /// Moves on over text that is not code, keeping its line breaks.
    fn drop(&mut self, length: usize) {
        let (dropped, rest) = self.rest.split_at(length);
        let breaks = dropped.matches('\n').count();
        self.code.extend(std::iter::repeat_n('\n', breaks));
        self.line += breaks;
        self.rest = rest;
    }

    fn drop_into_code(&mut self, next: char) {
        self.line += usize::from(next == '\n');
        self.rest = &self.rest[next.len_utf8()..];
    }

    /// How many `#` open the raw string that begins here, if one does.
    fn raw_string_hashes(&self) -> Option<usize> {
        let in_name = self.code.ends_with(is_in_name);
        // The `b` or `c` of `br"…"` has gone to the code already and is no name.
        let after_prefix = self.code.ends_with(['b', 'c']) && !ends_in_longer_name(&self.code);
        let after_r = self.rest.strip_prefix('r').filter(|_| !in_name || after_prefix)?;
        let hashes = after_r.len() - after_r.trim_start_matches('#').len();
        after_r[hashes..].starts_with('"').then_some(hashes)
    }

    fn raw_string(&mut self, hashes: usize) {
        let opening = "r\"".len() + hashes;
        let closing = format!("\"{}", "#".repeat(hashes));
        let body = &self.rest[opening..];
        let length = body.find(&closing).unwrap_or(body.len());
        self.literals.push(Literal { line: self.line, text: body[..length].into() });
        self.code.push_str("\"\"");
        self.drop((opening + length + closing.len()).min(self.rest.len()));
    }

    fn string(&mut self) {
        let body = &self.rest[1..];
        let mut text = String::new();
        let mut chars = body.char_indices().peekable();
        let mut length = body.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    length = at + 1;
                    break;
                }
                '\\' => match chars.next().map(|(_, escaped)| escaped) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('\n') => while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {},
                    Some(other) => text.push(other),
                    None => (),
                },
                other => text.push(other),
            }
        }
        self.literals.push(Literal { line: self.line, text });
        self.code.push_str("\"\"");
        self.drop(1 + length);
    }
}

fn ends_in_longer_name(code: &str) -> bool {
    code.chars().rev().nth(1).is_some_and(is_in_name)
}

/// Block comments nest.
fn block_comment_end(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of the character literal that begins here; a lifetime is none.
fn char_literal_length(text: &str) -> Option<usize> {
    let body = text.strip_prefix('\'')?;
    if let Some(escaped) = body.strip_prefix('\\') {
        let first = escaped.chars().next()?.len_utf8();
        return escaped[first..].find('\'').map(|end| "'\\".len() + first + end + 1);
    }
    let only = body.chars().next()?.len_utf8();
    body[only..].starts_with('\'').then_some(1 + only + 1)
}

#[cfg(test)]
mod tests;
