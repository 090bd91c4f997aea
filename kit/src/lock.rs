//! One process at a time: a lock file that is free again when its holder ends,
//! however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// A child that a killed program was just starting has the program's sockets and
/// locks until it runs its own program, a moment later; on a busy computer that
/// is a long moment.
pub const PATIENCE: Duration = Duration::from_secs(1);
const BEAT: Duration = Duration::from_millis(10);

/// Takes the lock, and makes its file where there is none; nothing when another
/// process holds it for longer than `patience`. Held until the file is dropped.
/// Blocks its thread.
pub fn take(path: &Path, patience: Duration) -> io::Result<Option<File>> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let deadline = Instant::now() + patience;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if Instant::now() < deadline => std::thread::sleep(BEAT),
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Whether somebody has it. Makes no file, and two who ask at once do not take each other for somebody.
pub fn is_held(path: &Path) -> io::Result<bool> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_by_one_and_free_when_dropped() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("lock");
        let held = take(&path, Duration::ZERO).expect("opens").expect("free");
        assert!(take(&path, Duration::ZERO).expect("opens").is_none());
        assert!(is_held(&path).expect("looks"));
        drop(held);
        assert!(!is_held(&path).expect("looks"));
        let asks = File::open(&path).expect("opens");
        asks.try_lock_shared().expect("is free");
        assert!(!is_held(&path).expect("looks"), "another who asks has not taken it");
        assert!(!is_held(&directory.path().join("none")).expect("looks"));
        drop(asks);
        assert!(take(&path, Duration::ZERO).expect("opens").is_some());
    }
}
