//! Charts: SVG files of 900 pixels' width, on white.

mod bars;
mod curves;
mod page;

use self::{
    bars::{Bar, Section},
    curves::{Curve, Panel},
};
use super::{
    Run,
    place::{Place, Sheet, position},
};
use crate::figure::{Figure, Limit, RATIO};

/// Every chart of the run, by file name; a group that was not measured has none.
///
/// # Errors
/// A chart cannot be drawn.
pub fn charts(run: &Run) -> anyhow::Result<Vec<(&'static str, String)>> {
    let mut charts = Vec::new();
    let ratios = ratios(run);
    if !ratios.is_empty() {
        let key = "bar: median; thin line: quartiles; black mark: gate, red where it is missed";
        let title = "Traffic: a path by another (1 is as fast, more is better)";
        charts.push(("ratios.svg", bars::chart((title, key), &ratios)?));
    }
    let programs = programs(run);
    if !programs.is_empty() {
        let key =
            "median of a packet (BPF_PROG_TEST_RUN) by entries in the map; bar of the same colour: gate";
        charts.push(("programs.svg", curves::chart(("Programs: ns a packet", key), &programs)?));
    }
    let latency = latency(run);
    if !latency.is_empty() {
        let key = "part of the calls that took no longer, in per cent, by milliseconds";
        charts.push(("latency.svg", curves::chart(("CNI plugins: time of a call", key), &latency)?));
    }
    Ok(charts)
}

fn of(run: &Run, sheet: Sheet) -> impl Iterator<Item = (Place, &Figure)> {
    let placed = run.figures.iter().map(|figure| (Place::of(figure), figure));
    placed.filter(move |(place, _)| place.sheet == sheet)
}

/// A section for each path, a bar for each metric.
fn ratios(run: &Run) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for (place, figure) in of(run, Sheet::TrafficRatios) {
        let colour = position(&place.column);
        let bar = Bar { label: place.column, spread: figure.spread, limit: figure.limit, colour };
        match sections.iter_mut().find(|section| section.heading == place.row) {
            Some(section) => section.bars.push(bar),
            None => sections.push(Section { heading: place.row, bars: vec![bar] }),
        }
    }
    sections.iter_mut().for_each(|section| section.bars.sort_by_key(|bar| bar.colour));
    sections
}

/// The end of a row's name whose packets ask for another entry each time.
const COLD: &str = ", cold";

/// Time of a program against the number of entries: pods and prefixes, asked for again and again and once each.
fn programs(run: &Run) -> Vec<Panel> {
    let mut panels = Vec::new();
    for (sheet, entries) in [(Sheet::ByPods, "pods"), (Sheet::ByPrefixes, "prefixes")] {
        for (cold, what) in [(false, "the same few again and again"), (true, "another one each time")] {
            let mut curves: Vec<Curve> = Vec::new();
            for (place, figure) in of(run, sheet).filter(|(_, figure)| figure.unit != RATIO) {
                let Ok(count) = place.column.parse::<f64>() else { continue };
                if place.row.ends_with(COLD) != cold {
                    continue;
                }
                let name = place.row.trim_end_matches(COLD);
                let point = (count, figure.spread.median);
                match curves.iter_mut().find(|curve| curve.name == name) {
                    Some(curve) => curve.points.push(point),
                    None => curves.push(Curve { name: name.to_owned(), points: vec![point], gate: None }),
                }
            }
            if !cold {
                curves.iter_mut().for_each(|curve| curve.gate = allowed(run, sheet, curve));
            }
            let mut ticks: Vec<f64> =
                curves.iter().flat_map(|curve| &curve.points).map(|point| point.0).collect();
            ticks.sort_by(f64::total_cmp);
            ticks.dedup();
            if !curves.is_empty() {
                panels.push(Panel { title: format!("{entries}: {what}"), ticks, curves });
            }
        }
    }
    panels
}

/// The time that the gate of a program's growth allows with the most entries, if there is a gate.
fn allowed(run: &Run, sheet: Sheet, curve: &Curve) -> Option<(f64, f64)> {
    let least = curve.points.iter().min_by(|a, b| a.0.total_cmp(&b.0))?;
    let growth = |(place, figure): (Place, &Figure)| {
        let (most, _) = place.column.split_once(" / ")?;
        let gate = figure.limit.and_then(|limit: Limit| limit.gate)?;
        (place.row == curve.name).then_some((most.parse().ok()?, gate * least.1))
    };
    of(run, sheet).filter(|(_, figure)| figure.unit == RATIO).find_map(growth)
}

/// A panel for each call: which part of the calls took no longer than a time.
fn latency(run: &Run) -> Vec<Panel> {
    let mut panels: Vec<Panel> = Vec::new();
    for (place, figure) in of(run, Sheet::CniTimes).filter(|(_, figure)| figure.values.len() > 1) {
        let curve = Curve { name: place.row, points: distribution(&figure.values), gate: None };
        let title = place.column.replace(" x16", ", 16 at once");
        match panels.iter_mut().find(|panel| panel.title == title) {
            Some(panel) => panel.curves.push(curve),
            None => panels.push(Panel { title, ticks: Vec::new(), curves: vec![curve] }),
        }
    }
    // naru has the first colour.
    panels.iter_mut().for_each(|panel| panel.curves.sort_by_key(|curve| curve.name != "naru"));
    panels.sort_by_key(|panel| (panel.title.len(), panel.title.clone()));
    panels
}

fn distribution(values: &[f64]) -> Vec<(f64, f64)> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let part = |place: usize| (place + 1) as f64 * 100.0 / sorted.len() as f64;
    sorted.iter().enumerate().map(|(place, value)| (*value, part(place))).collect()
}

#[cfg(test)]
mod tests;
