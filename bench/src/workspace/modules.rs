//! The dependencies of an application, from the cache: beside it `npm ci` with everything in npm's own cache,
//! tar, and `cp -al`.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use kit::process::command;
use tokio::process::Command;
use wire::execution::{Cache, Phase};

use super::{Arguments, Measured, OURS, Spare, What, quiet, run, take};
use crate::report::{Report, milliseconds};
use crate::system::System;

pub(super) const NPM: &str = "npm ci, warm cache";
pub(super) const TAR: &str = "tar --extract";
pub(super) const COPY: &str = "cp -al";

/// What a new application of its kind depends on: 1,300 packages or so.
const MANIFEST: &str = r#"{
  "name": "measured", "version": "1.0.0", "private": true,
  "dependencies": { "react": "18.3.1", "react-dom": "18.3.1" },
  "devDependencies": { "react-scripts": "5.0.1" }
}
"#;

pub(super) async fn rounds(
    system: &System,
    arguments: &Arguments,
    place: &Path,
    found: &mut Vec<Measured>,
    report: &Report,
) -> anyhow::Result<()> {
    let application = place.join("application");
    fs::create_dir(&application)?;
    report.say("making the application");
    match &arguments.application {
        Some(from) => {
            for name in ["package.json", "package-lock.json"] {
                fs::copy(from.join(name), application.join(name))?;
            }
        }
        None => {
            fs::write(application.join("package.json"), MANIFEST)?;
            npm(&application, &["install", "--package-lock-only"]).await?;
        }
    }
    let repository = crate::repository::Repository::of(&application, &["package.json", "package-lock.json"]).await?;
    npm(&application, &["ci"]).await?;
    let (modules, archive) = (application.join("node_modules"), place.join("modules.tar"));
    // Where the packages are from may be left out of a lockfile; what they are like is not.
    let packages = fs::read_to_string(application.join("package-lock.json"))?.matches("\"integrity\":").count();
    report.say(&format!("an application of {packages} packages"));
    finish(command("tar").current_dir(&application).arg("--create").arg("--file").arg(&archive).arg("node_modules"))
        .await?;
    run(system, &repository, Phase::Dependencies).await?;
    let kept = place.join("kept-modules");
    fs::rename(&modules, &kept)?;
    for round in 0..arguments.rounds {
        report.say(&format!("dependencies: round {} of {}", round + 1, arguments.rounds));
        Spare::Installation.made(place).await?;
        quiet();
        for what in [What::Modules, What::ModulesAtOnce] {
            let (ours, cache) = run(system, &repository, Phase::Dependencies).await?;
            ensure!(cache == Some(Cache::Hit), "the machine did not hold the dependencies");
            take(found, what, OURS, milliseconds(ours), round, report)?;
        }
        Spare::Installation.made(place).await?;
        quiet();
        let took = npm(&application, &["ci"]).await?;
        take(found, What::Modules, NPM, milliseconds(took), round, report)?;
        fs::remove_dir_all(&modules)?;
        quiet();
        let took =
            finish(command("tar").current_dir(&application).arg("--extract").arg("--file").arg(&archive)).await?;
        take(found, What::Modules, TAR, milliseconds(took), round, report)?;
        fs::remove_dir_all(&modules)?;
        quiet();
        let took = finish(command("cp").arg("-al").arg(&kept).arg(&modules)).await?;
        take(found, What::Modules, COPY, milliseconds(took), round, report)?;
        fs::remove_dir_all(&modules)?;
    }
    Ok(())
}

/// With a cache of its own, which stays warm.
async fn npm(application: &Path, arguments: &[&str]) -> anyhow::Result<Duration> {
    let cache = application.with_file_name("npm-cache");
    let mut npm = command("npm");
    npm.current_dir(application).args(arguments).args(["--no-audit", "--no-fund"]);
    finish(npm.env("npm_config_cache", cache).env("npm_config_update_notifier", "false")).await
}

async fn finish(command: &mut Command) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let output = child.context("a peer cannot be started")?.wait_with_output().await?;
    ensure!(output.status.success(), "a peer failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(began.elapsed())
}
