//! The measurement of a store that runs already, against a real one: what it says,
//! what it leaves there, and what it says of a store that cannot be measured.

use std::path::Path;
use std::process::Output;

use event_store::Config;
use kit::{Chance, Clock, Tasks};
use wire::signature::{Key, SECRET_BYTES_MIN};

async fn measure(url: &str, secret: &str) -> Output {
    let mut bench = kit::process::command(Path::new(env!("CARGO_BIN_EXE_bifrost-bench")));
    bench.args(["--json", "events", "--url", url, "--rounds", "1", "--connections", "1,16"]);
    bench.args(["--seconds", "0.05", "--warm-up", "0.05"]).env("FLY_EVENT_SECRET", secret);
    bench.output().await.expect("runs")
}

#[tokio::test]
async fn a_store_that_runs_is_measured_and_keeps_every_event() {
    let data = tempfile::tempdir().expect("a directory");
    let key = Key::from_bytes(Chance::system().bytes::<SECRET_BYTES_MIN>());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let tasks = Tasks::new();
    let config = Config::new(data.path().to_owned(), key.clone());
    event_store::start(config, listener, Clock::system(), None, &tasks).await.expect("starts");

    // What others have written before stays theirs.
    for _ in 0..2 {
        let output = measure(&url, &key.reveal()).await;
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{stderr}");
        for case in ["single events, 1 connection", "single events, 16 connections", "batches of 100, 16 connections"] {
            assert!(stdout.contains(case), "{case} in {stdout}");
        }
    }
    let other = Key::from_bytes([7; SECRET_BYTES_MIN]);
    let refused = measure(&url, &other.reveal()).await;
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && stderr.contains("is FLY_EVENT_SECRET the store's?"), "{stderr}");
    assert!(!stderr.contains(&other.reveal()), "a secret is told");
    let public = measure("https://events.example.org", &key.reveal()).await;
    let stderr = String::from_utf8_lossy(&public.stderr);
    assert!(!public.status.success() && stderr.contains("a store on a private network"), "{stderr}");
    tasks.stop_within(std::time::Duration::from_secs(10)).await.expect("ends");
}
