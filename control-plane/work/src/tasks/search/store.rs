//! SQL of the search.

use kernel::{Inner, Result, Tx, fetch_all, fetch_one};
use wire::id::TenantId;

use super::super::Task;
use super::super::store::{Row, tasks};

kernel::sql! {
    EXACT_TITLE: "SELECT * FROM tasks WHERE tenant_id = $1 AND substr(folded_title, 1, 64) = substr($2, 1, 64) \
                  AND folded_title = $2 ORDER BY priority DESC, created_at, id LIMIT $3",
        postgres "SELECT t.* FROM task_texts x JOIN tasks t ON t.id = x.task_id \
                  WHERE x.tenant_id = $1 AND substr(x.title, 1, 64) = substr($2, 1, 64) AND x.title = $2 \
                  ORDER BY t.priority DESC, t.created_at, t.id LIMIT $3";
    EXACT_DESCRIPTION: "SELECT * FROM tasks WHERE tenant_id = $1 AND folded_description <> '' \
                        AND substr(folded_description, 1, 64) = substr($2, 1, 64) AND folded_description = $2 \
                        ORDER BY priority DESC, created_at, id LIMIT $3",
        postgres "SELECT t.* FROM task_texts x JOIN tasks t ON t.id = x.task_id \
                  WHERE x.tenant_id = $1 AND x.description <> '' \
                    AND substr(x.description, 1, 64) = substr($2, 1, 64) AND x.description = $2 \
                  ORDER BY t.priority DESC, t.created_at, t.id LIMIT $3";
    WALK_TITLE: "SELECT * FROM (SELECT * FROM tasks WHERE tenant_id = $1 ORDER BY priority DESC, created_at, id LIMIT $3) t \
                 WHERE folded_title LIKE $2 ESCAPE '\\' ORDER BY priority DESC, created_at, id LIMIT $4";
    WALK_DESCRIPTION: "SELECT * FROM (SELECT * FROM tasks WHERE tenant_id = $1 \
                                      ORDER BY priority DESC, created_at, id LIMIT $3) t \
                       WHERE folded_description LIKE $2 ESCAPE '\\' ORDER BY priority DESC, created_at, id LIMIT $4";
    // The joins in the order written: the index first, whatever the planner thinks of it.
    INDEX_TITLE: "SELECT t.* FROM task_search CROSS JOIN task_texts x ON x.number = task_search.rowid \
                  CROSS JOIN tasks t ON t.id = x.task_id \
                  WHERE task_search MATCH $3 AND t.tenant_id = $1 AND t.folded_title LIKE $2 ESCAPE '\\' \
                  ORDER BY t.priority DESC, t.created_at, t.id LIMIT $4",
        postgres "SELECT t.* FROM task_texts x JOIN tasks t ON t.id = x.task_id \
                  WHERE x.tenant_id = $1 \
                    AND bifrost_grams(x.title) @> ARRAY(SELECT jsonb_array_elements_text(CAST($3 AS JSONB))) \
                    AND x.title LIKE $2 ESCAPE '\\' ORDER BY t.priority DESC, t.created_at, t.id LIMIT $4";
    INDEX_DESCRIPTION: "SELECT t.* FROM task_search CROSS JOIN task_texts x ON x.number = task_search.rowid \
                        CROSS JOIN tasks t ON t.id = x.task_id \
                        WHERE task_search MATCH $3 AND t.tenant_id = $1 AND t.folded_description LIKE $2 ESCAPE '\\' \
                        ORDER BY t.priority DESC, t.created_at, t.id LIMIT $4",
        postgres "SELECT t.* FROM task_texts x JOIN tasks t ON t.id = x.task_id \
                  WHERE x.tenant_id = $1 \
                    AND bifrost_grams(x.description) @> ARRAY(SELECT jsonb_array_elements_text(CAST($3 AS JSONB))) \
                    AND x.description LIKE $2 ESCAPE '\\' ORDER BY t.priority DESC, t.created_at, t.id LIMIT $4";
}

/// Counts the finds of SQLite's index, up to a limit. Postgres has no such question: its index gives all finds at once.
const COUNT_FINDS: &str = "-- work::tasks::search::store::COUNT_FINDS
    SELECT count(*) FROM (SELECT 1 FROM task_search WHERE task_search MATCH $1 LIMIT $2)";

/// Where the text is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    Title,
    Description,
}

/// What is looked for, in the forms in which the statements want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sought {
    tenant: TenantId,
    text: String,
    pattern: String,
    /// Characters in a row that whatever has the text has as well.
    grams: Vec<String>,
}

