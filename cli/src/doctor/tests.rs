//! What each check makes of what it finds.

use serde_json::json;
use wire::machine::MachineView;

use super::*;

#[test]
fn a_git_is_judged_by_its_first_two_numbers() {
    for (said, is_well) in [
        ("git version 2.47.3", true),
        ("git version 2.39.5 (Apple Git-154)", true),
        ("git version 2.30.2", true),
        ("git version 3.0.0", true),
        ("git version 2.29.9", false),
        ("git version 1.99.9", false),
        ("hub version 2.47.3", false),
        ("", false),
    ] {
        assert_eq!(local::judge_git(said, "cure").is_well(), is_well, "{said}");
    }
}

#[tokio::test]
async fn the_git_of_these_tests_is_well() {
    assert!(local::git().await.is_well());
}

#[test]
fn a_key_that_others_may_read_is_ill() {
    use std::os::unix::fs::PermissionsExt;
    let data = tempfile::tempdir().expect("a directory");
    let path = data.path().join("api-key");
    assert!(!local::judge_key_file(path.clone(), false).is_well());
    assert!(local::judge_key_file(path.clone(), true).is_well());
    std::fs::write(&path, "key").expect("writes");
    for (mode, is_well) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o777, false)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("sets");
        assert_eq!(local::judge_key_file(path.clone(), true).is_well(), is_well, "{mode:o}");
    }
}

#[test]
fn a_data_directory_may_be_missing_but_not_be_a_file() {
    let parent = tempfile::tempdir().expect("a directory");
    assert!(local::data_directory(parent.path()).is_well());
    assert!(local::data_directory(&parent.path().join("a/b")).is_well());
    let file = parent.path().join("file");
    std::fs::write(&file, "").expect("writes");
    for path in [file.clone(), file.join("below")] {
        let finding = local::data_directory(&path);
        assert!(matches!(finding, Finding::Ill { code: Code::CannotCreate, .. }), "{}: {finding:?}", path.display());
    }
}

#[test]
fn destroyed_machines_do_not_count_against_the_cap() {
    let machine = |state: &str| -> MachineView {
        let machine = json!({ "id": "0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70", "name": "m", "state": state,
            "repositories": [], "created_at": "2026-11-21T00:00:00Z", "state_since": "2026-11-21T00:00:00Z" });
        serde_json::from_value(machine).expect("a machine as the API shows it")
    };
    let mut machines = vec![machine("ready"); 10];
    machines.extend(vec![machine("destroyed"); 5]);
    assert_eq!(remote::judge_machines(&machines), Finding::Well("10 of at most 10".into()));
    machines.push(machine("creating"));
    assert!(!remote::judge_machines(&machines).is_well());
}

#[test]
fn the_exit_code_is_that_of_the_first_thing_that_is_ill() {
    let well = Finding::Well(String::new());
    let ill = |code| Finding::ill(code, "", "");
    assert_eq!(exit_code([well.clone(), Finding::Skipped].iter()), 0);
    assert_eq!(exit_code([well, ill(Code::CannotCreate), ill(Code::Unavailable)].iter()), 73);
}
