//! What a sprite runs by itself: it starts with the sprite, also after a sleep that
//! kept no processes, and anew when it has ended.

use reqwest::Method;

use super::{Sprites, WAKE_DEADLINE, to_completion};
use crate::call::Repeat;
use crate::error::{Action, Error};
use crate::sprite::SpriteService;

/// For how long the API watches what it has started: what cannot start shows at once.
const WATCHED: [(&str, &str); 1] = [("duration", "1s")];

impl Sprites {
    /// Says what a sprite runs under this name, and starts it; what was said before is replaced. The
    /// environment, with its secrets, is in the body alone.
    pub async fn define_service(&self, name: &str, service: &str, new: &SpriteService) -> Result<(), Error> {
        let call = self.on(Action::DefineService, Method::PUT, name, &["services", service]).repeat(Repeat::Safe);
        let call = call.with(|request| request.query(&WATCHED).json(new)).deadline(WAKE_DEADLINE);
        to_completion(Action::DefineService, call).await
    }

    /// Stops what a sprite runs under this name, and starts it.
    pub async fn restart_service(&self, name: &str, service: &str) -> Result<(), Error> {
        let call = self.on(Action::RestartService, Method::POST, name, &["services", service, "restart"]);
        let call = call.with(|request| request.query(&WATCHED)).deadline(WAKE_DEADLINE);
        to_completion(Action::RestartService, call).await
    }
}
