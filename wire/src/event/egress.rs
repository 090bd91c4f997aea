//! What the egress proxy was asked for, and what became of it.

use serde::{Deserialize, Serialize};

use crate::task::text_enum;

text_enum! {
    /// What became of a request to the egress proxy.
    EgressVerdict, "egress verdict" {
        /// A rule allows it, and the host was reached.
        Allowed = "allowed",
        /// No rule names the host and the port for this task.
        NotListed = "not_listed",
        /// Its name leads to a private address, which its rule does not allow, or to one that none can.
        PrivateAddress = "private_address",
        /// Its name leads nowhere.
        Unresolved = "unresolved",
        /// It did not answer.
        Unreachable = "unreachable",
    }
}

/// A request to the egress proxy: once it has ended, and before where it goes on for long. It says nothing of paths
/// or contents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EgressPayload {
    /// `CONNECT` for whatever is encrypted.
    pub method: String,
    /// The host that was asked for.
    pub host: String,
    /// The port that was asked for.
    pub port: u16,
    /// What became of it.
    pub verdict: EgressVerdict,
    /// The group of rules that allowed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Bytes that went to the host.
    pub bytes_sent: u64,
    /// Bytes that came from it.
    pub bytes_received: u64,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// It goes on: the numbers are those so far, and it is told of once more when it has ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_open: bool,
    /// Requests of the task before this one that were too many to be told of.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub omitted: u64,
}
