//! Each promise of the migration runner, on both databases.

use super::*;
use crate::MIGRATIONS;

const SAME: fn(&'static str) -> Sql = |text| Sql { sqlite: text, postgres: text };

fn with(name: &'static str, up: &'static str) -> Vec<Migration> {
    let extra = Migration { name, up: SAME(up), down: SAME("DROP TABLE extra;") };
    MIGRATIONS.iter().copied().chain([extra]).collect()
}

async fn has_table_extra(ctx: &Ctx) -> bool {
    crate::sql! { LOOK: "SELECT count(*) FROM extra"; }
    let mut tx = ctx.read("test.look").await.expect("begins");
    let found = crate::fetch_one!(tx, (i64,), LOOK);
    debug_assert_eq!(STATEMENTS.len(), 1);
    found.is_ok()
}

crate::on_both! { MIGRATIONS;
    async fn a_second_run_changes_nothing(ctx) {
        assert_eq!(migrate(&ctx, MIGRATIONS).await.expect("migrates"), 0);
    }

    async fn a_failing_step_leaves_schema_and_version_untouched(ctx) {
        let broken = with("30000101000000_extra", "CREATE TABLE extra (id BIGINT); SELECT no_such_function_at_all();");
        migrate(&ctx, &broken).await.expect_err("the second statement fails");
        assert!(!has_table_extra(&ctx).await);
        let mended = with("30000101000000_extra", "CREATE TABLE extra (id BIGINT);");
        assert_eq!(migrate(&ctx, &mended).await.expect("migrates"), 1);
        assert!(has_table_extra(&ctx).await);
    }

    async fn a_newer_database_is_refused(ctx) {
        migrate(&ctx, &with("30000101000000_extra", "CREATE TABLE extra (id BIGINT);")).await.expect("migrates");
        let error = migrate(&ctx, MIGRATIONS).await.expect_err("it is newer");
        let cause = std::error::Error::source(&error).expect("a cause").to_string();
        assert!(cause.contains("newer than this program"), "{cause}");
    }

    async fn every_step_has_a_way_back(ctx) {
        migrate(&ctx, &with("30000101000000_extra", "CREATE TABLE extra (id BIGINT);")).await.expect("migrates");
        let all = with("30000101000000_extra", "");
        assert_eq!(revert(&ctx, &all, "").await.expect("reverts"), all.len());
        assert_eq!(migrate(&ctx, MIGRATIONS).await.expect("migrates again"), MIGRATIONS.len());
    }

    async fn every_statement_is_understood(ctx) {
        crate::testing::prepare_all(&ctx, &crate::statements()).await;
    }
}
