//! What is remembered of grants, on disk and off it.

use chrono::DateTime;
use tempfile::TempDir;

use super::*;

fn execution(number: usize) -> ExecutionId {
    let mut random = [0; 10];
    random[2..].copy_from_slice(&number.to_be_bytes());
    ExecutionId::mint(DateTime::UNIX_EPOCH, random)
}

fn line(number: usize) -> Vec<u8> {
    format!("{{\"payload\":{{\"execution_id\":7}},\"execution_id\":\"{}\"}}", execution(number)).into_bytes()
}

fn take(grants: &Grants, number: usize, is_unsent: bool) {
    grants.take(execution(number), &format!("grant-{number}"), is_unsent).expect("is fit");
}

fn granted(grants: &Grants, number: usize) -> Vec<String> {
    grants.of(&[line(number)]).1
}

#[test]
fn a_saved_grant_is_there_after_a_crash_and_a_newer_one_takes_its_place() {
    let directory = TempDir::new().unwrap();
    let grants = Grants::open(directory.path()).unwrap();
    take(&grants, 1, false);
    take(&grants, 2, false);
    grants.take(execution(1), "newer", false).unwrap();
    grants.save().unwrap();
    take(&grants, 3, false);
    let grants = Grants::open(directory.path()).unwrap();
    assert_eq!(granted(&grants, 1), ["newer"]);
    assert_eq!(granted(&grants, 2), ["grant-2"]);
    assert!(granted(&grants, 3).is_empty(), "it was not saved");
}

#[test]
fn what_is_no_grant_is_refused_and_in_the_file_passed_over() {
    let directory = TempDir::new().unwrap();
    let good = format!("{} good", execution(1));
    for damage in
        ["", "\n\n", "no id here\n", "\u{fffd}\n", &format!("{}\n", execution(2)), &format!("{} \n", execution(2))]
    {
        fs::write(directory.path().join("grants"), format!("{damage}{good}\n{damage}")).unwrap();
        let grants = Grants::open(directory.path()).unwrap();
        assert_eq!(granted(&grants, 1), ["good"], "{damage:?}");
        assert!(granted(&grants, 2).is_empty(), "{damage:?}");
        for unfit in ["", "two words", "a,b", "line\nfeed", "ż", &"x".repeat(GRANT_BYTES_MAX + 1)] {
            assert_eq!(grants.take(execution(3), unfit, false), Err(UnfitGrant), "{unfit}");
        }
    }
}

#[test]
fn old_grants_go_only_when_nothing_is_unsent() {
    let directory = TempDir::new().unwrap();
    let grants = Grants::open(directory.path()).unwrap();
    for number in 0..KEPT * 3 {
        take(&grants, number, true);
    }
    assert_eq!(granted(&grants, 0), ["grant-0"]);
    take(&grants, KEPT * 3, false);
    assert!(granted(&grants, KEPT * 2).is_empty());
    assert_eq!(granted(&grants, KEPT * 2 + 1).len(), 1, "the newest stay");
    assert_eq!(grants.book().known.len(), KEPT);
}

#[test]
fn a_batch_ends_before_it_needs_more_grants_than_a_request_carries() {
    let directory = TempDir::new().unwrap();
    let grants = Grants::open(directory.path()).unwrap();
    let lines: Vec<Vec<u8>> = (0..GRANTS_PER_REQUEST + 2).flat_map(|number| [line(number), line(number)]).collect();
    assert_eq!(grants.of(&lines), (lines.len(), vec![]), "nobody asks for grants that there are none of");
    for number in 0..GRANTS_PER_REQUEST + 2 {
        take(&grants, number, false);
    }
    let (fitting, needed) = grants.of(&lines);
    assert_eq!((fitting, needed.len()), (GRANTS_PER_REQUEST * 2, GRANTS_PER_REQUEST));
    assert_eq!(grants.of(&lines[fitting..]).1, ["grant-16", "grant-17"]);
    assert_eq!(grants.of(&[b"{}".to_vec(), b"{\"execution_id\":null}".to_vec()]), (2, vec![]));
}
