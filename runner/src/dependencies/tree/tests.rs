//! Trees on a real file system.

use super::*;
use crate::testing::names_below;

struct Place {
    _directory: tempfile::TempDir,
    root: PathBuf,
    trees: Trees,
}

fn named(name: &str) -> Directories {
    let written_in_place = vec![".package-lock.json".to_owned()];
    Directories { named: Some(name.to_owned()), written_in_place, ..Directories::default() }
}

impl Place {
    /// A workspace `one` with files, kept as the tree `tree`.
    fn saved(files: &[(&str, &str)], directories: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().canonicalize().expect("is there");
        for name in ["deps/trees", "deps/spares", "deps/files"] {
            fs::create_dir_all(root.join(name)).expect("makes");
        }
        let place = Self { _directory: directory, trees: Trees::new(&root.join("deps"), None), root };
        place.write("one", files);
        place.save("tree", "one", directories);
        place
    }

    fn write(&self, workspace: &str, files: &[(&str, &str)]) {
        for (name, text) in files {
            let path = self.workspace(workspace).join(name);
            fs::create_dir_all(path.parent().expect("has one")).expect("makes");
            fs::write(path, text.replace("WORKSPACE", &self.workspace(workspace).to_string_lossy())).expect("writes");
        }
    }

    fn save(&self, tree: &str, workspace: &str, directories: &str) {
        self.trees.save(tree, &self.workspace(workspace), &named(directories)).expect("saves");
    }

    fn workspace(&self, name: &str) -> PathBuf {
        let path = self.root.join(name);
        fs::create_dir_all(&path).expect("makes");
        path
    }

    fn put(&self, workspace: &str) -> Used {
        self.trees.put("tree", &self.workspace(workspace)).expect("puts")
    }

    fn inode(&self, path: &str) -> u64 {
        fs::metadata(self.root.join(path)).expect("is there").ino()
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).expect("reads")
    }

    fn kept_files(&self) -> usize {
        names_below(&self.root.join("deps/files")).iter().filter(|name| name.components().count() == 2).count()
    }
}

/// As a tool that patches what it was given: the file's inode stays.
fn write_in_place(path: &Path, text: &str) {
    let file = File::options().write(true).truncate(true).open(path);
    io::Write::write_all(&mut file.expect("opens"), text.as_bytes()).expect("writes");
}

const MODULES: &[(&str, &str)] =
    &[("node_modules/a/index.js", "a"), ("packages/b/node_modules/c/x.js", "c"), ("src/main.js", "m")];

#[test]
fn a_tree_is_put_into_place_without_copying() {
    let place = Place::saved(MODULES, "node_modules");
    symlink("../a/index.js", place.workspace("one").join("node_modules/link")).expect("links");
    place.save("tree", "one", "node_modules");
    assert_eq!(place.put("two"), Used::Yes);
    for name in ["node_modules/a/index.js", "packages/b/node_modules/c/x.js"] {
        assert_eq!(place.inode(&format!("one/{name}")), place.inode(&format!("two/{name}")));
    }
    let link = fs::read_link(place.root.join("two/node_modules/link")).expect("a link");
    assert_eq!(link, Path::new("../a/index.js"));
    assert!(!place.root.join("two/src").exists());
}

#[test]
fn what_two_trees_have_in_common_is_kept_once() {
    let place = Place::saved(MODULES, "node_modules");
    place.write("other", &[("node_modules/renamed/index.js", "a"), ("node_modules/new.js", "n")]);
    place.save("second", "other", "node_modules");
    assert_eq!(place.kept_files(), 3);
    place.trees.put("second", &place.workspace("two")).expect("puts");
    assert_eq!(place.inode("two/node_modules/renamed/index.js"), place.inode("one/node_modules/a/index.js"));
    // The same content with other rights is another file.
    fs::set_permissions(place.root.join("other/node_modules/new.js"), fs::Permissions::from_mode(0o755)).expect("sets");
    place.save("third", "other", "node_modules");
    assert_eq!(place.kept_files(), 4);
}

