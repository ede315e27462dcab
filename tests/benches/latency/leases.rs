//! ADD and DEL of the IPAM plugins by themselves: no interface is made.

use std::{
    fmt::Write as _,
    fs,
    io::Write,
    net::IpAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio, id},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use naru_e2e::dist;
use serde_json::{Value, json};

use crate::{candidate::REFERENCE, micros, report::Spread, used};

/// Weave's default range: 1,048,574 addresses.
const SUBNET: &str = "10.32.0.0/12";
/// Addresses in use.
const FILLS: [u32; 4] = [0, 1_000, 10_000, 100_000];
/// Beyond this host-local takes seconds a call.
const MOST_FOR_HOST_LOCAL: u32 = 10_000;
/// All addresses of the range but network, broadcast, gateway and ten.
const NEARLY_ALL: u32 = (1 << 20) - 13;

/// A plugin with a directory of its own and a number of addresses in use.
struct Lessor {
    naru: bool,
    used: u32,
    binary: PathBuf,
    root: PathBuf,
}

impl Lessor {
    fn prepare(naru: bool, used: u32) -> anyhow::Result<Self> {
        let name = if naru { "naru" } else { "host" };
        let root = Path::new("/run").join(format!("lease{}-{name}-{used}", id()));
        let binary = if naru { dist::binary("naru-ipam")? } else { Path::new(REFERENCE).join("host-local") };
        let lessor = Self { naru, used, binary, root };
        fs::create_dir_all(&lessor.root).with_context(|| lessor.root.display().to_string())?;
        // Makes the store and the pool.
        lessor.give_and_take(u32::MAX)?;
        match (naru, used) {
            (_, 0) => {}
            (true, used) => used::in_naru_ipam(&lessor.root.join("run"), SUBNET.parse()?, used)?,
            (false, used) => {
                let subnet: ipnet::Ipv4Net = SUBNET.parse()?;
                let addresses = subnet.hosts().skip(2).take(used as usize).map(IpAddr::V4);
                used::in_host_local(&lessor.root.join("bench"), addresses)?;
            }
        }
        Ok(lessor)
    }

    /// An ADD and its DEL of a new container, each from the start of the process to its exit.
    fn give_and_take(&self, number: u32) -> anyhow::Result<Duration> {
        Ok(self.timed("ADD", number)? + self.timed("DEL", number)?)
    }

    fn timed(&self, verb: &str, number: u32) -> anyhow::Result<Duration> {
        let conf = self.conf().to_string();
        let mut command = Command::new(&self.binary);
        command.env_clear().env("CNI_COMMAND", verb).env("CNI_CONTAINERID", format!("c{number}"));
        command.env("CNI_IFNAME", "eth0").env("CNI_NETNS", "/proc/self/ns/net").env("CNI_PATH", REFERENCE);
        command.env("NARU_RUN_DIR", self.root.join("run"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let start = Instant::now();
        let mut child = command.spawn().context("start")?;
        child.stdin.take().context("no stdin")?.write_all(conf.as_bytes())?;
        let output = child.wait_with_output()?;
        let took = start.elapsed();
        if !output.status.success() {
            bail!("{} {verb}: {}", self.binary.display(), String::from_utf8_lossy(&output.stdout));
        }
        Ok(took)
    }

    fn conf(&self) -> Value {
        let kind = if self.naru { "naru-ipam" } else { "host-local" };
        json!({
            "cniVersion": "1.0.0", "name": "bench", "type": "bridge",
            "ipam": {"type": kind, "subnet": SUBNET, "dataDir": self.root, "routes": [{"dst": "0.0.0.0/0"}]},
        })
    }
}

impl Drop for Lessor {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.root) {
            eprintln!("{}: {error}", self.root.display());
        }
    }
}

/// Ratios of naru's ADD and DEL together, within a round, to something else's.
pub struct Leases {
    lines: Vec<(String, Spread)>,
}

impl Leases {
    /// Measures; `nearly_full` fills all of the range but ten addresses, which takes minutes.
    ///
    /// # Errors
    /// A plugin fails.
    pub fn measure(rounds: u32, nearly_full: bool) -> anyhow::Result<Self> {
        let fills = FILLS.into_iter().chain(nearly_full.then_some(NEARLY_ALL));
        let naru = fills.map(|used| Lessor::prepare(true, used)).collect::<anyhow::Result<Vec<_>>>()?;
        let others = FILLS.into_iter().filter(|used| *used <= MOST_FOR_HOST_LOCAL);
        let others = others.map(|used| Lessor::prepare(false, used)).collect::<anyhow::Result<Vec<_>>>()?;
        let mut lines: Vec<(String, Vec<f64>)> = Vec::new();
        for number in 0..rounds {
            let times = |all: &[Lessor]| {
                all.iter().map(|one| one.give_and_take(number)).collect::<anyhow::Result<Vec<_>>>()
            };
            let (ours, theirs) = (times(&naru)?, times(&others)?);
            let empty = ours.first().copied().map_or(f64::NAN, micros);
            let mut note = |name: String, ratio: f64| match lines.iter_mut().find(|(known, _)| *known == name)
            {
                Some((_, ratios)) => ratios.push(ratio),
                None => lines.push((name, vec![ratio])),
            };
            for ((one, ours), theirs) in others.iter().zip(&ours).zip(&theirs) {
                note(format!("naru-ipam / host-local, {} in use", one.used), micros(*ours) / micros(*theirs));
            }
            for (one, ours) in naru.iter().zip(&ours).skip(1) {
                note(format!("naru-ipam, {} in use / none in use", one.used), micros(*ours) / empty);
            }
        }
        Ok(Self { lines: lines.into_iter().map(|(name, ratios)| (name, Spread::of(ratios))).collect() })
    }

    /// For people.
    pub fn table(&self) -> String {
        let mut text = "\nIPAM alone, ADD and DEL together, ratios within a round\n".to_owned();
        for (name, Spread { low, median, high }) in &self.lines {
            let _ = writeln!(text, "  {name:<70} {median:>6.3} [{low:.3} .. {high:.3}]");
        }
        text
    }

    /// For programs.
    pub fn json(&self) -> Value {
        self.lines.iter().map(|(name, spread)| json!({"name": name, "value": spread.json()})).collect()
    }
}
