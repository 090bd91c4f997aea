//! The mock agent: does what its prompt says, line by line, and prints JSON lines
//! about it as coding agents do. For tests and demonstrations.
//!
//! | line of the prompt | what it does |
//! |---|---|
//! | `write PATH TEXT` | makes PATH, below the directory it works in, hold the text and a line's end |
//! | `append PATH TEXT` | adds a line to PATH |
//! | `commit MESSAGE` | commits everything |
//! | `push REF` | pushes HEAD to `origin` as that branch, or as that name where it begins with `refs/` |
//! | `usage INPUT OUTPUT DOLLARS` | says that it used so many tokens and so much money |
//! | `ask QUESTION` | asks, and ends its turn; with the answer its session goes on behind this line |
//! | `stall SECONDS` | says nothing for so long |
//! | `linger SECONDS` | does not exit for so long after its result |
//! | `fail MESSAGE` | ends with that as its result |
//! | `crash CODE` | exits at once, without a result |
//! | anything else | says it |
//!
//! `{answer}` in a line stands for the last answer. What is left to do after a question is remembered below the home,
//! by the directory it works in: a session that goes on elsewhere has its answer for a prompt.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use kit::{Chance, Vars};
use serde_json::{Value, json};

use crate::volume;

/// Carries the prompt on standard input out, in the current directory; gives its exit code.
pub async fn run(arguments: &[String]) -> u8 {
    let mut prompt = String::new();
    if let Err(error) = io::stdin().read_to_string(&mut prompt) {
        print(&json!({ "type": "end", "failed": true, "message": format!("the prompt cannot be read: {error}") }));
        return 1;
    }
    let option = |name: &str| arguments.iter().skip_while(|argument| *argument != name).nth(1);
    let session = option("--session").cloned().unwrap_or_else(|| format!("mock-{}", Chance::system().hex::<8>()));
    print(&json!({ "type": "start", "session": session, "model": option("--model") }));
    let remembered = remembered(&session);
    let script = match remembered.as_deref().and_then(|file| fs::read_to_string(file).ok()) {
        Some(rest) => answered(&rest, &prompt.split_whitespace().collect::<Vec<_>>().join(" ")),
        None => prompt,
    };
    remembered.iter().for_each(|file| drop(fs::remove_file(file)));
    let mut linger = Duration::ZERO;
    let mut lines = script.lines().map(str::trim).filter(|line| !line.is_empty());
    while let Some(line) = lines.next() {
        match step(line).await {
            Ok(Next::Line) => (),
            Ok(Next::Ask(question)) => {
                let rest: String = lines.by_ref().map(|line| format!("{line}\n")).collect();
                let noted = remembered.as_deref().context("there is no home to remember it in");
                if let Err(error) = noted.and_then(|file| remember(file, &rest)) {
                    print(&json!({ "type": "end", "failed": true, "message": format!("{line}: {error:#}") }));
                    return 1;
                }
                print(&json!({ "type": "ask", "text": question }));
            }
            Ok(Next::Linger(time)) => linger = time,
            Ok(Next::Crash(code)) => return code,
            Ok(Next::Fail(message)) => {
                print(&json!({ "type": "end", "failed": true, "message": message }));
                return 1;
            }
            Err(error) => {
                print(&json!({ "type": "end", "failed": true, "message": format!("{line}: {error:#}") }));
                return 1;
            }
        }
    }
    print(&json!({ "type": "end", "failed": false }));
    tokio::time::sleep(linger).await;
    0
}

/// Where a session keeps what it has left to do while it waits for an answer.
fn remembered(session: &str) -> Option<PathBuf> {
    let directory = std::env::current_dir().ok()?;
    let name = |text: &str| text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect::<String>();
    let place = Path::new(Vars::from_process().text("HOME")?).join(".mock-agent");
    Some(place.join(name(&directory.to_string_lossy())).join(name(session)))
}

/// The lines with the answer in them, up to the next question: what is behind it waits for the answer to that.
fn answered(lines: &str, answer: &str) -> String {
    let next = lines.lines().position(|line| line.starts_with("ask ")).map_or(usize::MAX, |place| place + 1);
    let line = |(place, line): (usize, &str)| match place < next {
        true => format!("{}\n", line.replace("{answer}", answer)),
        false => format!("{line}\n"),
    };
    lines.lines().enumerate().map(line).collect()
}

fn remember(file: &Path, rest: &str) -> anyhow::Result<()> {
    fs::create_dir_all(file.parent().context("it has a place")?)?;
    Ok(fs::write(file, rest)?)
}

