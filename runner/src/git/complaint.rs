//! What git's standard error means (pure). Git has one exit code for everything,
//! so its words, in the C locale, are all there is to go by.

/// What to do about a failed git command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Complaint {
    /// There is no repository at the address.
    NoRepository,
    /// There is a repository, but not what was asked of it.
    NoReference,
    /// The machine is at fault: disk, permissions.
    Machine,
    /// The local mirror is not whole.
    Damaged,
    /// Anything else a remote says or does not say.
    Remote,
}

/// Looked for from the top: the first that is found decides.
const WORDS: &[(Complaint, &[&str])] = &[
    (
        Complaint::Machine,
        &["no space left on device", "read-only file system", "disk quota exceeded", "too many open files"],
    ),
    (Complaint::NoReference, &["couldn't find remote ref", "not our ref", "no such ref was fetched"]),
    (
        Complaint::NoRepository,
        &[
            "does not appear to be a git repository",
            "repository not found",
            "returned error: 404",
            "project you were looking for could not be found",
            "' not found",
        ],
    ),
    (
        Complaint::Remote,
        &[
            "could not resolve host",
            "connection refused",
            "timed out",
            "could not read username",
            "publickey",
            // It went away in the middle, which git tells as if it could not write.
            "broken pipe",
            "connection reset",
            "write to remote",
            "write request to remote",
            "write flush packet",
        ],
    ),
    // Where git writes a reference or an index it gives no reason.
    (
        Complaint::Machine,
        &["permission denied", "unable to create", "cannot create", "unable to write", "couldn't write", "write error"],
    ),
    (
        Complaint::Damaged,
        &[
            "not a git repository",
            "bad object",
            "bad config",
            "bad signature",
            "corrupt",
            "is empty",
            "unable to read",
            "could not read",
            "unable to parse object",
            "invalid object",
            "missing blob",
            "missing tree",
            "inflate",
            "packfile",
            "does not match index",
            "did not send all necessary objects",
            "index file",
            "unresolved deltas",
            "bad ref",
            "broken",
        ],
    ),
];

/// What git says at once, without the line's end.
const SAID_BYTES_MAX: usize = 4_095;

/// Sorts a complaint. What the other side says through `remote:` says nothing about our machine and our mirror.
pub(crate) fn sort(stderr: &str) -> Complaint {
    let lower = stderr.to_lowercase();
    let local: String = lower.lines().filter(|line| !line.starts_with("remote:")).collect::<Vec<_>>().join("\n");
    let found = WORDS.iter().find(|(complaint, words)| {
        let is_ours = matches!(complaint, Complaint::Machine | Complaint::Damaged);
        let text = if is_ours { &local } else { &lower };
        // Every failed fetch ends with this line, whatever the cause.
        let text = text.replace("could not read from remote repository", "");
        words.iter().any(|word| text.contains(word))
    });
    found.map_or(Complaint::Remote, |(complaint, _)| *complaint)
}

/// Whether what was to be checked out is at fault, wherever that is tried: a path that is too long, or one that git
/// refuses. Git says no more than 4,096 bytes at once, so that the longest paths leave no room for the reason.
pub(crate) fn blames_commit(stderr: &str) -> bool {
    let creates = ["error: unable to create file ", "fatal: cannot create directory at '"];
    let is_cut = |line: &str| line.len() >= SAID_BYTES_MAX && creates.iter().any(|words| line.starts_with(words));
    stderr
        .lines()
        .any(|line| line.starts_with("error: invalid path ") || line.ends_with(": File name too long") || is_cut(line))
}

/// The line that says most: the first `fatal:`, else why the other side failed, else the first of the others, or the
/// last line there is.
pub(crate) fn telling_line(stderr: &str) -> &str {
    let lines = || stderr.lines().map(str::trim).filter(|line| !line.is_empty());
    let telling = |start: &&str| lines().find(|line| line.starts_with(start));
    let found = ["fatal: ", "remote: fatal: ", "error: ", "ERROR: ", "remote: "].iter().find_map(telling);
    found.or_else(|| lines().next_back()).unwrap_or("it gave no reason")
}

/// The address whose host wanted to know who asks, where nobody answered it.
pub(crate) fn unanswered(stderr: &str) -> Option<&str> {
    let asks = ["could not read Username for '", "could not read Password for '"];
    let rest = |line| asks.iter().find_map(|words| Some(str::split_once(line, words)?.1));
    stderr.lines().filter(|line| line.starts_with("fatal: ")).find_map(rest)?.split_once('\'').map(|(url, _)| url)
}

