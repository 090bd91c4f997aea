//! Trees of every kind, saved, changed, damaged and put back.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::*;

/// A tree and a store beside it.
struct Scene {
    directory: tempfile::TempDir,
    store: Store,
}

impl Scene {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("tree")).expect("makes");
        let store = Store::new(&directory.path().join("store")).expect("makes");
        Self { directory, store }
    }

    fn tree(&self) -> PathBuf {
        self.directory.path().join("tree")
    }

    fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.tree().join(name);
        fs::create_dir_all(path.parent().expect("has one")).expect("makes");
        fs::write(path, content).expect("writes");
    }

    fn save(&self, base: Option<&Listing>) -> Saved {
        let paths: Vec<PathBuf> = picture(&self.tree()).into_keys().collect();
        self.store.save(&self.tree(), &paths, base).expect("saves")
    }

    /// Damages the first block of the only pack; gives what the pack was.
    fn damage(&self) -> (PathBuf, Vec<u8>) {
        let [pack] = <[PathBuf; 1]>::try_from(self.packs()).expect("one pack");
        let whole = fs::read(&pack).expect("reads");
        let mut damaged = whole.clone();
        damaged[100] ^= 0x40;
        fs::write(&pack, damaged).expect("writes");
        (pack, whole)
    }

    fn packs(&self) -> Vec<PathBuf> {
        let mut names: Vec<PathBuf> =
            fs::read_dir(self.store.root()).expect("lists").map(|entry| entry.expect("reads").path()).collect();
        names.retain(|path| path.extension().is_some_and(|ending| ending == "pack"));
        names.sort();
        names
    }

    /// Makes every stamp old enough to be trusted, without waiting for the clock.
    fn trusted(&self, saved: &Saved) -> Listing {
        let stamp = |entry: &Entry| {
            let meta = fs::symlink_metadata(self.tree().join(entry.path())).expect("is there");
            let stamp = meta.is_file().then(|| listing::Stamp::of(&meta));
            Entry::new(entry.path(), entry.content.clone(), stamp)
        };
        Listing::new(saved.listing.entries().iter().map(stamp).collect())
    }
}

/// Every file and link of a tree, with its mode and content.
type Picture = BTreeMap<PathBuf, (u32, Vec<u8>)>;

fn picture(tree: &Path) -> Picture {
    let mut found = BTreeMap::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(tree.join(&directory)).expect("lists") {
            let entry = entry.expect("reads");
            let (relative, kind) = (directory.join(entry.file_name()), entry.file_type().expect("has one"));
            let path = entry.path();
            if kind.is_dir() {
                directories.push(relative);
            } else if kind.is_symlink() {
                let target = fs::read_link(path).expect("reads");
                found.insert(relative, (0, target.as_os_str().as_bytes().to_vec()));
            } else {
                let mode = fs::metadata(&path).expect("is there").permissions().mode() & 0o777;
                found.insert(relative, (mode, fs::read(path).expect("reads")));
            }
        }
    }
    found
}

/// Bytes that do not compress and differ by their seed.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

#[test]
fn a_tree_comes_back_to_the_byte() {
    let scene = Scene::new();
    scene.put("README", "hello\n");
    scene.put("src/deep/er/file", noise(70_000, 1));
    scene.put("large", noise(3_000_000, 2));
    scene.put("empty", "");
    scene.put("run", "#!/bin/true");
    fs::set_permissions(scene.tree().join("run"), Permissions::from_mode(0o755)).expect("changes");
    symlink("/nowhere", scene.tree().join("dangling")).expect("links");
    symlink("src", scene.tree().join("src-link")).expect("links");
    fs::write(scene.tree().join(OsStr::from_bytes(b"odd-\xff-name")), "x").expect("writes");
    fs::write(scene.tree().join("n".repeat(255)), "a name as long as may be").expect("writes");
    let expect = picture(&scene.tree());
    let saved = scene.save(None);
    scene.store.verify(&saved.listing).expect("whole");
    fs::remove_dir_all(scene.tree()).expect("removes");
    fs::create_dir(scene.tree()).expect("makes");
    let restored = scene.store.restore(&mut saved.listing.clone(), &scene.tree()).expect("puts back");
    assert_eq!(picture(&scene.tree()), expect);
    assert_eq!(restored, Restored { kept: 0, written: expect.len() });
}

