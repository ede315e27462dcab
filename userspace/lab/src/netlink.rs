//! The few netlink requests of the lab's own wiring, in the calling thread's namespace.

use std::{net::IpAddr, os::fd::AsRawFd};

use anyhow::Context;
use ipnet::IpNet;
use naru_sandbox::netns;
use rtnetlink::{
    Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::{
        address::{AddressAttribute, AddressFlags, AddressHeaderFlags},
        link::{InfoBridge, InfoData, InfoVeth},
        rule::RuleAction,
    },
};
use rustix::net::{AddressFamily, SocketType, netdevice::name_to_index, socket};

use crate::plan::underlay_prefix;

/// A netlink connection of the calling thread's namespace.
pub struct Netlink {
    runtime: tokio::runtime::Runtime,
    handle: Handle,
}

impl Netlink {
    /// Opens the connection.
    pub fn open() -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let guard = runtime.enter();
        let (connection, handle, _) = rtnetlink::new_connection().context("open netlink")?;
        drop(guard);
        runtime.spawn(connection);
        Ok(Self { runtime, handle })
    }

    /// Sets the link `name` up.
    pub fn set_up(&self, name: &str) -> anyhow::Result<()> {
        let message = LinkUnspec::new_with_index(index(name)?).up().build();
        self.wait(self.handle.link().set(message).execute()).with_context(|| format!("link {name}: set up"))
    }

    /// A bridge that forwards at once and floods all multicast.
    pub fn add_bridge(&self, name: &str, mtu: u32) -> anyhow::Result<()> {
        let message = LinkBridge::new(name)
            .mtu(mtu)
            .append_info_data(InfoBridge::ForwardDelay(0))
            .append_info_data(InfoBridge::MulticastSnooping(false))
            .build();
        self.wait(self.handle.link().add(message).execute()).with_context(|| format!("bridge {name}: add"))
    }

    /// A veth from a port of `bridge`, called `port`, to `eth0` in the namespace `peer`.
    pub fn add_uplink(&self, bridge: &str, port: &str, peer: &str, mtu: u32) -> anyhow::Result<()> {
        let file =
            std::fs::File::open(netns::path(peer)).with_context(|| format!("namespace {peer}: open"))?;
        let eth0 =
            LinkMessageBuilder::<LinkUnspec>::default().name("eth0").mtu(mtu).setns_by_fd(file.as_raw_fd());
        let message = LinkMessageBuilder::<LinkVeth>::new(port, "eth0")
            .set_info_data(InfoData::Veth(InfoVeth::Peer(eth0.build())))
            .mtu(mtu)
            .controller(index(bridge)?)
            .up()
            .build();
        self.wait(self.handle.link().add(message).execute()).with_context(|| format!("uplink {port}: add"))
    }

    /// Adds `address` to `link`, usable at once.
    pub fn add_address(&self, link: &str, address: IpAddr, prefix: u8) -> anyhow::Result<()> {
        let mut request = self.handle.address().add(index(link)?, address, prefix);
        if address.is_ipv6() {
            let message = request.message_mut();
            message.header.flags |= AddressHeaderFlags::Nodad;
            let flags = AddressFlags::Nodad | AddressFlags::Permanent;
            message.attributes.push(AddressAttribute::Flags(flags));
        }
        self.wait(request.execute()).with_context(|| format!("link {link}: add address {address}/{prefix}"))
    }

    /// Adds an address of the nodes' network.
    pub fn add_underlay_address(&self, link: &str, address: IpAddr) -> anyhow::Result<()> {
        self.add_address(link, address, underlay_prefix(address))
    }

    /// A route in `table` (254 is main); `to` `None` is the default route.
    pub fn add_route(&self, to: Option<IpNet>, via: IpAddr, table: u32) -> anyhow::Result<()> {
        let to = to.unwrap_or_else(|| default_of(via));
        let message = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(to.network(), to.prefix_len())?
            .gateway(via)?
            .table_id(table)
            .build();
        self.wait(self.handle.route().add(message).execute())
            .with_context(|| format!("route {to} via {via}: add"))
    }

    /// Packets from `from` look into `table` first.
    pub fn add_rule(&self, from: IpAddr, table: u32) -> anyhow::Result<()> {
        let request = self.handle.rule().add().table_id(table).action(RuleAction::ToTable).priority(table);
        match from {
            IpAddr::V4(from) => self.wait(request.v4().source_prefix(from, 32).execute()),
            IpAddr::V6(from) => self.wait(request.v6().source_prefix(from, 128).execute()),
        }
        .with_context(|| format!("rule from {from} to table {table}: add"))
    }

    fn wait(
        &self,
        request: impl Future<Output = Result<(), rtnetlink::Error>>,
    ) -> Result<(), rtnetlink::Error> {
        self.runtime.block_on(request)
    }
}

fn default_of(via: IpAddr) -> IpNet {
    let any = if via.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    IpNet::new_assert(any, 0)
}

fn index(link: &str) -> anyhow::Result<u32> {
    socket(AddressFamily::INET, SocketType::DGRAM, None)
        .and_then(|socket| name_to_index(socket, link))
        .with_context(|| format!("link {link}: find"))
}
