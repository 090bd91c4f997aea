//! Installations with package managers that are scripts: they count their runs
//! and install one file.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::testing::{Remote, Scene, output};
use wire::execution::Outcome;
use wire::worker::Completion;

const NPM: &str = r#"#!/bin/sh
[ "$1" = --version ] && echo "${NPM_VERSION:-10.0.0}" && exit
echo run >> "$RUNS"
echo "npm $* said this"
grep -q drift package-lock.json && echo "lockfile drift" >&2 && exit 1
mkdir -p node_modules/thing && echo "$*" > node_modules/thing/how
"#;

/// A scene whose tools are the given scripts, and the number of installations so far.
async fn scene(tools: &[(&str, &str)]) -> Scene {
    let scene = Scene::with(|config| {
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
    let metrics = kit::telemetry::init_metrics();
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
    let page = metrics.render();
    for line in [
        r#"runner_cache_total{cache="dependencies",result="hit"} 3"#,
        r#"runner_cache_total{cache="dependencies",result="miss"} 2"#,
        r#"runner_cache_total{cache="repository",result="hit"} 4"#,
    ] {
        assert!(page.contains(line), "{page}");
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
        assert!(completion.message.expect("a message").contains("npm ci"));
        let said = output(&events, Stream::Stderr);
        assert!(said.contains("said this") && said.contains("lockfile drift"), "{said}");
        assert_eq!(output(&events, Stream::Stdout), "");
        assert_eq!(runs(&scene), round);
    }
    assert!(scene.room.volume.dependency_trees().expect("lists").is_empty());
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
    let mut scene = scene(&[NODE, ("npm", NPM)]).await;
    let remote = Remote::with(&[MANIFEST, ("package-lock.json", "{}")]).await;
    let keep = scene.room.limits.dependency_trees;
    for round in 0..keep + 2 {
        remote.commit(&[("package-lock.json", &format!("{{{round}}}"))]).await;
        scene.run(&remote, "true").await;
    }
    assert_eq!(scene.room.volume.dependency_trees().expect("lists").len(), keep);
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
        let home = format!("{}\n", scene.room.volume.packages("cargo").display());
        assert_eq!(output(&events, Stream::Stdout) == home, outcome == Outcome::Succeeded);
    }
}
