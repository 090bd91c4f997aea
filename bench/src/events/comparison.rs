//! The comparison as a table: what each system did in each case, and how ours
//! stands to it. Runs of one round are compared with each other, since the machine
//! may be faster or slower by the next; what is shown are medians over the rounds.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::case::{Case, System};
use super::outcome::Speed;
use crate::sample::Sample;

/// One run of one case.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Run {
    pub(crate) round: usize,
    pub(crate) case: Case,
    pub(crate) system: System,
    /// What exactly it was, for a person.
    pub(crate) label: String,
    #[serde(flatten)]
    pub(crate) speed: Speed,
}

/// Every run of one system in one case, condensed.
#[derive(Debug, Serialize, PartialEq)]
pub(crate) struct Line {
    pub(crate) case: &'static str,
    pub(crate) system: String,
    pub(crate) per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p95_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) most_ms: f64,
    pub(crate) refused: usize,
    /// How many times as fast ours is.
    pub(crate) times: Option<f64>,
    /// How many times as fast it has to be.
    pub(crate) wanted: Option<f64>,
}

impl Line {
    fn is_reached(&self) -> Option<bool> {
        Some(self.times? >= self.wanted?)
    }
}

/// The runs in the order of their first round, condensed.
pub(crate) fn lines(runs: &[Run]) -> Vec<Line> {
    let first = runs.iter().map(|run| run.round).min().unwrap_or_default();
    runs.iter().filter(|run| run.round == first).map(|run| line(run, runs)).collect()
}

fn line(first: &Run, runs: &[Run]) -> Line {
    let same: Vec<_> = of(runs, first.case, first.system).collect();
    let median = |value: fn(&Speed) -> f64| median_of(same.iter().map(|run| value(&run.speed)));
    let times = same.iter().filter_map(|run| {
        let ours = of(runs, run.case, System::Store).find(|ours| ours.round == run.round)?;
        Some(ours.speed.per_second / run.speed.per_second)
    });
    let is_other = first.system != System::Store;
    Line {
        case: first.case.name,
        system: first.label.clone(),
        per_second: median(|speed| speed.per_second),
        p50_ms: median(|speed| speed.p50_ms),
        p95_ms: median(|speed| speed.p95_ms),
        p99_ms: median(|speed| speed.p99_ms),
        most_ms: same.iter().map(|run| run.speed.most_ms).fold(0.0, f64::max),
        refused: same.iter().map(|run| run.speed.refused).sum(),
        times: times.collect::<Sample>().percentile(50).filter(|_| is_other),
        wanted: first.system.wanted_times(first.case),
    }
}

/// How many times our p50 our p99 is, with single events on so many connections; each round's.
pub(crate) fn spread(runs: &[Run], connections: usize) -> Sample {
    let ours = runs.iter().filter(|run| run.system == System::Store && run.is_single(connections));
    ours.map(|run| run.speed.p99_ms / run.speed.p50_ms).collect()
}

/// How many times the p50 of bare SQLite ours is, with single events on so many connections; each round's.
pub(crate) fn p50_times(runs: &[Run], connections: usize) -> Sample {
    let ours = runs.iter().filter(|run| run.system == System::Store && run.is_single(connections));
    let pairs = ours.filter_map(|ours| Some((ours, of(runs, ours.case, System::SqliteGrouped).nth(ours.round)?)));
    pairs.map(|(ours, bare)| ours.speed.p50_ms / bare.speed.p50_ms).collect()
}

impl Run {
    fn is_single(&self, connections: usize) -> bool {
        self.case.batch == 1 && self.case.connections == connections
    }
}

/// The runs of a system in a case, in the order of their rounds.
fn of(runs: &[Run], case: Case, system: System) -> impl Iterator<Item = &Run> {
    runs.iter().filter(move |run| run.case == case && run.system == system)
}

fn median_of(values: impl Iterator<Item = f64>) -> f64 {
    values.collect::<Sample>().percentile(50).unwrap_or_default()
}

/// The lines for a person.
pub(crate) fn table(lines: &[Line]) -> String {
    let mut table = Table::new();
    table.force_no_tty().load_style(presets::NOTHING);
    table.set_header(["CASE", "SYSTEM", "EVENTS/S", "p50 ms", "p95", "p99", "MOST", "REFUSED", "OURS", "TARGET", ""]);
    let mut case = "";
    for line in lines {
        let times = |times: Option<f64>| times.map_or(String::new(), |times| format!("{times:.2} ×"));
        let milliseconds = |value: f64| format!("{value:.2}");
        table.add_row([
            if line.case == case { String::new() } else { line.case.to_owned() },
            line.system.clone(),
            format!("{:.0}", line.per_second),
            milliseconds(line.p50_ms),
            milliseconds(line.p95_ms),
            milliseconds(line.p99_ms),
            milliseconds(line.most_ms),
            line.refused.to_string(),
            times(line.times),
            line.wanted.map_or(String::new(), |wanted| format!("≥ {wanted} ×")),
            line.is_reached().map_or("", |is_reached| if is_reached { "reached" } else { "not reached" }).to_owned(),
        ]);
        case = line.case;
    }
    for column in 2..=8 {
        table.column_mut(column).expect("the header has this column").set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::case::CASES;

    fn run(round: usize, system: System, per_second: f64, p99_ms: f64) -> Run {
        let speed = Speed { per_second, p50_ms: 1.0, p95_ms: 1.0, p99_ms, most_ms: p99_ms, refused: 0, refusal: None };
        Run { round, case: CASES[1], system, label: format!("{system:?}"), speed }
    }

    #[test]
    fn systems_are_compared_within_a_round_and_shown_by_their_medians() {
        let runs = [
            run(0, System::Store, 300.0, 4.0),
            run(0, System::Postgres, 100.0, 4.0),
            run(1, System::Store, 100.0, 9.0),
            run(1, System::Postgres, 50.0, 4.0),
            run(2, System::Store, 100.0, 5.0),
            run(2, System::Postgres, 100.0, 4.0),
        ];
        let lines = lines(&runs);
        assert_eq!(lines.len(), 2);
        assert_eq!((lines[0].per_second, lines[0].p99_ms, lines[0].most_ms), (100.0, 5.0, 9.0));
        assert_eq!((lines[0].times, lines[0].is_reached()), (None, None));
        assert_eq!((lines[1].times, lines[1].wanted, lines[1].is_reached()), (Some(2.0), Some(1.5), Some(true)));
    }

    #[test]
    fn the_table_names_a_case_once() {
        let table = table(&lines(&[run(0, System::Store, 1.0, 1.0), run(0, System::Postgres, 1.0, 1.0)]));
        assert_eq!(table.matches("16 connections").count(), 1, "{table}");
        assert!(table.lines().last().is_some_and(|line| line.ends_with("not reached")), "{table}");
    }
}
