//! A client of GitHub's REST API, as far as Bifrost speaks it: pull requests and issues of one
//! repository, on github.com or on a server of one's own.
//!
//! Every call has a deadline. What only reads is tried a few times; what makes something is sent once, and
//! whoever is unsure of the answer looks whether it is there ([`Repository::open_pull`]). A token goes to the
//! host that it is for and to no other: redirects are not followed, and the address of the API is made from the
//! repository's own.
//!
//! Source: <https://docs.github.com/rest>, of the version in [`VERSION`].

mod call;
mod error;
#[cfg(feature = "fake")]
pub mod fake;
mod issues;
mod place;
mod pulls;
mod token;

pub use call::VERSION;
pub use error::Error;
pub use issues::{Issue, Label};
pub use place::{NoPlace, Place};
pub use pulls::{NewPull, Pull};
pub use token::Token;

use kit::Chance;

/// One repository at its host.
#[derive(Debug, Clone)]
pub struct Repository {
    http: reqwest::Client,
    place: Place,
    token: Option<Token>,
    chance: Chance,
}

impl Repository {
    /// The repository at this place; without a token, what everybody may see of it.
    pub fn new(http: reqwest::Client, place: Place, token: Option<Token>, chance: Chance) -> Self {
        Self { http, place, token, chance }
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }
}

#[cfg(test)]
mod tests;
