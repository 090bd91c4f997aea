//! What a payload must not be. Most payloads need no look at every byte to tell.

use memchr::{memchr, memchr2, memchr2_iter};

/// The largest payload, in bytes.
pub(super) const PAYLOAD_BYTES: usize = 1024 * 1024;
/// The deepest nesting of a payload.
const PAYLOAD_DEPTH: usize = 64;

/// The payload, which is JSON, or what is wrong with it.
pub(super) fn check_payload(payload: &str) -> Result<&str, &'static str> {
    if payload.len() > PAYLOAD_BYTES {
        return Err("must have at most 1 MiB");
    }
    if has_more_brackets(payload, PAYLOAD_DEPTH) && depth(payload) > PAYLOAD_DEPTH {
        return Err("must not be nested deeper than 64");
    }
    if has_half_pair(payload) {
        return Err("must not hold half of a surrogate pair (\\ud800 to \\udfff); write both halves, or the character");
    }
    Ok(payload)
}

/// Whether there are more of `[` and `{`, in strings or not. Nothing is nested deeper than there are.
fn has_more_brackets(json: &str, than: usize) -> bool {
    memchr2_iter(b'[', b'{', json.as_bytes()).nth(than).is_some()
}

/// How deep objects and arrays are nested in a JSON text.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut rest = json.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'"' => rest = after_string(rest),
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => (),
        }
    }
    deepest
}

/// What follows the string that the bytes begin within.
fn after_string(mut rest: &[u8]) -> &[u8] {
    while let Some(place) = memchr2(b'"', b'\\', rest) {
        let is_end = rest[place] == b'"';
        rest = rest.get(place + if is_end { 1 } else { 2 }..).unwrap_or_default();
        if is_end {
            return rest;
        }
    }
    &[]
}

/// Whether an escape in a JSON text is half of a surrogate pair without the other half.
fn has_half_pair(json: &str) -> bool {
    let mut rest = json.as_bytes();
    while let Some(start) = memchr(b'\\', rest) {
        rest = &rest[start..];
        let taken = match (unit(rest), rest.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => 12,
            (Some(0xd800..=0xdfff), _) => return true,
            (Some(_), _) => 6,
            (None, _) => 2,
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    false
}

/// The code unit of the escape `\uXXXX` with which the bytes begin.
fn unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_does_not_count_what_is_inside_strings() {
        for (json, expect) in [("1", 0), ("[]", 1), (r#"{"a":[{}]}"#, 3), (r#"["[[[","\"[[",{}]"#, 2), (r#""\\""#, 0)] {
            assert_eq!(depth(json), expect, "{json}");
            assert_eq!(has_more_brackets(json, 0), expect > 0, "{json}");
        }
    }

    #[test]
    fn a_surrogate_needs_its_other_half() {
        let whole = [r#""\ud83d\ude00""#, r#""\uD83D\uDE00\u0041""#, r#""\\ud83d""#, r#""\\\\udc00\n""#, r#""ud83d""#];
        for json in whole {
            assert!(!has_half_pair(json), "{json}");
        }
        for json in
            [r#""\ud83d""#, r#""\ude00""#, r#""\ud83d\n""#, r#""\ud83d\u0041""#, r#""\ude00\ud83d""#, r#""\\\udfff""#]
        {
            assert!(has_half_pair(json), "{json}");
        }
    }
}
