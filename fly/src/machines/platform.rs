//! Regions, and where there is room.

use reqwest::Method;
use serde::Deserialize;

use super::Machines;
use crate::call::Repeat;
use crate::error::{Action, Error};
use crate::lenient::null_as_default;
use crate::{Placement, PlacementQuery, Regions};

impl Machines {
    /// Asks where machines would find room now. A promise it is not.
    pub async fn placements(&self, query: &PlacementQuery) -> Result<Vec<Placement>, Error> {
        let path = ["platform", "placements"];
        let call = self.api.call(Action::FindPlacements, &query.org_slug, Method::POST, &path);
        let call = call.with(|request| request.json(query)).repeat(Repeat::Safe);
        call.json().await.map(|Found { regions }| regions)
    }

    /// Reads the regions that there are.
    pub async fn regions(&self) -> Result<Regions, Error> {
        self.api.call(Action::ListRegions, "", Method::GET, &["platform", "regions"]).json().await
    }
}

#[derive(Deserialize)]
struct Found {
    #[serde(default, deserialize_with = "null_as_default")]
    regions: Vec<Placement>,
}