#[test]
fn a_large_tree_is_put_by_several_threads_and_is_whole() {
    let files: Vec<(String, String)> =
        (0..2_500).map(|number| (format!("node_modules/p{}/f{number}", number % 50), number.to_string())).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let place = Place::saved(&files, "node_modules");
    assert_eq!(place.put("two"), Used::Yes);
    for (name, text) in files {
        assert_eq!(place.text(&format!("two/{name}")), text);
    }
}

#[test]
fn a_file_that_was_changed_in_place_is_named_and_its_tree_not_used() {
    for change in ["a longer text", "b"] {
        let place = Place::saved(MODULES, "node_modules");
        write_in_place(&place.root.join("one/node_modules/a/index.js"), change);
        let expect = "node_modules/a/index.js is not as it was installed";
        assert_eq!(place.put("two"), Used::Changed(expect.into()), "{change}");
        assert!(!place.root.join("two/node_modules").exists());
        assert_eq!(place.put("two"), Used::Absent);
        // What is installed anew replaces the damaged file.
        place.write("three", MODULES);
        place.save("tree", "three", "node_modules");
        assert_eq!(place.put("four"), Used::Yes);
        assert_eq!(place.text("four/node_modules/a/index.js"), "a");
    }
    let place = Place::saved(MODULES, "node_modules");
    fs::write(place.root.join("deps/trees/tree"), "{").expect("writes");
    assert!(matches!(place.put("two"), Used::Changed(_)));
    assert_eq!(place.put("three"), Used::Absent);
}

#[test]
fn a_kept_file_whose_content_is_damaged_is_not_given_to_a_new_tree() {
    let place = Place::saved(MODULES, "node_modules");
    write_in_place(&place.root.join("one/node_modules/a/index.js"), "b");
    place.write("two", &[("node_modules/other.js", "a")]);
    place.save("second", "two", "node_modules");
    assert_eq!(place.trees.put("second", &place.workspace("three")).expect("puts"), Used::Yes);
    assert_eq!(place.text("three/node_modules/other.js"), "a");
}

#[test]
fn what_a_workspace_replaces_or_adds_stays_its_own() {
    let place = Place::saved(MODULES, "node_modules");
    assert_eq!(place.put("two"), Used::Yes);
    fs::remove_file(place.root.join("two/node_modules/a/index.js")).expect("removes");
    place.write("two", &[("node_modules/a/index.js", "other"), ("node_modules/a/added.js", "more")]);
    assert_eq!(place.put("three"), Used::Yes);
    assert_eq!(place.text("three/node_modules/a/index.js"), "a");
    assert!(!place.root.join("three/node_modules/a/added.js").exists());
}

#[test]
fn what_tools_write_in_place_is_copied() {
    let place = Place::saved(&[("node_modules/.package-lock.json", "{}"), ("node_modules/a", "a")], "node_modules");
    assert_eq!(place.put("two"), Used::Yes);
    for workspace in ["one", "two"] {
        write_in_place(&place.root.join(workspace).join("node_modules/.package-lock.json"), "{changed}");
    }
    assert_eq!(place.put("three"), Used::Yes);
    assert_eq!(place.text("three/node_modules/.package-lock.json"), "{}");
}

#[test]
fn what_is_checked_out_where_an_installation_goes_is_replaced() {
    let place = Place::saved(MODULES, "node_modules");
    place.write("two", &[("node_modules/a/index.js", "checked in"), ("node_modules/stale.js", "x")]);
    assert_eq!(place.put("two"), Used::Yes);
    assert_eq!(place.text("two/node_modules/a/index.js"), "a");
    assert!(!place.root.join("two/node_modules/stale.js").exists());
}

#[test]
fn nothing_is_put_through_a_link_that_leads_out_of_the_workspace() {
    let place = Place::saved(MODULES, "node_modules");
    let outside = place.workspace("outside");
    fs::create_dir(place.workspace("two").join("packages")).expect("makes");
    symlink(&outside, place.root.join("two/packages/b")).expect("links");
    assert_eq!(place.put("two"), Used::LeadsOut("packages/b/node_modules".into()));
    assert!(names_below(&outside).is_empty());
    // A link in the place of the directory itself is replaced.
    symlink(&outside, place.workspace("three").join("node_modules")).expect("links");
    assert_eq!(place.put("three"), Used::Yes);
    assert!(names_below(&outside).is_empty());
}

