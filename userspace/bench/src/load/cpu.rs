use std::{fs, net::UdpSocket, time::Duration, time::Instant};

use anyhow::Context;
use rustix::thread::{CpuSet, Pid, gettid, sched_getaffinity, sched_setaffinity};

/// By what a rate is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Basis {
    /// By the CPU time of both threads and of ksoftirqd: others that want the CPU do not change it much.
    CpuTime,
    /// By the clock, where the kernel does not charge softirqs to the thread that causes them
    /// (`CONFIG_IRQ_TIME_ACCOUNTING`): the machine has to be quiet.
    Wall,
}

/// The CPU on which everything happens, but for loads of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cpu {
    /// Its number.
    pub number: usize,
    /// The clock of rates.
    pub basis: Basis,
    /// The CPU of the server in a load of two CPUs; `None` where there is one CPU only.
    pub second: Option<usize>,
    /// Its thread for softirqs that take long, where this process can see it.
    softirq: Option<u32>,
}

/// Loops of the probe, and their length: short enough that one of them is not interrupted on a busy machine.
const PROBES: u32 = 200;
const PROBE: Duration = Duration::from_millis(1);
/// Part of a loop of nothing but packets that the thread is charged with, where softirqs are charged to it.
const CHARGED: f64 = 0.95;

impl Cpu {
    /// The CPU `number`; by default the last one this process may use, as most interrupts go to the first.
    ///
    /// # Errors
    /// It may not be used.
    pub fn choose(number: Option<usize>) -> anyhow::Result<Self> {
        let allowed = sched_getaffinity(None).context("allowed CPUs")?;
        let usable: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
        let number = number.or_else(|| usable.last().copied()).context("no CPU")?;
        let second = usable.into_iter().rfind(|cpu| *cpu != number);
        let cpu = Self { number, basis: Basis::Wall, second, softirq: softirq_thread(number) };
        let probe = std::thread::spawn(move || cpu.pin().and_then(|()| cpu.charges_softirqs()));
        let charges = probe.join().map_err(|_| anyhow::anyhow!("the probe of CPU {number} panicked"))??;
        Ok(Self { basis: if charges { Basis::CpuTime } else { Basis::Wall }, ..cpu })
    }

    /// Keeps the calling thread, and so the softirqs of what it sends, on this CPU.
    ///
    /// # Errors
    /// It may not be used.
    pub fn pin(&self) -> anyhow::Result<()> {
        keep_on(self.number)
    }

    /// Keeps the calling thread on the second CPU.
    ///
    /// # Errors
    /// There is none, or it may not be used.
    pub fn pin_to_second(&self) -> anyhow::Result<()> {
        keep_on(self.second.context("there is one CPU only")?)
    }

    /// Returns true if sending over loopback, mostly softirq, is all charged to the sending thread.
    fn charges_softirqs(self) -> anyhow::Result<bool> {
        let socket = UdpSocket::bind("127.0.0.1:0").context("probe")?;
        let to = socket.local_addr().context("probe")?;
        let clocks = Clocks::of(&[this_thread()], Self { softirq: None, ..self });
        let mut most = 0f64;
        for _ in 0..PROBES {
            let (start, used) = (Instant::now(), clocks.read());
            while start.elapsed() < PROBE {
                socket.send_to(b"x", to).context("probe")?;
            }
            let busy = clocks.read().saturating_sub(used);
            most = most.max(busy.as_secs_f64() / start.elapsed().as_secs_f64());
        }
        Ok(most > CHARGED)
    }
}

fn keep_on(cpu: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(cpu);
    sched_setaffinity(None, &set).with_context(|| format!("use CPU {cpu}"))
}

/// The kernel's thread `ksoftirqd/N`.
fn softirq_thread(cpu: usize) -> Option<u32> {
    let wanted = format!("ksoftirqd/{cpu}\n");
    let pids = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.find(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == wanted))
}

/// The calling thread's number.
pub fn this_thread() -> u32 {
    Pid::as_raw(Some(gettid())).cast_unsigned()
}

/// CPU clocks of threads.
pub struct Clocks {
    ids: Vec<libc::clockid_t>,
}

impl Clocks {
    /// The clocks of these threads of ours, and of the CPU's softirqs.
    pub fn of(threads: &[u32], cpu: Cpu) -> Self {
        // `CPUCLOCK_SCHED` with and without `CPUCLOCK_PERTHREAD_MASK` (`include/linux/posix-timers_types.h`).
        let clock = |thread: u32, kind: i32| (!thread.cast_signed() << 3) | kind;
        let own = threads.iter().map(|thread| clock(*thread, 6));
        Self { ids: own.chain(cpu.softirq.map(|thread| clock(thread, 2))).collect() }
    }

    /// Their time together; a thread that has ended counts nothing.
    pub fn read(&self) -> Duration {
        self.ids.iter().map(|id| read(*id)).sum()
    }
}

fn read(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes a timespec, or fails and writes nothing.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    Duration::new(time.tv_sec.cast_unsigned(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
