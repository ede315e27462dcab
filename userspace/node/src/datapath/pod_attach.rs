//! Attaching a pod's two filters in one netlink exchange, for the one place where time counts: every ADD.
//!
//! aya does the same, but probes the kernel's features first, at 5 ms a process. Layouts from `linux/rtnetlink.h`,
//! `linux/pkt_sched.h` and `linux/pkt_cls.h`.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
};

use naru_abi::{FILTER_HANDLE, FILTER_PRIORITY, programs};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

use super::{
    Error, Pins, Result, bpf,
    tc::{self, CLSACT_EGRESS, CLSACT_INGRESS, message},
};
use crate::netlink::{self, attribute};

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_NEWTFILTER: u16 = 44;
/// `NLM_F_REQUEST | NLM_F_ACK`.
const ACKNOWLEDGED: u16 = 0x5;
/// `NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE`.
const CREATE: u16 = 0x405;
/// `NLM_F_EXCL`.
const EXCLUSIVE: u16 = 0x200;
/// `TC_H_CLSACT`, the parent of the qdisc, and the handle it always has.
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
/// `TCA_BPF_FLAG_ACT_DIRECT`: the program's return value is the action.
const ACT_DIRECT: u32 = 1;
/// `ETH_P_ALL` in network order, the lower half of `tcm_info`.
const ALL_PROTOCOLS: u16 = 3_u16.to_be();

/// Gives `interface` a clsact qdisc and our filter in each direction; a filter of ours that is there is replaced
/// without a gap.
pub(super) fn attach(pins: &Pins, interface: &str) -> Result<()> {
    let (from_pod, to_pod) = (open(pins, programs::FROM_POD)?, open(pins, programs::TO_POD)?);
    let failed =
        |source| Error::Interface { interface: interface.to_owned(), action: "attach filters", source };
    let index = tc::ifindex(interface).map_err(failed)?;
    let filter = |parent, name, program: &OwnedFd| {
        let info = u32::from(FILTER_PRIORITY) << 16 | u32::from(ALL_PROTOCOLS);
        message(
            RTM_NEWTFILTER,
            CREATE,
            [0, index, FILTER_HANDLE, parent, info],
            &filter_attributes(name, program),
        )
    };
    let qdisc = [0, index, CLSACT_HANDLE, CLSACT, 0];
    let mut batch = message(RTM_NEWQDISC, CREATE | EXCLUSIVE, qdisc, &attribute(TCA_KIND, b"clsact\0"));
    batch.extend(filter(CLSACT_INGRESS, programs::FROM_POD, &from_pod));
    batch.extend(filter(CLSACT_EGRESS, programs::TO_POD, &to_pod));
    exchange(&batch, 3).map_err(failed)
}

/// Removes the clsact qdisc of the interface.
pub(super) fn remove_clsact(index: u32) -> io::Result<()> {
    let qdisc = [0, index, CLSACT_HANDLE, CLSACT, 0];
    exchange(&message(RTM_DELQDISC, ACKNOWLEDGED, qdisc, &[]), 1)
}

/// A descriptor of a pinned program.
fn open(pins: &Pins, name: &'static str) -> Result<OwnedFd> {
    let pin = pins.program(name);
    bpf::open(&pin).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::NotInstalled(pin),
        _ => Error::Pin { path: pin, action: "open", source },
    })
}

fn filter_attributes(name: &str, program: &OwnedFd) -> Vec<u8> {
    let mut options = attribute(TCA_BPF_FD, &program.as_raw_fd().to_ne_bytes());
    options.extend(attribute(TCA_BPF_NAME, &[name.as_bytes(), b"\0"].concat()));
    options.extend(attribute(TCA_BPF_FLAGS, &ACT_DIRECT.to_ne_bytes()));
    let mut attributes = attribute(TCA_KIND, b"bpf\0");
    attributes.extend(attribute(TCA_OPTIONS, &options));
    attributes
}

/// Sends the requests and waits for as many acknowledgements. The first is the qdisc's: having one is as good.
fn exchange(requests: &[u8], mut open: usize) -> io::Result<()> {
    // Protocol 0 is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    send(&socket, requests, SendFlags::empty())?;
    let mut buffer = [0; 8192];
    let (mut first, mut refused) = (true, Ok(()));
    while open > 0 {
        let (read, _) = recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        for number in acknowledgements(buffer.get(..read).unwrap_or_default()) {
            let is_fine = number == 0 || (first && number == libc::EEXIST);
            if !is_fine && refused.is_ok() {
                refused = Err(io::Error::from_raw_os_error(number));
            }
            (first, open) = (false, open.saturating_sub(1));
        }
    }
    refused
}

/// The numbers of the acknowledgements in a datagram: 0, or an error number.
fn acknowledgements(datagram: &[u8]) -> impl Iterator<Item = i32> {
    let all = netlink::messages(datagram).filter(|(kind, _)| *kind == netlink::ERROR);
    all.map(|(_, message)| netlink::error_number(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acknowledgement(number: i32) -> Vec<u8> {
        netlink::message(netlink::ERROR, 0, 0, &[(-number).to_ne_bytes().as_slice(), &[0; 16]].concat())
    }

    #[test]
    fn every_acknowledgement_of_a_datagram_is_counted() {
        let datagram =
            [acknowledgement(libc::EEXIST), acknowledgement(0), acknowledgement(libc::EPERM)].concat();
        assert_eq!(acknowledgements(&datagram).collect::<Vec<_>>(), [libc::EEXIST, 0, libc::EPERM]);
    }

    #[test]
    fn a_datagram_cut_anywhere_ends_the_count() {
        let datagram = acknowledgement(libc::EPERM);
        for length in 0..datagram.len() {
            assert_eq!(acknowledgements(&datagram[..length]).count(), 0, "cut at {length}");
        }
    }
}
