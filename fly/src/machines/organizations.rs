//! Whole organisations, page after page.

use chrono::{DateTime, SecondsFormat, Utc};
use reqwest::Method;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Machines;
use crate::error::{Action, Error};
use crate::lenient::null_as_default;
use crate::{OrgMachine, OrgMachines, OrgVolume};

/// As many as Fly gives at once.
const PAGE: usize = 1_000;
/// More of them is an answer that goes round in circles.
const PAGES: usize = 100;

impl Machines {
    /// Reads the machines of all apps of an organisation, or those that changed since. What is seen is a
    /// moment old: whoever acts on it reads the machine itself first.
    pub async fn org_machines(&self, org: &str, updated_after: Option<DateTime<Utc>>) -> Result<OrgMachines, Error> {
        let mut found = OrgMachines::default();
        let pages = self.pages(Action::ListOrgMachines, org, "machines", updated_after, |page: MachinesPage| {
            found.machines.extend(page.machines);
            found.silent_regions.extend(page.error_regions.unwrap_or_default());
            page.next_cursor
        });
        pages.await?;
        found.silent_regions.sort();
        found.silent_regions.dedup();
        Ok(found)
    }

    /// Reads the volumes of all apps of an organisation, or those that changed since; a moment old as well.
    pub async fn org_volumes(&self, org: &str, updated_after: Option<DateTime<Utc>>) -> Result<Vec<OrgVolume>, Error> {
        let mut found = Vec::new();
        let pages = self.pages(Action::ListOrgVolumes, org, "volumes", updated_after, |page: VolumesPage| {
            found.extend(page.volumes);
            page.next_cursor
        });
        pages.await?;
        Ok(found)
    }

    /// Reads one page after the other; `take` keeps what is on it and says where the next begins.
    async fn pages<P: DeserializeOwned>(
        &self,
        action: Action,
        org: &str,
        what: &str,
        updated_after: Option<DateTime<Utc>>,
        mut take: impl FnMut(P) -> Option<String>,
    ) -> Result<(), Error> {
        let updated_after = updated_after.map(|at| at.to_rfc3339_opts(SecondsFormat::Micros, true));
        let mut cursor = None;
        for _ in 0..PAGES {
            let query = Query { limit: PAGE, updated_after: updated_after.as_deref(), cursor: cursor.as_deref() };
            let call = self.api.call(action, org, Method::GET, &["orgs", org, what]);
            let page = call.with(|request| request.query(&query)).json().await?;
            cursor = take(page).filter(|cursor| !cursor.is_empty());
            if cursor.is_none() {
                return Ok(());
            }
        }
        Err(Error::Unexpected { action, detail: format!("no end after {PAGES} pages") })
    }
}

#[derive(Serialize)]
struct Query<'a> {
    limit: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_after: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a str>,
}

#[derive(Deserialize)]
struct MachinesPage {
    #[serde(default, deserialize_with = "null_as_default")]
    machines: Vec<OrgMachine>,
    error_regions: Option<Vec<String>>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct VolumesPage {
    #[serde(default, deserialize_with = "null_as_default")]
    volumes: Vec<OrgVolume>,
    next_cursor: Option<String>,
}
