use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use naru_bpf::{AttachMode, Datapath, Side, attachment};
use naru_netlink::links::Links;
use naru_node::{
    host::firewall,
    machine::{self, DEVICE, MARKS, MachineError, NodeFacts, Settings},
    paths::Paths,
};
use serde::Serialize;

use crate::{AgentReport, Code, Finding, PolicyNote, Programs, fill::Fill, findings};

/// The status of a node. On a machine that is not initialised in this boot, only `initialised` (false) and the findings
/// are valid.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Status {
    /// True if init was done in this boot and what it made is there.
    pub initialised: bool,
    /// This node's name.
    pub node: Option<String>,
    /// Its addresses, the underlay address first.
    pub addresses: Vec<IpAddr>,
    /// Its blocks of the cluster.
    pub blocks: Vec<IpNet>,
    /// Subnets of network configurations, a list for each pool.
    pub subnets: Vec<Vec<IpNet>>,
    /// The agent and the source that it follows; null where no agent runs.
    pub agent: Option<AgentReport>,
    /// What is in force of policies; null where none was ever in force in this boot.
    pub policies: Option<PolicyNote>,
    /// MTU of pods.
    pub pod_mtu: Option<u32>,
    /// Nodes of the cluster, this one included.
    pub nodes: Vec<String>,
    /// `tcx` or `clsact`; null without a tunnel device.
    pub attach: Option<&'static str>,
    /// UDP port of the tunnel; null without one.
    pub tunnel_port: Option<u16>,
    /// UDP port of the tunnel device; it differs from the tunnel's if another program uses that on this machine.
    pub device_port: Option<u16>,
    /// `routing` of cluster.toml for this node; null without a cluster.
    pub routing: Option<&'static str>,
    /// `encapsulation` of cluster.toml for this node; null without a cluster.
    pub encapsulation: Option<&'static str>,
    /// Uplinks that programs of ours are attached to.
    pub uplinks: Vec<String>,
    /// Programs beside naru's that see the packets of the tunnel device and the uplinks.
    pub programs: Vec<Programs>,
    /// Pods' interfaces.
    pub interfaces: usize,
    /// Pods' addresses.
    pub pods: usize,
    /// Entries of FLOWS: packets that must take the stack, which translates their flow.
    pub flows: usize,
    /// The capacity; beyond it all packets between two hosts take the stack.
    pub flows_capacity: u32,
    /// Pairs of hosts all of whose packets take the stack; beyond their capacity new connections to Services and host
    /// ports are dropped.
    pub flow_pairs: usize,
    /// The faults.
    pub findings: Vec<Finding>,
    /// Named counters of the nftables table: `forwarded`, `invalid_to_outside`.
    pub nft: BTreeMap<String, Amount>,
}

/// `{"packets": 1, "bytes": 98}`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Amount {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Status {
    /// Looks at this machine.
    ///
    /// # Errors
    /// The machine cannot be looked at.
    pub fn read(paths: &Paths) -> Result<Self, MachineError> {
        match machine::current(paths)? {
            Some(facts) => Self::of_node(paths, facts),
            None => {
                let finding =
                    Finding::new(Code::NotInitialised, "this machine", "not initialised in this boot");
                Ok(Self { findings: vec![finding], ..Self::default() })
            }
        }
    }

    fn of_node(paths: &Paths, facts: NodeFacts) -> Result<Self, MachineError> {
        let pins = paths.pins();
        let datapath = Datapath::open(&pins)?;
        let fill = Fill::read(&datapath)?;
        let settings = Settings::load(paths)?;
        let clustered = settings.as_ref().filter(|settings| settings.is_clustered());
        let nodes = settings.iter().flat_map(|settings| &settings.cluster.nodes);
        let attached = attachment(&pins, Side::Overlay, DEVICE).ok();
        let amount = |value: firewall::CounterValue| Amount { packets: value.packets, bytes: value.bytes };
        let counters = firewall::counters()?.unwrap_or_default();
        let mut found = settings.as_ref().map_or(Ok(Vec::new()), |settings| findings(paths, settings))?;
        found.extend(fill.finding());
        Ok(Self {
            initialised: true,
            nodes: nodes.map(|node| node.name.clone()).collect(),
            attach: attached.and_then(|found| found.mode).map(AttachMode::label),
            tunnel_port: facts.tunnel_port,
            device_port: facts.device_port,
            routing: clustered.map(|settings| settings.cluster.routing_of(&settings.node).label()),
            encapsulation: clustered
                .map(|settings| settings.cluster.encapsulation_of(&settings.node).label()),
            programs: Programs::read(&facts),
            interfaces: Links::open(MARKS)?.host_veths()?.len(),
            pods: datapath.pods()?.entries()?.len(),
            flows: fill.flows,
            flows_capacity: fill.capacity,
            flow_pairs: fill.pairs / 2,
            findings: found,
            nft: counters.into_iter().map(|(name, value)| (name, amount(value))).collect(),
            agent: AgentReport::ask(&paths.agent_socket()).ok(),
            policies: PolicyNote::load(paths).ok().flatten(),
            node: Some(facts.node),
            addresses: facts.addresses,
            blocks: facts.blocks,
            subnets: facts.own.into_iter().map(|pool| pool.subnets).collect(),
            pod_mtu: Some(facts.pod_mtu),
            uplinks: facts.uplinks,
        })
    }
}
