use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    time::{Duration, Instant},
};

use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{
        RecvFlags,
        sockopt::{set_socket_recv_buffer_size, set_socket_recv_buffer_size_force},
    },
};

use super::{
    LinkError, Mac,
    link::parsed,
    netconf::{self, DeviceConf, RTM_NEWNETCONF},
    reply::Reply,
    socket::Socket,
};
use crate::{
    FilterMark, Marks,
    message::{find, u32_at},
};

/// `RTMGRP_LINK | RTMGRP_TC | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_RULE | RTMGRP_IPV6_IFADDR |
/// RTMGRP_IPV6_ROUTE`, and the groups `RTNLGRP_IPV6_RULE` (19), `RTNLGRP_IPV4_NETCONF` (24) and `RTNLGRP_IPV6_NETCONF`
/// (25), which have no name of that form.
const GROUPS: u32 = 0x1 | 0x8 | 0x10 | 0x40 | 0x80 | 0x100 | 0x400 | 1 << 18 | 1 << 23 | 1 << 24;

/// Bytes of notifications that may wait; the kernel allocates them only as they come. A router that reads a whole table
/// of routes sends ten thousand in the time for which a busy machine may keep us from running.
const QUEUE: usize = 8 << 20;

/// All messages of traffic control: `RTM_NEWQDISC` to `RTM_GETTFILTER`, `RTM_NEWCHAIN` to `RTM_GETCHAIN`.
const TRAFFIC_CONTROL: [RangeInclusive<u16>; 2] = [36..=46, 100..=102];
const RTM_DELQDISC: u16 = 37;
const RTM_DELNETCONF: u16 = 81;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
/// Words of `struct tcmsg`, and its length; a filter's priority is the upper half of `tcm_info`.
const TC_IFINDEX: usize = 4;
const TC_HANDLE: usize = 8;
const TC_INFO: usize = 16;
const TC_HEADER: usize = 20;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_ID: u16 = 11;

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
/// Bytes of `struct rtmsg`, and its length.
const RTM_FAMILY: usize = 0;
const RTM_DST_LEN: usize = 1;
const RTM_PROTOCOL: usize = 5;
const RTM_HEADER: usize = 12;
const RTA_DST: u16 = 1;
/// Bytes of `struct ifaddrmsg`, and its length.
const IFA_FLAGS_BYTE: usize = 2;
const IFA_INDEX: usize = 4;
const IFA_HEADER: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;

/// Something changed in the namespace; its present state must be looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A link appeared, or its name, MAC address, MTU or up state was set.
    Link {
        /// Interface index.
        index: u32,
        /// Name.
        name: String,
        /// MAC address now.
        mac: Option<Mac>,
        /// MTU now, in bytes.
        mtu: u32,
        /// True if it is up.
        up: bool,
    },
    /// A link is gone.
    LinkGone {
        /// Interface index.
        index: u32,
        /// Name.
        name: String,
    },
    /// A route appeared or went.
    Route {
        /// True if it is (was) of our protocol.
        ours: bool,
        /// True if it went.
        gone: bool,
        /// Its destination; everything, for a default route.
        destination: IpNet,
    },
    /// An address of the node appeared or went, or its flags changed.
    Address {
        /// Interface index.
        index: u32,
        /// The address.
        address: IpAddr,
        /// Its flags (`IFA_F_*`); `None` when it is gone.
        flags: Option<u32>,
    },
    /// A policy rule appeared or went.
    Rule,
    /// Somebody set forwarding or the reverse path filter of a device, or of devices to come; a new device announces
    /// its own.
    Conf(DeviceConf),
    /// Somebody removed a filter, or the qdisc with all filters, from an interface that stays, or attached a filter in
    /// another place than ours.
    Filters {
        /// Interface index.
        index: u32,
    },
    /// A filter appeared in our place: by the attachment of a pod, or because somebody put a filter of theirs there.
    FilterInPlace {
        /// Interface index.
        index: u32,
        /// The kernel's number of its program, where it is an eBPF one.
        program: Option<u32>,
    },
    /// Notifications were lost: look at everything.
    Lost,
}

/// A subscription to the changes of one network namespace.
#[derive(Debug)]
pub struct Watch {
    socket: Socket,
    marks: Marks,
    ready: VecDeque<Change>,
}

