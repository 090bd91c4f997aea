//! An app's addresses, as the Machines API takes and gives them.

use serde::{Deserialize, Serialize};

use crate::lenient::null_as_default;

/// An address to give to an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAddress {
    /// Which kind.
    #[serde(rename = "type")]
    pub kind: AddressKind,
    /// For a private one: the network that it can be called from; the organisation's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// For a private one on somebody else's network: the organisation that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org_slug: Option<String>,
    /// Where; everywhere when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// Who can reach an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressKind {
    /// Machines of one private network, through Fly's proxy.
    PrivateV6,
    /// Everybody.
    V6,
    /// Everybody; it costs a monthly price.
    V4,
    /// Everybody, over an address that other apps have too.
    SharedV4,
}

/// An address that an app has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The address itself.
    pub ip: String,
    /// Where it is; empty for everywhere.
    #[serde(default, deserialize_with = "null_as_default")]
    pub region: String,
    /// Whether other apps have it too.
    #[serde(default, deserialize_with = "null_as_default")]
    pub shared: bool,
    /// The service that it belongs to, if it is one's own.
    #[serde(default, deserialize_with = "null_as_default")]
    pub service_name: String,
}
