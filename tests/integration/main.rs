//! The one integration binary: the real programs, as people and tools use them.

mod access;
mod agents;
mod attach;
mod checkpoints;
mod commands;
mod containers;
mod crash;
mod database;
mod endings;
mod lifecycle;
mod loss;
mod main_job;
mod mistakes;
mod plans;
mod pool;
mod proposals;
mod pull_requests;
mod readme;
mod resume;
mod roles;
mod runtimes;
mod sprites;
mod up;
mod walls;
