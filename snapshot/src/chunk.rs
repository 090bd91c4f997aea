//! Where a file is cut, and what a chunk is called.
//!
//! The bounds are part of the stored format: other cuts would find nothing of what is there.

use std::fmt;
use std::fs::File;
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

/// Cuts a file's content and hands each chunk on, in order. Gives the number of bytes.
pub(crate) fn cut<E: From<io::Error>>(
    mut file: File,
    size: u64,
    buffer: &mut Vec<u8>,
    mut each: impl FnMut(Hash, &[u8]) -> Result<(), E>,
) -> Result<u64, E> {
    if size <= WHOLE_MAX {
        buffer.clear();
        // One byte more than expected shows a file that has grown meanwhile.
        (&mut file).take(WHOLE_MAX + 1).read_to_end(buffer)?;
        let length = buffer.len() as u64;
        if length > WHOLE_MAX {
            return Err(io::Error::other("it grows while it is read").into());
        }
        if length > 0 {
            each(Hash::of(buffer), buffer)?;
        }
        return Ok(length);
    }
    let mut length = 0;
    for chunk in StreamCDC::new(file, CHUNK_MIN, CHUNK_AVERAGE, CHUNK_MAX) {
        let chunk = chunk.map_err(io::Error::from)?;
        length += chunk.data.len() as u64;
        each(Hash::of(&chunk.data), &chunk.data)?;
    }
    Ok(length)
}
