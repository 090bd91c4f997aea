//! Which submodules are fetched with the operator's credentials, at a host whose git is git's own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::thread::JoinHandle;

use github::fake::Host;
use wire::event::Stream;
use wire::worker::Completion;

use wire::worker::repository_name;

use super::*;
use crate::git::credential::{Credentials, Source, answer};
use crate::git::ssh::may_reach;
use crate::testing::{Remote, Scene, git, output};

/// Stands in for this program, which a test has no path to: a script hands on what git asks, and `answer` answers.
struct Program {
    directory: tempfile::TempDir,
    answering: Option<JoinHandle<()>>,
}

impl Program {
    fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let [program, asked, said] = ["program", "asked", "said"].map(|name| directory.path().join(name));
        let made = kit::process::command("mkfifo").arg(&asked).arg(&said).as_std_mut().status();
        assert!(made.expect("starts").success());
        let script = format!(
            "#!/bin/sh\n{{ printf '%s\\n' \"$@\" --; cat; }} > {}\n\
             words=$(cat {})\necho \"$words\"\n[ \"$words\" != no ]\n",
            asked.display(),
            said.display()
        );
        fs::write(&program, script).expect("writes");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o700)).expect("may be run");
        Self { directory, answering: Some(std::thread::spawn(move || answer_all(&asked, &said))) }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("program")
    }
}

fn answer_all(asked: &Path, said: &Path) {
    loop {
        let text = fs::read_to_string(asked).expect("reads");
        let Some((arguments, question)) = text.split_once("--\n") else { return };
        let (name, arguments) = arguments.split_once('\n').expect("a command");
        let arguments: Vec<String> = arguments.lines().map(str::to_owned).collect();
        let mut words = Vec::new();
        match name {
            "git-ssh" if !may_reach(&arguments, &mut words).expect("answers") => words = b"no".to_vec(),
            "git-ssh" => (),
            _ => answer(&arguments, question.as_bytes(), &mut words).expect("answers"),
        }
        fs::write(said, words).expect("writes");
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Nothing is no question.
        fs::write(self.directory.path().join("asked"), "").expect("writes");
        self.answering.take().map(JoinHandle::join);
    }
}

struct Stage {
    host: Host,
    /// What is pushed to the host.
    remote: Remote,
    _program: Program,
    scene: Scene,
}

impl Stage {
    /// A runner with one token for all of a host, and others for what is below these paths there.
    async fn with(paths: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let host = Host::start(&directory.path().join("host"), "the-token-of-the-host").await;
        let (program, file) = (Program::start(), directory.path().join("credentials"));
        let whole = host.credentials();
        let below = paths.iter().map(|path| format!("{}/{path}\n", whole.trim()));
        fs::write(&file, below.fold(whole.clone(), |kept, line| kept + &line)).expect("writes");
        let credentials = Credentials { program: program.path(), source: Source::File(file) };
        let scene = Scene::in_directory(directory, |config| config.credentials = Some(credentials)).await;
        Self { host, remote: Remote::new().await, _program: program, scene }
    }

    /// A private repository of the host with a secret in it, and with submodules.
    async fn private(&self, name: &str, submodules: &[(&str, &str, &str)]) -> (String, String) {
        let (url, local) = (self.host.add_private(name), Remote::with(&[("secret", "for few\n")]).await);
        let commit = commit_with(&local, submodules).await;
        self.push(&local, name).await;
        (url, commit)
    }

    async fn push(&self, local: &Remote, name: &str) {
        let url = format!("{}/{name}", self.host.credentials().trim());
        git(local.path(), &["push", "--quiet", "--force", &url, "main"]).await;
    }

    /// Runs a command in the host's `owner/name` with a submodule `part`, which is at a commit of a URL.
    async fn run(&mut self, url: &str, commit: &str) -> (Completion, String) {
        commit_with(&self.remote, &[("part", url, commit)]).await;
        self.push(&self.remote, "owner/name.git").await;
        let mut lease = self.scene.lease(&self.remote, None, &["sh", "-c", "cat part/secret part/*/secret"]);
        lease.spec.repository = self.host.url();
        let (completion, events) = self.scene.carry_out(&lease, Orders::none()).await;
        (completion.expect("the lease was not lost"), output(&events, Stream::Stdout))
    }

