//! Layer 4 protocols that the datapath does not know.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use super::{Host, socket::Raw};
use crate::wire::{ip, sctp};

const PATIENCE: Duration = Duration::from_secs(2);

/// Comparison of the layer 4 bytes that arrive with those sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fidelity {
    /// Equal in every byte.
    Exact,
    /// Equal but for ports, with a correct checksum, as after masquerade.
    Ports,
}

/// Sends an SCTP INIT and returns an INIT ACK; returns the bytes exchanged.
///
/// # Errors
/// A packet does not arrive, or is changed.
pub fn sctp(client: &Host, server: &Host, fidelity: Fidelity) -> anyhow::Result<u64> {
    let init = sctp::init(40_000, 3868);
    let equal = |sent: &[u8], received: &[u8]| match fidelity {
        Fidelity::Exact => sent == received,
        Fidelity::Ports => {
            sctp::beyond_ports(sent) == sctp::beyond_ports(received) && sctp::is_valid(received)
        }
    };
    let answer = |received: &[u8]| sctp::init_ack(received).context("INIT cut short");
    exchange(client, server, ip::SCTP, &init, answer, equal).context("SCTP")
}

/// Sends a GRE packet there and another one back; returns the bytes exchanged.
///
/// # Errors
/// A packet does not arrive, or is changed.
pub fn gre(client: &Host, server: &Host) -> anyhow::Result<u64> {
    // No flags, version 0, an ethertype from the experimental range, then data.
    let packet = |data: &[u8]| [&[0, 0, 0x88, 0xb5][..], data].concat();
    let answer = |_: &[u8]| Ok(packet(b"and back with other bytes"));
    exchange(client, server, ip::GRE, &packet(b"there"), answer, |sent, received| sent == received)
        .context("GRE")
}

fn exchange(
    client: &Host,
    server: &Host,
    protocol: u8,
    request: &[u8],
    answer: impl Fn(&[u8]) -> anyhow::Result<Vec<u8>>,
    equal: impl Fn(&[u8], &[u8]) -> bool,
) -> anyhow::Result<u64> {
    let v6 = server.address.is_ipv6();
    let open = |host: &Host| {
        let opened = || Raw::ip(v6, protocol)?.bind(host.address);
        host.netns.run(|| opened().with_context(|| format!("{}: open a raw socket", host.name)))
    };
    let (near, far) = (open(client)?, open(server)?);
    near.send_to(request, server.address).with_context(|| format!("send from {}", client.name))?;
    let Some((received, from)) = next(&far, v6, None)? else {
        bail!("from {} to {}: nothing arrives", client.name, server.name)
    };
    ensure!(equal(request, &received), "to {}: sent {request:02x?}, received {received:02x?}", server.name);
    let back = answer(&received)?;
    far.send_to(&back, from).with_context(|| format!("send from {}", server.name))?;
    let Some((returned, _)) = next(&near, v6, Some(server.address))? else {
        bail!("from {} back to {}: nothing arrives", server.name, client.name)
    };
    ensure!(equal(&back, &returned), "back to {}: sent {back:02x?}, received {returned:02x?}", client.name);
    Ok((request.len() + back.len()) as u64)
}

/// The next payload on `socket` (from `only`, if given), and its sender.
fn next(socket: &Raw, v6: bool, only: Option<IpAddr>) -> anyhow::Result<Option<(Vec<u8>, IpAddr)>> {
    let end = Instant::now() + PATIENCE;
    let mut buffer = vec![0; 66_000];
    while let Some((packet, from)) = socket.receive(&mut buffer, end).context("receive")? {
        if only.is_none_or(|only| only == from) {
            let payload = if v6 { packet } else { ip::v4_payload(packet) };
            return Ok(Some((payload.to_vec(), from)));
        }
    }
    Ok(None)
}
