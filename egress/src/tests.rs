//! The proxy over real connections: who gets where, and what the record says of it.

use std::collections::VecDeque;
use std::io;

use base64::Engine as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use uuid::Uuid;
use wire::egress::Pass;
use wire::grant::Grant;
use wire::signature::Key;
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, Request, ResponseTemplate};

use super::*;

/// Nothing here takes long; this is for a computer that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(20);

fn key() -> Key {
    Key::from_bytes([1; 32])
}

fn grant() -> Grant {
    let [machine, task, execution] = [1, 2, 3].map(Uuid::from_u128);
    Grant { machine: machine.into(), task: task.into(), execution: execution.into() }
}

/// A proxy, and an event store that keeps what it is sent.
struct World {
    proxy: SocketAddr,
    tasks: Tasks,
    events: mpsc::UnboundedReceiver<Value>,
    waiting: VecDeque<Value>,
    rules: watch::Sender<Rules>,
    _store: MockServer,
    _spool: tempfile::TempDir,
}

impl World {
    /// Nothing is open here for so long that it would be told of before its end.
    async fn start(
        rules: &str,
        connections: usize,
        is_open: bool,
        door: Option<SocketAddr>,
    ) -> (Self, Option<SocketAddr>) {
        Self::telling_after(Duration::MAX, rules, connections, is_open, door).await
    }

    async fn telling_after(
        open_told_after: Duration,
        rules: &str,
        connections: usize,
        is_open: bool,
        door: Option<SocketAddr>,
    ) -> (Self, Option<SocketAddr>) {
        let store = MockServer::start().await;
        let (seen, events) = mpsc::unbounded_channel();
        let answer = move |request: &Request| {
            drop(seen.send(request.body_json::<Value>().expect("JSON")));
            ResponseTemplate::new(201).set_body_json(json!({ "events": [] }))
        };
        Mock::given(path("/v1/events")).respond_with(answer).mount(&store).await;
        Mock::given(path("/health")).respond_with(ResponseTemplate::new(200)).mount(&store).await;
        let (spool, tasks) = (tempfile::tempdir().expect("a directory"), Tasks::new());
        let (clock, chance) = (Clock::system(), Chance::system());
        let sender = program::sender(spool.path(), &store.uri(), key(), (&clock, &chance), &tasks).expect("opens");
        let (rules, seen) = watch::channel(Rules::parse(rules).expect("rules"));
        let config = Config { rules: seen, grants: vec![GrantKey::of(&key())], is_open, connections, open_told_after };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let proxy = listener.local_addr().expect("bound");
        let mut doors = Vec::new();
        let mut door_at = None;
        if let Some(to) = door {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            door_at = listener.local_addr().ok();
            doors.push((listener, format!("127.0.0.1:0={to}").parse().expect("a door")));
        }
        start(config, listener, doors, sender, (clock, chance), &tasks);
        let waiting = VecDeque::new();
        (Self { proxy, tasks, events, waiting, rules, _store: store, _spool: spool }, door_at)
    }

    /// The next event, as the store got it.
    async fn event(&mut self) -> Value {
        while self.waiting.is_empty() {
            let body = timeout(PATIENCE, self.events.recv()).await.expect("in time").expect("an event");
            let events = body["events"].as_array().cloned().unwrap_or_else(|| vec![body]);
            self.waiting.extend(events);
        }
        self.waiting.pop_front().expect("one")
    }

    async fn connect(&self, head: &str) -> Client {
        let mut stream = TcpStream::connect(self.proxy).await.expect("listens");
        stream.write_all(head.as_bytes()).await.expect("written");
        Client(stream)
    }

    /// With the grant of an execution.
    async fn tunnel(&self, to: &str) -> Client {
        self.tunnel_with(to, &GrantKey::of(&key()).issue(&grant())).await
    }

