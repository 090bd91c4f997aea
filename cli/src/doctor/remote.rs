//! The checks of the server, each of which needs the one before.

use std::time::Duration;

use client::control::TaskFilter;
use wire::cost::CostView;

use super::{Finding, Report};
use crate::connect::{self, AddressSource, Server};
use crate::exit::{Code, Failure, classify};
use crate::invocation::Invocation;

const DEADLINE: Duration = Duration::from_secs(5);

/// Asks the server, as far as it answers.
pub(super) async fn check(invocation: &Invocation, report: &mut Report<'_>) -> anyhow::Result<()> {
    const CHECKS: [&str; 5] = ["server", "server ready", "API key", "event store", "machines"];
    let mut findings = Vec::new();
    match connect::url_or_default(&invocation.global) {
        Ok((base, address)) => ask(invocation, &base, &address, &mut findings).await,
        Err(error) => findings.push(ill(classify(&error))),
    }
    findings.resize(CHECKS.len(), Finding::Skipped);
    CHECKS.into_iter().zip(findings).try_for_each(|(check, finding)| report.add(check, finding))
}

/// One finding after the other, up to the first that makes the rest pointless.
async fn ask(invocation: &Invocation, base: &str, address: &AddressSource, findings: &mut Vec<Finding>) {
    let cure = format!("{}; its own log says more", address.cure());
    findings.push(answers(base, "/health", "answers", &cure).await);
    if !findings.iter().all(Finding::is_well) {
        return;
    }
    findings.push(answers(base, "/ready", "can do its work", &cure).await);
    let server = match Server::find(invocation) {
        Ok(server) => server,
        Err(error) => return findings.push(ill(classify(&error))),
    };
    let filter = TaskFilter { limit: Some(1), ..TaskFilter::default() };
    let key = judge(&server, server.control.tasks(&filter).await, |_| Finding::Well("is accepted".into()));
    let is_accepted = key.is_well();
    findings.push(key);
    if !is_accepted {
        return;
    }
    let events = server.control.events(0, 1).await;
    findings.push(judge(&server, events, |_| Finding::Well("answers through the server".into())));
    let cost = server.control.cost().await;
    findings.push(judge(&server, cost, |cost| judge_machines(&cost)));
}

/// Neither of these paths asks for a key.
async fn answers(base: &str, path: &str, well: &str, cure: &str) -> Finding {
    match kit::http::client(DEADLINE).get(format!("{base}{path}")).send().await {
        Ok(answer) if answer.status().is_success() => Finding::Well(format!("{base} {well}")),
        Ok(answer) => Finding::ill(Code::Unavailable, format!("{base}{path} answers {}", answer.status()), cure),
        Err(_) => Finding::ill(Code::Unavailable, format!("{base} cannot be reached"), cure),
    }
}

fn judge<T>(server: &Server, answer: Result<T, client::Error>, well: impl FnOnce(T) -> Finding) -> Finding {
    answer.map_or_else(|error| ill(server.explain(error)), well)
}

fn ill(failure: Failure) -> Finding {
    let cure = failure.help.unwrap_or_else(|| "the server's own log says more".into());
    Finding::ill(failure.code, failure.message, cure)
}

/// Those that exist, against as many as the server's operator lets exist, and whether there can be others.
pub(super) fn judge_machines(cost: &CostView) -> Finding {
    let (there, most) = (cost.exist(), cost.machines_max);
    let message = format!("{there} of at most {most}");
    if let Some(refusal) = cost.refusal_of_token() {
        let message = format!("{message}, and the provider refuses the control plane's token");
        return Finding::ill(Code::Configuration, message, &refusal.message);
    }
    if let Some(away) = cost.absence_of_provider() {
        let message = format!("{message}, and the provider gives no usable answer");
        return Finding::ill(Code::Unavailable, message, &away.message);
    }
    if let Some(missing) = cost.missing_image() {
        let message = format!("{message}, and the provider cannot get their image");
        return Finding::ill(Code::Configuration, message, &missing.message);
    }
    if there <= most {
        Finding::Well(message)
    } else {
        Finding::ill(
            Code::Internal,
            message,
            "see `bifrost machines list`; those that nobody needs for a day go by themselves, and `bifrost machines destroy` \
             takes one at once",
        )
    }
}
