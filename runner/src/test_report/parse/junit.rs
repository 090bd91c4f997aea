//! JUnit's XML: whatever it is wrapped in, a `testcase` with a `failure`, an `error`, a `skipped` or none of them. Where
//! the head of a suite says that there are more, there are.

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::{Tally, millis};

#[derive(Default)]
struct Case {
    name: String,
    duration_ms: Option<u64>,
    verdict: Verdict,
    said: String,
    /// Inside a `failure` or an `error`, whose text belongs to what was said.
    is_in_verdict: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    #[default]
    Passed,
    Failed,
    Skipped,
}

/// What the head of a suite says that is in it, and what was known before it.
struct Suite {
    name: String,
    tests: u64,
    failed: u64,
    skipped: u64,
    before: [u64; 3],
}

/// Reads the report; nothing where it is not one. What is read before the text breaks off counts.
pub(super) fn parse(text: &str) -> Option<Tally> {
    if !text.trim_start().starts_with('<') || !text.contains("<testsuite") {
        return None;
    }
    let mut reader = Reader::from_str(text.trim_start());
    reader.config_mut().check_end_names = false;
    let mut tally = Tally::default();
    let mut case: Option<Case> = None;
    let mut suites: Vec<Suite> = Vec::new();
    let mut seconds_of_cases = 0_u64;
    let mut depth = 0_u64;
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) => {
                depth += 1;
                suites.extend(suite(&tally, &tag).filter(|_| suites.len() < SUITES_MAX));
                open(&mut case, &tag);
            }
            Ok(Event::Empty(tag)) => {
                suite(&tally, &tag).into_iter().for_each(|suite| suite.count(&mut tally));
                open(&mut case, &tag);
                end(&mut tally, &mut case, tag.local_name().as_ref(), &mut seconds_of_cases);
            }
            Ok(Event::End(tag)) => {
                depth = depth.saturating_sub(1);
                if tag.local_name().as_ref() == "testsuite" {
                    suites.pop().into_iter().for_each(|suite| suite.count(&mut tally));
                }
                end(&mut tally, &mut case, tag.local_name().as_ref(), &mut seconds_of_cases);
            }
            Ok(Event::Text(piece)) => say(&mut case, || Some(piece.xml10_content().into_owned())),
            Ok(Event::CData(piece)) => say(&mut case, || Some(piece.xml10_content().into_owned())),
            Ok(Event::GeneralRef(piece)) => say(&mut case, || resolve(&piece.xml10_content())),
            Ok(Event::Eof) => break,
            Err(_) => {
                tally.is_torn = true;
                break;
            }
            Ok(_) => (),
        }
    }
    tally.is_torn |= depth > 0;
    // Inner ones first.
    suites.into_iter().rev().for_each(|suite| suite.count(&mut tally));
    if seconds_of_cases > 0 {
        tally.duration_ms = Some(seconds_of_cases);
    }
    Some(tally)
}

/// Suites within each other; nobody writes more.
const SUITES_MAX: usize = 1_000;

fn suite(tally: &Tally, tag: &BytesStart<'_>) -> Option<Suite> {
    if tag.local_name().as_ref() != "testsuite" {
        return None;
    }
    let count = |name: &str| attribute(tag, name).and_then(|count| count.trim().parse::<u64>().ok());
    let sum = |[one, other]: [&str; 2]| count(one).unwrap_or(0).saturating_add(count(other).unwrap_or(0));
    let (failed, skipped) = (sum(["failures", "errors"]), sum(["skipped", "disabled"]));
    Some(Suite {
        name: attribute(tag, "name").filter(|name| !name.is_empty()).unwrap_or_else(|| "a suite without a name".into()),
        tests: count("tests").unwrap_or_else(|| failed.saturating_add(skipped)),
        failed,
        skipped,
        before: [tally.passed, tally.failed, tally.skipped],
    })
}

impl Suite {
    /// Counts what the head says and no `testcase` did. Of one test it may say that it failed twice, so that there are
    /// never more than its tests.
    fn count(&self, tally: &mut Tally) {
        let [passed, failed, skipped] = self.before;
        let (passed, failed, skipped) = (tally.passed - passed, tally.failed - failed, tally.skipped - skipped);
        let told = passed.saturating_add(failed).saturating_add(skipped);
        let untold = self.tests.saturating_sub(told);
        let red = self.failed.saturating_sub(failed).min(untold);
        let grey = self.skipped.saturating_sub(skipped).min(untold - red);
        if red > 0 {
            tally.name(&self.name, &format!("{red} failed that the report does not name"), None);
        }
        tally.failed = tally.failed.saturating_add(red);
        tally.skipped = tally.skipped.saturating_add(grey);
        tally.passed = tally.passed.saturating_add(untold - red - grey);
    }
}

fn open(case: &mut Option<Case>, tag: &BytesStart<'_>) {
    match (tag.local_name().as_ref(), case.as_mut()) {
        ("testcase", _) => {
            let class = attribute(tag, "classname").filter(|class| !class.is_empty());
            let name = attribute(tag, "name").unwrap_or_default();
            *case = Some(Case {
                name: class.map_or_else(|| name.clone(), |class| format!("{class}::{name}")),
                duration_ms: attribute(tag, "time").and_then(|time| time.parse().ok()).and_then(millis),
                ..Case::default()
            });
        }
        ("failure" | "error", Some(case)) => {
            case.verdict = Verdict::Failed;
            case.is_in_verdict = true;
            if let Some(message) = attribute(tag, "message") {
                case.said.push_str(&message);
                case.said.push('\n');
            }
        }
        ("skipped", Some(case)) if case.verdict == Verdict::Passed => case.verdict = Verdict::Skipped,
        _ => (),
    }
}

fn end(tally: &mut Tally, case: &mut Option<Case>, tag: &str, total: &mut u64) {
    match tag {
        "failure" | "error" => case.iter_mut().for_each(|case| case.is_in_verdict = false),
        "testcase" => {
            let Some(case) = case.take() else { return };
            *total = total.saturating_add(case.duration_ms.unwrap_or(0));
            match case.verdict {
                Verdict::Passed => tally.passed = tally.passed.saturating_add(1),
                Verdict::Skipped => tally.skipped = tally.skipped.saturating_add(1),
                Verdict::Failed => tally.fail(&case.name, &case.said, case.duration_ms),
            }
        }
        _ => (),
    }
}

/// What one test says is cut later; what it may take until then is bounded here.
const SAID_BYTES: usize = 64 * 1024;

fn say(case: &mut Option<Case>, text: impl FnOnce() -> Option<String>) {
    let Some(case) = case.as_mut().filter(|case| case.is_in_verdict && case.said.len() < SAID_BYTES) else { return };
    if let Some(text) = text() {
        case.said.push_str(&text);
    }
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let value = tag.try_get_attribute(name).ok()??;
    // As it is written, where it has entities that only the report's own head explains.
    let normalized = value.normalized_value(XmlVersion::Implicit1_0).map(std::borrow::Cow::into_owned);
    Some(normalized.unwrap_or_else(|_| value.value.to_string()))
}

/// The character that `&name;` or `&#number;` stands for; one that only the report's own head explains stays.
fn resolve(name: &str) -> Option<String> {
    let number = match name.strip_prefix("#x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => name.strip_prefix('#').and_then(|digits| digits.parse().ok()),
    };
    let character = match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "apos" => Some('\''),
        "quot" => Some('"'),
        _ => number.and_then(char::from_u32),
    };
    Some(character.map_or_else(|| format!("&{name};"), String::from))
}
