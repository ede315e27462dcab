//! Fragments cut by hand and sent in an order of our choice.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::{Host, socket::Raw};
use crate::{
    netns::Netns,
    wire::{
        fragment::{cut, echo_protocol, shuffled},
        icmp::{self, Message},
        ip,
    },
};

const ID: u16 = 0x4e41;
/// Data of the echo: four fragments of [`PIECE`] bytes and one more.
const DATA: usize = 4500;
const PIECE: usize = 1000;

/// Sends an echo request in fragments, the last one first; the reply must have its data.
///
/// # Errors
/// There is no such reply.
pub fn echo_shuffled(from: &Host, to: &Host) -> anyhow::Result<u64> {
    from.netns
        .run(|| {
            let v6 = to.address.is_ipv6();
            let replies = Raw::ip(v6, echo_protocol(to.address)).context("open a raw socket")?;
            let data: Vec<u8> = (0..DATA).map(|position| (position % 249) as u8).collect();
            send(from.address, to.address, &data)?;
            let end = Instant::now() + Duration::from_secs(2);
            let mut buffer = vec![0; 66_000];
            while let Some((packet, _)) = replies.receive(&mut buffer, end).context("receive")? {
                let message = if v6 { packet } else { ip::v4_payload(packet) };
                match icmp::parse(v6, message, ID) {
                    Some((_, Message::Reply(reply))) if reply == data => return Ok(2 * DATA as u64),
                    Some(other) => bail!("the answer is not the data: {:?}", other.0),
                    None => {}
                }
            }
            bail!("no reply")
        })
        .with_context(|| format!("shuffled fragments from {} to {}", from.name, to.name))
}

fn send(from: IpAddr, to: IpAddr, data: &[u8]) -> anyhow::Result<()> {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
    let id = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed) ^ (std::process::id() << 4);
    let socket = Raw::whole_packets(to.is_ipv6()).context("open a raw socket")?;
    let message = icmp::echo_request(to.is_ipv6(), ID, 1, data, Some((from, to)));
    for fragment in shuffled(cut(from, to, echo_protocol(to), &message, PIECE, id)) {
        socket.send_to(&fragment, to).context("send a fragment")?;
    }
    Ok(())
}

/// Sends whole packets, headers as given, from inside `netns`.
///
/// # Errors
/// The socket fails.
pub fn send_packets(netns: &Netns, to: IpAddr, packets: &[Vec<u8>]) -> anyhow::Result<()> {
    netns.run(|| {
        let socket = Raw::whole_packets(to.is_ipv6()).context("open a raw socket")?;
        packets.iter().try_for_each(|packet| socket.send_to(packet, to).context("send a packet"))
    })
}
