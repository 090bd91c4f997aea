//! Apps: names for groups of machines and volumes.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Registry;
use crate::layout;
use crate::machine::{Order, blocking};
use crate::refusal::Refusal;

/// As long as a DNS label.
const NAME_CHARS: usize = 63;

/// An app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppRecord {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) org_slug: String,
    pub(crate) network: String,
    pub(crate) created_at: DateTime<Utc>,
}

impl Registry {
    pub(crate) async fn create_app(
        &self,
        name: String,
        org_slug: String,
        network: Option<String>,
    ) -> Result<AppRecord, Refusal> {
        if !is_name(&name) {
            let rule = "Validation failed: Name may only contain lowercase letters, numbers and dashes";
            return Err(Refusal::unprocessable(rule));
        }
        let app = AppRecord {
            id: self.chance.hex::<8>(),
            name,
            org_slug,
            network: network.unwrap_or_else(|| "default".to_owned()),
            created_at: self.clock.now(),
        };
        {
            let mut contents = self.contents();
            if contents.apps.contains_key(&app.name) {
                return Err(Refusal::name_taken());
            }
            contents.apps.insert(app.name.clone(), app.clone());
        }
        let (path, record) = (self.layout.app_file(&app.name), app.clone());
        if let Err(error) = blocking(move || layout::write(&path, &record)).await {
            self.contents().apps.remove(&app.name);
            return Err(Refusal::internal("write the app's record", &error));
        }
        Ok(app)
    }

    pub(crate) fn app(&self, name: &str) -> Result<AppRecord, Refusal> {
        self.contents().apps.get(name).cloned().ok_or_else(|| Refusal::not_found("app"))
    }

    /// All apps, or those of an organisation.
    pub(crate) fn apps(&self, org_slug: Option<&str>) -> Vec<AppRecord> {
        let is_asked = |app: &&AppRecord| org_slug.is_none_or(|org_slug| org_slug == app.org_slug);
        self.contents().apps.values().filter(is_asked).cloned().collect()
    }

    /// How many machines and volumes the app has.
    pub(crate) fn app_counts(&self, name: &str) -> (usize, usize) {
        let contents = self.contents();
        let machines = contents.machines.values().filter(|machine| machine.view.borrow().app == name).count();
        (machines, contents.volumes.values().filter(|volume| volume.app == name).count())
    }

    /// Deletes the app with all its machines and volumes.
    pub(crate) async fn delete_app(&self, name: &str) -> Result<(), Refusal> {
        self.app(name)?;
        for machine in self.machines(name, false)? {
            gone_is_fine(self.order(name, &machine.id, Order::Destroy { force: true }, None).await)?;
        }
        for volume in self.volumes(name)? {
            gone_is_fine(self.delete_volume(name, &volume.id).await)?;
        }
        let path = self.layout.app_file(name);
        let removed = blocking(move || layout::remove(&path)).await;
        removed.map_err(|error| Refusal::internal("remove the app's record", &error))?;
        self.contents().apps.remove(name);
        Ok(())
    }
}

/// A name is also a file's.
fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=NAME_CHARS).contains(&name.len()) && name.bytes().all(is_allowed)
}

fn gone_is_fine<T>(result: Result<T, Refusal>) -> Result<(), Refusal> {
    match result {
        Err(refusal) if refusal.status != 404 => Err(refusal),
        Ok(_) | Err(_) => Ok(()),
    }
}