#[test]
fn a_virtual_environment_names_the_workspace_it_is_in() {
    let files = [
        (".venv/bin/tool", "#!WORKSPACE/.venv/bin/python\nWORKSPACE"),
        (".venv/lib/site-packages/x.pth", "WORKSPACE/src"),
        (".venv/lib/site-packages/x.py", "WORKSPACE"),
    ];
    let place = Place::saved(&files, ".venv");
    fs::set_permissions(place.root.join("one/.venv/bin/tool"), fs::Permissions::from_mode(0o755)).expect("sets");
    place.save("tree", "one", ".venv");
    assert_eq!(place.put("elsewhere"), Used::Yes);
    let at = place.workspace("elsewhere");
    assert_eq!(place.text("elsewhere/.venv/bin/tool"), format!("#!{0}/.venv/bin/python\n{0}", at.display()));
    assert_eq!(place.text("elsewhere/.venv/lib/site-packages/x.pth"), format!("{}/src", at.display()));
    let mode = fs::metadata(at.join(".venv/bin/tool")).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn a_python_file_keeps_the_time_that_its_compiled_one_names() {
    let place = Place::saved(&[(".venv/a.py", "same")], ".venv");
    place.write("two", &[(".venv/b.py", "same")]);
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1);
    File::open(place.root.join("two/.venv/b.py")).expect("opens").set_modified(time).expect("sets");
    place.save("second", "two", ".venv");
    place.trees.put("second", &place.workspace("three")).expect("puts");
    assert_eq!(fs::metadata(place.root.join("three/.venv/b.py")).expect("is there").mtime(), 1);
}

#[test]
fn the_least_recently_used_trees_go_first_and_with_them_what_no_other_needs() {
    let place = Place::saved(MODULES, "node_modules");
    for (number, tree) in ["a", "b", "c"].into_iter().enumerate() {
        place.write(tree, &[("node_modules/same", "same"), ("node_modules/own", tree)]);
        place.save(tree, tree, "node_modules");
        // As if it was made long ago.
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(number as u64 + 10);
        File::open(place.root.join("deps/trees").join(tree)).expect("opens").set_modified(time).expect("sets");
    }
    File::open(place.root.join("deps/trees/tree")).expect("opens").set_modified(std::time::UNIX_EPOCH).expect("sets");
    place.trees.put("a", &place.workspace("two")).expect("puts");
    let there = || ["a", "b", "c", "tree"].map(|tree| place.root.join("deps/trees").join(tree).exists());
    place.trees.prune(2, u64::MAX).expect("prunes");
    assert_eq!((there(), place.kept_files()), ([true, false, true, false], 3));
    // `same` and `a` are five bytes, and `c` would be one more.
    place.trees.prune(2, 5).expect("prunes");
    assert_eq!((there(), place.kept_files()), ([true, false, false, false], 2));
    assert_eq!(place.trees.put("a", &place.workspace("three")).expect("puts"), Used::Yes);
}

#[test]
fn a_spare_becomes_part_of_the_next_workspace_as_it_is() {
    let files = [&[("node_modules/.package-lock.json", "{}"), ("node_modules/bin/tool", "t")], MODULES].concat();
    let place = Place::saved(&files, "node_modules");
    symlink("../a/index.js", place.workspace("one").join("node_modules/link")).expect("links");
    place.save("tree", "one", "node_modules");
    assert_eq!(place.put("afresh"), Used::Yes);
    place.trees.make_spare("tree", 1).expect("makes");
    let outermost = ["node_modules", "packages/b/node_modules"];
    let ready = outermost.map(|directory| place.inode(&format!("deps/spares/tree/{directory}")));
    assert_eq!(place.put("two"), Used::Yes);
    assert_eq!(outermost.map(|directory| place.inode(&format!("two/{directory}"))), ready);
    assert_eq!(names_below(&place.root.join("two")), names_below(&place.root.join("afresh")));
    assert_eq!(place.text("two/node_modules/.package-lock.json"), "{}");
    assert_eq!(place.inode("two/node_modules/a/index.js"), place.inode("one/node_modules/a/index.js"));
    // It is gone, and the next is put file by file.
    assert!(names_below(&place.root.join("deps/spares")).is_empty());
    assert_eq!(place.put("three"), Used::Yes);
}

