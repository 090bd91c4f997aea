//! Pure: how a machine is asked to stop.

use std::time::Duration;

use fly::StopConfig;
use rustix::process::Signal;

/// Fly's default, and the longest it waits.
const SIGNAL: Signal = Signal::INT;
const LONGEST: Duration = Duration::from_secs(300);

/// A signal, and how long until the machine is killed; what is absent comes from its configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HowToStop {
    pub(crate) signal: Option<Signal>,
    pub(crate) timeout: Option<Duration>,
}

impl HowToStop {
    /// What a configuration says.
    pub(crate) fn configured(config: Option<&StopConfig>) -> Result<Self, String> {
        let Some(config) = config else { return Ok(Self::default()) };
        Ok(Self {
            signal: config.signal.as_deref().map(parse_signal).transpose()?,
            timeout: config.timeout.as_deref().map(parse_duration).transpose()?,
        })
    }

    /// Fills what is absent.
    pub(super) fn or(self, other: Self) -> Self {
        Self { signal: self.signal.or(other.signal), timeout: self.timeout.or(other.timeout) }
    }

    pub(super) fn signal(self) -> Signal {
        self.signal.unwrap_or(SIGNAL)
    }

    /// `usual` is for a machine that does not say it.
    pub(super) fn timeout(self, usual: Duration) -> Duration {
        self.timeout.unwrap_or(usual).min(LONGEST)
    }
}

/// The signals that Fly takes, by name; for a stop, only some of them.
const SIGNALS: [(&str, Signal); 14] = [
    ("SIGABRT", Signal::ABORT),
    ("SIGALRM", Signal::ALARM),
    ("SIGFPE", Signal::FPE),
    ("SIGHUP", Signal::HUP),
    ("SIGILL", Signal::ILL),
    ("SIGINT", Signal::INT),
    ("SIGKILL", Signal::KILL),
    ("SIGPIPE", Signal::PIPE),
    ("SIGQUIT", Signal::QUIT),
    ("SIGSEGV", Signal::SEGV),
    ("SIGTERM", Signal::TERM),
    ("SIGTRAP", Signal::TRAP),
    ("SIGUSR1", Signal::USR1),
    ("SIGUSR2", Signal::USR2),
];

/// The signal of that name.
pub(crate) fn parse_signal(name: &str) -> Result<Signal, String> {
    let found = SIGNALS.iter().find(|(known, _)| *known == name);
    found.map(|(_, signal)| *signal).ok_or_else(|| format!("unknown signal {name:?}"))
}

/// The name that [`parse_signal`] reads; no other signal comes from there.
pub(crate) fn signal_name(signal: Signal) -> &'static str {
    SIGNALS.iter().find(|(_, known)| *known == signal).map_or("SIGINT", |(name, _)| *name)
}

/// A duration as Go writes it, such as `1m30s` or `1500ms`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("invalid duration {text:?}");
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, behind) = rest.split_at(digits);
        let letters = behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(letters);
        let unit = match unit {
            "h" => Duration::from_secs(3_600),
            "m" => Duration::from_secs(60),
            "s" => Duration::from_secs(1),
            "ms" => Duration::from_millis(1),
            _ => return Err(bad()),
        };
        let number: u32 = number.parse().map_err(|_| bad())?;
        total = unit.checked_mul(number).and_then(|part| total.checked_add(part)).ok_or_else(bad)?;
        rest = behind;
    }
    if text.is_empty() { Err(bad()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USUAL: Duration = Duration::from_secs(5);

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, millis) in [
            ("10s", Some(10_000)),
            ("1500ms", Some(1_500)),
            ("1m30s", Some(90_000)),
            ("2h", Some(7_200_000)),
            ("0s", Some(0)),
        ] {
            assert_eq!(parse_duration(text).ok().map(|duration| duration.as_millis()), millis, "{text}");
        }
        for text in ["", "10", "s", "-1s", "1.5s", "1d", "99999999999s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_order_goes_before_the_configuration_and_that_before_the_default() {
        let config =
            StopConfig { signal: Some("SIGTERM".to_owned()), timeout: Some("30s".to_owned()), ..StopConfig::default() };
        let configured = HowToStop::configured(Some(&config)).expect("valid");
        let ordered = HowToStop { signal: Some(Signal::HUP), timeout: None }.or(configured);
        assert_eq!((ordered.signal(), ordered.timeout(USUAL)), (Signal::HUP, Duration::from_secs(30)));
        let default = HowToStop::default();
        assert_eq!((default.signal(), default.timeout(USUAL)), (Signal::INT, USUAL));
        let forever = HowToStop { signal: None, timeout: Some(Duration::MAX) };
        assert_eq!(forever.timeout(USUAL), Duration::from_secs(300));
    }

    #[test]
    fn a_configuration_with_an_unknown_signal_is_refused() {
        let config = StopConfig { signal: Some("SIGSTOP".to_owned()), ..StopConfig::default() };
        assert!(HowToStop::configured(Some(&config)).is_err());
    }
}
