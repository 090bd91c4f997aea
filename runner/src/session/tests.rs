//! The worker protocol as the control plane speaks it, and real executions behind it.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use kit::{Chance, Clock};
use serde_json::{Value, json};
use wire::event::{Appended, LogPayload, Receipt, kind};
use wire::execution::Outcome;
use wire::worker::{Completion, HeartbeatReply};
use wiremock::matchers::{method, path, path_regex};
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

use super::*;
use crate::isolation::{Demand, Isolation};
use crate::testing::{PATIENCE, Remote, Scene, SmallVolume, until};

/// Answers with each of these once, and with the last one for ever.
struct InTurn<T>(Mutex<VecDeque<T>>);

impl<T> InTurn<T> {
    fn of(answers: impl IntoIterator<Item = T>) -> Self {
        Self(Mutex::new(answers.into_iter().collect()))
    }
}

impl Respond for InTurn<ResponseTemplate> {
    fn respond(&self, _: &Request) -> ResponseTemplate {
        let mut answers = self.0.lock().expect("not poisoned");
        if answers.len() > 1 { answers.pop_front().expect("more than one") } else { answers[0].clone() }
    }
}

/// An event store that takes everything.
struct TakesEvents(AtomicU64);

impl Respond for TakesEvents {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let body: Value = serde_json::from_slice(&request.body).expect("JSON");
        let events = body["events"].as_array().expect("a batch");
        let receipt = |event: &Value| Receipt {
            id: event["id"].as_str().expect("an id").parse().expect("an id"),
            seq: self.0.fetch_add(1, Ordering::SeqCst),
            duplicate: false,
        };
        ResponseTemplate::new(201).set_body_json(Appended { events: events.iter().map(receipt).collect() })
    }
}

struct Control {
    server: MockServer,
    scene: Scene,
    config: Config,
}

fn ok(body: impl serde::Serialize) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(body)
}

fn problem(status: u16, code: &str) -> ResponseTemplate {
    let problem = wire::problem::Problem::new(status, "No", code, "no");
    ResponseTemplate::new(status).set_body_json(problem)
}

/// Answers a poll that has nothing to bring, after a while.
fn wait() -> ResponseTemplate {
    ok(Instruction::Wait).set_delay(Duration::from_millis(50))
}

impl Control {
    async fn new(change: impl FnOnce(&mut Config)) -> Self {
        Self::around(Scene::new().await, change).await
    }

    async fn around(scene: Scene, change: impl FnOnce(&mut Config)) -> Self {
        let server = MockServer::start().await;
        let mut config = crate::testing::config(scene.directory.path());
        config.control_url = server.uri();
        config.sprite_dir = scene.directory.path().join("other");
        change(&mut config);
        let control = Self { server, scene, config };
        let key = Key::from_bytes([7; 32]).reveal();
        let registered = json!({
            "worker_id": uuid::Uuid::from_u128(9), "token": "worker-token", "lease_seconds": 60,
            "heartbeat_seconds": 1, "events": {"url": control.server.uri(), "key_id": "machine/x", "key": key},
        });
        control.answer("/v1/workers/register", [ok(registered)]).await;
        control.on("POST", "^/v1/events$", TakesEvents(AtomicU64::new(1))).await;
        control
    }

    async fn on(&self, verb: &str, route: &str, answers: impl Respond + 'static) {
        Mock::given(method(verb)).and(path_regex(route)).respond_with(answers).mount(&self.server).await;
    }

    async fn answer(&self, route: &str, answers: impl IntoIterator<Item = ResponseTemplate>) {
        Mock::given(method("POST")).and(path(route)).respond_with(InTurn::of(answers)).mount(&self.server).await;
    }

    async fn answer_worker(&self, what: &str, answers: impl IntoIterator<Item = ResponseTemplate>) {
        self.on("POST", &format!("^/v1/workers/{}/{what}$", uuid::Uuid::from_u128(9)), InTurn::of(answers)).await;
    }

