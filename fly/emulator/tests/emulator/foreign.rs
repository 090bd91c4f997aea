//! Somebody else's client of the Machines API, as it comes from its registry, against
//! the program as it is deployed.
//!
//! `BIFROST_TEST_TOOLS` names the directory into which `scripts/test` has installed it;
//! the test's name is what it leaves the test out by.

use std::path::PathBuf;

use kit::Vars;

use crate::world::*;

const WALK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/emulator/foreign.js");

#[tokio::test]
async fn a_client_of_package_manager_npm_is_served() {
    let vars = Vars::from_process();
    let tools = vars.text("BIFROST_TEST_TOOLS").map(PathBuf::from);
    let tools = tools.expect("BIFROST_TEST_TOOLS is set; scripts/test sets it, or leaves this test out");
    // Where this machine has no node of its own, one is there.
    let programs = std::env::split_paths(vars.text("PATH").unwrap_or_default()).chain([tools.join("python/bin")]);
    let path = std::env::join_paths(programs).expect("no colons");
    let data = Data::new();
    let program = Program::start(data.path()).await;
    let mut node = kit::process::command("node");
    let walk = node.args([WALK, program.url()]).arg(&tools).env("PATH", path).output();
    let output = tokio::time::timeout(PATIENCE * 3, walk).await.expect("ends").expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(program.terminate().await.success());
}
