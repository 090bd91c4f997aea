//! Everything that knows Fly.io: typed clients of the Machines API and the Sprites
//! API, and what to do about each of their refusals.
//!
//! It promises: every call has a deadline; only what may safely be repeated is
//! repeated; Fly's rate limits are kept on this side; a token or a machine's
//! environment is never printed. It decides nothing about which machines there
//! should be.

mod address;
mod app;
mod base_url;
mod call;
mod config;
mod error;
mod event;
mod lenient;
mod machine;
mod machines;
mod organization;
mod others;
mod pace;
mod platform;
pub mod price;
mod program;
mod secret;
mod sprite;
mod sprites;
mod token;
mod volume;

pub use address::{Address, AddressKind, NewAddress};
pub use app::{App, NewApp, Organization, check_app_name};
pub use base_url::BaseUrl;
pub use config::{Guest, Init, MachineConfig, Mount, Restart, RestartPolicy, StopConfig};
pub use error::{Action, Advice, Error};
pub use event::{ExitEvent, MachineEvent};
pub use machine::{
    HostStatus, Launch, Lease, Machine, MachineFilter, MachineState, MachineUpdate, MachineVersion, NewMachine,
    StopOptions,
};
pub use machines::Machines;
pub use organization::{OrgMachine, OrgMachines, OrgVolume};
pub use others::Others;
pub use pace::{Pace, Turnstile, take_turn};
pub use platform::{Placement, PlacementQuery, Region, Regions};
pub use program::{BadProgram, Program, is_sha256};
pub use secret::Secret;
pub use sprite::{
    Sprite, SpriteAction, SpriteCheckpoint, SpriteExit, SpritePage, SpritePolicy, SpriteRule, SpriteService,
    SpriteStatus,
};
pub use sprites::{SPRITE_HOLD, SPRITES_URL, Sprites};
pub use token::{BadToken, Token};
pub use volume::{NewVolume, Snapshot, Volume, VolumeUpdate};
