//! A container engine that is none: it speaks as much of Docker's API on a socket as
//! the driver uses, refuses what the API's documentation does not know, and keeps a
//! list of what it was asked.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures_util::StreamExt;
use kit::Tasks;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::watch;

/// The documented fields of `POST /containers/create` that are used.
const FIELDS: [&str; 11] = [
    "Image",
    "Env",
    "Labels",
    "User",
    "Tty",
    "OpenStdin",
    "StopSignal",
    "StopTimeout",
    "HostConfig",
    "Entrypoint",
    "Cmd",
];
const HOST_FIELDS: [&str; 16] = [
    "ReadonlyRootfs",
    "Tmpfs",
    "Memory",
    "MemorySwap",
    "NanoCpus",
    "PidsLimit",
    "CapDrop",
    "CapAdd",
    "SecurityOpt",
    "Privileged",
    "NetworkMode",
    "Mounts",
    "AutoRemove",
    "RestartPolicy",
    "LogConfig",
    "UsernsMode",
];

/// Which engine it says that it is: podman as versions 4.3 and 5 of it do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Docker,
    RootlessDocker,
    Podman,
    /// It has a field of its own for that.
    RootlessPodman4,
    /// And says it as Docker does besides.
    RootlessPodman5,
}

/// The engine; gone when it is dropped.
pub(crate) struct Engine {
    directory: TempDir,
    tasks: Tasks,
    pub(crate) state: Arc<Engines>,
}

/// What it has and was asked.
#[derive(Default)]
pub(crate) struct Engines(Mutex<Contents>);

#[derive(Default)]
pub(crate) struct Contents {
    /// Method and path, without the version.
    pub(crate) asked: Vec<String>,
    pub(crate) kind: Kind,
    pub(crate) containers: BTreeMap<String, Container>,
    pub(crate) networks: BTreeMap<String, Value>,
    /// The images that are there; any image when it is empty.
    pub(crate) images: Vec<String>,
    pub(crate) cannot_pull: Option<String>,
    pub(crate) cannot_start: Option<String>,
    made: usize,
}

/// One container.
#[derive(Clone)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) body: Value,
    pub(crate) status: &'static str,
    is_out_of_memory: bool,
    end: watch::Sender<Option<i32>>,
}

type Refused = (StatusCode, Json<Value>);

fn no(status: StatusCode, message: impl Into<String>) -> Refused {
    (status, Json(json!({ "message": message.into() })))
}

impl Engine {
    pub(crate) fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = UnixListener::bind(directory.path().join("engine.sock")).expect("a socket");
        let (tasks, state) = (Tasks::new(), Arc::<Engines>::default());
        let app = Router::new().fallback(answer).with_state(Arc::clone(&state));
        tasks.spawn_until_stopped("engine", async move { axum::serve(listener, app).await.expect("serves") });
        Self { directory, tasks, state }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("engine.sock")
    }

    /// The only container that there is.
    pub(crate) fn container(&self) -> Option<Container> {
        let contents = self.state.contents();
        assert!(contents.containers.len() < 2, "one machine has one container");
        contents.containers.values().next().cloned()
    }

    pub(crate) fn asked(&self, wanted: &str) -> usize {
        self.state.contents().asked.iter().filter(|asked| asked.contains(wanted)).count()
    }

    /// How containers were ended, in order: what was asked for, without the container.
    pub(crate) fn endings(&self) -> Vec<String> {
        let ending = |asked: &String| {
            let (method, path) = asked.split_once(' ')?;
            let (container, verb) = path.strip_prefix("/containers/")?.split_once(['/', '?'])?;
            let is_one =
                method == "DELETE" || (method == "POST" && (verb.starts_with("stop") || verb.starts_with("kill")));
            // The leftovers that are looked for before a start go by a name.
            (is_one && !container.starts_with("bifrost-")).then(|| format!("{method} {verb}"))
        };
        self.state.contents().asked.iter().filter_map(ending).collect()
    }

    /// The container's first process ends by itself.
    pub(crate) fn end(&self, code: i32, is_out_of_memory: bool) {
        let mut contents = self.state.contents();
        let container = contents.containers.values_mut().next().expect("a container");
        container.is_out_of_memory = is_out_of_memory;
        container.stop(code);
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

impl Engines {
    pub(crate) fn contents(&self) -> std::sync::MutexGuard<'_, Contents> {
        self.0.lock().expect("no panic")
    }
}

