//! Pure: an app's secret keys, which sign or seal and never go out. What is signed is
//! as it is anywhere; what is sealed is so in a way of its own, to be opened here.

use chacha20poly1305::aead::{Aead, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;

use crate::refusal::Refusal;

/// Before the ciphertext.
pub(crate) const NONCE_BYTES: usize = 24;
/// What crypto_auth of NaCl keeps of its HMAC.
const NACL_AUTH_BYTES: usize = 32;
/// What Fly's own client puts before a type.
const PREFIX: &str = "secret_type_kms_";

/// A key of an app. It does not print itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SecretKey {
    /// As it was named.
    pub(crate) kind: String,
    bytes: Vec<u8>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// What keys are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Hs256,
    Hs384,
    Hs512,
    NaclAuth,
    Sealing,
}

impl Kind {
    fn parse(name: &str) -> Result<Self, Refusal> {
        let lower = name.to_ascii_lowercase();
        match lower.strip_prefix(PREFIX).unwrap_or(&lower) {
            "hs256" => Ok(Self::Hs256),
            "hs384" => Ok(Self::Hs384),
            "hs512" => Ok(Self::Hs512),
            "nacl_auth" => Ok(Self::NaclAuth),
            "nacl_secretbox" | "xaes256gcm" => Ok(Self::Sealing),
            _ => Err(Refusal::invalid_argument(format!(
                "type: {name:?} is none of hs256, hs384, hs512, nacl_auth, nacl_secretbox, xaes256gcm"
            ))),
        }
    }

    const fn key_bytes(self) -> usize {
        match self {
            Self::Hs256 | Self::NaclAuth | Self::Sealing => 32,
            Self::Hs384 => 48,
            Self::Hs512 => 64,
        }
    }
}

/// How many bytes a key of that type has.
pub(crate) fn key_bytes(kind: &str) -> Result<usize, Refusal> {
    Ok(Kind::parse(kind)?.key_bytes())
}

impl SecretKey {
    pub(crate) fn new(kind: String, bytes: Vec<u8>, now: DateTime<Utc>) -> Result<Self, Refusal> {
        let wanted = key_bytes(&kind)?;
        if bytes.len() != wanted {
            return Err(Refusal::invalid_argument(format!("value: a key of type {kind} has {wanted} bytes")));
        }
        Ok(Self { kind, bytes, created_at: now, updated_at: now })
    }

    pub(crate) fn sign(&self, text: &[u8]) -> Result<Vec<u8>, Refusal> {
        match Kind::parse(&self.kind)? {
            Kind::Hs256 => Ok(mac::<Hmac<Sha256>>(&self.bytes, text)),
            Kind::Hs384 => Ok(mac::<Hmac<Sha384>>(&self.bytes, text)),
            Kind::Hs512 => Ok(mac::<Hmac<Sha512>>(&self.bytes, text)),
            Kind::NaclAuth => {
                let mut signature = mac::<Hmac<Sha512>>(&self.bytes, text);
                signature.truncate(NACL_AUTH_BYTES);
                Ok(signature)
            }
            Kind::Sealing => Err(self.is_not_for("signing")),
        }
    }

    pub(crate) fn verify(&self, text: &[u8], signature: &[u8]) -> Result<(), Refusal> {
        match self.sign(text)?.ct_eq(signature).into() {
            true => Ok(()),
            false => Err(Refusal::invalid_argument("signature: it is not that of the plaintext")),
        }
    }

    /// The nonce, and then what is sealed.
    pub(crate) fn encrypt(&self, text: &[u8], associated: &[u8], nonce: [u8; NONCE_BYTES]) -> Result<Vec<u8>, Refusal> {
        let payload = Payload { msg: text, aad: associated };
        let sealed = self.cipher()?.encrypt(&XNonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| Refusal::invalid_argument("plaintext: it is too long"))?;
        Ok([&nonce[..], &sealed].concat())
    }

    pub(crate) fn decrypt(&self, sealed: &[u8], associated: &[u8]) -> Result<Vec<u8>, Refusal> {
        let cipher = self.cipher()?;
        let wrong =
            || Refusal::invalid_argument("ciphertext: it was not sealed with this key and this associated data");
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or_else(wrong)?;
        let payload = Payload { msg: sealed, aad: associated };
        cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| wrong())
    }

    fn cipher(&self) -> Result<XChaCha20Poly1305, Refusal> {
        match Kind::parse(&self.kind)? {
            Kind::Sealing => XChaCha20Poly1305::new_from_slice(&self.bytes)
                .map_err(|_| Refusal::bug("a secret key has the wrong length".to_owned())),
            _ => Err(self.is_not_for("encrypting")),
        }
    }

    fn is_not_for(&self, what: &str) -> Refusal {
        Refusal::invalid_argument(format!("type: a key of type {} is not for {what}", self.kind))
    }
}

fn mac<M: Mac + hmac::KeyInit>(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = <M as hmac::KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kind: &str, byte: u8) -> SecretKey {
        let bytes = vec![byte; key_bytes(kind).expect("a type")];
        SecretKey::new(kind.to_owned(), bytes, DateTime::UNIX_EPOCH).expect("a key")
    }

    #[test]
    fn a_signature_is_that_of_the_standard() {
        // As openssl counts it.
        let signature = key("SECRET_TYPE_KMS_HS256", 0x0b).sign(b"Hi There").expect("signs");
        let shown: String = signature.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(shown, "198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7");
        for (kind, length) in [("hs384", 48), ("hs512", 64), ("nacl_auth", 32)] {
            let key = key(kind, 7);
            let signature = key.sign(b"text").expect("signs");
            assert_eq!(signature.len(), length, "{kind}");
            key.verify(b"text", &signature).expect("is its own");
            assert!(key.verify(b"texT", &signature).is_err() && key.verify(b"text", &signature[1..]).is_err());
            assert_eq!(key.encrypt(b"text", b"", [0; NONCE_BYTES]).expect_err("refused").status, 400);
        }
    }

    #[test]
    fn what_is_sealed_opens_with_its_key_and_its_associated_data_alone() {
        let sealing = key("nacl_secretbox", 7);
        let sealed = sealing.encrypt(b"text", b"data", [9; NONCE_BYTES]).expect("seals");
        assert!(!sealed.windows(4).any(|window| window == b"text"));
        assert_eq!(sealing.decrypt(&sealed, b"data").expect("opens"), b"text");
        assert!(sealing.decrypt(&sealed, b"other").is_err() && sealing.decrypt(&sealed[..9], b"data").is_err());
        assert!(key("xaes256gcm", 8).decrypt(&sealed, b"data").is_err());
        assert_eq!(sealing.sign(b"text").expect_err("refused").status, 400);
    }

    #[test]
    fn a_type_that_is_unknown_and_a_key_of_another_length_are_refused() {
        assert!(key_bytes("nacl_box").is_err());
        assert!(SecretKey::new("hs384".to_owned(), vec![1; 32], DateTime::UNIX_EPOCH).is_err());
    }
}
