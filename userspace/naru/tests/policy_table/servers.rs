//! Servers that answer everything, for as long as the test runs.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
};

use naru_sandbox::netns;

/// Answers on these ports of an address, by TCP and UDP.
pub fn serve(netns: &str, address: IpAddr, ports: &[u16]) {
    for port in ports {
        let at = SocketAddr::new(address, *port);
        let open = || Ok((TcpListener::bind(at)?, UdpSocket::bind(at)?));
        let (tcp, udp) = netns::inside(netns, open).unwrap();
        thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                thread::spawn(move || answer(stream));
            }
        });
        thread::spawn(move || {
            let mut bytes = vec![0; 65_536];
            loop {
                // An ICMP error that a peer caused ends nothing.
                if let Ok((length, from)) = udp.recv_from(&mut bytes) {
                    let _ = udp.send_to(&bytes[..length], from);
                }
            }
        });
    }
}

fn answer(mut stream: TcpStream) {
    let mut byte = [0; 1];
    while matches!(stream.read(&mut byte), Ok(1)) && stream.write_all(&byte).is_ok() {}
}
