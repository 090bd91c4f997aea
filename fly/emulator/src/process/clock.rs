//! A machine's clock that can be behind: a file says by how much, and a library that
//! its programs load first (`clock/preload.rs`) goes by it. Programs that are linked
//! statically, or that are not handed the machine's environment, do not see it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use crate::layout::remove;

/// Built by `build.rs`; nothing where it does not know the processor.
const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/lagging-clock.so"));
const LIBRARY_NAME: &str = "clock.so";
const FILE_NAME: &str = "clock";

/// Whether clocks can be behind on this computer.
pub(crate) const fn can_lag() -> bool {
    !LIBRARY.is_empty()
}

/// Gives a machine that is about to be started a clock of its own, which goes right. What its first program
/// must find in its environment.
pub(super) fn install(directory: &Path) -> io::Result<[(&'static str, String); 2]> {
    uninstall(directory)?;
    let (library, file) = (directory.join(LIBRARY_NAME), directory.join(FILE_NAME));
    File::create_new(&library)?.write_all(LIBRARY)?;
    File::create_new(&file)?.write_all(&nanos(Duration::ZERO))?;
    Ok([("LD_PRELOAD", library.display().to_string()), ("FLY_EMULATOR_CLOCK", file.display().to_string())])
}

/// Leaves a machine that is about to be started with this computer's clock.
pub(super) fn uninstall(directory: &Path) -> io::Result<()> {
    remove(&directory.join(LIBRARY_NAME))?;
    remove(&directory.join(FILE_NAME))
}

/// Lets a machine's clock be behind; whether it has a clock of its own.
pub(crate) fn set(directory: &Path, behind: Duration) -> io::Result<bool> {
    match File::options().write(true).open(directory.join(FILE_NAME)) {
        // Programs see the eight bytes change at once.
        Ok(file) => file.write_all_at(&nanos(behind), 0).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn nanos(behind: Duration) -> [u8; 8] {
    i64::try_from(behind.as_nanos()).unwrap_or(i64::MAX).to_ne_bytes()
}