impl Watch {
    /// Subscribes in the calling thread's network namespace; changes from now on are kept until they are read. `marks`
    /// tell which objects are the caller's own.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn open(marks: Marks) -> Result<Self, LinkError> {
        let socket = Socket::subscribed(GROUPS)?;
        // A smaller queue is no error: what does not fit is reported as lost. Only root may exceed the machine's limit.
        let _ = set_socket_recv_buffer_size_force(&socket, QUEUE)
            .or_else(|_| set_socket_recv_buffer_size(&socket, QUEUE));
        Ok(Self { socket, marks, ready: VecDeque::new() })
    }

    /// The next change, or `None` after `timeout`; without one it waits for ever.
    ///
    /// # Errors
    /// The socket fails.
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Option<Change>, LinkError> {
        let end = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Ok(Some(change));
            }
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if !self.is_readable(left)? {
                return Ok(None);
            }
            self.read(RecvFlags::empty())?;
        }
    }

    /// The next change that is there already; `None` where there is none.
    ///
    /// # Errors
    /// The socket fails.
    pub fn pending(&mut self) -> Result<Option<Change>, LinkError> {
        while self.ready.is_empty() {
            match self.read(RecvFlags::DONTWAIT) {
                Err(error) if error.errno() == Some(libc::EAGAIN) => return Ok(None),
                other => other?,
            }
        }
        Ok(self.ready.pop_front())
    }

    /// Reads one datagram of notifications.
    fn read(&mut self, flags: RecvFlags) -> Result<(), LinkError> {
        match self.socket.receive_with("watch", flags) {
            Ok(replies) => {
                self.ready.extend(replies.iter().filter_map(|reply| change(reply, &self.marks)));
            }
            Err(error) if error.errno() == Some(libc::ENOBUFS) => self.ready.push_back(Change::Lost),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Waits until there is something to read; `false` when the time is over.
    fn is_readable(&self, timeout: Option<Duration>) -> Result<bool, LinkError> {
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        let mut waiting = [PollFd::new(&self.socket, PollFlags::IN)];
        match poll(&mut waiting, timeout.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(errno) => Err(LinkError::kernel("watch: poll", errno.raw_os_error())),
        }
    }
}

impl AsRawFd for Watch {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_fd().as_raw_fd()
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The change that a notification reports; `None` for one of no interest. A notification that cannot be read may have
/// reported anything.
fn change(reply: &Reply, marks: &Marks) -> Option<Change> {
    if reply.end.is_some() {
        return None;
    }
    if TRAFFIC_CONTROL.iter().any(|kinds| kinds.contains(&reply.kind)) {
        return filters(reply, marks.filter);
    }
    if reply.kind == RTM_NEWNETCONF {
        let tells = |conf: &DeviceConf| conf.forwarding.is_some() || conf.rp_filter.is_some();
        return netconf::parsed(reply).filter(tells).map(Change::Conf);
    }
    match reply.kind {
        RTM_DELNETCONF => return None,
        // Parsed by hand: a router that learns routes sends hundreds of thousands of them.
        RTM_NEWROUTE | RTM_DELROUTE => return Some(route(reply, marks).unwrap_or(Change::Lost)),
        RTM_NEWADDR | RTM_DELADDR => return Some(address(reply).unwrap_or(Change::Lost)),
        _ => {}
    }
    let Ok(message) = reply.decode("watch") else { return Some(Change::Lost) };
    match &message {
        RouteNetlinkMessage::NewLink(_) => parsed(&message).map(|link| Change::Link {
            index: link.index,
            name: link.name,
            mac: link.mac,
            mtu: link.mtu,
            up: link.up,
        }),
        RouteNetlinkMessage::DelLink(_) => {
            parsed(&message).map(|link| Change::LinkGone { index: link.index, name: link.name })
        }
        RouteNetlinkMessage::NewRule(_) | RouteNetlinkMessage::DelRule(_) => Some(Change::Rule),
        _ => None,
    }
}

/// Parsed by hand: qdiscs and filters have more forms than the decoder knows, and only kind and place matter. When an
/// interface goes, the kernel announces no filters.
fn filters(reply: &Reply, mark: FilterMark) -> Option<Change> {
    let word = |offset| u32_at(reply.body(), offset);
    let is_own = word(TC_HANDLE) == Some(mark.handle)
        && word(TC_INFO).is_some_and(|info| info >> 16 == u32::from(mark.priority));
    let index = word(TC_IFINDEX)?;
    match reply.kind {
        RTM_NEWTFILTER if is_own => Some(Change::FilterInPlace { index, program: program(reply) }),
        RTM_DELQDISC | RTM_DELTFILTER | RTM_NEWTFILTER => Some(Change::Filters { index }),
        _ => None,
    }
}

fn program(reply: &Reply) -> Option<u32> {
    let options = find(reply.body().get(TC_HEADER..)?, TCA_OPTIONS)?;
    u32_at(find(options, TCA_BPF_ID)?, 0)
}

/// Returns `None` if the message cannot be read. Routes of other families are of no interest.
fn route(reply: &Reply, marks: &Marks) -> Option<Change> {
    let (body, byte) = (reply.body(), |offset: usize| reply.body().get(offset).copied());
    let destination = match find(body.get(RTM_HEADER..)?, RTA_DST) {
        Some(bytes) => ip(bytes)?,
        None if i32::from(byte(RTM_FAMILY)?) == libc::AF_INET6 => Ipv6Addr::UNSPECIFIED.into(),
        None => Ipv4Addr::UNSPECIFIED.into(),
    };
    Some(Change::Route {
        ours: byte(RTM_PROTOCOL)? == marks.protocol,
        gone: reply.kind == RTM_DELROUTE,
        destination: IpNet::new(destination, byte(RTM_DST_LEN)?).ok()?,
    })
}

/// `None` where the message cannot be read.
fn address(reply: &Reply) -> Option<Change> {
    let body = reply.body();
    let attributes = body.get(IFA_HEADER..)?;
    // On a point-to-point link this address is the peer's.
    let own = find(attributes, IFA_LOCAL).or_else(|| find(attributes, IFA_ADDRESS))?;
    let short = body.get(IFA_FLAGS_BYTE).copied().map(u32::from);
    let flags = find(attributes, IFA_FLAGS).and_then(|bytes| u32_at(bytes, 0)).or(short)?;
    Some(Change::Address {
        index: u32_at(body, IFA_INDEX)?,
        address: ip(own)?,
        flags: (reply.kind == RTM_NEWADDR).then_some(flags),
    })
}

/// The address in an attribute, by its length.
fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        links::reply::replies,
        marks::Gateways,
        message::{attribute, message},
    };

    const MARKS: Marks = Marks {
        protocol: 150,
        alias_prefix: "naru1:",
        filter: FilterMark { priority: 5230, handle: 1 },
        gateways: Gateways { v4: Ipv4Addr::new(169, 254, 1, 1), v6: Ipv6Addr::LOCALHOST },
    };

    fn told(kind: u16, body: &[u8]) -> Option<Change> {
        let list = replies(&message(kind, 0, 0, body), "watch").unwrap();
        change(&list[0], &MARKS)
    }

    fn route_message(family: i32, length: u8, protocol: u8, destination: &[u8]) -> Vec<u8> {
        let header = [u8::try_from(family).unwrap(), length, 0, 0, 254, protocol, 0, 1, 0, 0, 0, 0];
        let attributes = if destination.is_empty() { Vec::new() } else { attribute(RTA_DST, destination) };
        [header.to_vec(), attribute(8, &[1; 64]), attributes].concat()
    }

    #[test]
    fn a_route_is_told_with_its_destination_and_whose_it_is() {
        let v4 = route_message(libc::AF_INET, 24, 12, &[21, 1, 2, 0]);
        let destination = "21.1.2.0/24".parse().unwrap();
        assert_eq!(told(RTM_NEWROUTE, &v4), Some(Change::Route { ours: false, gone: false, destination }));
        let v6 = route_message(libc::AF_INET6, 128, 150, &[0xfd; 16]);
        let destination = IpNet::from(IpAddr::from([0xfd; 16]));
        assert_eq!(told(RTM_DELROUTE, &v6), Some(Change::Route { ours: true, gone: true, destination }));
        let default = route_message(libc::AF_INET6, 0, 9, &[]);
        let destination = "::/0".parse().unwrap();
        assert_eq!(
            told(RTM_NEWROUTE, &default),
            Some(Change::Route { ours: false, gone: false, destination })
        );
    }

    #[test]
    fn an_address_is_told_with_its_long_flags() {
        let header = [u8::try_from(libc::AF_INET6).unwrap(), 64, 0x80, 0, 7, 0, 0, 0];
        let attributes =
            [attribute(IFA_ADDRESS, &[0xfd; 16]), attribute(IFA_FLAGS, &0x240_u32.to_ne_bytes())];
        let body = [header.to_vec(), attributes.concat()].concat();
        let (index, address) = (7, IpAddr::from([0xfd; 16]));
        assert_eq!(told(RTM_NEWADDR, &body), Some(Change::Address { index, address, flags: Some(0x240) }));
        assert_eq!(told(RTM_DELADDR, &body), Some(Change::Address { index, address, flags: None }));
    }

    #[test]
    fn a_message_that_is_cut_anywhere_may_have_told_anything() {
        let whole = route_message(libc::AF_INET, 24, 12, &[21, 1, 2, 0]);
        for length in 0..RTM_HEADER {
            assert_eq!(told(RTM_NEWROUTE, &whole[..length]), Some(Change::Lost), "{length}");
        }
        assert_eq!(told(RTM_NEWADDR, &[2, 24, 0, 0, 7, 0, 0, 0]), Some(Change::Lost));
    }
}
