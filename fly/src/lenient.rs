//! What Fly writes in more ways than one, or not at all, read in all of them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};

/// Fly writes `null` where nothing was given: for an empty list as well.
pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// One time that cannot be read must not make a whole list unreadable.
pub(crate) fn time_if_readable<'de, D>(deserializer: D) -> Result<Option<DateTime<Utc>>, D::Error>
where
    D: Deserializer<'de>,
{
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

/// A duration comes as text, or as a number of nanoseconds.
pub(crate) fn go_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        Nanos(u64),
    }
    Ok(Option::<Either>::deserialize(deserializer)?.map(|either| match either {
        Either::Text(text) => text,
        Either::Nanos(nanos) => format!("{}ms", nanos / 1_000_000),
    }))
}
