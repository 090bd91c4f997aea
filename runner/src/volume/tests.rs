//! One owner at a time, and what a killed runner leaves is cleared away.

use std::fs::File;
use std::io::Write as _;

use super::*;

/// So much that the part of a small volume is less, and so little that this machine's disk has it.
const RESERVE_BYTES: u64 = 64 << 20;

fn open() -> (tempfile::TempDir, Volume) {
    let directory = tempfile::tempdir().expect("a directory");
    let volume = Volume::open(&directory.path().join("sprite"), RESERVE_BYTES).expect("opens");
    (directory, volume)
}

#[test]
fn a_volume_belongs_to_one_runner_at_a_time() {
    let (_directory, volume) = open();
    let again = Volume::open(volume.root(), RESERVE_BYTES).expect_err("taken");
    assert!(again.to_string().contains("belongs to another runner"), "{again}");
    let root = volume.root().to_owned();
    drop(volume);
    Volume::open(&root, RESERVE_BYTES).expect("free again");
}

#[test]
fn what_a_killed_git_left_is_gone_after_opening() {
    let (_directory, volume) = open();
    let mirror = volume.mirror("thing");
    let stale = ["HEAD.lock", "packed-refs.lock", "refs/remotes/origin/main.lock", "objects/pack/tmp_pack_x"];
    let kept = ["HEAD", "refs/remotes/origin/main", "objects/pack/pack-1.pack"];
    for path in stale.iter().chain(&kept) {
        kit::files::make_private(mirror.join(path).parent().expect("has one")).expect("makes");
        fs::write(mirror.join(path), "x").expect("writes");
    }
    kit::files::make_private(&volume.mirror(".new-half")).expect("makes");
    let root = volume.root().to_owned();
    drop(volume);
    let volume = Volume::open(&root, RESERVE_BYTES).expect("opens");
    assert_eq!(stale.map(|path| mirror.join(path).exists()), [false; 4]);
    assert_eq!(kept.map(|path| mirror.join(path).exists()), [true; 3]);
    assert_eq!(volume.repository_names(), ["thing"]);
}

fn aside(volume: &Volume) -> Vec<String> {
    volume.set_aside().expect("lists").iter().map(|path| file_name(path)).collect()
}

#[test]
fn the_quarantine_keeps_the_newest_of_each_kind_and_all_unsaved_work() {
    let (_directory, volume) = open();
    for mark in ["1", "2", "3"] {
        let [mirror, checkpoint, workspace, work] =
            ["repos/a.b", "checkpoints/a", "workspaces/a", "workspaces/b"].map(|name| volume.root().join(name));
        for path in [&mirror, &checkpoint, &workspace, &work] {
            kit::files::make_private(path).expect("makes");
        }
        volume.quarantine_work(&work, mark).expect("moves");
        for path in [&mirror, &checkpoint, &workspace] {
            volume.quarantine(path, mark, 2).expect("moves");
        }
    }
    let of = |mark: &str| ["checkpoints.a", "repos.a.b", "work.b", "workspaces.a"].map(|name| format!("{mark}.{name}"));
    assert_eq!(aside(&volume), [&["1.work.b".to_owned()], &of("2")[..], &of("3")[..]].concat());
    let works = volume.work_aside().expect("lists");
    assert_eq!(works.iter().map(|path| former_name(path)).collect::<Vec<_>>(), ["b"; 3]);
    // Something else has it now: it is one of the workspaces, and the oldest of them.
    volume.has_no_work(&works[0], &volume.root().join("workspaces/b"), 2).expect("moves");
    assert_eq!(aside(&volume), [of("2"), of("3")].concat());
}

