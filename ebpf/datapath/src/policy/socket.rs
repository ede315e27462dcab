//! The pod's own TCP socket: it knows its connection as long as that lives, and no flood pushes it out.

use core::ptr;

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock, bpf_sock_tuple},
    helpers::{bpf_sk_fullsock, bpf_sk_release, bpf_sk_storage_get, bpf_skc_lookup_tcp},
};
use naru_abi::{Destination, Opener, PolicyScratch, SocketNote};

use super::EGRESS;
use crate::maps::{policies, routes};

/// Results of [`opener`] beside the numbers of [`Opener`]: the pod has no such connection,
pub const NONE: u32 = 0;
/// or one that is over, and is only kept for its last packets.
pub const CLOSING: u32 = 4;

/// States of a socket (`include/net/tcp_states.h`).
const SYN_SENT: u32 = 2;
const TIME_WAIT: u32 = 6;
const LISTEN: u32 = 10;
const NEW_SYN_RECV: u32 = 12;

/// `BPF_SK_STORAGE_GET_F_CREATE`.
const CREATE: u64 = 1;
/// Bytes of a `struct bpf_sock_tuple` of either family.
const TUPLE_V4: u32 = 12;
const TUPLE_V6: u32 = 36;

/// Whoever opened the TCP connection of `scratch.flow`, by the pod's socket. Where that has no note yet, `known` says
/// it, if it is not 0. A function of its own, for a stack of its own.
#[inline(never)]
pub fn opener(skb: *mut __sk_buff, scratch: &mut PolicyScratch, known: u32) -> u32 {
    if scratch.netns == 0 {
        return NONE;
    }
    let socket = find(skb, scratch, false);
    if socket.is_null() {
        return NONE;
    }
    // SAFETY: the socket is there until it is released.
    let state = unsafe { (*socket).state };
    let full = unsafe { bpf_sk_fullsock(socket) };
    let opener = match state {
        LISTEN => NONE,
        TIME_WAIT => CLOSING,
        NEW_SYN_RECV => Opener::Peer as u32,
        _ if full.is_null() => NONE,
        _ => noted(skb, scratch, full, state, known),
    };
    // SAFETY: as above; nobody uses it any more.
    unsafe { bpf_sk_release(socket.cast()) };
    opener
}

/// By the note that the kernel keeps with the socket; a missing one is made.
#[inline(always)]
fn noted(
    skb: *mut __sk_buff,
    scratch: &mut PolicyScratch,
    socket: *mut bpf_sock,
    state: u32,
    known: u32,
) -> u32 {
    // SAFETY: the helper returns the note of this socket, or null.
    let note: *mut SocketNote =
        unsafe { bpf_sk_storage_get(policies::sockets(), socket.cast(), ptr::null_mut(), CREATE).cast() };
    if note.is_null() {
        return if known == 0 { guess(skb, scratch, state) } else { known };
    }
    // SAFETY: as above.
    let opener = unsafe { (*note).opener };
    if opener != 0 {
        return opener;
    }
    let opener = if known == 0 { guess(skb, scratch, state) } else { known };
    // SAFETY: as above.
    unsafe { (*note).opener = opener };
    opener
}

/// Of a connection that is older than the pod's isolation: where the pod listens on its port, somebody else opened it.
#[inline(always)]
fn guess(skb: *mut __sk_buff, scratch: &mut PolicyScratch, state: u32) -> u32 {
    if state == SYN_SENT || !is_listening(skb, scratch) {
        return Opener::Pod as u32;
    }
    let flow = &scratch.flow;
    let peer = if scratch.direction == EGRESS { &flow.destination } else { &flow.source };
    match routes::get(peer) {
        Some(route) if route.is(Destination::OwnNode) => Opener::Node as u32,
        _ => Opener::Peer as u32,
    }
}

/// Returns true if the pod has a socket for new connections to the port.
#[inline(always)]
fn is_listening(skb: *mut __sk_buff, scratch: &mut PolicyScratch) -> bool {
    let socket = find(skb, scratch, true);
    if socket.is_null() {
        return false;
    }
    // SAFETY: as in `opener`.
    unsafe {
        let state = (*socket).state;
        bpf_sk_release(socket.cast());
        state == LISTEN
    }
}

/// Looks for the socket that would receive a packet of the connection, or one of a new connection if `is_new`.
#[expect(clippy::manual_memcpy, reason = "word by word, as the verifier knows the offsets")]
#[inline(always)]
fn find(skb: *mut __sk_buff, scratch: &mut PolicyScratch, is_new: bool) -> *mut bpf_sock {
    let (flow, tuple) = (&scratch.flow, &mut scratch.tuple);
    let (peer, pod, peer_port, pod_port) = match scratch.direction {
        EGRESS => (&flow.destination, &flow.source, flow.destination_port, flow.source_port),
        _ => (&flow.source, &flow.destination, flow.source_port, flow.destination_port),
    };
    let peer_port = if is_new { 0 } else { peer_port };
    let ports = u32::from(peer_port.to_be()) | u32::from(pod_port.to_be()) << 16;
    let (peer_words, pod_words) = (peer.as_words(), pod.as_words());
    let size = if peer.is_v4() {
        (tuple[0], tuple[1], tuple[2]) = (peer_words[3], pod_words[3], ports);
        TUPLE_V4
    } else {
        for word in 0..4 {
            tuple[word] = peer_words[word];
            tuple[4 + word] = pod_words[word];
        }
        tuple[8] = ports;
        TUPLE_V6
    };
    let netns = u64::from(scratch.netns - 1);
    let tuple = scratch.tuple.as_mut_ptr().cast::<bpf_sock_tuple>();
    // SAFETY: the helper reads as many bytes as it is told, and answers with a socket that is to be released, or null.
    unsafe { bpf_skc_lookup_tcp(skb.cast(), tuple, size, netns, 0) }
}
