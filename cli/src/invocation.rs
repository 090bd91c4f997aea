//! What every command is handed: the global options, the environment, time,
//! chance and the output. Nothing else is reached for.

use std::path::{Path, PathBuf};

use kit::{Chance, Clock, Vars};

use crate::args::Global;
use crate::exit::{Code, failure};
use crate::output::Output;

/// One call of the program.
pub(crate) struct Invocation {
    /// What was written on the command line for all commands.
    pub(crate) global: Global,
    /// The environment.
    pub(crate) vars: Vars,
    /// The time.
    pub(crate) clock: Clock,
    /// Chance.
    pub(crate) chance: Chance,
    /// Where to write.
    pub(crate) output: Output,
}

impl Invocation {
    /// With the system's clock and chance.
    pub(crate) fn new(global: Global, vars: Vars) -> Self {
        let output = Output::new(global.color, vars.text("NO_COLOR"), global.json);
        Self { global, vars, clock: Clock::system(), chance: Chance::system(), output }
    }

    /// The data directory, absolute, so that no later change of directory moves it.
    pub(crate) fn data(&self) -> anyhow::Result<PathBuf> {
        Ok(std::path::absolute(&self.global.data)?)
    }

    /// The data directory, made if there is none; git never sees what is in it.
    pub(crate) fn prepare_data(&self) -> anyhow::Result<PathBuf> {
        let data = self.data()?;
        prepare(&data).map_err(|error| {
            let message = format!("the data directory {} cannot be used: {error}", data.display());
            failure(Code::CannotCreate, message, "name one that you may write with --data DIR or BIFROST_DATA")
        })?;
        Ok(data)
    }
}

fn prepare(data: &Path) -> std::io::Result<()> {
    // Keys live here: nobody else has any business in it.
    kit::files::make_private(data)?;
    kit::files::read_or_create(&data.join(".gitignore"), 0o644, || "*\n".into()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_data_directory_is_private_and_hidden_from_git() {
        use std::os::unix::fs::PermissionsExt;
        let parent = tempfile::tempdir().expect("a directory");
        let data = parent.path().join("a/.bifrost");
        for _ in 0..2 {
            prepare(&data).expect("prepares");
            assert_eq!(std::fs::read_to_string(data.join(".gitignore")).expect("is there"), "*\n");
        }
        assert_eq!(std::fs::metadata(&data).expect("is there").permissions().mode() & 0o777, 0o700);
    }
}
