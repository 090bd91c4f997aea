//! What each check makes of what it finds.

use wire::cost::{CostFinding, CostProblem, CostView};

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

fn machines(strangers: usize, machines_max: usize, findings: Vec<CostFinding>) -> Finding {
    remote::judge_machines(&CostView {
        as_of: chrono::DateTime::UNIX_EPOCH,
        prices_of: String::new(),
        machines: vec![],
        strangers,
        machines_max,
        spending: vec![],
        findings,
        held: None,
    })
}

#[test]
fn machines_are_counted_against_the_server_s_own_cap() {
    assert_eq!(machines(4, 4, vec![]), Finding::Well("4 of at most 4".into()));
    assert_eq!(machines(12, 20, vec![]), Finding::Well("12 of at most 20".into()));
    assert!(!machines(5, 4, vec![]).is_well());
}

#[test]
fn a_token_that_the_provider_refuses_is_ill_with_its_cure_and_what_else_costs_is_not() {
    let finding = |problem| CostFinding { problem, message: "set FLY_API_TOKEN".into(), machine_id: None };
    let message = "0 of at most 10, and the provider refuses the control plane's token";
    let ill = Finding::ill(Code::Configuration, message, "set FLY_API_TOKEN");
    let found = [CostProblem::TokenRefused, CostProblem::NotCompared].map(finding);
    assert_eq!(machines(0, 10, found.to_vec()), ill);
    assert!(machines(0, 10, vec![finding(CostProblem::NotCompared)]).is_well());
}

#[test]
fn a_provider_that_gives_no_usable_answer_is_ill_with_its_address() {
    let (problem, message) = (CostProblem::ProviderAway, "no answer from the Machines API at http://127.0.0.1:1");
    let finding = CostFinding { problem, message: message.into(), machine_id: None };
    let ill = Finding::ill(Code::Unavailable, "0 of at most 10, and the provider gives no usable answer", message);
    assert_eq!(machines(0, 10, vec![finding]), ill);
}

#[test]
fn an_image_that_the_provider_cannot_get_is_ill_with_its_cure() {
    let (problem, cure) = (CostProblem::ImageMissing, "name another in BIFROST_RUNNER_IMAGE");
    let finding = CostFinding { problem, message: cure.into(), machine_id: None };
    let message = "0 of at most 10, and the provider cannot get their image";
    assert_eq!(machines(0, 10, vec![finding]), Finding::ill(Code::Configuration, message, cure));
}

#[test]
fn the_exit_code_is_that_of_the_first_thing_that_is_ill() {
    let well = Finding::Well(String::new());
    let ill = |code| Finding::ill(code, "", "");
    assert_eq!(exit_code([well.clone(), Finding::Skipped].iter()), 0);
    assert_eq!(exit_code([well, ill(Code::CannotCreate), ill(Code::Unavailable)].iter()), 73);
}
