//! Every command shows how it is used, and what it shows can be used.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use wire::strategy::NewFailureStrategy;

use super::super::*;

/// What a word in capitals stands for: the id of a task, a worker, and so on.
const ID: &str = "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";

/// The command and all below it that are no secret, with the words that lead there.
pub(super) fn commands(command: &clap::Command, words: &str) -> Vec<(String, clap::Command)> {
    let words = if words.is_empty() { "bifrost".to_owned() } else { format!("{words} {}", command.get_name()) };
    let below = command.get_subcommands().filter(|command| !command.is_hide_set());
    let mut all: Vec<_> = below.flat_map(|command| commands(command, &words)).collect();
    all.push((words, command.clone()));
    all
}

/// The lines below the word `Examples`.
fn examples(command: &clap::Command) -> Vec<String> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let lines = help.lines().skip_while(|line| !line.starts_with("Examples")).skip(1);
    lines.take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect()
}

/// The calls of `bifrost` in a line as it is typed into a shell, as far as examples use one: quotes, pipes, lists,
/// redirections, variables in front, and what is said about it behind three spaces.
fn calls(line: &str) -> Vec<Vec<String>> {
    let mut calls = vec![Vec::new()];
    let (mut word, mut quote, mut spaces) = (None::<String>, false, 0);
    for character in line.chars().chain([' ']) {
        spaces = if character == ' ' && !quote { spaces + 1 } else { 0 };
        match character {
            _ if spaces == 3 => break,
            '\'' => (word, quote) = (Some(word.unwrap_or_default()), !quote),
            _ if quote => word.get_or_insert_default().push(character),
            ' ' => calls.last_mut().expect("never empty").extend(word.take()),
            '|' | '&' | ';' | ')' | '(' => {
                calls.last_mut().expect("never empty").extend(word.take());
                calls.push(Vec::new());
            }
            _ => word.get_or_insert_default().push(character),
        }
    }
    calls.into_iter().filter_map(ours).collect()
}

/// The words of a call of `bifrost`, with ids in the place of capitals and without what only a shell reads.
fn ours(words: Vec<String>) -> Option<Vec<String>> {
    let words = words.into_iter().skip_while(|word| word.contains('=')).collect::<Vec<_>>();
    let is_ours = words.first().is_some_and(|word| word == "bifrost");
    let is_redirection = |word: &String| matches!(word.as_str(), ">" | "<" | "2>");
    let is_name = |word: &str| word.len() > 1 && word.chars().all(|letter| letter.is_ascii_uppercase());
    let words = words.into_iter().take_while(|word| !is_redirection(word));
    is_ours.then(|| words.map(|word| if is_name(&word) { ID.to_owned() } else { word }).collect())
}

#[test]
fn every_command_has_an_example_of_its_own_and_every_example_can_be_written() {
    for (words, command) in commands(&Arguments::command(), "") {
        let lines = examples(&command);
        let calls: Vec<Vec<String>> = lines.iter().flat_map(|line| calls(line)).collect();
        if !command.has_subcommands() {
            let is_own = |call: &Vec<String>| call.join(" ").starts_with(&words);
            assert!(calls.iter().any(is_own), "`{words} --help` has no example of it: {lines:?}");
        }
        for call in calls {
            let error = Arguments::try_parse_from(&call).err().map(|error| error.to_string());
            assert_eq!(error, None, "{call:?} in `{words} --help`");
        }
    }
}

/// The lines of a page's blocks, each with those that go on with it.
fn lines_of_blocks(page: &str) -> Vec<String> {
    let (mut lines, mut is_inside, mut goes_on) = (Vec::<String>::new(), false, false);
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            (is_inside, goes_on) = (!is_inside, false);
        } else if is_inside {
            let part = line.trim().trim_start_matches("$ ");
            match lines.last_mut() {
                Some(last) if goes_on => last.push_str(part.trim_end_matches('\\')),
                _ => lines.push(part.trim_end_matches('\\').to_owned()),
            }
            goes_on = part.ends_with('\\');
        }
    }
    lines
}

/// All of the repository's pages that a person reads, with their names.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut waiting = vec![root.join("docs"), root.join("README.md")];
    let mut pages = Vec::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(&path).expect("lists").map(|entry| entry.expect("is there").path()));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push((path.display().to_string(), fs::read_to_string(&path).expect("text")));
        }
    }
    pages
}

#[test]
fn every_call_in_a_block_of_a_page_can_be_written() {
    let mut read = Vec::new();
    for (name, page) in pages() {
        for call in lines_of_blocks(&page).iter().flat_map(|line| calls(line)) {
            let error = Arguments::try_parse_from(&call).err().map(|error| error.to_string());
            assert_eq!(error, None, "{call:?} in {name}");
            read.push(name.clone());
        }
    }
    read.dedup();
    assert!(read.len() > 10, "there are more pages with calls than {read:?}");
}

#[test]
fn blocks_of_a_page_are_read_by_the_line() {
    let page = "bifrost prose\n```sh\n$ bifrost run \\\n    -- true\nbifrost: queued\n```\nbifrost prose\n";
    assert_eq!(lines_of_blocks(page), ["bifrost run -- true", "bifrost: queued"]);
}

#[test]
fn a_line_of_a_shell_is_read_as_one() {
    let line = "A=1 bifrost run -- sh -c 'a | b' | jq '.[]' || bifrost complete EXECUTION > f   ends it | bifrost x";
    assert_eq!(calls(line), [vec!["bifrost", "run", "--", "sh", "-c", "a | b"], vec!["bifrost", "complete", ID]]);
}

#[test]
fn the_failure_strategy_that_is_shown_is_one() {
    let command = Arguments::command();
    let add = command.find_subcommand("strategies").and_then(|all| all.find_subcommand("add")).expect("exists");
    let help = add.get_after_help().expect("has examples").to_string();
    let (_, file) = help.split_once("is followed:\n").expect("shows a file");
    let file = file.split("\n\n").next().expect("ends");
    let strategy: NewFailureStrategy = serde_json::from_str(file).expect("reads");
    strategy.validate().expect("is sound");
}
