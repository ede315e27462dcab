//! Traffic that runs for as long as a test wants, and reports exactly what happened to it.

use std::{
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use naru_netlink::netns::{in_netns, open_netns};

/// Time that an answer may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause between two checks of a condition.
const PAUSE: Duration = Duration::from_millis(1);

/// Runs `work` in the network namespace of that name.
pub fn inside<T: Send>(namespace: &str, work: impl FnOnce() -> T + Send) -> T {
    let netns = open_netns(&Path::new("/run/netns").join(namespace)).unwrap();
    in_netns(netns.as_fd(), work).unwrap()
}

/// Answers every datagram with itself, until `stop`.
pub fn echo(namespace: &str, port: u16, stop: &AtomicBool) {
    inside(namespace, || {
        let socket = UdpSocket::bind(("::", port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut buffer = [0; 2048];
        while !stop.load(Ordering::Relaxed) {
            if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(&buffer[..length], from);
            }
        }
    });
}

/// Asks from a new port each time, and waits for the answer from just there: which questions were not answered, by
/// number.
pub fn ask(namespace: &str, to: SocketAddr, stop: &AtomicBool, asked: &AtomicU64) -> Vec<(SocketAddr, u64)> {
    inside(namespace, || {
        let mut lost = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let number = asked.fetch_add(1, Ordering::Relaxed);
            if !is_answered(to, number) {
                lost.push((to, number));
            }
            thread::sleep(PAUSE);
        }
        lost
    })
}

fn is_answered(to: SocketAddr, number: u64) -> bool {
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = UdpSocket::bind((any, 0)).unwrap();
    socket.connect(to).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send(&number.to_be_bytes()).unwrap();
    let mut answer = [0; 16];
    socket.recv(&mut answer).is_ok_and(|length| answer[..length] == number.to_be_bytes())
}

/// The byte at a place of every stream.
fn byte(at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

/// Sends until `stop`, then ends; the bytes sent.
pub fn send(namespace: &str, to: SocketAddr, stop: &AtomicBool) -> u64 {
    inside(namespace, || {
        let deadline = Instant::now() + PATIENCE;
        let mut stream = loop {
            match TcpStream::connect(to) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > deadline => panic!("{to}: {error}"),
                Err(_) => thread::sleep(PAUSE),
            }
        };
        let mut sent = 0;
        while !stop.load(Ordering::Relaxed) {
            let chunk: Vec<u8> = (sent..sent + 16 * 1024).map(byte).collect();
            stream.write_all(&chunk).unwrap();
            sent += chunk.len() as u64;
        }
        sent
    })
}

/// Takes one stream to its end and compares each byte; how many came.
pub fn receive(namespace: &str, port: u16) -> u64 {
    inside(namespace, || {
        let (mut stream, _) = TcpListener::bind(("::", port)).unwrap().accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut received, mut buffer) = (0, vec![0; 64 * 1024]);
        loop {
            let length = stream.read(&mut buffer).unwrap();
            if length == 0 {
                return received;
            }
            for (at, found) in buffer[..length].iter().enumerate() {
                assert_eq!(*found, byte(received + at as u64), "byte {} of the stream", received + at as u64);
            }
            received += length as u64;
        }
    })
}

/// Sends datagrams that nobody answers, until `stop`. Returns their number.
pub fn count(namespace: &str, to: SocketAddr, stop: &AtomicBool) -> u64 {
    inside(namespace, || {
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let socket = UdpSocket::bind((any, 0)).unwrap();
        let mut sent = 0;
        while !stop.load(Ordering::Relaxed) {
            if socket.send_to(b"one", to).is_ok() {
                sent += 1;
            }
            thread::sleep(PAUSE / 4);
        }
        sent
    })
}