enum Next {
    Line,
    Ask(String),
    Linger(Duration),
    Fail(String),
    Crash(u8),
}

async fn step(line: &str) -> anyhow::Result<Next> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    match verb {
        "write" | "append" => {
            let (path, text) = rest.split_once(' ').context("give a path and a text")?;
            let directory = std::env::current_dir()?;
            edit(&directory, Path::new(path), text, verb == "append")?;
        }
        "commit" => {
            git(&["add", "--all"]).await?;
            git(&["commit", "--quiet", "--message", rest]).await?;
        }
        "push" => {
            let name = if rest.starts_with("refs/") { rest } else { &format!("refs/heads/{rest}") };
            git(&["push", "--quiet", "origin", &format!("HEAD:{name}")]).await?;
        }
        "usage" => {
            let numbers: Vec<f64> = rest.split(' ').map(str::parse).collect::<Result<_, _>>()?;
            let [input, output, dollars] = numbers[..] else { bail!("give three numbers") };
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a demonstration's tokens")]
            let tokens = (input as u64, output as u64);
            print(
                &json!({ "type": "usage", "input_tokens": tokens.0, "output_tokens": tokens.1, "cost_dollars": dollars }),
            );
        }
        "stall" => tokio::time::sleep(Duration::from_secs_f64(rest.parse()?)).await,
        "linger" => return Ok(Next::Linger(Duration::try_from_secs_f64(rest.parse()?)?)),
        "ask" => return Ok(Next::Ask(rest.to_owned())),
        "fail" => return Ok(Next::Fail(rest.to_owned())),
        "crash" => return Ok(Next::Crash(rest.parse()?)),
        _ => print(&json!({ "type": "say", "text": line })),
    }
    Ok(Next::Line)
}

/// Writes below a directory, and through no link that may lead out of it.
fn edit(directory: &Path, path: &Path, text: &str, append: bool) -> anyhow::Result<()> {
    let is_below = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let place = directory.join(path);
    ensure!(
        is_below && volume::stays_inside(directory, &place) && !place.is_symlink(),
        "{} may lie outside of the workspace; name a path inside of it, without `..` and links",
        path.display()
    );
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut options = fs::OpenOptions::new();
    let mut file = options.create(true).append(append).write(true).truncate(!append).open(place)?;
    Ok(writeln!(file, "{text}")?)
}

async fn git(arguments: &[&str]) -> anyhow::Result<()> {
    let who = ["-c", "user.name=mock", "-c", "user.email=mock@localhost"];
    let output = kit::process::command("git").args(who).args(arguments).output().await?;
    // What there is nothing to do for is said as a result.
    let said = [&*output.stderr, &output.stdout].map(String::from_utf8_lossy).concat();
    ensure!(output.status.success(), "git {}: {}", arguments[0], said.trim());
    Ok(())
}

/// Nobody reads on when the pipe is closed; then it is over anyway.
fn print(line: &Value) {
    drop(writeln!(io::stdout(), "{line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_that_to_the_last_question() {
        let left = "say {answer} and {answer}\nask Or {answer}?\nfin {answer}\n";
        let first = answered(left, "blue");
        assert_eq!(first, "say blue and blue\nask Or blue?\nfin {answer}\n");
        assert_eq!(answered("fin {answer}\n", "green"), "fin green\n");
    }

    #[test]
    fn nothing_is_written_outside_of_the_workspace() {
        let (root, outside) = (tempfile::tempdir().expect("makes"), tempfile::tempdir().expect("makes"));
        let elsewhere = outside.path().join("x");
        std::os::unix::fs::symlink(outside.path(), root.path().join("out")).expect("links");
        std::os::unix::fs::symlink(&elsewhere, root.path().join("dangling")).expect("links");
        let absolute = elsewhere.to_string_lossy().into_owned();
        for path in [&absolute, "../x", "a/../../x", "out/x", "out/new/x", "dangling", ""] {
            let refused = edit(root.path(), Path::new(path), "x", false).expect_err(path).to_string();
            assert!(path.is_empty() || refused.contains("outside of the workspace"), "{path}: {refused}");
        }
        assert_eq!(fs::read_dir(outside.path()).expect("reads").count(), 0);
        for path in ["a", "./b/c", "b/d"] {
            edit(root.path(), Path::new(path), "x", true).expect(path);
            assert_eq!(fs::read_to_string(root.path().join(path)).expect(path), "x\n");
        }
    }
}
