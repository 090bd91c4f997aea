//! What crosses a process border, and nothing else: ids, states, the task
//! specification, the worker protocol, the event envelope, signatures, grants
//! and error codes.
//!
//! Everything here is plain data with serde. A field is only ever added, never
//! renamed or given another meaning: an old runner must be able to talk to a
//! new server and the reverse.

pub mod admission;
pub mod agent;
pub mod assignment;
pub mod attach;
pub mod audit;
pub mod batch;
pub mod budget;
pub mod bulk;
pub mod checkpoint;
pub mod claim;
pub mod cost;
pub mod dependency;
pub mod egress;
pub mod event;
pub mod execution;
pub mod grant;
pub mod id;
pub mod import;
pub mod limit;
pub mod machine;
pub mod metadata;
pub mod money;
pub mod outcome;
pub mod plan;
pub mod prioritize;
pub mod problem;
pub mod proposal;
pub mod pull_request;
pub mod queue;
pub mod runtime;
pub mod schedule;
pub mod signature;
pub mod split;
pub mod strategy;
pub mod task;
pub mod test_report;
pub mod webhook;
pub mod why;
pub mod worker;
