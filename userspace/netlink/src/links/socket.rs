use std::{
    collections::HashMap,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink::SocketAddrNetlink};

use super::{
    LinkError,
    reply::{Reply, replies},
};
use crate::message;

/// Requests sent at once: their acknowledgements must fit the socket's receive buffer.
const BATCH: usize = 64;
/// The kernel's largest answer to a dump (`NLMSG_GOODSIZE` grows to what the reader offers, up to 32 KiB).
const BUFFER: usize = 32 * 1024;
/// Number of times that a dump is read again if it changed while it was read.
const DUMP_ATTEMPTS: usize = 10;

/// A message as it is made.
enum Body {
    Typed(RouteNetlinkMessage),
    /// Type and content of one that the library has no type for.
    Raw(u16, Vec<u8>),
}

/// One change or question, with the words that name it in an error.
pub struct LinkRequest {
    /// The message.
    body: Body,
    /// `NLM_F_*` beyond request and acknowledgement.
    pub flags: u16,
    /// Object and action.
    pub what: String,
}

impl LinkRequest {
    /// A request without further flags.
    pub fn new(message: RouteNetlinkMessage, what: impl Into<String>) -> Self {
        Self { body: Body::Typed(message), flags: 0, what: what.into() }
    }

    /// A request of that type with this content.
    pub fn raw(kind: u16, content: Vec<u8>, what: impl Into<String>) -> Self {
        Self { body: Body::Raw(kind, content), flags: 0, what: what.into() }
    }

    /// The same with `flags` added.
    pub fn with(mut self, flags: u16) -> Self {
        self.flags |= flags;
        self
    }
}

/// The kernel's answer to one request, if the request was a question.
pub type LinkAnswer = Result<Option<Reply>, LinkError>;