    async fn tunnel_with(&self, to: &str, password: &str) -> Client {
        let basic = base64::engine::general_purpose::STANDARD.encode(format!("bifrost:{password}"));
        self.connect(&format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\nProxy-Authorization: Basic {basic}\r\n\r\n"))
            .await
    }
}

struct Client(TcpStream);

impl Client {
    /// Up to the end of an answer's head.
    async fn head(&mut self) -> String {
        let mut head = Vec::new();
        let read = async {
            while !head.ends_with(b"\r\n\r\n") {
                head.push(self.0.read_u8().await?);
            }
            io::Result::Ok(())
        };
        timeout(PATIENCE, read).await.expect("in time").expect("an answer");
        String::from_utf8(head).expect("text")
    }

    async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        timeout(PATIENCE, self.0.read_to_end(&mut rest)).await.expect("in time").ok();
        String::from_utf8(rest).expect("text")
    }
}

/// A host that answers each connection with what came until it was shut, turned round.
async fn host(tasks: &Tasks) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let own = tasks.clone();
    tasks.spawn_until_stopped("host", async move {
        loop {
            let Some((mut stream, _)) = accepted(&listener).await else { continue };
            own.spawn_until_stopped("answer", async move {
                let mut bytes = Vec::new();
                drop(stream.read_to_end(&mut bytes).await);
                bytes.reverse();
                drop(stream.write_all(&bytes).await);
            });
        }
    });
    address
}

fn allow(entry: &str, more: &str) -> String {
    format!("[[group]]\nname = \"test\"\nhosts = [{entry:?}]\n{more}\n")
}

#[tokio::test]
async fn a_tunnel_carries_every_byte_and_the_record_says_for_whom_where_to_and_how_many() {
    let tasks = Tasks::new();
    let host = host(&tasks).await;
    let (mut world, _) = World::start(&allow(&host.to_string(), "private = true"), 8, false, None).await;
    let mut client = world.tunnel(&host.to_string()).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    client.0.write_all(b"hello").await.expect("written");
    client.0.shutdown().await.expect("shut");
    assert_eq!(client.rest().await, "olleh");
    let event = world.event().await;
    assert_eq!((&event["type"], &event["producer"]), (&json!("egress.request"), &json!("egress")));
    assert_eq!(event["task_id"], json!(grant().task));
    assert_eq!(event["execution_id"], json!(grant().execution));
    let mut payload = event["payload"].clone();
    payload.as_object_mut().expect("an object").remove("micros").expect("there");
    let expected = json!({
        "method": "CONNECT", "host": "127.0.0.1", "port": host.port(), "verdict": "allowed", "rule": "test",
        "bytes_sent": 5, "bytes_received": 5,
    });
    assert_eq!(payload, expected);
    world.tasks.stop_within(STOP).await.expect("stops");
    tasks.stop();
}

#[tokio::test]
async fn a_tunnel_that_stays_open_is_on_the_record_before_it_ends() {
    let tasks = Tasks::new();
    let host = host(&tasks).await;
    let rules = allow(&host.to_string(), "private = true");
    let (mut world, _) = World::telling_after(Duration::from_millis(1), &rules, 8, false, None).await;
    let mut client = world.tunnel(&host.to_string()).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    let payload = world.event().await["payload"].clone();
    assert_eq!((&payload["verdict"], &payload["is_open"]), (&json!("allowed"), &json!(true)));
    client.0.write_all(b"hello").await.expect("written");
    client.0.shutdown().await.expect("shut");
    assert_eq!(client.rest().await, "olleh");
    let payload = world.event().await["payload"].clone();
    assert_eq!((&payload["is_open"], &payload["bytes_sent"]), (&Value::Null, &json!(5)));
    world.tasks.stop_within(STOP).await.expect("stops");
    tasks.stop();
}

