//! Every command of docs/events.md runs as it stands there.

use kit::process::{Sig, signal_group};
use tempfile::TempDir;

use crate::program::{DEADLINE, event, key, start};
use crate::{call, ended, in_directory, save_head};

const PAGE: &str = include_str!("../../../docs/events.md");

/// The lines of all blocks marked `sh`.
fn commands() -> Vec<&'static str> {
    let blocks = PAGE.split("```sh\n").skip(1);
    blocks.flat_map(|block| block.split("```").next().expect("the first piece").lines()).collect()
}

#[tokio::test]
async fn every_command_of_the_page_about_the_log_runs_as_it_stands() {
    let home = TempDir::new().expect("a directory");
    let data = home.path().join("data");
    let (mut child, store) = start(&data).await;
    store.append(&(0..50).map(event).collect::<Vec<_>>()).await.expect("stores");
    let mut is_serving = true;
    for line in commands() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            // What the store answers to the other program.
            ["bifrost", "events", "head", "--save", file] => {
                let head = call(&data, &["verify", "--quick", "--json"]).await.json()["head"].clone();
                save_head(home.path().join(file).to_str().expect("is text"), &key(), &head);
                continue;
            }
            ["bifrost-events", "migrate", ..] if is_serving => {
                signal_group(child.id().expect("runs"), Sig::SIGTERM).expect("is told to stop");
                tokio::time::timeout(DEADLINE, child.wait()).await.expect("stops").expect("ends");
                is_serving = false;
            }
            ["bifrost-events", ..] => (),
            _ => panic!("nobody runs this line of the page: {line}"),
        }
        let ended = ended(in_directory(home.path(), &words[1..])).await;
        assert_eq!(ended.code, Some(0), "{line}: {ended:?}");
    }
    assert!(!is_serving, "the page says how to go back");
    assert!(home.path().join("failed.csv").exists());
}
