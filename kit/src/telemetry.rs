//! Log lines and metrics, set up once by a `main`.

use std::io::IsTerminal;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// Sends log lines to standard error: coloured text on a terminal, JSON otherwise.
/// `filter` is an `EnvFilter` directive such as `info` or `work=debug,info`.
pub fn init_logs(filter: &str) {
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second call, as from tests in one process, keeps the first set-up.
    let set = if std::io::stderr().is_terminal() { builder.try_init() } else { builder.json().try_init() };
    drop(set);
}

/// Collects metrics of this process; the handle renders them as Prometheus text.
/// A second call in one process renders an empty page of its own.
pub fn init_metrics() -> PrometheusHandle {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    drop(metrics::set_global_recorder(recorder));
    handle
}
