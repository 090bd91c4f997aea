//! The credentials of remotes, given to git when it asks for them: they are in no URL,
//! no configuration, no argument and no environment.
//!
//! The operator keeps them in a file in the form of git-credential-store(1), one URL with
//! name and password in a line, which git itself never reads or writes: our git is
//! configured to ask this program, and this program only answers. Where no file can be
//! given to a machine they come as text, which is put into one for as long as it is given.
//!
//! Where a submodule is fetched, whoever wrote the commit chose what is asked for. So the git that fetches some has a
//! configuration of its own, which names the repository whose submodules they are, and a credential for a whole host
//! is given only beside that.

use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::address::{Address, parts};

/// The operator's credentials, and who answers from them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// This program.
    pub program: PathBuf,
    /// What the operator gave.
    pub source: Source,
}

/// How the operator gives credentials.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// In a file of the operator's.
    File(PathBuf),
    /// As what would be in it.
    Text(String),
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text(_) => f.debug_tuple("Text").field(&"[secret]").finish(),
        }
    }
}

impl Source {
    /// Credentials in a text, with lines or spaces between; says what is wrong with it, and nothing of what is in it.
    pub(crate) fn of_text(text: &str) -> Result<Self, String> {
        let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
        let urls: Vec<&str> = lines.flat_map(str::split_whitespace).collect();
        match urls.iter().position(|url| Credential::parse(url).is_none()) {
            Some(number) => Err(format!("the credential {} is none; write https://NAME:PASSWORD@HOST", number + 1)),
            None if urls.is_empty() => Err("holds no credential; write https://NAME:PASSWORD@HOST".to_owned()),
            None => Ok(Self::Text(urls.join("\n"))),
        }
    }
}

/// Who answers git where there are credentials. A text is put into a file in the directory, which is the runner's own;
/// one that is there from an earlier start goes.
pub(crate) fn helper(credentials: Option<&Credentials>, directory: &Path) -> io::Result<Option<Helper>> {
    let own = directory.join("credentials");
    match credentials.map(|Credentials { program, source }| (program.clone(), source)) {
        Some((program, Source::Text(text))) => {
            kit::files::replace(&own, text.as_bytes(), 0o600)?;
            Ok(Some(Helper { program, file: own }))
        }
        other => {
            crate::volume::remove(&own)?;
            Ok(other.and_then(|(program, source)| match source {
                Source::File(file) => Some(Helper { program, file: file.clone() }),
                Source::Text(_) => None,
            }))
        }
    }
}

/// Who answers git, and from which file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Helper {
    /// This program; it is called with `git-credential FILE`, for submodules with whose they are, and what git adds.
    pub(crate) program: PathBuf,
    /// Where the credentials are.
    pub(crate) file: PathBuf,
}

impl Helper {
    /// Git's configuration for it, or for the submodules of a repository. Git has a shell read the line.
    pub(super) fn configuration(&self, top: Option<&str>) -> String {
        let (program, file) = (self.program.to_string_lossy(), self.file.to_string_lossy());
        let mut line = format!("{} git-credential {}", escape(&program), escape(&file));
        line.extend(top.map(|top| format!(" {}", escape(top))));
        let line = line.replace('\\', "\\\\").replace('"', "\\\"");
        format!("[credential]\n\thelper = \"{line}\"\n\tuseHttpPath = true\n")
    }
}

impl Helper {
    /// The passwords that are in the file, which nobody is to be told.
    pub(crate) fn passwords(&self) -> io::Result<Vec<String>> {
        let kept = fs::read_to_string(&self.file)?;
        Ok(kept.lines().filter_map(passwords).flatten().collect())
    }

    /// The password for a URL, which at hosts with an API is a token of it. Nothing where there is none.
    pub(crate) fn token(&self, url: &str) -> io::Result<Option<github::Token>> {
        let Some(asked) = question(url) else { return Ok(None) };
        let found = find(&fs::read_to_string(&self.file)?, &asked, None);
        Ok(found.and_then(|(_, password)| github::Token::new(&password)))
    }

    /// Whether there is a credential for a URL that is not given for it as a submodule of a repository.
    pub(crate) fn withholds(&self, url: &str, top: &str) -> bool {
        let (Some(asked), Ok(kept)) = (question(url), fs::read_to_string(&self.file)) else { return false };
        find(&kept, &asked, None).is_some() && find(&kept, &asked, Some(top)).is_none()
    }
}

/// A word for a shell, with every sign escaped that means something to one.
pub(super) fn escape(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    text.chars().flat_map(|c| (!plain(c)).then_some('\\').into_iter().chain([c])).collect()
}

