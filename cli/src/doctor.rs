//! `bifrost doctor`: checks what everything else needs, one thing after the
//! other, and says for each what to do about it. Changes nothing.

mod local;
mod remote;

use serde::Serialize;

use crate::exit::Code;
use crate::invocation::Invocation;

/// What a check came to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Finding {
    /// All is well, and this is how.
    Well(String),
    /// It is not.
    Ill {
        /// How the program is to end for it.
        code: Code,
        /// What is wrong.
        message: String,
        /// What to do about it.
        cure: String,
    },
    /// It could not be looked at, because of something above.
    Skipped,
}

impl Finding {
    fn ill(code: Code, message: impl Into<String>, cure: impl Into<String>) -> Self {
        Self::Ill { code, message: message.into(), cure: cure.into() }
    }

    fn is_well(&self) -> bool {
        matches!(self, Self::Well(_))
    }
}

/// One finding for a program.
#[derive(Serialize)]
struct Row<'a> {
    check: &'a str,
    state: &'static str,
    message: &'a str,
    cure: Option<&'a str>,
}

/// Checks everything; gives 0 if all is well, else the code of the first thing that is not.
pub(crate) async fn run(invocation: &Invocation) -> anyhow::Result<u8> {
    let mut report = Report::new(invocation);
    report.add("git", local::git().await)?;
    let data = invocation.data()?;
    report.add("data directory", local::data_directory(&data))?;
    report.add("free disk space", local::free_space(&data))?;
    report.add("key file", local::key_file(invocation))?;
    remote::check(invocation, &mut report).await?;
    report.finish()
}

/// Prints findings as they come, or all at once as JSON.
struct Report<'a> {
    invocation: &'a Invocation,
    findings: Vec<(&'static str, Finding)>,
}

impl<'a> Report<'a> {
    fn new(invocation: &'a Invocation) -> Self {
        Self { invocation, findings: Vec::new() }
    }

    fn add(&mut self, check: &'static str, finding: Finding) -> anyhow::Result<()> {
        let output = self.invocation.output;
        if !output.is_json {
            match &finding {
                Finding::Well(message) => output.line(&format!("{} {check}: {message}", output.mark(true)))?,
                Finding::Ill { message, cure, .. } => {
                    output.line(&format!("{} {check}: {message}\n  help: {cure}", output.mark(false)))?;
                }
                Finding::Skipped => output.line(&format!("- {check}: not checked, see above"))?,
            }
        }
        self.findings.push((check, finding));
        Ok(())
    }

    fn finish(self) -> anyhow::Result<u8> {
        if self.invocation.output.is_json {
            let rows: Vec<Row<'_>> = self.findings.iter().map(|(check, finding)| row(check, finding)).collect();
            self.invocation.output.json(&rows)?;
        }
        Ok(exit_code(self.findings.iter().map(|(_, finding)| finding)))
    }
}

fn row<'a>(check: &'a str, finding: &'a Finding) -> Row<'a> {
    match finding {
        Finding::Well(message) => Row { check, state: "well", message, cure: None },
        Finding::Ill { message, cure, .. } => Row { check, state: "ill", message, cure: Some(cure) },
        Finding::Skipped => Row { check, state: "skipped", message: "not checked, see above", cure: None },
    }
}

fn exit_code<'a>(findings: impl Iterator<Item = &'a Finding>) -> u8 {
    let mut codes = findings.filter_map(|finding| match finding {
        Finding::Ill { code, .. } => Some(code.number()),
        Finding::Well(_) | Finding::Skipped => None,
    });
    codes.next().unwrap_or(0)
}

#[cfg(test)]
mod tests;
