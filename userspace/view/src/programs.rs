use naru_bpf::{Member, ProgramChain, chains};
use naru_node::machine::{DEVICE, NodeFacts};
use serde::Serialize;

/// One direction of a device to which programs of ours are attached.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Programs {
    /// The device.
    pub interface: String,
    /// `ingress` or `egress`.
    pub direction: &'static str,
    /// The number of naru's programs; one if all is well.
    pub ours: usize,
    /// Programs and filters of others that see packets before ours.
    pub before: Vec<String>,
    /// Programs and filters that see only packets that ours pass on to the stack.
    pub after: Vec<String>,
}

impl Programs {
    /// Reads the programs on the tunnel device and the uplinks; a device that is gone is a finding.
    pub(crate) fn read(facts: &NodeFacts) -> Vec<Self> {
        let overlay = facts.tunnel_port.map(|_| DEVICE);
        let devices = overlay.into_iter().chain(facts.uplinks.iter().map(String::as_str));
        devices.flat_map(Self::of).collect()
    }

    fn of(interface: &str) -> Vec<Self> {
        let both = chains(interface).map_or_else(|_| Vec::new(), Vec::from);
        let names = |members: &[Member]| members.iter().map(|member| member.name.clone()).collect();
        let one = |chain: ProgramChain| Self {
            interface: interface.to_owned(),
            direction: chain.direction,
            ours: chain.ours(),
            before: names(chain.before()),
            after: names(chain.after()),
        };
        both.into_iter().map(one).collect()
    }
}
