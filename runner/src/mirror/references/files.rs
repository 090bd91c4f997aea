//! A mirror's references as git's files have them, read without starting git.
//!
//! There is nothing to read where a file says something that only git can tell, such as what an annotated tag leads
//! to that is in no `packed-refs` yet. Whether the objects are there, and are what they should be, is not looked at.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::{BRANCHES, HEAD, References, TAGS, Target};

/// Reads the branches, the tags and the remote's HEAD.
pub(in crate::mirror) fn read(mirror: &Path) -> io::Result<Option<References>> {
    Ok(below(mirror, &[BRANCHES, TAGS, HEAD])?.map(References))
}

/// The objects of the references at these places, by name, with no object where a reference's file says none; nothing
/// where only git can tell.
pub(crate) fn objects(mirror: &Path, places: &[&str]) -> io::Result<Option<BTreeMap<String, String>>> {
    let Some((packed, loose)) = texts(mirror, places)? else { return Ok(None) };
    let says = |text: &String| text.strip_suffix('\n').and_then(object).is_some();
    let (loose, broken): (BTreeMap<_, _>, BTreeMap<_, _>) = loose.into_iter().partition(|(_, text)| says(text));
    let found = parse(&packed, &loose, places).map(|found| {
        let told = found.into_iter().map(|(name, target)| (name, target.object));
        told.chain(broken.into_keys().map(|name| (name, String::new()))).collect()
    });
    Ok(found)
}

fn below(mirror: &Path, places: &[&str]) -> io::Result<Option<BTreeMap<String, Target>>> {
    Ok(texts(mirror, places)?.and_then(|(packed, loose)| parse(&packed, &loose, places)))
}

/// Reads what is at these places: `packed-refs`, and files by their names. Git first writes a reference to `packed-refs`
/// and then removes its own file, so those are read first. Nothing where not all names can be told.
fn texts(mirror: &Path, places: &[&str]) -> io::Result<Option<(String, BTreeMap<String, String>)>> {
    let mut loose = BTreeMap::new();
    let mut is_plain = true;
    for place in places {
        is_plain &= collect(mirror, place.trim_end_matches('/'), &mut loose)?;
    }
    let packed = kit::files::read_if_exists(&mirror.join("packed-refs"))?.unwrap_or_default();
    Ok(is_plain.then_some((packed, loose)))
}