/// A blocking rtnetlink socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// A socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, LinkError> {
        Self::subscribed(0)
    }

    /// Opens a socket that also receives the notifications of these groups (`RTMGRP_*`).
    pub fn subscribed(groups: u32) -> Result<Self, LinkError> {
        let failed = |errno: rustix::io::Errno| LinkError::kernel("netlink socket", errno.raw_os_error());
        let fd =
            // Protocol 0 of this family is NETLINK_ROUTE.
            rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)
                .map_err(failed)?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, groups)).map_err(failed)?;
        // An older kernel does not know these options: errors then carry no text, and dumps are filtered here.
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK, libc::NETLINK_GET_STRICT_CHK] {
            switch_on(fd.as_fd(), option);
        }
        Ok(Self { fd, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// Sends the requests, in as few system calls as possible. Returns the kernel's answers in their order. A refused
    /// request does not stop the later ones.
    pub fn exchange(&mut self, requests: Vec<LinkRequest>) -> Result<Vec<LinkAnswer>, LinkError> {
        let mut outcomes = Vec::with_capacity(requests.len());
        let mut requests = requests.into_iter().peekable();
        while requests.peek().is_some() {
            let batch: Vec<LinkRequest> = requests.by_ref().take(BATCH).collect();
            outcomes.append(&mut self.exchange_batch(batch)?);
        }
        Ok(outcomes)
    }

    /// Sends one request.
    pub fn ask(&mut self, request: LinkRequest) -> LinkAnswer {
        self.exchange(vec![request])?.pop().unwrap_or(Ok(None))
    }

    /// Sends the requests. The result is the first refusal, after all were tried.
    pub fn apply(&mut self, requests: Vec<LinkRequest>) -> Result<(), LinkError> {
        self.exchange(requests)?.into_iter().try_for_each(|outcome| outcome.map(drop))
    }

    /// The results of `take` for everything that the kernel lists for `message`, one after the other: of a long list
    /// nothing else is kept. A list that changed while it was read is read again, starting from `T`'s default.
    pub fn dump<T: Default>(
        &mut self,
        message: &RouteNetlinkMessage,
        what: &str,
        take: impl FnMut(&mut T, &Reply) -> Result<(), LinkError>,
    ) -> Result<T, LinkError> {
        let encoded = |sequence| encode(Body::Typed(message.clone()), NLM_F_REQUEST | NLM_F_DUMP, sequence);
        self.dump_whole(encoded, what, take)
    }

    /// [`Socket::dump`] of a family that the decoder does not know: a question of that type with this body.
    pub fn dump_bytes(&mut self, kind: u16, body: &[u8], what: &str) -> Result<Vec<Reply>, LinkError> {
        let encoded = |sequence| message::message(kind, NLM_F_REQUEST | NLM_F_DUMP, sequence, body);
        self.dump_whole(encoded, what, |all: &mut Vec<Reply>, reply| {
            all.push(reply.clone());
            Ok(())
        })
    }

    /// Repeats the dump until the list does not change meanwhile.
    fn dump_whole<T: Default>(
        &mut self,
        encoded: impl Fn(u32) -> Vec<u8>,
        what: &str,
        mut take: impl FnMut(&mut T, &Reply) -> Result<(), LinkError>,
    ) -> Result<T, LinkError> {
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(all) = self.dump_once(&encoded, what, &mut take)? {
                return Ok(all);
            }
        }
        Err(LinkError::kernel(what, libc::EINTR))
    }

    /// One pass of a dump; `None` when the list changed under it.
    fn dump_once<T: Default>(
        &mut self,
        encoded: impl Fn(u32) -> Vec<u8>,
        what: &str,
        take: &mut impl FnMut(&mut T, &Reply) -> Result<(), LinkError>,
    ) -> Result<Option<T>, LinkError> {
        let sequence = self.next_sequence();
        self.send(&encoded(sequence), what)?;
        // A message that cannot be read does not end the dump: the kernel starts no other dump on this socket before
        // the last message.
        let (mut all, mut torn, mut failed) = (T::default(), false, Ok(()));
        loop {
            for reply in self.receive(what)? {
                if reply.sequence != sequence {
                    continue;
                }
                torn |= reply.flags & NLM_F_DUMP_INTR != 0;
                match reply.end {
                    Some(end) if end.errno == 0 => return failed.map(|()| (!torn).then_some(all)),
                    Some(end) => return Err(end.error(what)),
                    None if failed.is_ok() => failed = take(&mut all, &reply),
                    None => {}
                }
            }
        }
    }

    /// [`Socket::exchange`] for as many requests as are sent at once.
    fn exchange_batch(&mut self, batch: Vec<LinkRequest>) -> Result<Vec<LinkAnswer>, LinkError> {
        let first = self.sequence.wrapping_add(1);
        let mut names = Vec::with_capacity(batch.len());
        let mut bytes = Vec::new();
        for LinkRequest { body, flags, what } in batch {
            let sequence = self.next_sequence();
            bytes.append(&mut encode(body, NLM_F_REQUEST | NLM_F_ACK | flags, sequence));
            names.push(what);
        }
        self.send(&bytes, names.first().map_or("netlink", String::as_str))?;
        self.collect(first, &names)
    }

    /// Reads until every request from `first` on is acknowledged.
    fn collect(&mut self, first: u32, names: &[String]) -> Result<Vec<LinkAnswer>, LinkError> {
        let mut answers = HashMap::new();
        let mut outcomes: Vec<Option<LinkAnswer>> = names.iter().map(|_| None).collect();
        let mut open = names.len();
        while open > 0 {
            for reply in self.receive(names.first().map_or("netlink", String::as_str))? {
                let position = reply.sequence.wrapping_sub(first) as usize;
                let (Some(what), Some(outcome)) = (names.get(position), outcomes.get_mut(position)) else {
                    continue;
                };
                match reply.end {
                    None => drop(answers.insert(position, reply)),
                    Some(end) if end.errno == 0 => {
                        open -= usize::from(outcome.replace(Ok(answers.remove(&position))).is_none());
                    }
                    Some(end) => open -= usize::from(outcome.replace(Err(end.error(what))).is_none()),
                }
            }
        }
        Ok(outcomes.into_iter().flatten().collect())
    }

    /// Sends the whole buffer as one datagram.
    fn send(&self, bytes: &[u8], what: &str) -> Result<(), LinkError> {
        rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, bytes, SendFlags::empty()))
            .map(drop)
            .map_err(|errno| LinkError::kernel(format!("{what}: send"), errno.raw_os_error()))
    }

    /// The messages of the next datagram.
    pub fn receive(&mut self, what: &str) -> Result<Vec<Reply>, LinkError> {
        self.receive_with(what, RecvFlags::empty())
    }

    /// The same with `MSG_*` flags.
    pub fn receive_with(&mut self, what: &str, flags: RecvFlags) -> Result<Vec<Reply>, LinkError> {
        let refused = |errno: i32| LinkError::kernel(format!("{what}: receive"), errno);
        let (_, length) = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), flags | RecvFlags::TRUNC)
        })
        .map_err(|errno| refused(errno.raw_os_error()))?;
        let bytes = self.buffer.get(..length).ok_or_else(|| refused(libc::EMSGSIZE))?;
        replies(bytes, what)
    }

    /// The next number of a request.
    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The message as bytes, padded to the next message.
fn encode(body: Body, flags: u16, sequence: u32) -> Vec<u8> {
    let message = match body {
        Body::Typed(message) => message,
        Body::Raw(kind, content) => return message::message(kind, flags, sequence, &content),
    };
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    header.sequence_number = sequence;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len().next_multiple_of(4)];
    message.serialize(&mut bytes);
    bytes
}

/// Switches a netlink socket option on, where the kernel knows it.
fn switch_on(socket: BorrowedFd<'_>, option: libc::c_int) {
    let one: libc::c_int = 1;
    // SAFETY: the value outlives the call and its size is the one given; a failure leaves the socket as it was.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const one).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}