    async fn is_refused(&mut self, url: &str, commit: &str) -> String {
        let (completion, said) = self.run(url, commit).await;
        assert_eq!((completion.failure, &*said), (Some(Failure::RepositoryUnreachable), ""), "{url}");
        completion.message.expect("a message")
    }
}

/// Commits submodules, each with its path, its URL and its commit, as whoever cannot read them may.
async fn commit_with(local: &Remote, submodules: &[(&str, &str, &str)]) -> String {
    let mut text = String::new();
    for (path, url, commit) in submodules {
        fs::create_dir_all(local.path().join(path)).expect("makes");
        local.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},{path}")]).await;
        text += &format!("[submodule \"{path}\"]\n\tpath = {path}\n\turl = {url}\n");
    }
    local.commit(&[(".gitmodules", &text)]).await
}

#[tokio::test]
async fn a_credential_for_the_whole_host_fetches_no_submodule_of_another_owner() {
    let mut stage = Stage::with(&[]).await;
    let (private, commit) = stage.private("other/private.git", &[]).await;
    let message = stage.is_refused(&private, &commit).await;
    for expect in ["the submodule part of", &*private, "only below owner/", "https://NAME:PASSWORD@HOST/PATH"] {
        assert!(message.contains(expect), "{expect}: {message}");
    }
    // However it is written, and wherever it is asked for first.
    let up = private.replace("/other/", "/owner/../other/");
    let escaped = private.replace("/other/", "/owner/%2e%2e/other/");
    let named = private.replace("://", "://bot@");
    let moved = stage.host.redirect("owner/moved.git", "other/private.git");
    let (between, between_commit) = stage.private("owner/between.git", &[("in", &private, &commit)]).await;
    let relative = "../../other/private.git".to_owned();
    for (url, commit) in [up, escaped, named, moved, relative]
        .map(|url| (url, commit.clone()))
        .into_iter()
        .chain([(between, between_commit)])
    {
        let message = stage.is_refused(&url, &commit).await;
        assert!(message.contains("the submodule") && message.contains("only below owner/"), "{url}: {message}");
    }
}

#[tokio::test]
async fn submodules_of_the_same_owner_and_of_named_paths_are_fetched_with_credentials() {
    let mut stage = Stage::with(&["other/named.git"]).await;
    let (named, commit) = stage.private("other/named.git", &[]).await;
    let (sibling, above) = stage.private("owner/lib.git", &[("in", &named, &commit)]).await;
    for (url, commit, expect) in [
        (&*named, &commit, "for few\n"),
        (&sibling, &above, "for few\nfor few\n"),
        ("../lib.git", &above, "for few\nfor few\n"),
    ] {
        let (completion, said) = stage.run(url, commit).await;
        assert_eq!((completion.failure, &*said), (None, expect), "{url}: {completion:?}");
    }
}

#[tokio::test]
async fn by_ssh_only_submodules_of_the_same_owner_are_fetched() {
    let (directory, program) = (tempfile::tempdir().expect("a directory"), Program::start());
    // Another computer's, which has everything where this one has it.
    let ssh = program.directory.path().join("ssh");
    fs::write(&ssh, "#!/bin/sh\nfor last; do :; done\nexec sh -c \"$last\"\n").expect("writes");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o700)).expect("may be run");
    let mut scene = Scene::in_directory(directory, |config| {
        let path = format!("{}:{}", program.directory.path().display(), config.tool_environment["PATH"]);
        config.tool_environment.insert("PATH".into(), path);
        let file = config.sprite_dir.with_file_name("credentials");
        fs::write(&file, "").expect("writes");
        config.credentials = Some(Credentials { program: program.path(), source: Source::File(file) });
    })
    .await;
    let (owner, other) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let below = |directory: &tempfile::TempDir| tempfile::tempdir_in(directory.path()).expect("a directory");
    let remote = Remote::in_directory(below(&owner), &[("README", "hello\n")]).await;
    let sibling = Remote::in_directory(below(&owner), &[("secret", "for few\n")]).await;
    let private = Remote::in_directory(below(&other), &[("secret", "for few\n")]).await;
    let by_ssh = |remote: &Remote| format!("ssh://git@git.example{}", remote.path().display());
    let as_scp = |remote: &Remote| format!("git@git.example:{}", remote.path().display());
    for (url, part, is_given) in [
        (by_ssh(&sibling), &sibling, true),
        (as_scp(&sibling), &sibling, true),
        (by_ssh(&private), &private, false),
        (as_scp(&private), &private, false),
    ] {
        commit_with(&remote, &[("part", &url, &part.git(&["rev-parse", "HEAD"]).await)]).await;
        let mut lease = scene.lease(&remote, None, &["cat", "part/secret"]);
        lease.spec.repository = by_ssh(&remote);
        let (completion, events) = scene.carry_out(&lease, Orders::none()).await;
        let completion = completion.expect("the lease was not lost");
        let (failure, said) = if is_given { (None, "for few\n") } else { (Some(Failure::RepositoryUnreachable), "") };
        assert_eq!((completion.failure, &*output(&events, Stream::Stdout)), (failure, said), "{url}: {completion:?}");
    }
}

