//! Bodies in pieces, too large, too many at once.

use std::convert::Infallible;

use super::*;

fn in_pieces(pieces: &[&'static [u8]]) -> Body {
    let pieces: Vec<Result<Bytes, Infallible>> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece))).collect();
    Body::from_stream(futures_util::stream::iter(pieces))
}

/// As the handler does it, with time enough.
async fn read(body: Body, memory: &Arc<Semaphore>) -> Result<Received, Refusal> {
    super::read(body, memory, Duration::from_secs(30)).await
}

fn memory(bytes: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(bytes))
}

#[tokio::test]
async fn a_body_is_the_same_however_it_was_cut() {
    for pieces in [&[&b"abcdef"[..]][..], &[b"abc", b"def"], &[b"", b"a", b"", b"bcd", b"ef", b""]] {
        let received = read(in_pieces(pieces), &memory(100)).await.expect("fits");
        assert_eq!(received.bytes, "abcdef", "{pieces:?}");
    }
}

#[tokio::test]
async fn memory_is_claimed_by_the_byte_and_given_back() {
    let memory = memory(10);
    let first = read(Body::from("12345678"), &memory).await.expect("fits");
    assert_eq!(memory.available_permits(), 2);
    assert_eq!(read(in_pieces(&[b"12", b"3"]), &memory).await.err().map(|refusal| refusal.status()), Some(503));
    assert_eq!(memory.available_permits(), 2);
    drop(first);
    assert_eq!(memory.available_permits(), 10);
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_refused_before_it_is_whole() {
    static MEBIBYTE: [u8; 1024 * 1024] = [b' '; 1024 * 1024];
    let memory = memory(usize::MAX >> 3);
    let within = vec![&MEBIBYTE[..]; 8];
    assert!(read(in_pieces(&within), &memory).await.is_ok());
    let beyond = futures_util::stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&MEBIBYTE)));
    let refused = read(Body::from_stream(beyond), &memory).await;
    assert_eq!(refused.err().map(|refusal| refusal.status()), Some(413));
}
