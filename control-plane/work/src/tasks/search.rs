//! Finding tasks by a text (row CAIRN-16), among a million of them. Exact: those that are
//! nothing but the text come first, then those with it in the title, then the rest, each
//! most urgent and then oldest first; and every character means itself.
//!
//! A text that many tasks have is found soonest by walking the tasks in that very order;
//! one that few have, by an index of the characters in a row that each text has, whose
//! finds are then compared and put in order. Which of the two it is shows on the way: the
//! walk is tried first, and not for long.

pub(crate) mod store;

use std::collections::HashSet;

use kernel::{Result, Tx};
use wire::id::{TaskId, TenantId};

use super::Task;
use store::{Field, Finds, Sought};

/// Tasks that are walked before the index is asked.
const WALKED_FIRST: i64 = 2_000;
/// Finds of the index that are worth putting in order; what has more is walked.
const SORTED_MOST: i64 = 4_000;

/// Up to so many tasks that have the text, which is in lower case.
pub(super) async fn search(tx: &mut Tx, tenant: TenantId, text: &str, limit: usize) -> Result<Vec<Task>> {
    let sought = Sought::new(tenant, text);
    let mut found = Found { tasks: Vec::new(), seen: HashSet::new(), limit };
    for field in [Field::Title, Field::Description] {
        found.take(store::exactly(tx, &sought, field, found.wanted()).await?);
    }
    // What many titles have is in the first of them.
    let first = if found.is_full() { Vec::new() } else { first(tx, &sought, found.wanted()).await? };
    found.take(first);
    if !found.is_full() {
        let finds = store::finds(tx, &sought, None, SORTED_MOST).await?;
        for field in [Field::Title, Field::Description] {
            if !found.is_full() {
                found.take(of_finds(tx, &sought, field, &finds, found.wanted()).await?);
            }
        }
    }
    Ok(found.tasks)
}

/// The tasks with the text in their title, if there are enough among the first of all.
async fn first(tx: &mut Tx, sought: &Sought, limit: i64) -> Result<Vec<Task>> {
    let first = store::walk(tx, sought, Field::Title, WALKED_FIRST, limit).await?;
    let is_enough = i64::try_from(first.len()).is_ok_and(|count| count >= limit);
    Ok(if is_enough { first } else { Vec::new() })
}

async fn of_finds(tx: &mut Tx, sought: &Sought, field: Field, finds: &Finds, limit: i64) -> Result<Vec<Task>> {
    match finds {
        Finds::Few(numbers) => store::of_numbers(tx, sought, field, numbers, limit).await,
        Finds::Unasked => store::by_index(tx, sought, field, limit).await,
        // Few in one of the two, perhaps.
        Finds::Many => match store::finds(tx, sought, Some(field), SORTED_MOST).await? {
            Finds::Few(numbers) => store::of_numbers(tx, sought, field, &numbers, limit).await,
            Finds::Many | Finds::Unasked => store::walk(tx, sought, field, i64::MAX, limit).await,
        },
    }
}

/// What was found, each once.
struct Found {
    tasks: Vec<Task>,
    seen: HashSet<TaskId>,
    limit: usize,
}

impl Found {
    fn is_full(&self) -> bool {
        self.tasks.len() >= self.limit
    }

    /// As many as would fill it, were all that are seen among them.
    fn wanted(&self) -> i64 {
        i64::try_from(self.limit).unwrap_or(i64::MAX)
    }

    fn take(&mut self, tasks: Vec<Task>) {
        let room = self.limit - self.tasks.len();
        let news = tasks.into_iter().filter(|task| self.seen.insert(task.id));
        self.tasks.extend(news.take(room));
    }
}

#[cfg(test)]
mod tests;
