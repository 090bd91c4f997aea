//! Rules of fault scripts for the emulator, in TOML.

pub(crate) const TOO_LARGE: &str = "invalid_argument: too much memory to suspend";

pub(crate) fn failing(action: &str, failure: &str, times: usize) -> String {
    format!("[[call]]\naction = '{action}'\nwhen = {{ times = {times} }}\neffect = {{ failure = '{failure}' }}")
}

pub(crate) fn dropping(action: &str, moment: &str) -> String {
    format!("[[call]]\naction = '{action}'\nwhen = {{ times = 1 }}\neffect = {{ drop = '{moment}' }}")
}

pub(crate) fn answering(action: &str, status: u16, error: &str, times: usize) -> String {
    format!(
        "[[call]]\naction = '{action}'\nwhen = {{ times = {times} }}\n\
         effect = {{ answer = {{ status = {status}, error = '{error}' }} }}"
    )
}

/// It is carried out so much later, by a clock on the wall.
pub(crate) fn delaying(action: &str, ms: u32) -> String {
    format!("[[call]]\naction = '{action}'\nwhen = {{ times = 1 }}\neffect = {{ delay_ms = {ms} }}")
}

/// Whatever is called.
pub(crate) fn gone_app(times: usize) -> String {
    format!("[[call]]\nwhen = {{ times = {times} }}\neffect = {{ failure = 'app-corrupted' }}")
}

pub(crate) fn machine(effect: &str) -> String {
    format!("[[machine]]\nwhen = {{ times = 1 }}\neffect = {effect}")
}

/// A creation whose answer is lost, a list that lacks the machine, and then no room for another.
pub(crate) fn lost_and_then_refused() -> String {
    let refused = failing("create_machine", "no-candidate-host", 1);
    [dropping("create_machine", "after"), refused, machine("'unlisted'")].join("\n")
}

/// A suspension that is refused until the machine is stopped instead, and what happens to that.
pub(crate) fn stopping(rule: &str) -> String {
    [&answering("suspend", 400, TOO_LARGE, 9), rule].join("\n")
}

/// A boot that fails, so that the machine is restarted, and what happens to that.
pub(crate) fn restarting(rule: &str) -> String {
    [rule, &machine("'fail_to_boot'")].join("\n")
}