    async fn run(&self, tasks: &Tasks) -> anyhow::Result<()> {
        let opened = Room::open(&self.config, Clock::system(), Chance::system()).await?;
        run(self.config.clone(), opened, tasks).await
    }

    /// Runs until so many requests have come to a route, then stops.
    async fn run_until(&self, route: &str, count: usize) -> anyhow::Result<()> {
        let tasks = Tasks::new();
        let heard = async {
            until(async || self.requests(route).await.len() >= count).await;
            tasks.stop();
        };
        let (ended, ()) = tokio::time::timeout(PATIENCE, async { tokio::join!(self.run(&tasks), heard) })
            .await
            .unwrap_or_else(|_| panic!("{route} was not asked {count} times"));
        ended
    }

    /// The bodies of the requests to a route that ends so.
    async fn requests(&self, route: &str) -> Vec<Value> {
        let requests = self.server.received_requests().await.expect("recorded");
        let requests = requests.iter().filter(|request| request.url.path().ends_with(route));
        requests.map(|request| serde_json::from_slice(&request.body).expect("JSON")).collect()
    }

    async fn completion(&self) -> Completion {
        let requests = self.requests("/complete").await;
        serde_json::from_value(requests.last().expect("completed").clone()).expect("a completion")
    }

    async fn completions(&self) -> Vec<Completion> {
        let requests = self.requests("/complete").await;
        requests.into_iter().map(|request| serde_json::from_value(request).expect("a completion")).collect()
    }

    /// Every event, in the order in which the store was sent them.
    async fn events(&self) -> Vec<Value> {
        let batches = self.requests("/v1/events").await;
        batches.iter().flat_map(|batch| batch["events"].as_array().expect("a batch").clone()).collect()
    }

    async fn finished(&self) -> bool {
        self.events().await.iter().any(|event| event["type"] == "execution.finished")
    }

    /// What the log of a lease's execution says.
    async fn told(&self, lease: &Lease) -> String {
        let of_it = |event: &Value| {
            let is_log = event["type"] == "execution.log" && event["execution_id"] == lease.execution_id.to_string();
            is_log.then(|| serde_json::from_value::<LogPayload>(event["payload"].clone()).expect("a log"))
        };
        let bytes: Vec<u8> = self.events().await.iter().filter_map(of_it).flat_map(|log| log.data.to_bytes()).collect();
        String::from_utf8(bytes).expect("text")
    }
}

fn execute(lease: &Lease) -> ResponseTemplate {
    ok(Instruction::Execute(Box::new(lease.clone())))
}

#[tokio::test]
async fn a_lease_is_begun_told_and_completed_and_the_batch_is_saved() {
    let control = Control::new(|_| ()).await;
    let remote = Remote::new().await;
    let lease = control.scene.lease(&remote, None, &["cat", "README"]);
    // Delivered twice, as after a lost answer; then the batch is over.
    let checkpoint = ok(Instruction::Checkpoint { batch: 7 }).set_delay(Duration::from_millis(20));
    control.answer_worker("next", [execute(&lease), execute(&lease), wait(), checkpoint]).await;
    control.answer_worker("heartbeat", [ok(HeartbeatReply::default())]).await;
    control.answer_worker("executions/.*/start", [problem(503, "unavailable"), ok(())]).await;
    control.answer_worker("executions/.*/complete", [problem(503, "unavailable"), ok(())]).await;
    let saved = async {
        let is_saved = |polls: &[Value]| polls.iter().any(|poll| poll["checkpointed_batch"] == 7);
        until(async || is_saved(&control.requests("/next").await)).await;
        control.requests("/next").await
    };
    let tasks = Tasks::new();
    let (ended, polls) = tokio::join!(control.run(&tasks), async {
        let polls = tokio::time::timeout(PATIENCE, saved).await.expect("saved");
        tasks.stop();
        polls
    });
    ended.expect("stopped");
    assert_eq!(control.completion().await.outcome, Outcome::Succeeded);
    assert!(control.finished().await);
    assert_eq!(control.requests("/complete").await.len(), 2);
    assert!(!control.requests("/start").await.is_empty());
    assert_eq!(polls[1]["running"][0]["execution_id"], lease.execution_id.to_string());
    let register = &control.requests("/register").await[0];
    assert_eq!((&register["capacity"], &register["protocol"]), (&json!(1), &json!(PROTOCOL)));
    let held = [wire::worker::repository_name(&remote.url())];
    assert_eq!(polls.last().expect("polled")["repositories"], json!(held));
}

