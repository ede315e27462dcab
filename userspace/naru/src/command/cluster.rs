//! `naru cluster`: the cluster as its API describes it.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Subcommand};
use naru_kubernetes::{Access, Api, Fault, Found, Places, check, list_nodes, list_pods};
use naru_view::{Code, Finding};

use crate::report::{OutputArgs, Table, print_json};

/// Exit status when something was found.
const FOUND: u8 = 1;
/// Exit status of an error.
const FAILED: u8 = 2;

/// Options of `cluster`.
#[derive(Args, Debug)]
pub struct ClusterArgs {
    /// The command.
    #[command(subcommand)]
    pub command: ClusterCommand,
}

/// A command about the cluster.
#[derive(Subcommand, Debug)]
pub enum ClusterCommand {
    /// Overlapping blocks, pods outside their node's blocks, one address twice, agents of different versions, by the
    /// Kubernetes API. Listing pods needs an administrator's kubeconfig.
    Check(CheckArgs),
}

/// Options of `cluster check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Credentials for the Kubernetes API; by default those of the pod in which this runs.
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Checks the cluster and prints its faults.
pub fn run(args: &ClusterArgs) -> ExitCode {
    let ClusterCommand::Check(check) = &args.command;
    match findings(check).and_then(|findings| print(&findings, check.output).map(|()| findings)) {
        Ok(findings) if findings.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(FOUND),
        Err(error) => {
            eprintln!("naru: {error:#}");
            ExitCode::from(FAILED)
        }
    }
}

/// The API behind a kubeconfig, else as a pod reaches it.
pub fn api(kubeconfig: Option<&Path>) -> Api {
    let environment = |name: &str| std::env::var(name).ok();
    match kubeconfig {
        Some(file) => Api::of_kubeconfig(file.to_owned()),
        None => {
            let places = Places::new("", Vec::new(), Vec::new(), Places::service(environment));
            Api::new(Access::ServiceAccount(Access::POD.into()), places)
        }
    }
}

fn findings(args: &CheckArgs) -> anyhow::Result<Vec<Finding>> {
    let api = api(args.kubeconfig.as_deref());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (nodes, (pods, agents)) =
        runtime.block_on(async { anyhow::Ok((list_nodes(&api).await?, list_pods(&api).await?)) })?;
    Ok(check(&nodes, &pods, &agents).into_iter().map(finding).collect())
}

fn finding(Found { fault, subject, evidence }: Found) -> Finding {
    let code = match fault {
        Fault::Nonsense => Code::NodeInvalid,
        Fault::NoRange => Code::NodeWithoutRange,
        Fault::BlocksOverlap => Code::BlocksOverlap,
        Fault::AddressTwice => Code::NodeAddressTwice,
        Fault::Cloned => Code::NodeCloned,
        Fault::PodOutside => Code::PodOutsideRange,
        Fault::PodTwice => Code::PodAddressTwice,
        Fault::Skew => Code::VersionSkew,
    };
    Finding::new(code, subject, evidence)
}

fn print(findings: &[Finding], output: OutputArgs) -> anyhow::Result<()> {
    if output.json {
        return print_json(&findings);
    }
    if findings.is_empty() {
        outln!("nothing found");
        return Ok(());
    }
    let mut table = Table::new(&["CODE", "SUBJECT", "EVIDENCE", "REMEDY"]);
    for Finding { code, subject, evidence, remedy } in findings {
        table.row(vec![code.to_string(), subject.clone(), evidence.clone(), (*remedy).to_owned()]);
    }
    print!("{table}");
    Ok(())
}
