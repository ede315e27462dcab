use std::fmt::Write;

use super::{
    Run,
    grid::{Cell, Grid},
    place::{Place, Sheet, position},
};
use crate::figure::{Better, Figure, Limit, RATIO, Verdict};

/// The run for people: the gates that are missed, then a table with a row for each path and a column for each metric.
#[must_use]
pub fn table(run: &Run) -> String {
    let host = &run.host;
    let mut text =
        format!("{} with {} CPUs, kernel {}, load {:.1}\n", host.cpu, host.cpus, host.kernel, host.load);
    for note in &run.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text.push_str(&missed(run));
    if run.figures.iter().any(|figure| mark(figure).is_some()) {
        text.push_str("\nmedians; ! misses its gate, ~ misses its goal; spread is the widest of the row\n");
    }
    for sheet in Sheet::ALL {
        let mut figures: Vec<(Place, &Figure)> =
            run.figures.iter().map(|figure| (Place::of(figure), figure)).collect();
        figures.retain(|(place, _)| place.sheet == sheet);
        if !figures.is_empty() {
            let _ = write!(text, "\n{}\n{}", sheet.title(), sheet_of(sheet, figures));
        }
    }
    text
}

/// A line for each missed gate: the figure, its value with the quartiles, the gate.
fn missed(run: &Run) -> String {
    let gated = run.figures.iter().filter(|figure| figure.limit.is_some_and(|limit| limit.gate.is_some()));
    let gated = gated.count();
    let missed: Vec<&Figure> = run.missed().collect();
    let mut text = match (gated, missed.len()) {
        (0, _) => return String::new(),
        (_, 0) => return format!("\ngates: all {gated} reached\n"),
        (_, count) => format!("\ngates: {count} of {gated} MISSED\n"),
    };
    let width = missed.iter().map(|figure| figure.name.chars().count()).max().unwrap_or_default();
    for figure in missed {
        let (scale, unit) = scale(&figure.unit);
        let spread = &figure.spread;
        let [low, value, high] = [spread.low, spread.median, spread.high].map(|value| number(value / scale));
        let gate = figure.limit.map(|limit| gate(&limit, scale)).unwrap_or_default();
        let line = format!("{:<width$}  {value:>7}  {gate}  [{low} .. {high}] {unit}", figure.name);
        let _ = writeln!(text, "! {}", line.trim_end());
    }
    text
}

fn gate(limit: &Limit, scale: f64) -> String {
    let sign = if limit.better == Better::More { ">=" } else { "<=" };
    limit.gate.map(|gate| format!("gate {sign} {}", gate / scale)).unwrap_or_default()
}

/// The column that tells how far the quartiles of a row's figures lie apart.
const SPREAD: &str = "spread";

fn sheet_of(sheet: Sheet, mut figures: Vec<(Place, &Figure)>) -> String {
    in_order_of_columns(sheet, &mut figures);
    let mut grid = Grid::default();
    let mut widest: Vec<(&str, f64)> = Vec::new();
    for (place, figure) in &figures {
        let (scale, unit) = scale(&figure.unit);
        let column = format!("{} {unit}", place.column);
        let text = format!("{}{}", number(figure.spread.median / scale), mark(figure).unwrap_or(' '));
        let missed = figure.verdict() == Some(Verdict::Missed);
        grid.set(&place.row, column.trim_end(), Cell { text, missed });
        let width = (figure.spread.high - figure.spread.low) / figure.spread.median;
        match widest.iter_mut().find(|(row, _)| *row == place.row) {
            Some((_, known)) => *known = known.max(width),
            None => widest.push((&place.row, width)),
        }
    }
    if widest.iter().any(|(_, width)| *width > 0.0) {
        for (row, width) in widest {
            grid.set(row, SPREAD, Cell { text: format!("{:.0} %", width * 100.0), missed: false });
        }
    }
    grid.text()
}

