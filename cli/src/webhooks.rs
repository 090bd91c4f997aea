//! `bifrost webhooks`: who is told of what happens.

use std::io::Read;
use std::path::Path;

use serde_json::json;
use wire::id::WebhookId;
use wire::webhook::{DeliveryView, NewWebhook, Rotation, Verification, WebhookChange, WebhookView, WebhookWithSecret};

use crate::args::{SecretArgument, WebhooksCommand};
use crate::connect::Server;
use crate::duration::{show_age, show_time};
use crate::exit::{Code, failure};
use crate::invocation::Invocation;
use crate::table;

/// Carries out one of the commands. What makes or changes something is not asked twice: an answer may be lost.
pub(crate) async fn run(invocation: &Invocation, command: &WebhooksCommand) -> anyhow::Result<()> {
    let server = Server::find(invocation)?;
    let output = invocation.output;
    match command {
        WebhooksCommand::Add { target, events, description, secret } => {
            let all = || vec!["*".to_owned()];
            let new = NewWebhook {
                url: target.clone(),
                event_types: if events.is_empty() { all() } else { events.clone() },
                description: description.clone(),
                secret: given(secret)?,
                active: true,
            };
            let added = server.control.add_webhook(&new).await.map_err(|error| server.explain(error))?;
            with_secret(invocation, &added)
        }
        WebhooksCommand::List => {
            let webhooks = server.ask(async |control| control.webhooks().await).await?;
            list(invocation, &webhooks)
        }
        WebhooksCommand::Show { id } => {
            let webhook = server.ask(async |control| control.webhook(*id).await).await?;
            show(invocation, &webhook)
        }
        WebhooksCommand::Update { id, target, events, description, activate, pause } => {
            let change = WebhookChange {
                url: target.clone(),
                event_types: (!events.is_empty()).then(|| events.clone()),
                description: description.clone(),
                active: (*activate || *pause).then_some(*activate),
            };
            let webhook = server.ask(async |control| control.update_webhook(*id, &change).await).await?;
            show(invocation, &webhook)
        }
        WebhooksCommand::Delete { id } => {
            server.control.delete_webhook(*id).await.map_err(|error| server.explain(error))?;
            said(invocation, *id, "deleted")
        }
        WebhooksCommand::Rotate { id, secret, overlap } => {
            let rotation = Rotation { secret: given(secret)?, overlap_seconds: Some(*overlap) };
            let rotated = server.control.rotate_webhook(*id, &rotation).await.map_err(|error| server.explain(error))?;
            with_secret(invocation, &rotated)
        }
        WebhooksCommand::Ping { id } => {
            let delivery = server.control.ping_webhook(*id).await.map_err(|error| server.explain(error))?;
            deliveries(invocation, &[delivery])
        }
        WebhooksCommand::Deliveries { id, limit, before } => {
            let found = server.ask(async |control| control.deliveries(*id, *before, *limit).await).await?;
            deliveries(invocation, &found)
        }
        WebhooksCommand::Redeliver { id, delivery } => {
            server.ask(async |control| control.redeliver(*id, *delivery).await).await?;
            said(invocation, *id, "gets the message again")
        }
        WebhooksCommand::Verify { id, body, signature, message_id, timestamp } => {
            let message = Verification {
                webhook_id: *id,
                payload: read(body)?,
                signature: signature.clone(),
                id: message_id.clone(),
                timestamp: timestamp.clone(),
            };
            let verified = server.ask(async |control| control.verify_webhook(&message).await).await?;
            if output.is_json {
                output.json(&verified)?;
            } else if verified.valid {
                output.line("the message is the webhook's")?;
            }
            if verified.valid {
                return Ok(());
            }
            let reason = verified.reason.unwrap_or_else(|| "the signature is wrong".into());
            let cure = "give the body byte for byte as it came, before anything has read it as JSON";
            Err(failure(Code::Data, format!("the message is not the webhook's: {reason}"), cure))
        }
    }
}

fn given(secret: &SecretArgument) -> anyhow::Result<Option<String>> {
    let text = secret.secret_file.as_deref().map(read).transpose()?;
    Ok(text.map(|text| text.trim().to_owned()))
}

