//! Work that is proposed, at a host whose git is git's own.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use github::fake::Host;
use wire::event::{Stream, kind};
use wire::execution::Outcome;
use wire::pull_request::{PullRequest, PullRequestSpec};
use wire::task::TaskSpec;
use wire::worker::{Completion, Lease};

use crate::git::credential::{Credentials, Source};
use crate::orders::Orders;
use crate::testing::{Remote, Scene, kinds, output};

const TOKEN: &str = "the-token-of-the-host";
const COMMIT: &str = "git config user.name n; git config user.email e@example.org; git add .; git commit -q -m work";

struct Stage {
    host: Host,
    scene: Scene,
    remote: Remote,
}

impl Stage {
    async fn new(with_credentials: bool) -> Self {
        Self::with(|_, file| with_credentials.then(|| Source::File(file.to_owned()))).await
    }

    async fn with(source: impl FnOnce(&Host, &Path) -> Option<Source>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let host = Host::start(&directory.path().join("host"), TOKEN).await;
        let (file, program) = (directory.path().join("credentials"), directory.path().join("helper"));
        std::fs::write(&file, host.credentials()).expect("writes");
        // Git asks a program; here one that reads a single credential.
        let reads = "#!/bin/sh\nsed 's,.*//\\(.*\\):\\(.*\\)@.*,username=\\1\\npassword=\\2,' \"$2\"\n";
        std::fs::write(&program, reads).expect("writes");
        std::fs::set_permissions(&program, Permissions::from_mode(0o700)).expect("may be run");
        let credentials = source(&host, &file).map(|source| Credentials { program, source });
        let scene = Scene::in_directory(directory, |config| config.credentials = credentials).await;
        Self { host, scene, remote: Remote::new().await }
    }

    fn lease(&self, asked: PullRequestSpec, script: &str) -> Lease {
        let lease = self.scene.lease(&self.remote, None, &["sh", "-c", script]);
        let title = Some(asked.title.unwrap_or_else(|| "Mend it".into()));
        let asked = PullRequestSpec { title, ..asked };
        Lease { spec: TaskSpec { repository: self.host.url(), pull_request: Some(asked), ..lease.spec }, ..lease }
    }

    async fn run(&mut self, lease: &Lease) -> (Completion, Vec<wire::event::Event>) {
        let (completion, events) = self.scene.carry_out(lease, Orders::none()).await;
        (completion.expect("the lease was not lost"), events)
    }
}

fn opened(number: i64, host: &Host, branch: &str) -> PullRequest {
    let url = host.url().replace(".git", &format!("/pull/{number}"));
    PullRequest { number, url, branch: branch.into(), base: "main".into() }
}

#[tokio::test]
async fn what_was_committed_and_what_was_not_is_in_one_pull_request() {
    let mut stage = Stage::new(true).await;
    let asked = PullRequestSpec { body: Some("Why.".into()), draft: true, ..PullRequestSpec::default() };
    let lease =
        stage.lease(asked, &format!("echo ignored > .gitignore; echo a > a; {COMMIT}; echo b > b; echo c > ignored"));
    let (completion, events) = stage.run(&lease).await;
    let branch = format!("bifrost/{}", lease.task_id);
    assert_eq!(completion.outcome, Outcome::Succeeded, "{completion:?}");
    assert_eq!(completion.pull_request, Some(opened(1, &stage.host, &branch)));
    let pulls = stage.host.pulls();
    let pull = &pulls[0];
    assert_eq!((pulls.len(), pull.head.as_str(), pull.base.as_str()), (1, branch.as_str(), "main"));
    assert_eq!((pull.title.as_str(), pull.body.as_str(), pull.draft), ("Mend it", "Why.", true));
    assert_eq!(stage.host.git(&["ls-tree", "-r", "--name-only", &branch]), ".gitignore\na\nb");
    assert_eq!(stage.host.git(&["log", "--format=%s", &branch]), "Mend it\nwork\nThe first");
    let told: Vec<&str> = kinds(&events);
    let place = |wanted: &str| told.iter().position(|kind| *kind == wanted);
    assert!(place(kind::CHECKPOINT_SAVED) < place(kind::PULL_REQUEST_OPENED), "{told:?}");
    assert!(place(kind::PULL_REQUEST_OPENED) < place(kind::EXECUTION_FINISHED), "{told:?}");
    let text = events.iter().map(|event| event.payload.get()).collect::<String>();
    assert!(!text.contains(TOKEN));
}