impl Container {
    fn stop(&mut self, code: i32) {
        self.status = "exited";
        self.end.send_replace(Some(code));
    }

    fn is_deaf(&self) -> bool {
        self.body["Env"].as_array().expect("a list").contains(&json!("DEAF=yes"))
    }

    fn is_on(&self) -> bool {
        ["running", "paused"].contains(&self.status)
    }

    fn shown(&self) -> Value {
        let code = self.end.borrow().unwrap_or_default();
        json!({ "State": {
            "Status": self.status, "Running": self.is_on(), "Paused": self.status == "paused",
            "OOMKilled": self.is_out_of_memory, "ExitCode": code,
        } })
    }
}

async fn answer(State(state): State<Arc<Engines>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let path = parts.uri.path();
    let query: BTreeMap<String, String> = parts.uri.query().map(read_query).unwrap_or_default();
    let version = format!("/v{}", state.contents().kind.api_version());
    let path = match path.strip_prefix(&version) {
        Some(path) => path,
        None if path == "/version" => path,
        None => return no(StatusCode::BAD_REQUEST, format!("{path} names no version")).into_response(),
    };
    state.contents().asked.push(format!("{} {path}?{}", parts.method, parts.uri.query().unwrap_or_default()));
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (&parts.method, segments.as_slice()) {
        (&Method::POST, ["containers", name, "wait"]) => wait(&state, name).await,
        (&Method::POST, ["containers", name, "stop"]) => {
            stop(&state, name, &query).await.unwrap_or_else(IntoResponse::into_response)
        }
        (&Method::GET, ["containers", name, "logs"]) => logs(&state, name),
        (method, segments) => {
            state.contents().answer(method, segments, &query, &body).unwrap_or_else(IntoResponse::into_response)
        }
    }
}

fn read_query(text: &str) -> BTreeMap<String, String> {
    let url = reqwest::Url::parse(&format!("http://engine/?{text}")).expect("a URL");
    url.query_pairs().into_owned().collect()
}

async fn wait(state: &Engines, name: &str) -> Response {
    let end = state.contents().find(name).map(|container| container.end.subscribe());
    let Ok(mut end) = end else { return no(StatusCode::NOT_FOUND, "no such container").into_response() };
    let code = end.wait_for(Option::is_some).await.map(|code| *code);
    Json(json!({ "StatusCode": code.ok().flatten().unwrap_or(-1) })).into_response()
}

