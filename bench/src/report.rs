//! Prints what was measured: a table for people, or JSON lines with every single
//! measurement for programs.

use std::io::{self, Write};
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::json;

use crate::sample::Sample;

/// What a figure is measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    #[serde(rename = "ms")]
    Milliseconds,
    /// Millions of bytes.
    #[serde(rename = "MB")]
    Megabytes,
    /// Millions of bytes in a second.
    #[serde(rename = "MB/s")]
    MegabytesPerSecond,
    #[serde(rename = "1/s")]
    PerSecond,
    /// A ratio.
    #[serde(rename = "×")]
    Times,
}

/// What is wanted of a figure, in its unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Target {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p50: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99: Option<f64>,
    /// What half of the values have to reach, where more is better.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at_least: Option<f64>,
}

/// One figure: what it is called, what was found, what is wanted.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) sample: Sample,
    pub(crate) target: Target,
}

/// Everything that was found, in the order it was measured.
#[derive(Debug)]
pub(crate) struct Report {
    is_json: bool,
    figures: Vec<Figure>,
}

impl Report {
    pub(crate) fn new(is_json: bool) -> Self {
        Self { is_json, figures: Vec::new() }
    }

    /// Says what is going on.
    pub(crate) fn say(&self, text: &str) {
        drop(writeln!(io::stderr(), "{text}"));
    }

    /// Says why the measurement could not go on.
    pub(crate) fn failed(&self, error: &anyhow::Error) {
        self.say(&format!("bifrost-bench: {error:#}"));
    }

    /// Hands one single measurement to whoever reads JSON.
    pub(crate) fn row(&self, row: &impl Serialize) -> anyhow::Result<()> {
        if self.is_json {
            self.json_line(row)?;
        }
        Ok(())
    }

    /// Takes a figure that is complete.
    pub(crate) fn figure(&mut self, figure: Figure) -> anyhow::Result<()> {
        if self.is_json {
            let Figure { name, unit, sample, target } = &figure;
            self.json_line(&json!({
                "figure": name.trim(), "unit": unit, "count": sample.count(),
                "p50": sample.percentile(50), "p99": sample.percentile(99), "most": sample.percentile(100),
                "target": target, "is_reached": figure.is_reached(),
            }))?;
        }
        self.figures.push(figure);
        Ok(())
    }

    /// Prints a table that has no room in the other, where a person reads.
    pub(crate) fn print(&self, table: &str) -> io::Result<()> {
        if self.is_json { Ok(()) } else { writeln!(io::stdout(), "{table}\n") }
    }

    /// Prints the table of figures, where a person reads.
    pub(crate) fn finish(&self) -> io::Result<()> {
        if self.is_json { Ok(()) } else { writeln!(io::stdout(), "{}", table(&self.figures)) }
    }

    fn json_line(&self, value: &impl Serialize) -> anyhow::Result<()> {
        Ok(writeln!(io::stdout(), "{}", serde_json::to_string(value)?)?)
    }
}

impl Figure {
    /// Whether it is as wanted; nothing where nothing is wanted of it.
    fn is_reached(&self) -> Option<bool> {
        let within = |percent, bound: Option<f64>| Some(self.sample.percentile(percent)? <= bound?);
        let at_least = self.sample.percentile(50).zip(self.target.at_least).map(|(found, bound)| found >= bound);
        let judged = [within(50, self.target.p50), within(99, self.target.p99), at_least];
        judged.into_iter().flatten().reduce(|all, one| all && one)
    }
}

/// A span of time in the unit of the figures.
pub(crate) fn milliseconds(span: Duration) -> f64 {
    span.as_secs_f64() * 1_000.0
}

fn table(figures: &[Figure]) -> String {
    let mut table = Table::new();
    table.force_no_tty().load_style(presets::NOTHING);
    table.set_header(["FIGURE", "COUNT", "p50", "p99", "MOST", "UNIT", "TARGET", ""]);
    for figure in figures {
        let decimals = if figure.unit == Unit::Times { 2 } else { 1 };
        let value = |percent| {
            figure.sample.percentile(percent).map_or_else(|| "-".into(), |value| format!("{value:.decimals$}"))
        };
        table.add_row([
            figure.name.clone(),
            figure.sample.count().to_string(),
            value(50),
            value(99),
            value(100),
            unit(figure.unit).to_owned(),
            wanted(figure.target),
            figure.is_reached().map_or("", |is_reached| if is_reached { "reached" } else { "not reached" }).to_owned(),
        ]);
    }
    for column in 1..=4 {
        table.column_mut(column).expect("the header has this column").set_cell_alignment(CellAlignment::Right);
    }
    table.trim_fmt()
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Milliseconds => "ms",
        Unit::Megabytes => "MB",
        Unit::MegabytesPerSecond => "MB/s",
        Unit::PerSecond => "1/s",
        Unit::Times => "×",
    }
}

fn wanted(target: Target) -> String {
    let bounds = [("p50 ≤", target.p50), ("p99 ≤", target.p99), ("p50 ≥", target.at_least)];
    let bounds =
        bounds.into_iter().filter_map(|(name, bound)| Some(format!("{name} {}", (bound? * 100.0).round() / 100.0)));
    bounds.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(values: &[f64], p50: Option<f64>, p99: Option<f64>) -> Figure {
        let sample = values.iter().copied().collect();
        Figure {
            name: "a figure".into(),
            unit: Unit::Milliseconds,
            sample,
            target: Target { p50, p99, at_least: None },
        }
    }

    #[test]
    fn a_figure_is_reached_when_every_bound_holds() {
        let values = [1.0, 2.0, 9.0];
        assert_eq!(figure(&values, None, None).is_reached(), None);
        assert_eq!(figure(&values, Some(2.0), None).is_reached(), Some(true));
        assert_eq!(figure(&values, Some(2.0), Some(8.0)).is_reached(), Some(false));
        assert_eq!(figure(&values, None, Some(9.0)).is_reached(), Some(true));
    }

    #[test]
    fn the_table_shows_what_was_found_beside_what_is_wanted() {
        let table = table(&[figure(&[1.0, 2.0, 9.26], Some(2.0), Some(8.0))]);
        let words: Vec<_> = table.lines().last().expect("a row").split_whitespace().collect();
        let expect =
            ["a", "figure", "3", "2.0", "9.3", "9.3", "ms", "p50", "≤", "2,", "p99", "≤", "8", "not", "reached"];
        assert_eq!(words, expect);
    }
}
