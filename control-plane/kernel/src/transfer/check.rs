//! Whether a database is as it should be.

use serde::Serialize;

use crate::{Ctx, Db, Error, Migration, Result, Sql, Tx, fetch_all, fetch_one, migrate, schema, wall};

/// Something that was looked at, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub what: &'static str,
    /// What is wrong; nothing where all is well.
    pub problems: Vec<String>,
}

const INTEGRITY: Sql = Sql { sqlite: "PRAGMA integrity_check", postgres: "SELECT 'ok'" };
const LINKS: Sql = Sql {
    sqlite: "SELECT \"table\" || ' refers to a missing row of ' || parent FROM pragma_foreign_key_check",
    postgres: "SELECT conname || ' was never validated' FROM pg_constraint WHERE NOT convalidated",
};
const PASSES_WALLS: Sql = Sql {
    sqlite: "SELECT false",
    postgres: "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user",
};

/// Looks at versions, schema, pages and indexes, links between tables, and walls between tenants. Changes nothing.
pub async fn check(ctx: &Ctx, migrations: &[Migration]) -> Result<Vec<Finding>> {
    let mut tx = ctx.of_maintenance().read("kernel.check").await?;
    let mut findings = Vec::new();
    let versions = migrate::differences(&mut tx, migrations).await?;
    if versions.is_empty() {
        let (described, expected) = (schema::describe(&mut tx).await?, schema::expected(ctx, migrations).await?);
        let problems = schema::differences(&described, &expected);
        findings.push(Finding { what: "tables, constraints and indexes", problems });
    }
    findings.push(Finding { what: "schema version", problems: versions });
    findings.extend(pages_and_links(&mut tx).await?);
    if let Db::Postgres(_) = &ctx.db {
        let mut problems: Vec<String> = wall::store::unwalled(&mut tx).await?;
        problems.iter_mut().for_each(|table| table.push_str(" has no row-level security"));
        if fetch_one!(tx, (bool,), PASSES_WALLS)?.0 {
            problems.push("this user passes row-level security; use one that is no superuser".into());
        }
        findings.push(Finding { what: "walls between tenants", problems });
    }
    Ok(findings)
}

/// Whether the database holds together.
pub(super) async fn pages_and_links(tx: &mut Tx) -> Result<[Finding; 2]> {
    let texts = |rows: Vec<(String,)>| rows.into_iter().map(|(text,)| text).filter(|text| text != "ok").collect();
    Ok([
        Finding { what: "pages and indexes", problems: texts(fetch_all!(tx, (String,), INTEGRITY)?) },
        Finding { what: "links between tables", problems: texts(fetch_all!(tx, (String,), LINKS)?) },
    ])
}

/// Refuses a database that is not of this program's version.
pub(super) async fn versions(tx: &mut Tx, migrations: &[Migration], which: &str) -> Result<()> {
    match migrate::differences(tx, migrations).await?.first() {
        None => Ok(()),
        Some(difference) => {
            let cure = "use the bifrost that it belongs to, or start this version's control plane on it once";
            Err(Error::conflict("schema_differs", format!("{which}: {difference}; {cure}")))
        }
    }
}
