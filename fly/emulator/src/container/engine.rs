//! The engine's HTTP API, as far as it is needed here: Docker's, which podman speaks
//! too (`podman system service`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::time::Duration;

use futures_util::{Stream, StreamExt, TryStreamExt};
use reqwest::{Method, RequestBuilder, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::address::EngineAddress;
use super::plan;
use crate::process::Exit;

/// For everything that the engine does by itself.
const WITHIN: Duration = Duration::from_secs(60);
/// Beyond the time that a container has to end by itself.
const BEYOND_GRACE: Duration = WITHIN;
/// For an image that comes over the network.
const PULL_WITHIN: Duration = Duration::from_secs(1_800);
/// For what lasts as long as a container; asked again after that.
const FOLLOW_WITHIN: Duration = Duration::from_secs(24 * 3_600);
/// Of an answer that says no.
const MESSAGE_CHARS: usize = 500;

/// The engine.
#[derive(Debug)]
pub(super) struct Engine {
    http: reqwest::Client,
    base: String,
    pub(super) is_podman: bool,
    /// Whether it runs without root.
    pub(super) is_rootless: bool,
}

/// Why the engine did not do it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It says so.
    Refused { status: u16, message: String },
    /// It was not understood, or did not answer.
    Broken(reqwest::Error),
    /// Something else is not as it must be.
    Odd(String),
    /// Our own part failed.
    Local(io::Error),
}

impl Failure {
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    fn is_already_so(&self) -> bool {
        matches!(self, Self::Refused { status: 304 | 409, .. })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { status, message } => write!(f, "{message} (status {status})"),
            Self::Broken(error) => {
                // The sentence without the cause says nothing of use.
                let mut cause: &dyn std::error::Error = error;
                while let Some(deeper) = cause.source() {
                    cause = deeper;
                }
                write!(f, "it does not answer: {cause}")
            }
            Self::Odd(what) => f.write_str(what),
            Self::Local(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Local(error) => error,
            other => Self::other(other),
        }
    }
}

/// How a container stands.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct State {
    pub(super) running: bool,
    pub(super) paused: bool,
    status: String,
    exit_code: i32,
    #[serde(rename = "OOMKilled")]
    oom_killed: bool,
}

impl State {
    /// Podman says of a container that is paused, and of one that is told to end, that it does not run.
    pub(super) fn is_alive(&self) -> bool {
        self.running || self.paused || self.status == "stopping"
    }

