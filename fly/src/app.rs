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
