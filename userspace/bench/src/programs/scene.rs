use std::{
    fmt, fs,
    net::{Ipv4Addr, SocketAddrV4},
};

use anyhow::{Context, ensure};
use aya::programs::{SchedClassifier, TestRun, TestRunOptions};
use naru_abi::{
    ABI_VERSION, Addr, Config, InterfaceValue, PodValue, Prefix, RouteKind, RouteValue, Transport,
};
use naru_bpf::{Datapath, Pins, Sizes, can_encapsulate, install};
use naru_sandbox::netns;
use rustix::mount::{MountFlags, mount};

use super::{Way, frame, services};
use crate::{hosts, site::Site, spread::percentile};

/// The entries that a scene has many of; it has a few of the other kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entries {
    /// Pods of this node.
    Pods(u32),
    /// Prefixes of other nodes.
    Prefixes(u32),
    /// Services.
    Services(u32),
}

impl Entries {
    /// The smallest scene of the kind.
    pub const fn least(self) -> Self {
        match self {
            Self::Pods(_) => Self::Pods(super::PODS[0]),
            Self::Prefixes(_) => Self::Prefixes(super::PREFIXES[0]),
            Self::Services(_) => Self::Services(super::SERVICES[0]),
        }
    }

    const fn count(self) -> u32 {
        match self {
            Self::Pods(count) | Self::Prefixes(count) | Self::Services(count) => count,
        }
    }
}

impl fmt::Display for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pods(count) => write!(f, "{count} pods"),
            Self::Prefixes(count) => write!(f, "{count} prefixes"),
            Self::Services(count) => write!(f, "{count} Services"),
        }
    }
}

/// Loopback, in place of the pod's interface.
const DEVICE: u32 = 1;
/// This node's address and the other's, and the way there in the namespace the programs run in.
const NODE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const OTHER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const WIRING: &str = "link set lo up
link add u0 type veth peer name u1
link set u1 up
link set u0 up
address add 198.51.100.1/24 dev u0
neighbor add 198.51.100.2 lladdr 02:00:00:00:00:03 dev u0 nud permanent
route add 20.0.0.0/6 via 198.51.100.2";
/// Of the cluster.
const PORT: u16 = 8472;
const VNI: u32 = 5230;
/// Destinations of a round, spread over the map.
const DESTINATIONS: u32 = 40;
/// Runs with the same packet, which is forwarded each time.
const REPEAT: u32 = 200;
/// Destinations that are looked up once in a round.
const COLD: u32 = 300;
const HOST_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const POD_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// The pod that sends.
const SENDER: Ipv4Addr = Ipv4Addr::new(10, 63, 0, 1);

/// Pod `number` of the node.
pub fn pod(number: u32) -> Ipv4Addr {
    (u32::from(Ipv4Addr::new(10, 64, 0, 0)) + number).into()
}

/// The block of remote node `number`.
fn block(number: u32) -> Ipv4Addr {
    (u32::from(Ipv4Addr::new(20, 0, 0, 0)) + number * 256).into()
}

/// Every other remote node is reached without the tunnel.
const fn is_direct(number: u32) -> bool {
    number % 2 == 1
}

/// The one of its kind among `number` and its neighbour.
const fn towards(number: u32, direct: bool) -> u32 {
    number / 2 * 2 + direct as u32
}

/// An installed datapath with filled maps.
pub struct Scene {
    /// The entries that it has many of.
    pub entries: Entries,
    /// Its pins.
    pub pins: Pins,
}

impl Scene {
    /// Installs the embedded object on a bpffs of its own and fills its maps.
    pub fn build(site: &Site, entries: Entries) -> anyhow::Result<Self> {
        let root = site.directory(&format!("programs {entries}").replace(' ', "-"));
        fs::create_dir_all(&root).with_context(|| format!("create {}", root.display()))?;
        mount("bpf", &root, "bpf", MountFlags::empty(), None).context("mount bpffs")?;
        let pins = Pins::at(root.join(format!("abi{ABI_VERSION}")));
        let (pods, routes) = match entries {
            Entries::Pods(pods) => (pods, super::PREFIXES[0]),
            Entries::Prefixes(routes) => (super::PODS[0], routes),
            Entries::Services(_) => (super::PODS[0], super::PREFIXES[0]),
        };
        install(&pins, Sizes { pods: pods + 1, routes: routes + 1, ..Sizes::default() })?;
        let scene = Self { entries, pins };
        scene.fill(pods, routes)?;
        if let Entries::Services(count) = entries {
            services::fill(&scene.pins, count)?;
        }
        Ok(scene)
    }

    /// Makes what the programs ask the kernel about.
    pub fn wire(netns: &str) -> anyhow::Result<()> {
        netns::create(netns, || netns::set_sysctl("net/ipv4/ip_forward", "1"))?;
        hosts::ip(netns, WIRING)
    }

    fn fill(&self, pods: u32, routes: u32) -> anyhow::Result<()> {
        let datapath = Datapath::open(&self.pins)?;
        let settings =
            InterfaceValue { ifindex: DEVICE, flags: 0, subject: 0, host_mac: HOST_MAC, pod_mac: POD_MAC };
        datapath.interfaces()?.add(DEVICE, settings)?;
        let value = PodValue {
            generation: 1,
            ifindex: DEVICE,
            mtu: 1500,
            pod_mac: POD_MAC,
            host_mac: HOST_MAC,
            ..PodValue::EMPTY
        };
        let mut map = datapath.pods()?;
        map.insert(Addr::v4(SENDER.octets()), value)?;
        (0..pods).try_for_each(|number| map.insert(Addr::v4(pod(number).octets()), value))?;
        let mut map = datapath.routes()?;
        let value = |kind| RouteValue::remote(kind, Addr::v4(OTHER.octets()), 1450);
        map.insert(Prefix::new(OTHER.into(), 32), value(RouteKind::node(Transport::Tunnel)))?;
        (0..routes).try_for_each(|number| {
            let transport = if is_direct(number) { Transport::Direct } else { Transport::Tunnel };
            map.insert(Prefix::new(block(number).into(), 24), value(RouteKind::pods(transport)))
        })?;
        Ok(())
    }

