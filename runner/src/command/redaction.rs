//! Keeps secret values out of what a command says (pure): each is replaced as soon
//! as all of it was seen, wherever the pieces of the stream were cut. What may be
//! the beginning of one waits for what comes next.

use std::borrow::Cow;
use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, MatchKind};
use wire::event::Stream;

use crate::git::credential;
use crate::process::Kept;

/// What stands in its place.
const INSTEAD: &[u8] = b"[secret]";
/// A shorter value would be found in everything.
const BYTES_MIN: usize = 8;
/// A variable whose name has one of these in it holds a secret.
const PARTS: [&str; 6] = ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "APIKEY"];
/// So does one of whose words, with _ between, one is such a word.
const WORDS: [&str; 4] = ["KEY", "PASS", "PAT", "AUTH"];

/// The values that are secret.
#[derive(Debug, Clone, Default)]
pub(crate) struct Secrets(Option<Search>);

#[derive(Clone)]
struct Search {
    values: Vec<Vec<u8>>,
    automaton: AhoCorasick,
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Search").field("values", &self.values.len()).finish_non_exhaustive()
    }
}

impl Secrets {
    /// These, each in a form in which it may be said: whole, and of more than one line each line.
    pub(crate) fn new(values: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        let mut all = Vec::new();
        for value in values {
            let forms = value.as_ref().lines().chain([value.as_ref()]).map(str::trim);
            all.extend(forms.filter(|form| form.len() >= BYTES_MIN).map(|form| form.as_bytes().to_vec()));
        }
        Self::of(all)
    }

    /// All of both.
    pub(crate) fn and(&self, others: &Self) -> Self {
        Self::of(
            [self, others]
                .into_iter()
                .filter_map(|secrets| secrets.0.as_ref())
                .flat_map(|search| search.values.clone())
                .collect(),
        )
    }

    fn of(mut values: Vec<Vec<u8>>) -> Self {
        values.sort();
        values.dedup();
        if values.is_empty() {
            return Self(None);
        }
        let automaton = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(&values);
        Self(automaton.ok().map(|automaton| Search { values, automaton }))
    }

    /// A text without them.
    pub(crate) fn hide(&self, text: &str) -> String {
        let Some(search) = &self.0 else { return text.to_owned() };
        let (told, _) = search.replace(text.as_bytes(), text.len());
        String::from_utf8_lossy(&told).into_owned()
    }

    /// What was kept of an output without them, and without what its cut left of one.
    pub(crate) fn hide_in(&self, kept: &Kept) -> Vec<u8> {
        let Some(search) = &self.0 else { return kept.bytes.clone() };
        let from = if kept.is_cut { search.rest_until(&kept.bytes) } else { 0 };
        search.replace(&kept.bytes[from..], kept.bytes.len() - from).0
    }

    /// The values of those variables whose names say that they hold a secret, and the passwords in all that are URLs.
    pub(crate) fn of_environment(environment: &BTreeMap<String, String>) -> impl Iterator<Item = Cow<'_, str>> {
        let named = environment.iter().filter(|(name, _)| is_secret(name)).map(|(_, value)| value.as_str().into());
        let in_urls = environment.values().filter_map(|value| credential::passwords(value));
        named.chain(in_urls.flatten().map(Cow::Owned))
    }

    /// What of an environment is no secret: those variables whose names do not say that they hold one, and of what are
    /// URLs all but the passwords.
    pub(crate) fn open_part(environment: &BTreeMap<String, String>) -> BTreeMap<&str, String> {
        let open = environment.iter().filter(|(name, _)| !is_secret(name));
        let without = |value: &String| {
            let passwords = credential::passwords(value).into_iter().flatten().filter(|password| !password.is_empty());
            passwords.fold(value.clone(), |open, password| open.replace(&password, ""))
        };
        open.map(|(name, value)| (name.as_str(), without(value))).collect()
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    PARTS.iter().any(|part| name.contains(part)) || name.split('_').any(|word| WORDS.contains(&word))
}

/// Takes the output of one command as it comes, and gives it back without the secrets.
#[derive(Debug)]
pub(crate) struct Redactor<'a> {
    secrets: &'a Secrets,
    waiting: [Vec<u8>; 2],
}

impl<'a> Redactor<'a> {
    pub(crate) fn new(secrets: &'a Secrets) -> Self {
        Self { secrets, waiting: [Vec::new(), Vec::new()] }
    }

    /// What may be told of what was said so far.
    pub(crate) fn pass(&mut self, stream: Stream, bytes: Vec<u8>) -> Vec<u8> {
        let Some(search) = &self.secrets.0 else { return bytes };
        let waiting = &mut self.waiting[index(stream)];
        let bytes = if waiting.is_empty() { bytes } else { [std::mem::take(waiting), bytes].concat() };
        let held = search.beginning_at(&bytes);
        let (told, rest) = search.replace(&bytes, held);
        *waiting = rest;
        told
    }

    /// What waited, once nothing more will be said.
    pub(crate) fn finish(&mut self, stream: Stream) -> Vec<u8> {
        std::mem::take(&mut self.waiting[index(stream)])
    }
}

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
    }
}

impl Search {
    /// Where the longest end begins that may be the beginning of a secret.
    fn beginning_at(&self, bytes: &[u8]) -> usize {
        let longest = self.values.iter().map(Vec::len).max().unwrap_or(1) - 1;
        let from = bytes.len().saturating_sub(longest);
        let begins = |at: &usize| {
            let end = &bytes[*at..];
            self.values.iter().any(|value| value.len() > end.len() && value.starts_with(end))
        };
        (from..bytes.len()).find(begins).unwrap_or(bytes.len())
    }

