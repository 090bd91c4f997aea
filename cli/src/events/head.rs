//! `bifrost events head`: what a whole log comes down to, signed by the event store, for
//! somebody to keep where nobody who could change the log can change it too.

use std::path::Path;

use wire::event::SignedHead;

use super::{files, store};
use crate::exit::{Code, failure};
use crate::invocation::Invocation;

/// Shows the head once its signature was checked, and saves it.
pub(super) async fn run(invocation: &Invocation, save: Option<&Path>) -> anyhow::Result<()> {
    let store = store::find(invocation)?;
    let head = store.head().await.map_err(|error| store::explain(error, store.base()))?;
    if !files::secrets(invocation)?.iter().any(|secret| head.is_signed_by(secret)) {
        let message = format!("what answers at {} did not sign its head with the event store's secret", store.base());
        return Err(failure(Code::Data, message, "check BIFROST_EVENTS_URL; do not keep this head"));
    }
    if let Some(path) = save {
        let text = serde_json::to_string(&head)? + "\n";
        kit::files::replace(path, text.as_bytes(), 0o644).map_err(|error| {
            let message = format!("cannot save the head to {}: {error}", path.display());
            failure(Code::CannotCreate, message, "name a file in a directory that you may write")
        })?;
    }
    if invocation.output.is_json { invocation.output.json(&head) } else { Ok(invocation.output.line(&line(&head))?) }
}

fn line(head: &SignedHead) -> String {
    let at = head.at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    format!("event {} with link {}, signed {at}", head.seq, head.link)
}
