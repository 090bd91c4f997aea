//! For tests: what a program says of itself on standard error until it can be used.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr};

/// No program takes longer to say something unless it is broken.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a program says. While this is held, it can go on talking.
pub type Log = Lines<BufReader<ChildStderr>>;

/// What `find` finds in a line of what a program says, and the lines behind that one. Its standard error is piped.
pub async fn said<T>(child: &mut Child, find: impl Fn(&str) -> Option<T>) -> (T, Log) {
    let mut lines = BufReader::new(child.stderr.take().expect("is piped")).lines();
    loop {
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("says something");
        if let Some(found) = find(&line.expect("is text").expect("does not end")) {
            return (found, lines);
        }
    }
}

/// Where a program of ours says that it listens, also where it was left to the system to choose.
pub async fn address(child: &mut Child) -> String {
    let address = |line: &str| {
        let entry: serde_json::Value = serde_json::from_str(line).expect("logs are JSON");
        entry["fields"]["address"].as_str().map(str::to_owned)
    };
    said(child, address).await.0
}
