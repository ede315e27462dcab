use std::fmt::Write;

use super::Run;
use crate::figure::Figure;

/// The differences between this run and an older one: a line for each figure whose medians lie outside each other's
/// spread. Rates by themselves are left out: they drift with the machine, their ratios do not.
#[must_use]
pub fn changes(now: &Run, before: &Run) -> String {
    let mut text = String::from("compared with the saved run (outside of both spreads):\n");
    if now.host.cpu != before.host.cpu || now.host.kernel != before.host.kernel {
        let _ =
            writeln!(text, "  saved on another machine: {}, kernel {}", before.host.cpu, before.host.kernel);
    }
    let mut changed = 0;
    for figure in now.figures.iter().filter(|figure| !figure.unit.ends_with("/s")) {
        let same =
            |old: &&Figure| old.group == figure.group && old.name == figure.name && old.unit == figure.unit;
        let Some(old) = before.figures.iter().find(same) else { continue };
        if figure.spread.is_apart_from(&old.spread) {
            let (was, is) = (old.spread.median, figure.spread.median);
            let _ =
                writeln!(text, "  {}: {was:.3} -> {is:.3} ({:+.1} %)", figure.name, (is / was - 1.0) * 100.0);
            changed += 1;
        }
    }
    if changed == 0 {
        text.push_str("  nothing\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{figure::Group, report::Host};

    fn run(unit: &str, values: [f64; 3]) -> Run {
        let figure = Figure::new(Group::Traffic, "a", unit, values.to_vec()).unwrap();
        Run::new(Host::this(), Vec::new(), vec![figure])
    }

    #[test]
    fn only_what_lies_outside_both_spreads_is_told() {
        let before = run("ratio", [0.9, 0.91, 0.92]);
        assert!(changes(&run("ratio", [0.95, 0.96, 0.97]), &before).contains("a: 0.910 -> 0.960 (+5.5 %)"));
        assert!(changes(&run("ratio", [0.9, 0.912, 0.97]), &before).contains("nothing"));
    }

    #[test]
    fn rates_by_themselves_are_not_compared() {
        let text = changes(&run("transactions/s", [9.0, 9.0, 9.0]), &run("transactions/s", [1.0, 1.0, 1.0]));
        assert!(text.contains("nothing"), "{text}");
    }
}