#[tokio::test]
async fn a_plain_request_is_sent_on_and_its_path_is_told_to_nobody() {
    let tasks = Tasks::new();
    let host = host(&tasks).await;
    let (mut world, _) = World::start(&allow(&host.to_string(), "private = true"), 8, true, None).await;
    let mut client = world.connect(&format!("GET http://{host}/secret?key=hunter2 HTTP/1.1\r\nHost: x\r\n\r\n")).await;
    client.0.shutdown().await.expect("shut");
    let got: String = client.rest().await.chars().rev().collect();
    assert_eq!(got, format!("GET /secret?key=hunter2 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
    let event = world.event().await;
    assert_eq!((&event["task_id"], &event["payload"]["method"]), (&Value::Null, &json!("GET")));
    assert!(!event.to_string().contains("hunter2") && !event.to_string().contains("secret"));
    world.tasks.stop_within(STOP).await.expect("stops");
    tasks.stop();
}

#[tokio::test]
async fn a_task_reaches_the_hosts_that_its_pass_names_and_none_with_a_private_address() {
    let tasks = Tasks::new();
    let host = host(&tasks).await;
    let (mut world, _) = World::start(&allow("listed.example.org", ""), 8, false, None).await;
    let hosts = [host.to_string(), "nowhere.invalid".to_owned()].map(|host| host.parse().expect("a host")).to_vec();
    let pass = GrantKey::of(&key()).issue_pass(&Pass { grant: grant(), hosts });
    for (to, verdict, rule) in [
        (host.to_string(), "private_address", json!("of the task")),
        ("nowhere.invalid:443".to_owned(), "unresolved", json!("of the task")),
        ("nowhere.invalid:80".to_owned(), "not_listed", Value::Null),
    ] {
        world.tunnel_with(&to, &pass).await.head().await;
        let event = world.event().await;
        assert_eq!((&event["payload"]["verdict"], &event["payload"]["rule"]), (&json!(verdict), &rule), "{to}");
        assert_eq!(event["execution_id"], json!(grant().execution));
    }
    world.tasks.stop_within(STOP).await.expect("stops");
    tasks.stop();
}

#[tokio::test]
async fn whatever_no_rule_names_is_refused_and_on_the_record() {
    let tasks = Tasks::new();
    let host = host(&tasks).await;
    let port = host.port();
    let metadata = allow("169.254.169.254:80", "private = true");
    let rules = [allow(&format!("localhost:{port}"), ""), metadata, allow("nowhere.invalid", "")].concat();
    let (mut world, _) = World::start(&rules, 8, false, None).await;
    for (to, status, verdict) in [
        (host.to_string(), "403 ", "not_listed"),
        ("localhost:1".to_owned(), "403 ", "not_listed"),
        (format!("localhost:{port}"), "403 ", "private_address"),
        ("169.254.169.254:80".to_owned(), "403 ", "private_address"),
        ("nowhere.invalid:443".to_owned(), "502 ", "unresolved"),
    ] {
        let mut client = world.tunnel(&to).await;
        let head = client.head().await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status}")), "{to}: {head}");
        assert!(client.rest().await.contains(&to));
        let payload = world.event().await["payload"].clone();
        assert_eq!((&payload["verdict"], &payload["bytes_sent"]), (&json!(verdict), &json!(0)), "{to}");
    }
    world.tasks.stop_within(STOP).await.expect("stops");
    tasks.stop();
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_told_of_as_that() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    let (mut world, _) = World::start(&allow(&closed.to_string(), "private = true"), 8, false, None).await;
    let mut client = world.tunnel(&closed.to_string()).await;
    assert!(client.head().await.starts_with("HTTP/1.1 504 "));
    assert_eq!(world.event().await["payload"]["verdict"], json!("unreachable"));
    world.tasks.stop_within(STOP).await.expect("stops");
}

#[tokio::test]
async fn who_shows_no_grant_gets_nowhere() {
    let tasks = Tasks::new();
    let host = host(&tasks).await;
    let (mut world, _) = World::start(&allow(&host.to_string(), "private = true"), 8, false, None).await;
    for credential in ["", "Proxy-Authorization: Basic YTpi\r\n"] {
        let mut client = world.connect(&format!("CONNECT {host} HTTP/1.1\r\n{credential}\r\n")).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 407 ") && head.contains("Proxy-Authenticate: Basic"), "{head}");
    }
    let mut client = world.connect("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 400 "));
    // Clients ask without one first, so that is not worth a record: the next event is the next tunnel's.
    let mut client = world.tunnel("example.org:443").await;
    client.head().await;
    assert_eq!(world.event().await["payload"]["host"], json!("example.org"));
    world.tasks.stop_within(STOP).await.expect("stops");
    tasks.stop();
}

