//! Installations with package managers that are scripts: they count their runs
//! and install one file.

mod package_managers;

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::mirror::Told;
use crate::testing::{PATIENCE, Remote, Scene, output, until};
use wire::execution::Outcome;
use wire::worker::{Completion, repository_name};

const NPM: &str = r#"#!/bin/sh
[ "$1" = --version ] && echo "${NPM_VERSION:-10.0.0}" && exit
echo run >> "$RUNS"
echo "npm $* said this, by the-machine-token"
grep -q drift package-lock.json && echo "lockfile drift: can only install packages when your package.json and package-lock.json are in sync" >&2 && exit 1
mkdir -p node_modules/thing && echo "$*" > node_modules/thing/how
"#;

/// A scene whose tools are the given scripts, and the number of installations so far.
async fn scene(tools: &[(&str, &str)]) -> Scene {
    scene_with(tools, |_| ()).await
}

async fn scene_with(tools: &[(&str, &str)], change: impl FnOnce(&mut crate::config::Limits)) -> Scene {
    let scene = Scene::with(|config| {
        change(&mut config.limits);
        let bin = config.sprite_dir.with_file_name("bin");
        fs::create_dir(&bin).expect("makes");
        for (name, script) in tools {
            fs::write(bin.join(name), script).expect("writes");
            fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).expect("sets");
        }
        let runs = config.sprite_dir.with_file_name("runs");
        config.tool_environment.insert("PATH".into(), format!("{}:/usr/bin:/bin", bin.display()));
        config.tool_environment.insert("RUNS".into(), runs.to_string_lossy().into_owned());
    });
    scene.await
}

/// How many trees are kept.
fn kept(scene: &Scene) -> usize {
    Trees::new(&scene.room.volume.dependencies(), None).count()
}

fn runs(scene: &Scene) -> usize {
    let text = kit::files::read_if_exists(&scene.directory.path().join("runs")).expect("reads");
    text.unwrap_or_default().lines().count()
}

fn cache(completion: &Completion) -> Option<Cache> {
    let phases = &completion.phases;
    phases.iter().find(|timing| timing.phase == wire::execution::Phase::Dependencies).expect("a phase").cache
}

