//! SQL of the search.

use kernel::{Inner, Result, Tx, fetch_all, rows};
use wire::id::TenantId;

use super::super::Task;
use super::super::store::{Row, tasks};

kernel::sql! {
    EXACT_TITLE: "SELECT * FROM tasks WHERE tenant_id = $1 AND substr(folded_title, 1, 64) = substr($2, 1, 64) \
                  AND folded_title = $2 ORDER BY priority DESC, created_at, id LIMIT $3",
        postgres "SELECT t.* FROM task_texts_by_trigger x JOIN tasks t ON t.id = x.task_id \
                  WHERE x.tenant_id = $1 AND substr(x.title, 1, 64) = substr($2, 1, 64) AND x.title = $2 \
                  ORDER BY t.priority DESC, t.created_at, t.id LIMIT $3";
    EXACT_DESCRIPTION: "SELECT * FROM tasks WHERE tenant_id = $1 AND folded_description <> '' \
                        AND substr(folded_description, 1, 64) = substr($2, 1, 64) AND folded_description = $2 \
                        ORDER BY priority DESC, created_at, id LIMIT $3",
        postgres "SELECT t.* FROM task_texts_by_trigger x JOIN tasks t ON t.id = x.task_id \
                  WHERE x.tenant_id = $1 AND x.description <> '' \
                    AND substr(x.description, 1, 64) = substr($2, 1, 64) AND x.description = $2 \
                  ORDER BY t.priority DESC, t.created_at, t.id LIMIT $3";
    WALK_TITLE: "SELECT * FROM (SELECT * FROM tasks WHERE tenant_id = $1 ORDER BY priority DESC, created_at, id LIMIT $3) t \
                 WHERE folded_title LIKE $2 ESCAPE '\\' ORDER BY priority DESC, created_at, id LIMIT $4";
    WALK_DESCRIPTION: "SELECT * FROM (SELECT * FROM tasks WHERE tenant_id = $1 \
                                      ORDER BY priority DESC, created_at, id LIMIT $3) t \
                       WHERE folded_description LIKE $2 ESCAPE '\\' ORDER BY priority DESC, created_at, id LIMIT $4";
    // Of tasks by their numbers; the numbers first, whatever the planner thinks of them. Postgres has none.
    NUMBERED_TITLE: "SELECT t.* FROM json_each($3) n CROSS JOIN task_numbers_by_trigger x ON x.number = n.value \
                     CROSS JOIN tasks t ON t.id = x.task_id \
                     WHERE t.tenant_id = $1 AND t.folded_title LIKE $2 ESCAPE '\\' \
                     ORDER BY t.priority DESC, t.created_at, t.id LIMIT $4",
        postgres "SELECT * FROM tasks WHERE id = NULL";
    NUMBERED_DESCRIPTION: "SELECT t.* FROM json_each($3) n CROSS JOIN task_numbers_by_trigger x ON x.number = n.value \
                           CROSS JOIN tasks t ON t.id = x.task_id \
                           WHERE t.tenant_id = $1 AND t.folded_description LIKE $2 ESCAPE '\\' \
                           ORDER BY t.priority DESC, t.created_at, t.id LIMIT $4",
        postgres "SELECT * FROM tasks WHERE id = NULL";
    // Postgres' index, which gives the tasks at once. SQLite's gives numbers.
    INDEX_TITLE: "SELECT * FROM tasks WHERE id = NULL",
        postgres "SELECT t.* FROM task_texts_by_trigger x JOIN tasks t ON t.id = x.task_id \
                  WHERE x.tenant_id = $1 \
                    AND bifrost_grams(x.title) @> ARRAY(SELECT jsonb_array_elements_text(CAST($3 AS JSONB))) \
                    AND x.title LIKE $2 ESCAPE '\\' ORDER BY t.priority DESC, t.created_at, t.id LIMIT $4";
    INDEX_DESCRIPTION: "SELECT * FROM tasks WHERE id = NULL",
        postgres "SELECT t.* FROM task_texts_by_trigger x JOIN tasks t ON t.id = x.task_id \
                  WHERE x.tenant_id = $1 \
                    AND bifrost_grams(x.description) @> ARRAY(SELECT jsonb_array_elements_text(CAST($3 AS JSONB))) \
                    AND x.description LIKE $2 ESCAPE '\\' ORDER BY t.priority DESC, t.created_at, t.id LIMIT $4";
}

