//! The load generator: two threads, each in a pod's namespace, both on one CPU with all that the kernel does for
//! them, or on two.

mod cpu;
mod guard;
mod stream;
mod tcp;
mod udp;

use std::{
    net::SocketAddr,
    sync::{
        atomic::{AtomicU16, AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use naru_sandbox::netns;
use serde::{Deserialize, Serialize};

pub use self::cpu::{Basis, Cpu};
use self::{cpu::Clocks, guard::Guard};
use crate::{
    hosts::{Pair, SERVICE_PORTS},
    progress::is_interrupted,
};

/// The traffic of a cell.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, Debug)]
pub enum Load {
    /// One byte back and forth on a connection.
    TcpRr,
    /// One byte back and forth in datagrams.
    UdpRr,
    /// A connection for each byte back and forth.
    TcpCrr,
    /// A stream of bytes one way, as fast as it goes.
    Stream,
    /// A stream from one CPU to another.
    StreamOnTwo,
    /// Small datagrams from one CPU to another, as fast as they go; those that arrive count.
    PacketsOnTwo,
}

impl Load {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::TcpRr, Self::UdpRr, Self::TcpCrr, Self::Stream, Self::StreamOnTwo, Self::PacketsOnTwo];
    /// The loads of one CPU.
    pub const ON_ONE: [Self; 4] = [Self::TcpRr, Self::UdpRr, Self::TcpCrr, Self::Stream];

    /// Returns true if client and server have a CPU each: rates are by the clock then, and as noisy as the machine.
    #[must_use]
    pub const fn is_on_two(self) -> bool {
        matches!(self, Self::StreamOnTwo | Self::PacketsOnTwo)
    }

    /// The name in tables.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::TcpRr => "TCP_RR",
            Self::UdpRr => "UDP_RR",
            Self::TcpCrr => "TCP_CRR",
            Self::Stream => "stream",
            Self::StreamOnTwo => "stream on two CPUs",
            Self::PacketsOnTwo => "packets on two CPUs",
        }
    }

    const fn basis(self, cpu: Cpu) -> Basis {
        if self.is_on_two() { Basis::Wall } else { cpu.basis }
    }

    /// The unit of a rate.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Stream | Self::StreamOnTwo => "bytes/s",
            Self::PacketsOnTwo => "packets/s",
            _ => "transactions/s",
        }
    }
}

/// The result of a cell.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Transactions, bytes or packets in a second of the CPU, or by the clock.
    pub rate: f64,
    /// Share of the time in which the CPU worked for this cell: well below 1 if other processes used it too.
    pub share: f64,
}

/// The time that a path may take to carry the first packet, and that a cell may go on beyond its length.
const PATIENCE: Duration = Duration::from_secs(3);
/// Traffic before the clock starts: caches, neighbours and congestion windows are warm then.
const WARM_UP: Duration = Duration::from_millis(20);

/// Sends `load` between the pair for `time`.
///
/// # Errors
/// The path carries nothing, or a socket fails.
pub fn run(pair: &Pair, load: Load, time: Duration, cpu: Cpu) -> anyhow::Result<Sample> {
    let guard = Guard::default();
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        let (ready, port) = mpsc::channel();
        let (ended, end) = mpsc::channel();
        let server = Side { pair, guard: &guard, done: &done, cpu, basis: load.basis(cpu) };
        let client = server.clone();
        let serving = scope.spawn(move || {
            netns::enter(&pair.server)?;
            if load.is_on_two() {
                cpu.pin_to_second()?
            } else {
                cpu.pin()?
            }
            server.serve(load, &ready)
        });
        let sending = scope.spawn(move || {
            let _ended = ended;
            netns::enter(&pair.client)?;
            cpu.pin()?;
            let peer = port.recv().context("the server did not start")?;
            client.send(load, peer, time)
        });
        watch(&end, &guard, &done, load, WARM_UP + time + PATIENCE);
        // Whatever happened to the client, the server must not wait for more.
        guard.shut();
        let sent = sending.join().map_err(|_| anyhow!("the client panicked"))?;
        let served = serving.join().map_err(|_| anyhow!("the server panicked"))?;
        let sample = sent?;
        served.map(|()| sample)
    })
    .with_context(|| format!("{} from {} to {}", load.label(), pair.client, pair.server))
}

