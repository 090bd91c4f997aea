//! What an emulator is told when it starts.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use kit::Vars;

/// Variables of this computer that machines see, unless their configuration says otherwise.
const INHERITED: [&str; 3] = ["PATH", "HOME", "LANG"];

/// What an emulator is told when it starts.
#[derive(Clone)]
pub struct Config {
    /// Where it keeps everything.
    pub data: PathBuf,
    /// When set, every request must carry it.
    pub token: Option<String>,
    /// What machines see of this computer's environment.
    pub host_env: BTreeMap<String, String>,
}

impl Config {
    /// Reads `FLY_API_TOKEN` (the token that requests must carry; none when not set), and `PATH`,
    /// `HOME` and `LANG`, which machines inherit.
    pub fn from_vars(data: PathBuf, vars: &mut Vars) -> Self {
        let inherited = |name: &&str| Some(((*name).to_owned(), vars.text(name)?.to_owned()));
        let host_env = INHERITED.iter().filter_map(inherited).collect();
        Self { data, token: vars.optional("FLY_API_TOKEN"), host_env }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let token = self.token.as_ref().map(|_| "[secret]");
        f.debug_struct("Config").field("data", &self.data).field("token", &token).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_inherit_three_variables_and_the_token_is_not_printed() {
        let mut vars = Vars::from_pairs([("PATH", "/bin"), ("SECRET", "hunter2"), ("FLY_API_TOKEN", "hunter2")]);
        let config = Config::from_vars(PathBuf::from("data"), &mut vars);
        assert_eq!(config.host_env, BTreeMap::from([("PATH".to_owned(), "/bin".to_owned())]));
        assert_eq!(config.token.as_deref(), Some("hunter2"));
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
