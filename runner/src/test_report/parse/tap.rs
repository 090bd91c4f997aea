//! The Test Anything Protocol. A test with subtests, which are indented, stands for them: they are what is counted and
//! named, and it is itself only where it failed and none of them did.

use super::Tally;

/// The spaces by which a subtest is indented.
const INDENT: usize = 4;
/// Subtests deeper than this are nobody's.
const DEPTH_MAX: usize = 16;
/// What is kept of what one test says.
const SAID_BYTES: usize = 64 * 1024;

/// Reads the output; nothing where there is neither a version nor a plan nor a result.
pub(super) fn parse(text: &str) -> Option<Tally> {
    let mut reading = Reading::default();
    text.lines().for_each(|line| reading.line(line.trim_end()));
    reading.finish()
}

#[derive(Default)]
struct Reading {
    /// What is known at each depth; below the first, of tests whose parent's result is yet to come.
    levels: [Tally; DEPTH_MAX],
    is_told: bool,
    planned: Option<u64>,
    /// Results at the first depth.
    ran: u64,
    /// What the last test that failed says, and its depth.
    said: Option<(usize, String)>,
    /// The spaces before the last result, whose diagnostics may follow.
    result_indent: usize,
    /// Inside diagnostics, and the spaces before them.
    diagnostics: Option<usize>,
}

impl Reading {
    fn line(&mut self, line: &str) {
        let bare = line.trim_start_matches(' ');
        let indent = line.len() - bare.len();
        if let Some(block) = self.diagnostics {
            if indent >= block || bare.is_empty() {
                match bare == "..." && indent == block {
                    true => self.diagnostics = None,
                    false => self.say(line.get(block..).unwrap_or_default()),
                }
                return;
            }
            // They break off.
            self.diagnostics = None;
        }
        if bare == "---" && indent == self.result_indent + 2 {
            self.diagnostics = Some(indent);
        } else if line.starts_with("TAP version ") {
            self.is_told = true;
        } else if let Some(count) = bare.strip_prefix("1..") {
            self.close();
            if indent == 0 {
                let count = count.split(' ').next().unwrap_or_default().parse().ok();
                self.is_told |= count.is_some();
                self.planned = self.planned.or(count);
            }
        } else if let Some(reason) = bare.strip_prefix("Bail out!") {
            self.close();
            self.levels[0].fail("Bail out!", reason, None);
        } else if let Some((depth, is_ok, rest)) = result(indent, bare) {
            self.close();
            self.result_indent = indent;
            self.result(depth, is_ok, rest);
        } else if bare.starts_with("# Subtest: ") {
            // The next test's.
            self.close();
        } else if indent > 0 || bare.starts_with('#') {
            self.say(bare.strip_prefix("# ").unwrap_or(bare));
        }
    }

    fn result(&mut self, depth: usize, is_ok: bool, rest: &str) {
        if depth == 0 {
            // Without a number it may be anybody's word.
            self.is_told |= rest.starts_with(|c: char| c.is_ascii_digit());
            self.ran += 1;
        }
        let (name, directive) = take_apart(rest);
        let subtests = self.levels[depth + 1..].iter_mut().map(std::mem::take).reduce(|above, below| {
            let mut above = above;
            adopt(&mut above, below, None);
            above
        });
        let level = &mut self.levels[depth];
        match (is_ok, directive, subtests.filter(|subtests| !subtests.is_empty())) {
            (_, Some(Directive::Skip), _) | (false, Some(Directive::Todo), _) => level.skipped += 1,
            (true, _, None) => level.passed += 1,
            (true, _, Some(subtests)) => adopt(level, subtests, Some(name)),
            (false, None, Some(subtests)) if subtests.failed > 0 => adopt(level, subtests, Some(name)),
            (false, None, subtests) => {
                subtests.into_iter().for_each(|subtests| adopt(level, subtests, Some(name)));
                let named = level.failures.len();
                level.fail(name, "", None);
                self.said = (level.failures.len() > named).then(|| (depth, String::new()));
            }
        }
    }

    fn say(&mut self, line: &str) {
        if let Some((_, said)) = self.said.as_mut().filter(|(_, said)| said.len() < SAID_BYTES) {
            said.push_str(line);
            said.push('\n');
        }
    }

    fn close(&mut self) {
        if let Some((depth, said)) = self.said.take()
            && let Some(test) = self.levels[depth].failures.last_mut()
        {
            test.message = super::shorten(&said);
        }
    }

    fn finish(mut self) -> Option<Tally> {
        self.close();
        let mut levels = self.levels.into_iter();
        let mut tally = levels.next().unwrap_or_default();
        // Whose parent's result never came.
        levels.for_each(|level| adopt(&mut tally, level, None));
        let planned = self.planned.filter(|_| self.is_told);
        if let Some(missing) = planned.and_then(|planned| planned.checked_sub(self.ran)).filter(|n| *n > 0) {
            // Who plans more than it tells of has died on the way.
            tally.fail("planned tests", &format!("{missing} were planned and never told of"), None);
        }
        (self.is_told && (self.planned.is_some() || !tally.is_empty())).then_some(tally)
    }
}

/// Adds subtests to the level of their parent, by whose name they are called.
fn adopt(level: &mut Tally, subtests: Tally, parent: Option<&str>) {
    level.passed += subtests.passed;
    level.skipped += subtests.skipped;
    level.failed += subtests.failed;
    for test in subtests.failures {
        let name = parent.map_or_else(|| test.name.clone(), |parent| format!("{parent} > {}", test.name));
        level.name(&name, &test.message, test.duration_ms);
    }
}

enum Directive {
    Skip,
    Todo,
}

/// How deep it is, whether it is well, and the rest. A subtest's has a number: an indented `ok` may be anybody's word.
fn result(indent: usize, bare: &str) -> Option<(usize, bool, &str)> {
    let (is_ok, rest) = match bare.strip_prefix("not ok") {
        Some(rest) => (false, rest),
        None => (true, bare.strip_prefix("ok")?),
    };
    let depth = indent / INDENT;
    let is_result = rest.is_empty() || rest.starts_with(' ');
    let rest = rest.trim_start();
    let is_placed = indent == 0
        || (indent.is_multiple_of(INDENT) && depth < DEPTH_MAX && rest.starts_with(|c: char| c.is_ascii_digit()));
    (is_result && is_placed).then_some((depth, is_ok, rest))
}

/// `3 - name # SKIP why`: the name, and what is said of it.
fn take_apart(rest: &str) -> (&str, Option<Directive>) {
    let (name, directive) = rest.split_once(" # ").unwrap_or((rest.strip_prefix("# ").map_or(rest, |_| ""), ""));
    let word = directive.get(..4).unwrap_or_default().to_ascii_lowercase();
    let directive = match word.as_str() {
        "skip" => Some(Directive::Skip),
        "todo" => Some(Directive::Todo),
        _ => None,
    };
    let number = name.find(|c: char| !c.is_ascii_digit()).map_or("", |end| &name[end..]);
    let bare = number.trim_start().trim_start_matches("- ").trim();
    (if bare.is_empty() { name.trim() } else { bare }, directive)
}
