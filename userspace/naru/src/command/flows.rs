use std::net::IpAddr;

use naru_abi::{FlowKey, FlowValue};
use naru_bpf::Flows;
use naru_node::{paths::Paths, symmetry};
use serde::Serialize;

use crate::report::{OutputArgs, Table, print_json};

/// One entry of `FLOWS`. `naru flows --json` is a list of these, in the order of the map's keys.
#[derive(Clone, Serialize)]
struct Flow {
    /// The sender of the packets that must take the stack.
    source: IpAddr,
    /// The source port; 0 for fragments, and for protocols without ports.
    source_port: u16,
    /// The receiver.
    destination: IpAddr,
    /// To which port.
    destination_port: u16,
    /// IP protocol number.
    protocol: u32,
    /// True if there was no room for a flow of these hosts: then all packets of theirs take the stack.
    all: bool,
    /// Seconds since a packet of either direction was seen.
    idle: u64,
}

impl Flow {
    fn new(key: FlowKey, value: FlowValue, now: u64) -> Self {
        Self {
            source: key.source.into(),
            source_port: key.source_port,
            destination: key.destination.into(),
            destination_port: key.destination_port,
            protocol: key.protocol,
            all: false,
            idle: now.saturating_sub(value.last_seen) / 1_000_000_000,
        }
    }

    fn row(&self) -> Vec<String> {
        let end = |ip: IpAddr, port: u16| {
            let port = match port {
                0 if self.all => "all".into(),
                0 => "*".into(),
                port => port.to_string(),
            };
            [ip.to_string(), port]
        };
        let [source, source_port] = end(self.source, self.source_port);
        let [destination, destination_port] = end(self.destination, self.destination_port);
        let protocol = match self.protocol {
            1 => "icmp".into(),
            6 => "tcp".into(),
            17 => "udp".into(),
            58 => "icmpv6".into(),
            132 => "sctp".into(),
            number => number.to_string(),
        };
        vec![protocol, source, source_port, destination, destination_port, self.idle.to_string()]
    }
}

/// Prints the packets that must take the node's stack because those of the other direction do.
pub fn run(paths: &Paths, args: &OutputArgs) -> anyhow::Result<()> {
    let now = symmetry::now();
    let listed = |map: Flows, all: bool| -> anyhow::Result<Vec<Flow>> {
        let mut entries = map.entries()?;
        entries.sort_unstable_by_key(|(key, _)| *key);
        Ok(entries.into_iter().map(|(key, value)| Flow { all, ..Flow::new(key, value, now) }).collect())
    };
    let (flows, pairs) = (Flows::open(&paths.pins())?, Flows::open_pairs(&paths.pins())?);
    let flows = [listed(flows, false)?, listed(pairs, true)?].concat();
    if args.json {
        return print_json(&flows);
    }
    let mut table = Table::new(&["PROTOCOL", "FROM", "PORT", "TO", "PORT", "IDLE"]);
    flows.iter().for_each(|flow| table.row(flow.row()));
    out!("{table}");
    Ok(())
}
