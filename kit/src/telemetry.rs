//! Log lines and metrics, set up once by a `main`.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// The bounds of every histogram of seconds: from a sync of a fast disk to the start of a machine.
const SECONDS: [f64; 19] = [
    0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
    900.0,
];
/// The bounds of every histogram of how many requests were served at once.
const REQUESTS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Sends log lines to standard error: coloured text on a terminal, JSON otherwise.
/// `filter` is an `EnvFilter` directive such as `info` or `work=debug,info`.
pub fn init_logs(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call, as from tests in one process, keeps the first set-up.
    let set = if std::io::stderr().is_terminal() { builder.try_init() } else { builder.json().try_init() };
    drop(set);
}

/// Collects metrics of this process; the handle renders them as Prometheus text. Histograms have
/// fixed bounds, by what their name ends in: `_seconds` or `_requests`.
/// A second call in one process renders an empty page of its own.
pub fn init_metrics() -> PrometheusHandle {
    let recorder = builder().expect("the bounds are there").build_recorder();
    let handle = recorder.handle();
    drop(metrics::set_global_recorder(recorder));
    handle
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_requests".into()), &REQUESTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_group_sizes_are_counted_within_bounds() {
        let recorder = builder().unwrap().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("sync_seconds").record(0.003);
            metrics::histogram!("group_requests").record(3.0);
        });
        let text = handle.render();
        for line in [
            "sync_seconds_bucket{le=\"0.002\"} 0",
            "sync_seconds_bucket{le=\"0.005\"} 1",
            "group_requests_bucket{le=\"2\"} 0",
            "group_requests_bucket{le=\"4\"} 1",
            "group_requests_count 1",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }
}
