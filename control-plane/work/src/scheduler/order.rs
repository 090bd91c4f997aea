//! In which order waiting tasks are looked at: priority first (5 first), and among
//! the same priority by turns, so that a tenant or a project with a thousand
//! tasks does not keep another's single one waiting. Pure.
//!
//! The turns are start-time fair queueing, tenants first, then the projects of the
//! tenant whose turn it is. Whoever is served is served again only once everybody
//! else who has work of this priority was served as often, for their weight; who
//! comes anew is served next, and who was away has saved nothing up. Within a
//! project the oldest task is first.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use wire::id::TenantId;

use super::plan::{Queue, Waiting};
use crate::admission::Lane;
use crate::admission::store::Head;

/// What a turn lasts for a weight of 1.
const TURN: i64 = 1_000_000;

/// Who takes turns.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Owner {
    Tenant(TenantId),
    /// The empty name is that of the tasks without a project.
    Project(TenantId, String),
}

/// What somebody gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) weight: i32,
    /// When the last turn began, in the time of turns; nothing before the first.
    pub(crate) started: Option<i64>,
}

/// Everybody's share.
pub(crate) type Shares = BTreeMap<Owner, Share>;

/// Whose turn it is.
#[derive(Debug, Clone)]
struct Turns {
    shares: Shares,
    served: BTreeSet<Owner>,
}

impl Turns {
    /// When the owner's next turn may begin, if `clock` is the time of their peers.
    fn due(&self, owner: &Owner, clock: i64) -> i64 {
        let share = self.shares.get(owner);
        let after = share.and_then(|share| Some(share.started? + TURN / i64::from(share.weight.max(1))));
        after.map_or(clock, |after| after.max(clock))
    }

    /// The time of tenants, or of the projects of one: when the newest turn began.
    fn clock(&self, tenant: Option<TenantId>) -> i64 {
        let is_peer = |owner: &Owner| match owner {
            Owner::Tenant(_) => tenant.is_none(),
            Owner::Project(of, _) => tenant == Some(*of),
        };
        self.shares.iter().filter(|(owner, _)| is_peer(owner)).filter_map(|(_, share)| share.started).max().unwrap_or(0)
    }

    fn serve(&mut self, tenant: TenantId, project: &str) {
        for (owner, peers) in
            [(Owner::Tenant(tenant), None), (Owner::Project(tenant, project.to_owned()), Some(tenant))]
        {
            let started = self.due(&owner, self.clock(peers));
            let share = self.shares.entry(owner.clone()).or_insert(Share { weight: 1, started: None });
            share.started = Some(started);
            self.served.insert(owner);
        }
    }
}

/// The waiting tasks, to be taken one after the other.
pub(crate) struct Line<'a> {
    queues: &'a [Queue],
    /// How many of each queue were taken; nothing for one that is closed.
    taken: Vec<Option<usize>>,
    turns: Turns,
}

impl<'a> Line<'a> {
    pub(crate) fn new(queues: &'a [Queue], shares: &Shares) -> Self {
        let turns = Turns { shares: shares.clone(), served: BTreeSet::new() };
        Self { queues, taken: vec![Some(0); queues.len()], turns }
    }

    /// The place of the queue whose turn it is, and the next of its tasks.
    pub(crate) fn next(&self) -> Option<(usize, &'a Waiting)> {
        let heads = || {
            self.queues.iter().enumerate().filter_map(|(place, queue)| {
                let head = queue.tasks.get(self.taken[place]?)?;
                Some((place, &queue.lane, head))
            })
        };
        let urgent = heads().map(|(_, _, head)| head.priority).max()?;
        let tenants = self.turns.clock(None);
        let due = |(_, lane, head): &(usize, &Lane, &Waiting)| {
            let project = Owner::Project(lane.tenant, lane.project.clone().unwrap_or_default());
            let of_tenant = self.turns.due(&Owner::Tenant(lane.tenant), tenants);
            (of_tenant, self.turns.due(&project, self.turns.clock(Some(lane.tenant))), head.created_at, head.task)
        };
        let first = heads().filter(|(_, _, head)| head.priority == urgent).min_by_key(due)?;
        Some((first.0, first.2))
    }

    /// Takes the next task of a queue.
    pub(crate) fn take(&mut self, place: usize) {
        if let Some(taken) = &mut self.taken[place] {
            *taken += 1;
        }
    }

    /// Notes that somebody was served: a worker was given to them.
    pub(crate) fn serve(&mut self, place: usize) {
        let lane = &self.queues[place].lane;
        self.turns.serve(lane.tenant, lane.project.as_deref().unwrap_or(""));
    }

    /// Leaves out the rest of a queue.
    pub(crate) fn close(&mut self, place: usize) {
        self.taken[place] = None;
    }

    /// Who was served, and when in the time of turns.
    pub(crate) fn served(self) -> Vec<(Owner, i64)> {
        let Turns { shares, served } = self.turns;
        served.into_iter().filter_map(|owner| Some((owner.clone(), shares.get(&owner)?.started?))).collect()
    }
}

/// So many of the lanes, those first whose turn comes first: no task of another can be among the next so many.
pub(crate) fn foremost(mut heads: Vec<Head>, shares: &Shares, enough: usize) -> Vec<Head> {
    let turns = Turns { shares: shares.clone(), served: BTreeSet::new() };
    let tenants = turns.clock(None);
    heads.sort_by_cached_key(|head| {
        let lane = &head.lane;
        let project = Owner::Project(lane.tenant, lane.project.clone().unwrap_or_default());
        let of_tenant = turns.due(&Owner::Tenant(lane.tenant), tenants);
        (Reverse(head.priority), of_tenant, turns.due(&project, turns.clock(Some(lane.tenant))), head.since)
    });
    heads.truncate(enough);
    heads
}

#[cfg(test)]
mod tests;
