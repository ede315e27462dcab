//! Listing tc filters: the one netlink request that aya does not offer. Layouts from `linux/netlink.h`,
//! `linux/rtnetlink.h` and `linux/pkt_cls.h`.

use std::io;

use aya::programs::TcAttachType;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netdevice::name_to_index, recv, send,
    socket_with,
};

const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
pub(super) const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const DUMP: u16 = 0x301;
pub(super) const MESSAGE_HEADER: usize = 16;
const TC_HEADER: usize = 20;
pub(super) const CLSACT_INGRESS: u32 = 0xffff_fff2;
pub(super) const CLSACT_EGRESS: u32 = 0xffff_fff3;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_ID: u16 = 11;
/// `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER` are above these bits.
const ATTRIBUTE_TYPE: u16 = 0x3fff;

/// A filter of a clsact qdisc.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Filter {
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
pub(super) fn ifindex(interface: &str) -> io::Result<u32> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    Ok(name_to_index(socket, interface)?)
}

/// The filters of one direction in their order; none where there is no clsact qdisc.
pub(super) fn filters(ifindex: u32, direction: TcAttachType) -> io::Result<Vec<Filter>> {
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

fn request(ifindex: u32, direction: TcAttachType) -> Vec<u8> {
    let parent = match direction {
        TcAttachType::Ingress => CLSACT_INGRESS,
        TcAttachType::Egress => CLSACT_EGRESS,
        TcAttachType::Custom(parent) => parent,
    };
    let length = (MESSAGE_HEADER + TC_HEADER) as u32;
    let mut message = Vec::with_capacity(length as usize);
    message.extend(length.to_ne_bytes());
    message.extend(RTM_GETTFILTER.to_ne_bytes());
    message.extend(DUMP.to_ne_bytes());
    message.extend(1u32.to_ne_bytes());
    for word in [0, 0, ifindex, 0, parent, 0] {
        message.extend(word.to_ne_bytes());
    }
    message
}

/// Takes the filters out of one datagram; `true` once the list is at its end.
fn take(mut datagram: &[u8], filters: &mut Vec<Filter>) -> io::Result<bool> {
    while let Some(length) = u32_at(datagram, 0).map(|length| length as usize) {
        let (Some(message), Some(kind)) = (datagram.get(..length), u16_at(datagram, 4)) else { break };
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => return error(message).map(|()| true),
            RTM_NEWTFILTER => filters.extend(filter(message)),
            _ => {}
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn error(message: &[u8]) -> io::Result<()> {
    match u32_at(message, MESSAGE_HEADER).unwrap_or_default() as i32 {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

/// The filter a message describes; one without a handle only announces its priority.
fn filter(message: &[u8]) -> Option<Filter> {
    let handle = u32_at(message, MESSAGE_HEADER + 8)?;
    let info = u32_at(message, MESSAGE_HEADER + 16)?;
    let attributes = message.get(MESSAGE_HEADER + TC_HEADER..)?;
    let kind = String::from_utf8_lossy(attribute(attributes, TCA_KIND)?).trim_end_matches('\0').to_owned();
    let options = attribute(attributes, TCA_OPTIONS).filter(|_| kind == "bpf");
    let program = options.and_then(|options| u32_at(attribute(options, TCA_BPF_ID)?, 0));
    (handle != 0).then_some(Filter { priority: (info >> 16) as u16, handle, kind, program })
}

/// The content of the first attribute of type `wanted`.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let content = attributes.get(4..length)?;
        if u16_at(attributes, 2)? & ATTRIBUTE_TYPE == wanted {
            return Some(content);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

pub(super) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..offset + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..offset + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute_bytes(kind: u16, content: &[u8]) -> Vec<u8> {
        let mut bytes = ((content.len() + 4) as u16).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(content);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = ((MESSAGE_HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.resize(MESSAGE_HEADER, 0);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn bpf_filter(priority: u32, handle: u32, program: u32) -> Vec<u8> {
        let mut body = Vec::new();
        for word in [0, 7, handle, CLSACT_INGRESS, priority << 16 | 3] {
            body.extend(word.to_ne_bytes());
        }
        body.extend(attribute_bytes(TCA_KIND, b"bpf\0"));
        let mut options = attribute_bytes(7, b"from_pod\0");
        options.extend(attribute_bytes(TCA_BPF_ID, &program.to_ne_bytes()));
        body.extend(attribute_bytes(TCA_OPTIONS | 0x8000, &options));
        message(RTM_NEWTFILTER, &body)
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
        assert!(take(&message(NLMSG_DONE, &[0; 4]), &mut Vec::new()).unwrap());
    }

    #[test]
    fn an_error_is_the_kernels() {
        let refused = take(&message(NLMSG_ERROR, &(-19i32).to_ne_bytes()), &mut Vec::new());
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