/// What git would ask about a URL; nothing about one with an escape that is none.
fn question(url: &str) -> Option<String> {
    let (protocol, user, host, path) = parts(url)?;
    let user = user.map(|user| format!("username={user}\n")).unwrap_or_default();
    Some(format!("protocol={protocol}\nhost={host}\npath={}\n{user}", decode(path)?))
}

/// The password in a URL, as it is written and without its escapes.
pub(crate) fn passwords(url: &str) -> Option<[String; 2]> {
    Credential::parse(url).map(|credential| [credential.written.to_owned(), credential.password])
}

/// Answers git's question on standard input. `arguments` are the file, where submodules are fetched the URL of the
/// repository that they are of, and git's operation, of which only `get` is answered.
pub fn answer(arguments: &[String], mut question: impl Read, mut answer: impl Write) -> io::Result<()> {
    let (file, top, operation) = match arguments {
        [file, operation] => (file, None, operation),
        [file, top, operation] => (file, Some(top.as_str()), operation),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: git-credential FILE [REPOSITORY] get")),
    };
    let mut asked = String::new();
    question.read_to_string(&mut asked)?;
    if operation != "get" {
        return Ok(());
    }
    if let Some((user, password)) = find(&fs::read_to_string(file)?, &asked, top) {
        write!(answer, "username={user}\npassword={password}\n")?;
    }
    Ok(())
}

/// The name and password for what git asks (pure): of several the one for the longest path. Where it asks for a
/// submodule of a repository, one for a whole host is given only for what is beside that.
fn find(kept: &str, asked: &str, top: Option<&str>) -> Option<(String, String)> {
    let field = |name: &str| asked.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    let (protocol, host) = (field("protocol")?, field("host")?);
    let (path, user) = (field("path").unwrap_or_default(), field("username"));
    let is_meant = |own: &Credential<'_>| {
        let is_below = own.path.is_empty()
            || path.strip_prefix(own.path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        own.scheme == protocol && own.host == host && is_below && user.is_none_or(|user| user == own.name)
    };
    let meant = kept.lines().filter_map(Credential::parse).filter(is_meant);
    let found = meant.max_by_key(|own| own.path.len())?;
    let is_given = top.is_none_or(|top| {
        let place = Address::new(protocol, host, path);
        let is_beside = || Address::of_url(top).is_some_and(|top| top.is_beside(&place));
        place.is_plain() && (!found.path.is_empty() || is_beside())
    });
    is_given.then_some((found.name, found.password))
}

/// One line of what the operator keeps.
struct Credential<'a> {
    scheme: &'a str,
    host: &'a str,
    /// Without its escapes, as git asks for it.
    path: String,
    name: String,
    password: String,
    /// The password with its escapes.
    written: &'a str,
}

impl<'a> Credential<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (scheme, own, host, path) = parts(line.trim())?;
        let (name, written) = own?.split_once(':')?;
        let (name, password, path) = (decode(name)?, decode(written)?, decode(path.trim_end_matches('/'))?);
        Some(Self { scheme, host, path, name, password, written })
    }
}

