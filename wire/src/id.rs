//! Typed, time-ordered ids. One alphabetical, append-only list: a [`TaskId`]
//! does not fit where an [`ExecutionId`] is asked for. On the wire each is a
//! plain lower-case UUID (version 7).

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id_kinds {
    ($($kind:literal $name:ident;)*) => {$(
        #[doc = concat!("Names ", $kind, ".")]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub struct $name(Uuid);

        impl $name {
            /// A version 7 UUID made of the given time and the given chance.
            pub fn mint(now: DateTime<Utc>, random: [u8; 10]) -> Self {
                let millis = u64::try_from(now.timestamp_millis()).unwrap_or(0);
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }

            /// When it was minted, to the millisecond.
            pub fn minted_at(self) -> DateTime<Utc> {
                let bytes = self.0.as_bytes();
                let millis = bytes[..6].iter().fold(0_i64, |millis, byte| (millis << 8) | i64::from(*byte));
                DateTime::from_timestamp_millis(millis).unwrap_or(DateTime::UNIX_EPOCH)
            }

            /// The bare UUID, for a database column.
            pub fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl From<Uuid> for $name {
            fn from(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0.hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                // Uuid also reads braces, URNs and bare hexadecimal digits; the API promises one form.
                if text.len() != 36 {
                    return Err(NotAnId { kind: $kind });
                }
                Uuid::try_parse(text).map(Self).map_err(|_| NotAnId { kind: $kind })
            }
        }
    )*};
}

id_kinds! {
    "an API key" ApiKeyId;
    "an attachment" AttachmentId;
    "a budget" BudgetId;
    "a checkpoint" CheckpointId;
    "a delivery" DeliveryId;
    "a dependency" DependencyId;
    "an event" EventId;
    "an execution" ExecutionId;
    "a failure strategy" FailureStrategyId;
    "a hold" HoldId;
    "a machine" MachineId;
    "a metadata entry" MetadataId;
    "a principal" PrincipalId;
    "a runtime" RuntimeId;
    "a schedule" ScheduleId;
    "a task" TaskId;
    "a tenant" TenantId;
    "a trigger" TriggerId;
    "a volume" VolumeId;
    "a webhook" WebhookId;
    "a webhook message" WebhookMessageId;
    "a worker" WorkerId;
}

/// The text is not a plain UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of {kind}: expected a UUID such as 0197f0a4-5b1e-7c3a-9d55-3f2a8c1e4b70")]
pub struct NotAnId {
    kind: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(millis).expect("in range")
    }

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let early = TaskId::mint(at(1_000), [0xff; 10]);
        let late = TaskId::mint(at(1_001), [0; 10]);
        assert!(early < late);
        assert_eq!(late.uuid().get_version_num(), 7);
        assert_eq!((early.minted_at(), late.minted_at()), (at(1_000), at(1_001)));
    }

    #[test]
    fn only_the_plain_form_is_read() {
        let id = TaskId::mint(at(1_763_700_000_000), [7; 10]);
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "7", &id.uuid().simple().to_string(), &format!("{{{id}}}"), &format!("urn:uuid:{id}")] {
            assert!(wrong.parse::<TaskId>().is_err(), "{wrong}");
        }
    }
}