/// Where the submodule is to be that could not be cloned.
pub(crate) fn uncloned(stderr: &str) -> Option<&str> {
    let lines = stderr.lines().filter(|line| line.starts_with("fatal: clone of "));
    lines
        .filter_map(|line| line.split_once("' into submodule path '"))
        .find_map(|(_, rest)| rest.strip_suffix("' failed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_sorted_by_what_to_do_about_them() {
        let tail = "\nfatal: Could not read from remote repository.\n\nPlease make sure you have the correct access \
                    rights\nand the repository exists.";
        for (stderr, expect) in [
            (&*format!("fatal: '/srv/none' does not appear to be a git repository{tail}"), Complaint::NoRepository),
            ("remote: Repository not found.\nfatal: repository 'https://x/y/' not found", Complaint::NoRepository),
            ("fatal: unable to access 'https://x/': The requested URL returned error: 404", Complaint::NoRepository),
            ("fatal: unable to access 'https://x/': Could not resolve host: x", Complaint::Remote),
            (
                "fatal: unable to access 'https://x/': Failed to connect to x port 443: Connection refused",
                Complaint::Remote,
            ),
            (&format!("git@x: Permission denied (publickey).{tail}"), Complaint::Remote),
            ("fatal: could not read Username for 'https://x': terminal prompts disabled", Complaint::Remote),
            ("fatal: couldn't find remote ref HEAD", Complaint::NoReference),
            ("fatal: git upload-pack: not our ref 1234", Complaint::NoReference),
            ("error: unable to write file: No space left on device", Complaint::Machine),
            ("error: cannot open '/x/FETCH_HEAD': Permission denied", Complaint::Machine),
            ("error: cannot update ref 'refs/x': couldn't write '/x/refs/x.lock'", Complaint::Machine),
            ("fatal: unable to write new index file", Complaint::Machine),
            ("fatal: not a git repository: '/v/repos/x'", Complaint::Damaged),
            ("error: unable to read sha1 file of a (1234)", Complaint::Damaged),
            ("error: packfile ./pack-1.pack does not match index", Complaint::Damaged),
            ("remote: fatal: bad object 1234\nfatal: early EOF", Complaint::Remote),
            ("remote: fatal: write error: No space left on device\nfatal: early EOF", Complaint::Remote),
            ("fatal: the remote end hung up unexpectedly", Complaint::Remote),
            ("", Complaint::Remote),
        ] {
            assert_eq!(sort(stderr), expect, "{stderr}");
        }
    }

    #[test]
    fn a_commit_is_blamed_for_what_no_machine_can_check_out() {
        let longest = format!("error: unable to create file {}", "d/".repeat(2_033));
        for (stderr, expect) in [
            ("error: invalid path '.git/config'\nfatal: Could not reset index file", true),
            ("error: unable to create file x: File name too long", true),
            ("fatal: cannot create directory at 'x': File name too long", true),
            (&longest, true),
            (&format!("fatal: cannot create directory at '{}", "d/".repeat(2_030)), true),
            ("fatal: cannot create directory at 'x': No space left on device", false),
            ("error: unable to create file x: No space left on device", false),
            ("error: unable to create file x: Permission denied", false),
            ("fatal: unable to read tree (1234)", false),
        ] {
            assert_eq!(blames_commit(stderr), expect, "{stderr}");
        }
    }

    #[test]
    fn of_a_submodule_that_nobody_answered_for_address_and_place_are_known() {
        let said = "remote: fatal: could not read Username for 'https://z/z': no\nCloning into '/w/part'...\n\
                    fatal: could not read Username for 'https://x/a/b': terminal prompts disabled\n\
                    fatal: clone of 'https://x/a/b' into submodule path '/w/part' failed\nFailed to clone 'part'.";
        assert_eq!((unanswered(said), uncloned(said)), (Some("https://x/a/b"), Some("/w/part")));
        let named = "fatal: could not read Password for 'https://me@x/a': terminal prompts disabled";
        assert_eq!((unanswered(named), uncloned(named)), (Some("https://me@x/a"), None));
        assert_eq!(unanswered("fatal: repository 'https://x/a' not found"), None);
    }

    #[test]
    fn the_line_that_says_most_is_shown() {
        for (stderr, expect) in [
            ("warning: x\nfatal: no such thing\nPlease make sure", "fatal: no such thing"),
            ("error: first\nfatal: second", "fatal: second"),
            ("remote: fatal: it is full   \nerror: remote unpack failed", "remote: fatal: it is full"),
            ("something\nelse\n\n", "else"),
            ("", "it gave no reason"),
        ] {
            assert_eq!(telling_line(stderr), expect);
        }
    }
}
