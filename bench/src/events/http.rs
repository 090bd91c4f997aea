//! HTTP/1.1 as the load generator speaks it with our store: whole requests,
//! signed in advance, and as little of an answer as can be read.

use kit::Clock;
use serde::Serialize;
use wire::event::Event;
use wire::signature::{HEADER_ID, HEADER_SIGNATURE, HEADER_TIMESTAMP, Key};

use super::load::{Answer, Protocol};
use super::records::{Record, Source};

/// How our store speaks, and whom it takes us for: an operator.
pub(crate) struct Http {
    pub(crate) key: Key,
    pub(crate) clock: Clock,
}

impl Protocol for Http {
    fn greet(&self, _: &mut std::net::TcpStream, _: usize) -> anyhow::Result<()> {
        Ok(())
    }

    fn request(&self, source: &Source, records: &[Record]) -> Vec<u8> {
        #[derive(Serialize)]
        struct Batch {
            events: Vec<Event>,
        }
        let body = match records {
            [one] => serde_json::to_vec(&source.event(*one)),
            many => serde_json::to_vec(&Batch { events: many.iter().map(|record| source.event(*record)).collect() }),
        };
        let body = body.expect("events are plain data");
        let id = records.first().map(|record| record.id.to_string()).unwrap_or_default();
        let rest = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        let mut request = self.head("POST", "/v1/events", &id, &body, &rest);
        request.extend_from_slice(&body);
        request
    }

    fn answer(&self, received: &[u8]) -> Answer {
        let Some(end) = received.windows(4).position(|four| four == b"\r\n\r\n") else { return Answer::Partial };
        let (head, body) = (&received[..end], &received[end + 4..]);
        let Some(length) = content_length(head) else { return Answer::Refused("an answer without a length".into()) };
        if body.len() < length {
            return Answer::Partial;
        }
        match head.get(9..12) {
            Some(b"200" | b"201") => Answer::Accepted,
            _ => Answer::Refused(String::from_utf8_lossy(received).into_owned()),
        }
    }
}

impl Http {
    /// One request to read the target; its id must be new.
    pub(crate) fn read(&self, target: &str, id: &str) -> Vec<u8> {
        self.head("GET", target, id, target.as_bytes(), "")
    }

    fn head(&self, method: &str, target: &str, id: &str, signed: &[u8], rest: &str) -> Vec<u8> {
        let now = self.clock.now().timestamp();
        let signature = self.key.sign(id, now, signed);
        let signed = format!("{HEADER_ID}: {id}\r\n{HEADER_TIMESTAMP}: {now}\r\n{HEADER_SIGNATURE}: {signature}\r\n");
        format!("{method} {target} HTTP/1.1\r\nhost: bench\r\n{signed}{rest}\r\n").into_bytes()
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    let name = b"content-length:";
    let line = head
        .split(|byte| *byte == b'\n')
        .find(|line| line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))?;
    std::str::from_utf8(&line[name.len()..]).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http() -> Http {
        Http { key: Key::from_bytes([1; 32]), clock: Clock::manual(chrono::DateTime::UNIX_EPOCH) }
    }

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let whole = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\ndate: x\r\n\r\n{}";
        for end in 0..whole.len() {
            assert_eq!(http().answer(&whole[..end]), Answer::Partial, "{end}");
        }
        assert_eq!(http().answer(whole), Answer::Accepted);
    }

    #[test]
    fn a_refusal_is_kept() {
        let refusal = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy";
        assert_eq!(http().answer(refusal.as_bytes()), Answer::Refused(refusal.into()));
        assert!(matches!(http().answer(b"HTTP/1.1 200 OK\r\n\r\n"), Answer::Refused(_)));
    }
}
