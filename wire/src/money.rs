//! Money: decimal strings of dollars on the wire, whole millionths of a dollar
//! inside. Nothing is ever a float, but that a JSON number is taken for the
//! string where dollars are sent, rounded to millionths.

use std::fmt;

use serde::de::{self, Deserializer, Visitor};

/// Millionths of a dollar as a decimal string with six places.
///
/// ```
/// assert_eq!(wire::money::dollars(12_500_000), "12.500000");
/// ```
pub fn dollars(micros: i64) -> String {
    let (sign, micros) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
    format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

/// The same for people: with cents, and finer only where there is more.
///
/// ```
/// assert_eq!(wire::money::shown(10_000), "$0.01");
/// ```
pub fn shown(micros: i64) -> String {
    let exact = dollars(micros);
    let (cents, finer) = exact.split_at(exact.len() - 4);
    format!("${cents}{}", finer.trim_end_matches('0'))
}

/// A decimal string of dollars as millionths; nothing where it is none, negative or finer than that.
pub fn micros(dollars: &str) -> Option<i64> {
    let (whole, part) = dollars.split_once('.').unwrap_or((dollars, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 6 {
        return None;
    }
    whole.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(format!("{part:0<6}").parse().ok()?)
}

/// Reads dollars that are sent: a decimal string, or a number.
pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(Dollars)
}

/// As [`read`], where there may be none.
pub(crate) fn read_optional<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    deserializer.deserialize_option(Perhaps)
}

struct Dollars;

impl Visitor<'_> for Dollars {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dollars as a decimal string such as \"0.125\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<String, E> {
        Ok(format!("{number:.6}"))
    }
}

struct Perhaps;

impl<'de> Visitor<'de> for Perhaps {
    type Value = Option<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Dollars.expecting(f)
    }

    fn visit_none<E: de::Error>(self) -> Result<Option<String>, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<String>, D::Error> {
        read(deserializer).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_taken_for_the_string_and_rounded_to_millionths() {
        #[derive(serde::Deserialize)]
        struct Sent {
            #[serde(default, deserialize_with = "read_optional")]
            cost: Option<String>,
        }
        for (text, cost) in [
            (r#"{ "cost": "1.25" }"#, Some(1_250_000)),
            (r#"{ "cost": 1.25 }"#, Some(1_250_000)),
            (r#"{ "cost": 0.30000000000000004 }"#, Some(300_000)),
            (r#"{ "cost": 7 }"#, Some(7_000_000)),
            (r#"{ "cost": null }"#, None),
            ("{}", None),
            (r#"{ "cost": -1 }"#, None),
            (r#"{ "cost": -0.5 }"#, None),
            (r#"{ "cost": 1e300 }"#, None),
        ] {
            let sent: Sent = serde_json::from_str(text).expect(text);
            assert_eq!(sent.cost.as_deref().and_then(micros), cost, "{text}");
        }
        assert!(serde_json::from_str::<Sent>(r#"{ "cost": [] }"#).is_err());
    }

    #[test]
    fn people_see_cents_and_what_is_finer_only_where_there_is_something() {
        for (micros, text) in
            [(0, "$0.00"), (10_000, "$0.01"), (12_500_000, "$12.50"), (5_000, "$0.005"), (1, "$0.000001")]
        {
            assert_eq!(shown(micros), text);
        }
    }

    #[test]
    fn money_is_exact() {
        for (text, number) in [("0", 0), ("0.000001", 1), ("12.5", 12_500_000), ("3.125000", 3_125_000)] {
            assert_eq!(micros(text), Some(number), "{text}");
            assert_eq!(micros(&dollars(number)), Some(number));
        }
        for wrong in ["", "-1", "1.", ".5", "1.0000001", "1e3", "99999999999999999999", "$1"] {
            assert_eq!(micros(wrong), None, "{wrong}");
        }
    }
}
