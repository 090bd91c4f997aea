//! The client of the Sprites API (row FLY-030). A sprite is made, paused and resumed;
//! it sleeps by itself when nothing holds it awake. So to pause one is to let go of
//! it, and to resume one is to take hold of it again: the hold is a task of the
//! sprite's own API, which is only served inside, and so set by a program there.
//! To set it is a piece of work that keeps a sprite awake for another half minute:
//! who lets go of one again and again never sees it asleep.

mod install;
mod services;
mod wait;

use std::fmt;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use crate::call::{Api, Call, Repeat};
use crate::error::{Action, Error};
use crate::sprite::{Sprite, SpriteCheckpoint, SpriteExit, SpritePage, SpritePolicy};
use crate::{Pace, Token};

/// Where Fly serves the API.
pub const SPRITES_URL: &str = "https://api.sprites.dev";
/// The hold by which a sprite is kept awake.
pub const SPRITE_HOLD: &str = "bifrost";
/// The longest that a hold may last without being renewed.
const HOLD_MAX: Duration = Duration::from_secs(3_600);
/// A sprite that sleeps without its processes boots before it answers.
const WAKE_DEADLINE: Duration = Duration::from_secs(60);
/// A disk is saved or put back.
const CHECKPOINT_DEADLINE: Duration = Duration::from_secs(300);
/// What a page may hold at most.
const PAGE: u32 = 500;
/// More of them is an answer that goes round in circles.
const PAGES: usize = 100;
/// The stream on which an exit code comes, last.
const EXIT: u8 = 3;

/// Calls the Sprites API. Clones share the rate limits.
#[derive(Clone)]
pub struct Sprites {
    api: Api,
}

impl fmt::Debug for Sprites {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sprites").field("base", &self.api.base()).finish_non_exhaustive()
    }
}

impl Sprites {
    /// A client that keeps Fly's rate limits; `base_url` is without `/v1`, such as [`SPRITES_URL`].
    pub fn new(base_url: &str, token: &Token) -> Self {
        Self::with_pace(base_url, token, Pace::Fly)
    }

    /// A client that keeps those limits or none.
    pub fn with_pace(base_url: &str, token: &Token, pace: Pace) -> Self {
        Self { api: Api::new(base_url, token, pace) }
    }

    /// The base URL that it calls.
    pub fn url(&self) -> &str {
        self.api.base()
    }

    /// Makes a sprite; one of that name that is there already is taken as it is.
    pub async fn create_sprite(&self, name: &str, labels: &[String]) -> Result<Sprite, Error> {
        let call = self.api.call(Action::CreateSprite, name, Method::POST, &["sprites"]);
        let error = match call.with(|request| request.json(&json!({ "name": name, "labels": labels }))).json().await {
            Ok(sprite) => return Ok(sprite),
            Err(error) => error,
        };
        // The documentation says 400 to a name in use, and 409 is what comes. An answer that was lost
        // leaves it open whether there is one now.
        let may_be_there = matches!(error.status(), Some(400 | 408 | 409 | 500..)) || error.status().is_none();
        match self.sprite(name).await {
            Ok(sprite) if may_be_there => Ok(sprite),
            _ => Err(error),
        }
    }

    /// Lets go of a sprite: it sleeps when it has had nothing to do for half a minute.
    pub async fn pause_sprite(&self, name: &str) -> Result<Sprite, Error> {
        self.in_sprite(name, "DELETE", &format!("tasks/{SPRITE_HOLD}"), None, &[0, NOT_FOUND]).await?;
        self.sprite(name).await
    }

    /// Wakes a sprite and holds it awake, for as long as this or until it is renewed.
    pub async fn resume_sprite(&self, name: &str, hold: Duration) -> Result<Sprite, Error> {
        let seconds = hold.min(HOLD_MAX).as_secs().max(1);
        let body = json!({ "name": SPRITE_HOLD, "expire": format!("{seconds}s") }).to_string();
        self.in_sprite(name, "PUT", &format!("tasks/{SPRITE_HOLD}"), Some(&body), &[0]).await?;
        self.sprite(name).await
    }

    /// Reads a sprite; that does not wake it.
    pub async fn sprite(&self, name: &str) -> Result<Sprite, Error> {
        self.on(Action::ReadSprite, Method::GET, name, &[]).json().await
    }

    /// Reads every sprite whose name begins with the prefix.
    pub async fn sprites(&self, prefix: &str) -> Result<Vec<Sprite>, Error> {
        let mut sprites = Vec::new();
        let mut from: Option<String> = None;
        for _ in 0..PAGES {
            let mut query = vec![("prefix", prefix.to_owned()), ("max_results", PAGE.to_string())];
            query.extend(from.map(|from| ("continuation_token", from)));
            let call = self.api.call(Action::ListSprites, "", Method::GET, &["sprites"]);
            let page: SpritePage = call.with(|request| request.query(&query)).json().await?;
            sprites.extend(page.sprites);
            match page.next_continuation_token.filter(|_| page.has_more) {
                Some(next) => from = Some(next),
                None => return Ok(sprites),
            }
        }
        let detail = format!("no end after {PAGES} pages");
        Err(Error::Unexpected { action: Action::ListSprites, detail })
    }

    /// Destroys a sprite with everything on it. One that is gone is no error.
    pub async fn destroy_sprite(&self, name: &str) -> Result<(), Error> {
        let call = self.on(Action::DestroySprite, Method::DELETE, name, &[]).repeat(Repeat::Safe);
        match call.done().await {
            Err(error) if error.status() == Some(404) => Ok(()),
            other => other,
        }
    }

