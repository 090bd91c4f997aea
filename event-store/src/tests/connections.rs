//! Clients that misbehave on the wire: they are let go of, and everybody else is
//! served meanwhile.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use wire::event::Event;
use wire::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP};

use super::world::{DEADLINE, Place, World, event, key, now, over_both_engines};
use crate::serve::Limits;

over_both_engines! {
    a_half_closed_connection_is_closed_and_its_event_is_stored_once,
    a_stop_answers_what_was_accepted_and_ends_followers,
}

/// Short enough not to be waited for, long enough for an honest request.
const SOON: Duration = Duration::from_secs(1);

async fn connect(world: &World) -> TcpStream {
    TcpStream::connect(world.address).await.expect("connects")
}

/// A signed request as it is on the wire.
fn request(method: &str, target: &str, more: &str, body: &str) -> String {
    let content = if method == "POST" { body } else { target };
    let (id, time) = (format!("{method} {target}"), now().timestamp());
    let signature = key().sign(&id, time, content.as_bytes());
    format!(
        "{method} {target} HTTP/1.1\r\nhost: events\r\n{HEADER_ID}: {id}\r\n{HEADER_TIMESTAMP}: {time}\r\n\
         {HEADER_SIGNATURE}: {signature}\r\ncontent-length: {}\r\n{more}\r\n{body}",
        body.len()
    )
}

fn body(number: u64) -> String {
    serde_json::to_string(&event(number)).expect("an event is JSON")
}

/// What comes until the connection is closed, well or not.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset is a close as well.
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes)).await.expect("is closed").ok();
    String::from_utf8(bytes).expect("is text")
}

/// Waits until the connection has answered, and says how.
async fn status_line(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n") {
        let byte = tokio::time::timeout(DEADLINE, stream.read_u8()).await.expect("answers");
        bytes.push(byte.expect("is open"));
    }
    String::from_utf8(bytes).expect("is text")
}

/// Sends one byte each time that another client was served, until the connection is closed.
/// Gives what came back.
async fn drip(world: &World, mut stream: TcpStream, bytes: impl Iterator<Item = u8>) -> String {
    let mut answer = vec![0; 4_096];
    for (number, byte) in (0..).zip(bytes) {
        world.store.append(&[event(number)]).await.expect("others are served");
        let sent = stream.write_all(&[byte]).await;
        match (sent, stream.try_read(&mut answer)) {
            (Ok(()), Err(error)) if error.kind() == std::io::ErrorKind::WouldBlock => (),
            (_, Ok(length)) if length > 0 => {
                answer.truncate(length);
                return String::from_utf8(answer).expect("is text") + &rest(&mut stream).await;
            }
            _ => return String::new(),
        }
    }
    panic!("every byte was taken");
}

#[tokio::test]
async fn a_head_that_comes_byte_by_byte_is_cut_off_while_others_are_served() {
    let place = Place::sqlite();
    let world = World::start_within(&place, Limits { patience: SOON, ..Limits::default() }).await;
    let head = b"GET /health HTTP/1.1\r\nhost: events\r\nfiller: ".iter().copied().chain(std::iter::repeat(b'x'));
    let answer = drip(&world, connect(&world).await, head).await;
    assert_eq!(answer, "", "cut off, and not for its size");
    world.stop().await;
}

#[tokio::test]
async fn a_body_that_comes_byte_by_byte_is_refused_while_others_are_served() {
    let place = Place::sqlite();
    let world = World::start_within(&place, Limits { body: SOON, ..Limits::default() }).await;
    let mut stream = connect(&world).await;
    let head = "POST /v1/events HTTP/1.1\r\nhost: events\r\ncontent-length: 1000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("is sent");
    let answer = drip(&world, stream, std::iter::repeat(b' ')).await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("too_slow"), "{answer}");
    world.stop().await;
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_before_and_after_a_request() {
    let place = Place::sqlite();
    let world = World::start_within(&place, Limits { patience: SOON, ..Limits::default() }).await;
    assert_eq!(rest(&mut connect(&world).await).await, "");
    let mut stream = connect(&world).await;
    stream.write_all(request("GET", "/health", "", "").as_bytes()).await.expect("is sent");
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200 "));
    world.stop().await;
}

