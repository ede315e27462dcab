use std::{net::UdpSocket, sync::mpsc, time::Duration};

use anyhow::{Context, bail};
use rustix::{
    io::Errno,
    net::{RecvFlags, SendFlags, recvfrom, sendto, sockopt::set_socket_recv_buffer_size_force},
};

use super::{Peer, Sample, Side};

/// Bytes of a datagram where their number counts.
const DATAGRAM: usize = 64;
/// Datagrams between two looks at the clock.
const BURST: u32 = 16;
/// Bytes that a receiver may be behind: it loses none because others had its CPU for some milliseconds.
const BUFFER: usize = 4 << 20;

/// Sends every datagram back, until the cell ends the socket.
pub fn answer(side: &Side<'_>, ready: &mpsc::Sender<Peer>) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(side.listening()).context("bind")?;
    side.guard.datagrams(&socket)?;
    side.announce(ready, socket.local_addr()?.port());
    let mut byte = [0];
    // Not the standard library's: it panics on the end of a socket, which has no sender.
    while let Ok((1.., _, Some(from))) = recvfrom(&socket, &mut byte, RecvFlags::empty()) {
        match sendto(&socket, &byte, SendFlags::empty(), &from) {
            // The cell ended the socket with an answer on its way: of two datagrams, where one was taken for lost.
            Err(Errno::PIPE) => break,
            sent => sent.context("answer")?,
        };
    }
    Ok(())
}

/// Asks for datagram after datagram; [`super::watch`] replaces one that was lost.
pub fn ask(side: &Side<'_>, peer: Peer, time: Duration) -> anyhow::Result<Sample> {
    let socket = connect(side, &peer)?;
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

/// Counts datagrams until the cell ends the socket.
pub fn swallow(side: &Side<'_>, ready: &mpsc::Sender<Peer>) -> anyhow::Result<()> {
    let socket = UdpSocket::bind(side.listening()).context("bind")?;
    set_socket_recv_buffer_size_force(&socket, BUFFER).context("make room for datagrams")?;
    side.guard.datagrams(&socket)?;
    side.announce(ready, socket.local_addr()?.port());
    let mut datagram = [0; DATAGRAM];
    while let Ok((1.., ..)) = recvfrom(&socket, &mut datagram, RecvFlags::empty()) {
        side.count(1);
    }
    Ok(())
}

/// Sends without pause.
pub fn pour(side: &Side<'_>, peer: Peer, time: Duration) -> anyhow::Result<Sample> {
    let socket = connect(side, &peer)?;
    let datagram = [7; DATAGRAM];
    side.measure(&peer, time, || {
        // The clock is asked for a handful.
        for _ in 0..BURST {
            socket.send(&datagram).context("send")?;
        }
        Ok(())
    })
}

fn connect(side: &Side<'_>, peer: &Peer) -> anyhow::Result<UdpSocket> {
    let to = side.destination(peer);
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).context("bind")?;
    socket.connect(to).context("connect")?;
    side.guard.datagrams(&socket)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, sync::atomic::AtomicU64, thread};

    use super::*;
    use crate::{
        hosts::Pair,
        load::{Basis, Cpu, Guard},
    };

    #[test]
    fn a_cell_may_end_with_answers_on_their_way() {
        let here = Ipv4Addr::LOCALHOST.into();
        let pair =
            Pair { client: String::new(), server: String::new(), address: here, v6: None, service: None };
        let (guard, done) = (Guard::default(), AtomicU64::new(0));
        let cpu = Cpu::choose(None).unwrap();
        let side = Side { pair: &pair, guard: &guard, done: &done, cpu, basis: Basis::Wall };
        thread::scope(|scope| {
            let (ready, port) = mpsc::channel();
            let server = scope.spawn(|| {
                let ready = ready;
                answer(&side, &ready)
            });
            let socket = connect(&side, &port.recv().unwrap()).unwrap();
            for _ in 0..1000 {
                socket.send(b"x").unwrap();
            }
            guard.shut();
            server.join().unwrap().unwrap();
        });
    }
}