    pub(super) fn exit(&self) -> Exit {
        Exit { code: Some(self.exit_code), signal: None, is_out_of_memory: self.oom_killed }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    api_version: String,
    #[serde(default)]
    components: Vec<Component>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Component {
    name: String,
}

impl Engine {
    /// Asks the engine what it is.
    pub(super) async fn connect(address: &EngineAddress) -> Result<Self, Failure> {
        let (http, base) = match address {
            EngineAddress::Socket(path) => (kit::http::client_over(path, WITHIN), "http://engine".to_owned()),
            EngineAddress::Tcp(authority) => (kit::http::client(WITHIN), format!("http://{authority}")),
        };
        let mut engine = Self { http, base, is_podman: false, is_rootless: false };
        let version: Version = engine.read("/version").await?;
        engine.is_podman = version.components.iter().any(|component| component.name.starts_with("Podman"));
        // A path without a version is deprecated; the engine's own it always knows.
        engine.base = format!("{}/v{}", engine.base, version.api_version);
        let info: Value = engine.read("/info").await?;
        let mut options = info["SecurityOptions"].as_array().into_iter().flatten().filter_map(Value::as_str);
        // Docker says it among these, and so does podman since some version; older ones have a word of their own.
        engine.is_rootless = info["Rootless"] == true || options.any(|option| option.contains("rootless"));
        Ok(engine)
    }

    /// Makes the network if it is not there; one that leads out of the computer is refused.
    pub(super) async fn ensure_network(&self, name: &str) -> Result<(), Failure> {
        let made = match self.network(name).await {
            Err(failure) if failure.is_not_found() => {
                let body = json!({ "Name": name, "Driver": "bridge", "Internal": true, "Labels": { "bifrost-fleet": "true" } });
                match self.ask(self.at(Method::POST, "/networks/create").json(&body)).await {
                    Ok(_) => self.network(name).await,
                    // Somebody else has just made it.
                    Err(failure) if failure.is_already_so() => self.network(name).await,
                    Err(failure) => Err(failure),
                }
            }
            other => other,
        }?;
        if made["Internal"] == Value::Bool(true) {
            return Ok(());
        }
        let cure = format!(
            "its network {name:?} is not internal, so machines could reach anything: remove it, or name another"
        );
        Err(Failure::Odd(cure))
    }

    /// The address that this computer has in the network.
    pub(super) async fn gateway(&self, name: &str) -> Result<String, Failure> {
        let network = self.network(name).await?;
        let configs = network["IPAM"]["Config"].as_array().into_iter().flatten();
        let gateway = configs.filter_map(|config| config["Gateway"].as_str()).find(|gateway| !gateway.contains(':'));
        gateway.map(str::to_owned).ok_or_else(|| Failure::Odd(format!("its network {name:?} has no gateway")))
    }

    async fn network(&self, name: &str) -> Result<Value, Failure> {
        self.read(&format!("/networks/{name}")).await
    }

    /// Makes a container; its id.
    pub(super) async fn create(&self, name: &str, body: &Value) -> Result<String, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Created {
            id: String,
        }
        let request = self.at(Method::POST, "/containers/create").query(&[("name", name)]).json(body);
        Ok(json_of::<Created>(self.ask(request).await?).await?.id)
    }

    /// Brings an image here, unless it is here.
    pub(super) async fn ensure_image(&self, image: &str) -> Result<(), Failure> {
        match self.read::<Value>(&format!("/images/{image}/json")).await {
            Err(failure) if failure.is_not_found() => self.pull(image).await,
            other => other.map(drop),
        }
    }

    /// Brings an image here.
    pub(super) async fn pull(&self, image: &str) -> Result<(), Failure> {
        let request = self.at(Method::POST, "/images/create").query(&[("fromImage", image)]).timeout(PULL_WITHIN);
        let answer = self.ask(request).await?;
        let progress = answer.text().await.map_err(Failure::Broken)?;
        // It has said 200 before it knew.
        let error = progress.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        match error.filter_map(|line| line["error"].as_str().map(str::to_owned)).next() {
            Some(error) => Err(Failure::Odd(format!("the image {image} cannot be pulled: {error}"))),
            None => Ok(()),
        }
    }

    pub(super) async fn start(&self, id: &str) -> Result<(), Failure> {
        self.order(id, "start", &[]).await
    }

    pub(super) async fn pause(&self, id: &str) -> Result<(), Failure> {
        self.toward(id, "pause", |state| state.paused).await
    }

    pub(super) async fn unpause(&self, id: &str) -> Result<(), Failure> {
        self.toward(id, "unpause", |state| state.running && !state.paused).await
    }

    /// A container that runs no more needs no signal.
    pub(super) async fn kill(&self, id: &str, signal: &str) -> Result<(), Failure> {
        match self.order(id, "kill", &[("signal", signal)]).await {
            Err(failure) if failure.is_not_found() || failure.is_already_so() => Ok(()),
            other => other,
        }
    }

    /// Waits until it ends.
    pub(super) async fn wait(&self, id: &str) -> Result<(), Failure> {
        let request = self.at(Method::POST, &format!("/containers/{id}/wait")).timeout(FOLLOW_WITHIN);
        self.ask(request).await?.bytes().await.map(drop).map_err(Failure::Broken)
    }

    /// How it stands; nothing where there is none.
    pub(super) async fn inspect(&self, id: &str) -> Result<Option<State>, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Inspected {
            state: State,
        }
        match self.read::<Inspected>(&format!("/containers/{id}/json")).await {
            Ok(inspected) => Ok(Some(inspected.state)),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Lets the engine tell it to end by its own stop signal, and kill it after the grace; answered when it has ended.
    /// One that does not run is no error.
    pub(super) async fn stop(&self, id: &str, grace: Duration) -> Result<(), Failure> {
        let seconds = plan::seconds(grace);
        let request = self.at(Method::POST, &format!("/containers/{id}/stop")).query(&[("t", seconds)]);
        match self.ask(request.timeout(grace + BEYOND_GRACE)).await {
            Ok(_) => Ok(()),
            Err(Failure::Refused { status: 304 | 404, .. }) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// Ends and removes it, with what it has kept for itself. One that is gone is no error.
    pub(super) async fn remove(&self, id: &str) -> Result<(), Failure> {
        // By itself podman would first wait as long as a stop may take. One that runs no more refuses this.
        drop(self.order(id, "kill", &[("signal", "SIGKILL")]).await);
        let request = self.at(Method::DELETE, &format!("/containers/{id}"));
        match self.ask(request.query(&[("force", "true"), ("v", "true")])).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.is_not_found() => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// The machines of a data directory that have containers, whether these run or not.
    pub(super) async fn machines(&self, data: &str) -> Result<BTreeSet<String>, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Listed {
            #[serde(default)]
            labels: BTreeMap<String, String>,
        }
        let labels = [format!("{}=true", plan::FLEET[0]), format!("{}={data}", plan::DATA)];
        let filters = json!({ "label": labels }).to_string();
        let request = self.at(Method::GET, "/containers/json").query(&[("all", "true"), ("filters", &filters)]);
        let listed: Vec<Listed> = json_of(self.ask(request).await?).await?;
        Ok(listed.into_iter().filter_map(|mut one| one.labels.remove(plan::MACHINE)).collect())
    }

    /// What it has printed since its start, and what it goes on to print until it ends.
    pub(super) async fn output(
        &self,
        id: &str,
    ) -> Result<impl Stream<Item = Result<impl AsRef<[u8]> + use<>, Failure>> + use<>, Failure> {
        let query = [("follow", "true"), ("stdout", "true"), ("stderr", "true")];
        let request = self.at(Method::GET, &format!("/containers/{id}/logs")).query(&query).timeout(FOLLOW_WITHIN);
        Ok(self.ask(request).await?.bytes_stream().map_err(Failure::Broken))
    }

    /// Readies a program to be run in it; the id of that.
    pub(super) async fn prepare_exec(&self, id: &str, command: &[String]) -> Result<String, Failure> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Prepared {
            id: String,
        }
        let body = json!({ "AttachStdout": true, "AttachStderr": true, "Tty": false, "Cmd": command });
        let request = self.at(Method::POST, &format!("/containers/{id}/exec")).json(&body);
        Ok(json_of::<Prepared>(self.ask(request).await?).await?.id)
    }

    /// Runs it; what it prints, to its end.
    pub(super) async fn run_exec(
        &self,
        exec: &str,
    ) -> Result<impl Stream<Item = Result<impl AsRef<[u8]> + use<>, Failure>> + use<>, Failure> {
        let body = json!({ "Detach": false, "Tty": false });
        let request = self.at(Method::POST, &format!("/exec/{exec}/start")).json(&body).timeout(FOLLOW_WITHIN);
        Ok(self.ask(request).await?.bytes_stream().map(|piece| piece.map_err(Failure::Broken)))
    }

    /// How it ended.
    pub(super) async fn exec_code(&self, exec: &str) -> Result<i32, Failure> {
        let found: Value = self.read(&format!("/exec/{exec}/json")).await?;
        let code = found["ExitCode"].as_i64().and_then(|code| i32::try_from(code).ok());
        code.ok_or_else(|| Failure::Odd("it does not say how the program ended".to_owned()))
    }

    async fn order(&self, id: &str, verb: &str, query: &[(&str, &str)]) -> Result<(), Failure> {
        let request = self.at(Method::POST, &format!("/containers/{id}/{verb}")).query(query);
        self.ask(request).await.map(drop)
    }

    /// Gives an order; what is so already is no error, in whatever words the engine says it.
    async fn toward(&self, id: &str, verb: &str, is_so: fn(&State) -> bool) -> Result<(), Failure> {
        let Err(failure) = self.order(id, verb, &[]).await else { return Ok(()) };
        match self.inspect(id).await? {
            Some(state) if is_so(&state) => Ok(()),
            _ => Err(failure),
        }
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        json_of(self.ask(self.at(Method::GET, path)).await?).await
    }

    fn at(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Response, Failure> {
        let answer = request.send().await.map_err(Failure::Broken)?;
        let status = answer.status();
        if status.is_success() {
            return Ok(answer);
        }
        let text = answer.text().await.unwrap_or_default();
        let said =
            serde_json::from_str::<Value>(&text).ok().and_then(|body| body["message"].as_str().map(str::to_owned));
        let message = said.unwrap_or(text).chars().take(MESSAGE_CHARS).collect();
        Err(Failure::Refused { status: status.as_u16(), message })
    }
}

async fn json_of<T: DeserializeOwned>(answer: Response) -> Result<T, Failure> {
    answer.json().await.map_err(Failure::Broken)
}
