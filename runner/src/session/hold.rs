//! Keeps awake the sprite that the runner is in, which would else sleep half a minute
//! after its last work: for a runner that waits for a task is no work to it.
//!
//! The control plane takes hold of the sprite when it makes or wakes it, and lets go
//! of it to put it to sleep. Here the hold is prolonged and never made anew, so that a
//! word to sleep is not undone. It is prolonged only while there is work or the
//! control plane answers: when either is gone for good, it runs out by itself.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::board::Board;
use crate::config::Hold;

/// What the platform advises: four times of five may fail.
const EVERY: Duration = Duration::from_secs(60);
const EXPIRY: &str = "5m";
/// A control plane that has been silent for longer is not there: it answers each poll within half a minute.
const HEARD: Duration = Duration::from_secs(120);
const DEADLINE: Duration = Duration::from_secs(10);

/// Keeps the hold alive for ever, from the first word of the control plane on.
pub(super) async fn keep(hold: Hold, board: Arc<Board>, mut heard: watch::Receiver<Option<Instant>>) {
    let sprite = Sprite::new(&hold);
    if heard.wait_for(Option::is_some).await.is_err() {
        return;
    }
    let mut beat = interval(EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        beat.tick().await;
        let silence = heard.borrow().map(|at| at.elapsed());
        if !is_wanted(board.is_idle(), silence) {
            continue;
        }
        match sprite.prolong().await {
            Ok(Prolonged::Held) => (),
            Ok(Prolonged::LetGo) => tracing::debug!("nobody holds this sprite any more: it may sleep"),
            Err(error) => tracing::warn!("the hold on this sprite cannot be prolonged, so it may fall asleep: {error}"),
        }
    }
}

/// Whether the sprite is to stay awake, as far as this runner knows (pure).
fn is_wanted(is_idle: bool, silence: Option<Duration>) -> bool {
    !is_idle || silence.is_some_and(|silence| silence < HEARD)
}

/// The API of the sprite that this runs in.
struct Sprite {
    http: reqwest::Client,
    task: String,
}

/// What became of a hold.
#[derive(Debug, PartialEq, Eq)]
enum Prolonged {
    /// It lasts another while.
    Held,
    /// There was none.
    LetGo,
}

impl Sprite {
    fn new(hold: &Hold) -> Self {
        let http = kit::http::client_over(&hold.socket, DEADLINE);
        Self { http, task: format!("http://sprite/v1/tasks/{}", hold.name) }
    }

    async fn prolong(&self) -> reqwest::Result<Prolonged> {
        let there = self.http.get(&self.task).send().await?;
        if there.status() == StatusCode::NOT_FOUND {
            return Ok(Prolonged::LetGo);
        }
        there.error_for_status()?;
        let prolonging = self.http.put(&self.task).json(&json!({ "expire": EXPIRY }));
        prolonging.send().await?.error_for_status()?;
        Ok(Prolonged::Held)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
    use tokio::net::UnixListener;

    use super::*;

    #[test]
    fn a_sprite_is_kept_awake_for_work_or_for_a_control_plane_that_answers() {
        for (is_idle, silence, expect) in [
            (true, None, false),
            (true, Some(30), true),
            (true, Some(120), false),
            (false, Some(9_999), true),
            (false, None, true),
        ] {
            assert_eq!(is_wanted(is_idle, silence.map(Duration::from_secs)), expect, "{is_idle} {silence:?}");
        }
    }

    /// Answers each request with a status of these, and gives what was asked.
    async fn serve(socket: &Path, statuses: &[u16]) -> Vec<String> {
        let listener = UnixListener::bind(socket).expect("binds");
        let mut asked = Vec::new();
        for status in statuses {
            let (stream, _) = listener.accept().await.expect("accepts");
            let mut stream = BufReader::new(stream);
            let (mut first, mut length) = (String::new(), 0);
            stream.read_line(&mut first).await.expect("reads");
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await.expect("reads");
                if let Some(text) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = text.trim().parse().expect("a length");
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await.expect("reads");
            let said = format!("{} {}", first.trim().trim_end_matches(" HTTP/1.1"), String::from_utf8_lossy(&body));
            asked.push(said.trim().to_owned());
            let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.get_mut().write_all(answer.as_bytes()).await.expect("writes");
        }
        asked
    }

    #[tokio::test]
    async fn a_hold_is_prolonged_and_never_made_anew() {
        let (look, put) = ("GET /v1/tasks/bifrost", "PUT /v1/tasks/bifrost {\"expire\":\"5m\"}");
        for (statuses, expect, asked) in [
            (&[200, 200][..], Some(Prolonged::Held), &[look, put][..]),
            (&[404][..], Some(Prolonged::LetGo), &[look][..]),
            (&[200, 500][..], None, &[look, put][..]),
            (&[500][..], None, &[look][..]),
        ] {
            let directory = tempfile::tempdir().expect("a directory");
            let hold = Hold { name: "bifrost".into(), socket: directory.path().join("api.sock") };
            let serving = serve(&hold.socket, statuses);
            let sprite = Sprite::new(&hold);
            let (requests, prolonged) = tokio::join!(serving, sprite.prolong());
            assert_eq!((prolonged.ok(), requests), (expect, asked.iter().map(ToString::to_string).collect()));
        }
    }
}
