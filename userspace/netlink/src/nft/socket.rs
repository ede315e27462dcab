use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind,
        netlink::{NETFILTER, SocketAddrNetlink},
        recv, send, socket_with,
    },
};

use super::{
    Batch, NftError,
    attribute::{find, number},
    message::{DONE, ERROR, HEADER, NftRequest, Reply, kind, replies},
};

/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `NLM_F_DUMP`.
const DUMP: u16 = 0x300;
/// `NLM_F_DUMP_INTR`: the list changed while it was read.
const DUMP_TORN: u16 = 0x10;
/// `NLM_F_CAPPED`: an error does not repeat the content of its request.
const CAPPED: u16 = 0x100;
/// `NLM_F_ACK_TLVS`: attributes follow an error.
const HAS_ATTRIBUTES: u16 = 0x200;
/// `NLMSGERR_ATTR_MSG`: the reason in words.
const REASON: u16 = 1;
/// `NFTA_GEN_ID`.
const GENERATION: u16 = 1;
/// The kernel's largest answer to a dump: it fills what the reader offers, up to 32 KiB.
const BUFFER: usize = 32 * 1024;
/// Limit of attempts to read a list that changes while it is read.
pub(super) const ATTEMPTS: usize = 20;
/// Bytes of a batch that a socket's send buffer takes by default, with room to spare.
const USUAL_BATCH: usize = 64 * 1024;

