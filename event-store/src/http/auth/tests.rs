//! What is remembered of ids. Signatures themselves are tested over HTTP.

use super::*;

#[test]
fn an_id_is_known_until_as_many_others_came() {
    let mut seen = Halves::new(2);
    assert_eq!(seen.see(1, 10), Seen::Never);
    assert_eq!(seen.see(1, 10), Seen::WithThisContent);
    assert_eq!(seen.see(1, 11), Seen::WithOtherContent);
    for id in 2..=3 {
        assert_eq!(seen.see(id, 0), Seen::Never);
    }
    assert_eq!(seen.see(1, 10), Seen::WithThisContent);
    for id in 4..=5 {
        assert_eq!(seen.see(id, 0), Seen::Never);
    }
    assert_eq!(seen.see(1, 10), Seen::Never);
    assert!(seen.recent.len() <= 2 && seen.older.len() <= 2);
}

#[test]
fn ids_of_different_keys_do_not_meet() {
    let seen = Remembered::new(10);
    let signed = Signed { id: "same", timestamp: "0", signature: "" };
    let of = |key_id| SignedRequest { signed, key_id };
    assert_eq!(seen.see(&of(None), b"a"), Seen::Never);
    assert_eq!(seen.see(&of(Some("machine/1")), b"b"), Seen::Never);
    assert_eq!(seen.see(&of(Some("machine/1")), b"c"), Seen::WithOtherContent);
}
