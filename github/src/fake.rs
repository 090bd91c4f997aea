//! A host on this computer, for tests: repositories by git's own `http-backend`, and the part of the API that the
//! client speaks, answering as <https://docs.github.com/rest> says, refusals included.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

const USER: &str = "bot";
const API: &str = "/api/v3/repos/";

/// A host with one repository, `owner/name`, and one user. It may get other repositories, which are private.
#[derive(Debug)]
pub struct Host {
    server: MockServer,
    shared: Arc<Shared>,
}

/// A pull request that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// By which the host knows it.
    pub number: i64,
    /// The branch that has the change.
    pub head: String,
    /// The branch that is to get it.
    pub base: String,
    /// One line.
    pub title: String,
    /// Its text.
    pub body: String,
    /// Whether it is a draft.
    pub draft: bool,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    token: String,
    pulls: Mutex<Vec<Opened>>,
    issues: Mutex<BTreeMap<i64, Value>>,
    /// What only who has the token may read.
    private: Mutex<Vec<String>>,
    /// Where repositories are that were elsewhere.
    moved: Mutex<BTreeMap<String, String>>,
    /// Whether whoever fetches is kept waiting.
    stalls: AtomicBool,
    fetches: AtomicUsize,
}

impl Host {
    /// Begins in an empty directory, with a repository of one commit on `main`. Whoever pushes, or makes something,
    /// needs the token.
    pub async fn start(root: &Path, token: &str) -> Self {
        Self::start_on(Ipv4Addr::LOCALHOST, root, token).await
    }

    /// The same at an address of this computer, for whoever does not reach its loopback.
    pub async fn start_on(address: Ipv4Addr, root: &Path, token: &str) -> Self {
        let repository = root.join("owner/name.git");
        std::fs::create_dir_all(&repository).expect("the directory may be written");
        git(&repository, &["init", "--quiet", "--bare", "--initial-branch=main"], b"");
        let tree = git(&repository, &["mktree"], b"");
        let tree = tree.trim();
        let commit = git(&repository, &["commit-tree", "-m", "The first", tree], b"");
        git(&repository, &["update-ref", "refs/heads/main", commit.trim()], b"");
        let shared = Arc::new(Shared {
            root: root.to_owned(),
            token: token.to_owned(),
            pulls: Mutex::default(),
            issues: Mutex::default(),
            private: Mutex::default(),
            moved: Mutex::default(),
            stalls: AtomicBool::new(false),
            fetches: AtomicUsize::new(0),
        });
        let listener = TcpListener::bind((address, 0)).expect("a free port");
        let server = MockServer::builder().listener(listener).start().await;
        Mock::given(any()).respond_with(Answers(Arc::clone(&shared))).mount(&server).await;
        Self { server, shared }
    }

    /// The repository's URL.
    pub fn url(&self) -> String {
        format!("{}/owner/name.git", self.server.uri())
    }

    /// A line of git-credential-store(1) that proves who asks.
    pub fn credentials(&self) -> String {
        self.server.uri().replacen("://", &format!("://{USER}:{}@", self.shared.token), 1) + "\n"
    }

    /// Another repository, with nothing in it yet, that whoever has no token may not read; gives its URL.
    pub fn add_private(&self, name: &str) -> String {
        let repository = self.shared.root.join(name);
        std::fs::create_dir_all(&repository).expect("the directory may be written");
        git(&repository, &["init", "--quiet", "--bare", "--initial-branch=main"], b"");
        lock(&self.shared.private).push(format!("/{name}/"));
        format!("{}/{name}", self.server.uri())
    }

    /// From now on whoever asks for a repository by the one name is sent to the other; gives the URL with the first.
    pub fn redirect(&self, from: &str, to: &str) -> String {
        lock(&self.shared.moved).insert(format!("/{from}/"), format!("/{to}/"));
        format!("{}/{from}", self.server.uri())
    }

    /// What git says of the repository.
    pub fn git(&self, arguments: &[&str]) -> String {
        git(&self.shared.repository(), arguments, b"").trim().to_owned()
    }

    /// The pull requests that were opened, in order.
    pub fn pulls(&self) -> Vec<Opened> {
        self.shared.pulls().clone()
    }