/// Undoes percent-encoding. A line break would begin another field of the answer.
pub(super) fn decode(text: &str) -> Option<String> {
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
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const KEPT: &str = "https://bot:secret@git.example\nhttps://team:more%3Asecret@git.example/team\n\
                        # a comment\nhttps://x:line%0abreak@bad.example\nhttp://plain:p@git.example:8080\n\
                        https://spaced:s@git.example/My%20Team\n";

    #[test]
    fn the_credential_of_the_longest_path_is_given() {
        for (asked, expect) in [
            ("protocol=https\nhost=git.example\npath=a/b.git\n\n", Some(("bot", "secret"))),
            ("protocol=https\nhost=git.example\n", Some(("bot", "secret"))),
            ("protocol=https\nhost=git.example\npath=team/b.git\n", Some(("team", "more:secret"))),
            ("protocol=https\nhost=git.example\npath=teams/b.git\n", Some(("bot", "secret"))),
            ("protocol=https\nhost=git.example\npath=My Team/b.git\n", Some(("spaced", "s"))),
            ("protocol=https\nhost=git.example\nusername=other\n", None),
            ("protocol=http\nhost=git.example\n", None),
            ("protocol=http\nhost=git.example:8080\n", Some(("plain", "p"))),
            ("protocol=https\nhost=evil.example\npath=git.example\n", None),
            ("protocol=https\nhost=bad.example\n", None),
            ("", None),
        ] {
            let expect = expect.map(|(name, password)| (name.to_owned(), password.to_owned()));
            assert_eq!(find(KEPT, asked, None), expect, "{asked}");
        }
    }

    #[test]
    fn to_a_submodule_a_credential_for_the_whole_host_is_given_only_beside_its_repository() {
        let kept = "https://bot:whole@git.example\nhttps://bot:part@git.example/named\nhttps://x:more@sub.example\n";
        for (top, host, path, expect) in [
            ("https://git.example/own/app", "git.example", "own/lib.git", Some("whole")),
            ("https://git.example/own/app", "git.example", "other/private", None),
            ("https://git.example/own/app", "git.example", "own/../other/private", None),
            ("https://git.example/own/app", "git.example", "named/lib", Some("part")),
            ("https://git.example/own/app", "git.example", "named", Some("part")),
            ("https://git.example/own/app", "git.example", "named/../other/private", None),
            ("https://git.example/own/app", "git.example", "", None),
            ("https://git.example/own/app", "sub.example", "own/lib", None),
            ("https://sub.example/own/app", "git.example", "named/lib", Some("part")),
            ("https://git.example/app", "git.example", "lib", None),
            ("file:///srv/own/app", "git.example", "own/lib", None),
        ] {
            let asked = format!("protocol=https\nhost={host}\npath={path}\n");
            let found = find(kept, &asked, Some(top)).map(|(_, password)| password);
            assert_eq!(found.as_deref(), expect, "{path} at {host} of {top}");
        }
    }

    #[test]
    fn credentials_that_come_as_text_are_in_a_file_for_as_long_as_they_are_given() {
        let directory = tempfile::tempdir().expect("a directory");
        let source = Source::of_text("# mine\n https://bot:secret@git.example https://team:more%3A@git.example/team\n");
        let given = Credentials { program: "/run".into(), source: source.expect("good") };
        assert!(!format!("{given:?}").contains("secret@"));
        let made = helper(Some(&given), directory.path()).expect("writes").expect("some");
        let mode = fs::metadata(&made.file).expect("is there").permissions().mode();
        assert_eq!((mode & 0o777, made.file.parent()), (0o600, Some(directory.path())));
        assert_eq!(made.passwords().expect("reads"), ["secret", "secret", "more%3A", "more:"]);
        let asked = "protocol=https\nhost=git.example\npath=team/b.git\n";
        let found = find(&fs::read_to_string(&made.file).expect("reads"), asked, None);
        assert_eq!(found, Some(("team".to_owned(), "more:".to_owned())));
        let file = Credentials { source: Source::File("/etc/mine".into()), ..given };
        let from_file = helper(Some(&file), directory.path()).expect("removes").expect("some");
        assert_eq!((from_file.file, made.file.exists()), ("/etc/mine".into(), false));
        assert_eq!(helper(None, directory.path()).expect("nothing to remove"), None);
    }

    #[test]
    fn of_a_text_that_holds_something_else_only_the_place_is_told() {
        for (text, expect) in [
            ("https://bot:hunter2@git.example hunter2@git.example", "credential 2"),
            ("https://hunter2@git.example", "credential 1"),
            ("\n# hunter2\n", "no credential"),
        ] {
            let complaint = Source::of_text(text).expect_err(text);
            assert!(complaint.contains(expect) && !complaint.contains("hunter2"), "{complaint}");
        }
    }

    #[test]
    fn git_is_answered_and_nothing_is_stored_or_erased() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("credentials");
        fs::write(&file, KEPT).expect("writes");
        let asked = "protocol=https\nhost=git.example\npath=a\n\n";
        for (operation, expect) in [("get", "username=bot\npassword=secret\n"), ("store", ""), ("erase", "")] {
            let mut said = Vec::new();
            let arguments = [file.to_string_lossy().into_owned(), operation.to_owned()];
            answer(&arguments, asked.as_bytes(), &mut said).expect("answers");
            assert_eq!(String::from_utf8(said).expect("text"), expect, "{operation}");
        }
        assert_eq!(fs::read_to_string(&file).expect("reads"), KEPT);
        assert!(answer(&["x".into()], &b""[..], Vec::new()).is_err());
    }

    #[test]
    fn whatever_the_paths_are_a_shell_finds_nothing_to_do_in_them() {
        let helper = Helper { program: "/opt/a b/run$(x)".into(), file: "/etc/it's".into() };
        let expect = "\thelper = \"/opt/a\\\\ b/run\\\\$\\\\(x\\\\) git-credential /etc/it\\\\'s\"\n";
        assert!(helper.configuration(None).contains(expect), "{}", helper.configuration(None));
        let (expect, line) =
            ("s https\\\\://git.example/a\\\\;b\"\n", helper.configuration(Some("https://git.example/a;b")));
        assert!(line.contains(expect), "{line}");
    }
}