/// The most characters in a row that the index is asked for at once; what it finds is compared anyway.
const GRAMS: usize = 16;
/// As many characters as SQLite's index knows in a row.
const GRAM: usize = 3;

impl Sought {
    pub(super) fn new(tenant: TenantId, text: &str) -> Self {
        let literally = text.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        let characters: Vec<char> = text.chars().collect();
        let all: Vec<String> =
            characters.windows(GRAM.min(characters.len())).map(|some| some.iter().collect()).collect();
        let step = all.len().div_ceil(GRAMS).max(1);
        let mut grams: Vec<String> = all.iter().step_by(step).chain(all.last()).cloned().collect();
        grams.dedup();
        Self { tenant, text: text.to_owned(), pattern: format!("%{literally}%"), grams }
    }

    /// As Postgres reads it.
    fn as_json(&self) -> String {
        serde_json::Value::from(self.grams.clone()).to_string()
    }

    /// As SQLite's index reads it.
    fn as_match(&self, field: Field) -> String {
        let quoted: Vec<String> = self.grams.iter().map(|gram| format!("\"{}\"", gram.replace('"', "\"\""))).collect();
        let column = match field {
            Field::Title => "title",
            Field::Description => "description",
        };
        format!("{column} : ({})", quoted.join(" AND "))
    }
}

/// Tasks of which the field is nothing but the text.
pub(super) async fn exactly(tx: &mut Tx, sought: &Sought, field: Field, limit: i64) -> Result<Vec<Task>> {
    let (tenant, text) = (sought.tenant.uuid(), &sought.text);
    Ok(tasks(match field {
        Field::Title => fetch_all!(tx, Row, EXACT_TITLE, tenant, text, limit)?,
        Field::Description => fetch_all!(tx, Row, EXACT_DESCRIPTION, tenant, text, limit)?,
    }))
}

/// Of the first so many tasks those that have the text in the field.
pub(super) async fn walk(tx: &mut Tx, sought: &Sought, field: Field, walked: i64, limit: i64) -> Result<Vec<Task>> {
    let (tenant, pattern) = (sought.tenant.uuid(), &sought.pattern);
    Ok(tasks(match field {
        Field::Title => fetch_all!(tx, Row, WALK_TITLE, tenant, pattern, walked, limit)?,
        Field::Description => fetch_all!(tx, Row, WALK_DESCRIPTION, tenant, pattern, walked, limit)?,
    }))
}

/// Whether the index finds so few that they can all be put in order. SQLite's does not know a text of one or
/// two characters, so for it such a text is not rare.
pub(super) async fn is_rare(tx: &mut Tx, sought: &Sought, field: Field, most: i64) -> Result<bool> {
    if matches!(tx.inner(), Inner::Postgres(_)) {
        return Ok(true);
    }
    if sought.text.chars().count() < GRAM {
        return Ok(false);
    }
    let sql = kernel::Sql { sqlite: COUNT_FINDS, postgres: COUNT_FINDS };
    let (count,) = fetch_one!(tx, (i64,), sql, &sought.as_match(field), most + 1)?;
    Ok(count <= most)
}

/// Tasks that have the text in the field, as the index finds them.
pub(super) async fn by_index(tx: &mut Tx, sought: &Sought, field: Field, limit: i64) -> Result<Vec<Task>> {
    let (tenant, pattern) = (sought.tenant.uuid(), &sought.pattern);
    let grams = match tx.inner() {
        Inner::Sqlite(_) => sought.as_match(field),
        Inner::Postgres(_) => sought.as_json(),
    };
    Ok(tasks(match field {
        Field::Title => fetch_all!(tx, Row, INDEX_TITLE, tenant, pattern, &grams, limit)?,
        Field::Description => fetch_all!(tx, Row, INDEX_DESCRIPTION, tenant, pattern, &grams, limit)?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_index_is_asked_for_is_in_the_text_and_not_too_much() {
        let grams = |text: &str| Sought::new(TenantId::from(sqlx::types::Uuid::nil()), text).grams;
        assert_eq!(grams("a"), ["a"]);
        assert_eq!(grams("ab"), ["ab"]);
        assert_eq!(grams("a\"cé"), ["a\"c", "\"cé"]);
        let long: String = ('a'..='z').cycle().take(500).collect();
        let asked = grams(&long);
        assert!(asked.len() <= GRAMS + 1 && asked.iter().all(|gram| long.contains(gram.as_str())), "{asked:?}");
    }
}
