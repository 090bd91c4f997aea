//! The package managers' programs: where they are, which version they are, and
//! how they are run.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::ecosystem::{Ecosystem, Versions};
use crate::command::program;
use crate::isolation::Openings;
use crate::leftovers;
use crate::orders::Orders;
use crate::process::{self, Bounds, RunError};
use crate::room::Room;
use crate::setup::NotReady;
use crate::volume;
use crate::workspace::Paths;

/// How much of a program is looked at: the first line of a script.
const HEAD_BYTES: u64 = 256;
/// What programs of package managers are written in; what chooses between programs is written for a shell.
const LANGUAGES: [&str; 4] = ["node", "python", "ruby", "php"];
/// Directories of programs that choose which program of a name is run.
const CHOOSING: [&str; 2] = ["shims", "corepack"];

/// A package manager in the workspace, with the repository's caches on the volume and nothing secret. It runs what the
/// repository and its dependencies bring along, so it is kept apart as a command is.
pub(super) fn command(room: &Room, paths: &Paths, program: &str) -> io::Result<tokio::process::Command> {
    let mut command = kit::process::command(program);
    command.current_dir(&paths.tree).env_clear().envs(&room.environment);
    command.env("HOME", &paths.home).env("TMPDIR", &paths.temporary).env("CI", "true");
    // By this the runner knows it as the execution's.
    command.env(leftovers::MARK, volume::file_name(paths.own()));
    room.isolation.enclose(&mut command, &Openings::of(paths, [room.volume.use_packages(&paths.name)?]))?;
    Ok(command)
}

/// Where the ecosystem's programs are, or the first that is not there.
pub(super) fn find(room: &Room, ecosystem: &Ecosystem, workspace: &Path) -> Result<BTreeMap<String, PathBuf>, String> {
    let path = room.environment.get("PATH").map(String::as_str).unwrap_or_default();
    let find = |tool: &String| match program::find(tool, path, workspace) {
        Ok(found) => Ok((tool.clone(), found)),
        Err(_) => Err(tool.clone()),
    };
    ecosystem.tools.iter().map(find).collect()
}

/// What each tool says about its version. Asking takes node half a second, so the answer is kept for as long as the
/// program's file stays the same, where that is enough. Any other is asked in the workspace each time: what is chosen
/// there, and on the machine, may be another by now.
pub(super) async fn versions(
    room: &Room,
    orders: &Orders,
    paths: &Paths,
    ecosystem: &Ecosystem,
    tools: &BTreeMap<String, PathBuf>,
) -> Result<Versions, NotReady> {
    let machine = |error: io::Error| NotReady::machine("reading tool versions", &error);
    let book = room.volume.root().join("tools.json");
    let text = kit::files::read_if_exists(&book).map_err(machine)?.unwrap_or_default();
    let mut known: BTreeMap<String, String> = serde_json::from_str(&text).unwrap_or_default();
    let mut versions = Versions::new();
    let mut is_new = false;
    for (tool, path) in tools {
        let identity = identity(tool, path).map_err(machine)?;
        let version = match identity.as_ref().and_then(|identity| known.get(identity)) {
            Some(version) => version.clone(),
            None => ask_version(room, orders, paths, path, ecosystem.question(tool)).await?,
        };
        if let Some(identity) = identity {
            is_new |= known.insert(identity, version.clone()).is_none();
        }
        versions.insert(tool.clone(), version);
    }
    if is_new {
        let text = serde_json::to_vec(&known).expect("names and versions are plain data");
        volume::swap_in(&book, &text).map_err(machine)?;
    }
    Ok(versions)
}

async fn ask_version(
    room: &Room,
    orders: &Orders,
    paths: &Paths,
    path: &Path,
    question: &str,
) -> Result<String, NotReady> {
    let machine = |error| NotReady::machine(&format!("asking {} for its version", path.display()), &error);
    let mut asking = command(room, paths, &path.to_string_lossy()).map_err(machine)?;
    asking.arg(question);
    let bounds = Bounds { within: room.limits.install, keep: 4096 };
    match process::run(&mut asking, b"", bounds, orders).await {
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout.bytes).trim().to_owned()),
        Err(RunError::Halted(halt)) => Err(NotReady::Halted(halt)),
        Err(error) => Err(NotReady::machine(&format!("asking {} for its version", path.display()), &error)),
    }
}

