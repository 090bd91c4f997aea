//! The Test Anything Protocol. Subtests are indented, and counted with the test that they are part of.

use super::Tally;

/// Reads the output; nothing where there is neither a version nor a plan nor a result.
pub(super) fn parse(text: &str) -> Option<Tally> {
    let mut tally = Tally::default();
    let mut is_told = false;
    let mut planned: Option<u64> = None;
    let mut said: Option<(String, String)> = None;
    for line in text.lines() {
        let line = line.trim_end();
        if line.starts_with("TAP version ") {
            is_told = true;
        } else if let Some(count) = line.strip_prefix("1..") {
            let count = count.split(' ').next().unwrap_or_default().parse().ok();
            is_told |= count.is_some();
            planned = planned.or(count);
        } else if let Some(reason) = line.strip_prefix("Bail out!") {
            close(&mut tally, said.take());
            tally.fail("Bail out!", reason, None);
        } else if let Some((is_ok, rest)) = result(line) {
            close(&mut tally, said.take());
            // Without a number it may be anybody's word.
            is_told |= rest.starts_with(|c: char| c.is_ascii_digit());
            let (name, directive) = take_apart(rest);
            match (is_ok, directive) {
                (_, Some(Directive::Skip)) | (false, Some(Directive::Todo)) => tally.skipped += 1,
                (true, _) => tally.passed += 1,
                (false, None) => {
                    tally.fail(name, "", None);
                    said = Some((name.to_owned(), String::new()));
                }
            }
        } else if let Some((_, said)) = &mut said
            && (line.starts_with(' ') || line.starts_with('#'))
        {
            let line = line.trim_start_matches("  ").trim_start_matches("# ");
            if !matches!(line, "---" | "...") {
                said.push_str(line);
                said.push('\n');
            }
        }
    }
    close(&mut tally, said);
    let ran = tally.passed + tally.failed + tally.skipped;
    if let Some(missing) = planned.filter(|_| is_told).and_then(|planned| planned.checked_sub(ran)).filter(|n| *n > 0) {
        // Who plans more than it tells of has died on the way.
        tally.fail("planned tests", &format!("{missing} were planned and never told of"), None);
    }
    (is_told && (planned.is_some() || !tally.is_empty())).then_some(tally)
}

enum Directive {
    Skip,
    Todo,
}

fn result(line: &str) -> Option<(bool, &str)> {
    let (is_ok, rest) = match line.strip_prefix("not ok") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok")?),
    };
    (rest.is_empty() || rest.starts_with(' ')).then(|| (is_ok, rest.trim_start()))
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

fn close(tally: &mut Tally, said: Option<(String, String)>) {
    if let Some((name, said)) = said {
        tally.say(&name, &said);
    }
}