#[test]
fn a_listing_is_read_as_it_was_written_and_damage_is_noticed() {
    let scene = Scene::new();
    scene.put("a/b", "c");
    let listing = scene.save(None).listing;
    let path = scene.directory.path().join("listing");
    let hash = listing.write(&path).expect("writes");
    assert_eq!(Listing::read(&path, &hash).expect("reads"), listing);
    let whole = fs::read(&path).expect("reads");
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&path, &flipped).expect("writes");
        Listing::read(&path, &hash).expect_err("damaged");
    }
}

#[test]
fn what_was_not_touched_is_not_read_and_what_is_stored_is_not_stored_again() {
    let scene = Scene::new();
    for number in 0..200 {
        scene.put(&format!("d{}/f{number}", number % 7), noise(500, number));
    }
    let first = scene.save(None);
    assert_eq!(first.read, 200);
    let base = scene.trusted(&first);
    let again = scene.save(Some(&base));
    assert_eq!((again.read, again.stored), (0, 0));
    scene.put("d3/f3", noise(500, 3_000));
    scene.put("d4/f4", noise(500, 4));
    let third = scene.save(Some(&base));
    assert_eq!(third.read, 2);
    assert!(third.stored > 500 && third.stored < 1_200, "{}", third.stored);
    assert_eq!(scene.packs().len(), 2);
}

#[test]
fn a_stamp_of_the_same_moment_is_not_trusted() {
    let scene = Scene::new();
    scene.put("now", "just written");
    let saved = scene.save(None);
    assert_eq!(scene.save(Some(&saved.listing)).read, 1);
}

#[test]
fn what_was_put_back_is_read_again_where_it_was_touched_or_may_have_been() {
    let scene = Scene::new();
    for name in ["a", "b", "c"] {
        scene.put(name, noise(500, 1));
    }
    symlink("a", scene.tree().join("link")).expect("links");
    let mut back = scene.trusted(&scene.save(None));
    let saved = back.clone();
    let stamped = |listing: &Listing| listing.entries().iter().map(|entry| entry.stamp.is_some()).collect::<Vec<_>>();
    assert_eq!(stamped(&back), [true, true, true, false]);
    scene.put("b", "other");
    scene.store.restore(&mut back, &scene.tree()).expect("puts back");
    assert_eq!(stamped(&back), [true, false, true, false]);
    let path = scene.directory.path().join("base");
    let base_of =
        || back.clone().write_for(&scene.tree(), &path).and_then(|hash| Listing::read(&path, &hash)).expect("reads");
    // Until the clock has gone on far enough for a change of the last file to show.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while scene.save(Some(&base_of())).read > 0 {
        assert!(std::time::Instant::now() < deadline);
    }
    let base = base_of();
    assert!(base.entries().iter().map(|entry| &entry.content).eq(saved.entries().iter().map(|entry| &entry.content)));
    fs::write(scene.tree().join("a"), noise(500, 1)).expect("writes");
    fs::set_permissions(scene.tree().join("c"), Permissions::from_mode(0o600)).expect("sets");
    assert_eq!(scene.save(Some(&base)).read, 2);
    // What is not as it was put back has no stamp at all.
    scene.put("b", "another");
    let base = base_of();
    assert!(["b", "link"].iter().all(|name| base.get(Path::new(name)).expect("is there").stamp.is_none()));
}

#[test]
fn an_insertion_costs_what_was_inserted() {
    let scene = Scene::new();
    let content = noise(8_000_000, 7);
    scene.put("large", &content);
    let first = scene.save(None);
    let mut longer = content[..2_000_000].to_vec();
    longer.extend_from_slice(b"a few bytes more");
    longer.extend_from_slice(&content[2_000_000..]);
    scene.put("large", &longer);
    let second = scene.save(Some(&first.listing));
    assert!(second.stored < 1_500_000, "{}", second.stored);
    assert_eq!(fs::read(scene.tree().join("large")).expect("reads"), longer);
}

