//! The metrics of the event store: every name, and what it says. Where each is
//! counted is beside what it counts.

use metrics::{describe_counter, describe_gauge, describe_histogram};

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// All of them.
const METERS: [(Kind, &str, &str); 20] = [
    (Kind::Counter, "event_store_events_appended_total", "Events that were stored."),
    (Kind::Counter, "event_store_events_duplicate_total", "Events that came again and had been stored before."),
    (Kind::Counter, "event_store_events_pruned_total", "Events that the retention deleted."),
    (Kind::Counter, "event_store_refusals_total", "Requests that were refused, by the code of the refusal."),
    (Kind::Counter, "event_store_checkpoints_total", "Attempts to fold the journal into the database."),
    (Kind::Histogram, "event_store_commit_seconds", "How long one transaction took, without its sync."),
    (Kind::Histogram, "event_store_sync_seconds", "How long one sync of the journal took."),
    (Kind::Histogram, "event_store_group_requests", "Requests that shared one transaction."),
    (Kind::Gauge, "event_store_queue_depth", "Requests that wait for the writer, of at most 1024."),
    (Kind::Counter, "event_store_follower_reads_total", "Reads on behalf of streams."),
    (Kind::Counter, "event_store_connections_refused_total", "Connections that were reset, by the reason."),
    (Kind::Gauge, "event_store_connections", "Connections that are open."),
    (Kind::Gauge, "event_store_followers", "Streams that are open, of at most 1024."),
    (Kind::Gauge, "event_store_database_bytes", "The size of the database."),
    (Kind::Gauge, "event_store_reusable_bytes", "What of it is free for new events."),
    (Kind::Gauge, "event_store_journal_bytes", "The size of the journal beside it."),
    (Kind::Gauge, "event_store_volume_free_bytes", "What is free on the volume."),
    (Kind::Gauge, "event_store_volume_size_bytes", "The size of the volume."),
    (Kind::Gauge, "event_store_volume_level", "The room on the volume: 0 ample, 1 low, 2 full and writes refused."),
    (
        Kind::Gauge,
        "event_store_stream_sequence",
        "The stream's last message that is in this store's log, with JetStream.",
    ),
];

/// Says what each means, for the page at `/metrics`.
pub(crate) fn describe() {
    for (kind, name, help) in METERS {
        match kind {
            Kind::Counter => describe_counter!(name, help),
            Kind::Gauge => describe_gauge!(name, help),
            Kind::Histogram => describe_histogram!(name, help),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_on_the_page_for_operators() {
        let page = include_str!("../../docs/events-watching.md");
        for (_, name, _) in METERS {
            assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/events-watching.md");
        }
    }

    #[test]
    fn names_end_in_what_they_count() {
        for (kind, name, _) in METERS {
            let has_unit = ["_bytes", "_seconds", "_requests"].iter().any(|unit| name.ends_with(unit));
            let expect = match kind {
                Kind::Counter => name.ends_with("_total"),
                Kind::Histogram => has_unit,
                Kind::Gauge => {
                    let ends = ["_depth", "_followers", "_connections", "_level", "_sequence"];
                    has_unit || ends.iter().any(|end| name.ends_with(end))
                }
            };
            assert!(expect && name.starts_with("event_store_"), "{name}");
        }
    }
}
