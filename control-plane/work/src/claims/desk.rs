//! Where claims, and words about them, come in: requests that arrive together are
//! carried out together, and a claim that finds nothing may wait.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kernel::{Batch, Ctx, Error, Gather, Result};
use kit::Tasks;
use wire::claim::{Claim, ClaimCompletion, Completions, LeaseView, NewClaim, ReleaseClaim, RenewClaim, StartClaim};
use wire::execution::{ExecutionResult, ExecutionView};
use wire::id::{ExecutionId, TenantId};
use wire::limit::{COMPLETIONS_PER_BATCH, LEASE_SECONDS_DEFAULT};
use wire::task::TaskStatus;

use super::report::{Heard, Report, Word, ended, hear_all, released};
use super::take::{Take, take_all};
use crate::tasks::READY_NUDGE;
use crate::{Scheduler, Settings};

/// Who waits for a task looks again after so long, whatever it has heard.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Takes claims and hears what becomes of them. Clones share everything.
#[derive(Debug, Clone)]
pub struct Desk {
    takes: Gather<Takes>,
    reports: Gather<Reports>,
    tasks: Tasks,
}

#[derive(Debug)]
struct Takes(Ctx);

impl Batch for Takes {
    type Request = Take;
    type Answer = Vec<Claim>;
    const NAME: &'static str = "claims";

    async fn carry_out(&self, takes: &[Take]) -> Result<Vec<Result<Vec<Claim>>>> {
        take_all(&self.0, takes).await
    }
}

#[derive(Debug)]
struct Reports(Ctx, Arc<Settings>);

impl Batch for Reports {
    type Request = Report;
    type Answer = Heard;
    const NAME: &'static str = "claim-reports";

    async fn carry_out(&self, reports: &[Report]) -> Result<Vec<Result<Heard>>> {
        hear_all(&self.0, &self.1, reports).await
    }
}

impl Desk {
    /// Opens it; it closes when the last clone is gone.
    pub fn open(ctx: &Ctx, settings: &Arc<Settings>, tasks: &Tasks) -> Self {
        Self {
            takes: Gather::start(tasks, ctx.db.writers(), Takes(ctx.clone())),
            reports: Gather::start(tasks, ctx.db.writers(), Reports(ctx.clone(), Arc::clone(settings))),
            tasks: tasks.clone(),
        }
    }

    /// Claims tasks, the most urgent first, then the oldest. Where there are none, waits as long as was asked and
    /// then gives an empty list.
    pub async fn claim(&self, ctx: &Ctx, tenant: TenantId, claim: NewClaim) -> Result<Vec<Claim>> {
        claim.validate()?;
        let wait = Duration::from_secs(claim.wait_seconds.unwrap_or(0));
        let deadline = tokio::time::Instant::now() + wait;
        let mut ready = ctx.nudges.subscribe(READY_NUDGE);
        let mut scheduled = ctx.nudges.subscribe(Scheduler::NUDGE);
        loop {
            ready.borrow_and_update();
            scheduled.borrow_and_update();
            let claims = self.takes.ask(Take { by: ctx.clone(), tenant, claim: claim.clone() }).await?;
            let now = tokio::time::Instant::now();
            if !claims.is_empty() || now >= deadline {
                return Ok(claims);
            }
            tokio::select! {
                _ = ready.changed() => (),
                _ = scheduled.changed() => (),
                () = tokio::time::sleep_until(deadline.min(now + LOOK_EVERY)) => (),
                // A server that stops must not wait for those who wait for it.
                () = self.tasks.stopping() => return Ok(claims),
            }
        }
    }

    /// Hears that work on a claimed task has begun. Twice is no error.
    pub async fn start(&self, ctx: &Ctx, tenant: TenantId, id: ExecutionId, start: StartClaim) -> Result<LeaseView> {
        self.hear(ctx, tenant, id, start.fence, Word::Start).await.map(lease)
    }

    /// Renews a lease, and says whether the task was called off meanwhile.
    pub async fn renew(&self, ctx: &Ctx, tenant: TenantId, id: ExecutionId, renew: RenewClaim) -> Result<LeaseView> {
        renew.validate()?;
        let lease_seconds = renew.lease_seconds.unwrap_or(LEASE_SECONDS_DEFAULT);
        self.hear(ctx, tenant, id, renew.fence, Word::Renew { lease_seconds }).await.map(lease)
    }

    /// Ends an execution, and its task with it (row CAIRN-26). The same end twice is no error.
    pub async fn complete(
        &self,
        ctx: &Ctx,
        tenant: TenantId,
        id: ExecutionId,
        result: ExecutionResult,
    ) -> Result<ExecutionView> {
        let fence = result.fence;
        self.hear(ctx, tenant, id, fence, ended(result)?).await.map(|heard| heard.execution.into())
    }

    /// Gives a claimed task back: it is ready again, and that spends no attempt. Twice is no error.
    pub async fn release(
        &self,
        ctx: &Ctx,
        tenant: TenantId,
        id: ExecutionId,
        release: ReleaseClaim,
    ) -> Result<ExecutionView> {
        let word = released(release.reason)?;
        self.hear(ctx, tenant, id, release.fence, word).await.map(|heard| heard.execution.into())
    }

    /// Ends several executions, each by itself: where each task stands then, or why not, in their order.
    pub async fn complete_all(
        &self,
        ctx: &Ctx,
        tenant: TenantId,
        all: Completions,
    ) -> Result<Vec<(ExecutionId, Result<TaskStatus>)>> {
        let count = all.completions.len();
        if !(1..=COMPLETIONS_PER_BATCH).contains(&count) {
            let message = format!("must be 1 to {COMPLETIONS_PER_BATCH}, and these are {count}");
            return Err(Error::invalid("completions", message));
        }
        let one = |(place, one): (usize, ClaimCompletion)| async move {
            let ClaimCompletion { execution_id, fence, success, cost_dollars, tokens, error_message } = one;
            let result = ExecutionResult { success, fence, cost_dollars, tokens, error_message };
            let heard = match ended(result) {
                Ok(word) => self.hear(ctx, tenant, execution_id, fence, word).await,
                Err(error) => Err(at(place, error)),
            };
            (execution_id, heard.map(|heard| heard.task_status))
        };
        Ok(join_all(all.completions.into_iter().enumerate().map(one)).await)
    }

    async fn hear(
        &self,
        ctx: &Ctx,
        tenant: TenantId,
        execution: ExecutionId,
        fence: Option<i64>,
        word: Word,
    ) -> Result<Heard> {
        self.reports.ask(Report { by: ctx.clone(), tenant, execution, fence, word }).await
    }
}

/// The same refusal, naming the entry of the list.
fn at(place: usize, error: Error) -> Error {
    match error {
        Error::Invalid { field, message } => Error::invalid(format!("completions[{place}].{field}"), message),
        other => other,
    }
}

fn lease(heard: Heard) -> LeaseView {
    let until = heard.execution.lease_until.unwrap_or(heard.execution.assigned_at);
    LeaseView { execution_id: heard.execution.id, lease_until: until, is_called_off: heard.is_called_off }
}
