//! Every command of docs/spawner.md runs as it stands there, by the built `bifrost`, in tmux
//! and outside it, with stand-ins for the agent and the shell: a line that this test does not
//! know how to run fails it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

const PAGE: &str = include_str!("../../docs/spawner.md");
const PATIENCE: Duration = Duration::from_secs(60);
/// What a coding agent prints, and some work that nobody pushes.
const CLAUDE: &str = r#"#!/bin/sh
read -r prompt
test "$ANTHROPIC_API_KEY" = key-key-key || exit 3
echo "$prompt" > NOTES
echo '{"type":"system","session_id":"s-1"}'
echo '{"type":"assistant","message":{"content":[{"type":"text","text":"It is done."}]}}'
echo '{"type":"result","session_id":"s-1","result":"It is done.","total_cost_usd":0.5,"usage":{"input_tokens":9,"output_tokens":3},"is_error":false}'
"#;

/// Not the real one, which would ignore SIGTERM for as long as it is given.
const BASH: &str = "#!/bin/sh\nexec cat\n";

/// A person with a repository, who starts agents from it.
struct Person {
    root: PathBuf,
    environment: BTreeMap<&'static str, String>,
    _directory: tempfile::TempDir,
}

impl Person {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().canonicalize().expect("is there");
        fs::create_dir_all(root.join("bin")).expect("makes");
        for (name, script) in [("claude", CLAUDE), ("bash", BASH)] {
            let path = root.join("bin").join(name);
            fs::write(&path, script).expect("writes");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("sets");
        }
        let path = kit::Vars::from_process().text("PATH").expect("a PATH").to_owned();
        let environment = BTreeMap::from([
            ("PATH", format!("{}:{path}", root.join("bin").display())),
            ("HOME", root.to_string_lossy().into_owned()),
            ("ANTHROPIC_API_KEY", "key-key-key".to_owned()),
            ("BIFROST_AGENTS_TMUX_SOCKET", root.join("tmux").to_string_lossy().into_owned()),
        ]);
        let person = Self { root, environment, _directory: directory };
        for words in [
            "git init --quiet app",
            "git -C app -c user.name=x -c user.email=x@x commit --quiet --allow-empty --message=first",
        ] {
            let words: Vec<&str> = words.split(' ').collect();
            person.well(&person.root, &words, b"").await;
        }
        fs::write(person.app().join("task.md"), "Mend it.\n").expect("writes");
        fs::write(person.app().join(".git/info/exclude"), "task.md\n").expect("writes");
        person
    }

    fn app(&self) -> PathBuf {
        self.root.join("app")
    }

    async fn run(&self, directory: &Path, words: &[&str], input: &[u8]) -> Output {
        let program = if words[0] == "bifrost" { env!("CARGO_BIN_EXE_bifrost") } else { words[0] };
        let mut command = kit::process::command(program);
        command.args(&words[1..]).current_dir(directory).env_clear().envs(&self.environment);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starts");
        child.stdin.take().expect("is piped").write_all(input).await.expect("takes it");
        child.wait_with_output().await.expect("ends")
    }

    async fn well(&self, directory: &Path, words: &[&str], input: &[u8]) -> String {
        let output = self.run(directory, words, input).await;
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    async fn list(&self) -> Vec<Value> {
        let text = self.well(&self.app(), &["bifrost", "agents", "list", "--json"], b"").await;
        serde_json::from_str(&text).expect("is JSON")
    }

    /// Waits until the agent is so, and gives what is known of it.
    async fn until(&self, id: &str, status: &str) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut beat = tokio::time::interval(Duration::from_millis(50));
        loop {
            let agents = self.list().await;
            let agent = agents.into_iter().find(|agent| agent["id"] == id).expect("is known");
            if agent["status"] == status {
                return agent;
            }
            assert!(Instant::now() < deadline, "never {status}: {agent}");
            beat.tick().await;
        }
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        // The server is this person's own, if there is one.
        let mut command = kit::process::command("tmux");
        command.arg("-S").arg(self.root.join("tmux")).arg("kill-server").stderr(Stdio::null());
        drop(command.as_std_mut().status());
        // So do terminals in the background that a test which fails has left.
        for agent in fs::read_dir(self.root.join(".local/state/bifrost/agents")).into_iter().flatten().flatten() {
            let own = agent.path().join(".agent");
            let leader = fs::read_to_string(own.join("supervisor")).ok().and_then(|text| text.parse().ok());
            if let (Some(leader), Ok(true)) = (leader, kit::lock::is_held(&own.join("alive"))) {
                drop(kit::process::signal_group(leader, kit::process::Sig::SIGTERM));
            }
        }
    }
}

