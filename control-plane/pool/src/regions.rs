//! What of the provider rests, as rows that survive a restart: regions that had
//! no room, the token that was refused, the provider while it does not answer, images that cannot be had, and those with
//! which a machine did not come up.

pub mod policy;
pub(crate) mod store;

use chrono::{DateTime, TimeDelta, Utc};
use kernel::outbox::{self, About};
use kernel::{Ctx, Result, Tx};
use serde_json::json;
use wire::event::kind;
use wire::id::MachineId;
use wire::machine::MachineState;

use crate::CAPACITY_NUDGE;
use crate::plan::Closed;
use crate::provider::SharedProvider;
use policy::{Rest, Shortage};

/// The scope under which is kept that the token may not read.
const TOKEN: &str = "token";
/// What the scope begins with of a state from which the token may take no step.
const TOKEN_STEP: &str = "token/";
/// The scope under which is kept that the provider gave no usable answer when it was looked at last.
const AWAY: &str = "away";
/// What the scope of a region's rest begins with, before its code.
const REGION: &str = "region/";
/// What the scope of an image's rest begins with; that of `store::IMAGE_WORKS` as well.
const IMAGE: &str = "image/";
/// What the scope begins with of an image that cannot be had.
const NO_IMAGE: &str = "no-image/";

/// How long it takes to try a token again, or to look at the provider.
const TRIAL: TimeDelta = TimeDelta::seconds(5);

/// All that rests, read at once; rests that are over are included.
pub(crate) struct Rests(Vec<store::Row>);

impl Rests {
    pub(crate) async fn read(tx: &mut Tx) -> Result<Self> {
        Ok(Self(store::list(tx).await?))
    }

    /// The regions'.
    pub(crate) fn regions(&self) -> Vec<Rest> {
        let of_region = |rest: &store::Row| {
            let region = rest.scope.strip_prefix(REGION)?.to_owned();
            Some(Rest { region, until: rest.until, why: rest.why.clone() })
        };
        self.0.iter().filter_map(of_region).collect()
    }

    /// Whether a machine did not come up with this image, or it could not be had, none has come up since, and it is not
    /// time to try.
    pub(crate) fn has_image_failed(&self, image: &str, now: DateTime<Utc>) -> bool {
        let is_of_it = |scope: &str| [IMAGE, NO_IMAGE].iter().any(|kind| scope.strip_prefix(kind) == Some(image));
        self.0.iter().any(|rest| is_of_it(&rest.scope) && rest.until > now)
    }

    /// What is to be done about this image, if it could not be had, and until when it is not asked for again.
    pub(crate) fn missing_image(&self, image: &str) -> Option<Closed> {
        let missing = self.0.iter().find(|rest| rest.scope.strip_prefix(NO_IMAGE) == Some(image))?;
        Some(Closed { until: missing.until, why: missing.why.clone() })
    }

    /// What is to be done about the token, if nothing may be read with it; also while it is tried.
    pub(crate) fn refusal_to_read(&self) -> Option<&str> {
        self.0.iter().find(|rest| rest.scope == TOKEN).map(|rest| rest.why.as_str())
    }

    /// What is to be done about the token, if it was refused and has not been accepted since; also while it is tried.
    pub(crate) fn refusal_of_token(&self) -> Option<&str> {
        self.0.iter().find(|rest| is_of_token(rest)).map(|rest| rest.why.as_str())
    }

    /// Why nobody counts on the provider, if it gave no usable answer when it was looked at last, which is done again
    /// within seconds.
    pub(crate) fn away(&self, now: DateTime<Utc>) -> Option<Closed> {
        let away = self.0.iter().find(|rest| rest.scope == AWAY)?;
        Some(Closed { until: now + TRIAL, why: away.why.clone() })
    }

    /// The states from which no step is taken with this token, and until when none is tried.
    pub(crate) fn refused_steps(&self) -> Vec<(&str, DateTime<Utc>)> {
        self.0.iter().filter_map(|rest| Some((rest.scope.strip_prefix(TOKEN_STEP)?, rest.until))).collect()
    }

