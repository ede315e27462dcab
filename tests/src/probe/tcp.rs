//! Streams with a digest on both sides.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};

use super::Host;

/// Time that a stream may stand still.
const STALL: Duration = Duration::from_secs(15);
const BUFFER: usize = 256 << 10;

/// The result of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// The client's address as the server saw it.
    pub peer: SocketAddr,
    /// Bytes in both directions together; every one arrived as it was sent.
    pub bytes: u64,
    /// Time from connect to the end.
    pub took: Duration,
}

/// Sends `up` bytes from `client` to `server` and `down` bytes back; both sides compare count and digest.
///
/// # Errors
/// There is no connection, the stream stands still, or bytes are changed.
pub fn stream(client: &Host, server: &Host, up: u64, down: u64) -> anyhow::Result<Report> {
    let listener = server.netns.run(|| listen(server.address, 0))?;
    let port = listener.local_addr().context("read the listener's address")?.port();
    transfer(client, server, listener, SocketAddr::new(server.address, port), up, down)
}

/// As [`stream`], to a server that listens at `port` and that the client addresses as `at`.
///
/// # Errors
/// As [`stream`].
pub fn stream_by(
    client: &Host,
    at: SocketAddr,
    server: &Host,
    port: u16,
    up: u64,
    down: u64,
) -> anyhow::Result<Report> {
    let listener = server.netns.run(|| super::patiently(|| listen(server.address, port)))?;
    transfer(client, server, listener, at, up, down)
}

fn transfer(
    client: &Host,
    server: &Host,
    listener: TcpListener,
    at: SocketAddr,
    up: u64,
    down: u64,
) -> anyhow::Result<Report> {
    let serving = thread::spawn(move || serve(&listener, up, down));
    let started = Instant::now();
    let sent = client.netns.run(|| talk(at, up, down));
    let served = serving.join().unwrap_or_else(|_| bail!("the server's thread panicked"));
    let about = || format!("TCP from {} to {} as {at}", client.name, server.name);
    let sent = sent.with_context(about)?;
    let (peer, received) = served.with_context(about)?;
    ensure!(sent == received, "{}: digests differ: client {sent:?}, server {received:?}", about());
    Ok(Report { peer, bytes: up + down, took: started.elapsed() })
}

fn listen(address: IpAddr, port: u16) -> anyhow::Result<TcpListener> {
    // The server listens on the unspecified address, and so serves every address of the host.
    let any: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let listener = TcpListener::bind((any, port)).context("listen")?;
    listener.set_nonblocking(true).context("listen")?;
    Ok(listener)
}

/// Digests of the bytes in both directions.
type Digests = (Digest, Digest);

fn serve(listener: &TcpListener, up: u64, down: u64) -> anyhow::Result<(SocketAddr, Digests)> {
    let (mut stream, peer) = accept(listener)?;
    prepare(&stream)?;
    let received = receive(&mut stream, up).context("server receives")?;
    let sent = send(&mut stream, down, received.hash).context("server sends")?;
    Ok((canonical(peer), (received, sent)))
}

fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

fn accept(listener: &TcpListener) -> anyhow::Result<(TcpStream, SocketAddr)> {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        match listener.accept() {
            Ok(accepted) => return Ok(accepted),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < end => {
                thread::sleep(Duration::from_millis(1));
            }
            Err(error) => return Err(error).context("accept"),
        }
    }
}

fn talk(to: SocketAddr, up: u64, down: u64) -> anyhow::Result<Digests> {
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(4)).context("connect")?;
    prepare(&stream)?;
    let sent = send(&mut stream, up, 0).context("client sends")?;
    let received = receive(&mut stream, down).context("client receives")?;
    Ok((sent, received))
}

fn prepare(stream: &TcpStream) -> anyhow::Result<()> {
    stream.set_nonblocking(false).context("set blocking")?;
    stream.set_read_timeout(Some(STALL)).context("set a time limit")?;
    stream.set_write_timeout(Some(STALL)).context("set a time limit")
}

/// Count and order-dependent hash of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Digest {
    bytes: u64,
    hash: u64,
}

impl Digest {
    const EMPTY: Self = Self { bytes: 0, hash: 0xcbf2_9ce4_8422_2325 };

    /// Adds the next bytes, which begin at a multiple of 8 unless they are the last.
    fn update(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.mix((*byte).into());
        }
        self.bytes += bytes.len() as u64;
    }

    fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

/// Bytes that do not repeat at any packet size (a xorshift generator), from `seed`.
fn fill(buffer: &mut [u8], state: &mut u64) {
    for chunk in buffer.chunks_mut(8) {
        *state ^= *state << 13;
        *state ^= *state >> 7;
        *state ^= *state << 17;
        let word = state.to_le_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}

fn send(stream: &mut TcpStream, bytes: u64, seed: u64) -> anyhow::Result<Digest> {
    let mut buffer = vec![0; BUFFER];
    let mut state = seed | 1;
    let mut digest = Digest::EMPTY;
    while digest.bytes < bytes {
        let length = usize::try_from(bytes - digest.bytes).unwrap_or(BUFFER).min(BUFFER);
        fill(&mut buffer[..length], &mut state);
        stream.write_all(&buffer[..length]).with_context(|| format!("after {} bytes", digest.bytes))?;
        digest.update(&buffer[..length]);
    }
    Ok(digest)
}

fn receive(stream: &mut TcpStream, bytes: u64) -> anyhow::Result<Digest> {
    let mut buffer = vec![0; BUFFER];
    let mut digest = Digest::EMPTY;
    while digest.bytes < bytes {
        let length = usize::try_from(bytes - digest.bytes).unwrap_or(BUFFER).min(BUFFER);
        stream.read_exact(&mut buffer[..length]).with_context(|| format!("after {} bytes", digest.bytes))?;
        digest.update(&buffer[..length]);
    }
    Ok(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_tells_order_and_length() {
        let of = |parts: &[&[u8]]| {
            let mut digest = Digest::EMPTY;
            parts.iter().for_each(|part| digest.update(part));
            digest
        };
        assert_eq!(of(&[b"abcdefgh", b"ijk"]), of(&[b"abcdefghijk"]));
        assert_ne!(of(&[b"abcdefgh", b"ijklmnop"]), of(&[b"ijklmnop", b"abcdefgh"]));
        assert_ne!(of(&[b"abc"]), of(&[b"abc\0"]));
    }
}
