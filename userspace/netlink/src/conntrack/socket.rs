use std::os::fd::OwnedFd;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
    netlink::{NETFILTER, SocketAddrNetlink},
};

use super::message::Message;
use crate::{
    links::{LinkError, reply::replies},
    message,
};

/// Requests sent at once: their answers must fit the socket's receive buffer.
const BATCH: usize = 64;
/// The kernel's largest answer to a dump.
const BUFFER: usize = 32 * 1024;

/// The kernel's answer to one request: the body, if the request was a question.
pub(super) type ConntrackAnswer = Result<Option<Vec<u8>>, LinkError>;

/// A blocking socket to netfilter.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// A socket in the calling thread's network namespace.
    pub(super) fn open() -> Result<Self, LinkError> {
        let failed = |errno: rustix::io::Errno| LinkError::kernel("netfilter socket", errno.raw_os_error());
        let (family, protocol) = (AddressFamily::NETLINK, Some(NETFILTER));
        let fd = rustix::net::socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, protocol)
            .map_err(failed)?;
        rustix::net::bind(&fd, &SocketAddrNetlink::new(0, 0)).map_err(failed)?;
        Ok(Self { fd, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// Sends the requests. Returns the kernel's answers in their order.
    pub(super) fn exchange(
        &mut self,
        requests: Vec<Message>,
        what: &str,
    ) -> Result<Vec<ConntrackAnswer>, LinkError> {
        let mut outcomes = Vec::with_capacity(requests.len());
        for batch in requests.chunks(BATCH) {
            self.exchange_batch(batch, what, &mut outcomes)?;
        }
        Ok(outcomes)
    }

    fn exchange_batch(
        &mut self,
        batch: &[Message],
        what: &str,
        outcomes: &mut Vec<ConntrackAnswer>,
    ) -> Result<(), LinkError> {
        let first = self.sequence.wrapping_add(1);
        let bytes: Vec<u8> =
            batch.iter().flat_map(|message| self.encode(message, NLM_F_REQUEST | NLM_F_ACK)).collect();
        self.send(&bytes, what)?;
        let mut answers: Vec<Option<Vec<u8>>> = vec![None; batch.len()];
        let mut ends: Vec<Option<ConntrackAnswer>> = batch.iter().map(|_| None).collect();
        while ends.iter().any(Option::is_none) {
            for reply in replies(self.receive(what)?, what)? {
                let position = reply.sequence.wrapping_sub(first) as usize;
                let (Some(answer), Some(end)) = (answers.get_mut(position), ends.get_mut(position)) else {
                    continue;
                };
                match reply.end {
                    None => *answer = Some(reply.body().to_vec()),
                    Some(said) if said.errno == 0 => *end = Some(Ok(answer.take())),
                    Some(said) => *end = Some(Err(said.error(what))),
                }
            }
        }
        outcomes.extend(ends.into_iter().flatten());
        Ok(())
    }

    /// The results of `take` for everything that the kernel lists for `message`. Objects that come or go meanwhile
    /// may be missing.
    pub(super) fn dump<T>(
        &mut self,
        message: &Message,
        what: &str,
        mut take: impl FnMut(&[u8]) -> Option<T>,
    ) -> Result<Vec<T>, LinkError> {
        let bytes = self.encode(message, NLM_F_REQUEST | NLM_F_DUMP);
        self.send(&bytes, what)?;
        let mut taken = Vec::new();
        loop {
            for reply in replies(self.receive(what)?, what)? {
                match reply.end {
                    _ if reply.sequence != self.sequence => {}
                    None => taken.extend(take(reply.body())),
                    Some(end) if end.errno == 0 => return Ok(taken),
                    Some(end) => return Err(end.error(what)),
                }
            }
        }
    }

    fn encode(&mut self, message: &Message, flags: u16) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        message::message(message.kind, flags, self.sequence, &message.body)
    }

    fn send(&self, bytes: &[u8], what: &str) -> Result<(), LinkError> {
        rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, bytes, SendFlags::empty()))
            .map(drop)
            .map_err(|errno| LinkError::kernel(format!("{what}: send"), errno.raw_os_error()))
    }

    /// The next datagram.
    fn receive(&mut self, what: &str) -> Result<&[u8], LinkError> {
        let refused = |errno: i32| LinkError::kernel(format!("{what}: receive"), errno);
        let (_, length) = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::TRUNC)
        })
        .map_err(|errno| refused(errno.raw_os_error()))?;
        self.buffer.get(..length).ok_or_else(|| refused(libc::EMSGSIZE))
    }
}
