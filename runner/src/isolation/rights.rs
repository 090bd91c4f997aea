//! What the runner may do beyond its user: as root anything, and otherwise what the capabilities let it that the file of
//! its program has in our image. It takes all of those that the walls need or none, before its first thread, and
//! hands none on: no program that it starts gets any by a file of its own, and a command loses what a child begins with.

use std::io;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs};

use super::Demand;

/// What each of them is needed for is in docs/isolation.md. `setcap` knows them by these names.
const NEEDED: [(&str, CapabilitySet); 8] = [
    ("cap_chown", CapabilitySet::CHOWN),
    ("cap_dac_override", CapabilitySet::DAC_OVERRIDE),
    ("cap_kill", CapabilitySet::KILL),
    ("cap_setgid", CapabilitySet::SETGID),
    ("cap_setuid", CapabilitySet::SETUID),
    ("cap_setpcap", CapabilitySet::SETPCAP),
    ("cap_sys_ptrace", CapabilitySet::SYS_PTRACE),
    ("cap_sys_admin", CapabilitySet::SYS_ADMIN),
];

/// Makes use of the capabilities of the program's file where walls are built and none is missing, and gives up all
/// others. Each thread has its own, and those that it starts have what it has then: call this while there is one.
pub fn take(demand: Demand) -> io::Result<()> {
    let held = capabilities(None)?;
    if nix::unistd::geteuid().is_root() || (held.permitted | held.inheritable).is_empty() {
        return Ok(());
    }
    let missing = not_in(held.permitted);
    if demand != Demand::Off && !missing.is_empty() {
        tracing::info!("the walls need capabilities that this machine keeps from the runner: {missing}");
    }
    let taken = if demand != Demand::Off && missing.is_empty() { needed() } else { CapabilitySet::empty() };
    set_capabilities(None, CapabilitySets { effective: taken, permitted: taken, inheritable: CapabilitySet::empty() })?;
    // Else whatever runs as this user could start the file again.
    Ok(set_no_new_privs(true)?)
}

/// Whether every wall may be built, without a user namespace to do it in.
pub(super) fn suffice() -> bool {
    nix::unistd::geteuid().is_root() || capabilities(None).is_ok_and(|held| not_in(held.effective).is_empty())
}

/// Why they do not.
pub(super) fn insufficient() -> String {
    format!(
        "only root, and a runner with the capabilities {}, gives a command another user",
        not_in(CapabilitySet::empty())
    )
}

fn needed() -> CapabilitySet {
    NEEDED.iter().map(|(_, capability)| *capability).collect()
}

/// The needed ones that are none of these, by name.
fn not_in(held: CapabilitySet) -> String {
    let missing = NEEDED.iter().filter(|(_, capability)| !held.contains(*capability)).map(|(name, _)| *name);
    missing.collect::<Vec<_>>().join(",")
}

/// What the image gives the program's file, as `setcap` understands it.
#[cfg(test)]
pub(super) fn of_image() -> &'static str {
    let image = include_str!("../../../Dockerfile.runner");
    let line = image.lines().find_map(|line| line.split_once("setcap "));
    line.and_then(|(_, words)| words.split(' ').next()).expect("Dockerfile.runner calls setcap")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_gives_the_runner_what_it_needs_and_no_more() {
        assert_eq!(of_image(), format!("{}=p", not_in(CapabilitySet::empty())));
    }
}
