//! Apps.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use tokio::time::Instant;

use super::{Machines, gone_is_done};
use crate::call::Repeat;
use crate::error::{Action, Error};
use crate::lenient::null_as_default;
use crate::{App, NewApp};

/// A new app is readable after at most so long.
const APP_READABLE_WITHIN: Duration = Duration::from_secs(60);

impl Machines {
    /// Creates an app and waits until it is readable. One that exists and is ours is taken as it is.
    pub async fn create_app(&self, app: &NewApp) -> Result<(), Error> {
        let call = self.api.call(Action::CreateApp, &app.org_slug, Method::POST, &["apps"]);
        match call.with(|request| request.json(app)).done().await {
            Ok(()) => self.wait_for_app(&app.name).await,
            Err(refused) if is_name_taken(&refused) => self.app(&app.name).await.map(drop).map_err(|_| refused),
            Err(error) => Err(error),
        }
    }

    /// Reads an organisation's apps.
    pub async fn apps(&self, org: &str) -> Result<Vec<App>, Error> {
        let call = self.api.call(Action::ListApps, org, Method::GET, &["apps"]);
        call.with(|request| request.query(&[("org_slug", org)])).json().await.map(|Listed { apps }| apps)
    }

    /// Deletes an app with all its machines and volumes. One that is gone is no error.
    pub async fn delete_app(&self, app: &str) -> Result<(), Error> {
        let call = self.api.call(Action::DeleteApp, app, Method::DELETE, &["apps", app]);
        gone_is_done(call.repeat(Repeat::Safe).done().await)
    }

    /// Fly answers 404 and 401 for a while after it has created an app.
    async fn wait_for_app(&self, app: &str) -> Result<(), Error> {
        let until = Instant::now() + APP_READABLE_WITHIN;
        let mut failures = 0;
        loop {
            match self.app(app).await {
                Ok(_) => return Ok(()),
                Err(error) if !matches!(error.status(), Some(401 | 404)) || Instant::now() >= until => {
                    return Err(error);
                }
                Err(_) => failures += 1,
            }
            tokio::time::sleep(self.api.pause(failures)).await;
        }
    }

    /// Reads an app.
    pub async fn app(&self, app: &str) -> Result<App, Error> {
        self.api.call(Action::ReadApp, app, Method::GET, &["apps", app]).json().await
    }
}

#[derive(Deserialize)]
struct Listed {
    #[serde(default, deserialize_with = "null_as_default")]
    apps: Vec<App>,
}

fn is_name_taken(error: &Error) -> bool {
    match error {
        Error::Refused { status: 422, code, message, .. } => {
            code.as_deref() == Some("name_taken") || message.contains("Name has already been taken")
        }
        _ => false,
    }
}
