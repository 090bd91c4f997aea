//! Whole executions of an agent that is a shell script, on a real volume, and what is kept of its sessions.

use std::fs::File;
use std::slice;
use std::time::{Duration, UNIX_EPOCH};

use wire::execution::Outcome;
use wire::worker::{Completion, repository_name};

use super::*;
use crate::agent::driver::Drivers;
use crate::config::Config;
use crate::isolation::Demand;
use crate::orders::Orders;
use crate::testing::{Remote, Scene, SmallVolume, output};

/// It gets its prompt as its standard input, and says what that prints.
const SCRIPTED: &str = r#"
[scripted]
program = "sh"
arguments = ["-s"]
state = [".memory", ".local/share/deep", ".memory.json"]
by_directory = [".memory/places/{}", ".memory/names/{name}/of"]
counts_session = true
[[scripted.read]]
when = { "/type" = "end" }
session = "/session"
input_tokens = ["/tokens"]
total = true
ends = "/failed"
[other]
program = "sh"
arguments = ["-s"]
state = [".memory"]
"#;

const DONE: &str = r#"echo '{"type":"end","failed":false,"session":"s-1"}'"#;

async fn scene(change: impl FnOnce(&mut Config)) -> (Scene, Remote) {
    let with = |config: &mut Config| {
        config.drivers = Drivers::built_in().and(SCRIPTED).expect("reads");
        change(config);
    };
    let directory = tempfile::tempdir().expect("a directory");
    // Others may pass, so that a command can be another user.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    (Scene::in_directory(directory, with).await, Remote::new().await)
}

/// Asks the agent; gives its end, and what its log shows.
async fn ask(scene: &mut Scene, remote: &Remote, agent: &str, session: &str, prompt: &str) -> (Completion, String) {
    let mut lease = scene.lease(remote, None, &[]);
    let session = Some(session.to_owned()).filter(|session| !session.is_empty());
    lease.spec.agent = Some(AgentSpec { name: agent.into(), prompt: prompt.into(), model: None, session });
    let (completion, events) = scene.carry_out(&lease, Orders::none()).await;
    let shown = format!("{}{}", output(&events, Stream::Stdout), output(&events, Stream::Stderr));
    (completion.expect("not lost"), shown)
}

fn kept(scene: &Scene) -> Vec<PathBuf> {
    by_use(&scene.room.volume).expect("lists")
}

#[tokio::test]
async fn a_session_is_in_the_home_of_whoever_goes_on_with_it_and_of_nobody_else() {
    // With the walls that can stand here, and without.
    for demand in [Demand::On, Demand::Off] {
        remember(scene(|config| config.isolation = demand).await).await;
    }
}

