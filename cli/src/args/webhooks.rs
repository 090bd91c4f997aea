//! What can be written after `bifrost webhooks` and `bifrost stream`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use wire::id::{DeliveryId, WebhookId};

#[derive(Debug, Subcommand)]
pub(crate) enum WebhooksCommand {
    /// Have a URL told of what happens; prints the secret that signs, once
    #[command(after_help = super::help::webhooks::ADD)]
    Add {
        /// Where messages go
        #[arg(value_name = "URL")]
        target: String,
        /// Which events: a type such as task.failed, or task.* for all of a kind [default: all]
        #[arg(long = "event", value_name = "TYPE")]
        events: Vec<String>,
        /// What it is for
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
        #[command(flatten)]
        secret: SecretArgument,
    },
    /// List the webhooks
    #[command(after_help = super::help::webhooks::LIST)]
    List,
    /// Show one webhook
    #[command(after_help = super::help::webhooks::SHOW)]
    Show {
        /// The webhook's id
        id: WebhookId,
    },
    /// Change a webhook
    #[command(after_help = super::help::webhooks::UPDATE)]
    Update {
        /// The webhook's id
        id: WebhookId,
        /// Where messages go
        #[arg(long = "to", value_name = "URL")]
        target: Option<String>,
        /// Which events, in place of those before
        #[arg(long = "event", value_name = "TYPE")]
        events: Vec<String>,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Send messages again, those that waited first
        #[arg(long, conflicts_with = "pause")]
        activate: bool,
        /// Send nothing; messages wait
        #[arg(long)]
        pause: bool,
    },
    /// Delete a webhook, with what waits for it and the log of its deliveries
    #[command(after_help = super::help::webhooks::DELETE)]
    Delete {
        /// The webhook's id
        id: WebhookId,
    },
    /// Give a webhook a new secret; prints it, once
    #[command(after_help = super::help::webhooks::ROTATE)]
    Rotate {
        /// The webhook's id
        id: WebhookId,
        #[command(flatten)]
        secret: SecretArgument,
        /// How long the old secret signs as well, up to 7d
        #[arg(long, value_name = "TIME", value_parser = crate::duration::parse_seconds, default_value = "1d")]
        overlap: u64,
    },
    /// Send a test message now and say what came of it
    #[command(after_help = super::help::webhooks::PING)]
    Ping {
        /// The webhook's id
        id: WebhookId,
    },
    /// List attempts to deliver, the newest first
    #[command(after_help = super::help::webhooks::DELIVERIES)]
    Deliveries {
        /// The webhook's id
        id: WebhookId,
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
        /// Only those before this one
        #[arg(long, value_name = "DELIVERY")]
        before: Option<DeliveryId>,
    },
    /// Have the message of an earlier delivery sent again, with the same id
    #[command(after_help = super::help::webhooks::REDELIVER)]
    Redeliver {
        /// The webhook's id
        id: WebhookId,
        /// The delivery's id
        delivery: DeliveryId,
    },
    /// Say whether a message, as it was received, is the webhook's
    #[command(after_help = super::help::webhooks::VERIFY)]
    Verify {
        /// The webhook's id
        id: WebhookId,
        /// The file that holds the body, or - for standard input
        #[arg(value_name = "FILE")]
        body: PathBuf,
        /// The header webhook-signature, or x-webhook-signature
        #[arg(long, value_name = "TEXT")]
        signature: String,
        /// The header webhook-id
        #[arg(long, value_name = "TEXT", requires = "timestamp")]
        message_id: Option<String>,
        /// The header webhook-timestamp
        #[arg(long, value_name = "SECONDS", requires = "message_id")]
        timestamp: Option<String>,
    },
}

/// A secret of one's own. Never on the command line, where other users see it.
#[derive(Debug, Args)]
pub(crate) struct SecretArgument {
    /// A file that holds the secret, or - for standard input: whsec_ and base64 of 32 to 64 bytes [default: one is made]
    #[arg(long, value_name = "FILE")]
    pub(crate) secret_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct StreamArguments {
    /// Only events of these types: task.started, or task.* for all of a kind
    #[arg(long = "event", value_name = "TYPE")]
    pub(crate) events: Vec<String>,
    /// Begin behind this place, the first word of a line, instead of now
    #[arg(long, value_name = "PLACE")]
    pub(crate) after: Option<u64>,
}
