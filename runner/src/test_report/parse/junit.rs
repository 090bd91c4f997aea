//! JUnit's XML: whatever it is wrapped in, a `testcase` with a `failure`, an `error`, a `skipped` or none of them.

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

/// Reads the report; nothing where it is not one. What is read before the text breaks off counts.
pub(super) fn parse(text: &str) -> Option<Tally> {
    if !text.trim_start().starts_with('<') || !text.contains("<testsuite") {
        return None;
    }
    let mut reader = Reader::from_str(text.trim_start());
    reader.config_mut().check_end_names = false;
    let mut tally = Tally::default();
    let mut case: Option<Case> = None;
    let mut seconds_of_cases = 0_u64;
    let mut depth = 0_u64;
    loop {
        match reader.read_event() {
            Ok(Event::Start(tag)) => {
                depth += 1;
                open(&mut case, &tag);
            }
            Ok(Event::Empty(tag)) => {
                open(&mut case, &tag);
                end(&mut tally, &mut case, tag.local_name().as_ref(), &mut seconds_of_cases);
            }
            Ok(Event::End(tag)) => {
                depth = depth.saturating_sub(1);
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
    if seconds_of_cases > 0 {
        tally.duration_ms = Some(seconds_of_cases);
    }
    Some(tally)
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
                Verdict::Passed => tally.passed += 1,
                Verdict::Skipped => tally.skipped += 1,
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
    Some(value.normalized_value(XmlVersion::Implicit1_0).ok()?.into_owned())
}

/// The character that `&name;` or `&#number;` stands for.
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
    character.map(String::from)
}