/// Questions to SQLite's index. Postgres' own gives the tasks at once, and knows one and two characters in a row as well
/// as three.
mod sqlite {
    /// Some texts of the tenant, to see what is common in them.
    pub(super) const SAMPLE: &str = "-- work::tasks::search::store::SAMPLE
        SELECT folded_title || ' ' || substr(folded_description, 1, 2000) FROM tasks WHERE tenant_id = $1
        ORDER BY priority DESC, created_at, id LIMIT $2";
    pub(super) const FINDS: &str = "-- work::tasks::search::store::FINDS
        SELECT rowid FROM task_search WHERE task_search MATCH $1 LIMIT $2";
    /// Of one or two characters: the terms that begin with them.
    pub(super) const SHORT_FINDS: &str = "-- work::tasks::search::store::SHORT_FINDS
        SELECT DISTINCT doc FROM task_search_terms WHERE term >= $1 AND term < $2 AND ($3 IS NULL OR col = $3) LIMIT $4";
}

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
/// Texts that are looked at to see which characters in a row are common: a list of those is long to read.
const SAMPLED: i64 = 200;
/// The most of them that are asked for first, the rarest of the sample.
const RAREST: usize = 3;
/// Finds of those that are worth looking at, rather than to ask for more of them.
const LOOKED_AT_MOST: i64 = 1_000;

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

    /// Those that fewest texts of a sample have.
    fn rarest(&self, sample: &[String]) -> Vec<&str> {
        let mut counted: Vec<(usize, &str)> = self
            .grams
            .iter()
            .map(|gram| (sample.iter().filter(|text| text.contains(gram.as_str())).count(), &**gram))
            .collect();
        counted.sort_unstable();
        counted.dedup();
        counted.into_iter().take(RAREST).map(|(_, gram)| gram).collect()
    }

    /// As Postgres reads it.
    fn as_json(&self) -> String {
        serde_json::Value::from(self.grams.clone()).to_string()
    }

    /// As SQLite's index reads it.
    fn as_match(&self, field: Option<Field>) -> String {
        all_of(self.grams.iter().map(String::as_str), field)
    }

    /// Whether it has fewer characters than a term of SQLite's index.
    fn is_short(&self) -> bool {
        self.text.chars().count() < GRAM
    }

    /// What comes behind all terms that begin with the text.
    fn behind(&self) -> String {
        format!("{}{}{}", self.text, char::MAX, char::MAX)
    }
}

fn all_of<'a>(grams: impl IntoIterator<Item = &'a str>, field: Option<Field>) -> String {
    let quoted: Vec<String> = grams.into_iter().map(|gram| format!("\"{}\"", gram.replace('"', "\"\""))).collect();
    let columns = field.map_or("{title description}", Field::column);
    format!("{columns} : ({})", quoted.join(" AND "))
}

impl Field {
    fn column(self) -> &'static str {
        match self {
            Self::Title => "title",
            Self::Description => "description",
        }
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

/// What an index says of all tasks, each by its number.
#[derive(Debug)]
pub(super) enum Finds {
    /// So few that they can all be looked at and put in order. Not each has to have the text.
    Few(Vec<i64>),
    /// More than that.
    Many,
    /// It gives tasks rather than numbers: see [`by_index`].
    Unasked,
}

/// Asks SQLite's index, of a field or of both. For a long text first for what is rare in it: that is soon read, and leaves
/// few to look at. Where it leaves many, for all of it.
pub(super) async fn finds(tx: &mut Tx, sought: &Sought, field: Option<Field>, most: i64) -> Result<Finds> {
    let Inner::Sqlite(connection) = tx.inner() else { return Ok(Finds::Unasked) };
    if sought.is_short() {
        let query = sqlx::query_as(sqlite::SHORT_FINDS).bind(&sought.text).bind(sought.behind());
        let query = query.bind(field.map(Field::column)).bind(most + 1);
        return Ok(few_or_many(query.fetch_all(&mut **connection).await?, most));
    }
    if sought.grams.len() > RAREST {
        let query = sqlx::query_as(sqlite::SAMPLE).bind(sought.tenant.uuid()).bind(SAMPLED);
        let sample: Vec<(String,)> = query.fetch_all(&mut **connection).await?;
        let sample: Vec<String> = sample.into_iter().map(|(text,)| text).collect();
        let query = sqlx::query_as(sqlite::FINDS).bind(all_of(sought.rarest(&sample), field));
        let rare = query.bind(LOOKED_AT_MOST + 1).fetch_all(&mut **connection).await?;
        if let Finds::Few(numbers) = few_or_many(rare, LOOKED_AT_MOST) {
            return Ok(Finds::Few(numbers));
        }
    }
    let query = sqlx::query_as(sqlite::FINDS).bind(sought.as_match(field)).bind(most + 1);
    Ok(few_or_many(query.fetch_all(&mut **connection).await?, most))
}

fn few_or_many(numbers: Vec<(i64,)>, most: i64) -> Finds {
    let is_few = i64::try_from(numbers.len()).is_ok_and(|count| count <= most);
    if is_few { Finds::Few(numbers.into_iter().map(|(number,)| number).collect()) } else { Finds::Many }
}

/// Those of these tasks that have the text in the field.
pub(super) async fn of_numbers(
    tx: &mut Tx,
    sought: &Sought,
    field: Field,
    numbers: &[i64],
    limit: i64,
) -> Result<Vec<Task>> {
    let (tenant, pattern, numbers) = (sought.tenant.uuid(), &sought.pattern, rows(numbers)?);
    Ok(tasks(match field {
        Field::Title => fetch_all!(tx, Row, NUMBERED_TITLE, tenant, pattern, &numbers, limit)?,
        Field::Description => fetch_all!(tx, Row, NUMBERED_DESCRIPTION, tenant, pattern, &numbers, limit)?,
    }))
}

/// Tasks that have the text in the field, as Postgres' index finds them.
pub(super) async fn by_index(tx: &mut Tx, sought: &Sought, field: Field, limit: i64) -> Result<Vec<Task>> {
    let (tenant, pattern, grams) = (sought.tenant.uuid(), &sought.pattern, sought.as_json());
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

    #[test]
    fn what_few_texts_of_a_sample_have_is_asked_for_first() {
        let sought = Sought::new(TenantId::from(sqlx::types::Uuid::nil()), "part 7 of");
        let sample: Vec<String> =
            (1..=6).map(|number| format!("this is part {number} of what is to be done")).collect();
        assert_eq!(sought.rarest(&sample), [" 7 ", "7 o", "t 7"]);
        assert_eq!(sought.rarest(&[]).len(), RAREST);
    }
}