impl Stage {
    /// What is known of the submodules of the host's `owner/name`.
    fn known(&self) -> PathBuf {
        self.scene.room.volume.submodules(&repository_name(&self.host.url()))
    }

    /// The submodule `part` of the newest workspace, which needs nothing but itself.
    async fn part(&self) -> PathBuf {
        let id = self.scene.room.volume.execution_ids().expect("lists").pop().expect("one");
        let tree = self.scene.room.volume.workspace(id);
        assert!(!tree.join(".git/modules/part/objects/info/alternates").exists());
        git(&tree.join("part"), &["fsck"]).await;
        tree.join("part")
    }
}

#[tokio::test]
async fn of_a_submodule_only_what_is_new_is_fetched_and_its_remote_says_who_gets_any() {
    let mut stage = Stage::with(&[]).await;
    let (lib, first) = stage.private("owner/lib.git", &[]).await;
    let (completion, said) = stage.run(&lib, &first).await;
    assert_eq!((completion.failure, &*said), (None, "for few\n"), "{completion:?}");
    let clone = stage.part().await;
    let local = Remote::new().await;
    local.git(&["fetch", "--quiet", clone.to_str().expect("text"), &first]).await;
    local.git(&["reset", "--quiet", "--hard", "FETCH_HEAD"]).await;
    let second = local.commit(&[("more", "x")]).await;
    stage.push(&local, "owner/lib.git").await;
    // From now on the host cannot give out what was in the first commit.
    let blob = local.git(&["rev-parse", &format!("{first}:secret")]).await;
    let repository = stage.scene.directory.path().join("host/owner/lib.git");
    fs::remove_file(repository.join("objects").join(&blob[..2]).join(&blob[2..])).expect("removes");
    let (completion, said) = stage.run(&lib, &second).await;
    assert_eq!((completion.failure, &*said), (None, "for few\n"), "{completion:?}");
    assert!(stage.part().await.join("more").exists());
    // What is known opens nothing: whoever may not fetch it from where it is asked for gets none of it.
    let other = stage.host.add_private("other/private.git");
    stage.push(&local, "other/private.git").await;
    stage.is_refused(&other, &second).await;
    fs::remove_dir_all(stage.known()).expect("removes");
    stage.is_refused(&lib, &second).await;
}

#[tokio::test]
async fn damage_to_what_is_known_of_submodules_costs_a_download_and_nothing_else() {
    let mut stage = Stage::with(&[]).await;
    let (inner, commit) = stage.private("owner/inner.git", &[]).await;
    let (lib, commit) = stage.private("owner/lib.git", &[("in", &inner, &commit)]).await;
    for damage in ["objects", "packed-refs", "HEAD", "", "nothing"] {
        let (completion, said) = stage.run(&lib, &commit).await;
        assert_eq!((completion.failure, &*said), (None, "for few\nfor few\n"), "{damage}: {completion:?}");
        stage.part().await;
        let known = stage.known();
        git(&known, &["fsck", "--strict"]).await;
        match damage {
            "packed-refs" => fs::write(known.join(damage), "bad").expect("writes"),
            "objects" => {
                let objects = crate::testing::names_below(&known.join(damage)).into_iter();
                let files = objects.map(|name| known.join(damage).join(name)).filter(|path| path.is_file());
                for path in files {
                    fs::remove_file(&path).expect("removes");
                    fs::write(path, "bad").expect("writes");
                }
            }
            _ => volume::remove(&known.join(damage)).expect("removes"),
        }
    }
}
