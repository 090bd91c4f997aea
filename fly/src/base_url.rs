//! Pure: where the Machines API is.

/// The public address.
const PUBLIC: &str = "https://api.machines.dev";
/// The address inside Fly's private network, which every machine is in.
const PRIVATE: &str = "http://_api.internal:4280";

/// What an environment says of the address of the Machines API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BaseUrl<'a> {
    /// `FLY_FLAPS_BASE_URL`, the word of Fly's own tools.
    pub flaps: Option<&'a str>,
    /// `FLY_API_HOSTNAME`, the word of Fly's documentation: an address, or a host alone.
    pub hostname: Option<&'a str>,
    /// `FLY_MACHINE_ID`, which every machine has: on one, the private address serves.
    pub machine_id: Option<&'a str>,
}

impl BaseUrl<'_> {
    /// Whether it is `FLY_FLAPS_BASE_URL` that names the address.
    pub fn is_of_flaps(self) -> bool {
        self.flaps.is_some_and(|text| !text.trim().is_empty())
    }

    /// The address for [`Machines`](crate::Machines), without `/v1`.
    pub fn resolve(self) -> String {
        let is_given = |text: &&str| !text.trim().is_empty();
        let given = self.flaps.filter(is_given).or(self.hostname.filter(is_given));
        let Some(given) = given else {
            return if self.machine_id.is_some_and(|id| !id.is_empty()) { PRIVATE } else { PUBLIC }.to_owned();
        };
        let given = given.trim().trim_end_matches('/');
        let given = given.strip_suffix("/v1").unwrap_or(given);
        if given.contains("://") { given.to_owned() } else { format!("https://{given}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_goes_before_what_is_known() {
        for (flaps, hostname, machine_id, expected) in [
            (None, None, None, PUBLIC),
            (None, None, Some("148ed599c14698"), PRIVATE),
            (Some(""), Some(" "), None, PUBLIC),
            (Some("http://127.0.0.1:7602"), Some("http://_api.internal:4280"), Some("1"), "http://127.0.0.1:7602"),
            (None, Some("https://api.machines.dev"), Some("1"), PUBLIC),
            (None, Some("api.machines.dev"), None, PUBLIC),
            (Some("https://api.machines.dev/v1/"), None, None, PUBLIC),
        ] {
            assert_eq!(BaseUrl { flaps, hostname, machine_id }.resolve(), expected);
        }
    }
}
