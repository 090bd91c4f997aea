//! Levels, and the look at a real volume.

use tempfile::TempDir;

use super::*;

#[test]
fn a_mark_is_left_behind_only_well_above_it() {
    use VolumeLevel::{Ample, Full, Low};
    let cases = [
        (Ample, 100, Ample),
        (Ample, 99, Low),
        (Ample, 39, Full),
        (Low, 124, Low),
        (Low, 125, Ample),
        (Low, 40, Low),
        (Low, 39, Full),
        (Full, 49, Full),
        (Full, 50, Low),
        (Full, 124, Low),
        (Full, 125, Ample),
    ];
    for (level, room, expect) in cases {
        assert_eq!(next(level, room, 100, 40), expect, "{level} with {room}");
    }
}

#[test]
fn what_is_free_in_the_database_counts_and_the_journal_does_not() {
    let stats = DiskStats {
        database_bytes: 500,
        reusable_bytes: 30,
        journal_bytes: 20,
        free_bytes: 100,
        volume_bytes: 1_000,
        level: VolumeLevel::Ample,
    };
    assert_eq!(room(&stats), 110);
    assert_eq!(room(&DiskStats { free_bytes: 0, reusable_bytes: 0, ..stats }), 0);
    // A database with room inside is no use on a disk without room for the journal.
    assert_eq!(room(&DiskStats { reusable_bytes: 5_000, ..stats }), 240);
}

#[test]
fn nothing_is_admitted_below_the_second_mark_and_everything_above_it() {
    let directory = TempDir::new().unwrap();
    let volume = |stop| Volume::new(directory.path().to_owned(), Marks { warn: Amount::Bytes(0), stop });
    assert!(volume(Amount::Bytes(0)).admits(1));
    let full = volume(Amount::Bytes(u64::MAX));
    assert!(!full.admits(1));
    assert!(!full.admits(0));
    full.distrust();
    assert_eq!(full.look().expect("is there").level, VolumeLevel::Full);
}

#[test]
fn the_sizes_of_the_files_are_seen() {
    let directory = TempDir::new().unwrap();
    let volume = Volume::new(directory.path().to_owned(), Marks::default());
    assert_eq!(volume.look().expect("is there").journal_bytes, 0);
    fs::write(directory.path().join(DATABASE), [0; 7]).unwrap();
    fs::write(directory.path().join(JOURNAL), [0; 5]).unwrap();
    volume.set_reusable(3);
    let stats = volume.look().expect("is there");
    assert_eq!((stats.database_bytes, stats.journal_bytes, stats.reusable_bytes), (7, 5, 3));
    assert!(stats.volume_bytes >= stats.free_bytes && stats.volume_bytes > 0, "{stats:?}");
}