#[test]
fn putting_back_touches_only_what_differs() {
    let scene = Scene::new();
    for number in 0..300 {
        scene.put(&format!("d{}/f{number}", number % 9), noise(900, number));
    }
    let expect = picture(&scene.tree());
    let saved = scene.save(None);
    let listing = scene.trusted(&saved);
    scene.put("d1/f1", "other");
    fs::remove_file(scene.tree().join("d2/f2")).expect("removes");
    fs::remove_dir_all(scene.tree().join("d3")).expect("removes");
    fs::write(scene.tree().join("d3"), "a file where a directory was").expect("writes");
    fs::remove_file(scene.tree().join("d4/f4")).expect("removes");
    fs::create_dir_all(scene.tree().join("d4/f4/now/a/directory")).expect("makes");
    fs::set_permissions(scene.tree().join("d5/f5"), Permissions::from_mode(0o600)).expect("changes");
    scene.put("new", "stays");
    let in_d3 = (0..300).filter(|number| number % 9 == 3).count();
    let restored = scene.store.restore(&mut listing.clone(), &scene.tree()).expect("puts back");
    assert_eq!(restored, Restored { kept: 300 - 4 - in_d3, written: 4 + in_d3 });
    let mut found = picture(&scene.tree());
    assert_eq!(found.remove(Path::new("new")).expect("stays").1, b"stays");
    assert_eq!(found, expect);
    assert!(listing.is_as_it_was_to_the_byte(&scene.tree()).expect("looks"));
}

#[test]
fn what_two_snapshots_of_a_tree_share_is_not_read_to_put_the_other_one_back() {
    let scene = Scene::new();
    for name in ["a", "b", "dir/c", "dirt"] {
        scene.put(name, name);
    }
    let first = scene.save(None);
    scene.put("b", "other");
    fs::remove_file(scene.tree().join("dirt")).expect("removes");
    scene.put("new", "new");
    let second = scene.trusted(&scene.save(None));
    let (known, shared) = first.listing.clone().into_tree_of(&second);
    assert_eq!((shared, second.into_tree_of(&first.listing).1), (2, 2));
    let stamps = |listing: &Listing| listing.entries().iter().map(|entry| entry.stamp.is_some()).collect::<Vec<_>>();
    assert_eq!(stamps(&known), [true, false, true, false]);
    assert_eq!(
        scene.store.restore(&mut known.clone(), &scene.tree()).expect("restores"),
        Restored { kept: 2, written: 2 }
    );
    assert_eq!(known.differing_to_the_byte(&scene.tree()).expect("looks"), Vec::<PathBuf>::new());
    scene.put("dir/c", "C");
    assert_eq!(known.differing_to_the_byte(&scene.tree()).expect("looks"), [PathBuf::from("dir/c")]);
    let below = ["dir", "di", "a", "dir/c"].map(|name| known.has_below(Path::new(name)));
    assert_eq!(below, [true, false, false, false]);
}

#[test]
fn a_link_on_the_way_leads_nothing_out_of_the_tree() {
    let scene = Scene::new();
    scene.put("d/file", "inside");
    let saved = scene.save(None);
    let outside = scene.directory.path().join("outside");
    fs::create_dir(&outside).expect("makes");
    fs::remove_dir_all(scene.tree().join("d")).expect("removes");
    symlink(&outside, scene.tree().join("d")).expect("links");
    scene.store.restore(&mut saved.listing.clone(), &scene.tree()).expect("puts back");
    assert_eq!(fs::read_dir(&outside).expect("lists").count(), 0);
    assert_eq!(fs::read_to_string(scene.tree().join("d/file")).expect("reads"), "inside");
}

