//! Rates of all lanes in interleaved rounds, and their ratios.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, ensure};

use crate::{
    binaries::Binaries,
    figure::{Figure, Group, RATIO},
    gates, hosts,
    lanes::{self, Lane},
    load::{self, Basis, Cpu, Load},
    progress::Progress,
    site::Site,
};

/// The plan of a measurement of traffic.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Comparisons with one of these in a name; if there is none, all that are made in seconds.
    pub lanes: Vec<String>,
    /// Also those whose lanes take minutes to make.
    pub large: bool,
    /// The loads; those between two CPUs are left out where there is one.
    pub loads: &'static [Load],
    /// Each lane once a round under each load.
    pub rounds: u32,
    /// Length of a cell.
    pub cell: Duration,
    /// The CPU that everything runs on.
    pub cpu: Cpu,
}

impl Plan {
    fn loads(&self) -> impl Iterator<Item = Load> {
        let cpu = self.cpu;
        self.loads.iter().copied().filter(move |load| !load.is_on_two() || cpu.second.is_some())
    }

    fn wants(&self, comparison: &gates::Comparison) -> bool {
        let named = |text: &String| {
            [comparison.candidate, comparison.baseline].iter().any(|name| name.contains(text))
        };
        match self.lanes.is_empty() {
            true => self.large || !lanes::takes_minutes(comparison.baseline),
            false => self.lanes.iter().any(named),
        }
    }
}

/// The results.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Ratios, then rates.
    pub figures: Vec<Figure>,
    /// For readers.
    pub notes: Vec<String>,
}

/// Rates by lane and load, one a round.
type Rates = BTreeMap<(&'static str, Load), Vec<f64>>;

/// Measures every lane under every load.
///
/// # Errors
/// A lane cannot be made or carries nothing, or the bench is interrupted.
pub fn measure(
    site: &Site,
    binaries: &Binaries,
    plan: Plan,
    progress: &mut Progress,
) -> anyhow::Result<Measured> {
    progress.begin("traffic: build the lanes", 0);
    let comparisons: Vec<_> = gates::TRAFFIC.iter().filter(|one| plan.wants(one)).collect();
    ensure!(!comparisons.is_empty(), "no comparison with {} in a name", plan.lanes.join(" or "));
    let wanted = |lane: &str| comparisons.iter().any(|one| one.candidate == lane || one.baseline == lane);
    let lanes = lanes::build(site, binaries, &wanted)?;
    let loads: Vec<Load> = plan.loads().collect();
    let cells: usize = loads.iter().map(|load| lanes.iter().filter(|lane| lane.carries(*load)).count()).sum();
    progress.begin("traffic", cells * plan.rounds as usize);
    let (mut rates, mut least) = (Rates::new(), 1f64);
    for round in 0..plan.rounds as usize {
        for load in loads.iter().copied() {
            // Another one first each time, so that nothing that grows or ebbs favours one.
            let first = round % lanes.len();
            for lane in lanes[first..].iter().chain(&lanes[..first]).filter(|lane| lane.carries(load)) {
                let sample = cell(lane, load, &plan).with_context(|| lane.name)?;
                rates.entry((lane.name, load)).or_default().push(sample.rate);
                if !load.is_on_two() {
                    least = least.min(sample.share);
                }
                progress.step()?;
            }
        }
    }
    let figures = ratios(&rates).into_iter().chain(absolute(&rates)).collect();
    Ok(Measured { figures, notes: notes(plan.cpu, least) })
}

/// Notes for whoever reads the figures.
fn notes(cpu: Cpu, least_share: f64) -> Vec<String> {
    let mut notes = Vec::new();
    if !hosts::has_bridge_nf() {
        notes.push(
            "no br_netfilter: packets of bridges pass no rules here, and those baselines are faster"
                .to_owned(),
        );
    }
    if cpu.second.is_none() {
        notes.push("there is one CPU only: nothing was sent between two".to_owned());
    }
    match cpu.basis {
        Basis::Wall => notes.push("this kernel counts softirqs apart: rates are by the clock".to_owned()),
        Basis::CpuTime if least_share < 0.9 => notes.push(format!(
            "others used CPU {}: a cell had {:.0} % of it at the least; rates are by the CPU time that was had",
            cpu.number,
            least_share * 100.0
        )),
        Basis::CpuTime => {}
    }
    notes
}

fn cell(lane: &Lane, load: Load, plan: &Plan) -> anyhow::Result<load::Sample> {
    if lane.wire.is_some() {
        hosts::set_wire(&lane.nodes, lane.wire)?;
    }
    let sample = load::run(&lane.pair, load, plan.cell, plan.cpu);
    if lane.wire.is_some() {
        hosts::set_wire(&lane.nodes, None)?;
    }
    sample
}

/// The ratios of every comparison, round by round.
fn ratios(rates: &Rates) -> Vec<Figure> {
    let one = |comparison: &gates::Comparison, load: Load| {
        let candidate = rates.get(&(comparison.candidate, load))?;
        let baseline = rates.get(&(comparison.baseline, load))?;
        let values =
            candidate.iter().zip(baseline).map(|(candidate, baseline)| candidate / baseline).collect();
        let name = format!("{} / {}: {}", comparison.candidate, comparison.baseline, load.label());
        Some(Figure::new(Group::Traffic, name, RATIO, values)?.limited(comparison.limit(load)))
    };
    let all = gates::TRAFFIC.iter().flat_map(|comparison| Load::ALL.map(|load| one(comparison, load)));
    all.flatten().collect()
}

fn absolute(rates: &Rates) -> impl Iterator<Item = Figure> {
    rates.iter().filter_map(|((lane, load), values)| {
        Figure::new(Group::Traffic, format!("{lane}: {}", load.label()), load.unit(), values.clone())
    })
}
