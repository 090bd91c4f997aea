//! The way from a verified body to its events, for the fuzz targets alone.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, header};
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::BODIES_BYTES;
use super::body::{Encoding, Received};
use super::decode::{self, Format};
use super::problem::Refusal;

/// The payloads of the body's events, or the status of the refusal.
pub fn request(content_type: &str, content_encoding: &str, body: &[u8]) -> Result<Vec<Vec<u8>>, u16> {
    let value = |text: &str| HeaderValue::from_str(text).map_err(|_| 400_u16);
    let headers = HeaderMap::from_iter([
        (header::CONTENT_TYPE, value(content_type)?),
        (header::CONTENT_ENCODING, value(content_encoding)?),
    ]);
    decode(&headers, body).map_err(|refusal| refusal.status())
}

fn decode(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
    let memory = Arc::new(Semaphore::new(BODIES_BYTES));
    let claim = memory.clone().try_acquire_owned().expect("nobody else claims any");
    let received = Received { bytes: Bytes::copy_from_slice(body), claim };
    let unpacked = Encoding::of(headers)?.unpack(received, &memory)?;
    let request = decode::request(Format::of(headers)?, &unpacked.bytes)?;
    Ok(request.events.iter().map(|event| event.payload.as_bytes().to_vec()).collect())
}