/// Waits until the client is through. A lost datagram is replaced, and a client that never ends is interrupted.
fn watch(end: &mpsc::Receiver<()>, guard: &Guard, done: &AtomicU64, load: Load, limit: Duration) {
    let deadline = Instant::now() + limit;
    let mut seen = u64::MAX;
    while end.recv_timeout(Duration::from_millis(50)) == Err(mpsc::RecvTimeoutError::Timeout) {
        // Repeatedly: a socket may be made after it.
        if Instant::now() > deadline || is_interrupted() {
            guard.shut();
        }
        let now = done.load(Ordering::Relaxed);
        if now == seen && load == Load::UdpRr {
            guard.nudge();
        }
        seen = now;
    }
}

/// One end of a cell.
#[derive(Clone)]
struct Side<'a> {
    pair: &'a Pair,
    guard: &'a Guard,
    /// Transactions, bytes or packets so far.
    done: &'a AtomicU64,
    cpu: Cpu,
    basis: Basis,
}

/// The server as the client finds it.
struct Peer {
    port: u16,
    thread: u32,
}

impl Side<'_> {
    fn serve(&self, load: Load, ready: &mpsc::Sender<Peer>) -> anyhow::Result<()> {
        match load {
            Load::TcpRr => tcp::answer(self, ready),
            Load::TcpCrr => tcp::answer_each(self, ready),
            Load::UdpRr => udp::answer(self, ready),
            Load::Stream | Load::StreamOnTwo => stream::swallow(self, ready),
            Load::PacketsOnTwo => udp::swallow(self, ready),
        }
    }

    fn send(&self, load: Load, peer: Peer, time: Duration) -> anyhow::Result<Sample> {
        match load {
            Load::TcpRr => tcp::ask(self, peer, time),
            Load::TcpCrr => tcp::ask_each(self, peer, time),
            Load::UdpRr => udp::ask(self, peer, time),
            Load::Stream | Load::StreamOnTwo => stream::pour(self, peer, time),
            Load::PacketsOnTwo => udp::pour(self, peer, time),
        }
    }

    /// Where the server listens: at a port that the kernel chooses, or at the next one of the Service's. A client that
    /// came back to the same one would run out of ports of its own.
    fn listening(&self) -> SocketAddr {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let of_service =
            || SERVICE_PORTS.start + NEXT.fetch_add(1, Ordering::Relaxed) % SERVICE_PORTS.len() as u16;
        (self.pair.address, self.pair.service.map_or(0, |_| of_service())).into()
    }

    /// Where the client finds the server.
    fn destination(&self, peer: &Peer) -> SocketAddr {
        (self.pair.service.unwrap_or(self.pair.address), peer.port).into()
    }

    /// Says where the server is.
    fn announce(&self, ready: &mpsc::Sender<Peer>, port: u16) {
        // The client's own result reports why it is gone.
        let _ = ready.send(Peer { port, thread: cpu::this_thread() });
    }

    fn count(&self, more: u64) {
        self.done.fetch_add(more, Ordering::Relaxed);
    }

    /// Repeats `once`, which returns its count, and returns the rate after a warm-up.
    fn measure(
        &self,
        peer: &Peer,
        time: Duration,
        mut once: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<Sample> {
        let clocks = Clocks::of(&[cpu::this_thread(), peer.thread], self.cpu);
        let mut until = |end: Instant| -> anyhow::Result<()> {
            while Instant::now() < end {
                once()?;
            }
            Ok(())
        };
        until(Instant::now() + WARM_UP)?;
        let (start, before, used) = (Instant::now(), self.done.load(Ordering::Relaxed), clocks.read());
        until(start + time)?;
        let done = self.done.load(Ordering::Relaxed) - before;
        let busy = clocks.read().saturating_sub(used).as_secs_f64();
        let wall = start.elapsed().as_secs_f64();
        let seconds = if self.basis == Basis::CpuTime { busy } else { wall };
        Ok(Sample { rate: done as f64 / seconds, share: busy / wall })
    }
}
