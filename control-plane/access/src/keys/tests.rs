//! Keys on both databases.

use super::*;

fn migrations() -> Vec<kernel::Migration> {
    [kernel::MIGRATIONS, crate::MIGRATIONS].concat()
}

const KEY: &str = "bifrost_0123456789abcdef";

kernel::on_both! { migrations();
    async fn the_first_key_may_do_everything_and_no_other_key_anything(ctx) {
        let tenant = ensure_bootstrap_key(&ctx, KEY).await.expect("made");
        let caller = authenticate(&ctx, KEY).await.expect("known");
        assert_eq!((caller.tenant, &caller.permissions), (tenant, &Permissions::all()));
        let error = authenticate(&ctx, "bifrost_0123456789abcdeg").await.expect_err("unknown");
        assert_eq!(error.code(), "unauthenticated");
    }

    async fn a_new_first_key_takes_the_old_ones_place(ctx) {
        let tenant = ensure_bootstrap_key(&ctx, KEY).await.expect("made");
        assert_eq!(ensure_bootstrap_key(&ctx, KEY).await.expect("again"), tenant);
        assert_eq!(ensure_bootstrap_key(&ctx, "bifrost_another_key_123").await.expect("changed"), tenant);
        authenticate(&ctx, KEY).await.expect_err("revoked");
        ensure_bootstrap_key(&ctx, KEY).await.expect("back");
        authenticate(&ctx, KEY).await.expect("known again");
        authenticate(&ctx, "bifrost_another_key_123").await.expect_err("revoked");
    }

    async fn a_revoked_key_is_refused_within_a_second(ctx) {
        ensure_bootstrap_key(&ctx, KEY).await.expect("made");
        let known = KnownKeys::default();
        let caller = known.authenticate(&ctx, KEY).await.expect("known");
        ensure_bootstrap_key(&ctx, "bifrost_another_key_123").await.expect("changed");
        ctx.clock.advance(std::time::Duration::from_millis(999));
        assert_eq!(known.authenticate(&ctx, KEY).await.expect("seen lately"), caller);
        ctx.clock.advance(std::time::Duration::from_millis(1));
        known.authenticate(&ctx, KEY).await.expect_err("revoked");
        known.authenticate(&ctx, "bifrost_another_key_123").await.expect("known");
    }

    async fn a_clock_that_is_set_back_makes_no_key_known_for_longer(ctx) {
        ensure_bootstrap_key(&ctx, KEY).await.expect("made");
        let known = KnownKeys::default();
        known.authenticate(&ctx, KEY).await.expect("known");
        ensure_bootstrap_key(&ctx, "bifrost_another_key_123").await.expect("changed");
        ctx.clock.set(ctx.now() - TimeDelta::hours(1));
        known.authenticate(&ctx, KEY).await.expect_err("revoked");
    }

    async fn only_so_many_keys_are_known_at_once(ctx) {
        ensure_bootstrap_key(&ctx, KEY).await.expect("made");
        let known = KnownKeys::default();
        for number in 0..KNOWN_KEYS + 10 {
            let key = format!("bifrost_0123456789_{number}");
            ensure_bootstrap_key(&ctx, &key).await.expect("made");
            known.authenticate(&ctx, &key).await.expect("known");
        }
        assert_eq!(known.lock().len(), KNOWN_KEYS);
        ctx.clock.advance(std::time::Duration::from_secs(1));
        ensure_bootstrap_key(&ctx, KEY).await.expect("back");
        known.authenticate(&ctx, KEY).await.expect("known");
        assert_eq!(known.lock().len(), 1);
    }

    async fn a_short_key_is_refused(ctx) {
        assert_eq!(ensure_bootstrap_key(&ctx, "secret").await.expect_err("short").code(), "invalid");
    }

    async fn every_statement_is_understood(ctx) {
        kernel::testing::prepare_all(&ctx, &crate::statements()).await;
    }
}