/// The lines of all blocks marked `sh`.
fn commands() -> Vec<&'static str> {
    let blocks = PAGE.split("```sh\n").skip(1);
    blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines()).collect()
}

/// As a shell cuts a line into words, for lines that use single quotes only.
fn words(line: &str) -> Vec<&str> {
    let parts = line.split('\'').enumerate();
    parts
        .flat_map(|(index, part)| if index % 2 == 1 { vec![part] } else { part.split_whitespace().collect() })
        .collect()
}

#[tokio::test]
async fn every_command_on_the_page_runs_as_it_stands_there_in_tmux() {
    every_command_runs(&[]).await;
}

#[tokio::test]
async fn every_command_on_the_page_runs_in_the_background() {
    every_command_runs(&["--no-tmux"]).await;
}

async fn every_command_runs(options: &[&str]) {
    let person = Person::new().await;
    let app = person.app();
    let (mut asked, mut bash, mut snapshot) = (String::new(), String::new(), String::new());
    for line in commands() {
        let (input, line) = match line.split_once(" | ") {
            Some((said, line)) => (format!("{}\n", words(said)[1..].join(" ")), line),
            None => (String::new(), line),
        };
        let mut words = words(line);
        let verb = words.get(2).copied().unwrap_or_default();
        let id = if verb == "cleanup" { &asked } else { &bash };
        let (bundle, reference) =
            (format!("{snapshot}/work.bundle"), format!("refs/bifrost/fleet/{asked}/work:refs/heads/rescued"));
        for word in &mut words {
            *word = match *word {
                "ID" => id,
                ".fleet-snapshots/NAME/work.bundle" => &bundle,
                "refs/bifrost/fleet/ID/work:refs/heads/rescued" => &reference,
                "--" => "--",
                word => word,
            };
        }
        if verb == "start" {
            words.splice(3..3, options.iter().copied());
        }
        let said = person.well(&app, &words, input.as_bytes()).await;
        match (words[0], verb) {
            ("bifrost", "start") if words.contains(&"--agent") => {
                let agent = person.until(&said, "succeeded").await;
                let report = &agent["end"]["report"];
                assert_eq!((&report["session"], &report["cost_dollars"]), (&"s-1".into(), &"0.5".into()), "{agent}");
                let log = person.well(&app, &["bifrost", "agents", "logs", &said], b"").await;
                assert_eq!(log, "It is done.");
                asked = said;
            }
            ("bifrost", "start") => {
                assert_eq!(person.until(&said, "running").await["branch"], "try/it");
                bash = said;
            }
            ("bifrost", "list") => assert!(said.contains(&bash) && said.contains("fix/login"), "{said}"),
            ("bifrost", "send") => assert!(said.contains("was sent 21 bytes"), "{said}"),
            ("bifrost", "kill") => drop(person.until(&bash, "cancelled").await),
            ("bifrost", "logs") => (),
            ("bifrost", "cleanup") => {
                let mut taken = fs::read_dir(app.join(".fleet-snapshots")).expect("is there").flatten();
                let taken = taken.find(|entry| entry.path().is_dir()).expect("was taken");
                snapshot = format!(".fleet-snapshots/{}", taken.file_name().to_string_lossy());
            }
            ("git", _) => {
                assert_eq!(person.well(&app, &["git", "show", "rescued:NOTES"], b"").await, "Mend it.");
            }
            _ => panic!("how is this run? {line}"),
        }
    }
    person.well(&app, &["bifrost", "agents", "cleanup", "--all-ended"], b"").await;
    assert_eq!(person.list().await, [Value::Null; 0]);
}