async fn remember((mut scene, remote): (Scene, Remote)) {
    let place = "$HOME/.memory/places/$(pwd | sed 's/[^a-zA-Z0-9]/-/g')";
    let named = "$HOME/.memory/names/$(basename $(pwd))/of";
    let learn = format!(
        "mkdir -p {place} {named} $HOME/.local/share/deep; echo blue > {place}/s-1; echo by name > {named}/s-1; \
         echo deep > $HOME/.local/share/deep/x; echo one > $HOME/.memory.json; echo none > $HOME/other; ln -s x $HOME/.memory/link; {DONE}"
    );
    // It ends with a failure, such as a question does.
    let (completion, _) = ask(&mut scene, &remote, "scripted", "", &format!("{learn}; exit 1")).await;
    assert_eq!(completion.outcome, Outcome::Failed);
    let recall = format!(
        "cat {place}/s-1 {named}/s-1 $HOME/.local/share/deep/x $HOME/.memory.json; readlink $HOME/.memory/link; \
         ls $HOME/.memory/places | wc -l; test -e $HOME/other || echo no other; echo red > {place}/s-1; {DONE}"
    );
    let (_, shown) = ask(&mut scene, &remote, "scripted", "s-1", &recall).await;
    assert_eq!(shown, "blue\nby name\ndeep\none\nx\n1\nno other\n");
    // What it remembers now is what counts, also where it is asked twice.
    for _ in 0..2 {
        let (_, shown) = ask(&mut scene, &remote, "scripted", "s-1", &format!("cat {place}/s-1; {DONE}")).await;
        assert_eq!(shown, "red\n");
    }
    let look = format!("ls -A $HOME; {DONE}");
    let elsewhere = Remote::with(&[("README", "another\n")]).await;
    for (remote, agent, session) in
        [(&remote, "scripted", ""), (&elsewhere, "scripted", "s-1"), (&remote, "other", "s-1")]
    {
        let (_, shown) = ask(&mut scene, remote, agent, session, &look).await;
        assert!(!shown.contains(".memory") && !shown.contains(".local"), "{agent} {session}: {shown}");
    }
    let (_, shown) = ask(&mut scene, &remote, "scripted", "s-2", &look).await;
    assert!(!shown.contains(".memory") && shown.contains("nothing of the session s-2 of scripted"), "{shown}");
    for path in kept(&scene) {
        assert_eq!(fs::metadata(&path).expect("is there").mode() & 0o777, 0o700, "{}", path.display());
    }
}

#[tokio::test]
async fn an_agent_that_goes_on_finds_its_workspace_where_it_was_walled() {
    let (mut scene, remote) = scene(|config| config.isolation = Demand::On).await;
    let look = "for was in $(cat $HOME/.memory.json); do cmp -s $was/README README && echo found; done";
    for found in ["", "found\n", "found\nfound\n"] {
        let prompt = format!("{look}; echo more >> README; pwd >> $HOME/.memory.json; {DONE}");
        let (_, shown) = ask(&mut scene, &remote, "scripted", "s-1", &prompt).await;
        let said: String = shown.lines().filter(|line| *line == "found").map(|line| format!("{line}\n")).collect();
        assert_eq!(said, found, "{shown}");
    }
}

#[tokio::test]
async fn what_a_session_had_taken_before_is_not_counted_again() {
    let (mut scene, remote) = scene(|_| ()).await;
    for (says, took) in [(100, 100), (250, 150), (260, 10)] {
        let end = format!("echo '{{\"type\":\"end\",\"failed\":false,\"session\":\"s-1\",\"tokens\":{says}}}'");
        let prompt = format!("echo one > $HOME/.memory.json; {end}");
        let (completion, _) = ask(&mut scene, &remote, "scripted", "s-1", &prompt).await;
        assert_eq!(completion.tokens, Some(took), "{says}");
    }
}

#[tokio::test]
async fn an_agent_whose_session_is_not_here_starts_all_the_same_and_its_failure_says_so() {
    let (mut scene, remote) = scene(|_| ()).await;
    let (completion, _) = ask(&mut scene, &remote, "scripted", "s-1", DONE).await;
    assert_eq!((completion.outcome, completion.message), (Outcome::Succeeded, None));
    let (completion, _) = ask(&mut scene, &remote, "scripted", "s-2", "exit 1").await;
    let message = completion.message.expect("a message");
    assert!(
        message.starts_with("the command exited with code 1; this machine has nothing of the session"),
        "{message}"
    );
    assert!(message.contains("checkpoints fork CHECKPOINT --agent scripted --session s-2"), "{message}");
    assert_eq!(kept(&scene), <[PathBuf; 0]>::default());
}

