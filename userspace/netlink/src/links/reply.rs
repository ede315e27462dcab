//! Splits the kernel's datagrams into messages, by hand, so that the text of an extended acknowledgement is kept.

use netlink_packet_core::{NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;

use super::LinkError;
use crate::Errno;
use crate::message::{DONE, ERROR, HEADER, error_number, find, u16_at, u32_at};

/// `NLM_F_ACK_TLVS`: attributes follow the acknowledgement.
const HAS_ATTRIBUTES: u16 = 0x200;
/// `NLMSGERR_ATTR_MSG`: the reason in words.
const REASON: u16 = 1;

/// One message from the kernel.
#[derive(Clone)]
pub struct Reply {
    /// Type of the message, `NLMSG_*` or `RTM_*`.
    pub kind: u16,
    /// Number of the request it answers, 0 for a notification.
    pub sequence: u32,
    /// `NLM_F_*`.
    pub flags: u16,
    /// Set when it ends the answer to its request.
    pub end: Option<End>,
    bytes: Vec<u8>,
}

/// The end of an answer.
#[derive(Clone)]
pub struct End {
    /// 0 for success.
    pub errno: i32,
    /// The kernel's reason in words, where it gives one.
    reason: Option<String>,
}

impl End {
    /// The refusal as an error.
    pub fn error(self, what: &str) -> LinkError {
        let what = match self.reason {
            Some(reason) => format!("{what}: {}", reason.trim_end_matches('.').to_lowercase()),
            None => what.to_owned(),
        };
        LinkError::Kernel { what, errno: Errno(self.errno) }
    }
}

impl Reply {
    /// The bytes behind the header.
    pub fn body(&self) -> &[u8] {
        self.bytes.get(HEADER..).unwrap_or_default()
    }

    /// The message itself.
    pub fn decode(&self, what: &str) -> Result<RouteNetlinkMessage, LinkError> {
        let unexpected = |detail: String| LinkError::Answer { what: what.to_owned(), detail };
        let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&self.bytes);
        match message.map_err(|error| unexpected(error.to_string()))?.payload {
            NetlinkPayload::InnerMessage(message) => Ok(message),
            other => Err(unexpected(format!("message type {}", other.message_type()))),
        }
    }
}

/// The messages of one datagram.
pub fn replies(bytes: &[u8], what: &str) -> Result<Vec<Reply>, LinkError> {
    let mut list = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let length = u32_at(rest, 0).map_or(0, |length| length as usize);
        let message = rest.get(..length).filter(|message| message.len() >= HEADER);
        let message = message.ok_or_else(|| LinkError::Answer {
            what: what.to_owned(),
            detail: format!("message of {length} bytes in {}", rest.len()),
        })?;
        list.push(reply(message));
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(list)
}

/// One message, at least a header long.
fn reply(message: &[u8]) -> Reply {
    let (kind, flags) = (u16_at(message, 4).unwrap_or(0), u16_at(message, 6).unwrap_or(0));
    let end = matches!(kind, ERROR | DONE).then(|| End {
        errno: error_number(message),
        reason: (flags & HAS_ATTRIBUTES != 0).then(|| reason(message, kind)).flatten(),
    });
    Reply { kind, sequence: u32_at(message, 8).unwrap_or(0), flags, end, bytes: message.to_vec() }
}

/// The words among the attributes, which follow the number and, in an error, the header of the request
/// (`NETLINK_CAP_ACK` keeps the request's content out).
fn reason(message: &[u8], kind: u16) -> Option<String> {
    let start = HEADER + 4 + if kind == ERROR { HEADER } else { 0 };
    let text = find(message.get(start..)?, REASON)?;
    Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message;

    fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
        message::message(kind, flags, 7, body)
    }

    fn refusal(number: i32, words: &str) -> Vec<u8> {
        let mut body = (-number).to_ne_bytes().to_vec();
        body.extend([0; 16]);
        body.extend(message::attribute(REASON, &[words.as_bytes(), b"\0"].concat()));
        message(2, 0x200, &body)
    }

    #[test]
    fn a_refusal_carries_the_kernels_words_in_lower_case() {
        let mut list = replies(&refusal(22, "Nexthop has invalid gateway."), "route").unwrap();
        let end = list.pop().unwrap().end.unwrap();
        assert_eq!(
            end.error("route 10.0.0.0/8: add").to_string(),
            "route 10.0.0.0/8: add: nexthop has invalid gateway: invalid argument"
        );
    }

    #[test]
    fn an_acknowledgement_is_the_end_without_an_error() {
        let list = replies(&message(2, 0, &[0; 20]), "x").unwrap();
        assert_eq!(list[0].end.as_ref().unwrap().errno, 0);
        assert_eq!(list[0].sequence, 7);
    }

    #[test]
    fn a_datagram_cut_anywhere_is_an_error_or_ends_early_but_never_panics() {
        let whole = [message(24, 2, &[1; 12]), refusal(1, "No"), message(3, 2, &[0; 4])].concat();
        for length in 0..whole.len() {
            if let Ok(list) = replies(&whole[..length], "x") {
                assert!(list.len() < 3);
                assert!(list.iter().all(|reply| reply.end.is_some() || reply.decode("x").is_ok()));
            }
        }
        assert_eq!(replies(&whole, "x").unwrap().len(), 3);
    }
}
