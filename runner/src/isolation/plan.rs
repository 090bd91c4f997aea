//! What a command sees (pure): which directories are covered, and what is put back.

use std::path::{Path, PathBuf};

use wire::execution::Wall;

use super::Openings;

/// What may be done with what is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    /// It is the command's own.
    Own,
    Read,
}

/// Where the machine's temporary files are.
pub(crate) const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

/// A command's view of the files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// Covered by an empty directory.
    pub(crate) hidden: Vec<PathBuf>,
    /// Made in those, each after its parent.
    pub(crate) directories: Vec<PathBuf>,
    /// Links in those, each to where the command starts.
    pub(crate) links: Vec<PathBuf>,
    /// Put back where it was.
    pub(crate) shown: Vec<(PathBuf, Access)>,
    /// A directory of the command's that stands in for one of the machine's: from, to.
    pub(crate) temporary: Vec<(PathBuf, PathBuf)>,
    /// A file that stands in for one of the machine's: from, to.
    pub(crate) replaced: Vec<(PathBuf, PathBuf)>,
    /// Where the command starts.
    pub(crate) directory: PathBuf,
}

/// The view of a command: directories that are hidden, files that are closed, and what it sees all the same. What is
/// neither is seen anyway.
pub(crate) fn view(hidden: &[PathBuf], closed: &[PathBuf], openings: &Openings) -> View {
    let hidden = outermost(hidden);
    let is_seen = |file: &&PathBuf| !hidden.iter().any(|cover| file.starts_with(cover));
    // A device that cannot be opened where it then is.
    let replaced = closed.iter().filter(is_seen).map(|file| ("/dev/null".into(), file.clone())).collect();
    let cover = |path: &Path| hidden.iter().find(|cover| path.starts_with(cover) && path != cover.as_path());
    let own = openings.own.iter().map(|path| (path.clone(), Access::Own));
    let mut shown: Vec<_> = own.chain(openings.read.iter().map(|path| (path.clone(), Access::Read))).collect();
    shown.retain(|(path, _)| cover(path).is_some());
    shown.sort();
    // What lies in something that is shown comes with it.
    shown.dedup_by(|(next, _), (before, _)| next.starts_with(before));
    let inside = |path: &Path| {
        let cover = cover(path)?;
        Some(path.ancestors().take_while(move |directory| directory != cover).map(Path::to_owned).collect::<Vec<_>>())
    };
    let mut directories: Vec<PathBuf> = shown.iter().filter_map(|(path, _)| inside(path)).flatten().collect();
    let is_taken = |path: &PathBuf| directories.contains(path) || shown.iter().any(|(own, _)| path.starts_with(own));
    let mut links = openings.formerly.clone();
    links.retain(|path| cover(path).is_some() && !is_taken(path));
    links.sort();
    links.dedup();
    directories.extend(links.iter().filter_map(|path| inside(path.parent()?)).flatten());
    directories.sort();
    directories.dedup();
    let temporary = stand_ins(&hidden).into_iter().map(|place| (openings.temporary.clone(), place)).collect();
    let directory = openings.directory.clone();
    View { hidden, directories, links, shown, temporary, replaced, directory }
}

/// The directories for temporary files in whose place a command sees its own. What it needs may itself lie in one of
/// them; then that one is shared. One that is itself below something hidden is not there.
pub(super) fn stand_ins(hidden: &[PathBuf]) -> Vec<PathBuf> {
    let is_free = |place: &PathBuf| !hidden.iter().any(|cover| cover.starts_with(place) || place.starts_with(cover));
    TEMPORARY.iter().map(PathBuf::from).filter(is_free).collect()
}

/// The directories for temporary files that commands share with the machine, because something that is hidden lies there.
pub(super) fn shared(hidden: &[PathBuf]) -> Vec<PathBuf> {
    let hidden = outermost(hidden);
    let is_shared = |place: &PathBuf| hidden.iter().any(|cover| cover.starts_with(place) && cover != place);
    TEMPORARY.iter().map(PathBuf::from).filter(is_shared).collect()
}