/// The text of a file, or of standard input where it is `-`.
fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let read = match path.to_str() {
        Some("-") => std::io::stdin().lock().read_to_string(&mut text).map(drop),
        _ => std::fs::File::open(path).and_then(|mut file| file.read_to_string(&mut text)).map(drop),
    };
    let shown = path.display();
    read.map_err(|error| {
        let cure = "name a file that you may read, or - for standard input";
        failure(Code::NotFound, format!("{shown} cannot be read: {error}"), cure)
    })?;
    Ok(text)
}

fn said(invocation: &Invocation, id: WebhookId, what: &str) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json { output.json(&json!({ "id": id })) } else { Ok(output.line(&format!("{id} {what}"))?) }
}

fn with_secret(invocation: &Invocation, webhook: &WebhookWithSecret) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(webhook);
    }
    show(invocation, &webhook.webhook)?;
    output.line(&format!("{:<16} {}", "secret", webhook.secret))?;
    output.say("keep the secret where the receiver finds it: it is not shown again");
    Ok(())
}

fn show(invocation: &Invocation, webhook: &WebhookView) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(webhook);
    }
    let now = invocation.clock.now();
    let until = webhook.previous_secret_until.filter(|until| now < *until);
    let lines = [
        ("id", Some(webhook.id.to_string())),
        ("url", Some(webhook.url.clone())),
        ("events", Some(webhook.event_types.join(", "))),
        ("description", Some(webhook.description.clone()).filter(|text| !text.is_empty())),
        ("state", Some(state_of(webhook))),
        ("waiting", Some(webhook.undelivered.to_string())),
        ("old secret until", until.map(show_time)),
        ("added", Some(show_age(now, webhook.created_at))),
    ];
    for (name, text) in lines.into_iter().filter_map(|(name, text)| Some((name, text?))) {
        output.line(&format!("{name:<16} {}", crate::output::one_line(&text)))?;
    }
    Ok(())
}

fn state_of(webhook: &WebhookView) -> String {
    match (webhook.active, &webhook.deactivated_reason) {
        (true, _) => "active".into(),
        (false, None) => "paused".into(),
        (false, Some(reason)) => format!("off: {reason}"),
    }
}

fn list(invocation: &Invocation, webhooks: &[WebhookView]) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(&webhooks);
    }
    if webhooks.is_empty() {
        output.say("no webhooks: `bifrost webhooks add URL` adds one");
        return Ok(());
    }
    let row = |webhook: &WebhookView| {
        vec![
            webhook.id.to_string(),
            if webhook.active { "active".into() } else { "off".into() },
            webhook.undelivered.to_string(),
            webhook.event_types.join(","),
            webhook.url.clone(),
        ]
    };
    let rows = webhooks.iter().map(row).collect();
    let header = ["ID", "STATE", "WAITING", "EVENTS", "URL"];
    Ok(output.line(&table::render(&header, rows, output.stdout()))?)
}

fn deliveries(invocation: &Invocation, deliveries: &[DeliveryView]) -> anyhow::Result<()> {
    let output = invocation.output;
    if output.is_json {
        return output.json(&deliveries);
    }
    if deliveries.is_empty() {
        output.say("nothing was sent yet");
        return Ok(());
    }
    let now = invocation.clock.now();
    let row = |delivery: &DeliveryView| {
        let answer = delivery.status_code.map_or_else(|| "-".to_owned(), |code| code.to_string());
        let error = delivery.error_message.clone().unwrap_or_else(|| "-".into());
        vec![
            delivery.id.to_string(),
            show_age(now, delivery.delivered_at),
            delivery.event_type.clone(),
            delivery.attempt.to_string(),
            answer,
            format!("{} ms", delivery.duration_ms),
            error,
        ]
    };
    let rows = deliveries.iter().map(row).collect();
    let header = ["ID", "WHEN", "EVENT", "ATTEMPT", "ANSWER", "TOOK", "LAST ERROR"];
    Ok(output.line(&table::render(&header, rows, output.stdout()))?)
}