    /// The paths that its many entries matter to, and this kernel can take.
    pub fn ways(&self) -> Vec<Way> {
        match self.entries {
            Entries::Pods(_) => Way::TO_PODS.to_vec(),
            Entries::Prefixes(_) if can_encapsulate() => [&Way::TO_PREFIXES[..], &Way::BY_TUNNEL].concat(),
            Entries::Prefixes(_) => Way::TO_PREFIXES.to_vec(),
            Entries::Services(_) => Way::TO_SERVICES.to_vec(),
        }
    }

    /// Nanoseconds of a path, in the calling thread's namespace: to destinations that are asked for again and again,
    /// and to destinations that are asked for once, which are in no cache. Medians.
    pub fn time(&self, way: Way) -> anyhow::Result<(f64, f64)> {
        self.configure(way.features())?;
        let program = SchedClassifier::from_pin(self.pins.program(way.program())).context(way.label())?;
        let spread = |runs: u32, repeat: u32, step: u32| {
            let numbers = (0..runs).map(|run| run.wrapping_mul(step) % self.entries.count());
            if self.is_of_services() {
                self.prepare(&program, way, numbers.clone())?;
            }
            let times = numbers
                .map(|number| self.once(&program, way, number, repeat))
                .collect::<anyhow::Result<Vec<f64>>>()?;
            percentile(&times, 50.0).context("no run")
        };
        if way == Way::Open {
            // A flow begins once: to each Service as many as there are.
            let runs = COLD.min(self.entries.count());
            return Ok((spread(runs, 1, 1)?, spread(runs, 1, 7_919)?));
        }
        let warm = if way.repeats() { spread(DESTINATIONS, REPEAT, 7_919) } else { spread(COLD, 1, 0) };
        Ok((warm?, spread(COLD, 1, 104_729)?))
    }

    const fn is_of_services(&self) -> bool {
        matches!(self.entries, Entries::Services(_))
    }

    /// Makes the flows that the path is about be there, or none.
    fn prepare(
        &self,
        program: &SchedClassifier,
        way: Way,
        mut numbers: impl Iterator<Item = u32>,
    ) -> anyhow::Result<()> {
        services::forget_flows(&self.pins)?;
        if way == Way::Open {
            return Ok(());
        }
        numbers.try_for_each(|number| self.once(program, Way::ToService, number, 1).map(drop))
    }

    fn configure(&self, features: u32) -> anyhow::Result<()> {
        let config = Config {
            abi: ABI_VERSION,
            features,
            overlay_ifindex: DEVICE,
            tunnel_port: PORT.into(),
            vni: VNI,
            reserved: 0,
            node_v4: Addr::v4(NODE.octets()),
            node_v6: Addr::UNSPECIFIED,
        };
        Ok(Datapath::open(&self.pins)?.config()?.set(config)?)
    }

    /// The packet of a path to the destination `number`, or from there.
    fn frame(&self, way: Way, number: u32) -> Vec<u8> {
        let remote = Ipv4Addr::from(u32::from(block(towards(number, way.is_direct()))) + 9);
        let (source, destination) = match self.entries {
            Entries::Pods(_) => (SENDER, pod(number)),
            Entries::Services(_) if way == Way::Answer => (pod(number % super::PODS[0]), SENDER),
            Entries::Services(_) => (SENDER, services::address(number)),
            Entries::Prefixes(_) if way.is_inbound() => (remote, pod(0)),
            Entries::Prefixes(_) => (SENDER, remote),
        };
        let (from, to) = match way {
            Way::Answer => (services::target_port(number), frame::SOURCE_PORT),
            _ => (frame::SOURCE_PORT, frame::DESTINATION_PORT),
        };
        let (source, destination) = (SocketAddrV4::new(source, from), SocketAddrV4::new(destination, to));
        let inner = frame::udp(HOST_MAC, source, destination);
        if way == Way::Decapsulate { frame::vxlan(&inner, (OTHER, NODE), PORT, VNI) } else { inner }
    }

    fn once(&self, program: &SchedClassifier, way: Way, number: u32, repeat: u32) -> anyhow::Result<f64> {
        let data = self.frame(way, number);
        // `struct __sk_buff`: the interface is at byte 40.
        let mut context = [0u8; 192];
        context[40..44].copy_from_slice(&DEVICE.to_ne_bytes());
        let options =
            TestRunOptions { data_in: Some(&data), ctx_in: Some(&context), repeat, ..TestRunOptions::new() };
        let ran = program.test_run(options).with_context(|| way.label())?;
        ensure!(
            ran.return_value == way.action(),
            "{}: {} is the action, not {}",
            way.label(),
            ran.return_value,
            way.action()
        );
        Ok(ran.duration.as_nanos() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_of_the_kind_that_is_asked_for_and_within_the_map() {
        for number in 0..super::super::PREFIXES[0] {
            for direct in [false, true] {
                let found = towards(number, direct);
                assert!(is_direct(found) == direct && found < super::super::PREFIXES[0], "{number}: {found}");
            }
        }
    }
}
