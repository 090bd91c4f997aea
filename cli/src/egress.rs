//! `bifrost egress`: what tasks have asked of the world outside, and the proxy itself.

use egress::program::Unusable;
use wire::event::{EgressPayload, EgressVerdict, StoredEvent, kind};
use wire::id::TaskId;

use crate::args::EgressCommand;
use crate::connect::Server;
use crate::duration::show_age;
use crate::events::each_of_task;
use crate::exit::{Code, failure};
use crate::invocation::Invocation;
use crate::table;

/// Carries out one of the commands.
pub(crate) async fn run(invocation: &Invocation, command: &EgressCommand) -> anyhow::Result<()> {
    match command {
        EgressCommand::Show { id } => show(invocation, *id).await,
        EgressCommand::Serve(arguments) => {
            let ran = egress::program::run(arguments.clone(), invocation.vars.clone()).await;
            ran.map_err(|error| match error.downcast::<Unusable>() {
                Ok(unusable) => refusal(&unusable, "--allow", "--host"),
                Err(other) => other,
            })
        }
    }
}

/// What cannot be used, with the option that it was given by and how it ends.
pub(crate) fn refusal(unusable: &Unusable, allow: &str, host: &str) -> anyhow::Error {
    let (code, option, cure) = match unusable {
        Unusable::Unread { error, .. } => {
            let is_missing = error.kind() == std::io::ErrorKind::NotFound;
            let code = if is_missing { Code::NotFound } else { Code::InputOutput };
            (code, allow, "name a file that holds an allow-list, as docs/egress.md shows it")
        }
        Unusable::List { .. } => (Code::Data, allow, "mend it as docs/egress.md shows it"),
        Unusable::Host(_) => (Code::Usage, host, "write it as git.example.org or *.example.org:8443"),
        Unusable::Listen(_) => (Code::Usage, "--listen", "write it as 127.0.0.1:3128"),
    };
    failure(code, format!("{option}: {unusable}"), cure)
}

async fn show(invocation: &Invocation, id: TaskId) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    let mut events = Vec::new();
    each_of_task(&server, id, |event| {
        if event.kind == kind::EGRESS_REQUEST {
            events.push(event.clone());
        }
        Ok(())
    })
    .await?;
    let output = invocation.output;
    if output.is_json {
        return output.json(&events);
    }
    if events.is_empty() {
        output.say("the task has asked nothing of an egress proxy");
        return Ok(());
    }
    let now = invocation.clock.now();
    let row = |event: &StoredEvent| {
        let payload: EgressPayload = serde_json::from_str(event.payload.get())?;
        Ok(vec![
            show_age(now, event.created_at),
            if payload.is_open { format!("{}, open", payload.verdict) } else { payload.verdict.to_string() },
            payload.method,
            format!("{}:{}", payload.host, payload.port),
            sent(payload.verdict, payload.bytes_sent),
            sent(payload.verdict, payload.bytes_received),
            payload.rule.unwrap_or_else(|| "-".into()),
        ])
    };
    let rows = events.iter().map(row).collect::<anyhow::Result<_>>()?;
    let header = ["WHEN", "VERDICT", "METHOD", "HOST", "SENT", "RECEIVED", "RULE"];
    Ok(output.line(&table::render(&header, rows, output.stdout()))?)
}

/// Nothing is carried for what was refused.
fn sent(verdict: EgressVerdict, bytes: u64) -> String {
    if verdict == EgressVerdict::Allowed { bytes.to_string() } else { "-".into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::classify;

    #[test]
    fn what_the_proxy_cannot_use_names_its_option_and_has_its_code() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "group = 1").expect("writes");
        let missing = file.path().with_extension("missing");
        let rules = |allow, hosts: &[String]| egress::program::rules(allow, hosts).expect_err("cannot be used");
        for (unusable, code, said) in [
            (rules(Some(&missing), &[]), Code::NotFound, "--allow: "),
            (rules(Some(file.path()), &[]), Code::Data, "--allow: "),
            (rules(None, &["a b".into()]), Code::Usage, "--host: \"a b\" is no HOST"),
            (Unusable::Listen("x".into()), Code::Usage, "--listen: \"x\" is no address"),
        ] {
            let refused = classify(&refusal(&unusable, "--allow", "--host"));
            assert_eq!(refused.code, code, "{refused}");
            assert!(refused.message.starts_with(said) && refused.help.is_some(), "{refused}");
        }
    }
}