    /// Whether the token was refused to read and is not tried again yet.
    pub(crate) fn is_token_resting(&self, now: DateTime<Utc>) -> bool {
        self.0.iter().any(|rest| rest.scope == TOKEN && rest.until > now)
    }

    /// Why and until when nobody counts on the token: until it is tried again, and where a machine stands in a state
    /// from which a step was refused and does not rest itself, until that one's step was taken.
    pub(crate) fn token(&self, now: DateTime<Utc>, is_tried: impl Fn(&str) -> bool) -> Option<Closed> {
        let until = |rest: &store::Row| match rest.scope.strip_prefix(TOKEN_STEP) {
            Some(state) if is_tried(state) => rest.until.max(now + TRIAL),
            _ => rest.until,
        };
        let of_token = self.0.iter().filter(|rest| is_of_token(rest));
        let latest = of_token.map(|rest| Closed { until: until(rest), why: rest.why.clone() });
        latest.filter(|closed| closed.until > now).max_by_key(|closed| closed.until)
    }
}

impl From<&Rest> for Closed {
    fn from(rest: &Rest) -> Self {
        Self { until: rest.until, why: rest.why.clone() }
    }
}

/// Lets what a scope stands for rest, for as long as this says of so many rests in a row, and gives until when; nothing
/// where it rests already.
async fn rest_longer(
    tx: &mut Tx,
    scope: &str,
    now: DateTime<Utc>,
    rest: impl Fn(u32) -> TimeDelta,
    why: &str,
) -> Result<Option<DateTime<Utc>>> {
    let earlier = store::find(tx, scope).await?;
    if earlier.as_ref().is_some_and(|rest| rest.until > now) {
        return Ok(None);
    }
    let times = earlier.map_or(0, |rest| rest.times).saturating_add(1);
    let until = now + rest(u32::try_from(times).unwrap_or(1));
    store::put(tx, scope, until, times, why).await?;
    Ok(Some(until))
}

/// Lets a region rest after it had no room.
pub(crate) async fn rest(ctx: &Ctx, tx: &mut Tx, region: &str, shortage: Shortage, why: &str) -> Result<()> {
    let scope = format!("{REGION}{region}");
    let Some(until) = rest_longer(tx, &scope, ctx.now(), |times| shortage.rest(times), why).await? else {
        return Ok(());
    };
    tracing::warn!(region, %until, why, "a region has no room and rests");
    metrics::counter!("regions_rested_total", "region" => region.to_owned()).increment(1);
    let payload = json!({ "region": region, "until": until, "why": why });
    outbox::push(ctx, tx, kind::REGION_RESTS, About::default(), &payload).await
}

/// A region that gave a machine has room again.
pub(crate) async fn has_room(tx: &mut Tx, region: &str) -> Result<()> {
    store::remove(tx, &format!("{REGION}{region}")).await.map(drop)
}

/// A machine did not come up with this image: no other is replaced by one with it until one has, or the image has
/// rested.
pub(crate) async fn image_failed(ctx: &Ctx, tx: &mut Tx, image: &str, why: &str) -> Result<()> {
    let scope = format!("{IMAGE}{image}");
    if let Some(until) = rest_longer(tx, &scope, ctx.now(), policy::image_rest, why).await? {
        tracing::error!(image, why, %until, "a machine does not come up with this image; those with another are left as they are until then");
    }
    Ok(())
}

/// A machine has come up with the image that it has.
pub(crate) async fn image_works(tx: &mut Tx, machine: MachineId) -> Result<()> {
    store::image_works(tx, machine).await
}

/// No machine can be made with this image: none is until it has rested, and nobody asks for it meanwhile.
pub(crate) async fn image_missing(ctx: &Ctx, tx: &mut Tx, image: &str, why: &str) -> Result<()> {
    let scope = format!("{NO_IMAGE}{image}");
    if let Some(until) = rest_longer(tx, &scope, ctx.now(), policy::missing_image_rest, why).await? {
        tracing::error!(image, %until, "{why}");
    }
    Ok(())
}

/// A machine was made with this image.
pub(crate) async fn image_found(tx: &mut Tx, image: &str) -> Result<()> {
    store::remove(tx, &format!("{NO_IMAGE}{image}")).await.map(drop)
}

