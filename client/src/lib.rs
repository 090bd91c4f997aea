//! Typed clients of our own services: the control plane's API, the worker
//! protocol, and the event store.
//!
//! Every call has a deadline and one typed [`Error`]. Nothing here retries by
//! itself except where it says so: the caller knows what is safe to repeat.

mod call;
pub mod control;
pub mod course;
pub mod events;
pub mod sender;
mod skew;
pub mod socket;
pub mod sse;
pub mod worker;

pub use call::Error;