#[test]
fn a_spare_that_is_not_whole_is_none() {
    type Damage = fn(&Path);
    let damages: [Damage; 4] = [
        |spare| fs::remove_file(spare.join("node_modules/a/index.js")).expect("removes"),
        |spare| fs::remove_dir_all(spare.join("packages")).expect("removes"),
        |spare| write_in_place(&spare.join("node_modules/.package-lock.json"), "{changed}"),
        |spare| {
            fs::remove_file(spare.join("node_modules/a/index.js")).expect("removes");
            fs::write(spare.join("node_modules/a/index.js"), "b").expect("writes");
        },
    ];
    for damage in damages {
        let place = Place::saved(&[&[("node_modules/.package-lock.json", "{}")], MODULES].concat(), "node_modules");
        place.trees.make_spare("tree", 1).expect("makes");
        damage(&place.root.join("deps/spares/tree"));
        assert_eq!(place.put("two"), Used::Yes);
        assert_eq!(names_below(&place.root.join("two")).len(), names_below(&place.root.join("one")).len() - 2);
        assert_eq!(place.text("two/node_modules/.package-lock.json"), "{}");
        assert_eq!(place.text("two/node_modules/a/index.js"), "a");
        assert!(names_below(&place.root.join("deps/spares")).is_empty());
    }
    // What a command wrote into a file that it shares with the spare is no better there.
    let place = Place::saved(MODULES, "node_modules");
    place.trees.make_spare("tree", 1).expect("makes");
    write_in_place(&place.root.join("one/node_modules/a/index.js"), "b");
    assert_eq!(place.put("two"), Used::Changed("node_modules/a/index.js is not as it was installed".into()));
    assert!(!place.root.join("two/node_modules").exists());
}

#[test]
fn a_spare_environment_names_the_workspace_it_comes_into() {
    let place = Place::saved(&[(".venv/bin/tool", "#!WORKSPACE/.venv/bin/python"), (".venv/lib/x.py", "x")], ".venv");
    place.trees.make_spare("tree", 1).expect("makes");
    assert!(!place.root.join("deps/spares/tree/.venv/bin/tool").exists());
    assert_eq!(place.put("two"), Used::Yes);
    let at = place.workspace("two");
    assert_eq!(place.text("two/.venv/bin/tool"), format!("#!{}/.venv/bin/python", at.display()));
    assert_eq!(place.text("two/.venv/lib/x.py"), "x");
}

#[test]
fn the_newest_few_spares_are_kept_and_none_of_a_tree_that_is_gone() {
    let place = Place::saved(MODULES, "node_modules");
    place.save("second", "one", "node_modules");
    place.save("third", "one", "node_modules");
    let spares = || {
        let mut names: Vec<_> = fs::read_dir(place.root.join("deps/spares"))
            .expect("lists")
            .map(|entry| entry.expect("reads").file_name().into_string().expect("text"))
            .collect();
        names.sort();
        names
    };
    for (number, tree) in ["tree", "second", "third"].into_iter().enumerate() {
        place.trees.make_spare(tree, 2).expect("makes");
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(number as u64);
        File::open(place.root.join("deps/spares").join(tree)).expect("opens").set_modified(time).expect("sets");
    }
    assert_eq!(spares(), ["second", "third"]);
    place.trees.prune(0, u64::MAX).expect("prunes");
    assert!(spares().is_empty());
    // There is nothing to make ready of what is not there.
    place.trees.make_spare("tree", 2).expect("makes");
    assert!(spares().is_empty());
}
