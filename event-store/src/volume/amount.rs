//! An amount of room, as an operator writes it: bytes, or a part of the volume.

use std::fmt;
use std::str::FromStr;

/// How much room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many bytes.
    Bytes(u64),
    /// So much of the whole volume, from 0 to 100.
    Percent(u8),
}

/// The text is not an [`Amount`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a number of bytes such as 134217728, 128M or 2G, or a part such as 10%")]
pub struct NotAnAmount;

impl Amount {
    /// In bytes, of a volume of this size.
    pub(super) fn of(self, volume_bytes: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => volume_bytes / 100 * u64::from(percent),
        }
    }
}

impl FromStr for Amount {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Self, NotAnAmount> {
        if let Some(number) = text.strip_suffix('%') {
            let percent = number.parse().ok().filter(|percent| *percent <= 100);
            return percent.map(Self::Percent).ok_or(NotAnAmount);
        }
        let (number, shift) = match text.as_bytes().last() {
            Some(b'K') => (&text[..text.len() - 1], 10),
            Some(b'M') => (&text[..text.len() - 1], 20),
            Some(b'G') => (&text[..text.len() - 1], 30),
            _ => (text, 0),
        };
        let number: u64 = number.parse().map_err(|_| NotAnAmount)?;
        number.checked_mul(1 << shift).map(Self::Bytes).ok_or(NotAnAmount)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes} bytes"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_parts_are_read_as_people_write_them() {
        let good = [
            ("0", Amount::Bytes(0)),
            ("134217728", Amount::Bytes(134_217_728)),
            ("3K", Amount::Bytes(3_072)),
            ("128M", Amount::Bytes(134_217_728)),
            ("2G", Amount::Bytes(2_147_483_648)),
            ("10%", Amount::Percent(10)),
            ("100%", Amount::Percent(100)),
        ];
        for (text, expect) in good {
            assert_eq!(text.parse(), Ok(expect), "{text}");
        }
        for text in ["", "%", "K", "-1", "1.5G", "128MB", "101%", "99999999999G", "ten"] {
            assert_eq!(text.parse::<Amount>(), Err(NotAnAmount), "{text}");
        }
    }

    #[test]
    fn a_part_is_one_of_the_whole_volume() {
        assert_eq!(Amount::Percent(10).of(1_000_000), 100_000);
        assert_eq!(Amount::Bytes(7).of(1_000_000), 7);
    }
}