#[tokio::test]
async fn credentials_that_came_as_text_clone_push_and_propose_and_are_told_to_nobody() {
    let mut stage = Stage::with(|host, _| Source::of_text(&host.credentials()).ok()).await;
    let lease = stage.lease(PullRequestSpec::default(), &format!("echo {TOKEN}; echo a > a"));
    let (completion, events) = stage.run(&lease).await;
    assert_eq!(completion.outcome, Outcome::Succeeded, "{completion:?}");
    assert_eq!(stage.host.pulls().len(), 1);
    assert_eq!(output(&events, Stream::Stdout), "[secret]\n");
    let room = &stage.scene.room;
    let file = room.credentials.as_ref().expect("some").file.clone();
    assert!(file.starts_with(room.volume.root()) && !format!("{room:?} {events:?}").contains(TOKEN));
    assert!(!std::fs::read_to_string(file.with_file_name("config")).expect("reads").contains(TOKEN));
}

#[tokio::test]
async fn a_later_attempt_moves_the_branch_and_the_pull_request_stays() {
    let mut stage = Stage::new(true).await;
    let lease = stage.lease(PullRequestSpec::default(), "echo first > a");
    let (first, _) = stage.run(&lease).await;
    let again = stage.lease(PullRequestSpec::default(), "echo second > a");
    let again = Lease { task_id: lease.task_id, ..again };
    let (second, _) = stage.run(&again).await;
    assert_eq!(second.pull_request, first.pull_request);
    assert_eq!(stage.host.pulls().len(), 1);
    let branch = format!("bifrost/{}:a", lease.task_id);
    assert_eq!(stage.host.git(&["show", &branch]), "second");
}

#[tokio::test]
async fn the_branch_that_the_command_pushed_is_the_one_that_is_proposed() {
    let mut stage = Stage::new(true).await;
    let credentials = stage.host.credentials();
    let push = format!("git push -q '{}/owner/name.git' HEAD:refs/heads/fix", credentials.trim());
    let lease = stage.lease(PullRequestSpec::default(), &format!("echo a > a; {COMMIT}; {push}"));
    let (completion, _) = stage.run(&lease).await;
    assert_eq!(completion.pull_request, Some(opened(1, &stage.host, "fix")));
    assert_eq!(stage.host.git(&["for-each-ref", "--format=%(refname:short)", "refs/heads"]), "fix\nmain");
}

#[tokio::test]
async fn a_commit_that_was_taken_back_is_kept_and_not_proposed() {
    let mut stage = Stage::new(true).await;
    let lease = stage.lease(PullRequestSpec::default(), &format!("echo a > a; {COMMIT}; git reset -q --hard HEAD~"));
    let (completion, _) = stage.run(&lease).await;
    let unpushed = completion.checkpoint.map(|saved| saved.unpushed).unwrap_or_default();
    assert!(unpushed.len() == 1 && unpushed[0].starts_with("refs/bifrost/commits/"), "{unpushed:?}");
    assert_eq!((completion.outcome, completion.message, completion.pull_request), (Outcome::Succeeded, None, None));
}

#[tokio::test]
async fn without_a_change_or_without_success_there_is_none() {
    let mut stage = Stage::new(true).await;
    let lease = stage.lease(PullRequestSpec::default(), "true");
    let (completion, events) = stage.run(&lease).await;
    assert_eq!((completion.outcome, completion.pull_request), (Outcome::Succeeded, None));
    assert!(output(&events, Stream::Stderr).contains("nothing was changed, so there is no pull request"));
    let lease = stage.lease(PullRequestSpec::default(), "echo a > a; exit 3");
    let (completion, _) = stage.run(&lease).await;
    assert_eq!((completion.outcome, completion.pull_request), (Outcome::Failed, None));
    assert_eq!(stage.host.pulls(), []);
}

