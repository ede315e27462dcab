//! A whole bench.

use std::process::ExitCode;

use anyhow::anyhow;

use crate::{
    args::BenchArgs,
    binaries::Binaries,
    figure::Group,
    load::Cpu,
    memory, plugins, programs,
    progress::{Progress, is_interrupted},
    report::{self, Host, Run},
    site::Site,
    traffic,
};

/// Measures and prints. The exit status says if every gate is reached.
///
/// # Errors
/// Something cannot be measured, or a file not be written.
pub fn run(args: &BenchArgs) -> anyhow::Result<ExitCode> {
    let before = args.against.as_deref().map(report::load).transpose()?;
    let run = match &args.saved {
        Some(file) => report::load(file)?,
        // After an interruption, the error of the interrupted work is not the reason.
        None => {
            measure(args).map_err(|error| if is_interrupted() { anyhow!("interrupted") } else { error })?
        }
    };
    print!("{}", report::table(&run));
    if let Some(before) = &before {
        print!("\n{}", report::changes(&run, before));
    }
    if let Some(file) = &args.json {
        report::save(&run, file)?;
    }
    if let Some(directory) = &args.svg {
        report::draw(&run, directory)?;
    }
    let missed = run.missed().count();
    println!("\n{missed} gates missed");
    Ok(if missed == 0 || args.no_gates { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(args: &BenchArgs) -> anyhow::Result<Run> {
    let (host, binaries) = (Host::this(), Binaries::installed(&args.reference)?);
    let mut progress = Progress::start();
    let site = Site::claim(&args.site)?;
    let wanted = |group: Group| args.only.is_empty() || args.only.contains(&group);
    let cpu = Cpu::choose(args.cpu)?;
    let (rounds, size) = (args.rounds(), args.size());
    let (mut figures, mut notes) = (Vec::new(), Vec::new());
    if wanted(Group::Traffic) {
        let (lanes, large) = (args.lane.clone(), args.large);
        let plan = traffic::Plan { lanes, large, loads: args.loads(), rounds, cell: args.cell(), cpu };
        let measured = traffic::measure(&site, &binaries, plan, &mut progress)?;
        figures.extend(measured.figures);
        notes.extend(measured.notes);
    }
    if wanted(Group::Programs) {
        figures.extend(programs::measure(&site, (rounds, size), cpu, &mut progress)?);
    }
    if wanted(Group::Cni) {
        figures.extend(plugins::attach(&site, &binaries, rounds, &mut progress)?);
    }
    if wanted(Group::Ipam) {
        figures.extend(plugins::leases(&site, &binaries, (rounds, size), &mut progress)?);
    }
    if wanted(Group::Memory) {
        figures.extend(memory::measure(&site, &binaries, &mut progress)?);
    }
    Ok(Run::new(host, notes, figures))
}
