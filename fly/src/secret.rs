//! An app's secrets, as the Machines API shows them: never their values.

use serde::{Deserialize, Serialize};

/// A secret of an app. A machine sees it from its next start on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// The variable that holds it.
    pub name: String,
    /// Tells one value from another.
    #[serde(default)]
    pub digest: String,
}
