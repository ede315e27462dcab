use std::fmt::Write;

use super::Run;
use crate::figure::{Better, Figure, Group, Limit, Verdict};

/// The run for people.
#[must_use]
pub fn table(run: &Run) -> String {
    let host = &run.host;
    let mut text =
        format!("{} with {} CPUs, kernel {}, load {:.1}\n", host.cpu, host.cpus, host.kernel, host.load);
    for note in &run.notes {
        let _ = writeln!(text, "note: {note}");
    }
    for group in Group::ALL {
        let figures: Vec<&Figure> = run.figures.iter().filter(|figure| figure.group == group).collect();
        let Some(width) = figures.iter().map(|figure| figure.name.len()).max() else { continue };
        let _ = writeln!(text, "\n{}; median [quartiles]", group.title());
        for figure in figures {
            let _ = writeln!(text, "  {}", line(figure, width).trim_end());
        }
    }
    text
}

fn line(figure: &Figure, width: usize) -> String {
    let spread = &figure.spread;
    let (scale, unit) = scale(&figure.unit);
    let [low, median, high] = [spread.low, spread.median, spread.high].map(|value| number(value / scale));
    let limit = figure.limit.map(|limit| beside(&limit)).unwrap_or_default();
    let verdict = figure.verdict().map(label).unwrap_or_default();
    format!("{:<width$} {median:>8} {unit:<7} [{low} .. {high}]{limit}{verdict}", figure.name)
}

/// What to divide by, and what the result is then counted in.
fn scale(unit: &str) -> (f64, &str) {
    match unit {
        "ratio" => (1.0, ""),
        "bytes/s" => (1e9, "GB/s"),
        "transactions/s" | "packets/s" => (1e3, "k/s"),
        "bytes" => (1e6, "MB"),
        _ => (1.0, unit),
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.3}"),
        10.0..1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn beside(limit: &Limit) -> String {
    let sign = if limit.better == Better::More { ">=" } else { "<=" };
    match limit.gate {
        Some(gate) if gate == limit.goal => format!("  gate {sign} {gate}"),
        Some(gate) => format!("  gate {sign} {gate}, goal {sign} {}", limit.goal),
        None => format!("  goal {sign} {}", limit.goal),
    }
}

fn label(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Missed => ": MISSED",
        Verdict::Gate => ": gate reached, goal not",
        Verdict::Goal => ": reached",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Host;

    #[test]
    fn a_line_tells_median_spread_limit_and_verdict() {
        let figure =
            Figure::new(Group::Traffic, "naru / veth: TCP_RR", "ratio", vec![0.95, 0.96, 0.97]).unwrap();
        let figures = vec![figure.limited(Some(Limit::at_least(0.94, 0.97)))];
        let text = table(&Run::new(Host::this(), vec!["a note".to_owned()], figures));
        assert!(text.contains("note: a note\n"), "{text}");
        let line = text.lines().last().unwrap();
        assert!(line.starts_with("  naru / veth: TCP_RR    0.960"), "{line}");
        assert!(
            line.ends_with("[0.955 .. 0.965]  gate >= 0.94, goal >= 0.97: gate reached, goal not"),
            "{line}"
        );
    }
}
