//! Traffic control: clsact qdiscs and eBPF filters. aya attaches filters too, but probes the kernel's features first,
//! at 5 ms a process, and does not list them. Layouts from `linux/netlink.h`, `linux/rtnetlink.h`,
//! `linux/pkt_sched.h` and `linux/pkt_cls.h`.

mod attach;

use std::io;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice::name_to_index, recv, send,
    socket_with,
};

use crate::message::{self as bytes, HEADER, find, u32_at};

pub use attach::{Attached, attach, remove_clsact};

const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;
const TC_HEADER: usize = 20;
const CLSACT_INGRESS: u32 = 0xffff_fff2;
const CLSACT_EGRESS: u32 = 0xffff_fff3;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_ID: u16 = 11;

/// A direction of packets on an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Packets that the interface received.
    Ingress,
    /// Packets that leave by it.
    Egress,
}

impl Direction {
    /// The parent of filters of this direction (`TC_H_CLSACT` with `TC_H_MIN_INGRESS` or `TC_H_MIN_EGRESS`).
    const fn parent(self) -> u32 {
        match self {
            Self::Ingress => CLSACT_INGRESS,
            Self::Egress => CLSACT_EGRESS,
        }
    }
}

/// A filter of a clsact qdisc.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    /// Its priority.
    pub priority: u16,
    /// Its handle.
    pub handle: u32,
    /// Its kind as `tc` names it.
    pub kind: String,
    /// The kernel's number of its program, where it is an eBPF one.
    pub program: Option<u32>,
}

/// The index of an interface in this thread's namespace.
///
/// # Errors
/// There is no such interface.
pub fn ifindex(interface: &str) -> io::Result<u32> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    Ok(name_to_index(socket, interface)?)
}

/// The filters of one direction in their order; none where there is no clsact qdisc.
///
/// # Errors
/// The kernel's.
pub fn filters(ifindex: u32, direction: Direction) -> io::Result<Vec<Filter>> {
    // Protocol 0 is NETLINK_ROUTE.
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    send(&socket, &request(ifindex, direction), SendFlags::empty())?;
    let mut filters = Vec::new();
    let mut buffer = vec![0; 32 * 1024];
    loop {
        let (read, _) = recv(&socket, buffer.as_mut_slice(), RecvFlags::empty())?;
        if take(buffer.get(..read).unwrap_or_default(), &mut filters)? {
            return Ok(filters);
        }
    }
}

fn request(ifindex: u32, direction: Direction) -> Vec<u8> {
    message(RTM_GETTFILTER, DUMP, [0, ifindex, 0, direction.parent(), 0], &[])
}

/// A message with a `struct tcmsg` of these words.
fn message(kind: u16, flags: u16, header: [u32; 5], attributes: &[u8]) -> Vec<u8> {
    let mut body: Vec<u8> = header.iter().flat_map(|word| word.to_ne_bytes()).collect();
    body.extend(attributes);
    bytes::message(kind, flags, 0, &body)
}

/// Takes the filters out of one datagram. Returns true at the end of the list.
fn take(datagram: &[u8], filters: &mut Vec<Filter>) -> io::Result<bool> {
    for (kind, message) in bytes::messages(datagram) {
        match kind {
            bytes::DONE => return Ok(true),
            bytes::ERROR => return error(message).map(|()| true),
            RTM_NEWTFILTER => filters.extend(filter(message)),
            _ => {}
        }
    }
    Ok(false)
}

fn error(message: &[u8]) -> io::Result<()> {
    match bytes::error_number(message) {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

/// Returns the filter that a message describes; a message without a handle only announces its priority.
fn filter(message: &[u8]) -> Option<Filter> {
    let handle = u32_at(message, HEADER + 8)?;
    let info = u32_at(message, HEADER + 16)?;
    let attributes = message.get(HEADER + TC_HEADER..)?;
    let kind = String::from_utf8_lossy(find(attributes, TCA_KIND)?).trim_end_matches('\0').to_owned();
    let options = find(attributes, TCA_OPTIONS).filter(|_| kind == "bpf");
    let program = options.and_then(|options| u32_at(find(options, TCA_BPF_ID)?, 0));
    (handle != 0).then_some(Filter { priority: (info >> 16) as u16, handle, kind, program })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{NESTED, attribute};

    fn bpf_filter(priority: u32, handle: u32, program: u32) -> Vec<u8> {
        let mut body = Vec::new();
        for word in [0, 7, handle, CLSACT_INGRESS, priority << 16 | 3] {
            body.extend(word.to_ne_bytes());
        }
        body.extend(attribute(TCA_KIND, b"bpf\0"));
        let mut options = attribute(7, b"from_pod\0");
        options.extend(attribute(TCA_BPF_ID, &program.to_ne_bytes()));
        body.extend(attribute(TCA_OPTIONS | NESTED, &options));
        bytes::message(RTM_NEWTFILTER, 0, 0, &body)
    }

    #[test]
    fn every_filter_of_a_datagram_is_taken_with_its_program() {
        let mut datagram = bpf_filter(5230, 1, 77);
        datagram.extend(bpf_filter(1, 2, 78));
        let mut filters = Vec::new();
        assert!(!take(&datagram, &mut filters).unwrap());
        let wanted = [(5230, 1, 77), (1, 2, 78)];
        let filter = |(priority, handle, program)| Filter {
            priority,
            handle,
            kind: "bpf".to_owned(),
            program: Some(program),
        };
        assert_eq!(filters, wanted.map(filter));
    }

    #[test]
    fn the_list_ends_with_its_last_message() {
        assert!(take(&bytes::message(bytes::DONE, 0, 0, &[0; 4]), &mut Vec::new()).unwrap());
    }

    #[test]
    fn an_error_is_the_kernels() {
        let refused = take(&bytes::message(bytes::ERROR, 0, 0, &(-19i32).to_ne_bytes()), &mut Vec::new());
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(19));
    }

    #[test]
    fn a_datagram_cut_anywhere_gives_no_filter_that_was_not_sent() {
        let datagram = bpf_filter(5230, 1, 77);
        for length in 0..datagram.len() {
            let mut filters = Vec::new();
            assert!(!take(&datagram[..length], &mut filters).unwrap());
            assert_eq!(filters, [], "cut at {length}");
        }
    }
}
