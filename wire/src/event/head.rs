//! The signed head: what a whole log comes down to, for a client to keep. A log
//! that once had this head and does not contain it any more has lost events or
//! been rewritten.
//!
//! ```text
//! signature = "v1," ‖ base64(HMAC-SHA256(key, "head_<seq>.<microseconds since 1970>.<link>"))
//! key       = master secret derived for the purpose "head"
//! ```
//! The link stands in lower-case hexadecimal digits. This is the scheme of
//! [`crate::signature`] with `head_<seq>` as the message's id, so that any library of
//! Standard Webhooks can check it, given the derived key.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::signature::Key;

/// What the key is derived for.
const PURPOSE: &str = "head";

/// The newest event's place and link at a moment, signed by the event store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedHead {
    /// The place of the newest event; 0 while there is none.
    pub seq: u64,
    /// Stands for that event and all before it.
    pub link: Link,
    /// When it was signed, by the store's clock.
    pub at: DateTime<Utc>,
    /// By the key that is derived from the master secret; see above for what is signed.
    pub signature: String,
}

impl SignedHead {
    /// Signs with the key that is derived from the master secret. `at` is in whole microseconds.
    pub fn sign(master: &Key, seq: u64, link: Link, at: DateTime<Utc>) -> Self {
        let signature = master.derive(PURPOSE).sign(&name(seq), at.timestamp_micros(), link.to_string().as_bytes());
        Self { seq, link, at, signature }
    }

    /// Whether the store that has this master secret signed exactly this, in constant time.
    pub fn is_signed_by(&self, master: &Key) -> bool {
        let (name, link) = (name(self.seq), self.link.to_string());
        let micros = self.at.timestamp_micros();
        master.derive(PURPOSE).has_signed(&name, micros, link.as_bytes(), &self.signature)
    }
}

fn name(seq: u64) -> String {
    format!("head_{seq}")
}

/// A SHA-256 that stands for an event and all before it; 64 lower-case hexadecimal digits as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Link(pub [u8; 32]);

/// The text is not a [`Link`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a link of the chain: expected 64 lower-case hexadecimal digits")]
pub struct NotALink;

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({self})")
    }
}

impl FromStr for Link {
    type Err = NotALink;

    fn from_str(text: &str) -> Result<Self, NotALink> {
        let digit = |byte: u8| match byte {
            b'0'..=b'9' => Ok(byte - b'0'),
            b'a'..=b'f' => Ok(byte - b'a' + 10),
            _ => Err(NotALink),
        };
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return Err(NotALink);
        }
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Ok(Self(bytes))
    }
}

impl From<Link> for String {
    fn from(link: Link) -> Self {
        link.to_string()
    }
}

impl TryFrom<String> for Link {
    type Error = NotALink;

    fn try_from(text: String) -> Result<Self, NotALink> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(micros).expect("in range")
    }

    fn master() -> Key {
        Key::from_bytes([1; 32])
    }

    fn head() -> SignedHead {
        SignedHead::sign(&master(), 7, Link([0xab; 32]), at(1_763_700_000_000_001))
    }

    #[test]
    fn a_head_survives_its_way_over_the_wire() {
        let text = serde_json::to_string(&head()).expect("serializes");
        assert!(text.contains(&format!("\"link\":\"{}\"", "ab".repeat(32))), "{text}");
        let back: SignedHead = serde_json::from_str(&text).expect("reads back");
        assert_eq!(back, head());
        assert!(back.is_signed_by(&master()));
    }

    #[test]
    fn the_signed_text_is_the_documented_one() {
        let content = "ab".repeat(32);
        let expect = master().derive("head").sign("head_7", 1_763_700_000_000_001, content.as_bytes());
        assert_eq!(head().signature, expect);
    }

    #[test]
    fn every_field_is_signed() {
        let good = head();
        for changed in [
            SignedHead { seq: 8, ..good.clone() },
            SignedHead { link: Link([0xac; 32]), ..good.clone() },
            SignedHead { at: at(1_763_700_000_000_002), ..good.clone() },
            SignedHead { signature: "v1,".into(), ..good.clone() },
        ] {
            assert!(!changed.is_signed_by(&master()), "{changed:?}");
        }
        assert!(!good.is_signed_by(&Key::from_bytes([2; 32])));
    }

    #[test]
    fn a_link_is_64_lower_case_hexadecimal_digits() {
        let link = Link(std::array::from_fn(|index| index as u8 * 8));
        assert_eq!(link.to_string().parse(), Ok(link));
        let digits = "ab".repeat(32);
        for wrong in ["", "ab", &digits[1..], &format!("{digits}ab"), &digits.to_uppercase(), &digits.replace('b', "g")]
        {
            assert_eq!(wrong.parse::<Link>(), Err(NotALink), "{wrong}");
        }
    }
}