/// Changes whenever the program's file is replaced, even by one with the same time stamp. Nothing where the tool may be
/// another behind the same file.
fn identity(tool: &str, path: &Path) -> io::Result<Option<String>> {
    let real = path.canonicalize()?;
    let meta = fs::metadata(&real)?;
    let mut head = Vec::new();
    // What may only be run is no script.
    match File::open(&real) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => 0,
        file => file?.take(HEAD_BYTES).read_to_end(&mut head)?,
    };
    let identity = format!("{}:{}:{}:{}.{}", real.display(), meta.ino(), meta.len(), meta.ctime(), meta.ctime_nsec());
    Ok(is_the_tool(tool, &real, &meta, &head).then_some(identity))
}

/// Whether this program is the tool, and does not go and find it: as one does that goes by many names, such as that of
/// rustup, mise or volta, or a shell's script, such as those of pyenv and asdf.
fn is_the_tool(tool: &str, real: &Path, meta: &Metadata, head: &[u8]) -> bool {
    let chooses = real.iter().any(|part| CHOOSING.iter().any(|choosing| part == *choosing));
    let fits = match interpreter(head) {
        Some(interpreter) => LANGUAGES.iter().any(|language| interpreter.starts_with(language)),
        None => meta.nlink() == 1 && is_name_of(tool, &volume::file_name(real)),
    };
    fits && !chooses
}

/// Whether a file is called as the tool is, or so with a version behind, such as `python3.11`.
fn is_name_of(tool: &str, file: &str) -> bool {
    let is_of_version = |character: char| character.is_ascii_digit() || matches!(character, '.' | '-');
    file.strip_prefix(tool).is_some_and(|version| version.chars().all(is_of_version))
}

/// The program that runs a script, by its first line; nothing but an empty name where that names none.
fn interpreter(head: &[u8]) -> Option<String> {
    let line = head.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    let mut words = line.split_whitespace().map(|word| volume::file_name(Path::new(word)));
    let is_program = |word: &String| word != "env" && !word.starts_with('-') && !word.contains('=');
    Some(words.find(is_program).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn only_a_program_that_is_the_tool_is_known_by_its_file() {
        let directory = tempfile::tempdir().expect("a directory");
        for (tool, place, text, expect) in [
            ("node", "bin/node", "\x7fELF", true),
            ("python3", "bin/python3.11", "\x7fELF", true),
            ("cargo", "bin/rustup", "\x7fELF", false),
            ("node", "bin/nodejs", "\x7fELF", false),
            ("node", "shims/node", "\x7fELF", false),
            ("npm", "lib/npm-cli.js", "#!/usr/bin/env node\n", true),
            ("npm", "lib/npm-cli.js", "#!/usr/bin/env -S A=b node --x\n", true),
            ("poetry", "bin/poetry", "#!/opt/poetry/bin/python3\n", true),
            ("pnpm", "corepack/dist/pnpm.js", "#!/usr/bin/env node\n", false),
            ("npm", "bin/npm", "#!/usr/bin/env bash\nexec asdf exec npm", false),
            ("npm", "bin/npm", "#! /bin/sh -e\n", false),
            ("npm", "bin/npm", "#!\n", false),
        ] {
            let root = tempfile::tempdir_in(directory.path()).expect("a directory");
            let (real, link) = (root.path().join(place), root.path().join(tool));
            kit::files::make_private(real.parent().expect("has one")).expect("makes");
            fs::write(&real, text).expect("writes");
            symlink(&real, &link).expect("links");
            let known = identity(tool, &link).expect("reads");
            assert_eq!(known.is_some(), expect, "{tool} {place} {text}");
            fs::write(&real, format!("{text}x")).expect("writes");
            assert!(!expect || known != identity(tool, &link).expect("reads"), "{tool} {place} {text}");
        }
    }

    #[test]
    fn a_program_with_several_names_is_not_the_tool() {
        let directory = tempfile::tempdir().expect("a directory");
        let [cargo, rustc] = ["cargo", "rustc"].map(|name| directory.path().join(name));
        fs::write(&cargo, "\x7fELF").expect("writes");
        assert!(identity("cargo", &cargo).expect("reads").is_some());
        fs::hard_link(&cargo, &rustc).expect("links");
        assert_eq!(identity("cargo", &cargo).expect("reads"), None);
        fs::remove_file(&rustc).expect("removes");
        fs::set_permissions(&cargo, fs::Permissions::from_mode(0o111)).expect("sets");
        assert!(identity("cargo", &cargo).expect("looks").is_some());
    }
}