    /// From now on whoever fetches objects gets none, and no answer either; or does again.
    pub fn stall(&self, stalls: bool) {
        self.shared.stalls.store(stalls, Ordering::SeqCst);
    }

    /// How often objects were asked for.
    pub fn fetches(&self) -> usize {
        self.shared.fetches.load(Ordering::SeqCst)
    }

    /// Somebody writes an issue.
    pub fn open_issue(&self, number: i64, title: &str, labels: &[&str]) {
        let labels: Vec<Value> = labels.iter().map(|name| json!({"name": name})).collect();
        let page = format!("{}/owner/name/issues/{number}", self.server.uri());
        let issue = json!({"number": number, "title": title, "body": null, "html_url": page, "labels": labels});
        self.shared.issues().insert(number, issue);
    }
}

impl Shared {
    fn repository(&self) -> PathBuf {
        self.root.join("owner/name.git")
    }

    fn pulls(&self) -> MutexGuard<'_, Vec<Opened>> {
        lock(&self.pulls)
    }

    fn issues(&self) -> MutexGuard<'_, BTreeMap<i64, Value>> {
        lock(&self.issues)
    }

    fn has_branch(&self, name: &str) -> bool {
        let reference = format!("refs/heads/{name}");
        let mut command = command(&self.repository(), &["show-ref", "--verify", "--quiet", &reference]);
        command.as_std_mut().status().is_ok_and(|status| status.success())
    }

    fn api(&self, request: &Request, path: &str) -> ResponseTemplate {
        let bearer = format!("Bearer {}", self.token);
        let is_known = request.headers.get("authorization").is_some_and(|value| *value == bearer.as_str());
        let asked: BTreeMap<String, String> = request.url.query_pairs().into_owned().collect();
        let is_post = request.method == "POST";
        match path.strip_prefix("owner/name").unwrap_or("elsewhere") {
            _ if is_post && !is_known => answer(401, &json!({"message": "Bad credentials"})),
            "" => answer(200, &json!({"full_name": "owner/name", "default_branch": "main"})),
            "/pulls" if is_post => self.open(request),
            "/pulls" => {
                let fits = |pull: &&Opened| {
                    asked.get("head").is_none_or(|head| *head == format!("owner:{}", pull.head))
                        && asked.get("base").is_none_or(|base| *base == pull.base)
                };
                answer(200, &self.pulls().iter().filter(fits).map(|pull| view(request, pull)).collect())
            }
            "/issues" => {
                let wanted = asked.get("labels").map(String::as_str).unwrap_or_default();
                let has = |issue: &Value, label: &str| {
                    issue["labels"].as_array().is_some_and(|labels| labels.iter().any(|one| one["name"] == label))
                };
                let fits = |issue: &&Value| wanted.split(',').all(|label| label.is_empty() || has(issue, label));
                answer(200, &self.issues().values().rev().filter(fits).cloned().collect())
            }
            _ => answer(404, &json!({"message": "Not Found"})),
        }
    }

    fn open(&self, request: &Request) -> ResponseTemplate {
        let asked: Value = request.body_json().unwrap_or_default();
        let text = |name: &str| asked[name].as_str().unwrap_or_default().to_owned();
        let (head, base) = (text("head"), text("base"));
        let invalid = |error: Value| answer(422, &json!({"message": "Validation Failed", "errors": [error]}));
        for (field, branch) in [("head", &head), ("base", &base)] {
            if !self.has_branch(branch) {
                return invalid(json!({"resource": "PullRequest", "field": field, "code": "invalid"}));
            }
        }
        let custom = |message: String| json!({"resource": "PullRequest", "code": "custom", "message": message});
        let between = git(&self.repository(), &["rev-list", "--count", &format!("{base}..{head}")], b"");
        if between.trim() == "0" {
            return invalid(custom(format!("No commits between {base} and {head}")));
        }
        let mut pulls = self.pulls();
        if pulls.iter().any(|pull| (&pull.head, &pull.base) == (&head, &base)) {
            return invalid(custom(format!("A pull request already exists for owner:{head}.")));
        }
        let number = i64::try_from(pulls.len()).unwrap_or_default() + 1;
        let draft = asked["draft"].as_bool().unwrap_or_default();
        pulls.push(Opened { number, head, base, title: text("title"), body: text("body"), draft });
        answer(201, &view(request, pulls.last().expect("it was just put there")))
    }

    /// One request of git, answered by git.
    fn git(&self, request: &Request) -> ResponseTemplate {
        let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let query = request.url.query().unwrap_or_default();
        let basic = format!("Basic {}", STANDARD.encode(format!("{USER}:{}", self.token)));
        let path = request.url.path();
        let moved = |(from, to): (&String, &String)| Some(format!("{to}{}?{query}", path.strip_prefix(from.as_str())?));
        if let Some(there) = lock(&self.moved).iter().find_map(moved) {
            return ResponseTemplate::new(301).insert_header("location", there.as_str());
        }
        let is_push = path.ends_with("/git-receive-pack") || query.contains("git-receive-pack");
        let needs_token = is_push || lock(&self.private).iter().any(|name| path.starts_with(name.as_str()));
        if needs_token && header("authorization") != basic {
            return ResponseTemplate::new(401).insert_header("www-authenticate", "Basic realm=\"git\"");
        }
        let asks_for_objects = request.url.path().ends_with("/git-upload-pack")
            && request.body.windows(5).any(|word| word == b"want " || word == b"fetch");
        if asks_for_objects {
            self.fetches.fetch_add(1, Ordering::SeqCst);
            if self.stalls.load(Ordering::SeqCst) {
                return ResponseTemplate::new(200).set_delay(Duration::from_secs(3_600));
            }
        }
        let mut command = kit::process::command("git");
        command.arg("http-backend").env_clear().envs([
            ("PATH", kit::Vars::from_process().text("PATH").unwrap_or_default()),
            ("GIT_PROJECT_ROOT", &self.root.to_string_lossy()),
            ("GIT_HTTP_EXPORT_ALL", "1"),
            ("REMOTE_USER", if is_push { USER } else { "" }),
            ("PATH_INFO", request.url.path()),
            ("QUERY_STRING", query),
            ("REQUEST_METHOD", request.method.as_str()),
            ("CONTENT_TYPE", header("content-type")),
            ("HTTP_CONTENT_ENCODING", header("content-encoding")),
            ("GIT_PROTOCOL", header("git-protocol")),
        ]);
        let said = run(command, &request.body).stdout;
        let end = said.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(said.len());
        let (head, body) =
            (String::from_utf8_lossy(&said[..end]).into_owned(), said.get(end + 4..).unwrap_or_default());
        let mut status = 200;
        let mut headers = Vec::new();
        for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
            match name {
                "Status" => status = value.get(..3).and_then(|code| code.parse().ok()).unwrap_or(500),
                _ => headers.push((name.to_owned(), value.to_owned())),
            }
        }
        let answer = ResponseTemplate::new(status).set_body_bytes(body);
        headers.iter().fold(answer, |answer, (name, value)| answer.insert_header(name.as_str(), value.as_str()))
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Answers(Arc<Shared>);

