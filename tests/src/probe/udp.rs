//! Datagrams that are echoed unchanged.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, ensure};

use super::Host;

/// Sends one datagram of each size in `sizes` and waits for its echo; returns the bytes sent and received.
///
/// # Errors
/// A datagram or its echo is lost or changed.
pub fn echo(client: &Host, server: &Host, sizes: &[usize]) -> anyhow::Result<u64> {
    let receiver = server.netns.run(|| bind(server.address, 0))?;
    let port = receiver.local_addr().context("read the socket's address")?.port();
    exchange(client, server, &receiver, SocketAddr::new(server.address, port), sizes)
}

/// As [`echo`], by a server that listens at `port` and that the client addresses as `at`.
///
/// # Errors
/// As [`echo`].
pub fn echo_by(
    client: &Host,
    at: SocketAddr,
    server: &Host,
    port: u16,
    sizes: &[usize],
) -> anyhow::Result<u64> {
    let receiver = server.netns.run(|| super::patiently(|| bind(server.address, port)))?;
    exchange(client, server, &receiver, at, sizes)
}

fn exchange(
    client: &Host,
    server: &Host,
    receiver: &UdpSocket,
    at: SocketAddr,
    sizes: &[usize],
) -> anyhow::Result<u64> {
    let sender = client.netns.run(|| bind(client.address, 0))?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| answer(receiver, &done));
        let result = ask(&sender, at, sizes);
        done.store(true, Ordering::Relaxed);
        result
    })
    .with_context(|| format!("UDP from {} to {} as {at}", client.name, server.name))
}

fn bind(address: IpAddr, port: u16) -> anyhow::Result<UdpSocket> {
    let socket =
        UdpSocket::bind((address, port)).with_context(|| format!("bind to {address} port {port}"))?;
    // Datagrams above the path MTU are fragmented rather than refused.
    super::socket::set_dont_fragment(&socket, address.is_ipv6(), false).context("clear DF")?;
    socket.set_read_timeout(Some(Duration::from_millis(20))).context("set a time limit")?;
    Ok(socket)
}

fn answer(socket: &UdpSocket, done: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    while !done.load(Ordering::Relaxed) {
        if let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], from);
        }
    }
}

fn ask(socket: &UdpSocket, to: SocketAddr, sizes: &[usize]) -> anyhow::Result<u64> {
    let mut buffer = vec![0; 65_536];
    socket.set_read_timeout(Some(Duration::from_secs(2))).context("set a time limit")?;
    let mut bytes = 0;
    for size in sizes {
        let data: Vec<u8> = (0..*size).map(|position| (position * 7 % 253) as u8).collect();
        socket.send_to(&data, to).with_context(|| format!("send {size} bytes"))?;
        let (length, from) =
            receive(socket, &mut buffer).with_context(|| format!("no echo of {size} bytes"))?;
        ensure!(from == to, "the echo of {size} bytes comes from {from}, not {to}");
        ensure!(buffer[..length] == data[..], "the echo of {size} bytes differs");
        bytes += 2 * *size as u64;
    }
    Ok(bytes)
}

/// The next datagram, even if signals arrive in between.
fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> std::io::Result<(usize, SocketAddr)> {
    loop {
        match socket.recv_from(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