#[tokio::test]
async fn what_is_refused_has_its_exit_code() {
    let person = Person::new().await;
    fs::write(person.app().join("empty.md"), " \n").expect("writes");
    const ID: &str = "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70";
    for (line, code, complaint) in [
        ("bifrost agents start --branch a..b -- true", 64, "branch: git takes no such name"),
        ("bifrost agents start --branch main --repo .. -- true", 66, "is no git repository"),
        ("bifrost agents start --branch main --repo /no/such -- true", 66, "there is no directory /no/such"),
        ("bifrost agents start --branch a --agent mock --prompt empty.md", 64, "--prompt must say"),
        ("bifrost agents logs nosuch", 64, "not the id of an agent"),
        (
            "bifrost agents start --branch a --no-tmux -- no-such-program",
            69,
            "PROCESS_FAILED: no-such-program: not found",
        ),
        ("bifrost agents start --branch a --agent nobody --prompt task.md --no-tmux", 65, "no agent is called nobody"),
        ("bifrost agents start --branch a --hooks nowhere -- true", 64, "--hooks nowhere"),
        ("bifrost agents logs 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70", 66, ID),
        ("bifrost agents kill 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70", 66, ID),
        ("bifrost agents send 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70 --force", 64, "--reason"),
    ] {
        let output = person.run(&person.app(), &words(line), b"x").await;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {said}");
        assert!(said.contains(complaint), "{line}: {said}");
    }
    assert_eq!(person.list().await, [Value::Null; 0]);
}

#[tokio::test]
async fn a_start_that_is_interrupted_leaves_nothing() {
    let person = Person::new().await;
    let started = person.root.join("started");
    let script =
        format!("#!/bin/sh\ntest \"$1\" = --version && exit\ntouch '{}'\nexec tail -f /dev/null\n", started.display());
    for name in ["npm", "node"] {
        fs::write(person.root.join("bin").join(name), &script).expect("writes");
        fs::set_permissions(person.root.join("bin").join(name), fs::Permissions::from_mode(0o755)).expect("sets");
    }
    fs::write(person.app().join("package.json"), "{\"dependencies\": {\"a\": \"1\"}}").expect("writes");
    person.well(&person.app(), &["git", "add", "--all"], b"").await;
    let commit = ["git", "-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "--message=second"];
    person.well(&person.app(), &commit, b"").await;
    let mut command = kit::process::command(env!("CARGO_BIN_EXE_bifrost"));
    command.args(["agents", "start", "--branch", "a", "--", "true"]).current_dir(person.app());
    let child = command.env_clear().envs(&person.environment).stderr(Stdio::piped()).spawn().expect("starts");
    let deadline = Instant::now() + PATIENCE;
    let mut beat = tokio::time::interval(Duration::from_millis(20));
    while !started.exists() {
        assert!(Instant::now() < deadline, "nothing is installed");
        beat.tick().await;
    }
    kit::process::signal_group(child.id().expect("runs"), kit::process::Sig::SIGINT).expect("signals");
    let output = child.wait_with_output().await.expect("ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert_eq!(person.list().await, [Value::Null; 0]);
    assert_eq!(person.well(&person.app(), &["git", "branch", "--list", "a"], b"").await, "");
    let worktrees = person.well(&person.app(), &["git", "worktree", "list"], b"").await;
    assert_eq!(worktrees.lines().count(), 1, "{worktrees}");
}