#[test]
fn a_listing_that_leads_out_of_the_tree_is_refused() {
    let scene = Scene::new();
    for path in ["../outside", "/etc/hostile", "a/../../b"] {
        let link = Content::Link { target: b"x".to_vec() };
        let listing = Listing::new(vec![Entry::new(Path::new(path), link, None)]);
        scene.store.restore(&mut listing.clone(), &scene.tree()).expect_err("refused");
        let file = scene.directory.path().join("listing");
        let hash = listing.write(&file).expect("writes");
        Listing::read(&file, &hash).expect_err("refused");
    }
}

#[test]
fn every_kind_of_damage_is_named_before_anything_is_overwritten() {
    let scene = Scene::new();
    scene.put("a", noise(2_000, 1));
    scene.put("b", noise(2_000, 2));
    let listing = scene.save(None).listing;
    let pack = scene.packs().remove(0);
    let whole = fs::read(&pack).expect("reads");
    let mut damages: Vec<Vec<u8>> = vec![Vec::new(), whole[..whole.len() - 1].to_vec(), whole[..100].to_vec()];
    for at in (8..whole.len()).step_by(97).chain(whole.len() - 60..whole.len()) {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x40;
        damages.push(flipped);
    }
    for damaged in damages {
        fs::write(&pack, &damaged).expect("writes");
        let error = scene.store.verify(&listing).expect_err("damaged").to_string();
        assert!(error.contains(".pack is damaged"), "{error}");
    }
    fs::remove_file(&pack).expect("removes");
    scene.put("a", "precious");
    let error = scene.store.restore(&mut listing.clone(), &scene.tree()).expect_err("damaged").to_string();
    assert!(error.contains("is in no pack"), "{error}");
    assert_eq!(fs::read_to_string(scene.tree().join("a")).expect("reads"), "precious");
    fs::write(&pack, &whole).expect("writes");
    scene.store.verify(&listing).expect("whole again");
}

#[test]
fn nothing_is_taken_for_stored_that_is_in_a_damaged_block() {
    let scene = Scene::new();
    scene.put("a", noise(2_000, 1));
    let base = scene.trusted(&scene.save(None));
    let (pack, whole) = scene.damage();
    scene.store.verify(&base).expect_err("damaged");
    let again = scene.save(Some(&base));
    assert_eq!(again.read, 1);
    scene.store.verify(&again.listing).expect("whole, though it is the same");
    scene.store.restore(&mut base.clone(), &scene.tree()).expect("is found in the new pack");
    // Once nothing needs the old pack, it goes with what was noted.
    scene.store.prune(&[again.listing]).expect("prunes");
    assert!(!pack.exists() && whole.len() > 2_000);
    let mut names = fs::read_dir(scene.store.root()).expect("lists").map(|entry| entry.expect("reads").file_name());
    assert!(names.all(|name| !name.to_string_lossy().ends_with("damaged")));
}

#[test]
fn a_block_that_is_whole_after_all_is_used_again() {
    let scene = Scene::new();
    scene.put("a", noise(2_000, 1));
    let saved = scene.save(None).listing;
    let (pack, whole) = scene.damage();
    scene.store.verify(&saved).expect_err("damaged");
    fs::write(&pack, &whole).expect("writes");
    scene.store.verify(&saved).expect("whole again");
    assert_eq!(scene.store.prune(std::slice::from_ref(&saved)).expect("prunes"), 0);
    assert_eq!(scene.save(None).stored, 0);
}

#[test]
fn a_damaged_block_keeps_no_room_from_coming_free() {
    let scene = Scene::new();
    // Each block is full with two of them, and the first is needed.
    for number in 0..8 {
        scene.put(&format!("f{number}"), noise(500_000, number));
    }
    let first = scene.save(None).listing;
    for number in 2..8 {
        fs::remove_file(scene.tree().join(format!("f{number}"))).expect("removes");
    }
    let second = scene.save(Some(&first)).listing;
    scene.damage();
    assert!(scene.store.prune(std::slice::from_ref(&second)).expect("prunes") > 2_000_000);
    scene.store.verify(&second).expect_err("what was damaged is lost");
    scene.store.verify(&scene.save(Some(&second)).listing).expect("and is stored anew");
}