#[tokio::test]
async fn past_the_bound_a_connection_is_reset_and_room_is_given_again() {
    let place = Place::sqlite();
    let world = World::start_within(&place, Limits { connections: 2, ..Limits::default() }).await;
    let mut inside = [connect(&world).await, connect(&world).await];
    for stream in &mut inside {
        stream.write_all(request("GET", "/health", "", "").as_bytes()).await.expect("is sent");
        assert_eq!(status_line(stream).await, "HTTP/1.1 200 OK\r\n");
    }
    assert_eq!(rest(&mut connect(&world).await).await, "");
    let refused = world.store.append(&[event(1)]).await.expect_err("no room");
    assert!(refused.is_transient(), "{refused}");
    drop(inside);
    let comes_in = async { while world.store.append(&[event(1)]).await.is_err() {} };
    tokio::time::timeout(DEADLINE, comes_in).await.expect("there is room");
    world.stop().await;
}

async fn a_half_closed_connection_is_closed_and_its_event_is_stored_once(place: Place) {
    let world = World::start(&place).await;
    let whole = request("POST", "/v1/events", "", &body(1));
    for part in [&whole[..30], &whole[..whole.len() - 5], &whole] {
        let mut stream = connect(&world).await;
        stream.write_all(part.as_bytes()).await.expect("is sent");
        stream.shutdown().await.expect("half is closed");
        let answer = rest(&mut stream).await;
        assert!(part == whole || !answer.contains("201"), "{answer}");
    }
    world.store.append(&[event(1), event(2)]).await.expect("stores");
    assert_eq!(world.stored().await, [1, 2]);
    world.stop().await;
}

#[tokio::test]
async fn a_follower_that_never_reads_holds_up_nobody_and_is_let_go_of() {
    let place = Place::sqlite();
    let world = World::start_within(&place, Limits { unread: SOON, ..Limits::default() }).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("is small");
    let mut deaf = socket.connect(world.address).await.expect("connects");
    let follow = request("GET", "/v1/events", "accept: text/event-stream\r\n", "");
    deaf.write_all(follow.as_bytes()).await.expect("is sent");
    assert_eq!(status_line(&mut deaf).await, "HTTP/1.1 200 OK\r\n");
    let large = serde_json::value::to_raw_value(&"x".repeat(100_000)).expect("a string is JSON");
    let writes = async {
        let mut number = 0;
        while is_open(&world, &deaf) {
            let event = Event { payload: large.clone(), ..event(number) };
            world.store.append(&[event]).await.expect("the writer goes on");
            number += 1;
        }
    };
    tokio::time::timeout(DEADLINE, writes).await.expect("is let go of");
    world.stop().await;
}

/// Whether the store's end of the connection still stands, as the kernel sees it.
fn is_open(world: &World, client: &TcpStream) -> bool {
    const ESTABLISHED: &str = "01";
    let ends = [world.address, client.local_addr().expect("has one")].map(|end| format!(":{:04X}", end.port()));
    let table = std::fs::read_to_string("/proc/self/net/tcp").expect("is Linux");
    table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .any(|columns| columns[1].ends_with(&ends[0]) && columns[2].ends_with(&ends[1]) && columns[3] == ESTABLISHED)
}

async fn a_stop_answers_what_was_accepted_and_ends_followers(place: Place) {
    let world = World::start(&place).await;
    let mut follower = world.store.follow(None, 0).await.expect("follows");
    // Silent, but open: it must not hold up the stop.
    let mut silent = connect(&world).await;
    let writers = (0..32).map(|writer| {
        let store = world.store.clone();
        async move {
            let mut acknowledged = Vec::new();
            for number in (0..).map(|round| round * 32 + writer) {
                match store.append(&[event(number)]).await {
                    Ok(_) => acknowledged.push(number),
                    Err(error) => {
                        assert!(error.is_transient(), "{error}");
                        break;
                    }
                }
            }
            acknowledged
        }
    });
    let follower_ends = async {
        let mut heard = 0;
        while let Some(_message) = follower.next().await {
            heard += 1;
            if heard == 1 {
                world.tasks.stop();
            }
        }
        heard
    };
    let (acknowledged, heard) = tokio::join!(join_all(writers), follower_ends);
    assert!(heard > 0);
    assert_eq!(rest(&mut silent).await, "");
    world.stop().await;
    let world = World::start(&place).await;
    let page = world.store.feed(0, 10_000).await.expect("reads");
    assert!(page.events.iter().map(|event| event.seq).eq(1..=page.events.len() as u64));
    let stored = world.stored().await;
    let lost: Vec<u64> = acknowledged.into_iter().flatten().filter(|number| !stored.contains(number)).collect();
    assert_eq!(lost, Vec::<u64>::new());
    world.stop().await;
}
