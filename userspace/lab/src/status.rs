//! `lab status`.

use std::net::IpAddr;

use crate::{args::StatusArgs, model::Lab, process};

/// Prints the lab.
pub fn run(options: &StatusArgs) -> anyhow::Result<()> {
    let mut lab = Lab::load(&options.name.lab)?;
    for node in &mut lab.nodes {
        node.agent_pid = process::agent(&node.root);
    }
    if options.json {
        println!("{}", serde_json::to_string_pretty(&lab)?);
    } else {
        print(&lab);
    }
    Ok(())
}

/// Prints the lab as a table.
pub fn print(lab: &Lab) {
    let state = if lab.complete { "" } else { " (incomplete: `up` was interrupted)" };
    println!("lab {}{state}", lab.name);
    println!("{:<8} {:<14} {:<40} AGENT", "PLACE", "NAMESPACE", "ADDRESSES");
    let far: Vec<IpAddr> = lab.outside.addresses.iter().chain(&lab.outside.listed).copied().collect();
    println!("{:<8} {:<14} {:<40} -", "out", lab.outside.netns, join(&far));
    for node in &lab.nodes {
        let agent = process::agent(&node.root).map_or("-".to_owned(), |pid| pid.to_string());
        println!("{:<8} {:<14} {:<40} {agent}", node.name, node.netns, join(&node.addresses));
    }
    for pod in &lab.pods {
        println!("{:<8} {:<14} {:<40} -", pod.name, pod.netns, join(&pod.addresses));
    }
}

fn join(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
