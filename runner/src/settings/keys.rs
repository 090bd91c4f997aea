//! Which key of `.bifrost.toml` a mistake is in (pure), and how what belongs there is written.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A way to a value.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Path {
    /// Its keys, from the outermost on.
    pub(super) keys: Vec<String>,
    /// The same for a person, with places in lists: `setup.commands[1]`.
    pub(super) shown: String,
}

/// The innermost key or value that these bytes are of. Nothing where the text is no TOML, or it is of none.
pub(super) fn at(text: &str, bytes: &Range<usize>) -> Option<Path> {
    let table = DeTable::parse(text).ok()?;
    in_table(table.get_ref(), bytes)
}

fn in_table(table: &DeTable<'_>, bytes: &Range<usize>) -> Option<Path> {
    table.iter().find_map(|(key, value)| {
        let is_here = holds(&key.span(), bytes) || holds(&value.span(), bytes);
        let path = in_value(value, bytes).or_else(|| is_here.then(Path::default))?;
        let name = key.get_ref();
        let shown = before(&path, name);
        Some(Path { keys: std::iter::once(name.to_string()).chain(path.keys).collect(), shown })
    })
}

/// The span of a table is that of its header, so that what is in it has to be looked at as well.
fn in_value(value: &Spanned<DeValue<'_>>, bytes: &Range<usize>) -> Option<Path> {
    match value.get_ref() {
        DeValue::Table(table) => in_table(table, bytes),
        DeValue::Array(items) => items.iter().enumerate().find_map(|(number, item)| {
            let path = in_value(item, bytes).or_else(|| holds(&item.span(), bytes).then(Path::default))?;
            Some(Path { shown: before(&path, &format!("[{number}]")), ..path })
        }),
        _ => None,
    }
}

/// A way with what is around its outermost part, for a person.
fn before(path: &Path, outer: &str) -> String {
    let dot = if path.shown.is_empty() || path.shown.starts_with('[') { "" } else { "." };
    format!("{outer}{dot}{}", path.shown)
}

fn holds(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end && outer.start < outer.end
}

/// How what belongs there is written.
pub(super) fn cure(keys: &[String]) -> Option<&'static str> {
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    Some(match keys[..] {
        ["env", _] => "write the value in quotes, such as \"3\"",
        ["checkout", _] | ["setup", "dependencies"] => "write true or false, without quotes",
        ["setup", "commands"] => "write a list of lists, such as [[\"npm\", \"run\", \"build\"]]",
        ["services", _, "command" | "ready"] => "write a list, such as [\"redis-server\", \"--port\", \"6379\"]",
        ["services", _, "timeout_seconds"] | ["timeouts", _] => "write a whole number of seconds, without quotes",
        ["setup" | "cache", _] => "write a list of words in quotes, such as [\"target\"]",
        ["env"] => "write it as a table: [env] and the variables below, each as NAME = \"value\"",
        ["services"] => "write a table for each service, such as [services.database] with its command below",
        ["checkout"] => "write it as a table: [checkout] and what is in it below",
        ["setup"] => "write it as a table: [setup] and what is in it below",
        ["cache"] => "write it as a table: [cache] and what is in it below",
        ["timeouts"] => "write it as a table: [timeouts] and what is in it below",
        _ => return None,
    })
}
