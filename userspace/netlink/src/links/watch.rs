use std::{
    collections::VecDeque,
    ops::RangeInclusive,
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use netlink_packet_route::{
    RouteNetlinkMessage,
    route::{RouteMessage, RouteProtocol},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

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

/// Something changed in the namespace; what it is now must be looked up.
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
        /// Whether it is up.
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
        /// Whether it is (was) of our protocol.
        ours: bool,
        /// Whether it went.
        gone: bool,
    },
    /// An address of the node appeared or went.
    Address {
        /// Interface index.
        index: u32,
    },
    /// A policy rule appeared or went.
    Rule,
    /// Somebody set forwarding or the reverse path filter, of a device or of those to come; a new device tells its own.
    Conf(DeviceConf),
    /// Somebody took a filter, or the qdisc with all of them, off an interface that stays, or attached one that is not
    /// where ours are.
    Filters {
        /// Interface index.
        index: u32,
    },
    /// A filter appeared where ours are: with every pod that is attached, or as somebody put theirs in its place.
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
        Ok(Self { socket: Socket::subscribed(GROUPS)?, marks, ready: VecDeque::new() })
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
            self.read()?;
        }
    }

    /// Reads one datagram of notifications.
    fn read(&mut self) -> Result<(), LinkError> {
        match self.socket.receive("watch") {
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

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What a notification tells; `None` for one of no interest. One that cannot be read may have told anything.
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
    if reply.kind == RTM_DELNETCONF {
        return None;
    }
    let Ok(message) = reply.decode("watch") else { return Some(Change::Lost) };
    match &message {
        RouteNetlinkMessage::NewLink(_) => parsed(&message).map(|link| Change::Link {
            index: link.index,
            name: link.name,
            mac: link.mac,
            up: link.up,
        }),
        RouteNetlinkMessage::DelLink(_) => {
            parsed(&message).map(|link| Change::LinkGone { index: link.index, name: link.name })
        }
        RouteNetlinkMessage::NewRoute(route) => {
            Some(Change::Route { ours: is_of(route, marks), gone: false })
        }
        RouteNetlinkMessage::DelRoute(route) => Some(Change::Route { ours: is_of(route, marks), gone: true }),
        RouteNetlinkMessage::NewAddress(message) | RouteNetlinkMessage::DelAddress(message) => {
            Some(Change::Address { index: message.header.index })
        }
        RouteNetlinkMessage::NewRule(_) | RouteNetlinkMessage::DelRule(_) => Some(Change::Rule),
        _ => None,
    }
}

/// Qdiscs and filters have more forms than the decoder knows; what and where is all we ask. Of an interface that goes the
/// kernel announces no filters.
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

/// Whether the route is the caller's own.
fn is_of(route: &RouteMessage, marks: &Marks) -> bool {
    route.header.protocol == RouteProtocol::Other(marks.protocol)
}
