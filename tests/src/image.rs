//! The runner's program as it lies in our image.

use std::path::Path;

use crate::command_line::program;

/// Puts the program that was built there, and lets its file have the capabilities that Dockerfile.runner gives it.
pub async fn install_runner(to: &Path) {
    let built = program().with_file_name("bifrost-runner");
    std::fs::copy(&built, to).unwrap_or_else(|error| panic!("{}: {error}: run `cargo build` first", built.display()));
    let line = include_str!("../../Dockerfile.runner").lines().find_map(|line| line.split_once("setcap "));
    let capabilities = line.and_then(|(_, words)| words.split(' ').next()).expect("it calls setcap");
    let set = kit::process::command("setcap").arg(capabilities).arg(to).status().await;
    assert!(set.expect("setcap is installed").success(), "only root gives a file capabilities");
}
