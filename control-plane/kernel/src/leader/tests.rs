//! Of several control planes one leads; what an earlier leader still writes is refused.

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::testing::another;
use crate::{MIGRATIONS, Reconciler, Sql, drive, execute, fetch_one};

const PATIENCE: Duration = Duration::from_secs(20);

fn sql(text: &'static str) -> Sql {
    Sql { sqlite: text, postgres: text }
}

/// Two control planes on the database, neither of which leads yet.
fn two(ctx: &Ctx) -> ([Ctx; 2], [Arc<Election>; 2]) {
    let (mut first, mut second) = (another(ctx), another(ctx));
    let elections = [Election::enter(&mut first), Election::enter(&mut second)];
    ([first, second], elections)
}

async fn step(election: &Election) -> bool {
    election.step().await.expect("the database answers")
}

/// The lease has lapsed: its holder stood still for so long.
async fn lapse(ctx: &Ctx) {
    let mut tx = ctx.begin("test.lapse").await.expect("begins");
    execute!(tx, sql("UPDATE leadership SET until_us = 0")).expect("lapses");
    tx.commit(()).await.expect("commits");
}

async fn write(ctx: &Ctx) -> Result<()> {
    let mut tx = ctx.begin("test.write").await?;
    execute!(tx, sql("INSERT INTO schema_migrations (name, applied_at) VALUES ('written', $1)"), ctx.now())?;
    tx.commit(()).await
}

async fn written(ctx: &Ctx) -> i64 {
    let mut tx = ctx.read("test.written").await.expect("begins");
    fetch_one!(tx, (i64,), sql("SELECT count(*) FROM schema_migrations WHERE name = 'written'")).expect("reads").0
}

/// Tells whenever it ticks.
struct Teller(&'static str, UnboundedSender<&'static str>);

impl Reconciler for Teller {
    const NAME: &'static str = "teller";
    const EVERY: Duration = Duration::from_secs(3_600);

    async fn tick(&self, _: &Ctx) -> Result<usize> {
        self.1.send(self.0).ok();
        Ok(0)
    }
}

async fn next(told: &mut UnboundedReceiver<&'static str>) -> &'static str {
    timeout(PATIENCE, told.recv()).await.expect("somebody ticks").expect("is open")
}

crate::on_both! { MIGRATIONS;
    async fn one_leads_and_another_takes_over_when_its_lease_has_lapsed(ctx) {
        let ([first, second], [one, other]) = two(&ctx);
        assert!(first.led().is_none() && second.led().is_none());
        assert_eq!([step(&one).await, step(&other).await, step(&one).await], [true, false, true]);
        assert!(first.led().is_some() && second.led().is_none());
        lapse(&ctx).await;
        assert_eq!([step(&other).await, step(&one).await], [true, false]);
        assert!(first.led().is_none() && second.led().is_some());
    }

    async fn who_leaves_is_followed_at_once(ctx) {
        let ([first, _], [one, other]) = two(&ctx);
        assert!(step(&one).await);
        one.leave().await;
        assert!(first.led().is_none());
        assert!(step(&other).await);
    }

    async fn a_lease_that_lapsed_unclaimed_is_its_holders_still(ctx) {
        let ([first, _], [one, _]) = two(&ctx);
        assert!(step(&one).await);
        let led = first.led().expect("it leads");
        lapse(&ctx).await;
        assert!(step(&one).await);
        write(&led).await.expect("nobody else has led in between");
    }

    async fn what_a_paused_leader_writes_after_another_has_taken_over_is_refused(ctx) {
        let ([first, second], [one, other]) = two(&ctx);
        assert!(step(&one).await);
        let led = first.led().expect("it leads");
        lapse(&ctx).await;
        assert!(step(&other).await);
        // It has not heard of it.
        let refused = write(&led).await.expect_err("another leads");
        assert!(refused.causes().contains("taken over"), "{}", refused.causes());
        assert_eq!(written(&ctx).await, 0);
        write(&second.led().expect("it leads")).await.expect("the leader may");
        assert!(!step(&one).await);
        led.begin("test.late").await.expect_err("it has heard of it");
        led.read("test.late").await.expect_err("nor does it act on what it reads");
    }

    async fn background_work_is_the_leaders(ctx) {
        let ([first, second], [one, other]) = two(&ctx);
        let (tell, mut told) = unbounded_channel();
        let tasks = Tasks::new();
        drive(&first, &tasks, Teller("first", tell.clone()));
        drive(&second, &tasks, Teller("second", tell));
        assert!(step(&one).await);
        assert_eq!(next(&mut told).await, "first");
        lapse(&ctx).await;
        assert_eq!([step(&other).await, step(&one).await], [true, false]);
        assert_eq!(next(&mut told).await, "second");
        first.nudges.nudge(Teller::NAME);
        second.nudges.nudge(Teller::NAME);
        assert_eq!(next(&mut told).await, "second");
        tasks.stop_within(PATIENCE).await.expect("ends");
        assert!(told.is_empty(), "the first has not ticked again");
    }
}

#[tokio::test]
async fn nobody_takes_over_in_the_middle_of_a_leaders_commit_on_postgres() {
    crate::testing::with_postgres(MIGRATIONS, async |ctx| {
        let ([first, _], [one, other]) = two(&ctx);
        assert!(step(&one).await);
        let led = first.led().expect("it leads");
        let mut tx = led.begin("test.commit").await.expect("begins");
        let epoch = led.epoch().expect("of several");
        assert!(store::is_still(&mut tx, epoch).await.expect("reads"));
        assert!(step(&one).await, "the lease is renewed beside it");
        lapse(&ctx).await;
        let mut taking = std::pin::pin!(other.step());
        let waits = async {
            loop {
                let mut tx = ctx.read("test.waits").await.expect("begins");
                let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                               AND datname = current_database()";
                if fetch_one!(tx, (i64,), sql(waiting)).expect("reads").0 > 0 {
                    return;
                }
            }
        };
        tokio::select! {
            taken = &mut taking => panic!("it took over: {taken:?}"),
            waited = timeout(PATIENCE, waits) => waited.expect("it waits for the commit"),
        }
        tx.commit(()).await.expect("it was the leader when it began to commit");
        assert!(taking.await.expect("the database answers"));
    })
    .await;
}
