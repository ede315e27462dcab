//! A node of nothing but a namespace, a bpffs and the datapath.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU32, Ordering},
};

use naru_abi::{ABI_VERSION, Config};
use naru_bpf::{Datapath, Pins, Sizes, add_policy_maps, install};
use naru_e2e::{
    netns::{Netns, Scratch},
    tool,
};
use rustix::{
    mount::{MountFlags, UnmountFlags, mount, unmount},
    net::{AddressFamily, SocketType, netdevice::name_to_index, socket},
};

use crate::world::Family;

pub const VNI: u32 = 5230;
pub const PORT: u16 = 8472;

pub const SIZES: Sizes = Sizes { pods: 64, routes: 64, flows: 64 };

/// A mounted bpffs, gone with the value.
pub struct BpfFs {
    path: PathBuf,
}

impl BpfFs {
    pub fn mount(name: &str) -> Self {
        let path = PathBuf::from(format!("/run/{name}"));
        fs::create_dir_all(&path).unwrap();
        mount("bpf", &path, "bpf", MountFlags::empty(), None).unwrap();
        Self { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for BpfFs {
    fn drop(&mut self) {
        let _ = unmount(&self.path, UnmountFlags::DETACH);
        let _ = fs::remove_dir(&self.path);
    }
}

/// Has the pinned programs judge by policies. Devices need them anew.
pub fn add_policies(pins: &Pins) {
    add_policy_maps(pins, SIZES).unwrap();
    install(pins, SIZES).unwrap();
}

/// A name that no other test of this machine has.
pub fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("naru-prog-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub struct Node {
    pub pins: Pins,
    scratch: Scratch,
    _bpffs: BpfFs,
}

impl Node {
    /// A node with the datapath installed and configured, and no interface but loopback.
    pub fn new() -> Self {
        let name = unique();
        let bpffs = BpfFs::mount(&name);
        let pins = Pins::at(bpffs.path().join(format!("abi{ABI_VERSION}")));
        install(&pins, SIZES).unwrap();
        let node = Self { pins, scratch: Scratch::create(&name).unwrap(), _bpffs: bpffs };
        node.datapath().config().unwrap().set(config(0)).unwrap();
        node.ip("link set lo up");
        node
    }

    pub fn netns(&self) -> &Netns {
        self.scratch.netns()
    }

    pub fn datapath(&self) -> Datapath {
        Datapath::open(&self.pins).unwrap()
    }

    /// Runs `ip` in the node.
    pub fn ip(&self, arguments: &str) {
        ip(self.netns(), arguments);
    }

    /// Runs `work` on a thread inside the node.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.netns().run(|| Ok(work())).unwrap()
    }

    pub fn ifindex(&self, interface: &str) -> u32 {
        ifindex(self.netns(), interface)
    }
}

pub fn config(overlay_ifindex: u32) -> Config {
    Config {
        abi: ABI_VERSION,
        features: 0,
        overlay_ifindex,
        tunnel_port: u32::from(PORT),
        vni: VNI,
        reserved: 0,
        node_v4: Family::V4.local_node().into(),
        node_v6: Family::V6.local_node().into(),
    }
}

pub fn ip(netns: &Netns, arguments: &str) {
    tool::run(netns, &format!("ip {arguments}")).unwrap();
}

pub fn ifindex(netns: &Netns, interface: &str) -> u32 {
    let index = || Ok(name_to_index(socket(AddressFamily::INET, SocketType::DGRAM, None)?, interface)?);
    netns.run(index).unwrap()
}
