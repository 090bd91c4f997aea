//! Ids that look like Fly's.

use chrono::{DateTime, Utc};
use kit::Chance;

/// Crockford's base 32, as in ULIDs.
const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// 14 hexadecimal digits.
pub(crate) fn machine(chance: &Chance) -> String {
    chance.hex::<7>()
}

/// `vol_` and 16 digits.
pub(crate) fn volume(chance: &Chance) -> String {
    let random = u128::from_be_bytes(chance.bytes());
    format!("vol_{}", base32(random, 16).to_ascii_lowercase())
}

/// `vs_` and 16 digits.
pub(crate) fn snapshot(chance: &Chance) -> String {
    let random = u128::from_be_bytes(chance.bytes());
    format!("vs_{}", base32(random, 16).to_ascii_lowercase())
}

/// A ULID: 26 digits that sort by time. Machine versions and events have such.
pub(crate) fn ulid(now: DateTime<Utc>, chance: &Chance) -> String {
    let millis = u128::try_from(now.timestamp_millis()).unwrap_or(0);
    let random = u128::from_be_bytes(chance.bytes()) >> 48;
    base32(millis << 80 | random, 26)
}

fn base32(number: u128, digits: u32) -> String {
    (0..digits).rev().map(|place| char::from(DIGITS[(number >> (5 * place)) as usize & 31])).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn ids_look_like_flys() {
        let chance = Chance::seeded(1);
        let id = machine(&chance);
        assert!(id.len() == 14 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        let id = volume(&chance);
        assert!(id.len() == 20 && id.starts_with("vol_"), "{id}");
        assert_eq!(ulid(DateTime::UNIX_EPOCH, &chance).len(), 26);
    }

    #[test]
    fn ulids_sort_by_time() {
        let chance = Chance::seeded(1);
        let later = DateTime::UNIX_EPOCH + Duration::from_millis(1);
        assert!(ulid(DateTime::UNIX_EPOCH, &chance) < ulid(later, &chance));
    }
}
