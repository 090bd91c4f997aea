//! The proxy is the only way out (rows FLY-022, C-15), among hosts made of network
//! namespaces: the runner's has one wire, to the proxy's, which forwards nothing.

use std::panic::AssertUnwindSafe;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use futures_util::FutureExt;
use kit::hosts::Hosts;
use kit::process::command;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use uuid::Uuid;
use wire::grant::{Grant, GrantKey};
use wire::signature::Key;

const PATIENCE: Duration = Duration::from_secs(20);
/// Of the kind that is given out on the internet, so that the proxy takes it for public.
const OUTSIDE: &str = "198.51.101.7";
const PROXY: &str = "10.9.8.1";

/// Whether the runner's host gets an answer straight from there.
async fn reaches(hosts: &Hosts, address: &'static str) -> bool {
    let connect =
        move || async move { matches!(timeout(Duration::from_secs(3), TcpStream::connect(address)).await, Ok(Ok(_))) };
    hosts.on("runner", connect).await
}

/// What the proxy answers to the runner's host.
async fn ask(hosts: &Hosts, target: &'static str, credential: String) -> String {
    let ask = move || async move {
        let mut stream = TcpStream::connect((PROXY, 3128)).await.expect("the proxy is there");
        let head = format!("CONNECT {target} HTTP/1.1\r\nProxy-Authorization: Basic {credential}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("written");
        stream.shutdown().await.expect("shut");
        let mut answer = String::new();
        timeout(PATIENCE, stream.read_to_string(&mut answer)).await.expect("in time").expect("an answer");
        answer
    };
    hosts.on("runner", ask).await
}

/// Whether the proxy's host passes on what is not for it.
async fn forward(hosts: &Hosts, word: &'static str) {
    let set = move || async move { std::fs::write("/proc/sys/net/ipv4/ip_forward", word).expect("root may") };
    hosts.on("proxy", set).await;
}

/// A host on the internet that says hello to the two who come.
async fn greet(hosts: &Hosts) -> std::thread::JoinHandle<()> {
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let namespace = hosts.name("outside").to_owned();
    let greeter = std::thread::spawn(move || {
        kit::hosts::enter(&namespace);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("starts");
        runtime.block_on(async {
            let listener = TcpListener::bind((OUTSIDE, 443)).await.expect("binds");
            ready.send(()).expect("the test waits");
            for _ in 0..2 {
                let accepted = timeout(PATIENCE, listener.accept()).await.expect("somebody comes");
                let (mut stream, _) = accepted.expect("accepted");
                stream.write_all(b"hello from outside").await.ok();
            }
        });
    });
    is_ready.await.expect("listens");
    greeter
}

async fn only_through_the_proxy(hosts: &Hosts) {
    let spool = tempfile::tempdir().expect("a directory");
    let allow = spool.path().join("allow.toml");
    let rules = format!("[[group]]\nname = \"test\"\nhosts = [\"{OUTSIDE}\"]\n");
    std::fs::write(&allow, rules).expect("written");
    let key = Key::from_bytes([1; 32]);
    let mut proxy = command("ip")
        .args(["netns", "exec", hosts.name("proxy"), env!("CARGO_BIN_EXE_bifrost-egress")])
        .args(["--listen", &format!("{PROXY}:3128"), "--allow"])
        .arg(&allow)
        .arg("--spool")
        .arg(spool.path().join("spool"))
        .env("FLY_EVENT_SECRET", key.reveal())
        .env("BIFROST_EVENTS_URL", "http://127.0.0.1:9")
        .env("BIFROST_LOG", "info")
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut lines = BufReader::new(proxy.stderr.take().expect("piped")).lines();
    timeout(PATIENCE, async {
        while !lines.next_line().await.expect("readable").expect("it says that it serves").contains("serves") {}
    })
    .await
    .expect("in time");

    let greeter = greet(hosts).await;
    forward(hosts, "1").await;
    assert!(reaches(hosts, "198.51.101.7:443").await, "there would be a way");
    forward(hosts, "0").await;
    assert!(!reaches(hosts, "198.51.101.7:443").await, "there is no way but the proxy");
    let [machine, task, execution] = [1, 2, 3].map(Uuid::from_u128);
    let grant = Grant { machine: machine.into(), task: task.into(), execution: execution.into() };
    let grant = GrantKey::of(&key).issue(&grant);
    let credential = base64::engine::general_purpose::STANDARD.encode(format!("bifrost:{grant}"));
    let answer = ask(hosts, "198.51.101.7:443", credential.clone()).await;
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("hello from outside"), "{answer}");
    greeter.join().expect("it greeted");
    for target in ["198.51.101.8:443", "198.51.101.7:22", "10.9.8.1:3128", "169.254.169.254:80"] {
        let answer = ask(hosts, target, credential.clone()).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{target}: {answer}");
    }
    // What happened waits for the event store, which is away.
    let told = std::fs::read_dir(spool.path().join("spool"))
        .expect("readable")
        .map(|entry| std::fs::read_to_string(entry.expect("readable").path()).unwrap_or_default());
    let told: String = told.collect();
    assert!(told.contains("\"verdict\":\"allowed\"") && told.contains("\"verdict\":\"not_listed\""), "{told}");
    kit::process::signal_group(proxy.id().expect("runs"), kit::process::Sig::SIGTERM).expect("signalled");
    assert!(timeout(PATIENCE, proxy.wait()).await.expect("in time").expect("ends").success());
}

#[tokio::test]
async fn network_namespaces_a_runner_reaches_the_outside_through_the_proxy_and_by_no_other_way() {
    if let Some(obstacle) = Hosts::obstacle().await {
        eprintln!("skipped: {obstacle}");
        return;
    }
    let hosts = Hosts::make(&["runner", "proxy", "outside"]).await;
    hosts.wire(("proxy", "inner", "10.9.8.1/24"), ("runner", "wire", "10.9.8.2/24")).await;
    hosts.wire(("proxy", "outer", "198.51.101.1/24"), ("outside", "wire", "198.51.101.7/24")).await;
    // The runner may try: everything goes to the proxy's host, which forwards nothing.
    hosts.ip("runner", &["route", "add", "default", "via", PROXY]).await;
    hosts.ip("outside", &["route", "add", "10.9.8.0/24", "via", "198.51.101.1"]).await;
    let outcome = AssertUnwindSafe(only_through_the_proxy(&hosts)).catch_unwind().await;
    hosts.remove().await;
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}
