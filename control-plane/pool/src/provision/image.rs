//! A machine that is refused for its image: it is waited for as long as a registry may
//! be behind a push, and then no machine is made with it until it has rested.

use kernel::{Ctx, Result};

use super::policy::{self, Trouble};
use super::{Provision, retry};
use crate::machines::Machine;
use crate::regions::{self, Rests};

impl Provision {
    /// The provider cannot get the image of a machine that is to be made.
    pub(super) async fn lack_image(&self, ctx: &Ctx, machine: &Machine, error: &fly::Error) -> Result<()> {
        let image = self.image_of(machine);
        let why = format!(
            "the image {image} cannot be had: push it with scripts/deploy, after scripts/images has built it, or name \
             another in BIFROST_RUNNER_IMAGE; {error}"
        );
        tracing::warn!(machine.id = %machine.id, image, %error, "a machine is refused for its image");
        let mut tx = ctx.begin("pool.provision.image").await?;
        let was_missing = Rests::read(&mut tx).await?.missing_image(image).is_some();
        if policy::is_image_missing(machine.failures, was_missing) {
            self.climb(ctx, &mut tx, machine, Trouble::Refused, &why).await?;
            regions::image_missing(ctx, &mut tx, image, &why).await?;
        } else {
            retry(ctx, &mut tx, machine, error, &why).await?;
        }
        tx.commit(()).await
    }

    /// What a machine is made with.
    pub(super) fn image_of<'a>(&'a self, machine: &'a Machine) -> &'a str {
        if machine.image.is_empty() { &self.settings.provider.image } else { &machine.image }
    }
}
