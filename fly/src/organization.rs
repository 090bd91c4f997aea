//! Machines and volumes of a whole organisation: a picture of a moment ago, for
//! finding what nobody owns.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::lenient::{null_as_default, time_if_readable};
use crate::machine::MachineState;
use crate::volume::Volume;

/// An organisation's machines, as far as their regions answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OrgMachines {
    /// The machines of all apps.
    pub machines: Vec<OrgMachine>,
    /// Regions that did not answer: of what is missing there, nothing follows.
    pub silent_regions: Vec<String>,
}

/// A machine in an organisation's list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OrgMachine {
    /// Its id.
    pub id: String,
    /// Its app.
    #[serde(default, deserialize_with = "null_as_default")]
    pub app_name: String,
    /// Its name.
    #[serde(default, deserialize_with = "null_as_default")]
    pub name: String,
    /// Where it stood.
    pub state: MachineState,
    /// Where it is.
    #[serde(default, deserialize_with = "null_as_default")]
    pub region: String,
    /// Its version.
    #[serde(default, deserialize_with = "null_as_default")]
    pub instance_id: String,
    /// When it was made.
    #[serde(default, deserialize_with = "time_if_readable", skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    /// When it last changed.
    #[serde(default, deserialize_with = "time_if_readable", skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<DateTime<Utc>>,
}

/// A volume in an organisation's list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrgVolume {
    /// Its app.
    #[serde(default, deserialize_with = "null_as_default")]
    pub app_name: String,
    /// The volume.
    #[serde(flatten)]
    pub volume: Volume,
}
