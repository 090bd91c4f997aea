//! What was submitted becomes the history that the pool's forecast is made of.

use super::*;
use crate::tests::{migrations, note, run, submit, tenant};

kernel::on_both! { migrations();
    async fn what_comes_every_week_is_expected_in_the_third(ctx) {
        let tenant = tenant(&ctx).await;
        let settings = pool::Settings { prewarm: true, ..pool::Settings::default() };
        let mut warm = Vec::new();
        for _ in 0..3 {
            let mut tx = ctx.begin("test").await.expect("begins");
            warm.push(pool::machines::view(&mut tx, &settings, ctx.now()).await.expect("looks").warm);
            drop(tx);
            for number in 0..11 {
                submit(&ctx, tenant, run(&format!("t{number}"))).await;
                // A note is nothing to run.
                submit(&ctx, tenant, note(&format!("n{number}"))).await;
            }
            ctx.clock.advance(Duration::from_secs(3_600));
            while Arrivals.tick(&ctx).await.expect("writes") > 0 {}
            ctx.clock.advance(Duration::from_secs(7 * 24 * 3_600 - 3_600));
            while Arrivals.tick(&ctx).await.expect("writes") > 0 {}
        }
        // Eleven at once are a queue for three machines.
        assert_eq!(warm, [0, 0, 3]);
    }
}
