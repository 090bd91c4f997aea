//! Cuts a command's output into the pieces that log events carry (pure).
//!
//! Nothing is lost or reordered within a stream, and a piece of one stream goes
//! out before a later piece of the other. A piece has at most
//! [`LOG_CHUNK_BYTES`] and does not cut a UTF-8 character where there is one. Of
//! more than is allowed the beginning is told as it comes and the end, where what
//! went wrong is, when nothing more comes.

use std::collections::VecDeque;

use wire::event::Stream;
use wire::limit::LOG_CHUNK_BYTES;

/// The most that is kept for the end; of a small limit it is a fourth.
const TAIL_BYTES_MAX: u64 = 1 << 20;
/// What keeping a part takes besides its bytes.
const PART_BYTES: usize = 64;

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
    tail: Tail,
}

/// The newest of what came when no more was told, whole parts of it.
#[derive(Debug)]
struct Tail {
    parts: VecDeque<(Stream, Vec<u8>)>,
    /// Of all parts, and of the parts that were dropped before them.
    kept: u64,
    dropped: u64,
    limit: u64,
}

impl Tail {
    fn push(&mut self, stream: Stream, bytes: &[u8]) {
        match self.parts.back_mut() {
            Some((newest, part)) if *newest == stream && part.len() + bytes.len() <= LOG_CHUNK_BYTES => {
                part.extend_from_slice(bytes);
            }
            _ => self.parts.push_back((stream, bytes.to_vec())),
        }
        self.kept += bytes.len() as u64;
        let is_over = |tail: &Self, first: u64| {
            tail.kept - first >= tail.limit || (tail.parts.len() * PART_BYTES) as u64 > tail.limit.max(1 << 10)
        };
        while let Some(first) =
            self.parts.front().map(|(_, part)| part.len() as u64).filter(|first| is_over(self, *first))
        {
            self.parts.pop_front();
            self.kept -= first;
            self.dropped += first;
        }
    }

    /// What is to be told, and how much was dropped before it.
    fn take(&mut self) -> (VecDeque<(Stream, Vec<u8>)>, u64) {
        if let Some((_, first)) = self.parts.front_mut() {
            let over = self.kept.saturating_sub(self.limit);
            first.drain(..usize::try_from(over).unwrap_or(usize::MAX).min(first.len()));
            self.dropped += over;
        }
        self.kept = 0;
        (std::mem::take(&mut self.parts), self.dropped)
    }
}

impl Chunker {
    /// Passes so many bytes of both streams together; the rest is counted and dropped.
    pub(crate) fn new(limit: u64) -> Self {
        let at_the_end = (limit / 4).min(TAIL_BYTES_MAX);
        Self {
            stdout: Vec::new(),
            stderr: Vec::new(),
            newest: Stream::Stdout,
            left: limit - at_the_end,
            limit,
            tail: Tail { parts: VecDeque::new(), kept: 0, dropped: 0, limit: at_the_end },
        }
    }

    /// Takes what was read. Only full pieces come out; [`Chunker::flush`] gives the rest.
    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8], pieces: &mut Pieces) {
        if stream != self.newest {
            self.flush(pieces);
            self.newest = stream;
        }
        let passed = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
        self.left -= passed as u64;
        self.pass(stream, &bytes[..passed], pieces);
        if passed < bytes.len() {
            self.keep_for_the_end(stream, &bytes[passed..], pieces);
        }
    }

    fn pass(&mut self, stream: Stream, bytes: &[u8], pieces: &mut Pieces) {
        let buffer = self.buffer(stream);
        buffer.extend_from_slice(bytes);
        while buffer.len() >= LOG_CHUNK_BYTES {
            let whole = whole_characters(&buffer[..LOG_CHUNK_BYTES]);
            let length = if whole == 0 { LOG_CHUNK_BYTES } else { whole };
            let rest = buffer.split_off(length);
            pieces.push((stream, std::mem::replace(buffer, rest)));
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
        self.give_buffers(pieces);
        let (parts, dropped) = self.tail.take();
        if dropped > 0 {
            pieces.push((Stream::Stderr, format!("bifrost: {dropped} bytes are left out here\n").into_bytes()));
        }
        for (stream, part) in parts {
            if stream != self.newest {
                self.give_buffers(pieces);
                self.newest = stream;
            }
            self.pass(stream, &part, pieces);
        }
        self.give_buffers(pieces);
    }

    fn give_buffers(&mut self, pieces: &mut Pieces) {
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
        self.tail.dropped
    }

    fn keep_for_the_end(&mut self, stream: Stream, bytes: &[u8], pieces: &mut Pieces) {
        if self.tail.kept == 0 && self.tail.dropped == 0 {
            self.give_buffers(pieces);
            let notice = format!(
                "bifrost: the output limit of {} bytes is near; of what comes now the last {} are told at the end\n",
                self.limit, self.tail.limit
            );
            pieces.push((Stream::Stderr, notice.into_bytes()));
        }
        self.tail.push(stream, bytes);
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
    fn of_what_is_over_the_limit_the_end_is_told_and_the_rest_counted() {
        let (mut chunker, mut pieces) = (Chunker::new(8), Vec::new());
        for text in ["abc", "defg", "hij", "kl"] {
            chunker.push(Stdout, text.as_bytes(), &mut pieces);
        }
        assert_eq!(joined(&pieces, Stdout), b"abcdef");
        chunker.finish(&mut pieces);
        assert_eq!(chunker.truncated(), 4);
        let near = "bifrost: the output limit of 8 bytes is near; of what comes now the last 2 are told at the end\n";
        let expect =
            [(Stdout, "abcdef"), (Stderr, near), (Stderr, "bifrost: 4 bytes are left out here\n"), (Stdout, "kl")];
        assert_eq!(texts(&pieces), expect);
    }

    #[test]
    fn what_fits_into_the_end_is_told_whole_in_its_order() {
        let (mut chunker, mut pieces) = (Chunker::new(8), Vec::new());
        for (stream, text) in [(Stdout, "abcdef"), (Stdout, "g"), (Stderr, "h")] {
            chunker.push(stream, text.as_bytes(), &mut pieces);
        }
        chunker.finish(&mut pieces);
        assert_eq!((joined(&pieces, Stdout), chunker.truncated()), (b"abcdefg".to_vec(), 0));
        assert_eq!(pieces.last(), Some(&(Stderr, b"h".to_vec())));
    }

    #[test]
    fn the_end_takes_little_memory_however_it_comes() {
        let (mut chunker, mut pieces) = (Chunker::new(4 << 20), Vec::new());
        chunker.push(Stdout, &vec![b'x'; 3 << 20], &mut pieces);
        for number in 0..2_000_000_u32 {
            chunker.push(if number % 2 == 0 { Stdout } else { Stderr }, b"y", &mut pieces);
        }
        assert!(chunker.tail.parts.len() * PART_BYTES <= 1 << 20, "{}", chunker.tail.parts.len());
        chunker.finish(&mut pieces);
        let told: usize = [Stdout, Stderr].iter().map(|stream| joined(&pieces, *stream).len()).sum();
        let notices: usize = texts(&pieces)
            .iter()
            .map(|(_, text)| text)
            .filter(|text| text.starts_with("bifrost:"))
            .map(|text| text.len())
            .sum();
        assert_eq!((told - notices) as u64 + chunker.truncated(), (3 << 20) + 2_000_000);
    }
}
