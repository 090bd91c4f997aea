//! An app's secrets, as the Machines API shows them: never their values.

use serde::{Deserialize, Serialize};

use crate::lenient::null_as_default;

/// A secret of an app. A machine sees it from its next start on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The variable that holds it.
    pub name: String,
    /// Tells one value from another.
    #[serde(default, deserialize_with = "null_as_default")]
    pub digest: String,
}
