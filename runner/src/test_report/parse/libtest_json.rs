//! libtest's lines of JSON, as `cargo test -- -Z unstable-options --format json` and
//! `cargo nextest run --message-format libtest-json` write them.

use serde::Deserialize;

use super::{Tally, millis};

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    event: &'a str,
    name: Option<String>,
    exec_time: Option<f64>,
    stdout: Option<String>,
    message: Option<String>,
}

/// Reads the lines; nothing where no test or suite is told of.
pub(super) fn parse(text: &str) -> Option<Tally> {
    let mut tally = Tally::default();
    let mut is_told = false;
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let Ok(line) = serde_json::from_str::<Line<'_>>(line) else { continue };
        let took = line.exec_time.and_then(millis);
        match (line.kind, line.event) {
            ("suite", "started") => is_told = true,
            ("suite", "ok" | "failed") => took.into_iter().for_each(|took| tally.took(took)),
            ("test", "ok") => tally.passed += 1,
            ("test", "ignored") => tally.skipped += 1,
            ("test", "failed" | "timeout") => {
                let said = line.stdout.or(line.message).unwrap_or_default();
                tally.fail(&line.name.unwrap_or_default(), &said, took);
            }
            _ => (),
        }
    }
    (is_told || !tally.is_empty()).then_some(tally)
}
