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

    async fn a_short_key_is_refused(ctx) {
        assert_eq!(ensure_bootstrap_key(&ctx, "secret").await.expect_err("short").code(), "invalid");
    }

    async fn every_statement_is_understood(ctx) {
        kernel::testing::prepare_all(&ctx, &crate::statements()).await;
    }
}
