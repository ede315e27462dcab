use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd},
};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with};

use super::{Direction, RTM_NEWTFILTER, TCA_KIND, TCA_OPTIONS, message};
use crate::{
    FilterMark,
    message::{self as bytes, attribute},
};

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
/// `NLM_F_REQUEST | NLM_F_ACK`.
const ACKNOWLEDGED: u16 = 0x5;
/// `NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE`.
const CREATE: u16 = 0x405;
/// `NLM_F_EXCL`.
const EXCLUSIVE: u16 = 0x200;
/// `TC_H_CLSACT`, the parent of the qdisc, and the handle it always has.
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
/// `TCA_BPF_FLAG_ACT_DIRECT`: the program's return value is the action.
const ACT_DIRECT: u32 = 1;
/// `ETH_P_ALL` in network order, the lower half of `tcm_info`.
const ALL_PROTOCOLS: u16 = 3_u16.to_be();

/// An eBPF filter in direct-action mode.
#[derive(Clone, Copy, Debug)]
pub struct Attached<'a> {
    /// Its direction.
    pub direction: Direction,
    /// The name that lists show.
    pub name: &'a str,
    /// Its program.
    pub program: BorrowedFd<'a>,
}

/// Gives the interface a clsact qdisc and the filters at `mark`, in one exchange; a filter that is there already is
/// replaced without a gap.
///
/// # Errors
/// The kernel's; `EINVAL` where it has no such program type or qdisc.
pub fn attach(index: u32, mark: FilterMark, filters: &[Attached<'_>]) -> io::Result<()> {
    let qdisc = [0, index, CLSACT_HANDLE, CLSACT, 0];
    let mut batch = message(RTM_NEWQDISC, CREATE | EXCLUSIVE, qdisc, &attribute(TCA_KIND, b"clsact\0"));
    let info = u32::from(mark.priority) << 16 | u32::from(ALL_PROTOCOLS);
    for filter in filters {
        let header = [0, index, mark.handle, filter.direction.parent(), info];
        batch.extend(message(RTM_NEWTFILTER, CREATE, header, &filter_attributes(filter)));
    }
    exchange(&batch, 1 + filters.len())
}

/// Removes the clsact qdisc of the interface, with all its filters.
///
/// # Errors
/// The kernel's.
pub fn remove_clsact(index: u32) -> io::Result<()> {
    let qdisc = [0, index, CLSACT_HANDLE, CLSACT, 0];
    exchange(&message(RTM_DELQDISC, ACKNOWLEDGED, qdisc, &[]), 1)
}

fn filter_attributes(filter: &Attached<'_>) -> Vec<u8> {
    let mut options = attribute(TCA_BPF_FD, &filter.program.as_raw_fd().to_ne_bytes());
    options.extend(attribute(TCA_BPF_NAME, &[filter.name.as_bytes(), b"\0"].concat()));
    options.extend(attribute(TCA_BPF_FLAGS, &ACT_DIRECT.to_ne_bytes()));
    let mut attributes = attribute(TCA_KIND, b"bpf\0");
    attributes.extend(attribute(TCA_OPTIONS, &options));
    attributes
}

/// Sends the requests and waits for as many acknowledgements. The first is the qdisc's: "exists" is as good as success.
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
    let all = bytes::messages(datagram).filter(|(kind, _)| *kind == bytes::ERROR);
    all.map(|(_, message)| bytes::error_number(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acknowledgement(number: i32) -> Vec<u8> {
        bytes::message(bytes::ERROR, 0, 0, &[(-number).to_ne_bytes().as_slice(), &[0; 16]].concat())
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
