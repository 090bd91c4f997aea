//! A token of the Machines API: it chooses its own header scheme and never prints itself.

use std::fmt;
use std::str::FromStr;

/// An API token, as `fly tokens create …` prints it or without its leading scheme.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// The text cannot be a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a Fly token: give one line of printable ASCII, as `fly tokens create` prints it")]
pub struct BadToken;

impl Token {
    /// The value of the `Authorization` header. Macaroons go by their own scheme,
    /// anything else is an OAuth token or one of the emulator's.
    pub(crate) fn authorization(&self) -> String {
        let is_macaroon =
            self.0.split(',').any(|one| ["fm1r_", "fm1a_", "fm2_"].iter().any(|kind| one.trim().starts_with(kind)));
        let scheme = if is_macaroon { "FlyV1" } else { "Bearer" };
        format!("{scheme} {}", self.0)
    }
}

impl FromStr for Token {
    type Err = BadToken;

    /// Strips leading `FlyV1` and `Bearer`, in any case and however often.
    fn from_str(text: &str) -> Result<Self, BadToken> {
        let is_scheme = |word: &&str| ["flyv1", "bearer"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme));
        let mut words = text.split_whitespace().skip_while(is_scheme);
        match (words.next(), words.next()) {
            (Some(token), None) if token.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Self(token.to_owned())),
            _ => Err(BadToken),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_chooses_its_scheme_however_it_was_written() {
        for (text, header) in [
            ("plain", "Bearer plain"),
            ("  fo1_abc\n", "Bearer fo1_abc"),
            ("FlyV1 fm2_a,fm2_b", "FlyV1 fm2_a,fm2_b"),
            ("fm2_a", "FlyV1 fm2_a"),
            ("flyv1 FLYV1 fm1r_a", "FlyV1 fm1r_a"),
            ("Bearer FlyV1 fm1a_a", "FlyV1 fm1a_a"),
            ("oauth,fm2_a", "FlyV1 oauth,fm2_a"),
        ] {
            assert_eq!(text.parse::<Token>().expect("parses").authorization(), header);
        }
    }

    #[test]
    fn what_cannot_be_a_header_is_no_token() {
        for text in ["", "  ", "FlyV1 ", "two words", "line\nbreak", "naïve"] {
            assert_eq!(text.parse::<Token>(), Err(BadToken), "{text:?}");
        }
    }

    #[test]
    fn a_token_does_not_print_itself() {
        assert_eq!(format!("{:?}", "hunter2".parse::<Token>()), "Ok([secret])");
    }
}
