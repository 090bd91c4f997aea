//! Where a file is cut, and what a chunk is called.
//!
//! The bounds are part of the stored format: other cuts would find nothing of what is there.

use std::fmt;
use std::io::{self, Read};

use fastcdc::v2020::StreamCDC;
use serde::{Deserialize, Serialize};

/// A file of at most so many bytes is one chunk: most source files are.
pub(crate) const WHOLE_MAX: u64 = 64 * 1024;
/// No chunk but a file's last is smaller.
const CHUNK_MIN: usize = 32 * 1024;
/// What chunks are on average.
const CHUNK_AVERAGE: usize = 128 * 1024;
/// No chunk is larger.
pub(crate) const CHUNK_MAX: usize = 512 * 1024;

/// The name of a chunk: the BLAKE3 hash of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Hash([u8; 32]);

impl Hash {
    /// Of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Cuts content of about this size and hands each chunk on, in order. Gives the number of bytes.
pub(crate) fn cut<E: From<io::Error>>(
    mut content: impl Read,
    size: u64,
    buffer: &mut Vec<u8>,
    mut each: impl FnMut(Hash, &[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    if size <= WHOLE_MAX {
        let length = read_whole(&mut content, size, buffer)?;
        if length > 0 {
            each(Hash::of(buffer), buffer)?;
        }
        return Ok(length);
    }
    let mut length = 0;
    for chunk in StreamCDC::new(content, CHUNK_MIN, CHUNK_AVERAGE, CHUNK_MAX) {
        let chunk = chunk.map_err(io::Error::from)?;
        length += chunk.data.len() as u64;
        each(Hash::of(&chunk.data), &chunk.data)?;
    }
    Ok(length)
}

/// Reads a small file in one call, as far as its length is what it was said to be. Gives the length it has.
fn read_whole(content: &mut impl Read, size: u64, buffer: &mut Vec<u8>) -> io::Result<u64> {
    let most = usize::try_from(WHOLE_MAX).unwrap_or(usize::MAX) + 1;
    // One byte more than expected shows a file that has grown meanwhile.
    buffer.resize(usize::try_from(size).unwrap_or(most).saturating_add(1).min(most), 0);
    let mut length = 0;
    loop {
        match content.read(&mut buffer[length..]) {
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        }
        if length < buffer.len() {
            // A regular file gives less than it was asked for only at its end.
            buffer.truncate(length);
            return Ok(length as u64);
        }
        if length == most {
            return Err(io::Error::other("it grows while it is read"));
        }
        buffer.resize(most, 0);
    }
}
