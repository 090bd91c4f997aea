//! An app's certificates: asked for or brought, and never issued, for nobody here
//! looks anything up in the DNS.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Registry;
use crate::refusal::Refusal;

/// A host name is no longer.
const HOSTNAME_CHARS: usize = 253;
const LABEL_CHARS: usize = 63;

/// What an app has for a host name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CertificateRecord {
    pub(crate) hostname: String,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    /// When one of Fly's was asked for.
    pub(crate) asked_at: Option<DateTime<Utc>>,
    /// When one was brought. Its key is not kept: nothing here could use it.
    pub(crate) brought_at: Option<DateTime<Utc>>,
}

/// Which of a host name's certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// That of Fly's that was asked for.
    Asked,
    /// The one that was brought.
    Brought,
}

impl CertificateRecord {
    fn at(&mut self, which: Which) -> &mut Option<DateTime<Utc>> {
        match which {
            Which::Asked => &mut self.asked_at,
            Which::Brought => &mut self.brought_at,
        }
    }
}

impl Registry {
    /// Notes that an app wants a certificate, or has brought one.
    pub(crate) async fn add_certificate(
        self: &Arc<Self>,
        app: &str,
        hostname: &str,
        which: Which,
    ) -> Result<CertificateRecord, Refusal> {
        let hostname = hostname.to_ascii_lowercase();
        if !is_hostname(&hostname) {
            return Err(Refusal::unprocessable(format!("Validation failed: Hostname {hostname:?} is not one")));
        }
        let now = self.clock.now();
        self.change_app(app, move |app| {
            let fresh = CertificateRecord {
                hostname: hostname.clone(),
                created_at: now,
                updated_at: now,
                asked_at: None,
                brought_at: None,
            };
            let record = app.certificates.entry(hostname).or_insert(fresh);
            if which == Which::Asked && record.asked_at.is_some() {
                return Err(Refusal::unprocessable("Validation failed: Hostname already exists on app"));
            }
            (*record.at(which), record.updated_at) = (Some(now), now);
            Ok(record.clone())
        })
        .await
    }

    /// Takes one of a host name's certificates away; the name stays.
    pub(crate) async fn take_certificate(
        self: &Arc<Self>,
        app: &str,
        hostname: &str,
        which: Which,
    ) -> Result<CertificateRecord, Refusal> {
        let (hostname, now) = (hostname.to_ascii_lowercase(), self.clock.now());
        self.change_app(app, move |app| {
            let record = app.certificates.get_mut(&hostname).ok_or_else(no_certificate)?;
            record.at(which).take().ok_or_else(no_certificate)?;
            record.updated_at = now;
            Ok(record.clone())
        })
        .await
    }

    pub(crate) async fn remove_certificate(self: &Arc<Self>, app: &str, hostname: &str) -> Result<(), Refusal> {
        let hostname = hostname.to_ascii_lowercase();
        self.change_app(app, move |app| app.certificates.remove(&hostname).map(drop).ok_or_else(no_certificate)).await
    }
}

pub(crate) fn no_certificate() -> Refusal {
    Refusal::not_found("certificate")
}

/// Labels of letters, digits and dashes, at least two; the first may be `*`.
fn is_hostname(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let is_label = |label: &str| {
        (1..=LABEL_CHARS).contains(&label.len())
            && label.bytes().all(is_inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let rest = name.strip_prefix("*.").unwrap_or(name);
    name.len() <= HOSTNAME_CHARS && rest.contains('.') && rest.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_name_has_labels() {
        for (name, is_one) in [
            ("example.com", true),
            ("*.example.com", true),
            ("a-b.c1.example", true),
            ("example", false),
            ("*.com", false),
            ("a..b", false),
            ("-a.b", false),
            ("a b.c", false),
            ("", false),
        ] {
            assert_eq!(is_hostname(name), is_one, "{name}");
        }
    }
}
