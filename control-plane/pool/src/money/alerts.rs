//! Writes the ledger while nothing changes, and tells when a budget is used to a
//! threshold: each once in its period.

use std::sync::Arc;
use std::time::Duration;

use kernel::outbox::{self, About};
use kernel::{Ctx, Reconciler, Result, Tx};
use serde_json::json;
use wire::event::kind;

use super::{budgets, policy, spent, store};
use crate::Settings;

/// The reconciler that keeps the ledger.
#[derive(Debug)]
pub struct Ledger {
    settings: Arc<Settings>,
}

impl Ledger {
    /// With the operator's budgets.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings }
    }

    async fn alert(&self, ctx: &Ctx, tx: &mut Tx) -> Result<()> {
        let now = ctx.now();
        for (period, budget_micros) in budgets(&self.settings) {
            let spent_micros = spent(tx, period, now).await?;
            let began = policy::begin(period, now);
            for percent in policy::reached(&self.settings.budget_alerts, spent_micros, budget_micros) {
                let key = format!("cost/{period}/{began}/{budget_micros}/{percent}");
                let payload = json!({
                    "period": period, "percent": percent, "spent_micros": spent_micros, "budget_micros": budget_micros,
                });
                outbox::push_once(ctx, tx, kind::COST_ALERT, About::default(), &payload, &key).await?;
            }
        }
        Ok(())
    }
}

impl Reconciler for Ledger {
    const NAME: &'static str = "cost-ledger";
    const EVERY: Duration = Duration::from_secs(60);

    async fn tick(&self, ctx: &Ctx) -> Result<usize> {
        let open = store::open_rows(&mut ctx.read("pool.money.open").await?).await?;
        for open in open {
            // One at a time, so that this waits for nobody while somebody waits for it.
            let mut tx = ctx.begin("pool.money.ledger").await?;
            if open.subject_id == open.machine_id && open.awake_rate > 0 {
                super::settle_machine(&mut tx, open.machine_id.into(), ctx.now()).await?;
            } else {
                super::settle_volume(&mut tx, open.subject_id.into(), ctx.now()).await?;
            }
            tx.commit(()).await?;
        }
        let mut tx = ctx.begin("pool.money.ledger").await?;
        super::settle_orphans(&mut tx, ctx.now()).await?;
        self.alert(ctx, &mut tx).await?;
        tx.commit(0).await
    }
}
