//! Review: the flows that would be cut if objects changed.

use std::{net::IpAddr, sync::Arc};

use naru_abi::policy::Direction;

use super::{
    model::{Cluster, Event, Holders, Pod},
    oracle::{Answer, Denial, Packet, judge_with},
};

/// A flow that somebody opened.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Flow {
    /// The end that opened it.
    pub source: IpAddr,
    /// The other end, behind the translation of a Service.
    pub destination: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Destination port; 0 for protocols without ports.
    pub port: u16,
}

/// A flow that passes now and would not.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cut {
    /// The flow.
    pub flow: Flow,
    /// The pod whose policies would cut it.
    pub pod: Arc<Pod>,
    /// The packet, as that pod sees it.
    pub packet: Packet,
    /// The reasons.
    pub denial: Denial,
}

/// The flows that would be cut after `changes`, and the cluster as it would be.
#[must_use]
pub fn cuts(cluster: &Cluster, changes: Vec<Event>, flows: &[Flow]) -> (Vec<Cut>, Cluster) {
    let mut changed = cluster.clone();
    for change in changes {
        changed.apply(change);
    }
    let (before, after) = (Holders::new(cluster), Holders::new(&changed));
    let mut cuts = Vec::new();
    for flow in flows {
        if cut(flow, cluster, &before).is_none() {
            cuts.extend(cut(flow, &changed, &after));
        }
    }
    drop(after);
    (cuts, changed)
}

/// The first end that does not let the flow pass.
fn cut(flow: &Flow, cluster: &Cluster, holders: &Holders<'_>) -> Option<Cut> {
    let ends = [
        (flow.source, flow.destination, Direction::Egress),
        (flow.destination, flow.source, Direction::Ingress),
    ];
    ends.into_iter().find_map(|(own, peer, direction)| {
        let pod = holders.pod(own)?;
        let packet = Packet { direction, peer, protocol: flow.protocol, port: flow.port };
        match judge_with(cluster, pod, &packet, || holders.holder(peer)) {
            Answer::Denied(denial) => Some(Cut { flow: *flow, pod: pod.clone(), packet, denial }),
            Answer::NotIsolated | Answer::Itself | Answer::Allowed(_) => None,
        }
    })
}