/// Gives it so many seconds to end by itself.
async fn stop(state: &Engines, name: &str, query: &BTreeMap<String, String>) -> Result<Response, Refused> {
    if let Some(unknown) = query.keys().find(|key| *key != "t") {
        return Err(no(StatusCode::BAD_REQUEST, format!("podman knows no {unknown}")));
    }
    let seconds = query["t"].parse().expect("a number");
    let mut end = {
        let mut contents = state.contents();
        let container = contents.find(name)?;
        if !container.is_on() {
            return Ok(StatusCode::NOT_MODIFIED.into_response());
        }
        if !container.is_deaf() {
            container.stop(0);
        }
        container.end.subscribe()
    };
    let ended = tokio::time::timeout(Duration::from_secs(seconds), end.wait_for(Option::is_some)).await.is_ok();
    if let (false, Ok(container)) = (ended, state.contents().find(name)) {
        container.stop(137);
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// One line on each stream, and the end when the container ends.
fn logs(state: &Engines, name: &str) -> Response {
    let end = state.contents().find(name).map(|container| container.end.subscribe());
    let Ok(mut end) = end else { return no(StatusCode::NOT_FOUND, "no such container").into_response() };
    let line = |stream: u8, text: &str| {
        [&[stream, 0, 0, 0, 0, 0, 0, u8::try_from(text.len()).expect("short")], text.as_bytes()].concat()
    };
    let said = [line(1, "hello\n"), line(2, "trouble\n")].concat();
    let rest = futures_util::stream::once(async move {
        drop(end.wait_for(Option::is_some).await);
        Ok::<_, std::io::Error>(line(1, "bye\n"))
    });
    let stream = futures_util::stream::once(async move { Ok(said) }).chain(rest);
    Body::from_stream(stream).into_response()
}

impl Kind {
    fn is_podman(self) -> bool {
        matches!(self, Self::Podman | Self::RootlessPodman4 | Self::RootlessPodman5)
    }

    fn api_version(self) -> &'static str {
        if self.is_podman() { "1.41" } else { "1.47" }
    }

    /// As far as anybody looks at it.
    fn version(self) -> Value {
        let component = |name: &str, version: &str| json!({ "Name": name, "Version": version, "Details": {} });
        let components = match self.is_podman() {
            true => [
                component("Podman Engine", "4.3.1"),
                component("Conmon", "conmon version 2.1.6, commit: unknown"),
                component("OCI Runtime (runc)", "runc version 1.1.5"),
            ],
            false => [component("Engine", "27.3.1"), component("containerd", "1.7.22"), component("runc", "1.1.14")],
        };
        json!({ "Platform": { "Name": "" }, "Components": components, "ApiVersion": self.api_version() })
    }

    fn info(self) -> Value {
        match self {
            Self::Docker => json!({ "SecurityOptions": ["name=seccomp,profile=builtin", "name=cgroupns"] }),
            Self::RootlessDocker => json!({ "SecurityOptions": ["name=seccomp,profile=builtin", "name=rootless"] }),
            Self::Podman => json!({ "SecurityOptions": ["name=seccomp,profile=default"], "Rootless": false }),
            Self::RootlessPodman4 => json!({ "SecurityOptions": ["name=seccomp,profile=default"], "Rootless": true }),
            Self::RootlessPodman5 => {
                json!({ "SecurityOptions": ["name=seccomp,profile=default", "name=rootless"], "Rootless": true })
            }
        }
    }
}

impl Contents {
    fn find(&mut self, name: &str) -> Result<&mut Container, Refused> {
        let found = self.containers.iter_mut().find(|(id, container)| *id == name || container.name == name);
        found.map(|(_, container)| container).ok_or_else(|| no(StatusCode::NOT_FOUND, "no such container"))
    }

    fn has(&self, image: &str) -> bool {
        self.images.is_empty() || self.images.iter().any(|known| known == image)
    }

    fn answer(
        &mut self,
        method: &Method,
        segments: &[&str],
        query: &BTreeMap<String, String>,
        body: &Value,
    ) -> Result<Response, Refused> {
        let done = StatusCode::NO_CONTENT.into_response();
        match (method.as_str(), segments) {
            ("GET", ["version"]) => Ok(Json(self.kind.version()).into_response()),
            ("GET", ["info"]) => Ok(Json(self.kind.info()).into_response()),
            ("GET", ["networks", name]) => {
                let found = self.networks.get(*name).ok_or_else(|| no(StatusCode::NOT_FOUND, "no such network"))?;
                Ok(Json(found.clone()).into_response())
            }
            ("POST", ["networks", "create"]) => {
                let name = body["Name"].as_str().expect("a name").to_owned();
                self.networks.insert(name, body.clone());
                Ok((StatusCode::CREATED, Json(json!({ "Id": "net", "Warning": "" }))).into_response())
            }
            ("GET", ["images", name, "json"]) => match self.has(name) {
                true => Ok(Json(json!({ "RepoTags": [name] })).into_response()),
                false => Err(no(StatusCode::NOT_FOUND, format!("No such image: {name}"))),
            },
            ("POST", ["images", "create"]) => {
                let line = match self.cannot_pull.clone() {
                    Some(error) => json!({ "error": error }),
                    None => {
                        self.images.push(query["fromImage"].clone());
                        json!({ "status": "pulled" })
                    }
                };
                Ok(format!("{}\n{line}\n", json!({ "status": "pulling" })).into_response())
            }
            ("POST", ["containers", "create"]) => self.create(&query["name"], body),
            ("GET", ["containers", "json"]) => {
                let filters: Value = serde_json::from_str(&query["filters"]).expect("JSON");
                let wanted = filters["label"].as_array().expect("labels");
                let labels = |container: &Container| container.body["Labels"].as_object().expect("labels").clone();
                // It has all of them.
                let is_wanted = |container: &&Container| {
                    let labels = labels(container);
                    let has = |(name, value): (&str, &str)| labels.get(name).is_some_and(|has| has == value);
                    wanted.iter().all(|one| one.as_str().expect("text").split_once('=').is_some_and(has))
                };
                let listed: Vec<Value> =
                    self.containers.values().filter(is_wanted).map(|one| json!({ "Labels": labels(one) })).collect();
                Ok(Json(listed).into_response())
            }
            ("GET", ["containers", name, "json"]) => Ok(Json(self.find(name)?.shown()).into_response()),
            ("POST", ["containers", name, verb @ ("start" | "pause" | "unpause")]) => {
                let refused = self.cannot_start.clone().filter(|_| *verb == "start");
                let container = self.find(name)?;
                if let Some(message) = refused {
                    return Err(no(StatusCode::BAD_REQUEST, message));
                }
                let (from, to) = match *verb {
                    "start" => ("created", "running"),
                    "pause" => ("running", "paused"),
                    _ => ("paused", "running"),
                };
                if container.status != from {
                    return Err(no(StatusCode::CONFLICT, format!("container is {}", container.status)));
                }
                container.status = to;
                Ok(done)
            }
            ("POST", ["containers", name, "kill"]) => {
                let container = self.find(name)?;
                if !container.is_on() {
                    return Err(no(StatusCode::CONFLICT, "it does not run"));
                }
                match query["signal"].as_str() {
                    "SIGKILL" => container.stop(137),
                    _ if container.is_deaf() => (),
                    _ => container.stop(0),
                }
                Ok(done)
            }
            ("DELETE", ["containers", name]) => {
                let container = self.find(name)?;
                if container.is_on() && query.get("force").is_none_or(|force| force != "true") {
                    return Err(no(StatusCode::CONFLICT, "it runs"));
                }
                container.stop(137);
                self.containers.retain(|id, container| id != name && container.name != *name);
                Ok(done)
            }
            _ => Err(no(StatusCode::NOT_FOUND, format!("page not found: {method} {segments:?}"))),
        }
    }

    fn create(&mut self, name: &str, body: &Value) -> Result<Response, Refused> {
        let unknown = |value: &Value, known: &[&str]| {
            value.as_object().expect("an object").keys().find(|key| !known.contains(&key.as_str())).cloned()
        };
        if let Some(field) = unknown(body, &FIELDS).or_else(|| unknown(&body["HostConfig"], &HOST_FIELDS)) {
            return Err(no(StatusCode::BAD_REQUEST, format!("unknown field {field}")));
        }
        let image = body["Image"].as_str().expect("an image");
        if !self.has(image) {
            return Err(no(StatusCode::NOT_FOUND, format!("No such image: {image}")));
        }
        if self.containers.values().any(|container| container.name == name) {
            return Err(no(StatusCode::CONFLICT, "the name is in use"));
        }
        self.made += 1;
        let id = format!("{:064x}", self.made);
        let container = Container {
            name: name.to_owned(),
            body: body.clone(),
            status: "created",
            is_out_of_memory: false,
            end: watch::Sender::new(None),
        };
        self.containers.insert(id.clone(), container);
        Ok((StatusCode::CREATED, Json(json!({ "Id": id, "Warnings": [] }))).into_response())
    }
}

/// What every file in a directory holds, by its path.
pub(crate) fn files(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let content = std::fs::read(&path).expect("readable");
            found.push((path, content));
        }
    }
    found
}
