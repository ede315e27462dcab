use std::{fmt, fs, net::Ipv4Addr};

use anyhow::{Context, ensure};
use aya::programs::{SchedClassifier, TestRun, TestRunOptions};
use naru_abi::{
    ABI_VERSION, Addr, Config, InterfaceValue, PodValue, Prefix, RouteKind, RouteValue, programs,
};
use naru_node::datapath::{Datapath, Pins, Sizes, install};
use rustix::mount::{MountFlags, mount};

use super::frame;
use crate::{site::Site, spread::percentile};

/// What a scene has many of; a few of the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entries {
    /// Pods of this node.
    Pods(u32),
    /// Prefixes of other nodes.
    Prefixes(u32),
}

impl Entries {
    /// The smallest scene of the kind.
    pub const fn least(self) -> Self {
        match self {
            Self::Pods(_) => Self::Pods(super::PODS[0]),
            Self::Prefixes(_) => Self::Prefixes(super::PREFIXES[0]),
        }
    }

    const fn count(self) -> u32 {
        match self {
            Self::Pods(count) | Self::Prefixes(count) => count,
        }
    }
}

impl fmt::Display for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pods(count) => write!(f, "{count} pods"),
            Self::Prefixes(count) => write!(f, "{count} prefixes"),
        }
    }
}

/// A path through a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// `from_pod` to a pod of the node.
    ToPod,
    /// `to_pod`: the stack's packet to a pod.
    Deliver,
    /// `from_pod` to the tunnel device.
    ToTunnel,
    /// `to_overlay`: the key for a packet in the tunnel device.
    Encapsulate,
}

impl Way {
    /// As tables call it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::ToPod => "from_pod to a pod",
            Self::Deliver => "to_pod",
            Self::ToTunnel => "from_pod to the tunnel device",
            Self::Encapsulate => "to_overlay",
        }
    }

    const fn program(self) -> &'static str {
        match self {
            Self::ToPod | Self::ToTunnel => programs::FROM_POD,
            Self::Deliver => programs::TO_POD,
            Self::Encapsulate => programs::TO_OVERLAY,
        }
    }

    /// The action of a packet that took this path: `TC_ACT_REDIRECT`, or on to the next filter.
    const fn action(self) -> u32 {
        match self {
            Self::ToPod | Self::ToTunnel => 7,
            Self::Deliver | Self::Encapsulate => u32::MAX,
        }
    }
}

/// Loopback: the one device of the namespace the programs run in.
const DEVICE: u32 = 1;
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
fn pod(number: u32) -> Ipv4Addr {
    (u32::from(Ipv4Addr::new(10, 64, 0, 0)) + number).into()
}

/// The block of remote node `number`.
fn block(number: u32) -> Ipv4Addr {
    (u32::from(Ipv4Addr::new(20, 0, 0, 0)) + number * 256).into()
}

/// An installed datapath with filled maps.
pub struct Scene {
    /// What it has many of.
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
        };
        install(&pins, Sizes { pods: pods + 1, routes, ..Sizes::default() })?;
        let scene = Self { entries, pins };
        scene.fill(pods, routes)?;
        Ok(scene)
    }

    fn fill(&self, pods: u32, routes: u32) -> anyhow::Result<()> {
        let datapath = Datapath::open(&self.pins)?;
        datapath.config()?.set(Config {
            abi: ABI_VERSION,
            features: 0,
            overlay_ifindex: DEVICE,
            tunnel_port: 8472,
            vni: 5230,
            reserved: 0,
            node_v4: Addr::v4([198, 51, 100, 1]),
            node_v6: Addr::UNSPECIFIED,
        })?;
        let settings = InterfaceValue { flags: 0, host_mac: HOST_MAC, pod_mac: POD_MAC };
        datapath.interfaces()?.add(DEVICE, settings)?;
        let value = PodValue {
            generation: 1,
            ifindex: DEVICE,
            flags: 0,
            mtu: 1500,
            pod_mac: POD_MAC,
            host_mac: HOST_MAC,
        };
        let mut map = datapath.pods()?;
        map.insert(Addr::v4(SENDER.octets()), value)?;
        (0..pods).try_for_each(|number| map.insert(Addr::v4(pod(number).octets()), value))?;
        let value = RouteValue {
            kind: RouteKind::Tunnel as u32,
            mtu: 1450,
            node: Addr::v4([198, 51, 100, 2]),
            flags: 0,
        };
        let mut map = datapath.routes()?;
        (0..routes).try_for_each(|number| map.insert(Prefix::new(block(number).into(), 24), value))?;
        Ok(())
    }

    /// The paths that its many entries matter to.
    pub fn ways(&self) -> [Way; 2] {
        match self.entries {
            Entries::Pods(_) => [Way::ToPod, Way::Deliver],
            Entries::Prefixes(_) => [Way::ToTunnel, Way::Encapsulate],
        }
    }

    /// Nanoseconds of a path, in the calling thread's namespace: to destinations that are asked for again and again,
    /// and to destinations that are asked for once, which are in no cache. Medians.
    pub fn time(&self, way: Way) -> anyhow::Result<(f64, f64)> {
        let program = SchedClassifier::from_pin(self.pins.program(way.program())).context(way.label())?;
        let spread = |runs: u32, repeat: u32, step: u32| {
            let numbers = (0..runs).map(|run| run.wrapping_mul(step) % self.entries.count());
            let times = numbers
                .map(|number| self.once(&program, way, number, repeat))
                .collect::<anyhow::Result<Vec<f64>>>()?;
            percentile(&times, 50.0).context("no run")
        };
        Ok((spread(DESTINATIONS, REPEAT, 7_919)?, spread(COLD, 1, 104_729)?))
    }

    fn once(&self, program: &SchedClassifier, way: Way, number: u32, repeat: u32) -> anyhow::Result<f64> {
        let destination = match self.entries {
            Entries::Pods(_) => pod(number),
            Entries::Prefixes(_) => (u32::from(block(number)) + 9).into(),
        };
        let data = frame::udp(HOST_MAC, SENDER, destination);
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
