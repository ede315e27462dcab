//! Runs the traffic matrix against a lab that is up, and prints it. Exit status 1 if a cell failed.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Parser;
use naru_e2e::{
    lab::Lab,
    matrix::{self, CellResult, Plan},
};

/// The traffic matrix over a lab of two nodes or more with two pods or more on each.
#[derive(Parser)]
struct Arguments {
    /// Name of the lab.
    #[arg(long, default_value = "naru")]
    lab: String,
    /// Bytes of each TCP stream, in MiB.
    #[arg(long, default_value_t = 4)]
    stream: u64,
    /// Write all cells to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("matrix: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let lab = Lab::existing(&arguments.lab)?;
    let plan = Plan { stream: arguments.stream << 20, ..Plan::default() };
    matrix::print_header();
    let mut last = None;
    let rows = matrix::run(&lab, &plan, |row| {
        matrix::print_row(row, last != Some(row.path));
        last = Some(row.path);
    })?;
    if let Some(file) = &arguments.json {
        std::fs::write(file, matrix::json(&rows).to_string())
            .with_context(|| format!("write {}", file.display()))?;
    }
    let failed = matrix::print_failures(&rows);
    let cells = || rows.iter().flat_map(|row| [&row.v4, &row.v6]);
    let passed = cells().filter(|cell| cell.result == CellResult::Passed).count();
    let bytes: u64 = cells().map(|cell| cell.bytes).sum();
    println!("{passed} cells passed, {failed} failed, {bytes} bytes carried");
    Ok(if failed == 0 && passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
