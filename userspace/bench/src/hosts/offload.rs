use std::os::fd::AsRawFd;

use anyhow::Context;
use naru_sandbox::netns;
use rustix::net::{AddressFamily, SocketType, socket};

use super::underlay::UPLINK;

/// Makes a veth between nodes behave as a wire: a veth carries packets of 64 KB whole, which no network card does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Wire {
    /// Senders cut packets before the device, receivers put them together again.
    Merging,
    /// Senders cut packets before the device, receivers leave them so.
    Plain,
}

/// Makes the uplinks of the nodes a wire of that kind, or a plain veth again.
///
/// # Errors
/// The kernel refuses.
pub fn set(nodes: &[String], wire: Option<Wire>) -> anyhow::Result<()> {
    let switches = [
        // Without segmentation of TCP the kernel also cuts what is encapsulated; and a veth receives by NAPI, which is
        // what merges, only from a peer without it.
        (ETHTOOL_STSO, wire.is_none()),
        (ETHTOOL_SGRO, wire == Some(Wire::Merging)),
    ];
    for node in nodes {
        let all = || switches.into_iter().try_for_each(|(command, on)| switch(command, on));
        netns::inside(node, all).with_context(|| node.clone())?;
    }
    Ok(())
}

/// `struct ethtool_value` (`include/uapi/linux/ethtool.h`).
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

const ETHTOOL_STSO: u32 = 0x1f;
const ETHTOOL_SGRO: u32 = 0x2c;
const SIOCETHTOOL: libc::Ioctl = 0x8946;

/// Switches an offload of the uplink.
fn switch(command: u32, on: bool) -> anyhow::Result<()> {
    let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).context("socket")?;
    let mut value = Value { command, data: u32::from(on) };
    // SAFETY: all zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(UPLINK.bytes()) {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: the request and the value it points to live until the call returns.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) };
    if result < 0 {
        return Err(std::io::Error::last_os_error()).with_context(|| format!("{UPLINK}: switch an offload"));
    }
    Ok(())
}
