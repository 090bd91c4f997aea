//! Sprites in place of machines: a fake of their API, which starts the real runner in
//! each.

use std::path::Path;

use emulator::sprites::{Services, Sprites as Fake};
use kit::{Tasks, Vars};
use tokio::process::Command;

use crate::command_line::{bare, program};

/// The fake, and the runner that it gives out.
#[derive(Debug)]
pub(crate) struct Sprites {
    pub(crate) fake: Fake,
    /// Where the runner is, pinned.
    runner: String,
}

impl Sprites {
    pub(crate) async fn start(directory: &Path, token: &str) -> Self {
        let path = Vars::from_process().text("PATH").unwrap_or("/usr/bin:/bin").to_owned();
        let root = directory.join("sprites");
        let fake = Fake::start(&root, token, &path, Services::Run, &Tasks::new()).await.expect("a free port");
        let runner = program().with_file_name("bifrost-runner");
        assert!(runner.is_file(), "there is no {}: run `cargo build` first", runner.display());
        let sum = bare("sha256sum", directory).arg(&runner).output().await.expect("sha256sum is installed");
        let sum = String::from_utf8(sum.stdout).expect("it writes text");
        let digest = sum.split_whitespace().next().expect("it says the digest first");
        let runner = format!("{}@sha256:{digest}", fake.offer(runner));
        Self { fake, runner }
    }

    /// Has the control plane make sprites.
    pub(crate) fn choose(&self, command: &mut Command, token: &str) {
        command.env_remove("FLY_API_TOKEN").env("BIFROST_PROVIDER", "sprites");
        command.env("BIFROST_SPRITES_URL", self.fake.url()).env("BIFROST_SPRITES_TOKEN", token);
        command.env("BIFROST_SPRITES_RUNNER", &self.runner);
    }
}