#[test]
fn of_a_file_with_holes_only_what_lies_between_is_stored_and_it_gets_its_holes_back() {
    let scene = Scene::new();
    let path = scene.tree().join("sparse");
    let file = File::create(&path).expect("makes");
    // More than any disk has.
    file.set_len(3 << 40).expect("grows");
    file.write_all_at(&noise(70_000, 1), 1 << 20).expect("writes");
    file.write_all_at(b"end", (3 << 40) - 3).expect("writes");
    let saved = scene.store.save(&scene.tree(), &["sparse".into()], None).expect("saves");
    assert!(saved.stored < 200_000 && saved.listing.bytes() < 200_000, "{} {}", saved.stored, saved.listing.bytes());
    scene.store.verify(&saved.listing).expect("whole");
    assert!(saved.listing.is_as_it_was_to_the_byte(&scene.tree()).expect("looks"));
    // A byte in a hole, and one between them.
    for at in [2 << 40, (1 << 20) + 5] {
        let file = File::options().write(true).open(&path).expect("opens");
        file.write_all_at(b"x", at).expect("writes");
        assert!(!saved.listing.is_as_it_was_to_the_byte(&scene.tree()).expect("looks"));
        let restored = scene.store.restore(&mut saved.listing.clone(), &scene.tree()).expect("puts back");
        assert_eq!(restored, Restored { kept: 0, written: 1 });
        let file = File::open(&path).expect("opens");
        let mut found = vec![0; 70_001];
        file.read_exact_at(&mut found, 1 << 20).expect("reads");
        assert_eq!((&found[..70_000], found[70_000]), (&*noise(70_000, 1), 0));
        assert_eq!(file.metadata().expect("is there").len(), 3 << 40);
        assert!(file.metadata().expect("is there").blocks() < 1_000);
    }
    // Zeros in place of a hole are the same.
    let file = File::options().write(true).open(&path).expect("opens");
    file.write_all_at(&[0; 70_000], 1 << 30).expect("writes");
    assert!(saved.listing.is_as_it_was_to_the_byte(&scene.tree()).expect("looks"));
}

#[test]
fn a_lost_pack_is_stored_anew_by_the_next_snapshot() {
    let scene = Scene::new();
    scene.put("a", noise(2_000, 1));
    let base = scene.trusted(&scene.save(None));
    fs::remove_file(scene.packs().remove(0)).expect("removes");
    let again = scene.save(Some(&base));
    assert_eq!(again.read, 1);
    scene.store.verify(&again.listing).expect("whole");
}

#[test]
fn pruning_gives_room_back_and_keeps_what_is_needed() {
    let scene = Scene::new();
    for number in 0..100 {
        scene.put(&format!("f{number}"), noise(10_000, number));
    }
    let first = scene.save(None);
    for number in 0..80 {
        scene.put(&format!("f{number}"), noise(10_000, 1_000 + number));
    }
    let second = scene.save(Some(&first.listing));
    let expect = picture(&scene.tree());
    let both = scene.store.bytes().expect("adds");
    assert_eq!(scene.store.prune(&[first.listing, second.listing.clone()]).expect("prunes"), 0);
    let freed = scene.store.prune(std::slice::from_ref(&second.listing)).expect("prunes");
    assert!(freed > 700_000 && freed < both, "{freed}");
    scene.store.verify(&second.listing).expect("whole");
    fs::remove_dir_all(scene.tree()).expect("removes");
    fs::create_dir(scene.tree()).expect("makes");
    scene.store.restore(&mut second.listing.clone(), &scene.tree()).expect("puts back");
    assert_eq!(picture(&scene.tree()), expect);
    scene.store.prune(&[]).expect("prunes");
    assert_eq!(scene.packs().len(), 0);
}

