//! SQL that asks each database's catalogue what there is.

use crate::{Result, Tx, fetch_all};

crate::sql! {
    LINES: "SELECT tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL AND tbl_name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
            ORDER BY tbl_name, type DESC, name",
        postgres r"SELECT table_name, replace(line, quote_ident(current_schema()) || '.', '') FROM (
            SELECT tables.relname AS table_name, 1 AS part, columns.attnum AS place, '' AS name,
                   format('column %s %s%s%s%s', columns.attname, format_type(columns.atttypid, columns.atttypmod),
                          CASE WHEN columns.attnotnull THEN ' NOT NULL' ELSE '' END,
                          CASE WHEN columns.attidentity <> '' THEN ' IDENTITY' ELSE '' END,
                          coalesce(' DEFAULT ' || pg_get_expr(defaults.adbin, defaults.adrelid), '')) AS line
            FROM pg_class tables JOIN pg_attribute columns ON columns.attrelid = tables.oid
            LEFT JOIN pg_attrdef defaults ON defaults.adrelid = tables.oid AND defaults.adnum = columns.attnum
            WHERE tables.relkind IN ('r', 'p') AND columns.attnum > 0 AND NOT columns.attisdropped
              AND tables.relnamespace = CAST(current_schema() AS regnamespace)
            UNION ALL
            SELECT tables.relname, 2, 0, rules.conname, format('constraint %s %s', rules.conname, pg_get_constraintdef(rules.oid))
            FROM pg_constraint rules JOIN pg_class tables ON tables.oid = rules.conrelid
            WHERE tables.relnamespace = CAST(current_schema() AS regnamespace) AND rules.contype NOT IN ('t', 'n')
            UNION ALL
            SELECT tables.relname, 3, 0, parts.relname, pg_get_indexdef(indexes.indexrelid)
            FROM pg_index indexes JOIN pg_class tables ON tables.oid = indexes.indrelid JOIN pg_class parts ON parts.oid = indexes.indexrelid
            WHERE tables.relnamespace = CAST(current_schema() AS regnamespace)
            UNION ALL
            SELECT tables.relname, 4, 0, triggers.tgname, pg_get_triggerdef(triggers.oid)
            FROM pg_trigger triggers JOIN pg_class tables ON tables.oid = triggers.tgrelid
            WHERE tables.relnamespace = CAST(current_schema() AS regnamespace) AND NOT triggers.tgisinternal
            UNION ALL
            SELECT tables.relname, 5, 0, walls.polname, format('policy %s USING %s WITH CHECK %s%s', walls.polname,
                   pg_get_expr(walls.polqual, walls.polrelid), pg_get_expr(walls.polwithcheck, walls.polrelid),
                   CASE WHEN tables.relrowsecurity AND tables.relforcerowsecurity THEN ' FORCED' ELSE '' END)
            FROM pg_policy walls JOIN pg_class tables ON tables.oid = walls.polrelid
            WHERE tables.relnamespace = CAST(current_schema() AS regnamespace)
        ) found ORDER BY table_name, part, place, name";
}

/// Each table's name with a line about it, in an order that does not change.
pub(super) async fn lines(tx: &mut Tx) -> Result<Vec<(String, String)>> {
    Ok(fetch_all!(tx, (String, String), LINES)?)
}
