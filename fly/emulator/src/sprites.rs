//! A fake of the Sprites API on this computer, for tests: the documented paths,
//! bodies, streams and frames over HTTP, and in each sprite the API of its own on a
//! socket. A call that is not in `spec/sprites-endpoints.json` is written down.
//!
//! A sprite's `/` is a directory. What is run in one is a process of this computer
//! that is told those paths; a service is one too, or only written down. Time does not
//! pass here: a sprite sleeps at once when it was let go of and nothing runs in it,
//! grows cold when the test says so, and a hold runs out when the test says so.

mod api;
mod inside;
mod organization;
mod programs;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fly::{SpritePolicy, SpriteService, SpriteStatus};
use kit::Tasks;
use tokio::net::TcpListener;
use tokio::sync::Notify;

pub use organization::Refusal;
use organization::Shared;

/// How long a service may take to end when it is told to.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// What becomes of services.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Services {
    /// They are processes.
    Run,
    /// They are written down.
    Pretend,
}

/// The Sprites API of one organisation.
#[derive(Debug, Clone)]
pub struct Sprites {
    shared: Arc<Shared>,
    url: String,
    tasks: Tasks,
}

/// A sprite, as somebody sees it who sees everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub status: SpriteStatus,
    /// Its marks.
    pub labels: Vec<String>,
    /// What it may reach.
    pub policy: Option<SpritePolicy>,
    /// The holds on it, with their expiry.
    pub holds: Vec<(String, String)>,
    /// What it runs by itself, and how often that was started.
    pub service: Option<(SpriteService, u32)>,
}

impl Sprites {
    /// Serves on a port of its own, for callers with this token, until `tasks` are told to stop. Sprites are
    /// made below the root; their programs are looked for in `path`.
    pub async fn start(
        root: &Path,
        token: &str,
        path: &str,
        services: Services,
        tasks: &Tasks,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared::new(root, token, path, services, tasks.clone()));
        let (app, stopping) = (api::router(Arc::clone(&shared)), tasks.clone());
        tasks.spawn("sprites", async move {
            let served = axum::serve(listener, app).with_graceful_shutdown(async move { stopping.stopping().await });
            if let Err(error) = served.await {
                tracing::error!(%error, "the fake of the Sprites API stopped serving");
            }
        });
        Ok(Self { shared, url, tasks: tasks.clone() })
    }

    /// The base URL, without `/v1`.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Serves a file to whoever comes, and says where.
    pub fn offer(&self, file: PathBuf) -> String {
        self.shared.state().offered = Some(file);
        format!("{}/offered", self.url)
    }

    /// Every sprite.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state().sprites.values().map(organization::Sprite::seen).collect()
    }

    /// Somebody else makes a sprite.
    pub async fn plant(&self, name: &str, labels: &[&str]) {
        let labels = labels.iter().map(ToString::to_string).collect();
        self.shared.create(name, labels).expect("the name is free");
    }

    /// Somebody else destroys a sprite.
    pub async fn destroy(&self, name: &str) {
        self.shared.destroy(name);
    }

    /// A sprite that sleeps loses its processes.
    pub async fn grow_cold(&self, name: &str) {
        self.shared.grow_cold(name).await;
    }

    /// Something in a sprite holds it awake as well.
    pub fn hold(&self, name: &str, hold: &str) {
        self.shared.hold(name, hold, "1h".to_owned());
    }

    /// The holds on a sprite run out, as they do when nobody prolongs them.
    pub fn run_out(&self, name: &str) {
        self.shared.run_out(name);
    }

    /// Refuses the next calls of this method whose path ends so.
    pub fn refuse(&self, refusal: Refusal) {
        self.shared.state().refusals.push(refusal);
    }

    /// At most so many sprites are awake at once.
    pub fn limit(&self, awake_max: usize) {
        self.shared.state().awake_max = awake_max;
    }

    /// The call of this number, counted from now, gets no answer for ever; it is carried out or not. Tells when
    /// that has come.
    pub fn hang_at(&self, call: usize, is_carried_out: bool) -> Arc<Notify> {
        let came = Arc::new(Notify::new());
        self.shared.state().hang =
            Some(organization::Hang { calls_left: call, is_carried_out, came: Arc::clone(&came) });
        came
    }

    /// Nothing hangs any more.
    pub fn unhang(&self) {
        self.shared.state().hang = None;
    }

    /// Every call that has come: its method and its URI.
    pub fn calls(&self) -> Vec<String> {
        self.shared.state().calls.clone()
    }

    /// The calls that the document does not have.
    pub fn strange_calls(&self) -> Vec<String> {
        self.shared.state().strange.clone()
    }

    /// Ends every service, then stops serving.
    pub async fn stop(&self) {
        self.shared.end_all(STOP_LIMIT).await;
        if let Err(still) = self.tasks.stop_within(STOP_LIMIT).await {
            tracing::warn!(%still, "the fake of the Sprites API does not end");
        }
    }
}
