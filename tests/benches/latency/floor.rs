//! What every DEL pays: the kernel's time to delete a veth pair.

use std::{
    fs::File,
    os::fd::AsFd,
    process::id,
    time::{Duration, Instant},
};

use anyhow::Context;
use naru_e2e::{netns::Scratch, tool};
use naru_node::links::{Links, Mac, PairSpec};

/// Its name in reports.
pub const NAME: &str = "bare veth pair";

/// A node on which bare pairs are deleted by one netlink request, without a process.
pub struct Floor {
    node: Scratch,
}

impl Floor {
    /// Makes the node.
    ///
    /// # Errors
    /// Its namespace cannot be made.
    pub fn prepare() -> anyhow::Result<Self> {
        Ok(Self { node: Scratch::create(&format!("lat{}-floor", id()))? })
    }

    /// Makes a pair with one end in a pod's namespace, both up, and times its deletion.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn delete_a_pair(&self, number: u32) -> anyhow::Result<Duration> {
        let pod = Scratch::create(&format!("{}-{number}", self.node.netns().name()))?;
        let file = File::open(pod.netns().path()).context("open the pod's namespace")?;
        self.node.netns().run(|| {
            let links = Links::open()?;
            let (host_mac, pod_mac) = (Mac::random()?, Mac::random()?);
            let alias = "naru1:bench/floor/eth0/1";
            let spec = PairSpec { host_name: "floor", host_mac, alias, pod_name: "eth0", pod_mac, mtu: 1500 };
            links.create_pair(&spec, file.as_fd())?;
            tool::run(self.node.netns(), "ip link set floor up")?;
            tool::run(pod.netns(), "ip link set eth0 up")?;
            let start = Instant::now();
            links.delete_host_veth("floor")?;
            Ok(start.elapsed())
        })
    }
}