const NODE: (&str, &str) = ("node", "#!/bin/sh\necho v20\n");
const MANIFEST: (&str, &str) = ("package.json", r#"{"dependencies":{"thing":"1"}}"#);

#[tokio::test]
async fn dependencies_are_installed_once_for_each_key() {
    let mut scene = scene(&[NODE, ("npm", NPM)]).await;
    let remote = Remote::with(&[MANIFEST, ("package-lock.json", "{}")]).await;
    let show = "cat node_modules/thing/how; git status --porcelain";
    for (expect, runs_expected) in [(Cache::Miss, 1), (Cache::Hit, 1), (Cache::Hit, 1)] {
        let (completion, events) = scene.run(&remote, show).await;
        assert_eq!((cache(&completion), runs(&scene)), (Some(expect), runs_expected));
        assert_eq!(output(&events, Stream::Stdout), "ci --no-audit --no-fund\n");
    }
    remote.commit(&[("package-lock.json", "{ }")]).await;
    assert_eq!(cache(&scene.run(&remote, show).await.0), Some(Cache::Miss));
    remote.commit(&[("other", "x")]).await;
    assert_eq!(cache(&scene.run(&remote, show).await.0), Some(Cache::Hit));
    assert_eq!(runs(&scene), 2);
}

#[tokio::test]
async fn a_members_manifest_is_part_of_the_key() {
    let mut scene = scene(&[NODE, ("npm", NPM)]).await;
    let root = ("package.json", r#"{"workspaces":["members/*"]}"#);
    let remote = Remote::with(&[root, ("package-lock.json", "{}"), ("members/a/package.json", "{}")]).await;
    for expect in [Cache::Miss, Cache::Hit] {
        assert_eq!(cache(&scene.run(&remote, "true").await.0), Some(expect));
    }
    // Its lockfile is behind now, which only an installation would find.
    remote.commit(&[("members/a/package.json", r#"{"dependencies":{"thing":"1"}}"#)]).await;
    assert_eq!(cache(&scene.run(&remote, "true").await.0), Some(Cache::Miss));
}

#[tokio::test]
async fn what_scripts_read_while_installing_is_part_of_the_key() {
    let mut scene = scene(&[NODE, ("npm", NPM)]).await;
    let settings = (".bifrost.toml", "[setup]\ndependency_files = [\"codegen\", \"gone\"]\n");
    let remote = Remote::with(&[MANIFEST, ("package-lock.json", "{}"), settings]).await;
    assert_eq!(cache(&scene.run(&remote, "true").await.0), Some(Cache::Miss));
    for changed in ["patches/thing+1.patch", "prisma/schema.prisma", "codegen/deep/down.yaml"] {
        for expect in [Cache::Miss, Cache::Hit] {
            remote.commit(&[(changed, "x")]).await;
            assert_eq!(cache(&scene.run(&remote, "true").await.0), Some(expect), "{changed}");
        }
    }
}

#[tokio::test]
async fn package_managers_are_given_the_variables_that_the_repository_names() {
    let npm = NPM.replace("\"$*\" >", "\"${WORD:-none} ${OWN:-none} ${OTHER:-none}\" >");
    let mut scene = scene(&[NODE, ("npm", &npm)]).await;
    let settings =
        "[setup]\ndependency_env = [\"WORD\", \"OWN\", \"UNSET\"]\n[env]\nOWN = \"settings\"\nWORD = \"lost\"\n";
    let remote = Remote::with(&[MANIFEST, ("package-lock.json", "{}"), (".bifrost.toml", settings)]).await;
    let mut lease = scene.lease(&remote, None, &["cat", "node_modules/thing/how"]);
    lease.spec.env = [("WORD", "task"), ("OTHER", "task")].map(|(name, value)| (name.into(), value.into())).into();
    let (_, events) = scene.carry_out(&lease, Orders::none()).await;
    assert_eq!(output(&events, Stream::Stdout), "task settings none\n");
}

#[tokio::test]
async fn an_installation_is_kept_to_its_memory_where_no_group_does_that() {
    let npm = "#!/bin/sh\n[ \"$1\" = --version ] && echo 10 && exit\nexec dd if=/dev/zero of=/dev/null bs=200M\n";
    let mut scene = scene_with(&[NODE, ("npm", npm)], |limits| limits.memory_bytes = Some(64 << 20)).await;
    let remote = Remote::with(&[MANIFEST, ("package-lock.json", "{}")]).await;
    let (completion, _) = scene.run(&remote, "echo ran").await;
    assert_eq!(completion.failure, Some(Failure::InstallFailed));
    let message = completion.message.expect("a message");
    assert!(message.contains("1 of its processes ended because together they wanted more than"), "{message}");
}

#[tokio::test]
async fn what_an_installation_is_told_is_part_of_the_key_but_no_secret_is() {
    let mut scene = scene(&[NODE, ("npm", NPM)]).await;
    let settings = "[setup]\ndependency_env = [\"NODE_ENV\", \"NPM_TOKEN\", \"REGISTRY\"]\n";
    let remote = Remote::with(&[MANIFEST, ("package-lock.json", "{}"), (".bifrost.toml", settings)]).await;
    for (node, token, registry, expect) in [
        ("production", "one-token", "https://me:one-word@one.example", Cache::Miss),
        ("production", "another-token", "https://me:word-two@one.example", Cache::Hit),
        ("development", "one-token", "https://me:one-word@one.example", Cache::Miss),
        ("production", "one-token", "https://me:one-word@another.example", Cache::Miss),
    ] {
        let mut lease = scene.lease(&remote, None, &["true"]);
        let variables = [("NODE_ENV", node), ("NPM_TOKEN", token), ("REGISTRY", registry), ("OTHER", token)];
        lease.spec.env = variables.map(|(name, value)| (name.into(), value.into())).into();
        let (completion, _) = scene.carry_out(&lease, Orders::none()).await;
        assert_eq!(cache(&completion.expect("not lost")), Some(expect), "{variables:?}");
    }
}

#[tokio::test]
async fn packages_are_fetched_again_where_their_cache_is_gone() {
    let cargo = r#"#!/bin/sh
[ "$1" = --version ] && echo "cargo 1.99" && exit
echo run >> "$RUNS"
mkdir -p "$CARGO_HOME" && echo fetched > "$CARGO_HOME/crate"
"#;
    let mut scene = scene(&[("cargo", cargo)]).await;
    let remote = Remote::with(&[("Cargo.toml", ""), ("Cargo.lock", "")]).await;
    let caches = scene.room.volume.use_packages(&repository_name(&remote.url())).expect("is there");
    for (round, expect) in [Cache::Miss, Cache::Hit, Cache::Miss, Cache::Hit, Cache::Miss].into_iter().enumerate() {
        match round {
            2 => scene.room.volume.discard(&caches, "evicted").expect("goes"),
            4 => fs::remove_dir_all(caches.join("cargo")).expect("goes"),
            _ => (),
        }
        let (completion, events) = scene.run(&remote, "cat $CARGO_HOME/crate").await;
        assert_eq!(
            (cache(&completion), output(&events, Stream::Stdout).as_str()),
            (Some(expect), "fetched\n"),
            "{round}"
        );
    }
}

#[tokio::test]
async fn a_tool_that_is_another_behind_the_same_file_is_told_apart() {
    let shim = "#!/bin/sh\nread -r version < \"$RUNS.version\"\n[ \"$1\" = --version ] && echo \"$version\" && exit\n\
                echo run >> \"$RUNS\"; mkdir -p node_modules/thing && echo \"$version\" > node_modules/thing/how\n";
    let mut scene = scene(&[NODE, ("npm", shim)]).await;
    let remote = Remote::with(&[MANIFEST, ("package-lock.json", "{}")]).await;
    for (version, expect) in [("10", Cache::Miss), ("10", Cache::Hit), ("11", Cache::Miss), ("10", Cache::Hit)] {
        fs::write(scene.directory.path().join("runs.version"), format!("{version}\n")).expect("writes");
        let (completion, events) = scene.run(&remote, "cat node_modules/thing/how").await;
        assert_eq!((cache(&completion), output(&events, Stream::Stdout)), (Some(expect), format!("{version}\n")));
    }
}

#[tokio::test]
async fn what_was_installed_under_another_libc_is_installed_anew() {
    let of_glibc = |version| format!("#!/bin/sh\necho 'ldd (Debian GLIBC {version}-9+deb12u14) {version}'\n");
    let mut scene = scene(&[NODE, ("npm", NPM), ("ldd", &of_glibc("2.31"))]).await;
    let remote = Remote::with(&[MANIFEST, ("package-lock.json", "{}")]).await;
    for (version, expect) in [("2.31", Cache::Miss), ("2.31", Cache::Hit), ("2.36", Cache::Miss)] {
        // The volume is in a new image now.
        let bin = scene.directory.path().join("bin");
        fs::write(bin.join("ldd"), of_glibc(version)).expect("writes");
        let mut config = crate::testing::config(scene.directory.path());
        config.tool_environment = scene.room.environment.clone();
        scene.room.background.stop(PATIENCE).await.expect("ends");
        drop((scene.room, scene.entries));
        let opened = Room::open(&config, kit::Clock::system(), kit::Chance::system()).await.expect("opens");
        (scene.room, scene.entries) = (opened.room, opened.entries);
        assert_eq!(cache(&scene.run(&remote, "true").await.0), Some(expect), "{version}");
    }
}

#[tokio::test]
async fn the_next_execution_gets_the_spare_that_was_made_while_the_command_ran() {
    use std::os::unix::fs::MetadataExt;
    let mut scene = scene(&[NODE, ("npm", NPM)]).await;
    let remote = Remote::with(&[MANIFEST, ("package-lock.json", "{}")]).await;
    let spares = scene.room.volume.dependencies().join("spares");
    for _ in 0..2 {
        scene.run(&remote, "true").await;
        let background = scene.room.background.clone();
        tokio::time::timeout(PATIENCE, until(async || background.is_idle())).await.expect("gets ready");
        let spare = fs::read_dir(&spares).expect("lists").next().expect("one").expect("reads").path();
        let ready = fs::metadata(spare.join("node_modules")).expect("is there").ino();
        let (completion, events) =
            scene.run(&remote, "ls -id node_modules | cut -d' ' -f1; cat node_modules/thing/how").await;
        assert_eq!(cache(&completion), Some(Cache::Hit));
        assert_eq!(output(&events, Stream::Stdout), format!("{ready}\nci --no-audit --no-fund\n"));
    }
}

#[tokio::test]
async fn only_of_a_lockfile_that_is_behind_it_is_said_that_it_is_to_be_committed() {
    let script = |last: &str| format!("#!/bin/sh\n[ \"$1\" = --version ] && echo 10 && exit\n{last}\n");
    let own = "npm ci --no-audit --no-fund ended with exit status: 1; its own output says why";
    for (npm, settings, expect) in [
        (script("echo postinstall >&2; exit 1"), "", own),
        (
            script("exec sleep 600"),
            "[timeouts]\ninstall_seconds = 1\n",
            "with timeouts.install_seconds in .bifrost.toml",
        ),
    ] {
        let mut scene = scene(&[NODE, ("npm", &npm)]).await;
        let remote = Remote::with(&[MANIFEST, ("package-lock.json", "{}"), (".bifrost.toml", settings)]).await;
        let message = scene.run(&remote, "echo ran").await.0.message.expect("a message");
        assert!(message.ends_with(expect), "{message}");
    }
}

#[tokio::test]
async fn an_installation_that_fails_ends_the_execution_and_is_not_kept() {
    let mut scene = scene(&[NODE, ("npm", NPM)]).await;
    let remote = Remote::with(&[MANIFEST, ("package-lock.json", "drift")]).await;
    for round in 1..=2 {
        let (completion, events) = scene.run(&remote, "echo ran").await;
        assert_eq!(completion.outcome, Outcome::SetupFailed);
        assert_eq!(completion.failure, Some(Failure::InstallFailed));
        let message = completion.message.expect("a message");
        assert!(message.contains("npm ci") && message.ends_with("commit what it changes"), "{message}");
        let said = output(&events, Stream::Stderr);
        assert!(said.contains("said this, by [secret]\n") && said.contains("lockfile drift"), "{said}");
        assert_eq!(output(&events, Stream::Stdout), "");
        assert_eq!(runs(&scene), round);
    }
    assert_eq!(kept(&scene), 0);
}

#[tokio::test]
async fn a_tool_that_is_not_there_is_named_and_the_command_runs() {
    let mut scene = scene(&[]).await;
    let remote = Remote::with(&[MANIFEST, ("yarn.lock", "")]).await;
    let lease = scene.lease(&remote, None, &["true"]);
    let (completion, events) = scene.carry_out(&lease, Orders::none()).await;
    let completion = completion.expect("not lost");
    assert_eq!((completion.outcome, cache(&completion)), (Outcome::Succeeded, Some(Cache::Unused)));
    let told = |event: &wire::event::Event| event.payload.get().contains("yarn is not on this machine");
    assert!(events.iter().any(told) || events.iter().any(|event| event.payload.get().contains("node is not on this")));
}

#[tokio::test]
async fn a_tree_that_a_command_changed_in_place_is_made_anew() {
    let mut scene = scene(&[NODE, ("npm", NPM)]).await;
    let remote = Remote::with(&[MANIFEST, ("package-lock.json", "{}")]).await;
    scene.run(&remote, "true").await;
    scene.run(&remote, "echo patched >> node_modules/thing/how").await;
    let (completion, events) = scene.run(&remote, "cat node_modules/thing/how").await;
    assert_eq!((cache(&completion), runs(&scene)), (Some(Cache::Miss), 2));
    assert_eq!(output(&events, Stream::Stdout), "ci --no-audit --no-fund\n");
}

#[tokio::test]
async fn python_gets_an_environment_of_its_own_that_programs_are_found_in() {
    let python = r##"#!/bin/sh
[ "$1" = --version ] && echo "Python 3.99" && exit
echo run >> "$RUNS"
mkdir -p .venv/bin
cat > .venv/bin/python <<'END'
#!/bin/sh
echo run >> "$RUNS"
{ echo '#!/bin/sh'; echo "echo from $PWD"; } > .venv/bin/tool
chmod +x .venv/bin/tool
END
chmod +x .venv/bin/python
"##;
    let mut scene = scene(&[("python3", python)]).await;
    let remote = Remote::with(&[("requirements.txt", "-r more.txt\n"), ("more.txt", "flask\n")]).await;
    for expect in [Cache::Miss, Cache::Hit] {
        let (completion, events) = scene.run(&remote, r#"tool; echo "$VIRTUAL_ENV"; pwd"#).await;
        assert_eq!((cache(&completion), runs(&scene)), (Some(expect), 2));
        let said = output(&events, Stream::Stdout);
        let here = said.lines().last().expect("a directory");
        assert_eq!(said, format!("from {here}\n{here}/.venv\n{here}\n"));
    }
    remote.commit(&[("more.txt", "django\n")]).await;
    assert_eq!(cache(&scene.run(&remote, "true").await.0), Some(Cache::Miss));
}

#[tokio::test]
async fn only_so_many_trees_are_kept() {
    let mut scene = scene_with(&[NODE, ("npm", NPM)], |limits| limits.dependency_trees = 2).await;
    let remote = Remote::with(&[MANIFEST, ("package-lock.json", "{}")]).await;
    let keep = scene.room.limits.dependency_trees;
    for round in 0..keep + 2 {
        remote.commit(&[("package-lock.json", &format!("{{{round}}}"))]).await;
        scene.run(&remote, "true").await;
    }
    assert_eq!(kept(&scene), keep);
}

#[tokio::test]
async fn crates_that_cannot_be_fetched_stop_nothing_but_a_stale_lockfile_does() {
    let cargo = r#"#!/bin/sh
[ "$1" = --version ] && echo "cargo 1.99" && exit
echo run >> "$RUNS"
grep -q stale Cargo.lock && echo "error: needs to be updated but --locked was passed" >&2 && exit 101
grep -q away Cargo.lock && echo "error: network failure seems to have happened" >&2 && exit 101
exit 0
"#;
    let mut scene = scene(&[("cargo", cargo)]).await;
    let remote = Remote::with(&[("Cargo.toml", "")]).await;
    for (lockfile, outcome, expect, runs_expected) in [
        ("away", Outcome::Succeeded, Some(Cache::Unused), 1),
        ("away", Outcome::Succeeded, Some(Cache::Unused), 2),
        ("stale", Outcome::SetupFailed, None, 3),
        ("fine", Outcome::Succeeded, Some(Cache::Miss), 4),
        ("fine", Outcome::Succeeded, Some(Cache::Hit), 4),
    ] {
        remote.commit(&[("Cargo.lock", lockfile)]).await;
        let (completion, events) = scene.run(&remote, r#"echo "$CARGO_HOME""#).await;
        assert_eq!(
            (completion.outcome, cache(&completion), runs(&scene)),
            (outcome, expect, runs_expected),
            "{lockfile}"
        );
        let caches = scene.room.volume.use_packages(&repository_name(&remote.url())).expect("is there");
        let home = format!("{}\n", caches.join("cargo").display());
        assert_eq!(output(&events, Stream::Stdout) == home, outcome == Outcome::Succeeded);
    }
}

#[tokio::test]
async fn an_installation_that_fills_a_small_volume_says_so_and_is_not_kept() {
    let small = crate::testing::SmallVolume::mount(8);
    let npm = r#"#!/bin/sh
[ "$1" = --version ] && echo 10 && exit
mkdir -p node_modules && head -c $(cat package-lock.json) /dev/zero > node_modules/large
"#;
    let mut scene = scene(&[NODE, ("npm", npm)]).await;
    drop(scene.room);
    let mut config = crate::testing::config(scene.directory.path());
    let path = format!("{}:/usr/bin:/bin", scene.directory.path().join("bin").display());
    config.tool_environment.insert("PATH".into(), path);
    config.sprite_dir = small.path();
    let opened = Room::open(&config, kit::Clock::system(), kit::Chance::system()).await.expect("opens");
    (scene.room, scene.entries) = (opened.room, opened.entries);
    let remote = Remote::with(&[MANIFEST, ("package-lock.json", "20000000")]).await;
    let (completion, events) = scene.run(&remote, "echo ran").await;
    assert_eq!(completion.failure, Some(Failure::MachineFault));
    assert!(completion.message.expect("a message").contains("free space"));
    assert!(output(&events, Stream::Stderr).contains("No space left on device"));
    assert_eq!(kept(&scene), 0);
    remote.commit(&[("package-lock.json", "1000")]).await;
    for expect in [Cache::Miss, Cache::Hit] {
        let (completion, _) = scene.run(&remote, "test -s node_modules/large").await;
        assert_eq!((cache(&completion), completion.outcome), (Some(expect), Outcome::Succeeded));
    }
}

#[tokio::test]
async fn a_runner_that_is_killed_while_it_installs_installs_afresh() {
    let npm = r#"#!/bin/sh
[ "$1" = --version ] && echo 10 && exit
echo run >> "$RUNS"
mkdir -p node_modules && echo half > node_modules/half
[ -e "$RUNS.again" ] || { touch "$RUNS.half"; sleep 600; }
echo whole > node_modules/whole
"#;
    let mut scene = scene(&[NODE, ("npm", npm)]).await;
    let remote = Remote::with(&[MANIFEST, ("package-lock.json", "{}")]).await;
    let lease = scene.lease(&remote, None, &["cat", "node_modules/whole"]);
    let (room, half) = (scene.room.clone(), scene.directory.path().join("runs.half"));
    {
        let installing = crate::execution::carry_out(&room, &lease, Orders::none());
        tokio::pin!(installing);
        let is_half = until(async || half.exists());
        tokio::select! {
            _ = &mut installing => panic!("it sleeps"),
            is_half = tokio::time::timeout(PATIENCE, is_half) => is_half.expect("begins"),
        }
        // Dropped where it stands, as a kill does.
    }
    fs::write(scene.directory.path().join("runs.again"), "").expect("writes");
    assert_eq!(kept(&scene), 0);
    let (completion, events) = scene.run(&remote, "ls node_modules; cat node_modules/whole").await;
    assert_eq!((cache(&completion), runs(&scene)), (Some(Cache::Miss), 2));
    assert_eq!(output(&events, Stream::Stdout), "half\nwhole\nwhole\n");
    assert_eq!(scene.room.volume.execution_ids().expect("lists").len(), 1);
}

#[tokio::test]
async fn two_executions_that_need_the_same_install_it_once() {
    let scene = scene(&[NODE, ("npm", NPM)]).await;
    let remote = Remote::with(&[MANIFEST, ("package-lock.json", "{}")]).await;
    let mut scene = scene;
    let room = scene.room.clone();
    let one = async || {
        let mut story = Story::new(room.recorder.clone(), crate::testing::subject(), Orders::none());
        let spec = scene_spec(&remote);
        let obtained = crate::mirror::obtain(&room, &story, &spec, Told::ByFiles).await.expect("obtained");
        let subject = story.subject();
        let paths = workspace::create(&room, &Orders::none(), subject, &spec.repository, &obtained).await;
        let terms = Terms { within: room.limits.install, variables: BTreeMap::new(), reads: Vec::new() };
        prepare(&room, &mut story, &paths.expect("created"), &terms).await.expect("prepared").cache
    };
    let both = async { tokio::join!(one(), one()) };
    let (mut caches, _) = scene.collect(async { <[_; 2]>::from(both.await) }).await;
    caches.sort_by_key(|cache| *cache == Some(Cache::Miss));
    assert_eq!((caches, runs(&scene)), ([Some(Cache::Hit), Some(Cache::Miss)], 1));
}

fn scene_spec(remote: &Remote) -> wire::task::TaskSpec {
    serde_json::from_value(serde_json::json!({"repository": remote.url(), "command": ["true"]})).expect("a spec")
}

#[tokio::test]
async fn damaged_dependencies_are_named_in_an_event() {
    let mut scene = scene(&[NODE, ("npm", NPM)]).await;
    let remote = Remote::with(&[MANIFEST, ("package-lock.json", "{}")]).await;
    scene.run(&remote, "true").await;
    scene.run(&remote, "echo patched >> node_modules/thing/how").await;
    let (_, events) = scene.run(&remote, "true").await;
    let told = events.iter().find(|event| event.kind == kind::VOLUME_DAMAGED).expect("told");
    assert!(told.payload.get().contains("node_modules/thing/how is not as it was installed"), "{told:?}");
}

#[tokio::test]
async fn what_one_repositorys_code_installs_or_leaves_in_a_cache_is_never_anothers() {
    let cargo = r#"#!/bin/sh
[ "$1" = --version ] && echo "cargo 1.99" && exit
echo run >> "$RUNS"
mkdir -p "$CARGO_HOME" && cat poison 2>/dev/null >> "$CARGO_HOME/crate"
exit 0
"#;
    let npm = format!("{}exit 0\n", NPM.replace("echo \"$*\" >", "cat poison 2>/dev/null >"));
    let mut scene = scene(&[NODE, ("npm", &npm), ("cargo", cargo)]).await;
    let same = [MANIFEST, ("package-lock.json", "{}"), ("Cargo.toml", ""), ("Cargo.lock", "")];
    let (harmful, other) = (Remote::with(&same).await, Remote::with(&same).await);
    harmful.commit(&[("poison", "harm\n")]).await;
    let shared = scene.room.volume.root().join("packages/cargo");
    kit::files::make_private(&shared).expect("makes");
    let script = "cat node_modules/thing/how $CARGO_HOME/crate; echo harm >> $CARGO_HOME/left; ls $CARGO_HOME";
    for (remote, expect, runs_expected) in [
        (&harmful, (Some(Cache::Miss), "harm\nharm\ncrate\nleft\n"), 2),
        (&other, (Some(Cache::Miss), "crate\nleft\n"), 4),
        (&harmful, (Some(Cache::Hit), "harm\nharm\ncrate\nleft\n"), 4),
    ] {
        let (completion, events) = scene.run(remote, script).await;
        let said = output(&events, Stream::Stdout);
        assert_eq!(((cache(&completion), said.as_str()), runs(&scene)), (expect, runs_expected));
    }
    let is_gone = until(async || !shared.exists());
    tokio::time::timeout(PATIENCE, is_gone).await.expect("the caches of before are removed");
}
