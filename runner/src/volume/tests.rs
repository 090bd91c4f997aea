use super::*;

fn open() -> (tempfile::TempDir, Volume) {
    let directory = tempfile::tempdir().expect("a directory");
    let volume = Volume::open(&directory.path().join("sprite")).expect("opens");
    (directory, volume)
}

#[test]
fn a_volume_belongs_to_one_runner_at_a_time() {
    let (_directory, volume) = open();
    let again = Volume::open(volume.root()).expect_err("taken");
    assert!(again.to_string().contains("belongs to another runner"), "{again}");
    let root = volume.root().to_owned();
    drop(volume);
    Volume::open(&root).expect("free again");
}

#[test]
fn what_a_killed_git_left_is_gone_after_opening() {
    let (_directory, volume) = open();
    let mirror = volume.mirror("thing");
    let stale = ["HEAD.lock", "packed-refs.lock", "refs/remotes/origin/main.lock", "objects/pack/tmp_pack_x"];
    let kept = ["HEAD", "refs/remotes/origin/main", "objects/pack/pack-1.pack"];
    for path in stale.iter().chain(&kept) {
        make_private(mirror.join(path).parent().expect("has one")).expect("makes");
        fs::write(mirror.join(path), "x").expect("writes");
    }
    make_private(&volume.mirror(".new-half")).expect("makes");
    let root = volume.root().to_owned();
    drop(volume);
    let volume = Volume::open(&root).expect("opens");
    assert_eq!(stale.map(|path| mirror.join(path).exists()), [false; 4]);
    assert_eq!(kept.map(|path| mirror.join(path).exists()), [true; 3]);
    assert_eq!(volume.repository_names(), ["thing"]);
}

#[test]
fn the_quarantine_keeps_the_newest() {
    let (_directory, volume) = open();
    for mark in ["1", "2", "3"] {
        make_private(&volume.mirror("thing")).expect("makes");
        volume.quarantine(&volume.mirror("thing"), mark, 2).expect("moves");
    }
    let mut kept: Vec<String> =
        children(&volume.root().join("quarantine")).expect("lists").iter().map(|path| file_name(path)).collect();
    kept.sort();
    assert_eq!(kept, ["2.thing", "3.thing"]);
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
