//! The pool against the emulator and the fake of the Sprites API, over the real wire:
//! every failure that is known of Fly, a crash at every step, and what an operator
//! does.

mod away;
mod crash;
mod documented;
mod fault;
mod image;
mod kept;
mod ladder;
mod made;
mod operator;
mod slow;
mod sprites;
mod world;
