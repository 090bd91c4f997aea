//! The comparison as a table. Runs of one round are compared with each other, since
//! the machine may be faster or slower by the next; what is shown are medians. Pure.

use comfy_table::{CellAlignment, Table, presets};
use serde::{Deserialize, Serialize};

use crate::sample::Sample;

/// The embedded database is fast enough in any case at so many lifecycles in a second.
const ENOUGH_PER_SECOND: f64 = 3_000.0;

/// What does the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum System {
    /// Ours on PostgreSQL.
    Postgres,
    /// Ours on SQLite.
    Sqlite,
    PgBoss,
    GraphileWorker,
    Procrastinate,
}

impl System {
    pub(crate) const ALL: [Self; 5] =
        [Self::Postgres, Self::Sqlite, Self::PgBoss, Self::GraphileWorker, Self::Procrastinate];

    pub(crate) fn is_peer(self) -> bool {
        !matches!(self, Self::Postgres | Self::Sqlite)
    }

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Postgres => "Bifrost on PostgreSQL",
            Self::Sqlite => "Bifrost on SQLite",
            Self::PgBoss => "pg-boss",
            Self::GraphileWorker => "graphile-worker",
            Self::Procrastinate => "Procrastinate",
        }
    }

    /// How many times as fast as a peer ours on PostgreSQL has to be.
    fn wanted_times(self) -> Option<f64> {
        match self {
            Self::Postgres | Self::Sqlite => None,
            Self::PgBoss => Some(2.0),
            Self::GraphileWorker => Some(1.5),
            Self::Procrastinate => Some(5.0),
        }
    }
}

/// How fast a run was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Speed {
    pub(crate) created_per_second: f64,
    /// From a claim to its end.
    pub(crate) per_second: f64,
    /// Of a peer.
    #[serde(default)]
    pub(crate) version: Option<String>,
}

/// One run of one case.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Run {
    pub(crate) round: usize,
    pub(crate) workers: usize,
    pub(crate) system: System,
    #[serde(flatten)]
    pub(crate) speed: Speed,
}

impl Run {
    pub(crate) fn in_words(&self) -> String {
        let Speed { created_per_second, per_second, .. } = self.speed;
        format!("{}: created {created_per_second:.0}/s, done {per_second:.0}/s", self.system.label())
    }
}

/// Every run of one system in one case, condensed.
#[derive(Debug, Serialize, PartialEq)]
pub(crate) struct Line {
    pub(crate) workers: usize,
    pub(crate) system: String,
    pub(crate) created_per_second: f64,
    pub(crate) per_second: f64,
    /// How many times as fast ours on PostgreSQL is.
    pub(crate) times: Option<f64>,
    /// What is wanted, and whether it is reached.
    pub(crate) wanted: Option<(String, bool)>,
}

/// The runs in the order of their first round, condensed.
pub(crate) fn lines(runs: &[Run]) -> Vec<Line> {
    let first = runs.iter().map(|run| run.round).min().unwrap_or_default();
    runs.iter().filter(|run| run.round == first).map(|run| line(run, runs)).collect()
}

fn line(first: &Run, runs: &[Run]) -> Line {
    let same: Vec<&Run> = of(runs, first.workers, first.system).collect();
    let median = |value: fn(&Speed) -> f64| {
        same.iter().map(|run| value(&run.speed)).collect::<Sample>().percentile(50).unwrap_or_default()
    };
    let ours = |run: &&&Run| of(runs, run.workers, System::Postgres).find(|ours| ours.round == run.round);
    let times: Sample =
        same.iter().filter_map(|run| Some(ours(&run)?.speed.per_second / run.speed.per_second)).collect();
    let per_second = median(|speed| speed.per_second);
    let times = times.percentile(50).filter(|_| first.system != System::Postgres);
    let version = first.speed.version.as_deref().map(|version| format!(" {version}")).unwrap_or_default();
    Line {
        workers: first.workers,
        system: format!("{}{version}", first.system.label()),
        created_per_second: median(|speed| speed.created_per_second),
        per_second,
        times,
        wanted: wanted(first.system, per_second, times),
    }
}

fn wanted(system: System, per_second: f64, times: Option<f64>) -> Option<(String, bool)> {
    if let Some(wanted) = system.wanted_times() {
        return Some((format!("≥ {wanted} ×"), times? >= wanted));
    }
    if system != System::Sqlite {
        return None;
    }
    // Twice as fast as on PostgreSQL, or as fast as anybody needs, whichever is less.
    let twice = times.map_or(ENOUGH_PER_SECOND, |times| 2.0 * times * per_second);
    let wanted = twice.min(ENOUGH_PER_SECOND);
    Some((format!("≥ {wanted:.0}/s"), per_second >= wanted))
}

fn of(runs: &[Run], workers: usize, system: System) -> impl Iterator<Item = &Run> {
    runs.iter().filter(move |run| run.workers == workers && run.system == system)
}

/// The lines for a person.
pub(crate) fn table(lines: &[Line]) -> String {
    let mut table = Table::new();
    table.force_no_tty().load_style(presets::NOTHING);
    table.set_header(["WORKERS", "SYSTEM", "CREATED/S", "DONE/S", "OURS", "TARGET", ""]);
    for line in lines {
        let (target, is_reached) = line.wanted.as_ref().map_or((String::new(), ""), |(text, is_reached)| {
            (text.clone(), if *is_reached { "reached" } else { "not reached" })
        });
        table.add_row([
            line.workers.to_string(),
            line.system.clone(),
            format!("{:.0}", line.created_per_second),
            format!("{:.0}", line.per_second),
            line.times.map_or_else(String::new, |times| format!("{times:.2} ×")),
            target,
            is_reached.to_owned(),
        ]);
    }
    for column in [0, 2, 3, 4] {
        table.column_mut(column).expect("the header has this column").set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(round: usize, system: System, per_second: f64) -> Run {
        let speed = Speed { created_per_second: 9.0, per_second, version: None };
        Run { round, workers: 10, system, speed }
    }

    #[test]
    fn rounds_are_compared_with_themselves() {
        let runs = [
            run(0, System::Postgres, 1_000.0),
            run(0, System::PgBoss, 500.0),
            run(1, System::Postgres, 4_000.0),
            run(1, System::PgBoss, 1_000.0),
            run(2, System::Postgres, 900.0),
            run(2, System::PgBoss, 300.0),
        ];
        let lines = lines(&runs);
        assert_eq!((lines[0].per_second, lines[0].times), (1_000.0, None));
        assert_eq!((lines[1].per_second, lines[1].times), (500.0, Some(3.0)));
        assert_eq!(lines[1].wanted, Some(("≥ 2 ×".into(), true)));
    }

    #[test]
    fn sqlite_has_to_be_twice_as_fast_or_fast_enough() {
        for (postgres, sqlite, wanted) in [
            (1_000.0, 1_999.0, ("≥ 2000/s", false)),
            (1_000.0, 2_000.0, ("≥ 2000/s", true)),
            (5_000.0, 3_000.0, ("≥ 3000/s", true)),
        ] {
            let lines = lines(&[run(0, System::Postgres, postgres), run(0, System::Sqlite, sqlite)]);
            assert_eq!(lines[1].wanted, Some((wanted.0.into(), wanted.1)));
        }
        assert_eq!(lines(&[run(0, System::Sqlite, 1.0)])[0].wanted, Some(("≥ 3000/s".into(), false)));
    }
}
