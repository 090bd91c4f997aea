//! The critical path over everything that is open: which chain of tasks decides how
//! long all of it takes, and how much time the others have to spare.

pub(crate) mod store;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use kernel::{Ctx, Error, Result, Tx};
use sqlx::types::Uuid;
use wire::id::{TaskId, TenantId};
use wire::plan::{CriticalPath, EFFORT_MINUTES_DEFAULT, TaskTimes};

use crate::dependencies::graph::critical_path::{Graph, Times, times};
use crate::tasks;

/// What an answer shows where nothing else is asked.
const SHOWN_DEFAULT: usize = 100;
/// The most tasks that an answer shows, of the path and of the others.
const SHOWN_MAX: usize = 10_000;

/// The path, and the tasks with the least time to spare, at most so many.
pub async fn critical_path(ctx: &Ctx, tenant: TenantId, limit: Option<usize>) -> Result<CriticalPath> {
    let limit = limit.unwrap_or(SHOWN_DEFAULT);
    if !(1..=SHOWN_MAX).contains(&limit) {
        return Err(Error::invalid("limit", format!("must be from 1 to {SHOWN_MAX}")));
    }
    let mut tx = ctx.read("critical_path").await?;
    let open = open(&mut tx, tenant).await?;
    // A second of arithmetic for a million tasks: other requests must not wait for it.
    let (open, times, least) = tokio::task::spawn_blocking(move || {
        let times = times(&open.graph);
        let least = least(&times, limit);
        (open, times, least)
    })
    .await
    .map_err(|error| Error::Internal(error.into()))?;
    let path = &times.path[..times.path.len().min(SHOWN_MAX)];
    let shown = path.iter().chain(&least).map(|at| open.ids[*at as usize].into()).collect::<Vec<TaskId>>();
    let titles = tasks::store::titles(&mut tx, tenant, &shown).await?;
    let view = |at: &u32| {
        let (at, id) = (*at as usize, open.ids[*at as usize].into());
        TaskTimes {
            id,
            title: titles.get(&id).cloned().unwrap_or_default(),
            effort_minutes: open.graph.efforts[at],
            earliest_start_minutes: times.earliest[at],
            latest_start_minutes: times.latest[at],
            slack_minutes: times.slack(at),
        }
    };
    Ok(CriticalPath {
        length_minutes: times.length,
        path: path.iter().map(view).collect(),
        path_tasks: times.path.len(),
        tasks: least.iter().map(view).collect(),
        open_tasks: open.ids.len(),
        default_effort_minutes: EFFORT_MINUTES_DEFAULT,
    })
}

/// The tasks with the least time to spare, those that can begin first before others.
fn least(times: &Times, limit: usize) -> Vec<u32> {
    let mut all: Vec<u32> = (0..u32::try_from(times.earliest.len()).unwrap_or(u32::MAX)).collect();
    let key = |at: &u32| (times.slack(*at as usize), times.earliest[*at as usize], *at);
    if all.len() > limit {
        all.select_nth_unstable_by_key(limit, key);
        all.truncate(limit);
    }
    all.sort_unstable_by_key(key);
    all
}

/// Everything that is open, by numbers.
struct Open {
    ids: Vec<Uuid>,
    graph: Graph,
}

async fn open(tx: &mut Tx, tenant: TenantId) -> Result<Open> {
    let (ids, efforts): (Vec<Uuid>, Vec<i64>) = store::tasks(tx, tenant).await?.into_iter().unzip();
    let numbers: HashMap<u128, u32, BuildHasherDefault<Spread>> = ids.iter().map(Uuid::as_u128).zip(0..).collect();
    // What is not open any more holds nobody up in time, if at all.
    let both = |(task, needed): (Uuid, Uuid)| Some((*numbers.get(&task.as_u128())?, *numbers.get(&needed.as_u128())?));
    let mut needs = Vec::new();
    store::each_page_of_needs(tx, tenant, store::PAGE, |page| needs.extend(page.iter().copied().filter_map(both)))
        .await?;
    let mut groups: HashMap<(u32, String), Vec<u32>> = HashMap::new();
    for (task, needed, label) in store::groups(tx, tenant).await? {
        if let Some((task, needed)) = both((task, needed)) {
            groups.entry((task, label)).or_default().push(needed);
        }
    }
    let groups = groups.into_iter().map(|((task, _), any)| (task, any)).collect();
    Ok(Open { graph: Graph { efforts, needs, groups }, ids })
}

/// Ids are random enough to be their own hashes; nobody outside chooses them.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    #[expect(clippy::cast_possible_truncation, reason = "both halves are wanted")]
    fn write_u128(&mut self, id: u128) {
        self.0 = ((id >> 64) as u64 ^ id as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests;
