//! What the maps of this node say: denials and hits. The agent's note has the names.

use std::{collections::BTreeMap, net::IpAddr, process::ExitCode};

use anyhow::bail;
use naru_abi::{Denied, policy::Direction};
use naru_bpf::{Denial, Pods, Policies};
use naru_core::Protocol;
use naru_node::paths::Paths;
use naru_view::PolicyNote;
use serde::Serialize;

use crate::report::{OutputArgs, Table, print_json};

/// One line of `naru policy denials --json`.
#[derive(Serialize)]
struct DenialRow {
    /// The judged pod, `namespace/name`; its address where no agent has noted the name.
    pod: String,
    /// `ingress`, `egress`.
    direction: &'static str,
    /// The other end.
    peer: IpAddr,
    /// Its pod, where that is one of this node.
    peer_pod: Option<String>,
    /// `TCP`, `UDP`; the number of another protocol.
    protocol: String,
    /// Destination port.
    port: u16,
    /// Packets.
    packets: u64,
    /// In words.
    reason: String,
}

/// One line of `naru policy hits --json`.
#[derive(Serialize)]
struct HitRow {
    /// `namespace/name ingress rule 1`.
    rule: String,
    /// Packets that it decided about.
    packets: u64,
    /// Their bytes.
    bytes: u64,
}

/// The note and the maps.
fn open(paths: &Paths) -> anyhow::Result<(PolicyNote, Policies)> {
    let Some(note) = PolicyNote::load(paths)? else {
        bail!("no policy was ever in force on this node in this boot");
    };
    Ok((note, Policies::open(&paths.pins())?))
}

/// Lists denials, those with most packets first.
pub fn denials(paths: &Paths, output: OutputArgs) -> anyhow::Result<ExitCode> {
    let (note, policies) = open(paths)?;
    let mut by_interface = BTreeMap::<u32, Vec<IpAddr>>::new();
    for (address, value) in Pods::open(&paths.pins())?.entries()? {
        by_interface.entry(value.ifindex).or_default().push(address.into());
    }
    let names = names(&note);
    let mut all = policies.denials()?;
    all.sort_by_key(|denial| std::cmp::Reverse(denial.value.packets));
    let rows = all.iter().map(|denial| row(denial, &note, &names, &by_interface)).collect::<Vec<_>>();
    if output.json {
        print_json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["POD", "DIRECTION", "PEER", "PORT", "PACKETS", "REASON"]);
    for row in rows {
        let peer = row.peer_pod.map_or_else(|| row.peer.to_string(), |pod| format!("{pod} ({})", row.peer));
        let port = format!("{} {}", row.protocol, row.port);
        table.row(vec![row.pod, row.direction.to_owned(), peer, port, row.packets.to_string(), row.reason]);
    }
    out!("{table}");
    Ok(ExitCode::SUCCESS)
}

/// Names of this node's pods by their addresses.
fn names(note: &PolicyNote) -> BTreeMap<IpAddr, &str> {
    let pods = note.pods.iter();
    pods.flat_map(|one| one.addresses.iter().map(|address| (*address, one.pod.as_str()))).collect()
}

fn row(
    denial: &Denial,
    note: &PolicyNote,
    names: &BTreeMap<IpAddr, &str>,
    by_interface: &BTreeMap<u32, Vec<IpAddr>>,
) -> DenialRow {
    let Denial { key, value } = denial;
    let direction =
        if key.direction == Direction::Egress as u8 { Direction::Egress } else { Direction::Ingress };
    let peer = IpAddr::from(key.peer);
    let own = by_interface.get(&key.ifindex).map_or(&[][..], Vec::as_slice);
    let named = own.iter().find_map(|address| names.get(address)).map(ToString::to_string);
    let unnamed = || own.first().map_or_else(|| format!("interface {}", key.ifindex), ToString::to_string);
    let protocol = Protocol::ALL.into_iter().find(|known| known.number() == key.protocol);
    DenialRow {
        pod: named.unwrap_or_else(unnamed),
        direction: direction.label(),
        peer,
        peer_pod: names.get(&peer).map(ToString::to_string),
        protocol: protocol.map_or_else(|| key.protocol.to_string(), |known| known.label().to_owned()),
        port: key.port,
        packets: value.packets,
        reason: reason(value.reason, note.rule(value.rule)),
    }
}

fn reason(number: u32, rule: Option<&str>) -> String {
    match number {
        reason if reason == Denied::ByRules as u32 => match rule {
            Some(rule) => format!("forbidden by {rule}"),
            None => "no rule allows it".to_owned(),
        },
        reason if reason == Denied::Unknown as u32 => "the pod's rights are not known".to_owned(),
        reason if reason == Denied::Full as u32 => "the pod has as many connections as it may".to_owned(),
        reason if reason == Denied::Fragment as u32 => "a fragment without its first one".to_owned(),
        other => format!("reason {other}"),
    }
}

/// Lists the rules with their hits.
pub fn hits(paths: &Paths, output: OutputArgs) -> anyhow::Result<ExitCode> {
    let (note, policies) = open(paths)?;
    let mut rows = Vec::new();
    let all = policies.hits(note.rules.iter().map(|(number, _)| *number))?;
    for (number, rule) in &note.rules {
        let hits = all.get(number).copied().unwrap_or_default();
        rows.push(HitRow { rule: rule.clone(), packets: hits.packets, bytes: hits.bytes });
    }
    if output.json {
        print_json(&rows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["RULE", "PACKETS", "BYTES"]);
    for row in rows {
        table.row(vec![row.rule, row.packets.to_string(), row.bytes.to_string()]);
    }
    out!("{table}");
    Ok(ExitCode::SUCCESS)
}
