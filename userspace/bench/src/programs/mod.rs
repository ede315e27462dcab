//! The programs by themselves: time of each path by the number of entries in its map, and instructions.

mod frame;
mod scene;
mod services;
mod way;

use anyhow::Context;
use aya::programs::ProgramInfo;
use naru_abi::programs;
use naru_sandbox::netns;

use self::{
    scene::{Entries, Scene},
    way::Way,
};
use crate::{
    args::Size,
    figure::{Figure, Group, RATIO},
    gates,
    load::Cpu,
    progress::Progress,
    site::Site,
};

/// Numbers of pods, of prefixes, and of Services. Ratios are taken by the first; gates apply to the last but one of a
/// large run and to the last of any other.
const PODS: [u32; 4] = [100, 1_000, 10_000, 60_000];
const PREFIXES: [u32; 4] = [10, 100, 1_000, 10_000];
const SERVICES: [u32; 3] = [10, 1_000, 10_000];
/// In a large run also.
const MANY_PODS: u32 = 1_000_000;
const MANY_PREFIXES: u32 = 100_000;

/// Measures every path.
///
/// # Errors
/// The kernel refuses, a program does not do what it is measured for, or the bench is interrupted.
pub fn measure(
    site: &Site,
    (rounds, size): (u32, Size),
    cpu: Cpu,
    progress: &mut Progress,
) -> anyhow::Result<Vec<Figure>> {
    progress.begin("programs: fill the maps", 0);
    let large = size == Size::Large;
    let pods = PODS.into_iter().chain(large.then_some(MANY_PODS)).map(Entries::Pods);
    let prefixes = PREFIXES.into_iter().chain(large.then_some(MANY_PREFIXES)).map(Entries::Prefixes);
    let scenes = pods
        .chain(prefixes)
        .chain(SERVICES.map(Entries::Services))
        .map(|entries| Scene::build(site, entries))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let netns = site.netns("programs");
    Scene::wire(&netns)?;
    let mut times = Times::default();
    progress.begin("programs", rounds as usize);
    for _ in 0..rounds {
        netns::inside(&netns, || {
            cpu.pin()?;
            scenes.iter().try_for_each(|scene| times.note(scene))
        })?;
        progress.step()?;
    }
    let instructions = instructions(scenes.first().context("no scene")?)?;
    Ok(times.figures().into_iter().chain(instructions).collect())
}

/// Nanoseconds of one path with that many entries, once among the same and once among cold ones, for each round.
struct Line {
    way: Way,
    entries: Entries,
    warm: Vec<f64>,
    cold: Vec<f64>,
}

#[derive(Default)]
struct Times {
    lines: Vec<Line>,
}

impl Times {
    /// One round of all that `scene` is made for.
    fn note(&mut self, scene: &Scene) -> anyhow::Result<()> {
        for way in scene.ways() {
            let (warm, cold) = scene.time(way)?;
            let known = |line: &&mut Line| line.way == way && line.entries == scene.entries;
            match self.lines.iter_mut().find(known) {
                Some(line) => {
                    line.warm.push(warm);
                    line.cold.push(cold);
                }
                None => {
                    let (warm, cold) = (vec![warm], vec![cold]);
                    self.lines.push(Line { way, entries: scene.entries, warm, cold });
                }
            }
        }
        Ok(())
    }

    fn figures(&self) -> Vec<Figure> {
        let absolute = self.lines.iter().flat_map(|line| {
            let (way, entries) = (line.way.label(), line.entries);
            [
                Figure::new(Group::Programs, format!("{way}, {entries}"), "ns", line.warm.clone()),
                Figure::new(Group::Programs, format!("{way}, cold, {entries}"), "ns", line.cold.clone()),
            ]
        });
        self.lines.iter().filter_map(|line| self.growth(line)).chain(absolute.flatten()).collect()
    }

    /// A line by the one with the fewest entries.
    fn growth(&self, line: &Line) -> Option<Figure> {
        let least = line.entries.least();
        let base = self.lines.iter().find(|other| other.way == line.way && other.entries == least)?;
        let limit = match line.entries {
            Entries::Pods(60_000) => Some(gates::MORE_PODS),
            Entries::Prefixes(10_000) => Some(gates::MORE_PREFIXES).filter(|_| line.way.is_gated()),
            Entries::Services(10_000) => Some(gates::MORE_SERVICES),
            Entries::Pods(MANY_PODS) | Entries::Prefixes(MANY_PREFIXES) => None,
            _ => return None,
        };
        let values = line.warm.iter().zip(&base.warm).map(|(more, few)| more / few).collect();
        let name = format!("{}: {} / {least}", line.way.label(), line.entries);
        Some(Figure::new(Group::Programs, name, RATIO, values)?.limited(limit))
    }
}

/// Instructions of every program, as the kernel has translated them.
fn instructions(scene: &Scene) -> anyhow::Result<Vec<Figure>> {
    let count = |name: &&str| {
        let info = ProgramInfo::from_pin(scene.pins.program(name)).with_context(|| (*name).to_owned())?;
        let bytes = info.size_translated().with_context(|| format!("{name}: the kernel tells no size"))?;
        Ok(Figure::new(Group::Programs, format!("{name}: instructions"), "", vec![f64::from(bytes / 8)]))
    };
    programs::ALL.iter().map(count).filter_map(Result::transpose).collect()
}
