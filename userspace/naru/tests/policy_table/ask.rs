//! Questions of one host to another.

use std::{
    fmt,
    io::{self, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream, UdpSocket},
    process::Command,
    sync::atomic::{AtomicU8, Ordering},
    time::{Duration, Instant},
};

use naru_sandbox::netns;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, connect, socket_with,
    sockopt::{Timeout, set_socket_linger, set_socket_reuseaddr, set_socket_timeout},
};

/// Time limit for answers that must come, on a busy machine.
pub const PROMPT: Duration = Duration::from_secs(5);
/// Time that one attempt waits for its answer.
const ATTEMPT: Duration = Duration::from_millis(400);
/// The same where it is asked again and again.
const AT_ONCE: Duration = Duration::from_millis(60);
/// Bytes of a datagram that is sent in fragments.
const BIG: usize = 4000;
/// Connections with the same ports, one at once after another.
const AGAIN: usize = 5;

/// A question from one address to another.
pub struct Ask {
    pub netns: String,
    pub source: IpAddr,
    pub target: SocketAddr,
    pub how: String,
}

impl fmt::Display for Ask {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{} from {} to {}", self.how, self.source, self.target)
    }
}

impl Ask {
    /// Whether it is answered. One that is to be is asked until it is, or for [`PROMPT`].
    pub fn is_answered(&self, patiently: bool) -> bool {
        let began = Instant::now();
        loop {
            let asked = netns::inside(&self.netns, || Ok(self.once().is_ok())).unwrap();
            if asked || !patiently || began.elapsed() > PROMPT {
                return asked;
            }
        }
    }

    /// A connection.
    pub fn connect(&self, limit: Duration) -> anyhow::Result<TcpStream> {
        netns::inside(&self.netns, || {
            let mut stream = self.tcp(0, limit)?;
            question(&mut stream, limit)?;
            Ok(stream)
        })
    }

    fn once(&self) -> io::Result<()> {
        match self.how.as_str() {
            "tell" => question(&mut self.tcp(0, AT_ONCE)?, AT_ONCE),
            "tcp" => question(&mut self.tcp(0, ATTEMPT)?, ATTEMPT),
            "udp" => self.udp(8),
            "big" => self.udp(BIG),
            "reuse" => self.reuse(),
            "ping" => self.ping(),
            how => panic!("{how}"),
        }
    }

    fn tcp(&self, port: u16, limit: Duration) -> io::Result<TcpStream> {
        let family = if self.source.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        set_socket_reuseaddr(&socket, true)?;
        // The kernel takes it for the limit of a connect, too.
        set_socket_timeout(&socket, Timeout::Send, Some(limit))?;
        bind(&socket, &SocketAddr::new(self.source, port))?;
        connect(&socket, &self.target)?;
        Ok(socket.into())
    }

    fn udp(&self, length: usize) -> io::Result<()> {
        let socket = UdpSocket::bind((self.source, 0))?;
        socket.set_read_timeout(Some(ATTEMPT))?;
        socket.connect(self.target)?;
        let sent: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
        socket.send(&sent)?;
        let mut bytes = vec![0; length + 1];
        let read = socket.recv(&mut bytes)?;
        if bytes[..read] == sent { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    /// Connections between the same ports, each of which is reset when it was answered.
    fn reuse(&self) -> io::Result<()> {
        let first = self.tcp(0, ATTEMPT)?;
        let port = first.local_addr()?.port();
        set_socket_linger(&first, Some(Duration::ZERO))?;
        drop(first);
        for _ in 0..AGAIN {
            let mut stream = self.tcp(port, ATTEMPT)?;
            question(&mut stream, ATTEMPT)?;
            set_socket_linger(&stream, Some(Duration::ZERO))?;
        }
        Ok(())
    }

    fn ping(&self) -> io::Result<()> {
        let (source, target) = (self.source.to_string(), self.target.ip().to_string());
        let mut ping = Command::new("ping");
        let done = ping.args(["-n", "-c1", "-W1", "-I", &source, &target]).output()?;
        if done.status.success() { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) }
    }
}

/// Returns true if a connection that was kept is answered still; one that is to be may take its time.
pub fn goes_on(stream: &mut TcpStream, patiently: bool) -> bool {
    // What was sent in vain comes by itself later, after a time that doubles.
    let limit = if patiently { Duration::from_secs(30) } else { ATTEMPT };
    let answered = question(stream, limit).is_ok();
    if !answered && patiently {
        let _ = stream.shutdown(Shutdown::Both);
    }
    answered
}

/// One byte for a question, and the same for its answer: answers to what was asked before may come first.
fn question(stream: &mut TcpStream, limit: Duration) -> io::Result<()> {
    static NEXT: AtomicU8 = AtomicU8::new(0);
    let (asked, mut answered) = (NEXT.fetch_add(1, Ordering::Relaxed), [0; 1]);
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(&[asked])?;
    loop {
        stream.read_exact(&mut answered)?;
        if answered == [asked] {
            return Ok(());
        }
    }
}
