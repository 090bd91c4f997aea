//! Cuts a command's output into the pieces that log events carry (pure).
//!
//! Nothing is lost or reordered within a stream, and a piece of one stream goes
//! out before a later piece of the other. A piece has at most
//! [`LOG_CHUNK_BYTES`] and does not cut a UTF-8 character where there is one.

use wire::event::Stream;
use wire::limit::LOG_CHUNK_BYTES;

/// Pieces in the order they are to be told.
pub(crate) type Pieces = Vec<(Stream, Vec<u8>)>;

/// Takes output as it is read and gives it back in pieces.
#[derive(Debug)]
pub(crate) struct Chunker {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    newest: Stream,
    left: u64,
    limit: u64,
    truncated: u64,
}

impl Chunker {
    /// Passes so many bytes of both streams together; the rest is counted and dropped.
    pub(crate) fn new(limit: u64) -> Self {
        Self { stdout: Vec::new(), stderr: Vec::new(), newest: Stream::Stdout, left: limit, limit, truncated: 0 }
    }

    /// Takes what was read. Only full pieces come out; [`Chunker::flush`] gives the rest.
    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8], pieces: &mut Pieces) {
        if stream != self.newest {
            self.flush(pieces);
            self.newest = stream;
        }
        let passed = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.left -= passed as u64;
        let buffer = self.buffer(stream);
        buffer.extend_from_slice(&bytes[..passed]);
        while buffer.len() >= LOG_CHUNK_BYTES {
            let whole = whole_characters(&buffer[..LOG_CHUNK_BYTES]);
            let length = if whole == 0 { LOG_CHUNK_BYTES } else { whole };
            let rest = buffer.split_off(length);
            pieces.push((stream, std::mem::replace(buffer, rest)));
        }
        let dropped = (bytes.len() - passed) as u64;
        if dropped > 0 {
            self.drop_bytes(dropped, pieces);
        }
    }

    /// Gives what is waiting, but for the beginning of a character whose end has not come yet.
    pub(crate) fn flush(&mut self, pieces: &mut Pieces) {
        let stream = self.newest;
        let buffer = self.buffer(stream);
        let rest = buffer.split_off(whole_characters(buffer));
        let whole = std::mem::replace(buffer, rest);
        if !whole.is_empty() {
            pieces.push((stream, whole));
        }
    }

    /// Gives everything: nothing more will come.
    pub(crate) fn finish(&mut self, pieces: &mut Pieces) {
        self.flush(pieces);
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = std::mem::take(self.buffer(stream));
            if !rest.is_empty() {
                pieces.push((stream, rest));
            }
        }
    }

    /// Whether [`Chunker::flush`] would give anything.
    pub(crate) fn is_waiting(&self) -> bool {
        let newest = match self.newest {
            Stream::Stdout => &self.stdout,
            Stream::Stderr => &self.stderr,
        };
        whole_characters(newest) > 0
    }

    /// Bytes that the limit cut off.
    pub(crate) fn truncated(&self) -> u64 {
        self.truncated
    }

    fn drop_bytes(&mut self, dropped: u64, pieces: &mut Pieces) {
        if self.truncated == 0 {
            self.finish(pieces);
            let notice = format!("bifrost: the output limit of {} bytes is reached; the rest is dropped\n", self.limit);
            pieces.push((Stream::Stderr, notice.into_bytes()));
        }
        self.truncated += dropped;
    }

    fn buffer(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

/// How many bytes lie before a character that has begun and not ended. Bytes that are no UTF-8 count as whole.
fn whole_characters(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let start = bytes.len() - back;
        let needed = match bytes[start] {
            0x80..=0xBF => continue,
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => return bytes.len(),
        };
        return if back < needed { start } else { bytes.len() };
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Stream::{Stderr, Stdout};

    fn texts(pieces: &Pieces) -> Vec<(Stream, &str)> {
        pieces.iter().map(|(stream, bytes)| (*stream, std::str::from_utf8(bytes).expect("text"))).collect()
    }

    fn joined(pieces: &Pieces, wanted: Stream) -> Vec<u8> {
        pieces.iter().filter(|(stream, _)| *stream == wanted).flat_map(|(_, bytes)| bytes.clone()).collect()
    }

    #[test]
    fn streams_stay_in_order_and_apart() {
        let (mut chunker, mut pieces) = (Chunker::new(1_000), Vec::new());
        for (stream, text) in [(Stdout, "a"), (Stdout, "b"), (Stderr, "c"), (Stdout, "d")] {
            chunker.push(stream, text.as_bytes(), &mut pieces);
        }
        chunker.finish(&mut pieces);
        assert_eq!(texts(&pieces), [(Stdout, "ab"), (Stderr, "c"), (Stdout, "d")]);
    }

    #[test]
    fn a_character_is_never_cut_however_it_arrives() {
        let text = "aż𝄞ó€".repeat(9_000);
        for step in [1, 2, 3, 5, 4_096, 70_000] {
            let (mut chunker, mut pieces) = (Chunker::new(u64::MAX), Vec::new());
            for bytes in text.as_bytes().chunks(step) {
                chunker.push(Stdout, bytes, &mut pieces);
                if step > 100 {
                    chunker.flush(&mut pieces);
                }
            }
            chunker.finish(&mut pieces);
            assert!(pieces.iter().all(|(_, bytes)| bytes.len() <= LOG_CHUNK_BYTES), "step {step}");
            assert_eq!(texts(&pieces).iter().map(|(_, text)| *text).collect::<String>(), text, "step {step}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_kept() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n * 7 % 256) as u8 | 0x80).collect();
        let (mut chunker, mut pieces) = (Chunker::new(u64::MAX), Vec::new());
        bytes.chunks(777).for_each(|part| chunker.push(Stderr, part, &mut pieces));
        chunker.finish(&mut pieces);
        assert_eq!(joined(&pieces, Stderr), bytes);
    }

    #[test]
    fn an_unfinished_character_waits_for_its_end_and_comes_at_the_last() {
        let (mut chunker, mut pieces) = (Chunker::new(100), Vec::new());
        chunker.push(Stdout, b"x\xE2\x82", &mut pieces);
        chunker.flush(&mut pieces);
        assert_eq!(pieces, [(Stdout, b"x".to_vec())]);
        assert!(!chunker.is_waiting());
        chunker.finish(&mut pieces);
        assert_eq!(pieces[1..], [(Stdout, b"\xE2\x82".to_vec())]);
    }

    #[test]
    fn what_is_over_the_limit_is_counted_and_told_once() {
        let (mut chunker, mut pieces) = (Chunker::new(5), Vec::new());
        for text in ["abc", "defg", "hij"] {
            chunker.push(Stdout, text.as_bytes(), &mut pieces);
        }
        chunker.finish(&mut pieces);
        assert_eq!(joined(&pieces, Stdout), b"abcde");
        let notices = texts(&pieces).into_iter().filter(|(stream, _)| *stream == Stderr).count();
        assert_eq!((notices, chunker.truncated()), (1, 5));
    }
}