#[tokio::test]
async fn a_rule_can_be_one_tasks_own_and_a_new_list_counts_at_once() {
    let tasks = Tasks::new();
    let host = host(&tasks).await;
    let of = |task: Uuid| allow(&host.to_string(), &format!("private = true\ntasks = [\"{task}\"]"));
    let (world, _) = World::start(&of(Uuid::from_u128(9)), 8, false, None).await;
    assert!(world.tunnel(&host.to_string()).await.head().await.starts_with("HTTP/1.1 403 "));
    world.rules.send_replace(Rules::parse(&of(grant().task.uuid())).expect("rules"));
    assert!(world.tunnel(&host.to_string()).await.head().await.starts_with("HTTP/1.1 200 "));
    world.tasks.stop_within(STOP).await.expect("stops");
    tasks.stop();
}

#[tokio::test]
async fn connections_beyond_the_bound_are_turned_away_and_a_stop_ends_and_tells_of_the_rest() {
    let tasks = Tasks::new();
    let host = host(&tasks).await;
    let (mut world, _) = World::start(&allow(&host.to_string(), "private = true"), 1, false, None).await;
    let mut open = world.tunnel(&host.to_string()).await;
    assert!(open.head().await.starts_with("HTTP/1.1 200 "));
    open.0.write_all(b"abc").await.expect("written");
    let mut second = world.tunnel(&host.to_string()).await;
    let head = second.head().await;
    assert!(head.starts_with("HTTP/1.1 503 ") && head.contains("Retry-After"), "{head}");
    drop((open, second));
    assert_eq!(world.event().await["payload"]["verdict"], json!("allowed"));
    let mut third = world.tunnel(&host.to_string()).await;
    assert!(third.head().await.starts_with("HTTP/1.1 200 "));
    world.tasks.stop_within(STOP).await.expect("stops, though a tunnel is open");
    assert_eq!(third.rest().await, "");
    tasks.stop();
}

#[tokio::test]
async fn a_door_leads_to_its_place_and_nowhere_else() {
    let tasks = Tasks::new();
    let host = host(&tasks).await;
    let (world, door) = World::start("", 8, false, Some(host)).await;
    let mut client = Client(TcpStream::connect(door.expect("a door")).await.expect("listens"));
    client.0.write_all(b"CONNECT example.org:443").await.expect("written");
    client.0.shutdown().await.expect("shut");
    assert_eq!(client.rest().await, "344:gro.elpmaxe TCENNOC");
    world.tasks.stop_within(STOP).await.expect("stops");
    tasks.stop();
}

#[test]
fn a_door_names_both_of_its_sides() {
    let door: Door = "[::]:7600=bifrost-control.internal:7600".parse().expect("a door");
    assert_eq!((door.listen.as_str(), door.to.as_str()), ("[::]:7600", "bifrost-control.internal:7600"));
    for text in ["", "a=b", "1.2.3.4:1", "1.2.3.4:x=b:1", "1.2.3.4:1=b"] {
        let error = text.parse::<Door>().expect_err(text).to_string();
        assert!(error.contains("LISTEN=HOST:PORT"), "{error}");
    }
}

#[tokio::test]
async fn a_health_check_is_answered_without_a_grant_and_is_no_request_of_a_task() {
    let mut world = World::start("", 8, false, None).await.0;
    kit::health::ask(&world.proxy.to_string()).await.expect("is up");
    world.tunnel("unlisted.example.org:443").await.head().await;
    assert_eq!(world.event().await["payload"]["host"], "unlisted.example.org", "the first event is another's");
    let mut client = world.connect("GET /healthy HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(client.head().await.starts_with("HTTP/1.1 400 "));
}
