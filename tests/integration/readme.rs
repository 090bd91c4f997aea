//! Every command of the README runs as it stands there: a line that this test
//! does not know how to run fails it.

use wire::id::TaskId;
use wire::task::TaskStatus;
use world::{CommandLine, World};

const README: &str = include_str!("../../README.md");

/// The lines of all blocks marked `sh`.
fn commands() -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    let mut in_block = false;
    for line in README.lines() {
        match line {
            "```sh" => in_block = true,
            "```" => in_block = false,
            _ if in_block => lines.push(words(line)),
            _ => (),
        }
    }
    lines
}

/// As a shell cuts a line into words, for lines that use single quotes only.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    words
}

/// The task that stands for `ID` in a line: one that the command makes sense for.
async fn task_for(world: &World, arguments: &[String]) -> TaskId {
    match arguments.get(1).map(String::as_str) {
        // One that would never end: only one at a time finds a machine.
        Some("cancel") => world.submit(&world.gated("never")).await,
        Some("retry") => ended(world, "false", TaskStatus::Failed).await,
        _ => ended(world, "true", TaskStatus::Completed).await,
    }
}

async fn ended(world: &World, script: &str, status: TaskStatus) -> TaskId {
    let task = world.submit(script).await;
    world.until_task(task, status).await;
    task
}

/// The same words with what a reader puts in their place.
async fn filled_in(arguments: &[String], world: &World, commit: &str) -> Vec<String> {
    let task = if arguments.iter().any(|word| word == "ID") { Some(task_for(world, arguments).await) } else { None };
    let repository = world.repository.url();
    let program =
        arguments.iter().position(|word| word == "--").filter(|_| arguments.iter().any(|w| w.contains("://")));
    let kept = program.map_or(arguments.len(), |at| at + 1);
    let mut filled: Vec<String> = arguments[..kept]
        .iter()
        .map(|word| match word.as_str() {
            "ID" => task.map(|task| task.to_string()).unwrap_or_default(),
            "main" => commit.to_owned(),
            word if word.contains("://") => repository.clone(),
            word => word.to_owned(),
        })
        .collect();
    // Somebody's own project is not here, so neither is what would be run in it.
    filled.extend(program.map(|_| "true".to_owned()));
    filled
}

#[tokio::test]
async fn every_command_of_the_readme_runs_as_it_stands() {
    let world = World::plan().in_one_process().start().await;
    let commit = world.repository.commit(&[("a", "b")]).await;
    let mut ran = 0;
    for command in commands() {
        let line = command.join(" ");
        let (call, arguments) = match command.first().map(String::as_str) {
            // This test runs in it.
            Some("scripts/test") => continue,
            // It is what this world was started with.
            Some("bifrost") if command[1] == "up" => continue,
            Some("bifrost") => {
                let arguments = filled_in(&command[1..], &world, &commit).await;
                (world.bifrost(&arguments.iter().map(String::as_str).collect::<Vec<_>>()), arguments)
            }
            Some("cargo") if command[1..3] == ["run", "--"] => {
                let arguments = command[3..].to_vec();
                let home = world.directory().join("newcomer");
                std::fs::create_dir_all(&home).expect("the world's directory may be written");
                let call = CommandLine::new(&home, &arguments).in_directory(world.repository.path());
                (call.env("BIFROST_DATA", home.join("data")), arguments)
            }
            _ => panic!("nobody runs this line of the README: {line}"),
        };
        let output = call.output().await;
        assert_eq!(output.code, 0, "{line} ({arguments:?}): {}{}", output.stdout, output.stderr);
        ran += 1;
    }
    assert!(ran >= 10, "only {ran} commands were found");
    world.finish().await;
}