#[tokio::test]
async fn whoever_asked_for_one_hears_why_there_is_none() {
    let mut stage = Stage::new(true).await;
    stage.host.git(&["branch", "theirs"]);
    let others = stage.host.git(&["commit-tree", "-m", "theirs", "-p", "main", "main^{tree}"]);
    stage.host.git(&["update-ref", "refs/heads/theirs", &others]);
    let named = |base: Option<&str>, branch: Option<&str>| PullRequestSpec {
        base: base.map(Into::into),
        branch: branch.map(Into::into),
        ..PullRequestSpec::default()
    };
    for (asked, expect) in [
        (named(None, Some("theirs")), "git push failed"),
        (named(None, Some("main")), "`main` is the branch that is to get the work"),
        (named(Some("gone"), None), "owner/name refuses (422): Validation Failed: base is invalid"),
    ] {
        let lease = stage.lease(asked, "echo a > a");
        let (completion, _) = stage.run(&lease).await;
        let message = completion.message.unwrap_or_default();
        assert_eq!((completion.outcome, completion.pull_request), (Outcome::Failed, None), "{message}");
        assert!(message.contains(expect) && message.ends_with("what it did is in its checkpoint"), "{message}");
        assert!(completion.checkpoint.is_some() && !message.contains(TOKEN), "{message}");
    }
    assert_eq!(stage.host.git(&["rev-parse", "theirs"]), others);
}

#[tokio::test]
async fn without_credentials_nothing_is_pushed() {
    let mut stage = Stage::new(false).await;
    let lease = stage.lease(PullRequestSpec::default(), "echo a > a");
    let (completion, _) = stage.run(&lease).await;
    let message = completion.message.unwrap_or_default();
    assert!(completion.outcome == Outcome::Failed && message.contains("git push failed"), "{message}");
    assert_eq!(stage.host.pulls(), []);
}

#[tokio::test]
async fn what_a_command_says_of_the_remote_is_not_believed() {
    let mut stage = Stage::new(true).await;
    stage.host.git(&["branch", "theirs"]);
    let lie = "git update-ref refs/remotes/origin/main HEAD; git update-ref refs/remotes/origin/theirs HEAD";
    let lease = stage.lease(PullRequestSpec::default(), &format!("echo a > a; {COMMIT}; {lie}"));
    let (completion, _) = stage.run(&lease).await;
    let branch = format!("bifrost/{}", lease.task_id);
    assert_eq!(completion.pull_request, Some(opened(1, &stage.host, &branch)), "{completion:?}");
    assert_eq!(stage.host.git(&["log", "-1", "--format=%s", &branch]), "work");
}

#[tokio::test]
async fn what_the_remote_had_before_is_nothing_new() {
    let mut stage = Stage::new(true).await;
    let other = stage.host.git(&["commit-tree", "-m", "other", "-p", "main", "main^{tree}"]);
    stage.host.git(&["update-ref", "refs/heads/other", &other]);
    for script in ["git checkout -q origin/other", "git checkout -q -b mine origin/other"] {
        let lease = stage.lease(PullRequestSpec::default(), script);
        let (completion, _) = stage.run(&lease).await;
        assert_eq!((completion.outcome, completion.pull_request), (Outcome::Succeeded, None), "{script}");
    }
    assert_eq!(stage.host.pulls(), []);
}

#[tokio::test]
async fn work_that_would_not_be_in_it_is_told_and_none_is_opened() {
    let mut stage = Stage::new(true).await;
    let branch = "git checkout -q -b fix";
    for (script, expect) in [
        (format!("{branch}; echo a > a; {COMMIT}; git checkout -q -"), "on other branches"),
        (
            format!("{branch}; echo a > a; {COMMIT}; head -c 40000000 /dev/zero > big"),
            "what was not committed cannot be",
        ),
    ] {
        let lease = stage.lease(PullRequestSpec::default(), &script);
        let (completion, _) = stage.run(&lease).await;
        let message = completion.message.unwrap_or_default();
        assert!(completion.outcome == Outcome::Failed && message.contains(expect), "{script}: {message}");
    }
    assert_eq!(stage.host.pulls(), []);
}
