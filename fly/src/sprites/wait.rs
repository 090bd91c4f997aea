//! Waiting for a sprite's state. The API has no call that waits, so it is looked at,
//! which does not wake it.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Sprites;
use crate::MachineState;
use crate::error::Error;

/// Between two looks.
const BEAT: Duration = Duration::from_secs(1);

impl Sprites {
    /// Returns when the sprite stands as a machine of that state does, or fails after so long.
    pub async fn wait_for_sprite(&self, name: &str, state: MachineState, limit: Duration) -> Result<(), Error> {
        let began = Instant::now();
        loop {
            let status = self.sprite(name).await?.status;
            if status.is_like(state) {
                return Ok(());
            }
            let waited = began.elapsed();
            if waited >= limit {
                let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
                let detail = format!("the sprite is {}", status.as_machine());
                return Err(Error::NotReached { wanted: state, waited_ms, detail });
            }
            sleep(BEAT.min(limit - waited)).await;
        }
    }
}