#[test]
fn a_failed_snapshot_leaves_nothing_behind() {
    let scene = Scene::new();
    scene.put("a", noise(2_000, 1));
    let paths = [PathBuf::from("a"), PathBuf::from("is-not-there")];
    let error = scene.store.save(&scene.tree(), &paths, None).expect_err("fails").to_string();
    assert!(error.contains("is-not-there"), "{error}");
    assert_eq!(scene.store.bytes().expect("adds"), 0);
    let names: Vec<_> =
        fs::read_dir(scene.store.root()).expect("lists").map(|e| e.expect("reads").file_name()).collect();
    assert!(names.iter().all(|name| name == "lock" || name == "numbers"), "{names:?}");
}

#[test]
fn half_a_pack_of_a_killed_process_is_tidied_away() {
    let scene = Scene::new();
    scene.put("a", "x");
    let saved = scene.save(None);
    let half = scene.store.root().join(format!("{:016x}.unfinished", 9));
    fs::write(&half, "BIFPACK1 and no more").expect("writes");
    scene.store.tidy().expect("tidies");
    assert!(!half.exists());
    scene.store.verify(&saved.listing).expect("whole");
}

/// What happens to a tree between two snapshots.
#[derive(Debug, Clone)]
enum Change {
    Write { name: u8, length: usize, seed: u64 },
    Remove { name: u8 },
    Link { name: u8, target: u8 },
    Mode { name: u8, executable: bool },
}

fn change() -> impl Strategy<Value = Change> {
    let length = prop_oneof![Just(0), 1..2_000_usize, 60_000..70_000_usize, 300_000..900_000_usize];
    prop_oneof![
        (0..12_u8, length, 0..4_u64).prop_map(|(name, length, seed)| Change::Write { name, length, seed }),
        (0..12_u8).prop_map(|name| Change::Remove { name }),
        (0..12_u8, any::<u8>()).prop_map(|(name, target)| Change::Link { name, target }),
        (0..12_u8, any::<bool>()).prop_map(|(name, executable)| Change::Mode { name, executable }),
    ]
}

fn apply(tree: &Path, change: &Change) {
    let path = |name: u8| tree.join(format!("d{}", name % 3)).join(format!("f{name}"));
    let clear = |name: u8| {
        fs::create_dir_all(path(name).parent().expect("has one")).expect("makes");
        fs::remove_file(path(name)).ok();
    };
    match *change {
        Change::Write { name, length, seed } => {
            clear(name);
            fs::write(path(name), noise(length, seed)).expect("writes");
        }
        Change::Remove { name } => clear(name),
        Change::Link { name, target } => {
            clear(name);
            symlink(format!("t{target}"), path(name)).expect("links");
        }
        Change::Mode { name, executable } => {
            if fs::symlink_metadata(path(name)).is_ok_and(|meta| meta.is_file()) {
                let mode = if executable { 0o755 } else { 0o640 };
                fs::set_permissions(path(name), Permissions::from_mode(mode)).expect("changes");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn any_history_can_be_walked_in_any_order(
        history in prop::collection::vec(prop::collection::vec(change(), 0..8), 1..5),
        walk in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
        dropped in any::<prop::sample::Index>(),
    ) {
        let scene = Scene::new();
        let mut known: Vec<(Listing, Picture)> = Vec::new();
        for changes in &history {
            changes.iter().for_each(|change| apply(&scene.tree(), change));
            let saved = scene.save(known.last().map(|(listing, _)| listing));
            known.push((saved.listing, picture(&scene.tree())));
        }
        if known.len() > 1 {
            known.remove(dropped.index(known.len()));
            let kept: Vec<Listing> = known.iter().map(|(listing, _)| listing.clone()).collect();
            scene.store.prune(&kept).expect("prunes");
        }
        for step in walk {
            let (listing, expect) = step.get(&known);
            for extra in picture(&scene.tree()).into_keys().filter(|path| !expect.contains_key(path)) {
                fs::remove_file(scene.tree().join(extra)).expect("removes");
            }
            scene.store.restore(&mut listing.clone(), &scene.tree()).expect("puts back");
            prop_assert_eq!(&picture(&scene.tree()), expect);
            prop_assert!(listing.is_as_it_was_to_the_byte(&scene.tree()).expect("looks"));
        }
    }
}
