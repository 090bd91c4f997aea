//! `go test -json`: one event on each line (`go doc test2json`).

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Deserialize;

use super::{Tally, millis};

/// Tests whose output is kept at once, until their verdict.
const RUNNING_MAX: usize = 10_000;
/// What is kept of one's output.
const OUTPUT_BYTES: usize = 16 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    action: String,
    #[serde(default)]
    package: String,
    /// Of a build, in place of the package.
    #[serde(default)]
    import_path: String,
    test: Option<String>,
    elapsed: Option<f64>,
    output: Option<String>,
}

/// Reads the events; nothing where there is none.
pub(super) fn parse(text: &str) -> Option<Tally> {
    let mut tally = Tally::default();
    let mut outputs: HashMap<(String, String), String> = HashMap::new();
    let mut red: HashMap<String, u64> = HashMap::new();
    let mut running: BTreeSet<(String, String)> = BTreeSet::new();
    let mut is_told = false;
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let Ok(event) = serde_json::from_str::<Event>(line) else { continue };
        is_told = true;
        let took = event.elapsed.and_then(millis);
        let package = if event.package.is_empty() { event.import_path } else { event.package };
        let key = (package, event.test.unwrap_or_default());
        let is_test = !key.1.is_empty();
        match event.action.as_str() {
            "run" | "cont" if is_test && running.len() < RUNNING_MAX => drop(running.insert(key)),
            "pause" => drop(running.remove(&key)),
            "output" | "build-output" => {
                let is_room = outputs.len() < RUNNING_MAX || outputs.contains_key(&key);
                let line = event.output.unwrap_or_default();
                if is_room && is_telling(&line) {
                    let said = outputs.entry(key).or_default();
                    if said.len() < OUTPUT_BYTES {
                        said.push_str(&line);
                    }
                }
            }
            "pass" | "skip" if is_test => {
                running.remove(&key);
                outputs.remove(&key);
                if event.action == "pass" { tally.passed += 1 } else { tally.skipped += 1 }
            }
            "fail" if is_test => {
                running.remove(&key);
                let said = outputs.remove(&key).unwrap_or_default();
                *red.entry(key.0.clone()).or_default() += 1;
                tally.fail(&format!("{}.{}", key.0, key.1), &said, took);
            }
            // A package that failed under a test that has no verdict was ended by it; without any test that failed
            // it was not built, or did not begin.
            "fail" | "build-fail" => {
                took.into_iter().for_each(|took| tally.took(took));
                let said = outputs.remove(&key).unwrap_or_default();
                for test in unended(&mut running, &key.0) {
                    *red.entry(key.0.clone()).or_default() += 1;
                    let name = format!("{}.{test}", key.0);
                    let own = outputs.remove(&(key.0.clone(), test)).unwrap_or_default();
                    tally.fail(&name, &format!("{own}{said}"), None);
                }
                let of_test = key.0.split(' ').next().unwrap_or_default();
                let reds = red.entry(of_test.to_owned()).or_default();
                if *reds == 0 {
                    *reds = 1;
                    tally.fail(&key.0, &said, None);
                }
            }
            "pass" | "skip" => took.into_iter().for_each(|took| tally.took(took)),
            _ => (),
        }
    }
    is_told.then_some(tally)
}

/// Takes what runs of a package, and names it; a test with subtests that run is named by them.
fn unended(running: &mut BTreeSet<(String, String)>, package: &str) -> Vec<String> {
    let of_package = |(of, _): &(String, String)| of == package;
    let tests: Vec<String> = running.iter().filter(|key| of_package(key)).map(|(_, test)| test.clone()).collect();
    running.retain(|key| !of_package(key));
    let parents: HashSet<&str> = tests.iter().filter_map(|test| Some(test.rsplit_once('/')?.0)).collect();
    tests.iter().filter(|test| !parents.contains(test.as_str())).cloned().collect()
}

/// What go itself says around a test tells nothing of it.
fn is_telling(line: &str) -> bool {
    let own = line.trim_start();
    !["=== RUN", "=== PAUSE", "=== CONT", "=== NAME", "--- FAIL", "--- PASS", "--- SKIP"]
        .iter()
        .any(|word| own.starts_with(word))
}
