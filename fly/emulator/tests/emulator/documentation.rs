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

#[test]
fn the_script_of_the_page_is_one_and_every_action_and_failure_is_named_there() {
    emulator::Script::from_toml(&blocks("toml").join("\n")).expect("a script");
    for (wrong, first_of_others) in [
        ("[[call]]\neffect = { failure = 'none' }", None),
        // The rest is of the Sprites API.
        ("[[call]]\naction = 'none'\neffect = { drop = 'before' }", Some("create_sprite")),
    ] {
        let known = emulator::Script::from_toml(wrong).expect_err("none of that name").to_string();
        let known = known.split("expected one of ").nth(1).expect("the list").split('`');
        let names: Vec<&str> = known.filter(|name| name.contains(|c: char| c.is_ascii_lowercase())).collect();
        assert!(names.len() > 20, "{names:?}");
        for name in names.into_iter().take_while(|name| Some(*name) != first_of_others) {
            assert!(PAGE.contains(&format!("`{name}`")), "{name} is not on the page");
        }
    }
}
