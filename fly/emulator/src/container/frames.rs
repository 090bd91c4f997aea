//! Pure: the engine's stream of a container's output. Each piece has a head of eight
//! bytes: which stream it is of, three zeros, and its length.

const HEAD: usize = 8;

/// One piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) is_error: bool,
    pub(super) bytes: Vec<u8>,
}

/// Takes the stream apart, however it comes in.
#[derive(Debug, Default)]
pub(super) struct Frames {
    buffer: Vec<u8>,
    /// What is missing of the piece that has begun, and whether it is of the error stream.
    open: Option<(usize, bool)>,
}

impl Frames {
    /// The pieces, whole or in part, that are known with these bytes.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<Piece> {
        self.buffer.extend_from_slice(bytes);
        let mut pieces = Vec::new();
        loop {
            match self.open {
                Some((missing, is_error)) => {
                    let length = missing.min(self.buffer.len());
                    if length > 0 {
                        pieces.push(Piece { is_error, bytes: self.buffer.drain(..length).collect() });
                    }
                    if length < missing {
                        self.open = Some((missing - length, is_error));
                        return pieces;
                    }
                    self.open = None;
                }
                None => {
                    let Some(&head) = self.buffer.first_chunk::<HEAD>() else { return pieces };
                    self.buffer.drain(..HEAD);
                    let [stream, _, _, _, length @ ..] = head;
                    self.open = Some((u32::from_be_bytes(length) as usize, stream == 2));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_taken_apart_wherever_it_is_cut() {
        let stream =
            [&[1, 0, 0, 0, 0, 0, 0, 3][..], b"abc", &[2, 0, 0, 0, 0, 0, 0, 0], &[2, 0, 0, 0, 0, 0, 0, 2], b"de"];
        let stream = stream.concat();
        for cut in 0..=stream.len() {
            let mut frames = Frames::default();
            let mut pieces = frames.take(&stream[..cut]);
            pieces.extend(frames.take(&stream[cut..]));
            let of = |wanted| {
                let pieces = pieces.iter().filter(|piece| piece.is_error == wanted);
                pieces.flat_map(|piece| piece.bytes.clone()).collect::<Vec<_>>()
            };
            assert_eq!((of(false), of(true)), (b"abc".to_vec(), b"de".to_vec()), "cut at {cut}");
        }
    }
}