/// Sorts the figures so that the columns of the sheet come in their order; rows keep that of the run.
fn in_order_of_columns(sheet: Sheet, figures: &mut [(Place, &Figure)]) {
    match sheet {
        Sheet::TrafficRatios | Sheet::TrafficRates => {
            figures.sort_by_key(|(place, _)| position(&place.column))
        }
        // Times first, then how they grow.
        Sheet::ByPods | Sheet::ByPrefixes => figures.sort_by_key(|(_, figure)| figure.unit == RATIO),
        Sheet::CniRatios | Sheet::CniTimes => {
            figures.sort_by(|(one, _), (other, _)| one.column.cmp(&other.column))
        }
        _ => {}
    }
}

/// The mark of a figure that misses its gate, or only its goal.
fn mark(figure: &Figure) -> Option<char> {
    match figure.verdict()? {
        Verdict::Missed => Some('!'),
        Verdict::Gate => Some('~'),
        Verdict::Goal => None,
    }
}

/// The divisor of a unit's values, and the unit of the quotients. Sheets whose title names the unit show none.
fn scale(unit: &str) -> (f64, &str) {
    match unit {
        "bytes/s" => (1e9, "GB/s"),
        "transactions/s" | "packets/s" => (1e3, "k/s"),
        "bytes" => (1e6, "MB"),
        _ => (1.0, ""),
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        _ if value.fract() == 0.0 && value.abs() >= 100.0 => format!("{value:.0}"),
        0.0..10.0 => format!("{value:.3}"),
        10.0..1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{figure::Group, report::Host};

    fn ratio(name: &str, values: [f64; 3], limit: Limit) -> Figure {
        Figure::new(Group::Traffic, name, RATIO, values.to_vec()).unwrap().limited(Some(limit))
    }

    fn text(figures: Vec<Figure>) -> String {
        table(&Run::new(Host::this(), vec!["a note".to_owned()], figures))
    }

    #[test]
    fn missed_gates_come_first_with_value_gate_and_quartiles() {
        let text = text(vec![
            ratio("naru / veth: TCP_RR", [0.95, 0.96, 0.97], Limit::at_least(0.94, 0.97)),
            ratio("naru / veth: stream", [0.8, 0.9, 1.0], Limit::at_least(0.92, 0.97)),
        ]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "note: a note");
        assert_eq!(lines[3], "gates: 1 of 2 MISSED");
        assert_eq!(lines[4], "! naru / veth: stream    0.900  gate >= 0.92  [0.850 .. 0.950]");
        assert_eq!(
            lines[lines.len() - 2..],
            ["               TCP_RR  stream  spread", "  naru / veth  0.960~  0.900!    11 %"]
        );
    }

    #[test]
    fn a_run_without_a_missed_gate_says_so() {
        let text = text(vec![ratio("a / b: TCP_RR", [1.0; 3], Limit::at_least(0.9, 1.0))]);
        assert!(text.contains("\ngates: all 1 reached\n") && !text.contains('!'), "{text}");
    }

    #[test]
    fn gates_are_told_in_the_unit_of_their_values() {
        let figure = Figure::new(Group::Memory, "maps, 250 pods", "bytes", vec![12e6]).unwrap();
        let text = text(vec![figure.limited(Some(Limit::at_most(10e6)))]);
        assert!(text.contains("! maps, 250 pods     12.0  gate <= 10  [12.0 .. 12.0] MB"), "{text}");
    }

    #[test]
    fn a_path_is_one_row_whatever_is_measured_of_it() {
        let rate = |name: &str, unit| Figure::new(Group::Traffic, name, unit, vec![2e9]).unwrap();
        let text = text(vec![
            rate("veth: stream", "bytes/s"),
            rate("flannel: stream", "bytes/s"),
            rate("flannel, wire: stream", "bytes/s"),
        ]);
        let rows: Vec<&str> = text.lines().rev().take(2).collect();
        assert_eq!(rows, ["  flannel  2.000   2.000", "  veth     2.000"], "{text}");
    }
}
