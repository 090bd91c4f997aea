//! The credentials of remotes, given to git when it asks for them: they are in no URL,
//! no configuration, no argument and no environment.
//!
//! The operator keeps them in a file in the form of git-credential-store(1), one URL with
//! name and password in a line, which git itself never reads or writes: our git is
//! configured to ask this program, and this program only answers.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// Who answers git, and from which file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Helper {
    /// This program; it is called with `git-credential FILE` and what git adds.
    pub program: PathBuf,
    /// Where the credentials are.
    pub file: PathBuf,
}

impl Helper {
    /// Git's configuration for it. Git has a shell read the line, so every sign that means
    /// something to one is escaped.
    pub(super) fn configuration(&self) -> String {
        let escape = |path: &Path| {
            let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
            path.to_string_lossy()
                .chars()
                .flat_map(|c| (!plain(c)).then_some('\\').into_iter().chain([c]))
                .collect::<String>()
        };
        let line = format!("{} git-credential {}", escape(&self.program), escape(&self.file));
        let line = line.replace('\\', "\\\\").replace('"', "\\\"");
        format!("[credential]\n\thelper = \"{line}\"\n\tuseHttpPath = true\n")
    }
}

impl Helper {
    /// The password for a URL, which at hosts with an API is a token of it. Nothing where there is none.
    pub(crate) fn token(&self, url: &str) -> io::Result<Option<github::Token>> {
        let Some((protocol, rest)) = url.split_once("://") else { return Ok(None) };
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let asked = format!("protocol={protocol}\nhost={host}\npath={path}\n");
        let found = find(&std::fs::read_to_string(&self.file)?, &asked);
        Ok(found.and_then(|(_, password)| github::Token::new(&password)))
    }
}

/// Answers git's question on standard input. `arguments` are the file and git's operation, of which
/// only `get` is answered.
pub fn answer(arguments: &[String], mut question: impl Read, mut answer: impl Write) -> io::Result<()> {
    let [file, operation] = arguments else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: git-credential FILE get"));
    };
    let mut asked = String::new();
    question.read_to_string(&mut asked)?;
    if operation != "get" {
        return Ok(());
    }
    if let Some((user, password)) = find(&std::fs::read_to_string(file)?, &asked) {
        write!(answer, "username={user}\npassword={password}\n")?;
    }
    Ok(())
}

/// The name and password for what git asks (pure): of several the one for the longest path.
fn find(kept: &str, asked: &str) -> Option<(String, String)> {
    let field = |name: &str| asked.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let (protocol, host) = (field("protocol")?, field("host")?);
    let (path, user) = (field("path").unwrap_or_default(), field("username"));
    let credentials = kept.lines().filter_map(|line| {
        let (scheme, rest) = line.trim().split_once("://")?;
        let (authority, own_path) = rest.split_once('/').unwrap_or((rest, ""));
        let (own, own_host) = authority.rsplit_once('@')?;
        let (name, password) = own.split_once(':')?;
        let (name, password, own_path) = (decode(name)?, decode(password)?, own_path.trim_end_matches('/'));
        let is_below = own_path.is_empty()
            || path.strip_prefix(own_path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let is_meant = scheme == protocol && own_host == host && is_below && user.is_none_or(|user| user == name);
        is_meant.then_some((own_path.len(), name, password))
    });
    credentials.max_by_key(|(length, ..)| *length).map(|(_, name, password)| (name, password))
}

/// Undoes percent-encoding. A line break would begin another field of the answer.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains(['\n', '\0']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: &str = "https://bot:secret@git.example\nhttps://team:more%3Asecret@git.example/team\n\
                        # a comment\nhttps://x:line%0abreak@bad.example\nhttp://plain:p@git.example:8080\n";

    #[test]
    fn the_credential_of_the_longest_path_is_given() {
        for (asked, expect) in [
            ("protocol=https\nhost=git.example\npath=a/b.git\n\n", Some(("bot", "secret"))),
            ("protocol=https\nhost=git.example\n", Some(("bot", "secret"))),
            ("protocol=https\nhost=git.example\npath=team/b.git\n", Some(("team", "more:secret"))),
            ("protocol=https\nhost=git.example\npath=teams/b.git\n", Some(("bot", "secret"))),
            ("protocol=https\nhost=git.example\nusername=other\n", None),
            ("protocol=http\nhost=git.example\n", None),
            ("protocol=http\nhost=git.example:8080\n", Some(("plain", "p"))),
            ("protocol=https\nhost=evil.example\npath=git.example\n", None),
            ("protocol=https\nhost=bad.example\n", None),
            ("", None),
        ] {
            let expect = expect.map(|(name, password)| (name.to_owned(), password.to_owned()));
            assert_eq!(find(KEPT, asked), expect, "{asked}");
        }
    }

    #[test]
    fn git_is_answered_and_nothing_is_stored_or_erased() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("credentials");
        std::fs::write(&file, KEPT).expect("writes");
        let asked = "protocol=https\nhost=git.example\npath=a\n\n";
        for (operation, expect) in [("get", "username=bot\npassword=secret\n"), ("store", ""), ("erase", "")] {
            let mut said = Vec::new();
            let arguments = [file.to_string_lossy().into_owned(), operation.to_owned()];
            answer(&arguments, asked.as_bytes(), &mut said).expect("answers");
            assert_eq!(String::from_utf8(said).expect("text"), expect, "{operation}");
        }
        assert_eq!(std::fs::read_to_string(&file).expect("reads"), KEPT);
        assert!(answer(&["x".into()], &b""[..], Vec::new()).is_err());
    }

    #[test]
    fn whatever_the_paths_are_a_shell_finds_nothing_to_do_in_them() {
        let helper = Helper { program: "/opt/a b/run$(x)".into(), file: "/etc/it's".into() };
        let expect = "\thelper = \"/opt/a\\\\ b/run\\\\$\\\\(x\\\\) git-credential /etc/it\\\\'s\"\n";
        assert!(helper.configuration().contains(expect), "{}", helper.configuration());
    }
}
