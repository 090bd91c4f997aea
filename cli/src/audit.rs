//! `bifrost audit`: who changed what, newest first.

use client::control::AuditFilter;
use serde_json::Value;
use wire::audit::AuditEntry;

use crate::args::AuditArguments;
use crate::connect::Server;
use crate::duration::show_age;
use crate::invocation::Invocation;
use crate::table;

/// Entries asked for at once.
const PAGE: u32 = 1_000;

/// Lists changes.
pub(crate) async fn list(invocation: &Invocation, arguments: &AuditArguments) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    let entries = entries(invocation, &server, arguments).await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&entries);
    }
    if entries.is_empty() {
        output.say("nothing was changed");
        return Ok(());
    }
    let now = invocation.clock.now();
    let row = |entry: &AuditEntry| {
        vec![
            show_age(now, entry.at),
            entry.actor.clone(),
            entry.action.clone(),
            format!("{}/{}", entry.entity_type, entry.entity_id),
            show_change(&entry.old_values, &entry.new_values),
            entry.reason.clone().unwrap_or_else(|| "-".into()),
        ]
    };
    let rows = entries.iter().map(row).collect();
    let header = ["WHEN", "WHO", "WHAT", "OF", "CHANGE", "REASON"];
    Ok(output.line(&table::render(&header, rows, output.stdout()))?)
}

async fn entries(
    invocation: &Invocation,
    server: &Server,
    arguments: &AuditArguments,
) -> anyhow::Result<Vec<AuditEntry>> {
    let now = invocation.clock.now();
    let mut filter = AuditFilter {
        actor: arguments.actor.clone(),
        entity_type: arguments.entity.as_ref().and_then(|entity| entity.kind.clone()),
        entity_id: arguments.entity.as_ref().and_then(|entity| entity.id.clone()),
        since: arguments.since.map(|moment| moment.at(now)),
        until: arguments.until.map(|moment| moment.at(now)),
        ..AuditFilter::default()
    };
    let mut entries = Vec::new();
    let mut missing = arguments.limit;
    while missing > 0 {
        filter.limit = Some(missing.min(PAGE));
        let page = server.ask(async |control| control.audit(&filter).await).await?;
        missing -= u32::try_from(page.entries.len()).unwrap_or(missing).min(missing);
        entries.extend(page.entries);
        filter.before = page.next;
        if page.next.is_none() {
            break;
        }
    }
    Ok(entries)
}

/// What changed in one line: `priority 3 → 5, title → "t"`.
fn show_change(old: &Value, new: &Value) -> String {
    let empty = serde_json::Map::new();
    let (old, new) = (old.as_object().unwrap_or(&empty), new.as_object().unwrap_or(&empty));
    let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
    let show = |value: Option<&Value>| value.map_or_else(String::new, |value| format!(" {value}"));
    let change = |name: &String| match (old.get(name), new.get(name)) {
        (before, Some(after)) => format!("{name}{} → {after}", show(before)),
        (before, None) => format!("{name}{} →", show(before)),
    };
    names.map(change).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_change_is_shown_in_one_line() {
        for (old, new, expect) in [
            (json!({ "priority": 3 }), json!({ "priority": 5 }), "priority 3 → 5"),
            (json!({}), json!({ "title": "t", "state": "creating" }), "state → \"creating\", title → \"t\""),
            (json!({ "a": 1, "b": 2 }), json!({ "b": 3 }), "a 1 →, b 2 → 3"),
            (json!({}), json!({}), ""),
        ] {
            assert_eq!(show_change(&old, &new), expect);
        }
    }
}
