//! `bifrost man`: the manual pages, made from what `--help` says.

use std::io;
use std::path::Path;

use anyhow::Context;
use clap::CommandFactory;
use serde_json::json;

use crate::args::Arguments;
use crate::invocation::Invocation;

/// Writes one page for each command that is no secret, over what an older version left.
pub(crate) fn write(invocation: &Invocation, directory: &Path) -> anyhow::Result<()> {
    pages(directory).with_context(|| format!("the pages cannot be written to {}", directory.display()))?;
    if invocation.output.is_json {
        return invocation.output.json(&json!({ "directory": directory }));
    }
    invocation.output.say(&format!("the pages are in {}; begin with `man bifrost`", directory.display()));
    Ok(())
}

fn pages(directory: &Path) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    clap_mangen::generate_to(Arguments::command(), directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_has_a_page_and_what_is_hidden_has_none() {
        let directory = tempfile::tempdir().expect("is made");
        let pages_at = directory.path().join("man1");
        pages(&pages_at).expect("writes");
        // Over what an older version left.
        pages(&pages_at).expect("writes");
        let page = std::fs::read_to_string(pages_at.join("bifrost-tasks-import.1")).expect("is there");
        assert!(page.contains("Submit the tasks of a file") && page.contains("\\-\\-format"), "{page}");
        assert!(pages_at.join("bifrost.1").exists());
        assert!(!pages_at.join("bifrost-mock-agent.1").exists());
    }
}