#[test]
fn a_small_volume_that_is_full_loses_unsaved_work_last() {
    let small = crate::testing::SmallVolume::mount(20);
    let volume = Volume::open(&small.path(), RESERVE_BYTES).expect("opens");
    for (mark, name) in [("1", "work"), ("2", "saved"), ("3", "other")] {
        let workspace = volume.root().join("workspaces").join(name);
        kit::files::make_private(&workspace).expect("makes");
        fs::write(workspace.join("file"), vec![1; 13 << 19]).expect("there is room");
        match name {
            "work" => volume.quarantine_work(&workspace, mark).expect("moves"),
            _ => volume.quarantine(&workspace, mark, 2).expect("moves"),
        };
    }
    assert!(volume.is_tight().expect("tells") && !volume.is_full().expect("tells"));
    assert_eq!(volume.relieve_of_damaged().expect("relieves"), [""; 0], "there is room to work with");
    let mut more = File::create(volume.root().join("more")).expect("makes");
    while !volume.is_full().expect("tells") {
        more.write_all(&[1; 16 << 10]).expect("there is room");
    }
    assert_eq!(volume.relieve_of_damaged().expect("relieves"), ["2.workspaces.saved"]);
    assert_eq!(aside(&volume), ["1.work.work", "3.workspaces.other"]);
}

#[test]
fn a_path_that_leads_out_of_the_volume_is_refused() {
    let (_directory, volume) = open();
    let link = volume.root().join("workspaces/link");
    std::os::unix::fs::symlink("/etc", &link).expect("links");
    for outside in ["../../etc/passwd", "/etc/passwd", "workspaces/link/passwd", "workspaces/../..", "."] {
        assert!(volume.inside(&volume.root().join(outside)).is_err(), "{outside}");
    }
    volume.inside(&volume.root().join("workspaces/../deps")).expect("inside");
}

#[test]
fn directories_that_a_command_closed_are_opened_and_removed() {
    let (_directory, volume) = open();
    let (closed, outside) = (volume.root().join("workspaces/closed"), volume.root().join("deps"));
    kit::files::make_private(&closed.join("inner")).expect("makes");
    std::os::unix::fs::symlink(&outside, closed.join("link")).expect("links");
    let close = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o500)).expect("closes");
    close(&closed.join("inner"));
    close(&closed);
    close(&outside);
    let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
    open_up(&closed).expect("opens");
    assert_eq!([mode(&closed), mode(&closed.join("inner")), mode(&outside)], [0o700, 0o700, 0o500]);
    remove(&closed).expect("removes");
    assert!(!closed.exists() && outside.exists());
}

#[test]
fn of_the_package_managers_caches_the_last_used_are_kept_up_to_a_size() {
    let (_directory, volume) = open();
    let fill = |name: &str| {
        let caches = volume.use_packages(name).expect("makes");
        fs::write(caches.join("crate"), vec![1; 1 << 20]).expect("writes");
        use_at(&caches, name.parse().expect("a number"));
    };
    ["1", "2", "3"].into_iter().for_each(fill);
    let kept = || volume.packages_by_use().expect("lists").iter().map(|(_, path)| file_name(path)).collect::<Vec<_>>();
    volume.prune_packages(5 << 20, "a").expect("prunes");
    assert_eq!(kept(), ["1", "2", "3"]);
    use_at(&volume.use_packages("1").expect("is there"), 4);
    volume.prune_packages(5 << 19, "b").expect("prunes");
    assert_eq!(kept(), ["3", "1"]);
    volume.prune_packages(0, "c").expect("prunes");
    assert_eq!(kept(), ["1"], "somebody may be using those");
    assert_eq!(children(&volume.root().join("trash")).expect("lists").len(), 0);
}

#[test]
fn a_small_volume_that_is_nearly_full_loses_the_caches_that_were_used_least_lately() {
    let small = crate::testing::SmallVolume::mount(20);
    let volume = Volume::open(&small.path(), RESERVE_BYTES).expect("opens");
    for (name, second) in [("old", 1), ("newer", 2), ("newest", 3)] {
        let caches = volume.use_packages(name).expect("makes");
        fs::write(caches.join("crate"), vec![1; 13 << 19]).expect("there is room");
        use_at(&caches, second);
    }
    assert!(volume.is_tight().expect("tells"));
    volume.relieve(volume.reserve().expect("tells"), "mark").expect("relieves");
    let kept = volume.packages_by_use().expect("lists");
    assert_eq!(kept.iter().map(|(_, path)| file_name(path)).collect::<Vec<_>>(), ["newer", "newest"]);
}

fn use_at(caches: &Path, second: u64) {
    let when = std::time::UNIX_EPOCH + std::time::Duration::from_secs(second);
    File::open(caches).and_then(|caches| caches.set_modified(when)).expect("ours");
}