#[tokio::test]
async fn work_that_cannot_be_saved_is_told_of_before_the_batch_counts_as_saved() {
    let control = Control::new(|_| ()).await;
    let remote = Remote::new().await;
    // Where checkpoints are stored there is nothing that can store any.
    let script =
        "cd $HOME/../../..; rm -rf chunks; : > chunks; cd -; echo mine > mine; until [ -e go ]; do sleep 0.05; done";
    let lease = control.scene.lease(&remote, None, &["sh", "-c", script]);
    let checkpoint = ok(Instruction::Checkpoint { batch: 7 }).set_delay(Duration::from_millis(20));
    control.answer_worker("next", [execute(&lease), wait(), wait(), wait(), checkpoint]).await;
    control.answer_worker("heartbeat", [ok(HeartbeatReply::default())]).await;
    control.answer_worker("executions/.*", [ok(())]).await;
    let tree = control.config.sprite_dir.join("workspaces").join(lease.execution_id.to_string());
    let polls = async || control.requests("/next").await;
    let saved = async {
        until(async || tree.join("mine").exists()).await;
        let before = polls().await.len();
        until(async || polls().await.len() > before + 1).await;
        std::fs::write(tree.join("go"), "").expect("writes");
        until(async || polls().await.iter().any(|poll| poll["checkpointed_batch"] == 7)).await;
        polls().await
    };
    let tasks = Tasks::new();
    let (ended, polls) = tokio::join!(control.run(&tasks), async {
        let polls = tokio::time::timeout(PATIENCE, saved).await.expect("it goes on");
        tasks.stop();
        polls
    });
    ended.expect("stopped");
    let kept = |poll: &Value, place: &str| {
        let work: Vec<KeptWork> = serde_json::from_value(poll["kept"].clone()).expect("told");
        work.into_iter().any(|work| work.reference.starts_with(place) && work.execution_id == lease.execution_id)
    };
    let is_running = |poll: &&Value| poll["running"] != json!([]);
    assert!(polls.iter().filter(is_running).all(|poll| !kept(poll, "workspaces/")), "it is in hand: {polls:#?}");
    let last = polls.iter().find(|poll| poll["checkpointed_batch"] == 7).expect("it was said");
    assert!(kept(last, "aside/") && !kept(last, "workspaces/"), "{last:#}");
    assert_eq!(control.completion().await.checkpoint, None);
}

#[tokio::test]
async fn the_grant_of_a_lease_goes_with_its_events_and_an_older_control_plane_gives_none() {
    for grant in [Some("v1.of-this.lease"), None] {
        let control = Control::new(|_| ()).await;
        let remote = Remote::new().await;
        let mut lease = control.scene.lease(&remote, None, &["true"]);
        lease.grant = grant.map(str::to_owned);
        control.answer_worker("next", [execute(&lease), wait()]).await;
        control.answer_worker("heartbeat", [ok(HeartbeatReply::default())]).await;
        control.answer_worker("executions/.*", [ok(())]).await;
        control.run_until("/complete", 1).await.expect("stopped");
        assert_eq!(control.completion().await.outcome, Outcome::Succeeded);
        let requests = control.server.received_requests().await.expect("recorded");
        let of_events = requests.iter().filter(|request| request.url.path() == "/v1/events");
        let sent: Vec<Vec<&str>> = of_events
            .map(|request| request.headers.get_all(wire::grant::HEADER))
            .map(|values| values.iter().map(|value| value.to_str().expect("text")).collect())
            .collect();
        assert!(!sent.is_empty() && sent.iter().all(|grants| *grants == Vec::from_iter(grant)), "{sent:?}");
    }
}

