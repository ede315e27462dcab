//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use crate::{figure::Group, load::Load};

/// Options of `bench`.
#[derive(Args, Clone, Debug)]
pub struct BenchArgs {
    /// Rounds in which everything takes turns; medians of per-round ratios are reported [default: 9, 5 with --short].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: Option<u32>,
    /// Length of a cell of traffic in milliseconds [default: 400, 200 with --short].
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..))]
    pub cell: Option<u64>,
    /// Everything in two minutes: fewer and shorter rounds, smaller stores, no traffic between two CPUs.
    #[arg(long)]
    pub short: bool,
    /// This group only; may be repeated.
    #[arg(long, value_enum, value_name = "GROUP")]
    pub only: Vec<Group>,
    /// Only traffic comparisons with this text in a name (`same node`, `direct`); may be repeated.
    #[arg(long, value_name = "TEXT")]
    pub lane: Vec<String>,
    /// Write all values to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write charts to this directory.
    #[arg(long, value_name = "DIR")]
    pub svg: Option<PathBuf>,
    /// Compare with a run that --json has saved.
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// Measure nothing: report a run that --json has saved.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub saved: Option<PathBuf>,
    /// Report gates that are missed without failing.
    #[arg(long)]
    pub no_gates: bool,
    /// Measure programs with a million pods and 100,000 prefixes, IPAM with all but ten addresses of a /12 in use, and
    /// kube-proxy's rules for 10,000 Services, too: takes a quarter of an hour.
    #[arg(long)]
    pub large: bool,
    /// The CPU that traffic runs on [default: the last one].
    #[arg(long, value_name = "N")]
    pub cpu: Option<usize>,
    /// The directory of the reference CNI plugins.
    #[arg(long, value_name = "DIR", default_value = "/usr/lib/cni")]
    pub reference: PathBuf,
    /// Name of the namespaces and files, for benches beside each other.
    #[arg(long, hide = true, value_name = "NAME", default_value = "nbench")]
    pub site: String,
}

/// The size of stores and maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Size {
    /// For two minutes in all.
    Short,
    /// Large enough for every gate.
    Normal,
    /// The largest that the design allows.
    Large,
}

impl BenchArgs {
    /// The size of stores and maps.
    #[must_use]
    pub fn size(&self) -> Size {
        match (self.large, self.short) {
            (true, _) => Size::Large,
            (false, true) => Size::Short,
            (false, false) => Size::Normal,
        }
    }

    /// Length of a cell of traffic.
    #[must_use]
    pub fn cell(&self) -> Duration {
        Duration::from_millis(self.cell.unwrap_or(if self.short { 200 } else { 400 }))
    }

    /// The loads.
    #[must_use]
    pub fn loads(&self) -> &'static [Load] {
        if self.short { &Load::ON_ONE } else { &Load::ALL }
    }

    /// Rounds of whatever takes turns.
    #[must_use]
    pub fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.short { 5 } else { 9 })
    }
}
