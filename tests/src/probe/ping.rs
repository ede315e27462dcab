//! Echo requests of any size, TTL and DF, and every answer to them.

use std::{
    io,
    net::IpAddr,
    sync::atomic::{AtomicU16, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use super::{
    Host,
    socket::{Raw, set_dont_fragment, set_hops},
};
use crate::{
    netns::Netns,
    wire::{
        fragment::echo_protocol,
        icmp::{self, Message},
        ip,
    },
};

/// One kind of echo request.
#[derive(Clone, Copy, Debug)]
pub struct Ping {
    /// Bytes of data after the ICMP header.
    pub data: usize,
    /// TTL or hop limit; the kernel's default if `None`.
    pub hops: Option<u8>,
    /// True if it must not be fragmented.
    pub dont_fragment: bool,
    /// Time to wait for an answer.
    pub timeout: Duration,
}

impl Default for Ping {
    fn default() -> Self {
        Self { data: 56, hops: None, dont_fragment: false, timeout: Duration::from_secs(1) }
    }
}

/// The answer to one echo request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The reply with the data that was sent.
    Reply {
        /// The sender of the reply.
        from: IpAddr,
    },
    /// A reply with other data.
    Corrupt,
    /// Time exceeded in transit.
    TimeExceeded {
        /// The sender of the error.
        from: IpAddr,
    },
    /// Too big for the path.
    TooBig {
        /// The sender of the error.
        from: IpAddr,
        /// The reported MTU, in bytes.
        mtu: u32,
    },
    /// Destination unreachable.
    Unreachable {
        /// The sender of the error.
        from: IpAddr,
        /// The code.
        code: u8,
    },
    /// The sender's own kernel refused to send it.
    Refused {
        /// The error number.
        errno: i32,
    },
    /// There was no answer.
    Silence,
}

/// A socket that sends echo requests and finds their answers.
pub struct Pinger {
    socket: Raw,
    to: IpAddr,
    ping: Ping,
    id: u16,
    sequence: u16,
    data: Vec<u8>,
}

impl Pinger {
    /// A pinger in the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel refuses the socket.
    pub fn new(to: IpAddr, ping: Ping) -> anyhow::Result<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        let v6 = to.is_ipv6();
        let socket = Raw::ip(v6, echo_protocol(to)).context("open a raw socket")?;
        set_dont_fragment(&socket, v6, ping.dont_fragment).context("set DF")?;
        if let Some(hops) = ping.hops {
            set_hops(&socket, v6, hops).context("set TTL")?;
        }
        // The identifier distinguishes concurrent pingers of one process and of several.
        let id = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_mul(257) ^ std::process::id() as u16;
        let data = (0..ping.data).map(|position| (position % 251) as u8).collect();
        Ok(Self { socket, to, ping, id, sequence: 0, data })
    }

    /// Sends one request and waits for its answer.
    ///
    /// # Errors
    /// The socket fails; faults of the network are an [`Answer`].
    pub fn ask(&mut self) -> anyhow::Result<Answer> {
        self.sequence = self.sequence.wrapping_add(1);
        let request = icmp::echo_request(self.to.is_ipv6(), self.id, self.sequence, &self.data, None);
        match self.socket.send_to(&request, self.to) {
            Err(error) => refusal(&error),
            Ok(()) => self.wait().context("receive"),
        }
    }

    fn wait(&self) -> io::Result<Answer> {
        let end = Instant::now() + self.ping.timeout;
        let v6 = self.to.is_ipv6();
        let mut buffer = vec![0; 66_000];
        while let Some((packet, from)) = self.socket.receive(&mut buffer, end)? {
            let message = if v6 { packet } else { ip::v4_payload(packet) };
            match icmp::parse(v6, message, self.id) {
                Some((sequence, said)) if sequence == self.sequence => return Ok(self.judge(from, said)),
                _ => {}
            }
        }
        Ok(Answer::Silence)
    }

    fn judge(&self, from: IpAddr, said: Message<'_>) -> Answer {
        match said {
            Message::Reply(data) if data == self.data => Answer::Reply { from },
            Message::Reply(_) => Answer::Corrupt,
            Message::TimeExceeded => Answer::TimeExceeded { from },
            Message::TooBig(mtu) => Answer::TooBig { from, mtu },
            Message::Unreachable(code) => Answer::Unreachable { from, code },
        }
    }
}

fn refusal(error: &io::Error) -> anyhow::Result<Answer> {
    match error.raw_os_error() {
        Some(errno) => Ok(Answer::Refused { errno }),
        None => bail!("send: {error}"),
    }
}

/// Sends one echo request from `from` to `to`.
///
/// # Errors
/// The namespace or the socket fails.
pub fn once(from: &Netns, to: IpAddr, ping: Ping) -> anyhow::Result<Answer> {
    from.run(|| Pinger::new(to, ping)?.ask())
}

/// Sends `count` echo requests, `pace` apart, and returns the number without reply.
///
/// # Errors
/// The namespace or the socket fails.
pub fn lost(from: &Netns, to: IpAddr, ping: Ping, count: u32, pace: Duration) -> anyhow::Result<u32> {
    from.run(|| {
        let mut pinger = Pinger::new(to, ping)?;
        let mut lost = 0;
        for _ in 0..count {
            if !matches!(pinger.ask()?, Answer::Reply { .. }) {
                lost += 1;
            }
            thread::sleep(pace);
        }
        Ok(lost)
    })
}

/// Sends `count` echo requests of `data` bytes, all of which must be replied to.
///
/// # Errors
/// A reply is missing.
pub fn all_return(from: &Host, to: &Host, data: usize, count: u32) -> anyhow::Result<()> {
    let ping = Ping { data, timeout: Duration::from_secs(2), ..Ping::default() };
    from.netns.run(|| {
        let mut pinger = Pinger::new(to.address, ping)?;
        for number in 1..=count {
            match pinger.ask()? {
                Answer::Reply { .. } => {}
                other => bail!("ping {number} of {data} bytes from {} to {}: {other:?}", from.name, to.name),
            }
        }
        Ok(())
    })
}