    /// Runs a program in a sprite, which wakes for it. Never repeated by itself.
    pub async fn exec(&self, name: &str, command: &[&str]) -> Result<SpriteExit, Error> {
        self.exec_within(name, command, None, WAKE_DEADLINE).await
    }

    /// The same with something to read, for as long as this.
    async fn exec_within(
        &self,
        name: &str,
        command: &[&str],
        stdin: Option<&str>,
        limit: Duration,
    ) -> Result<SpriteExit, Error> {
        let action = Action::ExecInSprite;
        let mut query: Vec<(&str, &str)> = command.iter().map(|word| ("cmd", *word)).collect();
        query.extend(stdin.map(|_| ("stdin", "true")));
        let call = self.on(action, Method::POST, name, &["exec"]).deadline(limit);
        let call = call.with(|request| request.query(&query).body(stdin.unwrap_or_default().to_owned()));
        let mut output = call.bytes().await?;
        let &[.., EXIT, code] = output.as_slice() else {
            let detail = "the program's exit code is missing".to_owned();
            return Err(Error::Unexpected { action, detail });
        };
        output.truncate(output.len() - 2);
        Ok(SpriteExit { code, output })
    }

    /// Saves a sprite's disk.
    pub async fn checkpoint(&self, name: &str, comment: &str) -> Result<(), Error> {
        let call = self.on(Action::SaveCheckpoint, Method::POST, name, &["checkpoint"]);
        let call = call.with(|request| request.json(&json!({ "comment": comment })));
        to_completion(Action::SaveCheckpoint, call.deadline(CHECKPOINT_DEADLINE)).await
    }

    /// Reads what was saved of a sprite's disk, what the platform saved by itself left out.
    pub async fn checkpoints(&self, name: &str) -> Result<Vec<SpriteCheckpoint>, Error> {
        self.on(Action::ListCheckpoints, Method::GET, name, &["checkpoints"]).json_or_default().await
    }

    /// Puts a saved disk back; whatever runs in the sprite ends. Never repeated by itself.
    pub async fn restore(&self, name: &str, checkpoint: &str) -> Result<(), Error> {
        let call = self.on(Action::RestoreCheckpoint, Method::POST, name, &["checkpoints", checkpoint, "restore"]);
        to_completion(Action::RestoreCheckpoint, call.deadline(CHECKPOINT_DEADLINE)).await
    }

    /// Reads what a sprite may reach.
    pub async fn network_policy(&self, name: &str) -> Result<SpritePolicy, Error> {
        self.on(Action::ReadPolicy, Method::GET, name, &["policy", "network"]).json().await
    }

    /// Decides what a sprite may reach; nothing of the old policy stays.
    pub async fn set_network_policy(&self, name: &str, policy: &SpritePolicy) -> Result<(), Error> {
        let call = self.on(Action::WritePolicy, Method::POST, name, &["policy", "network"]).repeat(Repeat::Safe);
        call.with(|request| request.json(policy)).done().await
    }

    fn on<'a>(&'a self, action: Action, method: Method, name: &'a str, rest: &[&str]) -> Call<'a> {
        let path: Vec<&str> = ["sprites", name].into_iter().chain(rest.iter().copied()).collect();
        self.api.call(action, name, method, &path)
    }

    /// Asks the API inside a sprite; `good` are the exit codes that are no failure.
    async fn in_sprite(
        &self,
        name: &str,
        method: &str,
        path: &str,
        body: Option<&str>,
        good: &[u8],
    ) -> Result<(), Error> {
        let url = format!("http://sprite/v1/{path}");
        let mut command = vec!["curl", "--silent", "--show-error", "--fail", "--unix-socket", SOCKET, "-X", method];
        if let Some(body) = body {
            command.extend(["-H", "Content-Type: application/json", "-d", body]);
        }
        command.push(&url);
        let exit = self.exec(name, &command).await?;
        if good.contains(&exit.code) {
            return Ok(());
        }
        let (code, said) = (exit.code, exit.said());
        let detail = format!("its own API answers {method} {path} with a failure (curl: {code}): {said}");
        Err(Error::Unexpected { action: Action::HoldSprite, detail })
    }
}

/// Where a sprite serves its own API.
const SOCKET: &str = "/.sprite/api.sock";
/// What curl says to an answer of 400 and above: here, that there was no hold.
const NOT_FOUND: u8 = 22;

/// One line of what the API tells while it works.
#[derive(Deserialize)]
struct Progress {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    exit_code: Option<i32>,
}

/// The API answers before the work is done, and says at the end of its answer how it went.
async fn to_completion(action: Action, call: Call<'_>) -> Result<(), Error> {
    let body = call.bytes().await?;
    let lines = body.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Progress>(line).ok());
    let mut exit = None;
    for line in lines {
        match line.kind.as_str() {
            // Of a service that is restarted the former process ends as well.
            "started" => exit = None,
            "exit" => exit = Some(line.exit_code.unwrap_or(-1)),
            "complete" => match exit {
                None => return Ok(()),
                Some(code) => {
                    let detail = format!("the program ended at once, with exit code {code}");
                    return Err(Error::Unexpected { action, detail });
                }
            },
            "error" => {
                let detail = line.error.unwrap_or_else(|| "it failed".to_owned());
                return Err(Error::Unexpected { action, detail });
            }
            _ => (),
        }
    }
    Err(Error::Unexpected { action, detail: "the answer ended before the work was done".to_owned() })
}

#[cfg(test)]
mod tests;
