//! A WebSocket to one of our services: opened as any request is, with its bearer and
//! its problem documents, and bounded in what it takes.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::Upgraded;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use wire::attach::{MESSAGE_BYTES, Word};

use crate::Error;
use crate::call::Service;

/// An attachment lasts no longer than the longest command.
const ATTACHED: Duration = Duration::from_secs(8 * 24 * 3_600);
/// Nobody takes longer to take a message who is still there.
const SEND_DEADLINE: Duration = Duration::from_secs(30);
/// Whoever says nothing for so long, not even that it lives, is gone.
const SILENCE: Duration = Duration::from_secs(60);

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// Bytes.
    Bytes(Vec<u8>),
    /// A word about them.
    Word(Word),
}

/// An open socket.
#[derive(Debug)]
pub struct Socket {
    stream: WebSocketStream<Upgraded>,
}

impl Socket {
    pub(crate) async fn open(service: &Service, path: &str, token: &str) -> Result<Self, Error> {
        let key = generate_key();
        let request = kit::http::client_of_upgrades(ATTACHED)
            .get(service.url(path))
            .bearer_auth(token)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", &key);
        let response = service.upgraded(request).await?;
        let unexpected = |detail: &str| Error::Unexpected { service: service.name, detail: detail.to_owned() };
        let accepted = response.headers().get("sec-websocket-accept").map(|value| value.as_bytes().to_vec());
        if accepted != Some(derive_accept_key(key.as_bytes()).into()) {
            return Err(unexpected("it did not switch to a WebSocket"));
        }
        let upgraded = response.upgrade().await.map_err(|source| service.unreachable(source))?;
        let config =
            WebSocketConfig::default().max_message_size(Some(MESSAGE_BYTES)).max_frame_size(Some(MESSAGE_BYTES));
        Ok(Self { stream: WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await })
    }

    /// The next thing said; nothing when the socket is closed, broken or silent for too long. Giving it up loses
    /// nothing.
    pub async fn next(&mut self) -> Option<Said> {
        loop {
            let message = tokio::time::timeout(SILENCE, self.stream.next()).await.ok()??.ok()?;
            match message {
                Message::Binary(bytes) => return Some(Said::Bytes(bytes.to_vec())),
                Message::Text(text) => {
                    // A word of a newer version is passed over.
                    if let Ok(word) = serde_json::from_str(text.as_str()) {
                        return Some(Said::Word(word));
                    }
                }
                Message::Close(_) => return None,
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => (),
            }
        }
    }

    /// Sends bytes; whether they were taken.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        for part in bytes.chunks(MESSAGE_BYTES) {
            if !self.push(Message::binary(part.to_vec())).await {
                return false;
            }
        }
        true
    }

    /// Sends a word; whether it was taken.
    pub async fn say(&mut self, word: Word) -> bool {
        match serde_json::to_string(&word) {
            Ok(text) => self.push(Message::text(text)).await,
            Err(_) => false,
        }
    }

    /// Ends it well.
    pub async fn close(mut self) {
        // Whoever is gone already needs no farewell.
        drop(tokio::time::timeout(SEND_DEADLINE, self.stream.close(None)).await);
    }

    async fn push(&mut self, message: Message) -> bool {
        matches!(tokio::time::timeout(SEND_DEADLINE, self.stream.send(message)).await, Ok(Ok(())))
    }
}
