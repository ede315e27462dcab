use std::{net::UdpSocket, sync::mpsc, time::Duration};

use anyhow::{Context, bail};
use rustix::net::{RecvFlags, SendFlags, recvfrom, sendto};

use super::{Peer, Sample, Side};

/// Sends every datagram back, until the cell ends the socket.
pub fn answer(side: &Side<'_>, ready: &mpsc::Sender<Peer>) -> anyhow::Result<()> {
    let socket = UdpSocket::bind((side.address(), 0)).context("bind")?;
    side.guard.datagrams(&socket)?;
    side.announce(ready, socket.local_addr()?.port());
    let mut byte = [0];
    // Not the standard library's: it panics on the end of a socket, which has no sender.
    while let Ok((1.., _, Some(from))) = recvfrom(&socket, &mut byte, RecvFlags::empty()) {
        sendto(&socket, &byte, SendFlags::empty(), &from).context("answer")?;
    }
    Ok(())
}

/// Asks for datagram after datagram; [`super::watch`] replaces one that was lost.
pub fn ask(side: &Side<'_>, peer: Peer, time: Duration) -> anyhow::Result<Sample> {
    let any = if side.address().is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).context("bind")?;
    socket.connect((side.address(), peer.port)).context("connect")?;
    side.guard.datagrams(&socket)?;
    side.guard.replace_lost(&socket)?;
    let mut byte = [1];
    side.measure(&peer, time, || {
        socket.send(&byte).context("send")?;
        match socket.recv(&mut byte).context("receive")? {
            0 => bail!("no datagram came back for long"),
            _ => side.count(1),
        }
        Ok(())
    })
}
