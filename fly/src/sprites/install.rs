//! Puts a program into a sprite. It is fetched from inside, and in its place only when
//! it has the digest that it is pinned to; what is in its place already is not fetched.
//!
//! Programs and arguments, no shell: what a step found is its exit code.

use std::time::Duration;

use super::{Sprites, WAKE_DEADLINE};
use crate::error::{Action, Error};
use crate::program::Program;

/// How long the fetching may take. curl gives up before we do, so that it says why.
const FETCH_DEADLINE: Duration = Duration::from_secs(300);
const CURL_SECONDS: &str = "290";

impl Sprites {
    /// Sees to it that the program is at this path. Safe to repeat wherever it was interrupted.
    pub async fn install(&self, name: &str, program: &Program, path: &str) -> Result<(), Error> {
        if self.has_digest(name, program, path).await? {
            return Ok(());
        }
        let fetched = format!("{path}.new");
        let curl = ["curl", "--silent", "--show-error", "--fail", "--location", "--create-dirs", "--max-time"];
        let curl = [&curl[..], &[CURL_SECONDS, "--output", &fetched, "--", &program.url]].concat();
        self.succeeds(name, &curl, FETCH_DEADLINE).await?;
        if !self.has_digest(name, program, &fetched).await? {
            return Err(Error::WrongProgram { url: program.url.clone(), sha256: program.sha256.clone() });
        }
        self.succeeds(name, &["chmod", "755", &fetched], WAKE_DEADLINE).await?;
        self.succeeds(name, &["mv", "--force", &fetched, path], WAKE_DEADLINE).await
    }

    async fn has_digest(&self, name: &str, program: &Program, path: &str) -> Result<bool, Error> {
        let line = format!("{}  {path}\n", program.sha256);
        let check = ["sha256sum", "--check", "--status"];
        Ok(self.exec_within(name, &check, Some(&line), WAKE_DEADLINE).await?.code == 0)
    }

    async fn succeeds(&self, name: &str, command: &[&str], limit: Duration) -> Result<(), Error> {
        let exit = self.exec_within(name, command, None, limit).await?;
        if exit.code == 0 {
            return Ok(());
        }
        let detail = format!("{} ended with exit code {}: {}", command[0], exit.code, exit.said());
        Err(Error::Unexpected { action: Action::ExecInSprite, detail })
    }
}
