//! Trees on a real file system.

use super::*;
use crate::testing::names_below;

struct Place {
    _directory: tempfile::TempDir,
    root: PathBuf,
    tree: PathBuf,
}

impl Place {
    /// A workspace `one` with files, saved as a tree.
    fn saved(files: &[(&str, &str)], directories: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path().canonicalize().expect("is there");
        let place = Self { _directory: directory, tree: root.join("tree"), root };
        for (name, text) in files {
            let path = place.workspace("one").join(name);
            fs::create_dir_all(path.parent().expect("has one")).expect("makes");
            fs::write(path, text.replace("WORKSPACE", &place.workspace("one").to_string_lossy())).expect("writes");
        }
        save(&place.workspace("one"), directories, &place.root.join("unfinished"), &place.tree).expect("saves");
        place
    }

    fn workspace(&self, name: &str) -> PathBuf {
        let path = self.root.join(name);
        fs::create_dir_all(&path).expect("makes");
        path
    }

    fn put(&self, name: &str) -> Used {
        put(&self.tree, &self.workspace(name)).expect("puts")
    }
}

const MODULES: &[(&str, &str)] =
    &[("node_modules/a/index.js", "a"), ("packages/b/node_modules/c/x.js", "c"), ("src/main.js", "m")];

#[test]
fn a_tree_is_put_into_place_without_copying() {
    let place = Place::saved(MODULES, "node_modules");
    symlink("../a/index.js", place.workspace("one").join("node_modules/link")).expect("links");
    save(&place.workspace("one"), "node_modules", &place.root.join("unfinished"), &place.tree).expect("saves");
    assert_eq!(place.put("two"), Used::Yes);
    let inode = |path: &str| fs::metadata(place.root.join(path)).expect("is there").ino();
    for name in ["node_modules/a/index.js", "packages/b/node_modules/c/x.js"] {
        assert_eq!(inode(&format!("one/{name}")), inode(&format!("two/{name}")));
    }
    let link = fs::read_link(place.root.join("two/node_modules/link")).expect("a link");
    assert_eq!(link, Path::new("../a/index.js"));
    assert!(!place.root.join("two/src").exists() && !place.root.join("unfinished").exists());
}

#[test]
fn a_tree_that_was_changed_in_place_is_not_used() {
    for change in ["a longer text", "b"] {
        let place = Place::saved(MODULES, "node_modules");
        // As a tool that patches what it was given: the file's inode stays.
        let file = File::options().write(true).truncate(true).open(place.root.join("one/node_modules/a/index.js"));
        io::Write::write_all(&mut file.expect("opens"), change.as_bytes()).expect("writes");
        assert_eq!(place.put("two"), Used::Changed, "{change}");
    }
    let place = Place::saved(MODULES, "node_modules");
    fs::write(place.tree.join(INDEX), "{").expect("writes");
    assert_eq!(place.put("two"), Used::Changed);
    fs::remove_file(place.tree.join(INDEX)).expect("removes");
    assert_eq!(place.put("three"), Used::Absent);
}

#[test]
fn what_a_workspace_replaces_or_adds_stays_its_own() {
    let place = Place::saved(MODULES, "node_modules");
    assert_eq!(place.put("two"), Used::Yes);
    fs::remove_file(place.root.join("two/node_modules/a/index.js")).expect("removes");
    fs::write(place.root.join("two/node_modules/a/index.js"), "other").expect("writes");
    fs::write(place.root.join("two/node_modules/a/added.js"), "more").expect("writes");
    assert_eq!(place.put("three"), Used::Yes);
    assert_eq!(fs::read_to_string(place.root.join("three/node_modules/a/index.js")).expect("reads"), "a");
    assert!(!place.root.join("three/node_modules/a/added.js").exists());
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
    assert_eq!(place.put("elsewhere"), Used::Yes);
    let at = place.workspace("elsewhere");
    let text = |name: &str| fs::read_to_string(at.join(".venv").join(name)).expect("reads");
    assert_eq!(text("bin/tool"), format!("#!{0}/.venv/bin/python\n{0}", at.display()));
    assert_eq!(text("lib/site-packages/x.pth"), format!("{}/src", at.display()));
    let mode = fs::metadata(at.join(".venv/bin/tool")).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

#[test]
fn the_least_recently_used_trees_go_first() {
    let place = Place::saved(MODULES, "node_modules");
    let trees: Vec<PathBuf> = ["a", "b", "c"].iter().map(|name| place.root.join(name)).collect();
    for tree in &trees {
        save(&place.workspace("one"), "node_modules", &place.root.join("unfinished"), tree).expect("saves");
    }
    // As if they were made long ago, in the order of their names.
    for (tree, seconds) in trees.iter().zip([1, 2, 3]) {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        File::open(tree).expect("opens").set_modified(time).expect("sets");
    }
    put(&trees[0], &place.workspace("two")).expect("puts");
    prune(trees.clone(), 2).expect("prunes");
    assert_eq!(trees.iter().map(|tree| tree.exists()).collect::<Vec<_>>(), [true, false, true]);
    assert!(names_below(&trees[0]).len() > 3);
}
