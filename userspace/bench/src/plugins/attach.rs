use std::{collections::BTreeMap, sync::Barrier, thread, time::Duration};

use anyhow::anyhow;
use naru_sandbox::netns;

use super::{
    candidate::{Candidate, Kind},
    floor::Floor,
    millis,
};
use crate::{
    binaries::Binaries,
    figure::{Figure, Group, Limit, RATIO},
    progress::Progress,
    site::Site,
    spread::percentile,
};

/// Pods that are attached one after the other in a round.
const ALONE: usize = 4;
/// Pods that are attached at once, as after the start of a node.
const PARALLEL: usize = 16;
/// Half of the faster reference plugin.
const GOAL: Limit = Limit::aim_below(0.5);
/// The deletion of a bare pair, which every DEL waits for.
const FLOOR: &str = "bare veth pair";
/// A DEL is not to take much more.
const ABOVE_FLOOR: Limit = Limit::aim_below(1.15);

/// One way of calling, and its verb.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Call {
    Add,
    Del,
    ParallelAdd,
    ParallelDel,
}

impl Call {
    const ALL: [Self; 4] = [Self::Add, Self::Del, Self::ParallelAdd, Self::ParallelDel];

    const fn label(self) -> &'static str {
        match self {
            Self::Add => "ADD",
            Self::Del => "DEL",
            Self::ParallelAdd => "ADD, 16 at once",
            Self::ParallelDel => "DEL, 16 at once",
        }
    }
}

/// Milliseconds by plugin and way of calling: for each round the calls in it.
type Times = BTreeMap<(&'static str, Call), Vec<Vec<f64>>>;

/// Measures whole plugins, one pod after the other and 16 at once.
///
/// # Errors
/// A plugin fails, or the bench is interrupted.
pub fn measure(
    site: &Site,
    binaries: &Binaries,
    rounds: u32,
    progress: &mut Progress,
) -> anyhow::Result<Vec<Figure>> {
    progress.begin("plugins", rounds as usize + 1);
    let candidates = Kind::ALL
        .into_iter()
        .map(|kind| Candidate::prepare(site, binaries, "cni", kind))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let floor = Floor::prepare(site)?;
    // The first call of each creates bridges, pins and stores, which a running node does not pay for.
    round(&candidates, 0, &mut Times::new())?;
    progress.step()?;
    let mut times = Times::new();
    for number in 0..rounds as usize {
        round(&candidates, number, &mut times)?;
        let pairs = (0..ALONE).map(|_| floor.delete_a_pair().map(millis)).collect::<anyhow::Result<_>>()?;
        times.entry((FLOOR, Call::Del)).or_default().push(pairs);
        progress.step()?;
    }
    Ok(ratios(&times).into_iter().chain(absolute(&times)).collect())
}

/// Each candidate once, another one first each time.
fn round(candidates: &[Candidate<'_>], number: usize, times: &mut Times) -> anyhow::Result<()> {
    let first = number % candidates.len();
    for candidate in candidates[first..].iter().chain(&candidates[..first]) {
        let mut note = |call, took: Vec<Duration>| {
            let took = took.into_iter().map(millis).collect();
            times.entry((candidate.kind.label(), call)).or_default().push(took);
        };
        let alone = (0..ALONE).map(|_| at_once(candidate, 1)).collect::<anyhow::Result<Vec<_>>>()?;
        note(Call::Add, alone.iter().flat_map(|[add, _]| add).copied().collect());
        note(Call::Del, alone.iter().flat_map(|[_, del]| del).copied().collect());
        let [add, del] = at_once(candidate, PARALLEL)?;
        note(Call::ParallelAdd, add);
        note(Call::ParallelDel, del);
    }
    Ok(())
}

/// Times of ADD, and then of DEL, for so many new pods at once.
fn at_once(candidate: &Candidate<'_>, pods: usize) -> anyhow::Result<[Vec<Duration>; 2]> {
    let sandboxes =
        (0..pods).map(|number| candidate.sandbox(number)).collect::<anyhow::Result<Vec<String>>>()?;
    let all = |verb: &str| -> anyhow::Result<Vec<Duration>> {
        let start = Barrier::new(pods);
        let call = |pod: &str| {
            start.wait();
            candidate.call(verb, pod)
        };
        let call = &call;
        thread::scope(|scope| {
            let calls: Vec<_> = sandboxes.iter().map(|pod| scope.spawn(move || call(pod))).collect();
            let results: Vec<_> = calls.into_iter().map(thread::ScopedJoinHandle::join).collect();
            results.into_iter().map(|result| result.map_err(|_| anyhow!("a caller panicked"))?).collect()
        })
    };
    let times = [all("ADD")?, all("DEL")?];
    sandboxes.iter().try_for_each(|pod| netns::remove(pod))?;
    Ok(times)
}

/// naru by each of the others: medians within a round, and the 99th percentile of all calls.
fn ratios(times: &Times) -> Vec<Figure> {
    let mut figures = Vec::new();
    let others = [Kind::Ptp.label(), Kind::Bridge.label(), FLOOR];
    for (call, other) in Call::ALL.into_iter().flat_map(|call| others.map(|other| (call, other))) {
        let (Some(ours), Some(theirs)) = (times.get(&(Kind::Naru.label(), call)), times.get(&(other, call)))
        else {
            continue;
        };
        let name = format!("naru / {other}: {}", call.label());
        let goal = match call {
            Call::Add | Call::ParallelAdd => Some(GOAL),
            Call::Del if other == FLOOR => Some(ABOVE_FLOOR),
            Call::Del | Call::ParallelDel => None,
        };
        let median = |calls: &Vec<f64>| percentile(calls, 50.0).unwrap_or(f64::NAN);
        let values = ours.iter().zip(theirs).map(|(ours, theirs)| median(ours) / median(theirs)).collect();
        figures
            .extend(Figure::new(Group::Cni, name.as_str(), RATIO, values).map(|figure| figure.limited(goal)));
        if let (Some(ours), Some(theirs)) = (last(ours), last(theirs)) {
            let figure = Figure::new(Group::Cni, format!("{name}, p99"), RATIO, vec![ours / theirs]);
            figures.extend(figure.map(|figure| figure.limited(goal)));
        }
    }
    figures
}

fn last(rounds: &[Vec<f64>]) -> Option<f64> {
    percentile(&rounds.concat(), 99.0)
}

fn absolute(times: &Times) -> Vec<Figure> {
    let both = |((plugin, call), rounds): (&(&'static str, Call), &Vec<Vec<f64>>)| {
        let name = format!("{plugin}: {}", call.label());
        let p99 = last(rounds).into_iter().collect();
        [
            Figure::new(Group::Cni, name.as_str(), "ms", rounds.concat()),
            Figure::new(Group::Cni, format!("{name}, p99"), "ms", p99),
        ]
    };
    times.iter().flat_map(both).flatten().collect()
}
