//! The pool against the emulator, over the real wire: every failure that is known
//! of Fly, a crash at every step, and what an operator does.

mod crash;
mod documented;
mod ladder;
mod operator;
mod world;
