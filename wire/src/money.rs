//! Money: decimal strings of dollars on the wire, whole millionths of a dollar
//! inside. Nothing is ever a float.

/// Millionths of a dollar as a decimal string with six places.
///
/// ```
/// assert_eq!(wire::money::dollars(12_500_000), "12.500000");
/// ```
pub fn dollars(micros: i64) -> String {
    let (sign, micros) = (if micros < 0 { "-" } else { "" }, micros.unsigned_abs());
    format!("{sign}{}.{:06}", micros / 1_000_000, micros % 1_000_000)
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

#[cfg(test)]
mod tests {
    use super::*;

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
