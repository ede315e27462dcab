use super::{Run, plot::Plot};
use crate::figure::{Figure, Group};

/// Every chart of the run, by file name; a group that was not measured has none.
#[must_use]
pub fn charts(run: &Run) -> Vec<(&'static str, String)> {
    let all = [("ratios.svg", ratios(run)), ("programs.svg", programs(run)), ("latency.svg", latency(run))];
    all.into_iter().filter_map(|(name, plot)| Some((name, plot?.svg()))).collect()
}

/// Ratios of traffic: a bar for each, its quartiles, and a tick at the gate.
fn ratios(run: &Run) -> Option<Plot> {
    let figures: Vec<&Figure> = of(run, Group::Traffic).filter(|figure| figure.unit == "ratio").collect();
    let mut plot = Plot::new("Ratios of traffic (median, quartiles, gate)");
    plot.bars(
        figures
            .iter()
            .map(|figure| (figure.name.as_str(), figure.spread, figure.limit.and_then(|limit| limit.gate))),
    );
    (!figures.is_empty()).then_some(plot)
}

/// Time of a program against the number of entries in the map it looks into.
fn programs(run: &Run) -> Option<Plot> {
    let mut plot = Plot::new("Time of a program by entries in its map (ns, median)");
    let mut lines: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
    for figure in of(run, Group::Programs).filter(|figure| figure.unit == "ns") {
        let Some((name, entries)) = figure.name.rsplit_once(", ") else { continue };
        let Some(entries) = entries.split(' ').next().and_then(|count| count.parse::<f64>().ok()) else {
            continue;
        };
        let point = (entries, figure.spread.median);
        match lines.iter_mut().find(|(known, _)| *known == name) {
            Some((_, points)) => points.push(point),
            None => lines.push((name, vec![point])),
        }
    }
    let any = !lines.is_empty();
    plot.logarithmic(lines);
    any.then_some(plot)
}

/// Which part of the calls took no longer than a time.
fn latency(run: &Run) -> Option<Plot> {
    let mut plot = Plot::new("Latency of CNI plugins: part of the calls done (%) by time (ms)");
    let lines: Vec<(&str, Vec<(f64, f64)>)> = of(run, Group::Cni)
        .filter(|figure| figure.unit == "ms" && figure.values.len() > 1)
        .map(|figure| (figure.name.as_str(), distribution(&figure.values)))
        .collect();
    let any = !lines.is_empty();
    plot.logarithmic(lines);
    any.then_some(plot)
}

fn distribution(values: &[f64]) -> Vec<(f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let part = |place: usize| (place + 1) as f64 * 100.0 / sorted.len() as f64;
    sorted.iter().enumerate().map(|(place, value)| (*value, part(place))).collect()
}

fn of(run: &Run, group: Group) -> impl Iterator<Item = &Figure> {
    run.figures.iter().filter(move |figure| figure.group == group)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{figure::Limit, report::Host};

    /// Checks that every tag is closed in its order and that no text holds markup.
    fn assert_well_formed(svg: &str) {
        let mut open = Vec::new();
        for piece in svg.split('<').skip(1) {
            let (tag, text) = piece.split_once('>').unwrap_or_else(|| panic!("an open tag: {piece}"));
            assert!(!text.contains('>') && tag.matches('"').count() % 2 == 0, "{piece}");
            let ampersands = text.matches('&').count();
            assert_eq!(
                ampersands,
                text.matches("&amp;").count() + text.matches("&lt;").count() + text.matches("&gt;").count()
            );
            match tag.strip_prefix('/') {
                Some(name) => assert_eq!(open.pop(), Some(name), "{piece}"),
                None if tag.ends_with('/') => {}
                None => open.push(tag.split(' ').next().unwrap()),
            }
        }
        assert_eq!(open, Vec::<&str>::new());
    }

    #[test]
    fn every_group_has_a_well_formed_chart() {
        let figure = |group, name: &str, unit| Figure::new(group, name, unit, vec![1.0, 2.0, 3.0]).unwrap();
        let figures = vec![
            figure(Group::Traffic, "a<b & c / d: TCP_RR", "ratio").limited(Some(Limit::at_least(0.9, 1.0))),
            figure(Group::Traffic, "a rate", "bytes/s"),
            figure(Group::Programs, "from_pod to a pod, 100 pods", "ns"),
            figure(Group::Programs, "from_pod to a pod, 60000 pods", "ns"),
            figure(Group::Cni, "naru: ADD", "ms"),
        ];
        let charts = charts(&Run::new(Host::this(), Vec::new(), figures));
        assert_eq!(
            charts.iter().map(|(name, _)| *name).collect::<Vec<_>>(),
            ["ratios.svg", "programs.svg", "latency.svg"]
        );
        charts.iter().for_each(|(_, svg)| assert_well_formed(svg));
        assert!(charts[0].1.contains("a&lt;b &amp; c") && !charts[0].1.contains("a rate"));
    }

    #[test]
    fn what_was_not_measured_has_no_chart() {
        assert_eq!(charts(&Run::new(Host::this(), Vec::new(), Vec::new())), []);
    }
}
