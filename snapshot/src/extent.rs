//! Where a file has bytes. What lies between is a hole: it reads as zeros, takes no room on the disk, and can be
//! larger than any disk.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt};

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};
use serde::{Deserialize, Serialize};

use crate::chunk::WHOLE_MAX;

/// Fewer bytes of holes are stored as the zeros that they read as.
const HOLES_MIN: u64 = 1024 * 1024;
/// What `st_blocks` counts in, whatever the file system's own blocks are (stat(2)).
const BLOCK_BYTES: u64 = 512;

/// A run of bytes between holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Where in the file it begins.
    pub offset: u64,
    /// How many bytes it has.
    pub length: u64,
}

impl Extent {
    fn end(self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

/// How many bytes they have together.
pub(crate) fn length(extents: &[Extent]) -> u64 {
    extents.iter().map(|extent| extent.length).sum()
}

/// The extents of a file that has holes worth it, in order; nothing where it has none, or its file system does not tell.
pub(crate) fn of(file: &File, meta: &Metadata) -> io::Result<Option<Vec<Extent>>> {
    let size = meta.len();
    if size <= WHOLE_MAX || meta.blocks().saturating_mul(BLOCK_BYTES).saturating_add(HOLES_MIN) > size {
        return Ok(None);
    }
    let seek = |from: u64, whence| match lseek(file, i64::try_from(from).map_err(io::Error::other)?, whence) {
        Ok(at) => Ok(u64::try_from(at).unwrap_or_default().min(size)),
        // There are no more bytes.
        Err(Errno::ENXIO) => Ok(size),
        Err(error) => Err(io::Error::from(error)),
    };
    let mut extents = Vec::new();
    let mut at = 0;
    while at < size {
        let offset = match seek(at, Whence::SeekData) {
            Err(error) if error.raw_os_error() == Some(Errno::EINVAL as i32) => return Ok(None),
            found => found?,
        };
        at = seek(offset, Whence::SeekHole)?;
        if at > offset {
            extents.push(Extent { offset, length: at - offset });
        }
    }
    Ok((length(&extents).saturating_add(HOLES_MIN) <= size).then_some(extents))
}

/// Reads the extents of a file, one behind the other.
pub(crate) struct Reader<'a> {
    file: &'a File,
    rest: Vec<Extent>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(file: &'a File, extents: &[Extent]) -> Self {
        Self { file, rest: extents.iter().rev().copied().collect() }
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(extent) = self.rest.last_mut() {
            let wanted = usize::try_from(extent.length).unwrap_or(usize::MAX).min(buffer.len());
            if wanted == 0 && extent.length > 0 {
                return Ok(0);
            }
            let read = self.file.read_at(&mut buffer[..wanted], extent.offset)?;
            extent.offset += read as u64;
            extent.length -= read as u64;
            if read > 0 {
                return Ok(read);
            }
            // Its end, or that of a file which became shorter.
            self.rest.pop();
        }
        Ok(0)
    }
}

/// Writes bytes into the extents of a file, one behind the other.
pub(crate) struct Writer<'a> {
    file: &'a File,
    rest: Vec<Extent>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(file: &'a File, extents: &[Extent]) -> Self {
        Self { file, rest: extents.iter().rev().copied().collect() }
    }

    /// The next ones. Those that no extent has room for are an error.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let extent = self.rest.last_mut().ok_or_else(|| io::Error::other("it has more bytes than extents"))?;
            let now = usize::try_from(extent.length).unwrap_or(usize::MAX).min(bytes.len());
            self.file.write_all_at(&bytes[..now], extent.offset)?;
            extent.offset += now as u64;
            extent.length -= now as u64;
            if extent.length == 0 {
                self.rest.pop();
            }
            bytes = &bytes[now..];
        }
        Ok(())
    }
}

/// Whether a file reads as zeros wherever none of these extents is. What the file system knows to be a hole is not read.
pub(crate) fn is_zero_beside(file: &File, meta: &Metadata, extents: &[Extent]) -> io::Result<bool> {
    let there = of(file, meta)?.unwrap_or_else(|| vec![Extent { offset: 0, length: meta.len() }]);
    let mut buffer = vec![0; 64 * 1024];
    let mut known = extents.iter().copied().peekable();
    for extent in there {
        let mut at = extent.offset;
        while at < extent.end() {
            while known.next_if(|known| known.end() <= at).is_some() {}
            let until = match known.peek() {
                Some(known) if known.offset <= at => {
                    at = known.end();
                    continue;
                }
                Some(known) => known.offset.min(extent.end()),
                None => extent.end(),
            };
            let wanted = usize::try_from(until - at).unwrap_or(usize::MAX).min(buffer.len());
            let read = file.read_at(&mut buffer[..wanted], at)?;
            if read == 0 || buffer[..read].iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += read as u64;
        }
    }
    Ok(true)
}
