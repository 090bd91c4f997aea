//! Permissions. Each is a value for the database and a type for handlers.

use std::collections::BTreeSet;
use std::fmt;

/// A permission as a handler's argument names it.
pub trait Required: Send + Sync + 'static {
    /// The permission that the handler needs.
    const PERMISSION: Permission;
}

macro_rules! permissions {
    ($($(#[$meta:meta])* $name:ident = $text:literal,)*) => {
        /// What a key allows.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Permission {$($(#[$meta])* $name,)*}

        impl Permission {
            /// Every permission.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The text in the database and in messages.
            pub fn as_str(self) -> &'static str {
                match self {$(Self::$name => $text,)*}
            }
        }

        $($(#[$meta])*
        #[derive(Debug, Clone, Copy)]
        pub struct $name;

        impl Required for $name {
            const PERMISSION: Permission = Permission::$name;
        })*
    };
}

permissions! {
    /// See who changed what.
    AuditRead = "audit_read",
    /// See the record.
    EventsRead = "events_read",
    /// Hold work, and set limits, budgets and the weights of projects.
    LimitsWrite = "limits_write",
    /// See the pool's machines and workers.
    MachinesRead = "machines_read",
    /// Put machines to sleep, wake, destroy and abandon them.
    MachinesWrite = "machines_write",
    /// Pause runtimes, and have words typed to their agents whoever types there.
    RuntimesOperate = "runtimes_operate",
    /// See runtimes and what was typed to their agents.
    RuntimesRead = "runtimes_read",
    /// Register and look after runtimes, and have words typed to their agents.
    RuntimesWrite = "runtimes_write",
    /// See tasks and their executions.
    TasksRead = "tasks_read",
    /// Submit, change, cancel and retry tasks; report on executions.
    TasksWrite = "tasks_write",
    /// See webhooks and what was sent to them.
    WebhooksRead = "webhooks_read",
    /// Register, change and test webhooks.
    WebhooksWrite = "webhooks_write",
    /// Register and change workers that no machine of the pool carries.
    WorkersWrite = "workers_write",
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of permissions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions(BTreeSet<Permission>);

impl Permissions {
    /// All of them: the bootstrap key's.
    pub fn all() -> Self {
        Self(Permission::ALL.iter().copied().collect())
    }

    /// Whether it holds the permission.
    pub fn allow(&self, permission: Permission) -> bool {
        self.0.contains(&permission)
    }

    /// As blank-separated words, for the database.
    pub(crate) fn to_words(&self) -> String {
        self.0.iter().map(|permission| permission.as_str()).collect::<Vec<_>>().join(" ")
    }

    /// From blank-separated words; a word that this version does not know allows nothing.
    pub(crate) fn from_words(words: &str) -> Self {
        let known = |word: &str| Permission::ALL.iter().copied().find(|permission| permission.as_str() == word);
        Self(words.split_whitespace().filter_map(known).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_read_back_and_unknown_words_allow_nothing() {
        assert_eq!(Permissions::from_words(&Permissions::all().to_words()), Permissions::all());
        let some = Permissions::from_words("tasks_read rule_the_world");
        assert!(some.allow(Permission::TasksRead) && !some.allow(Permission::TasksWrite));
    }
}
