use std::fmt::Write;

use ipnet::IpNet;
use naru_core::split::{Share, split};
use serde::Serialize;

use super::SplitArgs;
use crate::report::print_json;

/// One node's share; `naru ipam split --json` is a list of these.
#[derive(Serialize)]
struct Line {
    /// The name to replace: `node1`, `node2`, …
    node: String,
    /// For `blocks` in cluster.toml.
    blocks: Vec<IpNet>,
    /// Addresses that pods can have.
    assignable: u128,
}

/// Prints the blocks that cluster.toml should have.
pub fn run(args: &SplitArgs) -> anyhow::Result<bool> {
    let shares = split(args.range, args.nodes)?;
    if args.output.json {
        let line = |(number, share): (usize, Share)| {
            let Share { blocks, assignable } = share;
            Line { node: format!("node{number}"), blocks, assignable }
        };
        print_json(&(1..).zip(shares).map(line).collect::<Vec<_>>())?;
        return Ok(true);
    }
    outln!("ranges = [\"{}\"]", args.range.trunc());
    for (number, share) in (1..).zip(&shares) {
        out!("{}", section(number, share)?);
    }
    Ok(true)
}

/// A node's section of cluster.toml, its addresses left to be filled in.
fn section(number: usize, share: &Share) -> anyhow::Result<String> {
    let blocks: Vec<String> = share.blocks.iter().map(|block| format!("\"{block}\"")).collect();
    let mut text = String::new();
    writeln!(
        text,
        "\n[[node]]\nname = \"node{number}\"\naddresses = []  # this node's, the underlay's first"
    )?;
    writeln!(text, "blocks = [{}]  # {} addresses", blocks.join(", "), share.assignable)?;
    Ok(text)
}
