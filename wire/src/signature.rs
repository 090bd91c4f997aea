//! Signatures of the Standard Webhooks scheme
//! (<https://github.com/standard-webhooks/standard-webhooks>): HMAC-SHA256 over
//! `id.timestamp.content`, so that any of its published libraries works on
//! either end. Writes sign the body; reads sign the request target.
//!
//! Keys of single machines are derived from the master secret with HKDF, so that
//! the store needs no list of them and one stolen key says nothing of another.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::limit::SIGNATURE_TOLERANCE_SECONDS;

/// Names one message; a second one with the same name is a replay.
pub const HEADER_ID: &str = "webhook-id";
/// Seconds since 1970, by the signer's clock.
pub const HEADER_TIMESTAMP: &str = "webhook-timestamp";
/// `v1,<base64>`, several separated by blanks.
pub const HEADER_SIGNATURE: &str = "webhook-signature";
/// Names the key; absent where the master secret itself signs.
pub const HEADER_KEY_ID: &str = "bifrost-key-id";

/// The shortest secret that is accepted, in bytes.
pub const SECRET_BYTES_MIN: usize = 32;

/// A secret that signs. Neither `Debug` nor an error ever shows it, and comparing it takes as long
/// wherever two differ.
#[derive(Clone, Eq)]
pub struct Key(Vec<u8>);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[secret]")
    }
}

/// Why a text is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// The text is not base64.
    #[error("the secret is not base64 (with or without the prefix whsec_)")]
    NotBase64,
    /// The secret is shorter than [`SECRET_BYTES_MIN`].
    #[error("the secret has fewer than 32 bytes; make one with: openssl rand -base64 32")]
    TooShort,
}

impl Key {
    /// Reads base64, with or without `whsec_`.
    pub fn parse(text: &str) -> Result<Self, BadKey> {
        let text = text.trim();
        let bytes = STANDARD.decode(text.strip_prefix("whsec_").unwrap_or(text)).map_err(|_| BadKey::NotBase64)?;
        if bytes.len() < SECRET_BYTES_MIN { Err(BadKey::TooShort) } else { Ok(Self(bytes)) }
    }

    /// A key of the given chance.
    pub fn from_bytes(bytes: [u8; SECRET_BYTES_MIN]) -> Self {
        Self(bytes.to_vec())
    }

    /// The form that [`Key::parse`] reads. Only for handing the key to its owner.
    pub fn reveal(&self) -> String {
        format!("whsec_{}", STANDARD.encode(&self.0))
    }

    /// The key for one purpose, such as `events/machine/<id>`; it does not give this one away.
    pub fn derive(&self, purpose: &str) -> Self {
        let mut out = vec![0; SECRET_BYTES_MIN];
        hkdf::Hkdf::<Sha256>::new(None, &self.0)
            .expand_multi_info(&[b"bifrost/v1/", purpose.as_bytes()], &mut out)
            .expect("32 bytes is a valid HKDF length");
        Self(out)
    }

    /// The signature of one message, in the form of the header.
    pub fn sign(&self, id: &str, timestamp: i64, content: &[u8]) -> String {
        format!("v1,{}", STANDARD.encode(self.mac(id, timestamp, content)))
    }

    /// HMAC-SHA256 of the content alone, in hexadecimal digits: for receivers that know nothing finer.
    pub fn plain_signature(&self, content: &[u8]) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(content);
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether that is the signature, in constant time.
    pub fn has_signed_plainly(&self, content: &[u8], signature: &str) -> bool {
        self.plain_signature(content).as_bytes().ct_eq(signature.to_ascii_lowercase().as_bytes()).into()
    }

    /// The key's bytes, for encrypting with it or encrypting it; they go nowhere else.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// A token that only the holder of this key can make, such as a bearer for one machine.
    pub fn token(&self, subject: &str) -> String {
        use base64::engine::general_purpose::URL_SAFE_NO_PAD;
        URL_SAFE_NO_PAD.encode(self.mac("token", 0, subject.as_bytes()))
    }

    /// Whether `token` is this key's for the subject, in constant time.
    pub fn owns_token(&self, subject: &str, token: &str) -> bool {
        self.token(subject).as_bytes().ct_eq(token.as_bytes()).into()
    }

    /// Whether one of the header's signatures is this key's and the time is near `now`.
    pub fn verify(&self, signed: &Signed<'_>, content: &[u8], now: DateTime<Utc>) -> Result<(), Refusal> {
        let timestamp: i64 = signed.timestamp.parse().map_err(|_| Refusal::Malformed)?;
        if !self.has_signed(signed.id, timestamp, content, signed.signature) {
            return Err(Refusal::WrongSignature);
        }
        // After the signature: only who holds the key learns anything about our clock.
        if timestamp.abs_diff(now.timestamp()) > SIGNATURE_TOLERANCE_SECONDS.unsigned_abs() {
            return Err(Refusal::ClockSkew);
        }
        Ok(())
    }

    /// Whether one of the signatures, separated by blanks, is this key's, in constant time; at whatever time.
    pub fn has_signed(&self, id: &str, timestamp: i64, content: &[u8], signatures: &str) -> bool {
        let expected = self.mac(id, timestamp, content);
        let mut matches = false;
        for candidate in signatures.split(' ') {
            let Some(text) = candidate.strip_prefix("v1,") else { continue };
            let Ok(bytes) = STANDARD.decode(text) else { continue };
            matches |= bool::from(expected.as_slice().ct_eq(&bytes));
        }
        matches
    }

    fn mac(&self, id: &str, timestamp: i64, content: &[u8]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        mac.update(id.as_bytes());
        mac.update(b".");
        mac.update(timestamp.to_string().as_bytes());
        mac.update(b".");
        mac.update(content);
        mac.finalize().into_bytes().into()
    }
}

/// The three headers of a signed message.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// [`HEADER_ID`].
    pub id: &'a str,
    /// [`HEADER_TIMESTAMP`].
    pub timestamp: &'a str,
    /// [`HEADER_SIGNATURE`].
    pub signature: &'a str,
}

/// Why a signed message is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A header cannot be read.
    #[error("a signature header cannot be read")]
    Malformed,
    /// None of the signatures is right.
    #[error("the signature is wrong")]
    WrongSignature,
    /// The signature is right, but more than five minutes away.
    #[error("the timestamp is more than 5 minutes from the server's clock")]
    ClockSkew,
}

/// The purpose from which a machine's event key is derived, and the id that names the key.
pub fn machine_key_id(machine: crate::id::MachineId) -> String {
    format!("machine/{machine}")
}

#[cfg(test)]
mod tests;
