//! How long one ADD and one DEL take, process start to exit, against the reference plugins.
//!
//! All candidates take turns within a round; what counts is the median of the per-round ratios, as absolute times
//! drift on a shared machine. Run by `cargo xtask bench`.

mod candidate;
mod floor;
mod leases;
mod report;
mod used;

use std::time::Duration;

use anyhow::Context;
use clap::Parser;

use crate::{
    candidate::{Candidate, Plugin},
    floor::Floor,
    leases::Leases,
    report::{Report, Sample},
};

/// Addresses in use in the second instance of each candidate.
const IN_USE: u32 = 10_000;

/// Latency of ADD and DEL in interleaved rounds.
#[derive(Parser)]
struct Arguments {
    /// Rounds.
    #[arg(long, default_value_t = 11)]
    rounds: u32,
    /// Print JSON in place of tables.
    #[arg(long)]
    json: bool,
    /// The IPAM plugins only.
    #[arg(long)]
    ipam: bool,
    /// Also measure naru-ipam with all addresses of a /12 but ten in use; filling it takes minutes.
    #[arg(long)]
    nearly_full: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let leases = Leases::measure(arguments.rounds, arguments.nearly_full)?;
    if arguments.ipam {
        println!("{}", if arguments.json { leases.json().to_string() } else { leases.table() });
        return Ok(());
    }
    let plugins = [Plugin::Naru, Plugin::Ptp, Plugin::Bridge];
    let numbered = plugins.into_iter().flat_map(|plugin| [(plugin, 0), (plugin, IN_USE)]);
    let candidates = numbered
        .map(|(plugin, used)| Candidate::prepare(plugin, used))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let floor = Floor::prepare()?;
    // The first of each creates bridges, pins and stores: not what a running node pays.
    round(&candidates, &floor, 0)?;
    let rounds = 1..=arguments.rounds;
    let samples =
        rounds.map(|number| round(&candidates, &floor, number)).collect::<anyhow::Result<Vec<_>>>()?;
    let report = Report::of(&samples);
    println!(
        "{}",
        if arguments.json { report.json(&leases.json()) } else { report.table() + &leases.table() }
    );
    Ok(())
}

/// Each candidate once, another one first each time.
fn round(candidates: &[Candidate], floor: &Floor, number: u32) -> anyhow::Result<Vec<Sample>> {
    let mut samples = Vec::new();
    let first = number as usize % candidates.len();
    for candidate in candidates[first..].iter().chain(&candidates[..first]) {
        let name = candidate.name();
        let (add, del) = candidate.attach_and_detach(number).with_context(|| name.clone())?;
        samples.push(Sample { name, add: Some(add), del });
    }
    samples.push(Sample { name: floor::NAME.to_owned(), add: None, del: floor.delete_a_pair(number)? });
    Ok(samples)
}

/// Microseconds, for ratios.
fn micros(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}
