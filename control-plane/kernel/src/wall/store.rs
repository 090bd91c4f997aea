//! SQL of the wall.

use sqlx::raw_sql;

use crate::{Inner, Result, Tx, fetch_all};

/// `app.operator_id` is the older name of `app.tenant_id`. The settings are read once a statement, not once a row.
const BUILD: &str = r"
DO $build$
DECLARE
    wanted record;
    admin CONSTANT text := $$(SELECT coalesce(current_setting('app.is_admin', true), '') = 'true')$$;
    tenant CONSTANT text := $$(SELECT CAST(coalesce(nullif(current_setting('app.tenant_id', true), ''), nullif(current_setting('app.operator_id', true), '')) AS UUID))$$;
    rule text;
BEGIN
    FOR wanted IN
        SELECT tables.relname AS table_name, columns.attname AS column_name, NOT columns.attnotnull AS may_be_nobodys
        FROM pg_class tables JOIN pg_attribute columns ON columns.attrelid = tables.oid
        WHERE tables.relnamespace = CAST(current_schema() AS regnamespace) AND tables.relkind IN ('r', 'p')
          AND NOT columns.attisdropped
          AND (columns.attname = 'tenant_id' OR (tables.relname = 'tenants' AND columns.attname = 'id'))
          AND NOT (tables.relrowsecurity AND tables.relforcerowsecurity AND EXISTS
                   (SELECT 1 FROM pg_policy WHERE polrelid = tables.oid AND polname = 'tenants_rows'))
    LOOP
        rule := format('%s OR %I = %s', admin, wanted.column_name, tenant);
        IF wanted.may_be_nobodys THEN
            rule := format('%s OR %I IS NULL', rule, wanted.column_name);
        END IF;
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', wanted.table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', wanted.table_name);
        EXECUTE format('DROP POLICY IF EXISTS tenants_rows ON %I', wanted.table_name);
        EXECUTE format('CREATE POLICY tenants_rows ON %I USING (%s) WITH CHECK (%s)', wanted.table_name, rule, rule);
    END LOOP;
END
$build$";

/// A column that a rule speaks of can be neither dropped nor changed; and without its rule a wall hides every row.
const RAZE: &str = r"
DO $raze$
DECLARE
    walled record;
BEGIN
    FOR walled IN
        SELECT tables.relname AS table_name FROM pg_policy JOIN pg_class tables ON tables.oid = polrelid
        WHERE polname = 'tenants_rows' AND tables.relnamespace = CAST(current_schema() AS regnamespace)
    LOOP
        EXECUTE format('DROP POLICY tenants_rows ON %I', walled.table_name);
        EXECUTE format('ALTER TABLE %I NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY', walled.table_name);
    END LOOP;
END
$raze$";

crate::sql! {
    UNWALLED: "SELECT name FROM sqlite_schema WHERE false",
        postgres "SELECT CAST(tables.relname AS TEXT) FROM pg_class tables JOIN pg_attribute columns ON columns.attrelid = tables.oid \
                  WHERE tables.relnamespace = CAST(current_schema() AS regnamespace) AND tables.relkind IN ('r', 'p') \
                    AND columns.attname = 'tenant_id' AND NOT columns.attisdropped \
                    AND NOT (tables.relrowsecurity AND tables.relforcerowsecurity AND EXISTS \
                             (SELECT 1 FROM pg_policy WHERE polrelid = tables.oid))";
}

/// Builds the wall where it is missing.
pub(crate) async fn build(tx: &mut Tx) -> Result<()> {
    run(tx, BUILD).await
}

/// Takes the wall down, so that tables can be changed. Until the transaction ends nobody else comes by.
pub(crate) async fn raze(tx: &mut Tx) -> Result<()> {
    run(tx, RAZE).await
}

async fn run(tx: &mut Tx, script: &'static str) -> Result<()> {
    if let Inner::Postgres(connection) = tx.inner() {
        raw_sql(script).execute(&mut **connection).await?;
    }
    Ok(())
}

/// Tables of tenants' rows without the wall.
pub(crate) async fn unwalled(tx: &mut Tx) -> Result<Vec<String>> {
    Ok(fetch_all!(tx, (String,), UNWALLED)?.into_iter().map(|(name,)| name).collect())
}