#[tokio::test]
async fn a_cancelled_execution_is_ended_and_reported_as_such() {
    let control = Control::new(|_| ()).await;
    let remote = Remote::new().await;
    let lease = control.scene.lease(&remote, None, &["sleep", "600"]);
    let cancel = ok(Instruction::Cancel { execution_id: lease.execution_id });
    control.answer_worker("next", [execute(&lease), cancel, wait()]).await;
    control.answer_worker("heartbeat", [ok(HeartbeatReply::default())]).await;
    control.answer_worker("executions/.*", [ok(())]).await;
    control.run_until("/complete", 1).await.expect("stopped");
    assert_eq!(control.completion().await.outcome, Outcome::Cancelled);
}

#[tokio::test]
async fn a_lost_lease_ends_the_work_and_nothing_more_is_said() {
    for is_told_by_heartbeat in [true, false] {
        let control = Control::new(|_| ()).await;
        let remote = Remote::new().await;
        let lost = control.scene.lease(&remote, None, &["sleep", "600"]);
        let next = control.scene.lease(&remote, None, &["true"]);
        control.answer_worker("next", [execute(&lost), execute(&next), wait()]).await;
        if is_told_by_heartbeat {
            let reply = HeartbeatReply { lost: vec![lost.execution_id] };
            control.answer_worker("heartbeat", [ok(reply)]).await;
        } else {
            let start = format!("executions/{}/start", lost.execution_id);
            control.answer_worker(&start, [problem(409, "lease_lost")]).await;
        }
        control.answer_worker("executions/.*", [ok(())]).await;
        control.run_until(&format!("{}/complete", next.execution_id), 1).await.expect("stopped");
        assert_eq!(control.requests("/complete").await.len(), 1);
    }
}

#[tokio::test]
async fn a_stop_ends_the_command_saves_its_work_and_reports_it() {
    let control = Control::new(|_| ()).await;
    let remote = Remote::new().await;
    let lease = control.scene.lease(&remote, None, &["sh", "-c", "echo x > made; sleep 86402"]);
    control.answer_worker("next", [execute(&lease), wait()]).await;
    control.answer_worker("heartbeat", [ok(HeartbeatReply::default())]).await;
    control.answer_worker("executions/.*", [ok(())]).await;
    let tasks = Tasks::new();
    let made = control.config.sprite_dir.join("workspaces").join(lease.execution_id.to_string()).join("made");
    let work = async {
        tokio::join!(control.run(&tasks), async {
            until(async || made.exists()).await;
            tasks.stop();
        })
    };
    let (ended, ()) = tokio::time::timeout(PATIENCE, work).await.expect("it begins");
    ended.expect("stopped");
    assert_eq!(control.completion().await.outcome, Outcome::WorkerLost);
    assert!(control.finished().await);
    assert!(!crate::testing::is_running("sleep 86402"));
    let opened = Room::open(&control.config, Clock::system(), Chance::system()).await.expect("given up");
    assert_eq!(opened.room.volume.checkpoint_ids().expect("lists").len(), 1);
}

#[tokio::test]
async fn a_worker_that_is_not_known_any_more_registers_again() {
    let control = Control::new(|_| ()).await;
    control.answer_worker("next", [problem(401, "unauthenticated"), wait()]).await;
    control.run_until("/register", 2).await.expect("stopped");
    let boots: Vec<Value> =
        control.requests("/register").await.into_iter().map(|register| register["boot"].clone()).collect();
    assert_eq!(boots[0], boots[1]);
}

