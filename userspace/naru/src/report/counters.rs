use naru_abi::{Counter, Outcome};
use naru_bpf::{Datapath, PodTotals};
use serde::Serialize;

use super::Owners;

/// `{"packets": 1, "bytes": 98}`
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Packets; a GSO packet counts as its segments.
    pub packets: u64,
    /// Bytes, link-layer header included.
    pub bytes: u64,
}

impl From<Counter> for Tally {
    fn from(Counter { packets, bytes }: Counter) -> Self {
        Self { packets, bytes }
    }
}

/// `{"hook": "from_pod", "class": "verdict", "outcome": "peer", "packets": 1, "bytes": 98}`
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct HookRow {
    /// The label of a `naru_abi::Hook`, such as `from_pod`.
    pub hook: &'static str,
    /// `verdict`, `stack` or `drop`.
    pub class: &'static str,
    /// Label of verdict or reason, as in `naru_abi`.
    pub outcome: &'static str,
    /// The count.
    #[serde(flatten)]
    pub tally: Tally,
}

/// `{"ifindex": 7, "interface": "naru…", "pod": "default/web", "tx": {…}, "rx": {…}, "outcomes": [{"class": …, …}]}`
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct PodRow {
    /// Index of the veth on the node.
    pub ifindex: u32,
    /// Name of the veth on the node, empty when it is gone.
    pub interface: String,
    /// The pod.
    pub pod: String,
    /// Sent by the pod, whatever became of it.
    pub tx: Tally,
    /// Handed to the pod.
    pub rx: Tally,
    /// The outcomes of the packets that it sent.
    pub outcomes: Vec<OutcomeRow>,
}

/// `{"class": "drop", "outcome": "spoofed-source", "packets": 3, "bytes": 294}`
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct OutcomeRow {
    /// `verdict`, `stack` or `drop`.
    pub class: &'static str,
    /// Label of verdict or reason.
    pub outcome: &'static str,
    /// The count.
    #[serde(flatten)]
    pub tally: Tally,
}

impl OutcomeRow {
    fn new(outcome: Outcome, counter: Counter) -> Self {
        Self { class: outcome.class(), outcome: outcome.label(), tally: counter.into() }
    }
}

/// Counters by hook and outcome; those at zero are left out.
pub fn hooks(datapath: &Datapath) -> anyhow::Result<Vec<HookRow>> {
    let totals = datapath.stats()?.totals()?;
    let rows = totals.into_iter().filter(|total| total.counter.packets != 0).map(|total| HookRow {
        hook: total.hook.label(),
        class: total.outcome.class(),
        outcome: total.outcome.label(),
        tally: total.counter.into(),
    });
    Ok(rows.collect())
}

/// Every interface that is counted, by index.
pub fn pods(datapath: &Datapath, owners: &Owners) -> anyhow::Result<Vec<PodRow>> {
    let interfaces = datapath.interfaces()?;
    let mut rows = Vec::new();
    for ifindex in interfaces.list()? {
        if let Some(PodTotals { tx, rx, outcomes }) = interfaces.counters(ifindex)? {
            rows.push(PodRow {
                ifindex,
                interface: owners.interface(ifindex).to_owned(),
                pod: owners.of_interface(ifindex).to_owned(),
                tx: tx.into(),
                rx: rx.into(),
                outcomes: outcomes
                    .into_iter()
                    .map(|(outcome, counter)| OutcomeRow::new(outcome, counter))
                    .collect(),
            });
        }
    }
    Ok(rows)
}
