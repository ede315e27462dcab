//! The offloads of a network device, switched by ioctl.

use std::{io, os::fd::AsRawFd};

use anyhow::Context;
use rustix::net::{AddressFamily, SocketType, socket};

use crate::netns::Netns;

/// An offload, with its command (`include/uapi/linux/ethtool.h`).
#[repr(u32)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offload {
    /// Checksums of sent packets.
    SendChecksums = 0x17,
    /// Segments of TCP streams.
    SendTcpSegments = 0x1f,
    /// Segmentation in software, for all protocols.
    SendSegments = 0x24,
    /// Merging of received segments.
    Receive = 0x2c,
}

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

const SIOCETHTOOL: libc::Ioctl = 0x8946;

/// Switches an offload of a device of `netns`.
///
/// # Errors
/// The kernel refuses.
pub fn switch(netns: &Netns, device: &str, offload: Offload, on: bool) -> anyhow::Result<()> {
    netns.run(|| {
        let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).context("socket")?;
        let mut value = Value { command: offload as u32, data: u32::from(on) };
        // SAFETY: all zero is a valid ifreq.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_data = (&raw mut value).cast();
        // SAFETY: the request and the value it points to live until the call returns.
        match unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()).with_context(|| format!("{device}: {offload:?} {on}")),
        }
    })
}
