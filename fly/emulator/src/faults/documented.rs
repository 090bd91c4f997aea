//! Pure: the failures that are known of Fly, by name (platform notes §1.7 and §7).

use serde::Deserialize;

use crate::refusal::Refusal;

/// A failure that is known of Fly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Documented {
    VolumeCapacity,
    VolumeNotFound,
    InvalidMachineId,
    BadToken,
    RegionQuota,
    Forbidden,
    NotFound,
    AppCorrupted,
    LeaseLost,
    FlydTimeout,
    HostMemory,
    HostCpus,
    HostIps,
    RegionFull,
    ConcurrentUpdate,
    LeaseHeld,
    HostDrained,
    HostDisabled,
    VolumeHostFull,
    StillActive,
    StillCreated,
    BeingReplaced,
    StaleSecrets,
    StaleVersion,
    ImageUnknown,
    NoCandidateHost,
    MachineLimit,
    NameTaken,
    RateLimited,
    Internal,
    BadGateway,
    Unavailable,
}

impl Documented {
    /// The answer, as it has been seen.
    pub(crate) fn refusal(self) -> Refusal {
        let (status, error) = self.status_and_error();
        let word = match self {
            Self::VolumeHostFull => Some("volume_placement_capacity"),
            Self::NoCandidateHost => Some("insufficient_capacity"),
            Self::NameTaken => Some("name_taken"),
            _ => None,
        };
        Refusal { word: word.map(str::to_owned), ..Refusal::new(status, error) }
    }

    const fn status_and_error(self) -> (u16, &'static str) {
        match self {
            Self::VolumeCapacity => (400, "no capacity"),
            Self::VolumeNotFound => (400, "volume not found"),
            Self::InvalidMachineId => (400, "invalid machine ID, 'X'"),
            Self::BadToken => (401, "Authenticate: token validation error"),
            Self::RegionQuota => (
                403,
                "organization \"personal\" is using 102400 MB of memory in iad which is over the allowed quota. \
                 please consider other regions",
            ),
            Self::Forbidden => (403, "unauthorized"),
            Self::NotFound => (404, "machine not found"),
            // The app itself is still listed.
            Self::AppCorrupted => (404, "app not found"),
            Self::LeaseLost => (404, "lease not found"),
            Self::FlydTimeout => (408, "deadline_exceeded: the host took too long to answer"),
            Self::HostMemory => (
                409,
                "aborted: could not reserve resource for machine: insufficient memory available to fulfill request \
                 on the current host",
            ),
            Self::HostCpus => {
                (409, "aborted: could not reserve resource for machine: insufficient CPUs available to fulfill request")
            }
            Self::HostIps => (
                409,
                "aborted: could not reserve resource for machine: insufficient IPs available to fulfill request on \
                 the current host",
            ),
            Self::RegionFull => (409, "aborted: no capacity"),
            Self::ConcurrentUpdate => (409, "aborted: machine update failed due to concurrent update"),
            Self::LeaseHeld => (
                409,
                "machine ID 148ed599c14698 lease currently held by somebody@tokens.fly.io, \
                 expires at 2026-05-14T10:41:08Z",
            ),
            Self::HostDrained => (409, "governor policy blocked start"),
            Self::HostDisabled => (409, "deploys to this host are temporarily disabled"),
            Self::VolumeHostFull => {
                (412, "insufficient resources to create new machine with existing volume id 'vol_x'")
            }
            Self::StillActive => (412, "failed_precondition: machine still active, refusing to start"),
            Self::StillCreated => (412, "failed_precondition: unable to start machine from current state: 'created'"),
            Self::BeingReplaced => (412, "failed_precondition: machine getting replaced, refusing to start"),
            Self::StaleSecrets => (412, "failed_precondition: min_secrets_version is not there yet"),
            Self::StaleVersion => (412, "failed_precondition: machine_version does not match the machine's version"),
            // For a while after a push.
            Self::ImageUnknown => (422, "MANIFEST_UNKNOWN: manifest unknown"),
            Self::NoCandidateHost => (422, "could not find a candidate host"),
            Self::MachineLimit => {
                (422, "Your organization has reached its machine limit. Please contact billing@fly.io")
            }
            Self::NameTaken => (422, "Validation failed: Name has already been taken"),
            Self::RateLimited => (429, "rate limit exceeded"),
            Self::Internal => (500, "internal server error"),
            Self::BadGateway => (502, "bad gateway"),
            Self::Unavailable => (503, "service unavailable"),
        }
    }
}
