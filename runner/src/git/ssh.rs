//! Where submodules are fetched by ssh. Whatever key the machine has opens all that it can, so it is used only for
//! what is beside the repository: git has a shell ask this program before it starts ssh.

use std::io::{self, Write};

use super::address::{Address, parts};

/// Answers whether ssh is to be started. `arguments` are the URL of the repository whose submodules are fetched, and
/// what git gives to ssh. A refusal says why, as git would.
pub fn may_reach(arguments: &[String], mut complaint: impl Write) -> io::Result<bool> {
    let [top, options @ .., host, command] = arguments else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: git-ssh REPOSITORY [OPTION]... HOST COMMAND"));
    };
    let port = options.iter().skip_while(|option| *option != "-p").nth(1).map(String::as_str);
    let is_beside = is_beside(top, host, port, command);
    if !is_beside {
        writeln!(
            complaint,
            "fatal: by ssh only submodules of the same owner as the repository are fetched, not {host}"
        )?;
    }
    Ok(is_beside)
}

/// Whether what git asks of a host is beside a repository (pure). Another user of the host is another owner.
fn is_beside(top: &str, host: &str, port: Option<&str>, command: &str) -> bool {
    let (user, name) = host.rsplit_once('@').unwrap_or(("", host));
    let is_same_user = match user_of(top) {
        Some(own) => user == own,
        None => matches!(user, "" | "git"),
    };
    let path = command.strip_prefix("git-upload-pack '").and_then(|rest| rest.strip_suffix('\''));
    // A path with a quote in it is escaped.
    let path = path.filter(|path| !path.contains('\''));
    // An address of IPv6 comes without its brackets.
    let name = if name.contains(':') { format!("[{name}]") } else { name.to_owned() };
    let host = port.map_or_else(|| name.clone(), |port| format!("{name}:{port}"));
    let there = path.map(|path| Address::new("ssh", &host, path));
    is_same_user && there.is_some_and(|there| Address::of_url(top).is_some_and(|top| top.is_beside(&there)))
}

/// The user of an ssh URL; empty where it names none, and nothing of another URL.
fn user_of(url: &str) -> Option<&str> {
    let (scheme, user, ..) = parts(url)?;
    (scheme == "ssh").then(|| user.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssh_is_started_only_for_what_is_beside_the_repository() {
        for (top, host, command, expect) in [
            ("ssh://git@git.example/team/app", "git@git.example", "git-upload-pack '/team/lib'", true),
            ("ssh://git@git.example:22/team/app", "git@GIT.example", "git-upload-pack 'team/lib.git'", true),
            ("https://git.example/team/app", "git.example", "git-upload-pack 'team/lib.git'", true),
            ("ssh://git@git.example/team/app", "git@git.example", "git-upload-pack '/other/private'", false),
            ("ssh://git@git.example/team/app", "git@git.example", "git-upload-pack '/team/../other/private'", false),
            ("ssh://git@git.example/team/app", "git@git.example", "git-upload-pack '/team/'\\''x'", false),
            ("ssh://git@git.example/team/app", "git@git.example", "git-receive-pack '/team/lib'", false),
            ("ssh://git@git.example/team/app", "git@other.example", "git-upload-pack '/team/lib'", false),
            ("ssh://git@git.example/team/app", "root@git.example", "git-upload-pack '/team/lib'", false),
            ("ssh://git.example/team/app", "git@git.example", "git-upload-pack '/team/lib'", false),
            ("https://git.example/team/app", "root@git.example", "git-upload-pack '/team/lib'", false),
            ("ssh://git@[::1]/team/app", "git@::1", "git-upload-pack '/team/lib'", true),
            ("ssh://git@git.example:2222/team/app", "git@git.example", "git-upload-pack '/team/lib'", false),
            ("file:///srv/team/app", "git@git.example", "git-upload-pack '/team/lib'", false),
        ] {
            let arguments = [top, "-o", "SendEnv=GIT_PROTOCOL", host, command].map(str::to_owned);
            let mut said = Vec::new();
            let may = may_reach(&arguments, &mut said).expect("answers");
            assert_eq!((may, said.is_empty()), (expect, expect), "{command} at {host} of {top}");
        }
        for (port, expect) in [("2222", true), ("2223", false)] {
            let (top, command) = ("ssh://git@git.example:2222/team/app", "git-upload-pack '/team/lib'");
            let arguments = [top, "-p", port, "git@git.example", command].map(str::to_owned);
            assert_eq!(may_reach(&arguments, Vec::new()).expect("answers"), expect, "{port}");
        }
        assert!(may_reach(&["https://git.example/team/app".to_owned()], Vec::new()).is_err());
    }
}
