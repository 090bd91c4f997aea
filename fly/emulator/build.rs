//! Builds the little library that lets a machine's clock lag (`src/process/clock`),
//! so that the emulator carries it and nothing needs to be installed.

#![expect(clippy::disallowed_methods, reason = "a build script is told everything by its environment")]

use std::path::Path;
use std::process::Command;

const SOURCE: &str = "src/process/clock/preload.rs";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let library = Path::new(&variable("OUT_DIR")).join("lagging-clock.so");
    let is_known = matches!(variable("CARGO_CFG_TARGET_ARCH").as_str(), "x86_64" | "aarch64");
    if !is_known || variable("CARGO_CFG_TARGET_OS") != "linux" {
        std::fs::write(&library, "").expect("the build's own directory can be written");
        return;
    }
    let mut command = Command::new(variable("RUSTC"));
    command.args(["--edition", "2024", "--crate-type", "cdylib", "--crate-name", "lagging_clock"]);
    command.args(["-C", "opt-level=2", "-C", "panic=abort", "-C", "strip=symbols", "-C", "target-feature=-crt-static"]);
    command.args(["--target", &variable("TARGET"), SOURCE, "-o"]).arg(&library);
    if let Ok(linker) = std::env::var("RUSTC_LINKER") {
        command.args(["-C", &format!("linker={linker}")]);
    }
    if !command.status().is_ok_and(|status| status.success()) {
        // Somebody who links in a way of their own has an emulator that refuses scripts which ask for it.
        println!("cargo::warning=clocks of machines cannot lag: {SOURCE} was not built");
        std::fs::write(&library, "").expect("the build's own directory can be written");
    }
}
