//! What a machine's key may write: events in the machine's own name, about the
//! executions it was granted, and about itself.
//!
//! Each grant of a request is checked once, however many events it carries. One
//! of another machine grants nothing; one of another secret is a mistake, and the
//! request is refused.

use axum::http::HeaderMap;
use wire::grant::{self, BadGrant, Grant, GrantKey};
use wire::id::MachineId;
use wire::limit::GRANTS_PER_REQUEST;
use wire::signature::machine_key_id;

use super::decode::Shape;
use super::problem::Refusal;
use crate::log::NewEvent;

/// Whether a machine needs a grant for the executions it writes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ungranted {
    /// It does.
    Refused,
    /// It does not, while runners or a control plane from before grants are at work.
    Accepted,
}

/// A machine that has signed a request, and what it showed that it may write about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scribe {
    machine: MachineId,
    executions: Executions,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Executions {
    Any,
    Granted(Vec<Grant>),
}

impl Scribe {
    /// The machine with the grants of its request, signed with any of the keys.
    pub(super) fn new(
        machine: MachineId,
        headers: &HeaderMap,
        keys: &[GrantKey],
        ungranted: Ungranted,
    ) -> Result<Self, Refusal> {
        let executions = match ungranted {
            Ungranted::Refused => Executions::Granted(granted(headers, keys)?),
            Ungranted::Accepted => Executions::Any,
        };
        Ok(Self { machine, executions })
    }

    /// Whether it may write all of these events.
    pub(super) fn may_write(&self, events: &[NewEvent], shape: Shape) -> Result<(), Refusal> {
        let key_id = machine_key_id(self.machine);
        for (index, event) in events.iter().enumerate() {
            if event.producer != key_id {
                return Err(Refusal::wrong_producer(shape.field(index, "producer"), &key_id));
            }
            if let Err(field) = self.covers(event) {
                return Err(Refusal::not_granted(shape.field(index, field)));
            }
        }
        Ok(())
    }

    /// Whether it may write about what the event is about; else the field at fault.
    fn covers(&self, event: &NewEvent) -> Result<(), &'static str> {
        let Executions::Granted(grants) = &self.executions else { return Ok(()) };
        let (execution, task) = match (event.execution_id, event.task_id) {
            (Some(execution), task) => (execution, task),
            (None, None) => return Ok(()),
            (None, Some(_)) => return Err("execution_id"),
        };
        let own = |grant: &&Grant| grant.machine == self.machine && grant.execution == execution;
        let grant = grants.iter().find(own).ok_or("execution_id")?;
        if task == Some(grant.task) { Ok(()) } else { Err("task_id") }
    }
}

fn granted(headers: &HeaderMap, keys: &[GrantKey]) -> Result<Vec<Grant>, Refusal> {
    let mut grants = Vec::new();
    for value in headers.get_all(grant::HEADER) {
        let value = value.to_str().map_err(|_| Refusal::grant_malformed())?;
        for text in value.split(',') {
            if grants.len() == GRANTS_PER_REQUEST {
                return Err(Refusal::too_many_grants());
            }
            grants.push(open(text.trim(), keys)?);
        }
    }
    Ok(grants)
}

fn open(text: &str, keys: &[GrantKey]) -> Result<Grant, Refusal> {
    for key in keys {
        match key.open(text) {
            Ok(grant) => return Ok(grant),
            Err(BadGrant::WrongSignature) => (),
            Err(BadGrant::Malformed) => return Err(Refusal::grant_malformed()),
        }
    }
    Err(Refusal::grant_wrong())
}