    /// Where the longest beginning ends that may be the rest of a secret, and of none that is there in full.
    fn rest_until(&self, bytes: &[u8]) -> usize {
        let longest = self.values.iter().map(Vec::len).max().unwrap_or(1) - 1;
        let ends = |at: &usize| self.values.iter().any(|value| value.len() > *at && value.ends_with(&bytes[..*at]));
        let whole = self.automaton.find(bytes).map_or(bytes.len(), |found| found.start());
        (1..=longest.min(whole)).rev().find(ends).unwrap_or(0)
    }

    /// What comes before `held` with the secrets replaced, and what has to wait. A secret that is there in
    /// full is replaced even where it reaches into what may be the beginning of another.
    fn replace(&self, bytes: &[u8], held: usize) -> (Vec<u8>, Vec<u8>) {
        let mut told = Vec::with_capacity(bytes.len());
        let mut done = 0;
        for found in self.automaton.find_iter(bytes).take_while(|found| found.start() < held) {
            told.extend_from_slice(&bytes[done..found.start()]);
            told.extend_from_slice(INSTEAD);
            done = found.end();
        }
        told.extend_from_slice(&bytes[done.min(held)..held]);
        (told, bytes[done.max(held)..].to_vec())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The text, said in pieces of every length, comes out the same.
    fn check(secrets: &[&str], said: &str, expect: &str) {
        let secrets = Secrets::new(secrets.iter().copied());
        for step in 1..=said.len() {
            let mut redactor = Redactor::new(&secrets);
            let mut told: Vec<u8> =
                said.as_bytes().chunks(step).flat_map(|piece| redactor.pass(Stream::Stdout, piece.to_vec())).collect();
            told.extend(redactor.finish(Stream::Stdout));
            assert_eq!(String::from_utf8_lossy(&told), expect, "{said:?} in pieces of {step}");
        }
    }

    #[test]
    fn a_secret_is_replaced_however_the_stream_is_cut() {
        let one = ["hunter2-hunter2"];
        check(&one, "it is hunter2-hunter2.", "it is [secret].");
        check(&one, "hunter2-hunter2hunter2-hunter2", "[secret][secret]");
        check(&one, "hunter2-hunter2-hunter2", "[secret]-hunter2");
        check(&one, "hunter2-hunter", "hunter2-hunter");
        check(&one, "nothing to see", "nothing to see");
        check(&["abcdefgh", "abcdefgh-long"], "abcdefgh-long abcdefgh-lost", "[secret] [secret]-lost");
        check(&["abcdefgh", "efgh1234"], "abcdefgh1234", "[secret]1234");
        check(&["-----BEGIN-----\nkeykeykey\n"], "keykeykey alone", "[secret] alone");
        check(&["short"], "short", "short");
        check(&[], "anything", "anything");
        let secrets = Secrets::new(one);
        assert_eq!(secrets.hide("it is hunter2-hunter2, or hunter2"), "it is [secret], or hunter2");
    }

    #[test]
    fn of_a_secret_that_was_cut_off_nothing_is_left() {
        let secrets = Secrets::new(["hunter2-hunter2"]);
        for (said, is_cut, expect) in [
            ("r2-hunter2 is it", true, " is it"),
            ("r2-hunter2 is it", false, "r2-hunter2 is it"),
            ("hunter2-hunter2 is it", true, "[secret] is it"),
            ("it is hunter2-hunter2", true, "it is [secret]"),
            ("", true, ""),
        ] {
            let kept = Kept { bytes: said.as_bytes().to_vec(), is_cut };
            assert_eq!(String::from_utf8_lossy(&secrets.hide_in(&kept)), expect, "{said}");
        }
    }

    #[test]
    fn streams_wait_apart() {
        let secrets = Secrets::new(["hunter2-hunter2"]);
        let mut redactor = Redactor::new(&secrets);
        assert_eq!(redactor.pass(Stream::Stdout, b"a hunter2-".to_vec()), b"a ");
        assert_eq!(redactor.pass(Stream::Stderr, b"hunter2!".to_vec()), b"hunter2!");
        assert_eq!(redactor.pass(Stream::Stdout, b"hunter2".to_vec()), b"[secret]");
    }

    #[test]
    fn the_name_of_a_variable_says_whether_it_holds_a_secret() {
        let secret = ["AWS_SECRET_ACCESS_KEY", "GITHUB_PAT", "GITHUB_TOKEN", "NPM_AUTH", "STRIPE_KEY", "my_password"];
        let open = ["PATH", "MONKEY", "KEYBOARD", "PASSES", "COMPASS", "AUTHOR", "PATIENCE"];
        let environment = secret.iter().chain(&open).map(|name| ((*name).to_owned(), format!("value of {name}")));
        let environment = environment.collect();
        let found: Vec<_> = Secrets::of_environment(&environment).collect();
        assert_eq!(found, secret.map(|name| format!("value of {name}")));
        assert!(Secrets::open_part(&environment).into_keys().eq(BTreeSet::from(open)));
    }

    #[test]
    fn a_password_in_a_url_is_secret_whatever_the_variable_is_called() {
        let values = ["postgres://me:hunter2%2Fhunter2@db/x", "https://example.org/a:b@c", "me:hunter3hunter3"];
        let environment = (0..).zip(values).map(|(number, value)| (format!("V{number}"), value.to_owned())).collect();
        let found: Vec<_> = Secrets::of_environment(&environment).collect();
        assert_eq!(found, ["hunter2%2Fhunter2", "hunter2/hunter2"]);
        let open: Vec<_> = Secrets::open_part(&environment).into_values().collect();
        assert_eq!(open, ["postgres://me:@db/x", values[1], values[2]]);
    }
}
