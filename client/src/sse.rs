//! Server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>),
//! read as they arrive.

use reqwest::Response;

/// The longest single message; a longer one is a broken or hostile server.
const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One message of the stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The last id that was given, for resuming.
    pub id: Option<String>,
    /// The message's kind; empty for plain messages.
    pub event: String,
    /// The data lines, joined with line feeds.
    pub data: String,
}

/// Cuts bytes into messages. Pure: feed it, then take what is whole.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    scanned: usize,
    current: Message,
    has_data: bool,
}

impl Decoder {
    /// Takes the next bytes from the wire.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether more is waiting for its end than any message of ours has.
    pub fn is_overlong(&self) -> bool {
        self.buffer.len() + self.current.data.len() > MESSAGE_BYTES_MAX
    }

    /// The next whole message, if there is one. Comments are swallowed.
    pub fn next_message(&mut self) -> Option<Message> {
        let mut start = 0;
        let mut found = None;
        while let Some(length) = self.buffer[self.scanned.max(start)..].iter().position(|byte| *byte == b'\n') {
            let end = self.scanned.max(start) + length;
            let line = String::from_utf8_lossy(&self.buffer[start..end]).into_owned();
            start = end + 1;
            self.scanned = start;
            if let Some(message) = self.line(line.trim_end_matches('\r')) {
                found = Some(message);
                break;
            }
        }
        self.buffer.drain(..start);
        self.scanned = if found.is_some() { 0 } else { self.buffer.len() };
        found
    }

    fn line(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let id = self.current.id.clone();
            let message = std::mem::replace(&mut self.current, Message { id, ..Message::default() });
            return std::mem::take(&mut self.has_data).then_some(message);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.current.id = Some(value.to_owned()),
            "event" => self.current.event = value.to_owned(),
            "data" => {
                if self.has_data {
                    self.current.data.push('\n');
                }
                self.current.data.push_str(value);
                self.has_data = true;
            }
            _ => (),
        }
        None
    }
}

/// A stream of messages from one response. Ends with the response; resuming is the caller's.
#[derive(Debug)]
pub struct Messages {
    response: Response,
    decoder: Decoder,
}

impl Messages {
    pub(crate) fn new(response: Response) -> Self {
        Self { response, decoder: Decoder::default() }
    }

    /// The next message; nothing when the stream has ended or broken.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.decoder.next_message() {
                return Some(message);
            }
            if self.decoder.is_overlong() {
                return None;
            }
            let chunk = self.response.chunk().await.ok().flatten()?;
            self.decoder.feed(&chunk);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(pieces: &[&str]) -> Vec<Message> {
        let mut decoder = Decoder::default();
        let mut messages = Vec::new();
        for piece in pieces {
            decoder.feed(piece.as_bytes());
            while let Some(message) = decoder.next_message() {
                messages.push(message);
            }
        }
        messages
    }

    #[test]
    fn messages_are_the_same_however_the_wire_cuts_them() {
        let text = ": hello\n\nid: 1\nevent: log\ndata: a\ndata: b\n\ndata:c\r\n\r\nevent: x\n\n";
        let expect = vec![
            Message { id: Some("1".into()), event: "log".into(), data: "a\nb".into() },
            Message { id: Some("1".into()), event: String::new(), data: "c".into() },
        ];
        assert_eq!(decode(&[text]), expect);
        for cut in 1..text.len() {
            assert_eq!(decode(&[&text[..cut], &text[cut..]]), expect, "cut at {cut}");
        }
        let bytes: Vec<String> = text.chars().map(String::from).collect();
        assert_eq!(decode(&bytes.iter().map(String::as_str).collect::<Vec<_>>()), expect);
    }
}
