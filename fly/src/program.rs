//! A program at an address, pinned by its digest: `https://HOST/PATH@sha256:DIGEST`,
//! as an image is.

use std::fmt;
use std::str::FromStr;

use reqwest::Url;

/// Where a program is, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Where. Whoever looks at a sprite sees it.
    pub url: String,
    /// The SHA-256 of its bytes, in small hexadecimal digits.
    pub sha256: String,
}

/// The text names no pinned program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadProgram {
    /// It is not pinned.
    #[error("must be pinned by its digest: write https://HOST/PATH@sha256:DIGEST, with the 64 digits of sha256sum")]
    Unpinned,
    /// There is no such address.
    #[error("must begin with an http or https address without a name and a password, which all could read")]
    Address,
}

/// Whether this is a SHA-256 as images and programs are pinned by: 64 small hexadecimal digits.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

impl Program {
    /// The host that it comes from.
    pub fn host(&self) -> Option<String> {
        Some(Url::parse(&self.url).ok()?.host_str()?.to_owned())
    }
}

impl FromStr for Program {
    type Err = BadProgram;

    fn from_str(text: &str) -> Result<Self, BadProgram> {
        let (address, sha256) = text.rsplit_once("@sha256:").ok_or(BadProgram::Unpinned)?;
        if !is_sha256(sha256) {
            return Err(BadProgram::Unpinned);
        }
        let url = Url::parse(address).map_err(|_| BadProgram::Address)?;
        let is_bare = url.username().is_empty() && url.password().is_none();
        if !matches!(url.scheme(), "http" | "https") || !is_bare || url.host_str().is_none() {
            return Err(BadProgram::Address);
        }
        Ok(Self { url: url.to_string(), sha256: sha256.to_owned() })
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@sha256:{}", self.url, self.sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_an_address_and_a_digest() {
        let digest = "0123456789abcdef".repeat(4);
        let text = format!("https://example.org/a@b/runner@sha256:{digest}");
        let program: Program = text.parse().expect("is one");
        assert_eq!((program.to_string(), program.host().as_deref()), (text, Some("example.org")));
        for (text, expect) in [
            ("https://example.org/runner".to_owned(), BadProgram::Unpinned),
            ("https://example.org/runner@sha256:12".to_owned(), BadProgram::Unpinned),
            (format!("https://example.org/runner@sha256:{}", digest.to_uppercase()), BadProgram::Unpinned),
            (format!("example.org/runner@sha256:{digest}"), BadProgram::Address),
            (format!("ftp://example.org/runner@sha256:{digest}"), BadProgram::Address),
            (format!("https://me:secret@example.org/runner@sha256:{digest}"), BadProgram::Address),
        ] {
            assert_eq!(text.parse::<Program>(), Err(expect), "{text}");
        }
    }
}
