//! Agents on this computer, with the real git, the real tmux where there is one, and the
//! program that runs in their terminals. Tests that need tmux have it in their names.

mod cleaning;
mod lives;
mod scene;
mod starting;
mod talking;
