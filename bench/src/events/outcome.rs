//! What came of one run of one case. Pure.

use std::time::Duration;

use serde::Serialize;

use crate::report::milliseconds;
use crate::sample::Sample;

/// One run, as it was counted.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Requests that were handed out, from the first on; each had its answer.
    pub(crate) sent: usize,
    /// How many of them were refused.
    pub(crate) refused: usize,
    /// What the first refusal said.
    pub(crate) refusal: Option<String>,
    /// From the first request until the last answer.
    pub(crate) elapsed: Duration,
    /// From a request until its answer, refusals included.
    pub(crate) latencies: Vec<Duration>,
}

/// What a run says, in the units of the report.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Speed {
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) most_ms: f64,
    pub(crate) refused: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refusal: Option<String>,
}

impl Outcome {
    /// Notes a refusal.
    pub(crate) fn refuse(&mut self, why: String) {
        self.refused += 1;
        self.refusal.get_or_insert(why);
    }

    /// How fast it went where each request was worth so many.
    #[expect(clippy::cast_precision_loss, reason = "nobody counts to 2^52 here")]
    pub(crate) fn speed(&self, each: usize) -> Speed {
        let latencies: Sample = self.latencies.iter().copied().map(milliseconds).collect();
        let percentile = |percent| latencies.percentile(percent).unwrap_or_default();
        let answered = (self.sent - self.refused) * each;
        Speed {
            per_second: answered as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE),
            p50_ms: percentile(50),
            p95_ms: percentile(95),
            p99_ms: percentile(99),
            most_ms: percentile(100),
            refused: self.refused,
            refusal: self.refusal.clone(),
        }
    }
}
