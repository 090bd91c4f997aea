//! Tests as a service (rows RU-9 to RU-11): the project's tests, run in the workspace like any command, and what
//! their tool told of them, read whatever form it has.
//!
//! The tool's word decides with its exit: tests that failed have failed, even where the exit says otherwise.

pub(crate) mod parse;
pub(crate) mod plan;

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use wire::execution::{Exit, Outcome};
use wire::test_report::{TestReport, TestsSpec};

use crate::command::redaction::Secrets;
use crate::command::{self, Ended};
use parse::{Read as Told, Tally};
use plan::Root;

/// A report file beyond this is cut; no tool that people use writes more.
const REPORT_BYTES: u64 = 32 * 1024 * 1024;

/// What is asked of tests, and how their report file was before them: it may be there from an earlier run.
#[derive(Debug)]
pub(crate) struct Asked {
    spec: TestsSpec,
    before: Option<(u64, i64, i64)>,
}

impl Asked {
    pub(crate) fn of(spec: TestsSpec, tree: &Path) -> Self {
        let before = spec.report.as_deref().and_then(|path| written_at(&tree.join(path)));
        Self { spec, before }
    }
}

fn written_at(path: &Path) -> Option<(u64, i64, i64)> {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.ctime(), meta.ctime_nsec()))
}

/// What came of tests that have been run: by the file that they wrote, or by what they printed, without the secrets.
pub(crate) fn report(
    Asked { spec, before }: &Asked,
    command: &[String],
    tree: &Path,
    printed: &[u8],
    secrets: &Secrets,
    ended: Ended,
    took: Duration,
) -> TestReport {
    let written = spec.report.as_deref().map(|path| match written_at(&tree.join(path)) == *before {
        true => Err(io::Error::new(io::ErrorKind::NotFound, "the tests did not write it")),
        false => read(tree, path),
    });
    let text = match &written {
        Some(Ok(bytes)) => bytes.as_slice(),
        // What it would have said is not known, but some of it may have been printed.
        Some(Err(_)) | None => printed,
    };
    let is_cut = matches!(&written, Some(Ok(bytes)) if bytes.len() as u64 >= REPORT_BYTES);
    let mut told = parse::parse(spec.format, &secrets.hide(&String::from_utf8_lossy(text)));
    // Once more, where it was written with escapes.
    for test in told.iter_mut().flat_map(|told| &mut told.tally.failures) {
        (test.name, test.message) = (secrets.hide(&test.name), secrets.hide(&test.message));
    }
    let is_well = command::outcome(ended.cause, ended.exit) == Some(Outcome::Succeeded);
    let not_there = written.as_ref().and_then(|written| written.as_ref().err());
    let unread = unread(spec, not_there, told.as_ref(), is_cut);
    let (format, tally) = match told {
        Some(Told { format, tally }) => (Some(format), tally),
        None => (None, Tally::default()),
    };
    let last_words = match is_well || tally.failed > 0 {
        true => None,
        false => parse::last_words(&secrets.hide(&String::from_utf8_lossy(printed))),
    };
    let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let report = TestReport {
        format,
        command: command.to_vec(),
        success: is_well && tally.failed == 0 && unread.is_none(),
        passed: tally.passed,
        failed: tally.failed,
        skipped: tally.skipped,
        duration_ms: tally.duration_ms.unwrap_or(millis),
        failures: tally.failures,
        unread,
        last_words,
    };
    report.bounded()
}

/// Why what the task names could not be read. Where it names nothing there is nothing that must be there to be read.
fn unread(spec: &TestsSpec, not_there: Option<&io::Error>, told: Option<&Told>, is_cut: bool) -> Option<String> {
    let form = spec.format.map_or_else(|| "any form that is known".to_owned(), |format| format!("the form {format}"));
    let cure = "mend it, or name another with --tests-report and --tests-format, or none";
    match (&spec.report, spec.format, not_there, told) {
        (Some(path), _, Some(error), _) => Some(format!("the report {path} cannot be read: {error}; {cure}")),
        (Some(path), _, None, None) => Some(format!("the report {path} is not of {form}; {cure}")),
        (Some(path), _, None, Some(told)) if told.tally.is_torn => {
            let read =
                if is_cut { format!(", of which the first {REPORT_BYTES} bytes are read") } else { String::new() };
            Some(format!("the report {path} breaks off before its end{read}; {cure}"))
        }
        (None, Some(_), _, None) => Some(format!("what the tests printed is not of {form}; {cure}")),
        (None, Some(_), _, Some(told)) if told.tally.is_torn => {
            Some(format!("what the tests printed in {form} breaks off before its end; {cure}"))
        }
        _ => None,
    }
}

/// What is known of the files at the workspace's root.
pub(crate) fn look(tree: &Path) -> Root {
    let names = fs::read_dir(tree).into_iter().flatten().flatten();
    let names = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let [package, pyproject, makefile] =
        plan::LOOKED_INTO.map(|name| read(tree, name).ok().and_then(|bytes| String::from_utf8(bytes).ok()));
    Root { names, package, pyproject, makefile }
}

/// A file of the workspace, through no link that leads out of it.
fn read(tree: &Path, path: &str) -> io::Result<Vec<u8>> {
    let (root, place) = (tree.canonicalize()?, tree.join(path).canonicalize()?);
    if !place.starts_with(&root) || !place.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{path} is no file of the workspace")));
    }
    let mut bytes = Vec::new();
    File::open(place)?.take(REPORT_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What to say about tests for a person, where they did not all pass.
pub(crate) fn message(report: &TestReport, exit: Exit) -> Option<String> {
    if report.success {
        return None;
    }
    if report.command.is_empty() {
        return Some(report.headline());
    }
    let how = match exit {
        Exit::Code(0) => String::new(),
        Exit::Code(code) => format!(" (exit code {code})"),
        Exit::Signal(signal) => format!(" (killed by signal {signal})"),
    };
    let last = report.last_words.as_deref().and_then(|said| said.lines().last());
    let last = last.map(|line| format!("; it said last: {line}")).unwrap_or_default();
    Some(format!("{}{how}{last}", report.headline()))
}

#[cfg(test)]
mod tests;
