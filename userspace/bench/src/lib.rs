//! `naru bench`: the cost of naru beside that of others, measured in turn on one machine.
//!
//! Every candidate and every baseline runs once in each round; the result is the median of the per-round ratios, as
//! absolute figures drift on shared machines. [`gates`] holds the required values.

mod args;
mod binaries;
mod figure;
mod gates;
mod hosts;
mod lanes;
mod load;
mod memory;
mod plugins;
mod programs;
mod progress;
mod report;
mod run;
mod site;
mod spread;
mod traffic;

pub use args::BenchArgs;
pub use run::run;
