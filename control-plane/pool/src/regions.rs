//! What of the provider rests, as rows that survive a restart: regions that had
//! no room, the token that was refused, and images with which a machine did not
//! come up.

pub mod policy;
pub(crate) mod store;

use chrono::{DateTime, TimeDelta, Utc};
use kernel::outbox::{self, About};
use kernel::{Ctx, Result, Tx};
use serde_json::json;
use wire::event::kind;
use wire::id::MachineId;

use crate::provider::SharedProvider;
use policy::{Rest, Shortage};

/// The scope under which the token's rest is kept; a region's has this before its code.
const TOKEN: &str = "token";
const REGION: &str = "region/";
/// What the scope of an image's rest begins with; that of `store::IMAGE_WORKS` as well.
const IMAGE: &str = "image/";

/// Regions that rest, those that are over included.
pub(crate) async fn resting(tx: &mut Tx) -> Result<Vec<Rest>> {
    let rests = store::list(tx).await?;
    let of_region = |rest: store::Row| {
        let region = rest.scope.strip_prefix(REGION)?.to_owned();
        Some(Rest { region, until: rest.until, why: rest.why })
    };
    Ok(rests.into_iter().filter_map(of_region).collect())
}

/// Lets a region rest after it had no room.
pub(crate) async fn rest(ctx: &Ctx, tx: &mut Tx, region: &str, shortage: Shortage, why: &str) -> Result<()> {
    let scope = format!("{REGION}{region}");
    let now = ctx.now();
    let earlier = store::find(tx, &scope).await?;
    if earlier.as_ref().is_some_and(|rest| rest.until > now) {
        return Ok(());
    }
    let times = earlier.map_or(0, |rest| rest.times).saturating_add(1);
    let until = now + shortage.rest(u32::try_from(times).unwrap_or(1));
    store::put(tx, &scope, until, times, why).await?;
    tracing::warn!(region, %until, why, "a region has no room and rests");
    metrics::counter!("regions_rested_total", "region" => region.to_owned()).increment(1);
    let payload = json!({ "region": region, "until": until, "why": why });
    outbox::push(ctx, tx, kind::REGION_RESTS, About::default(), &payload).await
}

/// A region that gave a machine has room again.
pub(crate) async fn has_room(tx: &mut Tx, region: &str) -> Result<()> {
    store::remove(tx, &format!("{REGION}{region}")).await
}

/// A machine did not come up with this image: no other is replaced by one with it until one has.
pub(crate) async fn image_failed(ctx: &Ctx, tx: &mut Tx, image: &str, why: &str) -> Result<()> {
    let scope = format!("{IMAGE}{image}");
    let times = store::find(tx, &scope).await?.map_or(0, |rest| rest.times).saturating_add(1);
    if times == 1 {
        tracing::error!(image, why, "no machine comes up with this image; those with another are left as they are");
    }
    store::put(tx, &scope, ctx.now(), times, why).await
}

/// A machine has come up with the image that it has.
pub(crate) async fn image_works(tx: &mut Tx, machine: MachineId) -> Result<()> {
    store::image_works(tx, machine).await
}

/// Whether no machine has come up with this image since one did not.
pub(crate) async fn has_image_failed(tx: &mut Tx, image: &str) -> Result<bool> {
    Ok(store::find(tx, &format!("{IMAGE}{image}")).await?.is_some())
}

/// Whether a refusal is about the token and not about what was asked.
pub(crate) fn is_about_token(error: &fly::Error) -> bool {
    match error.status() {
        Some(401) => true,
        Some(403) => error.advice() == fly::Advice::GiveUp,
        _ => false,
    }
}

/// Whether the token was refused and has not been accepted since.
pub(crate) async fn is_token_refused(tx: &mut Tx) -> Result<bool> {
    Ok(store::find(tx, TOKEN).await?.is_some())
}

/// Why and until when the token is not tried again.
pub(crate) async fn token_rest(tx: &mut Tx, now: DateTime<Utc>) -> Result<Option<(DateTime<Utc>, String)>> {
    let rest = store::find(tx, TOKEN).await?.filter(|rest| rest.until > now);
    Ok(rest.map(|rest| (rest.until, rest.why)))
}

/// The token was refused: nobody calls for a while, ever longer; said once, not with every call.
pub(crate) async fn token_refused(ctx: &Ctx, provider: &SharedProvider) -> Result<()> {
    let mut tx = ctx.begin("pool.token_refused").await?;
    let now = ctx.now();
    let earlier = store::find(&mut tx, TOKEN).await?;
    if earlier.as_ref().is_some_and(|rest| rest.until > now) {
        return Ok(());
    }
    let times = earlier.map_or(0, |rest| rest.times).saturating_add(1);
    let until = now + TimeDelta::seconds((15_i64 << times.min(5)).min(300));
    let why = format!("{} refuses our token: {}", provider.name(), provider.token_cure());
    store::put(&mut tx, TOKEN, until, times, &why).await?;
    if times == 1 {
        tracing::error!("{why}");
        outbox::push(ctx, &mut tx, kind::PROVIDER_REFUSED, About::default(), &json!({ "why": why })).await?;
    }
    tx.commit(()).await
}

/// The provider has answered: the token is good.
pub(crate) async fn token_accepted(ctx: &Ctx) -> Result<()> {
    let mut tx = ctx.begin("pool.token_accepted").await?;
    store::remove(&mut tx, TOKEN).await?;
    tx.commit(()).await
}
