//! The way to the stream: connected, made where it is missing, and found fit to keep a log.

use std::time::Duration;

use async_nats::jetstream::context::{CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream};
use async_nats::jetstream::{self, Context};
use async_nats::{Client, ConnectOptions, Event};
use tokio::sync::watch;
use wire::limit::EVENT_BATCH_BYTES;

use super::OpenError;
use super::config::{Credentials, StreamConfig};

/// Every exchange with a server is over by then.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// The longest pause before a lost connection is tried again.
const RECONNECT: Duration = Duration::from_secs(1);
/// The same message again is dropped by the stream itself for so long.
const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);
/// The largest message: the largest body, and what its fields gain when written out in full.
const MESSAGE_BYTES: usize = EVENT_BATCH_BYTES + 256 * 1024;

/// A connection and the stream that was found over it.
pub(super) struct Connected {
    pub(super) context: Context,
    pub(super) stream: Stream,
    /// Changes whenever the connection is lost.
    pub(super) losses: watch::Receiver<()>,
}

/// Connects, and finds or makes the stream.
pub(super) async fn connect(config: &StreamConfig) -> Result<Connected, OpenError> {
    let unreachable = |source: async_nats::Error| {
        let servers: Vec<&str> = config.servers.iter().map(|server| server.as_url_str()).collect();
        OpenError::Connect { servers: servers.join(", "), source }
    };
    let (lost, losses) = watch::channel(());
    let options = options(config, lost).await?;
    let connecting = tokio::time::timeout(DEADLINE, options.connect(&config.servers)).await;
    let client = connecting.map_err(|late| unreachable(late.into()))?.map_err(|error| unreachable(error.into()))?;
    let found = client.max_payload();
    if found < MESSAGE_BYTES {
        return Err(OpenError::Payload { found, needed: MESSAGE_BYTES });
    }
    let context = context(client);
    let stream = find_or_make(&context, config).await?;
    Ok(Connected { context, stream, losses })
}

async fn options(config: &StreamConfig, lost: watch::Sender<()>) -> Result<ConnectOptions, OpenError> {
    let options = ConnectOptions::new()
        .name("bifrost-events")
        .connection_timeout(DEADLINE)
        .request_timeout(Some(DEADLINE))
        .ping_interval(Duration::from_secs(10))
        .reconnect_delay_callback(|attempts| Duration::from_millis(50).saturating_mul(attempts as u32).min(RECONNECT))
        .event_callback(move |event| {
            match event {
                Event::Connected => tracing::info!("connected to NATS"),
                Event::Disconnected => {
                    tracing::warn!("the connection to NATS is lost; writes are refused until it is back");
                    // Without a follower nobody asks.
                    lost.send(()).ok();
                }
                event => tracing::warn!(%event, "NATS has something to say"),
            }
            std::future::ready(())
        });
    let options = match &config.authority {
        Some(path) => options.add_root_certificates(path.clone()),
        None => options,
    };
    Ok(match &config.credentials {
        Credentials::None => options,
        Credentials::Token(token) => options.token(token.clone()),
        Credentials::Password { user, password } => options.user_and_password(user.clone(), password.clone()),
        Credentials::File(path) => {
            let read = options.credentials_file(path).await;
            read.map_err(|source| OpenError::Credentials { path: path.clone(), source })?
        }
    })
}

fn context(client: Client) -> Context {
    jetstream::ContextBuilder::new().timeout(DEADLINE).ack_timeout(DEADLINE).build(client)
}

async fn find_or_make(context: &Context, config: &StreamConfig) -> Result<Stream, OpenError> {
    let failed = |source: async_nats::Error| OpenError::Stream { name: config.name.clone(), source };
    let stream = match context.get_stream(&config.name).await {
        Ok(stream) => stream,
        Err(error) if is_missing(&error.kind()) => match context.create_stream(wanted(config)).await {
            Ok(stream) => {
                tracing::info!(stream = config.name, "made the stream");
                stream
            }
            // Another store was faster; whether what it made will do is looked at below.
            Err(error) if matches!(error.kind(), CreateStreamErrorKind::JetStream(_)) => {
                context.get_stream(&config.name).await.map_err(|_| failed(error.into()))?
            }
            Err(error) => return Err(failed(error.into())),
        },
        Err(error) => return Err(failed(error.into())),
    };
    match difference(&stream.cached_info().config, config) {
        None => Ok(stream),
        Some(what) => Err(OpenError::Unfit { name: config.name.clone(), what }),
    }
}

fn is_missing(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND)
}

fn wanted(config: &StreamConfig) -> Config {
    Config {
        name: config.name.clone(),
        subjects: vec![format!("{}.*", config.name)],
        description: Some("every event of Bifrost, written by bifrost-events".into()),
        storage: StorageType::File,
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        num_replicas: config.replicas.unwrap_or(1),
        max_bytes: -1,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        duplicate_window: DUPLICATE_WINDOW,
        deny_delete: true,
        deny_purge: true,
        ..Config::default()
    }
}

/// Why the stream that there is would not keep what it acknowledged. Pure.
fn difference(found: &Config, config: &StreamConfig) -> Option<String> {
    let wanted = wanted(config);
    let keeps_all = found.max_bytes <= 0
        && found.max_messages <= 0
        && found.max_messages_per_subject <= 0
        && found.max_age.is_zero()
        && found.retention == wanted.retention;
    let replicas = config.replicas.filter(|replicas| *replicas != found.num_replicas);
    if found.subjects != wanted.subjects {
        return Some(format!("its subjects are not {}", wanted.subjects.join(", ")));
    }
    if found.storage != wanted.storage {
        return Some("it is not stored in files".into());
    }
    if !keeps_all {
        return Some("it drops old events: it has a limit of age, size or number".into());
    }
    if !(found.deny_delete && found.deny_purge) || found.allow_rollup {
        return Some("events can be deleted from it: deny_delete and deny_purge are not set".into());
    }
    replicas.map(|wanted| format!("it has {} replicas, not {wanted}", found.num_replicas))
}

#[cfg(test)]
mod tests {
    use kit::Vars;

    use super::*;

    fn config(replicas: Option<u8>) -> StreamConfig {
        StreamConfig::new(&["nats://host".into()], "log".into(), replicas, &mut Vars::default())
    }

    #[test]
    fn a_stream_that_could_lose_events_is_not_used() {
        let fit = wanted(&config(Some(3)));
        assert_eq!(difference(&fit, &config(Some(3))), None);
        assert_eq!(difference(&fit, &config(None)), None);
        let cases: [(Config, &str); 7] = [
            (Config { subjects: vec!["other.>".into()], ..fit.clone() }, "its subjects are not log.*"),
            (Config { storage: StorageType::Memory, ..fit.clone() }, "not stored in files"),
            (Config { max_age: Duration::from_secs(1), ..fit.clone() }, "drops old events"),
            (Config { max_messages: 10, ..fit.clone() }, "drops old events"),
            (Config { retention: RetentionPolicy::WorkQueue, ..fit.clone() }, "drops old events"),
            (Config { deny_purge: false, ..fit.clone() }, "can be deleted"),
            (Config { num_replicas: 1, ..fit }, "it has 1 replicas, not 3"),
        ];
        for (found, expect) in cases {
            let what = difference(&found, &config(Some(3))).expect("is not used");
            assert!(what.contains(expect), "{expect}: {what}");
        }
    }
}