impl Respond for Answers {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        match request.url.path().strip_prefix(API) {
            Some(path) => self.0.api(request, path),
            None => self.0.git(request),
        }
    }
}

fn view(request: &Request, pull: &Opened) -> Value {
    let host = request.headers.get("host").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let page = format!("http://{host}/owner/name/pull/{}", pull.number);
    let (head, base) = (json!({"ref": pull.head}), json!({"ref": pull.base}));
    json!({"number": pull.number, "html_url": page, "state": "open", "head": head, "base": base, "draft": pull.draft})
}

fn answer(status: u16, body: &Value) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(body)
}

fn command(repository: &Path, arguments: &[&str]) -> tokio::process::Command {
    let mut command = kit::process::command("git");
    command.args(["-c", "user.name=Host", "-c", "user.email=host@example.org"]).args(arguments);
    command.current_dir(repository).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    command
}

fn git(repository: &Path, arguments: &[&str], input: &[u8]) -> String {
    let output = run(command(repository, arguments), input);
    assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn run(mut command: tokio::process::Command, input: &[u8]) -> Output {
    let command = command.as_std_mut().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("git is installed");
    let mut stdin = child.stdin.take().expect("it is piped");
    std::thread::scope(|scope| {
        // Git may stop reading before the end; what it says then tells why.
        scope.spawn(move || stdin.write_all(input).ok());
        child.wait_with_output().expect("git ends")
    })
}