/// The provider was looked at and gave no usable answer: nobody counts on it until it does.
pub(crate) async fn gone_away(ctx: &Ctx, provider: &SharedProvider, error: &fly::Error) -> Result<()> {
    if error.advice() == fly::Advice::SlowDown {
        return Ok(());
    }
    let why = format!("{}; {}", error.lasting(), provider.address());
    let mut tx = ctx.begin("pool.provider_away").await?;
    let earlier = store::find(&mut tx, AWAY).await?;
    if earlier.as_ref().is_some_and(|rest| rest.why == why) {
        return Ok(());
    }
    let times = earlier.map_or(0, |rest| rest.times).saturating_add(1);
    store::put(&mut tx, AWAY, ctx.now(), times, &why).await?;
    tx.commit(()).await
}

/// The provider has answered what it was asked when it was looked at.
pub(crate) async fn came_back(ctx: &Ctx, provider: &SharedProvider) -> Result<()> {
    let mut tx = ctx.begin("pool.provider_back").await?;
    if store::remove(&mut tx, AWAY).await? {
        tracing::info!("{} answers again", provider.name());
        tx.nudge(CAPACITY_NUDGE);
    }
    tx.commit(()).await
}

/// Whether a refusal is about the token and not about what was asked.
pub(crate) fn is_about_token(error: &fly::Error) -> bool {
    match error.status() {
        Some(401) => true,
        Some(403) => error.advice() == fly::Advice::GiveUp,
        _ => false,
    }
}

/// What the token was refused for: to read, without which nothing is called, or a step from this state.
pub(crate) type Refused = Option<MachineState>;

fn token_scope(refused: Refused) -> String {
    refused.map_or_else(|| TOKEN.to_owned(), |state| format!("{TOKEN_STEP}{state}"))
}

fn is_of_token(rest: &store::Row) -> bool {
    rest.scope == TOKEN || rest.scope.starts_with(TOKEN_STEP)
}

/// That the provider refuses our token, and what is to be done about it.
pub(crate) fn refusal(provider: &SharedProvider) -> String {
    format!("{} refuses the control plane's token: {}", provider.name(), provider.token_cure())
}

/// The token was refused: nobody calls for a while, ever longer; said once, not with every call.
pub(crate) async fn token_refused(ctx: &Ctx, provider: &SharedProvider, refused: Refused) -> Result<Closed> {
    let mut tx = ctx.begin("pool.token_refused").await?;
    let (now, scope) = (ctx.now(), token_scope(refused));
    let earlier: Vec<store::Row> = store::list(&mut tx).await?.into_iter().filter(is_of_token).collect();
    let same = earlier.iter().find(|rest| rest.scope == scope);
    if let Some(rest) = same.filter(|rest| rest.until > now) {
        return Ok(Closed { until: rest.until, why: rest.why.clone() });
    }
    let times = same.map_or(0, |rest| rest.times).saturating_add(1);
    let until = now + TimeDelta::seconds((15_i64 << times.min(5)).min(300));
    let why = refusal(provider);
    store::put(&mut tx, &scope, until, times, &why).await?;
    if earlier.is_empty() {
        tracing::error!("{why}");
        outbox::push(ctx, &mut tx, kind::PROVIDER_REFUSED, About::default(), &json!({ "why": why })).await?;
    }
    tx.commit(Closed { until, why }).await
}

/// The provider has done what it refused to do with our token, if it did.
pub(crate) async fn token_accepted(tx: &mut Tx, provider: &SharedProvider, refused: Refused) -> Result<()> {
    if store::remove(tx, &token_scope(refused)).await? {
        tracing::info!("{} accepts the control plane's token again", provider.name());
    }
    Ok(())
}

/// The token may be another one than it was: what was refused to the last one is tried with it at once.
pub(crate) async fn forget_tokens(tx: &mut Tx) -> Result<()> {
    for rest in store::list(tx).await?.iter().filter(|rest| is_of_token(rest)) {
        store::remove(tx, &rest.scope).await?;
    }
    Ok(())
}