#[tokio::test]
async fn a_lost_lease_is_heard_at_once_after_a_new_registration_though_a_heartbeat_hangs() {
    let control = Control::new(|_| ()).await;
    let remote = Remote::new().await;
    let lease = control.scene.lease(&remote, None, &["sleep", "86403"]);
    let later = |answer: ResponseTemplate, ms| answer.set_delay(Duration::from_millis(ms));
    let unknown = later(problem(401, "unauthenticated"), 3_000);
    control.answer_worker("next", [execute(&lease), unknown, wait()]).await;
    let lost = HeartbeatReply { lost: vec![lease.execution_id] };
    control.answer_worker("heartbeat", [later(ok(HeartbeatReply::default()), 60_000), ok(lost)]).await;
    control.answer_worker("executions/.*", [ok(())]).await;
    let tasks = Tasks::new();
    let work = async {
        tokio::join!(control.run(&tasks), async {
            until(async || crate::testing::is_running("sleep 86403")).await;
            until(async || control.requests("/heartbeat").await.len() == 1).await;
            let heard = async {
                until(async || control.requests("/heartbeat").await.len() == 2).await;
                until(async || !crate::testing::is_running("sleep 86403")).await;
            };
            // The heartbeat that hangs would be given up after ten.
            tokio::time::timeout(Duration::from_secs(9), heard).await.expect("nobody waits for it");
            tasks.stop();
        })
    };
    let (ended, ()) = tokio::time::timeout(PATIENCE, work).await.expect("ends");
    ended.expect("stopped");
    assert_eq!(control.requests("/complete").await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_forgotten_machine_gives_up() {
    let mut control = Control::new(|config| config.limits.silence = Duration::from_millis(300)).await;
    control.config.control_url = "http://127.0.0.1:9".into();
    let ended = tokio::time::timeout(PATIENCE, control.run(&Tasks::new())).await.expect("gives up");
    let error = ended.expect_err("gives up").to_string();
    assert!(error.contains("has not answered"), "{error}");
    assert!(!error.contains("the-machine-token"));
}

#[tokio::test]
async fn an_end_is_not_told_while_its_events_are_in_memory_only() {
    let change = |config: &mut Config| {
        config.limits.flush = Duration::from_millis(20);
        config.limits.spool_bytes = 300;
    };
    let control = Control::new(change).await;
    let busy = || ResponseTemplate::new(503);
    Mock::given(path("/v1/events")).respond_with(busy()).up_to_n_times(1).with_priority(1).mount(&control.server).await;
    control.on("GET", "^/health$", InTurn::of((0..6).map(|turn| if turn < 5 { busy() } else { ok(()) }))).await;
    let remote = Remote::new().await;
    let lease = control.scene.lease(&remote, None, &["true"]);
    control.answer_worker("next", [execute(&lease), wait()]).await;
    control.answer_worker("heartbeat", [ok(HeartbeatReply::default())]).await;
    control.answer_worker("executions/.*", [ok(())]).await;
    control.run_until("/complete", 1).await.expect("stopped");
    let requests = control.server.received_requests().await.expect("recorded");
    let place = |word: &str, route: &str| {
        let is_it = |r: &Request| r.url.path().ends_with(route) && String::from_utf8_lossy(&r.body).contains(word);
        requests.iter().rposition(is_it).expect("it was told")
    };
    assert!(place("execution.finished", "/v1/events") < place("", "/complete"));
}

#[tokio::test]
async fn what_was_told_before_the_stop_is_in_the_spool_after_it() {
    let (directory, tasks) = (tempfile::tempdir().expect("a directory"), Tasks::new());
    let machine = wire::id::MachineId::from(uuid::Uuid::from_u128(1));
    let (recorder, entries) = crate::record::Recorder::new(machine, Clock::system(), Chance::system());
    let signer =
        Signer { key: Key::from_bytes([7; 32]), key_id: None, clock: Clock::system(), chance: Chance::system() };
    let nowhere = EventStore::new("http://127.0.0.1:9", signer);
    let limits = sender::Limits { spool_bytes: 1_000, batch_events: 10, batch_bytes: 10_000 };
    let sender = Sender::open(directory.path(), nowhere, limits, Chance::system(), &tasks).expect("opens");
    for number in 0..100 {
        recorder.tell(None, "test", &number).await;
    }
    tasks.spawn("events", deliver(entries, sender, tasks.clone()));
    tasks.stop_within(PATIENCE).await.expect("ends");
    let spooled = std::fs::read_to_string(directory.path().join(format!("{:020}.jsonl", 0))).expect("spooled");
    assert_eq!(spooled.lines().count(), 100);
}

#[tokio::test]
async fn what_reaches_others_is_not_done_under_a_lease_that_was_lost_unheard() {
    let directory = tempfile::tempdir().expect("a directory");
    let host = github::fake::Host::start(directory.path(), "token").await;
    let control = Control::new(|_| ()).await;
    let remote = Remote::new().await;
    let mut lost = control.scene.lease(&remote, None, &["sh", "-c", "echo a > a"]);
    lost.spec.repository = host.url();
    lost.spec.pull_request = Some(wire::pull_request::PullRequestSpec::default());
    let next = control.scene.lease(&remote, None, &["true"]);
    control.answer_worker("next", [execute(&lost), execute(&next), wait()]).await;
    // As after a sleep: the task is somebody else's, and the first who asks hears it.
    control.answer_worker("heartbeat", [ok(HeartbeatReply { lost: vec![lost.execution_id] })]).await;
    control.answer_worker("executions/.*", [ok(())]).await;
    control.run_until("/complete", 1).await.expect("stopped");
    let requests = control.server.received_requests().await.expect("recorded");
    let told: Vec<&str> =
        requests.iter().map(|one| one.url.path()).filter(|path| path.ends_with("/complete")).collect();
    assert!(told[0].contains(&next.execution_id.to_string()), "{told:?}");
    assert_eq!(host.git(&["for-each-ref", "--format=%(refname)"]), "refs/heads/main");
    assert_eq!(host.pulls(), []);
}

/// A volume that the command of the first lease fills, then the second lease on the same machine.
async fn fill(small: &SmallVolume, script: &str) -> (Control, Lease) {
    fill_from(small, &Remote::new().await, script).await
}

async fn fill_from(small: &SmallVolume, remote: &Remote, script: &str) -> (Control, Lease) {
    let control = Control::new(|config| (config.sprite_dir, config.limits.spares) = (small.path(), 0)).await;
    let other = Remote::new().await;
    let mut full = control.scene.lease(remote, None, &["sh", "-c", script]);
    full.spec.push_unfinished = true;
    let next = control.scene.lease(&other, None, &["cat", "README"]);
    control.answer_worker("next", [execute(&full), execute(&next), wait()]).await;
    control.answer_worker("heartbeat", [ok(HeartbeatReply::default())]).await;
    control.answer_worker("executions/.*", [ok(())]).await;
    control.run_until("/complete", 2).await.expect("stopped");
    (control, full)
}

#[tokio::test]
async fn a_command_that_fills_a_small_volume_is_told_of_and_the_next_execution_has_room() {
    let small = SmallVolume::mount(32);
    let (control, full) = fill(&small, "head -c 100000000 /dev/urandom > noise; echo ended; exit 3").await;
    let told = control.told(&full).await;
    assert!(told.contains("No space left on device") && told.contains("ended"), "{told}");
    assert!(told.contains("no checkpoint could be saved"), "{told}");
    let completions = control.completions().await;
    let outcomes: Vec<_> = completions.iter().map(|completion| (completion.outcome, completion.failure)).collect();
    assert_eq!(outcomes, [(Outcome::Failed, None), (Outcome::Succeeded, None)], "{completions:?}");
    // That the work is gone is told as well.
    let events = control.events().await;
    let damage = events.iter().find(|event| event["type"] == kind::VOLUME_DAMAGED).expect("told");
    assert_eq!(damage["execution_id"], full.execution_id.to_string());
    assert!(damage["payload"]["reason"].as_str().expect("a text").contains("it cannot be saved"), "{damage}");
}

#[tokio::test]
async fn work_is_saved_where_what_fills_a_small_volume_is_not_to_be_saved() {
    for place in ["ignored", "$HOME/noise", "$TMPDIR/noise"] {
        let small = SmallVolume::mount(32);
        let script = format!("echo work > made; head -c 100000000 /dev/urandom > {place}; exit 3");
        let (control, full) = fill(&small, &script).await;
        let told = control.told(&full).await;
        assert!(told.contains("No space left on device"), "{place}: {told}");
        let completions = control.completions().await;
        let saved = completions[0].checkpoint.as_ref().map(|saved| saved.files);
        assert_eq!(saved, Some(1), "{place}: {told}");
        assert_eq!((completions[0].outcome, completions[1].outcome), (Outcome::Failed, Outcome::Succeeded), "{place}");
    }
}

#[tokio::test]
async fn commits_are_pushed_where_a_small_volume_has_no_room_left_for_the_rest() {
    let (small, remote) = (SmallVolume::mount(32), Remote::new().await);
    let commit = "git config user.name x; git config user.email x@example.org; git commit -q --allow-empty -m mine";
    let script = format!("{commit}; head -c 100000000 /dev/urandom > noise; echo more > more; exit 3");
    let (control, full) = fill_from(&small, &remote, &script).await;
    let told = control.told(&full).await;
    assert!(told.contains("no checkpoint could be saved"), "{told}");
    let kept = remote.git(&["log", "-1", "--format=%s", &format!("refs/bifrost/wip/{}", full.execution_id)]).await;
    assert_eq!(kept, "mine");
    assert_eq!(control.completions().await[1].outcome, Outcome::Succeeded);
}

#[tokio::test]
async fn a_walled_command_is_held_from_when_the_clock_jumps_until_its_lease_is_known_to_be_ours() {
    let control = Control::around(Scene::with(|config| config.isolation = Demand::On).await, |_| ()).await;
    let remote = Remote::new().await;
    let lease = control.scene.lease(&remote, None, &["sh", "-c", "echo a; until [ -e ../../go ]; do sleep 0.02; done"]);
    control.answer_worker("next", [execute(&lease), wait()]).await;
    control.answer_worker("executions/.*/(start|complete)", [ok(())]).await;
    let late = ok(HeartbeatReply::default()).set_delay(Duration::from_secs(1));
    control.answer_worker("heartbeat", [late]).await;
    let clock = Clock::manual(Clock::system().now());
    let mut opened = Room::open(&control.config, clock.clone(), Chance::system()).await.expect("opens");
    let isolation = Arc::new(Isolation::in_groups());
    Arc::get_mut(&mut opened.room).expect("nobody else has it").isolation = isolation.clone();
    let own = opened.room.volume.execution(lease.execution_id);
    let go = opened.room.volume.root().join("go");
    let tasks = Tasks::new();
    let sleeping = async {
        until(async || control.told(&lease).await == "a\n").await;
        clock.advance(Duration::from_secs(90));
        until(async || isolation.holds(&own)).await;
        std::fs::write(&go, "").expect("writes");
        until(async || !control.completions().await.is_empty()).await;
        tasks.stop();
    };
    let running = async { tokio::join!(run(control.config.clone(), opened, &tasks), sleeping) };
    tokio::time::timeout(PATIENCE, running).await.expect("is held and goes on").0.expect("ends");
    assert_eq!(control.completion().await.outcome, Outcome::Succeeded);
}