/// The reference with this name, or those below it, by their names. Says whether all names can be told.
fn collect(mirror: &Path, place: &str, found: &mut BTreeMap<String, String>) -> io::Result<bool> {
    let path = mirror.join(place);
    let entries = match fs::read_dir(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            found.extend(kit::files::read_if_exists(&path)?.map(|text| (place.to_owned(), text)));
            return Ok(true);
        }
        entries => entries?,
    };
    for entry in entries {
        let own = entry?.file_name();
        let Some(own) = own.to_str() else { return Ok(false) };
        if !own.ends_with(".lock") && !collect(mirror, &format!("{place}/{own}"), found)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads them from the texts (gitrepository-layout(5), git-pack-refs(1)).
fn parse(packed: &str, loose: &BTreeMap<String, String>, places: &[&str]) -> Option<BTreeMap<String, Target>> {
    let is_wanted = |name: &str| places.iter().any(|place| name.starts_with(place));
    let mut found: BTreeMap<String, Target> = BTreeMap::new();
    let mut last = None;
    for line in packed.lines() {
        if let Some(header) = line.strip_prefix('#') {
            header.contains(" fully-peeled ").then_some(())?;
        } else if let Some(peeled) = line.strip_prefix('^') {
            let (name, peeled) = (last?, object(peeled)?);
            if let Some(tag) = found.get_mut(name) {
                tag.peeled = Some(peeled.to_owned());
            }
        } else {
            let (id, name) = line.split_once(' ')?;
            let id = object(id)?;
            if is_wanted(name) {
                found.insert(name.to_owned(), target(name, id));
            }
            last = Some(name);
        }
    }
    for (name, text) in loose {
        let id = object(text.strip_suffix('\n')?)?;
        if found.get(name).is_some_and(|packed| packed.object == id) {
            continue;
        }
        // It may be an annotated one.
        (!name.starts_with(TAGS)).then_some(())?;
        found.insert(name.clone(), target(name, id));
    }
    Some(found)
}

/// A branch leads to a commit; what a tag leads to is not said.
fn target(name: &str, object: &str) -> Target {
    let commit = (!name.starts_with(TAGS)).then(|| object.to_owned());
    Target { object: object.to_owned(), peeled: None, commit }
}

fn object(text: &str) -> Option<&str> {
    let is_id = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(digit: char) -> String {
        digit.to_string().repeat(40)
    }

    fn loose(references: &[(&str, char)]) -> BTreeMap<String, String> {
        references.iter().map(|(name, digit)| ((*name).to_owned(), format!("{}\n", id(*digit)))).collect()
    }

    const ALL: [&str; 3] = [BRANCHES, TAGS, HEAD];
    const HEADER: &str = "# pack-refs with: peeled fully-peeled sorted \n";

    #[test]
    fn a_file_of_its_own_counts_before_the_packed_one() {
        let packed = format!(
            "{HEADER}{} refs/bifrost/wip/x\n{} refs/remotes/origin/a\n{} refs/remotes/origin/b\n{} refs/tags/v1\n^{}\n",
            id('1'),
            id('2'),
            id('3'),
            id('4'),
            id('5'),
        );
        let own = loose(&[("refs/bifrost/head", '6'), ("refs/remotes/origin/b", '7'), ("refs/tags/v1", '4')]);
        let read = parse(&packed, &own, &ALL).expect("can be told");
        let named = |name: &str| read.get(name).map(|found| (found.object.clone(), found.commit.clone()));
        assert_eq!(named(HEAD), Some((id('6'), Some(id('6')))));
        assert_eq!(named("refs/remotes/origin/a"), Some((id('2'), Some(id('2')))));
        assert_eq!(named("refs/remotes/origin/b"), Some((id('7'), Some(id('7')))));
        assert_eq!(named("refs/tags/v1"), Some((id('4'), None)));
        assert_eq!(read["refs/tags/v1"].peeled, Some(id('5')));
        assert_eq!(named("refs/bifrost/wip/x"), None);
    }

    #[test]
    fn a_reference_whose_file_says_nothing_is_one_without_an_object() {
        let mirror = tempfile::tempdir().expect("a directory");
        let place = mirror.path().join("refs/bifrost/wip");
        fs::create_dir_all(&place).expect("makes");
        for (name, text) in [("whole", format!("{}\n", id('1'))), ("empty", String::new()), ("cut", id('2'))] {
            fs::write(place.join(name), text).expect("writes");
        }
        let found = objects(mirror.path(), &["refs/bifrost/wip"]).expect("reads").expect("can be told");
        let expect = [("cut", String::new()), ("empty", String::new()), ("whole", id('1'))];
        let expect = expect.map(|(name, object)| (format!("refs/bifrost/wip/{name}"), object));
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expect);
    }

    #[test]
    fn what_only_git_can_tell_is_left_to_git() {
        let branch = format!("{} refs/remotes/origin/a\n", id('1'));
        for (packed, own) in [
            (format!("# pack-refs with: peeled \n{branch}"), loose(&[])),
            (format!("{HEADER}^{}\n", id('1')), loose(&[])),
            (format!("{HEADER}half a line"), loose(&[])),
            (String::new(), loose(&[("refs/tags/v1", '1')])),
            (String::new(), [(HEAD.to_owned(), "ref: refs/heads/main\n".to_owned())].into()),
            (String::new(), [(HEAD.to_owned(), String::new())].into()),
            (String::new(), [(HEAD.to_owned(), id('1'))].into()),
        ] {
            assert_eq!(parse(&packed, &own, &ALL), None, "{packed:?} {own:?}");
        }
        assert!(parse(&format!("{HEADER}{branch}"), &loose(&[]), &ALL).is_some());
    }
}
