use naru_node::machine::MARKS;
use std::{
    fs::File,
    os::fd::AsFd,
    time::{Duration, Instant},
};

use anyhow::Context;
use naru_netlink::links::{Links, Mac, PairSpec};
use naru_sandbox::netns;

use crate::{hosts::ip, site::Site};

/// A node on which bare pairs are deleted by one netlink request, without a process: what every DEL pays.
pub struct Floor<'a> {
    site: &'a Site,
    node: String,
}

impl<'a> Floor<'a> {
    /// Makes the node.
    ///
    /// # Errors
    /// Its namespace cannot be made.
    pub fn prepare(site: &'a Site) -> anyhow::Result<Self> {
        let node = site.netns("floor");
        netns::create(&node, || Ok(()))?;
        Ok(Self { site, node })
    }

    /// Makes a pair with one end in a pod's namespace, both up, and times its deletion.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn delete_a_pair(&self) -> anyhow::Result<Duration> {
        let pod = self.site.netns("floor-pod");
        netns::create(&pod, || Ok(()))?;
        let file = File::open(netns::path(&pod)).context("open the pod's namespace")?;
        let took = netns::inside(&self.node, || {
            let links = Links::open(MARKS)?;
            let (host_mac, pod_mac) = (Mac::random()?, Mac::random()?);
            let alias = "naru1:bench/floor/eth0/1";
            let spec = PairSpec { host_name: "floor", host_mac, alias, pod_name: "eth0", pod_mac, mtu: 1500 };
            links.create_pair(&spec, file.as_fd())?;
            ip(&self.node, "link set floor up")?;
            ip(&pod, "link set eth0 up")?;
            let start = Instant::now();
            links.delete_host_veth("floor")?;
            Ok(start.elapsed())
        });
        netns::remove(&pod)?;
        took
    }
}