/// A blocking socket to nf_tables.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// One object of the kernel's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Object {
    /// Number of the family.
    pub family: u8,
    /// Its description.
    pub attributes: Vec<u8>,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn open() -> Result<Self, NftError> {
        Self::subscribed(0)
    }

    /// Opens a socket that receives the notifications of these groups too.
    pub(super) fn subscribed(groups: u32) -> Result<Self, NftError> {
        let failed = |errno| NftError::new("nf_tables socket", errno);
        let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
        let fd = socket_with(family, kind, SocketFlags::CLOEXEC, Some(NETFILTER)).map_err(failed)?;
        bind(&fd, &SocketAddrNetlink::new(0, groups)).map_err(failed)?;
        // A kernel that refuses these options gives errors without text.
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK] {
            set(&fd, libc::SOL_NETLINK, option, 1);
        }
        Ok(Self { fd, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// Returns the generation of the rules; every transaction in this network namespace, by whomever, advances it.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn generation(&mut self) -> Result<u32, NftError> {
        let what = "nf_tables generation".to_owned();
        let attributes = super::Attributes::new();
        let request = NftRequest { kind: kind::GET_GENERATION, flags: 0, family: None, attributes, what };
        let object = self.ask(&request)?;
        let found = number(&object.attributes, GENERATION);
        found.ok_or_else(|| NftError::unexpected(&request.what, "it has no number"))
    }

    /// Asks for one object.
    pub(super) fn ask(&mut self, request: &NftRequest) -> Result<Object, NftError> {
        let sequence = self.next_sequence();
        self.send(&request.encode(REQUEST, sequence), &request.what)?;
        loop {
            let datagram = self.receive(RecvFlags::empty(), &request.what)?;
            let replies = replies(datagram, &request.what)?;
            if let Some(reply) = replies.into_iter().find(|reply| reply.sequence == sequence) {
                refusal(&reply, &request.what)?;
                return Ok(Object { family: reply.family(), attributes: reply.attributes().to_vec() });
            }
        }
    }

    /// Lists all objects that the request asks for.
    pub(super) fn dump(&mut self, request: &NftRequest) -> Result<Vec<Object>, NftError> {
        for _ in 0..ATTEMPTS {
            match self.dump_once(request) {
                Err(error) if error.is_torn() => {}
                done => return done,
            }
        }
        Err(NftError::new(
            format!("{}: changed {ATTEMPTS} times while it was read", request.what),
            Errno::INTR,
        ))
    }

    fn dump_once(&mut self, request: &NftRequest) -> Result<Vec<Object>, NftError> {
        let sequence = self.next_sequence();
        self.send(&request.encode(REQUEST | DUMP, sequence), &request.what)?;
        let (mut list, mut torn) = (Vec::new(), false);
        loop {
            let datagram = self.receive(RecvFlags::empty(), &request.what)?;
            for reply in replies(datagram, &request.what)? {
                if reply.sequence != sequence {
                    continue;
                }
                torn |= reply.flags & DUMP_TORN != 0;
                match reply.kind {
                    DONE | ERROR => {
                        refusal(&reply, &request.what)?;
                        let whole = || NftError::new(request.what.as_str(), Errno::INTR);
                        return if torn { Err(whole()) } else { Ok(list) };
                    }
                    _ => {
                        list.push(Object { family: reply.family(), attributes: reply.attributes().to_vec() })
                    }
                }
            }
        }
    }

    /// Makes all changes of the batch at once or none of them. With a generation nothing is changed if the rules are
    /// not at that generation any more ([`NftError::is_outdated`]).
    ///
    /// # Errors
    /// The kernel refuses; the error names the first change that it refused.
    pub fn commit(&mut self, batch: &Batch, generation: Option<u32>) -> Result<(), NftError> {
        let Some(last) = batch.changes().len().checked_sub(1) else { return Ok(()) };
        let begin = self.next_sequence();
        let bytes = batch.encode(begin, generation);
        self.sequence = begin.wrapping_add(u32::try_from(last).unwrap_or(u32::MAX)).wrapping_add(2);
        if bytes.len() > USUAL_BATCH {
            // Sent as one datagram, which must fit the buffer.
            let size = i32::try_from(bytes.len() * 2).unwrap_or(i32::MAX);
            set(&self.fd, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, size);
        }
        let transaction = "nf_tables transaction";
        self.send(&bytes, transaction)?;
        // The kernel processes a batch within the call that sends it, so every answer is there already.
        loop {
            let datagram = match self.receive(RecvFlags::DONTWAIT, transaction) {
                Err(error) if error.is(Errno::AGAIN) => {
                    return Err(NftError::unexpected(transaction, "it was not acknowledged"));
                }
                received => received?,
            };
            for reply in replies(datagram, transaction)? {
                let change = reply.sequence.wrapping_sub(begin).wrapping_sub(1) as usize;
                if reply.sequence == begin {
                    refusal(&reply, transaction)?;
                } else if let Some(change_of) = batch.changes().get(change) {
                    refusal(&reply, &change_of.what)?;
                    if change == last {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn send(&self, bytes: &[u8], what: &str) -> Result<(), NftError> {
        rustix::io::retry_on_intr(|| send(&self.fd, bytes, SendFlags::empty()))
            .map(drop)
            .map_err(|errno| NftError::new(format!("{what}: send"), errno))
    }

    /// Reads one datagram.
    pub(super) fn receive(&mut self, flags: RecvFlags, what: &str) -> Result<&[u8], NftError> {
        let flags = flags | RecvFlags::TRUNC;
        let received = rustix::io::retry_on_intr(|| recv(&self.fd, self.buffer.as_mut_slice(), flags));
        let (_, length) = received.map_err(|errno| NftError::new(what, errno))?;
        self.buffer.get(..length).ok_or_else(|| NftError::new(what, Errno::MSGSIZE))
    }

    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }
}

/// Returns the error of a reply, if it is an error and not just "done".
fn refusal(reply: &Reply<'_>, what: &str) -> Result<(), NftError> {
    if !matches!(reply.kind, ERROR | DONE) {
        return Ok(());
    }
    let number = reply.body.get(..4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match number {
        Some(0) => Ok(()),
        Some(number) => {
            let words = reason(reply).map_or_else(|| what.to_owned(), |reason| format!("{what}: {reason}"));
            Err(NftError::new(words, Errno::from_raw_os_error(number.wrapping_neg())))
        }
        None => Err(NftError::unexpected(what, "an error without its number")),
    }
}

/// The kernel's own words, which follow the number and, in an error, the request.
fn reason(reply: &Reply<'_>) -> Option<String> {
    if reply.flags & HAS_ATTRIBUTES == 0 {
        return None;
    }
    let mut start = 4;
    if reply.kind == ERROR {
        let length: [u8; 4] = reply.body.get(4..8)?.try_into().ok()?;
        let is_capped = reply.flags & CAPPED != 0;
        start += if is_capped { HEADER } else { (u32::from_ne_bytes(length) as usize).next_multiple_of(4) };
    }
    let text = String::from_utf8_lossy(find(reply.body.get(start..)?, REASON)?).into_owned();
    Some(text.trim_end_matches(['\0', '.']).to_lowercase())
}

/// Sets a socket option where the kernel and our rights allow it.
fn set(socket: &impl AsFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) {
    // SAFETY: the value outlives the call and its size is the one given; a failure leaves the socket as it was.
    unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nft::{Attributes, message::encode};

    fn error(number: i32, request: &[u8], words: Option<&str>, flags: u16) -> Vec<u8> {
        let mut body = request.to_vec();
        if let Some(words) = words {
            body.extend(Attributes::new().text(REASON, words).as_bytes());
        }
        let mut message = encode(ERROR, flags, 1, (-number).to_ne_bytes(), &Attributes::new());
        message.extend(&body);
        let length = u32::try_from(message.len()).unwrap();
        message[..4].copy_from_slice(&length.to_ne_bytes());
        message
    }

    fn refused(message: &[u8]) -> Result<(), NftError> {
        refusal(&replies(message, "x").unwrap()[0], "chain forward: add")
    }

    #[test]
    fn a_refusal_has_the_kernels_words_whether_it_repeats_the_request_or_not() {
        let request = encode(0xa03, 1, 1, [0; 4], &Attributes::new().text(1, "naru"));
        let capped = error(17, &request[..HEADER], Some("Chain exists."), HAS_ATTRIBUTES | CAPPED);
        let whole = error(17, &request, Some("Chain exists."), HAS_ATTRIBUTES);
        for message in [capped, whole] {
            let error = refused(&message).unwrap_err();
            assert_eq!(error.what, "chain forward: add: chain exists");
            assert_eq!(error.source.raw_os_error(), Some(17));
        }
    }

    #[test]
    fn an_acknowledgement_is_no_refusal_and_an_error_without_its_number_is_one() {
        assert!(refused(&error(0, &[0; 16], None, 0)).is_ok());
        let cut = encode(ERROR, 0, 1, [0; 4], &Attributes::new());
        let reply = Reply { body: &cut[HEADER..HEADER + 2], ..replies(&cut, "x").unwrap()[0] };
        assert!(refusal(&reply, "x").unwrap_err().to_string().contains("an error without its number"));
    }
}
