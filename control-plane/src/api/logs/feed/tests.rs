//! The feed against a store that is slow, and one that ends its streams.

use std::io;

use chrono::DateTime;
use client::events::Signer;
use futures_util::FutureExt;
use kit::{Chance, Clock};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use wire::signature::Key;

use super::*;

const LIMIT: Duration = Duration::from_secs(20);

async fn listener() -> (TcpListener, Feed) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let clock = Clock::manual(DateTime::UNIX_EPOCH);
    let signer = Signer { key: Key::from_bytes([1; 32]), key_id: None, clock, chance: Chance::seeded(1) };
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    (listener, Feed::new(EventStore::new(&url, signer), TaskId::mint(DateTime::UNIX_EPOCH, [1; 10])))
}

/// Answers one request with one message and ends the stream; gives the request's first line.
async fn answer(connection: TcpStream, data: &str) -> io::Result<String> {
    let mut connection = BufReader::new(connection);
    let mut first = String::new();
    connection.read_line(&mut first).await?;
    let mut line = String::new();
    while connection.read_line(&mut line).await? > 2 {
        line.clear();
    }
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    connection.get_mut().write_all(format!("{head}data: {data}\n\n").as_bytes()).await?;
    Ok(first)
}

async fn both<A, B>(server: impl Future<Output = A>, feed: impl Future<Output = B>) -> (A, B) {
    timeout(LIMIT, async { tokio::join!(server, feed) }).await.expect("in time")
}

#[tokio::test]
async fn a_stream_that_ends_is_asked_for_again_behind_the_last_event() {
    let (listener, mut feed) = listener().await;
    for (after, data) in [(3, "a"), (4, "b")] {
        let serve = async { answer(listener.accept().await?.0, data).await };
        let (asked, message) = both(serve, feed.next(after)).await;
        assert_eq!(message.data, data);
        let asked = asked.expect("is asked");
        assert!(asked.contains(&format!("after={after}&follow=true")), "{asked}");
    }
}

#[tokio::test]
async fn a_store_that_is_slow_to_answer_is_not_asked_anew_when_the_listener_is_woken_meanwhile() {
    let (listener, mut feed) = listener().await;
    let connection = timeout(LIMIT, async {
        tokio::select! {
            accepted = listener.accept() => accepted.expect("accepts").0,
            _ = feed.next(0) => unreachable!("nobody has answered"),
        }
    });
    let connection = connection.await.expect("in time");
    for _ in 0..100 {
        assert_eq!(feed.next(0).now_or_never(), None);
    }
    let (asked, message) = both(answer(connection, "a"), feed.next(0)).await;
    asked.expect("is asked on the first connection");
    assert_eq!(message.data, "a");
}
