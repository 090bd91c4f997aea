//! What signs a webhook's messages. Nothing of it is in the database in clear
//! (promise 7): a secret that we make is derived anew each time from the control
//! plane's own, the webhook's id and the number of its rotation; one that was
//! given is sealed under a key derived likewise.

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key as SealingKey, Nonce};
use kernel::{Error, Result};
use kit::Chance;
use wire::id::WebhookId;
use wire::signature::Key;

const NONCE_BYTES: usize = 12;
/// The longest secret that may be given.
const GIVEN_BYTES_MAX: usize = 64;

/// Makes, seals and opens secrets.
#[derive(Debug, Clone)]
pub(crate) struct Secrets(Key);

impl Secrets {
    /// From the control plane's own secret.
    pub(crate) fn new(master: &Key) -> Self {
        Self(master.derive("webhooks"))
    }

    /// The secret of a webhook's rotation: what was sealed, or the derived one.
    pub(crate) fn of(&self, id: WebhookId, rotation: i32, sealed: Option<&[u8]>) -> Result<Key> {
        let Some(sealed) = sealed else { return Ok(self.0.derive(&format!("{id}/{rotation}"))) };
        let opened = sealed.split_first_chunk::<NONCE_BYTES>().and_then(|(nonce, sealed)| {
            let context = context(id, rotation);
            self.cipher().decrypt(&Nonce::from(*nonce), Payload { msg: sealed, aad: context.as_bytes() }).ok()
        });
        let text = opened.and_then(|bytes| String::from_utf8(bytes).ok());
        let key = text.and_then(|text| Key::parse(&text).ok());
        key.ok_or_else(|| {
            Error::conflict(
                "secret_unreadable",
                "the webhook's secret was sealed under another BIFROST_SECRET; rotate it, or bring that one back",
            )
        })
    }

    /// Seals a given secret for the rotation it belongs to.
    pub(crate) fn seal(&self, chance: &Chance, id: WebhookId, rotation: i32, given: &Key) -> Result<Vec<u8>> {
        let nonce = chance.bytes::<NONCE_BYTES>();
        let (context, text) = (context(id, rotation), given.reveal());
        let payload = Payload { msg: text.as_bytes(), aad: context.as_bytes() };
        let sealed = self.cipher().encrypt(&Nonce::from(nonce), payload);
        let sealed = sealed.map_err(|_| Error::Internal(anyhow::anyhow!("sealing a secret failed")))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    fn cipher(&self) -> ChaCha20Poly1305 {
        let key = self.0.derive("seal");
        let key: [u8; 32] = key.expose().try_into().expect("derived keys have 32 bytes");
        ChaCha20Poly1305::new(&SealingKey::from(key))
    }
}

/// What a sealed secret is bound to: it opens nowhere else.
fn context(id: WebhookId, rotation: i32) -> String {
    format!("webhook/{id}/{rotation}")
}

/// Reads a secret that was given.
pub(crate) fn given(text: &str) -> Result<Key> {
    let key = Key::parse(text).map_err(|error| Error::invalid("secret", error.to_string()))?;
    if key.expose().len() > GIVEN_BYTES_MAX {
        return Err(Error::invalid("secret", format!("must have at most {GIVEN_BYTES_MAX} bytes")));
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn secrets(byte: u8) -> Secrets {
        Secrets::new(&Key::from_bytes([byte; 32]))
    }

    fn id(byte: u8) -> WebhookId {
        WebhookId::mint(DateTime::UNIX_EPOCH, [byte; 10])
    }

    #[test]
    fn a_derived_secret_is_the_same_again_and_another_elsewhere() {
        let of = |master, webhook, rotation| secrets(master).of(id(webhook), rotation, None).expect("derives");
        assert_eq!(of(1, 1, 0), of(1, 1, 0));
        for other in [of(2, 1, 0), of(1, 2, 0), of(1, 1, 1)] {
            assert_ne!(of(1, 1, 0), other);
        }
    }

    #[test]
    fn a_given_secret_opens_only_where_it_was_sealed() {
        let key = Key::from_bytes([7; 32]);
        let sealed = secrets(1).seal(&Chance::seeded(1), id(1), 0, &key).expect("seals");
        assert_eq!(secrets(1).of(id(1), 0, Some(&sealed)).expect("opens"), key);
        let again = secrets(1).seal(&Chance::seeded(2), id(1), 0, &key).expect("seals");
        assert_ne!(sealed, again, "the same text twice is not seen to be the same");
        let mut changed = sealed.clone();
        *changed.last_mut().expect("some bytes") ^= 1;
        for (secrets, id, rotation, sealed) in [
            (secrets(2), id(1), 0, sealed.as_slice()),
            (secrets(1), id(2), 0, &sealed),
            (secrets(1), id(1), 1, &sealed),
            (secrets(1), id(1), 0, &changed),
            (secrets(1), id(1), 0, b"short"),
        ] {
            assert_eq!(secrets.of(id, rotation, Some(sealed)).expect_err("does not open").code(), "secret_unreadable");
        }
        assert!(!sealed.windows(8).any(|window| key.reveal().as_bytes().windows(8).any(|part| part == window)));
    }

    #[test]
    fn a_given_secret_has_bounds() {
        // Three bytes each.
        let of = |times: usize| "AQEB".repeat(times);
        for good in [of(11), format!("whsec_{}", of(21))] {
            given(&good).expect("is a secret");
        }
        for bad in ["", "hunter2", &of(10), &of(22)] {
            assert!(given(bad).expect_err("is none").to_string().starts_with("secret: "), "{bad}");
        }
    }
}
