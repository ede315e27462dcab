use std::{collections::BTreeMap, fs, net::IpAddr, path::PathBuf, time::Duration};

use anyhow::Context;
use naru_sandbox::{
    netns,
    plugin::{Attachment, Plugin},
};
use serde_json::json;

use super::{millis, used};
use crate::{
    args::Size,
    binaries::Binaries,
    figure::{Figure, Group, RATIO},
    gates,
    progress::Progress,
    site::Site,
    spread::percentile,
};

/// Weave's default range: 1,048,574 addresses.
const SUBNET: &str = "10.32.0.0/12";
/// With more addresses host-local takes seconds for a call.
const MOST_FOR_HOST_LOCAL: u32 = 10_000;
/// All addresses of the range but network, broadcast, gateway and ten.
const NEARLY_ALL: u32 = (1 << 20) - 13;

/// The plugins that are compared.
const OURS: &str = "naru-ipam";
const THEIRS: &str = "host-local";
/// Calls of each in a round, of which the fastest counts: other processes of the machine only add time.
const CALLS: usize = 5;

/// Milliseconds of ADD and DEL together by plugin and addresses in use, for each round.
type Times = BTreeMap<(&'static str, u32), Vec<f64>>;

/// Addresses in use.
fn fills(size: Size) -> &'static [u32] {
    match size {
        Size::Short => &[0, 1_000, 10_000],
        Size::Normal => &[0, 1_000, 10_000, 100_000],
        Size::Large => &[0, 1_000, 10_000, 100_000, NEARLY_ALL],
    }
}

/// An IPAM plugin with a directory of its own and a number of addresses in use; no interface is made.
struct Lessor {
    kind: &'static str,
    used: u32,
    plugin: Plugin,
    pod: String,
}

impl Lessor {
    fn prepare(site: &Site, binaries: &Binaries, kind: &'static str, used: u32) -> anyhow::Result<Self> {
        let root = site.directory(&format!("{kind}-{used}"));
        fs::create_dir_all(&root).with_context(|| root.display().to_string())?;
        let run: PathBuf = root.join("run");
        let plugin = Plugin {
            binary: if kind == OURS { binaries.ipam.clone() } else { binaries.reference.join(kind) },
            path: binaries.reference.clone(),
            environment: vec![("NARU_RUN_DIR", run.clone())],
            configuration: json!({
                "cniVersion": "1.0.0", "name": "bench", "type": "bridge",
                "ipam": {"type": kind, "subnet": SUBNET, "dataDir": root, "routes": [{"dst": "0.0.0.0/0"}]},
            }),
        };
        let lessor = Self { kind, used, plugin, pod: site.netns("ipam") };
        // Makes the store and the pool.
        lessor.give_and_take("first")?;
        match (kind, used) {
            (_, 0) => {}
            (OURS, used) => used::in_naru_ipam(&run, SUBNET.parse()?, used)?,
            (_, used) => {
                let subnet: ipnet::Ipv4Net = SUBNET.parse()?;
                let addresses = subnet.hosts().skip(2).take(used as usize).map(IpAddr::V4);
                used::in_host_local(&root.join("bench"), addresses)?;
            }
        }
        Ok(lessor)
    }

    /// An ADD and its DEL of a new container, each from the start of the process to its exit.
    fn give_and_take(&self, container: &str) -> anyhow::Result<Duration> {
        let attachment = Attachment { container, netns: &self.pod, pod: container };
        let [add, del] = ["ADD", "DEL"].map(|verb| self.plugin.call(verb, attachment));
        Ok(add?.took + del?.took)
    }
}

/// Measures naru-ipam beside host-local at several numbers of addresses in use.
///
/// # Errors
/// A plugin fails, or the bench is interrupted.
pub fn measure(
    site: &Site,
    binaries: &Binaries,
    (rounds, size): (u32, Size),
    progress: &mut Progress,
) -> anyhow::Result<Vec<Figure>> {
    progress.begin("IPAM: fill the stores", 0);
    netns::create(&site.netns("ipam"), || Ok(()))?;
    let ours = fills(size).iter().map(|used| (OURS, *used));
    let theirs = fills(size).iter().filter(|used| **used <= MOST_FOR_HOST_LOCAL).map(|used| (THEIRS, *used));
    let lessors = ours
        .chain(theirs)
        .map(|(kind, used)| Lessor::prepare(site, binaries, kind, used))
        .collect::<anyhow::Result<Vec<_>>>()?;
    progress.begin("IPAM", rounds as usize);
    let mut times = Times::new();
    for round in 0..rounds as usize {
        // Another one first each time.
        let first = round % lessors.len();
        for lessor in lessors[first..].iter().chain(&lessors[..first]) {
            let took = (0..CALLS).map(|call| Ok(millis(lessor.give_and_take(&format!("c{round}-{call}"))?)));
            let took = took.collect::<anyhow::Result<Vec<f64>>>().with_context(|| lessor.kind)?;
            times.entry((lessor.kind, lessor.used)).or_default().extend(percentile(&took, 0.0));
        }
        progress.step()?;
    }
    netns::remove(&site.netns("ipam"))?;
    Ok(figures(&times))
}

fn figures(times: &Times) -> Vec<Figure> {
    let by =
        |ours: &[f64], theirs: &[f64]| ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
    let mut figures = Vec::new();
    let empty = times.get(&(OURS, 0)).map_or(&[][..], Vec::as_slice);
    for ((_, used), ours) in times.iter().filter(|((name, _), _)| *name == OURS) {
        if let Some(theirs) = times.get(&(THEIRS, *used)) {
            let name = format!("naru-ipam / host-local, {used} in use");
            let figure = Figure::new(Group::Ipam, name, RATIO, by(ours, theirs));
            figures.extend(figure.map(|figure| figure.limited(gates::beside_host_local(*used))));
        }
        if *used > MOST_FOR_HOST_LOCAL {
            let name = format!("naru-ipam, {used} in use / none in use");
            let figure = Figure::new(Group::Ipam, name, RATIO, by(ours, empty));
            figures.extend(figure.map(|figure| figure.limited(Some(gates::FULL_STORE))));
        }
    }
    let absolute = |((name, used), values): (&(&'static str, u32), &Vec<f64>)| {
        Figure::new(Group::Ipam, format!("{name}, {used} in use"), "ms", values.clone())
    };
    figures.into_iter().chain(times.iter().filter_map(absolute)).collect()
}