/// What to try, the most walls first, down to none. A user of its own and its own processes need files of its own.
pub(super) fn attempts(wanted: &[Wall]) -> Vec<Vec<Wall>> {
    let subsets = (0..1_u32 << wanted.len()).map(|bits| {
        wanted.iter().enumerate().filter(|(place, _)| bits >> place & 1 == 1).map(|(_, wall)| *wall).collect()
    });
    let needs_files = |wall: &Wall| matches!(wall, Wall::User | Wall::Processes);
    let can_stand = |walls: &Vec<Wall>| walls.contains(&Wall::Files) || !walls.iter().any(needs_files);
    let mut attempts: Vec<Vec<Wall>> = subsets.filter(can_stand).collect();
    attempts.sort_by_key(|walls| std::cmp::Reverse(walls.len()));
    attempts
}

fn outermost(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut paths = paths.to_vec();
    paths.sort();
    paths.dedup_by(|next, before| next.starts_with(before));
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(texts: &[&str]) -> Vec<PathBuf> {
        texts.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn of_what_is_hidden_only_the_openings_are_seen() {
        let openings = Openings {
            own: paths(&["/v/workspaces/1", "/v/executions/1/home", "/elsewhere", "/v/workspaces/1/.venv"]),
            read: paths(&["/v/repos/a/objects", "/v"]),
            temporary: "/v/executions/1/tmp".into(),
            directory: "/v/workspaces/1".into(),
            formerly: paths(&["/v/before/1", "/v/workspaces/0", "/v/workspaces/1", "/v/workspaces/0", "/else"]),
            ..Openings::default()
        };
        let seen = view(&paths(&["/v"]), &paths(&["/etc/secret", "/v/secret"]), &openings);
        let expect = View {
            hidden: paths(&["/v"]),
            directories: paths(&[
                "/v/before",
                "/v/executions",
                "/v/executions/1",
                "/v/executions/1/home",
                "/v/repos",
                "/v/repos/a",
                "/v/repos/a/objects",
                "/v/workspaces",
                "/v/workspaces/1",
            ]),
            links: paths(&["/v/before/1", "/v/workspaces/0"]),
            shown: vec![
                ("/v/executions/1/home".into(), Access::Own),
                ("/v/repos/a/objects".into(), Access::Read),
                ("/v/workspaces/1".into(), Access::Own),
            ],
            temporary: vec![
                ("/v/executions/1/tmp".into(), "/tmp".into()),
                ("/v/executions/1/tmp".into(), "/var/tmp".into()),
            ],
            replaced: vec![("/dev/null".into(), "/etc/secret".into())],
            directory: "/v/workspaces/1".into(),
        };
        assert_eq!(seen, expect);
    }

    #[test]
    fn as_many_walls_as_can_stand_are_tried_first_and_none_last() {
        use Wall::{Files, Ipc, Processes};
        let expect: [&[Wall]; 7] =
            [&[Files, Processes, Ipc], &[Files, Processes], &[Files, Ipc], &[Files], &[Ipc], &[], &[]];
        assert_eq!(attempts(&[Files, Processes, Ipc]), expect[..6]);
        assert_eq!(attempts(Wall::ALL).first().map(Vec::len), Some(4));
        assert_eq!(attempts(&[]), [vec![]; 1]);
    }

    #[test]
    fn the_outermost_cover_counts_and_a_volume_in_tmp_leaves_tmp_as_it_is() {
        let openings = Openings { own: paths(&["/tmp/data/volumes/v/w"]), ..Openings::default() };
        let seen = view(&paths(&["/tmp/data/volumes/v", "/tmp/data"]), &[], &openings);
        assert_eq!(seen.hidden, paths(&["/tmp/data"]));
        assert_eq!(seen.directories, paths(&["/tmp/data/volumes", "/tmp/data/volumes/v", "/tmp/data/volumes/v/w"]));
        assert_eq!(seen.temporary, [(PathBuf::new(), PathBuf::from("/var/tmp"))]);
        for (hidden, expect) in
            [("/tmp/data", &["/tmp"][..]), ("/tmp", &[]), ("/var", &[]), ("/var/tmp/v", &["/var/tmp"])]
        {
            assert_eq!(shared(&paths(&[hidden, "/v"])), paths(expect), "{hidden}");
        }
        for (hidden, expect) in [
            ("/data", &["/tmp", "/var/tmp"][..]),
            ("/tmp/data", &["/var/tmp"]),
            ("/tmp", &["/var/tmp"]),
            ("/var", &["/tmp"]),
        ] {
            assert_eq!(stand_ins(&paths(&[hidden, "/v"])), paths(expect), "{hidden}");
        }
    }
}
