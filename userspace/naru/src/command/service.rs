//! `naru service`: Services as the datapath knows them.

use std::{net::SocketAddr, process::ExitCode};

use clap::{Args, Subcommand};
use naru_node::paths::Paths;
use naru_view::{FrontendView, ServiceList};

use crate::report::{OutputArgs, Table, print_json};

/// Options of `service`.
#[derive(Args, Debug)]
pub struct ServiceArgs {
    /// The command.
    #[command(subcommand)]
    pub command: ServiceCommand,
}

/// A command about Services.
#[derive(Subcommand, Debug)]
pub enum ServiceCommand {
    /// Every port of every Service, and why new flows of some take the stack.
    List(OutputArgs),
    /// One Service with its backends. Exit status 1: there is none of that name.
    Show(ShowArgs),
}

/// Options of `service show`.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The Service: `namespace/name`, or a name in the namespace `default`.
    #[arg(value_name = "NAME")]
    pub name: String,
    /// Form of the output.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Lists or shows Services.
pub fn run(paths: &Paths, args: &ServiceArgs) -> anyhow::Result<ExitCode> {
    let list = ServiceList::read(paths)?;
    match &args.command {
        ServiceCommand::List(output) if output.json => print_json(&list)?,
        ServiceCommand::List(_) => print_list(&list),
        ServiceCommand::Show(show) => {
            let name =
                if show.name.contains('/') { show.name.clone() } else { format!("default/{}", show.name) };
            let mut own = list;
            own.frontends.retain(|one| one.service == name);
            own.left.retain(|one| one.service == name);
            if own.frontends.is_empty() && own.left.is_empty() {
                eprintln!("naru: service {name}: this node knows none of this name");
                return Ok(ExitCode::FAILURE);
            }
            if show.output.json {
                print_json(&own)?;
            } else {
                print_one(&own);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print_list(list: &ServiceList) {
    let mut table = Table::new(&[
        "SERVICE",
        "ADDRESS",
        "PORT",
        "BACKENDS",
        "TRANSLATED",
        "STACK",
        "CLASHES",
        "LEFT TO THE STACK",
    ]);
    for one in &list.frontends {
        let count = |number: u64| number.to_string();
        table.row(vec![
            or_dash(&one.service),
            one.address.to_string(),
            port(one),
            one.backends.iter().filter(|backend| backend.share > 0.0).count().to_string(),
            count(one.translated),
            count(one.left),
            count(one.clashes),
            one.stack.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    for one in &list.left {
        let mut row = vec![one.service.clone()];
        row.extend(["-"; 6].map(str::to_owned));
        row.push(one.reason.clone());
        table.row(row);
    }
    out!("{table}");
}

fn print_one(list: &ServiceList) {
    for one in &list.frontends {
        outln!("{}", SocketAddr::new(one.address, one.port));
        outln!("  port       {}", port(one));
        if let Some(seconds) = one.affinity {
            outln!("  affinity   a client stays with its backend for {seconds} s");
        }
        if let Some(reason) = &one.stack {
            outln!("  stack      {reason}");
        }
        outln!(
            "  new flows  {} translated, {} to the stack, {} clashes",
            one.translated,
            one.left,
            one.clashes
        );
        for backend in &one.backends {
            let at = SocketAddr::new(backend.address, backend.port);
            outln!("  backend    {at} {}, {:.1} % of new flows", backend.state, backend.share * 100.0);
        }
    }
    for one in &list.left {
        outln!("{}: left to the stack: {}", one.service, one.reason);
    }
}

fn port(one: &FrontendView) -> String {
    let name = if one.port_name.is_empty() { String::new() } else { format!(" ({})", one.port_name) };
    format!("{}/{}{name}", one.port, one.protocol)
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}