#[tokio::test]
async fn links_lead_nowhere_and_what_cannot_be_copied_is_left_out() {
    let (mut scene, remote) = scene(|_| ()).await;
    let outside = scene.directory.path().join("outside");
    fs::create_dir_all(outside.join("share/deep")).expect("makes");
    fs::write(outside.join("share/deep/secret"), "x").expect("writes");
    let learn = format!(
        "mkdir -p {0}/places/$(pwd | sed 's/[^a-zA-Z0-9]/-/g'); ln -s {0} $HOME/.local; ln -s {0}/share $HOME/.memory.json; mkdir $HOME/.memory; cd $HOME/.memory; \
         ln -s {0}/places places; mkdir closed; echo in > closed/x; chmod 0 closed; mkfifo fifo; echo y > y; {DONE}",
        outside.display()
    );
    ask(&mut scene, &remote, "scripted", "", &learn).await;
    let before = crate::testing::names_below(&outside);
    let look = format!("cd $HOME; ls -A . .memory; cat .memory/closed/x; {DONE}");
    let (_, shown) = ask(&mut scene, &remote, "scripted", "s-1", &look).await;
    assert_eq!(shown, ".:\n.config\n.memory\n\n.memory:\nclosed\nplaces\ny\nin\n");
    assert_eq!(crate::testing::names_below(&outside), before);
}

#[tokio::test]
async fn the_sessions_that_were_used_last_are_kept_up_to_a_number_and_a_size() {
    let few = |config: &mut Config| {
        (config.limits.agent_sessions, config.limits.agent_session_bytes) = (2, 100_000);
    };
    let (mut scene, remote) = scene(few).await;
    let learn = |session: &str, bytes: usize| {
        format!(
            "mkdir -p $HOME/.memory; head -c {bytes} /dev/zero > $HOME/.memory/x; \
             echo '{{\"type\":\"end\",\"failed\":false,\"session\":\"{session}\"}}'"
        )
    };
    for session in ["s-1", "s-2"] {
        ask(&mut scene, &remote, "scripted", "", &learn(session, 10_000)).await;
    }
    // The first is used again, so the second is the one that goes.
    ask(&mut scene, &remote, "scripted", "s-1", "exit 1").await;
    ask(&mut scene, &remote, "scripted", "", &learn("s-3", 10_000)).await;
    let name = repository_name(&remote.url());
    let at = |session: &str| place(&scene.room.volume, &name, "scripted", session);
    let (first, third, fourth) = (at("s-1"), at("s-3"), at("s-4"));
    assert_eq!(kept(&scene), [first, third.clone()]);
    // Two that are too large together, and one that is too large alone: the old one of it stays.
    ask(&mut scene, &remote, "scripted", "", &learn("s-4", 80_000)).await;
    assert_eq!(kept(&scene), slice::from_ref(&fourth));
    let (_, shown) = ask(&mut scene, &remote, "scripted", "", &learn("s-4", 200_000)).await;
    assert!(shown.contains("cannot be gone on with: it takes"), "{shown}");
    assert_eq!(kept(&scene), [fourth]);
}

#[tokio::test]
async fn a_small_volume_that_is_full_loses_the_sessions_that_were_used_least_lately() {
    let small = SmallVolume::mount(20);
    let volume = Volume::open(&small.path(), Limits::default().reserve_bytes).expect("opens");
    let all: Vec<PathBuf> =
        ["s-1", "s-2", "s-3"].iter().map(|session| place(&volume, "app", "mock", session)).collect();
    for (kept, second) in all.iter().zip(1..) {
        fs::create_dir(kept).expect("makes");
        fs::write(kept.join("memory"), vec![1; 13 << 19]).expect("there is room");
        let when = UNIX_EPOCH + Duration::from_secs(second);
        File::open(kept).and_then(|kept| kept.set_modified(when)).expect("ours");
    }
    assert!(volume.is_tight().expect("tells") && !volume.is_full().expect("tells"));
    relieve(&volume, "mark").expect("relieves");
    assert_eq!(by_use(&volume).expect("lists"), all, "there is room to work with");
    fs::write(volume.root().join("more"), vec![1; 256 << 10]).expect("there is room");
    assert!(volume.is_full().expect("tells"));
    relieve(&volume, "mark").expect("relieves");
    assert_eq!(by_use(&volume).expect("lists"), all[1..]);
}
