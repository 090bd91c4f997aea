//! The images: nobody is root in them, the program itself gets the signals, nobody
//! logs in, engines can ask whether it is well, and the runner has a small base (rows FLY-013,
//! FLY-014, decision C-14).

use crate::Offence;
use crate::tree::{File, Tree};

/// The images that are deployed.
const FILES: [&str; 4] = ["Dockerfile.control", "Dockerfile.events", "Dockerfile.egress", "Dockerfile.runner"];

/// What each of them breaks, and the ones that are missing.
pub fn offences(tree: &Tree) -> Vec<Offence> {
    FILES
        .iter()
        .flat_map(|path| match tree.file(path) {
            Some(file) => of_file(file),
            None => vec![Offence::in_file(path, "is missing")],
        })
        .collect()
}

fn of_file(file: &File) -> Vec<Offence> {
    let lines = instructions(&file.text);
    let last = |word: &str| lines.iter().rev().find(|(_, line)| line.starts_with(word)).map(|(_, line)| line.as_str());
    let mut offences = Vec::new();
    if last("USER ").is_none_or(|user| !user["USER ".len()..].starts_with(|first: char| ('1'..='9').contains(&first))) {
        let cure = "end with `USER` and a number that is not 0: engines can check that, and a name can be root's";
        offences.push(Offence::in_file(&file.path, cure));
    }
    if last("ENTRYPOINT ").is_none_or(|entry| !entry["ENTRYPOINT ".len()..].trim_start().starts_with('[')) {
        let cure = "name the program with `ENTRYPOINT [\"…\"]`: a shell would keep the signals to itself";
        offences.push(Offence::in_file(&file.path, cure));
    }
    offences.extend(of_health(file, last("HEALTHCHECK ")));
    for (number, line) in &lines {
        if ["sshd", "openssh-server"].iter().any(|word| line.contains(word)) {
            offences.push(Offence::at(&file.path, *number, "nobody logs in to a machine: no ssh server"));
        }
        let tag = line.strip_prefix("FROM ").and_then(|from| from.split_whitespace().next());
        let is_stage = tag.is_some_and(|tag| lines.iter().any(|(_, line)| line.ends_with(&format!(" AS {tag}"))));
        if tag.is_some_and(|tag| !is_stage && (!tag.contains(':') || tag.ends_with(":latest"))) {
            offences.push(Offence::at(
                &file.path,
                *number,
                "say which version of the image: a build is to be repeated",
            ));
        }
    }
    if file.path == "Dockerfile.runner" {
        offences.extend(of_runner(file, &lines));
    }
    offences
}

/// An image whose program cannot be asked says why above the word for it.
fn of_health(file: &File, check: Option<&str>) -> Option<Offence> {
    let text: Vec<&str> = file.text.lines().collect();
    let has_reason = || text.windows(2).any(|two| two[0].starts_with('#') && two[1] == "HEALTHCHECK NONE");
    let cure = match check {
        None => {
            "end with `HEALTHCHECK … CMD [\"PROGRAM\", \"health\"]`, or with `HEALTHCHECK NONE` and a comment that says why"
        }
        Some("HEALTHCHECK NONE") if !has_reason() => "say in a comment above `HEALTHCHECK NONE` why nobody can ask",
        Some("HEALTHCHECK NONE") => return None,
        Some(check) if check.ends_with(", \"health\"]") && check.contains(" CMD [\"/") => return None,
        Some(_) => {
            "ask with the program's own `health`, as `CMD [\"PROGRAM\", \"health\"]`: there is no curl and no shell to count on"
        }
    };
    Some(Offence::in_file(&file.path, cure))
}

fn of_runner(file: &File, lines: &[(usize, String)]) -> Vec<Offence> {
    let has = |end: &str| lines.iter().any(|(_, line)| line.starts_with("FROM ") && line.ends_with(end));
    let mut offences = Vec::new();
    for stage in [" AS base", " AS full"] {
        if !has(stage) {
            offences
                .push(Offence::in_file(&file.path, format!("has no stage{stage}: one is small, one has the tools")));
        }
    }
    for tool in ["build-essential", "curl", "git", "tmux"] {
        if !lines.iter().any(|(_, line)| line.split_whitespace().any(|word| word == tool)) {
            offences.push(Offence::in_file(&file.path, format!("installs no {tool}, which most repositories need")));
        }
    }
    offences
}

/// The instructions with their lines; one that goes on over several lines is one.
fn instructions(text: &str) -> Vec<(usize, String)> {
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let (part, next_goes_on) = line.strip_suffix('\\').map_or((line, false), |part| (part, true));
        match found.last_mut().filter(|_| goes_on) {
            Some((_, whole)) => whole.push_str(part),
            None => found.push((index + 1, part.to_owned())),
        }
        goes_on = next_goes_on;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "FROM debian:bookworm-slim\nUSER 10001:10001\n\
                        HEALTHCHECK --interval=30s CMD [\"/a\", \"health\"]\nENTRYPOINT [\"/a\"]\n";
    const RUNNER: &str = "FROM debian:bookworm-slim AS base\nUSER 10001\n# It listens to nobody.\nHEALTHCHECK NONE\n\
                          ENTRYPOINT [\"/a\"]\nFROM base AS full\nUSER root\n\
                          RUN apt-get install build-essential \\\n    curl git tmux\nUSER 10001\n";

    #[track_caller]
    fn check(control: &str, runner: &str, expect: &[&str]) {
        let files = [("Dockerfile.control", control), ("Dockerfile.events", GOOD), ("Dockerfile.egress", GOOD)];
        let found = offences(&Tree::of(&[&files[..], &[("Dockerfile.runner", runner)]].concat()));
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expect.len(), "{found:?}");
        assert!(found.iter().zip(expect).all(|(found, expect)| found.contains(expect)), "{found:?}");
    }

    #[test]
    fn an_image_with_a_fault_is_found_with_its_cure() {
        check(GOOD, RUNNER, &[]);
        check(&GOOD.replace("10001:10001", "control"), RUNNER, &["a number that is not 0"]);
        check(&GOOD.replace("10001:10001", "0"), RUNNER, &["a number that is not 0"]);
        check(&GOOD.replace("ENTRYPOINT [\"/a\"]", "ENTRYPOINT /a"), RUNNER, &["a shell would keep the signals"]);
        check(&GOOD.replace("HEALTHCHECK", "#"), RUNNER, &["or with `HEALTHCHECK NONE` and a comment"]);
        check(&GOOD.replace("[\"/a\", \"health\"]", "curl -f localhost"), RUNNER, &["the program's own `health`"]);
        check(GOOD, &RUNNER.replace("# It listens to nobody.\n", ""), &["why nobody can ask"]);
        check(
            &GOOD.replace("USER", "RUN apt-get install openssh-server\nUSER"),
            RUNNER,
            &["Dockerfile.control:2: nobody logs in"],
        );
        check(&GOOD.replace(":bookworm-slim", ""), RUNNER, &["Dockerfile.control:1: say which version"]);
        check(&GOOD.replace(":bookworm-slim", ":latest"), RUNNER, &["say which version"]);
        check(GOOD, &RUNNER.replace("git ", ""), &["installs no git"]);
        check(GOOD, &RUNNER.replace(" AS full", " AS all"), &["has no stage AS full"]);
    }

    #[test]
    fn an_image_that_is_gone_is_found() {
        assert_eq!(offences(&Tree::of(&[("Dockerfile.control", GOOD)])).len(), 3);
    }
}
