//! Bodies that were sent compressed. Unpacking stops at the bound of a body, so
//! that a bomb takes no more memory than an honest request.

use std::io::{self, Read};
use std::sync::Arc;

use axum::http::{HeaderMap, header};
use flate2::bufread::MultiGzDecoder;
use tokio::sync::Semaphore;
use wire::limit::EVENT_BATCH_BYTES;

use super::{Received, claim};
use crate::http::problem::Refusal;

/// Unpacked so much at a time, and claimed before.
const PIECE_BYTES: usize = 64 * 1024;
/// The largest window of zstd that is unpacked, as a power of two: 8 MiB (RFC 9659).
const ZSTD_WINDOW_LOG: u32 = 23;

/// How a body was packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Encoding {
    Identity,
    Gzip,
    Zstd,
}

impl Encoding {
    /// What `content-encoding` says. Several in a row are refused: nobody needs them, and each
    /// would multiply what a small body can become.
    pub(in crate::http) fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
        let Some(value) = values.next() else { return Ok(Self::Identity) };
        if values.next().is_some() {
            return Err(Refusal::unknown_encoding());
        }
        match value.to_str().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "identity" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(Refusal::unknown_encoding()),
        }
    }

    /// The body as it was before it was packed, and the claim on the memory it takes now.
    pub(in crate::http) fn unpack(self, packed: Received, memory: &Arc<Semaphore>) -> Result<Received, Refusal> {
        match self {
            Self::Identity => Ok(packed),
            Self::Gzip => unpack("gzip", 1, MultiGzDecoder::new(packed.bytes.as_ref()), memory),
            // Its window may hold everything unpacked so far a second time.
            Self::Zstd => unpack("zstd", 2, zstd(&packed.bytes).map_err(not_packed("zstd"))?, memory),
        }
    }
}

fn zstd(packed: &[u8]) -> io::Result<impl Read> {
    let mut decoder = zstd::Decoder::with_buffer(packed)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

/// Claims `copies` of each byte while unpacking, one afterwards.
fn unpack(
    name: &'static str,
    copies: usize,
    mut source: impl Read,
    memory: &Arc<Semaphore>,
) -> Result<Received, Refusal> {
    let mut claim = claim(memory, 0)?;
    let mut bytes = Vec::new();
    loop {
        claim.merge(super::claim(memory, PIECE_BYTES * copies)?);
        let piece = source.by_ref().take(PIECE_BYTES as u64);
        let read = { piece }.read_to_end(&mut bytes).map_err(not_packed(name))?;
        if bytes.len() > EVENT_BATCH_BYTES {
            return Err(Refusal::too_large());
        }
        if read < PIECE_BYTES {
            break;
        }
    }
    let claim = claim.split(bytes.len()).expect("every byte was claimed before it was unpacked");
    Ok(Received { bytes: bytes.into(), claim })
}

fn not_packed(name: &'static str) -> impl Fn(io::Error) -> Refusal {
    move |error| {
        let detail = match error.kind() {
            io::ErrorKind::UnexpectedEof => format!("the body ends in the middle of its {name}; send it whole"),
            _ => format!("the body is not the {name} that content-encoding says: {error}"),
        };
        Refusal::malformed(detail).at("content-encoding")
    }
}

#[cfg(test)]
mod tests;
