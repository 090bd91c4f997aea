//! docs/emulator.md: every command runs as it stands there, and the script is one.

use serde_json::Value;

use crate::world::*;

const PAGE: &str = include_str!("../../../../docs/emulator.md");
const ADDRESS: &str = "http://127.0.0.1:7602";

/// The lines of all blocks of that language.
fn blocks(language: &str) -> Vec<&'static str> {
    let (begin, mut lines, mut in_block) = (format!("```{language}"), Vec::new(), false);
    for line in PAGE.lines() {
        match line {
            _ if line == begin => in_block = true,
            "```" => in_block = false,
            _ if in_block => lines.push(line),
            _ => (),
        }
    }
    lines
}

/// As a shell cuts a line into words, for lines that use single quotes only.
fn words(line: &str) -> Vec<String> {
    let parts = line.split('\'').enumerate();
    parts
        .flat_map(|(index, part)| match index % 2 {
            1 => vec![part.to_owned()],
            _ => part.split_whitespace().map(str::to_owned).collect(),
        })
        .collect()
}

#[tokio::test]
async fn every_command_of_the_page_runs_as_it_stands() {
    let data = Data::new();
    let program = Program::start(data.path()).await;
    let (mut volume, mut machine) = (String::new(), String::new());
    let mut ran = 0;
    for line in blocks("sh") {
        let Some(arguments) = line.strip_prefix("curl ") else {
            // This is what the program was started as; its flags are those of `bifrost emulator`.
            assert!(line.starts_with("bifrost emulator --data "), "nobody runs this line: {line}");
            continue;
        };
        let arguments = arguments.replace(ADDRESS, program.url());
        let arguments = arguments.replace("VOLUME_ID", &volume).replace("MACHINE_ID", &machine);
        let call = kit::process::command("curl").args(words(&arguments)).output();
        let output = call.await.expect("curl is installed");
        let answer = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{line}: {answer}{}", String::from_utf8_lossy(&output.stderr));
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        match answer["id"].as_str() {
            Some(id) if id.starts_with("vol_") => volume = id.to_owned(),
            Some(id) => machine = id.to_owned(),
            None => (),
        }
        ran += 1;
    }
    assert_eq!(ran, blocks("sh").len() - 1);
    assert!(program.terminate().await.success());
}

/// The names in backquotes of the page between these words.
fn listed(from: &str, to: &str) -> Vec<&'static str> {
    let list = PAGE.split_once(from).expect("begins").1.split_once(to).expect("ends").0;
    list.split('`').skip(1).step_by(2).collect()
}

/// The names that are accepted where this script has one that is not.
fn accepted(wrong: &str) -> Vec<String> {
    let said = emulator::Script::from_toml(wrong).expect_err("none of that name").to_string();
    let known = said.split("expected one of ").nth(1).expect("the list").split('`');
    known.skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_script_of_the_page_is_one_and_its_lists_of_actions_and_failures_are_what_is_accepted() {
    emulator::Script::from_toml(&blocks("toml").join("\n")).expect("a script");
    let actions = listed("- `action` is one of ", "Absent is any");
    assert_eq!(actions, accepted("[[call]]\naction = 'none'\neffect = { drop = 'before' }"));
    let failures = listed("- `failure` is one of Fly's known ones: ", "\n- `drop`");
    // `times` is what one of them is explained with.
    let failures: Vec<_> = failures.into_iter().filter(|name| *name != "times").collect();
    assert_eq!(failures, accepted("[[call]]\neffect = { failure = 'none' }"));
}
