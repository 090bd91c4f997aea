//! Apps: names for groups of machines and volumes, with secrets and addresses.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use kit::tasks::blocking;
use serde::{Deserialize, Serialize};

use super::Registry;
use super::certificates::CertificateRecord;
use crate::machine::Order;
use crate::refusal::Refusal;
use crate::secret_key::SecretKey;
use crate::{layout, sizes};

/// An app. It holds secrets, so it does not print itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppRecord {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) org_slug: String,
    pub(crate) network: String,
    pub(crate) created_at: DateTime<Utc>,
    #[serde(default)]
    pub(crate) secrets: BTreeMap<String, SecretRecord>,
    /// One more with each change of the secrets.
    #[serde(default)]
    pub(crate) secrets_version: u64,
    #[serde(default)]
    pub(crate) addresses: Vec<AddressRecord>,
    #[serde(default)]
    pub(crate) secret_keys: BTreeMap<String, SecretKey>,
    /// By host name.
    #[serde(default)]
    pub(crate) certificates: BTreeMap<String, CertificateRecord>,
}

/// A secret of an app.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SecretRecord {
    pub(crate) value: String,
    /// Drawn anew with each value, for it must tell nothing of it.
    pub(crate) digest: String,
}

/// An address of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AddressRecord {
    pub(crate) ip: String,
    pub(crate) region: String,
    pub(crate) is_shared: bool,
    pub(crate) created_at: DateTime<Utc>,
}

impl Registry {
    pub(crate) async fn create_app(
        &self,
        name: String,
        org_slug: String,
        network: Option<String>,
    ) -> Result<AppRecord, Refusal> {
        // A name is also a file's.
        if fly::check_app_name(&name).is_err() {
            let rule = "Validation failed: Name may only contain lowercase letters, numbers and dashes";
            return Err(Refusal::unprocessable(rule));
        }
        let app = AppRecord {
            id: self.chance.hex::<8>(),
            name,
            org_slug,
            network: network.unwrap_or_else(|| "default".to_owned()),
            created_at: self.clock.now(),
            secrets: BTreeMap::new(),
            secrets_version: 0,
            addresses: Vec::new(),
            secret_keys: BTreeMap::new(),
            certificates: BTreeMap::new(),
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

    /// Sets and removes secrets. Machines see that from their next start on.
    pub(crate) async fn write_secrets(
        self: &Arc<Self>,
        name: &str,
        values: BTreeMap<String, Option<String>>,
    ) -> Result<AppRecord, Refusal> {
        for name in values.keys() {
            sizes::check_secret_name(name)?;
        }
        let chance = self.chance.clone();
        self.change_app(name, move |app| {
            for (name, value) in values {
                match value.filter(|value| !value.is_empty()) {
                    Some(value) => drop(app.secrets.insert(name, SecretRecord { value, digest: chance.hex::<8>() })),
                    None => drop(app.secrets.remove(&name)),
                }
            }
            app.secrets_version += 1;
            Ok(app.clone())
        })
        .await
    }

    /// Gives an app a key, or another in its place.
    pub(crate) async fn put_secret_key(
        self: &Arc<Self>,
        name: &str,
        key_name: &str,
        mut key: SecretKey,
    ) -> Result<AppRecord, Refusal> {
        let key_name = key_name.to_owned();
        self.change_app(name, move |app| {
            if let Some(former) = app.secret_keys.get(&key_name) {
                key.created_at = former.created_at;
            }
            app.secret_keys.insert(key_name, key);
            app.secrets_version += 1;
            Ok(app.clone())
        })
        .await
    }

    pub(crate) async fn remove_secret_key(self: &Arc<Self>, name: &str, key_name: &str) -> Result<AppRecord, Refusal> {
        let key_name = key_name.to_owned();
        self.change_app(name, move |app| {
            app.secret_keys.remove(&key_name).ok_or_else(|| Refusal::not_found("secret key"))?;
            app.secrets_version += 1;
            Ok(app.clone())
        })
        .await
    }

    /// What an app's machines see of its secrets.
    pub(crate) fn secret_values(&self, name: &str) -> BTreeMap<String, String> {
        let app = self.app(name).ok();
        let secrets = app.into_iter().flat_map(|app| app.secrets);
        secrets.map(|(name, secret)| (name, secret.value)).collect()
    }

    /// Gives an app an address that leads nowhere.
    pub(crate) async fn assign_address(
        self: &Arc<Self>,
        name: &str,
        kind: &str,
        region: String,
    ) -> Result<AddressRecord, Refusal> {
        let suffix = self.chance.hex::<2>();
        let last: u8 = self.chance.bytes::<1>()[0];
        let (ip, is_shared) = match kind {
            "private_v6" => (format!("fdaa:0:1::{suffix}"), false),
            // Addresses that are reserved for documentation.
            "v6" | "" => (format!("2001:db8::{suffix}"), false),
            "v4" => (format!("192.0.2.{last}"), false),
            "shared_v4" => (format!("198.51.100.{last}"), true),
            other => return Err(Refusal::invalid_argument(format!("type: {other:?} is no kind of address"))),
        };
        let address = AddressRecord { ip, region, is_shared, created_at: self.clock.now() };
        self.change_app(name, move |app| {
            app.addresses.push(address.clone());
            Ok(address)
        })
        .await
    }

    pub(crate) async fn release_address(self: &Arc<Self>, name: &str, ip: String) -> Result<(), Refusal> {
        self.change_app(name, move |app| {
            let at = app.addresses.iter().position(|address| address.ip == ip);
            app.addresses.remove(at.ok_or_else(|| Refusal::not_found("IP address"))?);
            Ok(())
        })
        .await
    }

    /// Changes an app's record, on disk first.
    pub(super) async fn change_app<T: Send + 'static>(
        self: &Arc<Self>,
        name: &str,
        change: impl FnOnce(&mut AppRecord) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (registry, name) = (Arc::clone(self), name.to_owned());
        blocking(move || {
            let _turn = registry.changing();
            let mut app = registry.app(&name)?;
            let told = change(&mut app)?;
            let written = layout::write(&registry.layout.app_file(&name), &app);
            written.map_err(|error| Refusal::internal("write the app's record", &error))?;
            registry.contents().apps.insert(name, app);
            Ok(told)
        })
        .await
    }

    /// Deletes the app with all its machines and volumes.
    pub(crate) async fn delete_app(self: &Arc<Self>, name: &str) -> Result<(), Refusal> {
        self.app(name)?;
        for machine in self.machines(name, false)? {
            gone_is_fine(self.order(name, &machine.id, Order::Destroy { force: true }, None).await)?;
        }
        for volume in self.volumes(name)? {
            gone_is_fine(self.delete_volume(name, &volume.id).await)?;
        }
        let (registry, name) = (Arc::clone(self), name.to_owned());
        let removed = blocking(move || {
            let _turn = registry.changing();
            let removed = layout::remove(&registry.layout.app_file(&name));
            if removed.is_ok() {
                registry.contents().apps.remove(&name);
            }
            removed
        });
        removed.await.map_err(|error| Refusal::internal("remove the app's record", &error))
    }
}

fn gone_is_fine<T>(result: Result<T, Refusal>) -> Result<(), Refusal> {
    match result {
        Err(refusal) if refusal.status != 404 => Err(refusal),
        Ok(_) | Err(_) => Ok(()),
    }
}
