//! The program on a network: who reaches it, how many at once, and what following
//! it costs.

mod following;
mod idle;
mod isolation;
mod program;
