//! Apps, as the Machines API takes and gives them.

use serde::{Deserialize, Serialize};

use crate::lenient::null_as_default;

/// An app to create; its name is unique in all of Fly.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewApp {
    /// Lower-case letters, digits and dashes.
    pub name: String,
    /// The organisation that owns it, such as `personal`.
    pub org_slug: String,
    /// A private network of its own; the organisation's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

/// The most letters of an app's name: it is a label in the domain name system.
const NAME_LETTERS: usize = 63;

/// Why no app can have that name.
pub fn check_app_name(name: &str) -> Result<(), String> {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_name = (1..=NAME_LETTERS).contains(&name.len())
        && name.bytes().all(is_letter)
        && !name.starts_with('-')
        && !name.ends_with('-');
    match is_name {
        true => Ok(()),
        false => Err(format!(
            "must be 1 to {NAME_LETTERS} lower-case letters, digits and dashes, with no dash at its ends, such as bifrost-runner"
        )),
    }
}

/// An app, as the API shows it. Fields that an answer leaves out are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    /// Fly's id of it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub id: String,
    /// Its name.
    pub name: String,
    /// Such as `deployed` or `pending`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub status: String,
    /// Who owns it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub organization: Organization,
    /// The private network it is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// Machines it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine_count: Option<u64>,
    /// Volumes it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub volume_count: Option<u64>,
}

/// An organisation at Fly.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Organization {
    /// For people.
    #[serde(default, deserialize_with = "null_as_default")]
    pub name: String,
    /// For programs.
    #[serde(default, deserialize_with = "null_as_default")]
    pub slug: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_label_of_small_letters() {
        for name in ["bifrost-runner", "a", "7", &"a".repeat(63)] {
            assert_eq!(check_app_name(name), Ok(()), "{name}");
        }
        for name in ["", "a b", "Bifrost", "a_b", "-a", "a-", "a/b", "ż", &"a".repeat(64)] {
            assert!(check_app_name(name).is_err(), "{name}");
        }
    }
}
