//! A real Kubernetes cluster of two nodes on this machine, with naru from a manifest: pods talk to each other and to a
//! Service by its name. Exit status 1 if they do not.

use std::{
    fs,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Parser;
use naru_e2e::kubernetes::{Cluster, Shape, talk};
use rustix::process::Signal;

/// Time for pods to be ready, on a machine that is busy with builds too.
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Parser)]
struct Arguments {
    /// The archive of naru's image.
    #[arg(long)]
    image: PathBuf,
    /// The manifest that is applied.
    #[arg(long)]
    manifest: PathBuf,
    /// The directory for everything that is written; removed at the end.
    #[arg(long)]
    directory: PathBuf,
    /// The mode of kube-proxy: iptables or nftables.
    #[arg(long, default_value = "nftables")]
    proxy: String,
    /// Stay until SIGINT or SIGTERM.
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kubernetes: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    // Before any thread is there, so that all of them leave the signals to the end of this function.
    let signals = arguments.keep.then(Signals::block).transpose()?;
    let manifest =
        fs::read_to_string(&arguments.manifest).with_context(|| arguments.manifest.display().to_string())?;
    let shape = Shape {
        images: vec![arguments.image.clone()],
        proxy: arguments.proxy.clone(),
        ..Shape::new("naruk8s", arguments.directory.clone())
    };
    let began = Instant::now();
    let cluster = Cluster::start(shape)?;
    say(began, "control plane, containerd, kubelet and kube-proxy run");
    if let Err(error) = show(&cluster, &manifest, began) {
        cluster.explain();
        return Err(error);
    }
    if let Some(signals) = signals {
        let kubectl = cluster.plane().kubectl()?;
        let words = std::iter::once(kubectl.get_program()).chain(kubectl.get_args());
        let line: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        println!("\nkubectl:\n  {} get pods -A\nCtrl-C takes the cluster down.", line.join(" "));
        signals.wait()?;
    }
    Ok(())
}

/// Applies the manifest, and lets pods talk.
fn show(cluster: &Cluster, manifest: &str, began: Instant) -> anyhow::Result<()> {
    cluster.apply(manifest)?;
    let applied = Instant::now();
    cluster.wait_for_nodes(PATIENCE)?;
    say(began, &format!("every node is Ready, {:.1} s after the manifest was applied", seconds(applied)));
    cluster.start_name_server()?;
    talk::start(cluster)?;
    say(began, "every pod is Ready");
    for line in talk::check(cluster)? {
        println!("{line}");
    }
    println!("\n{}", cluster.kubectl(&["get", "nodes,pods,services", "-A", "-o", "wide"])?.trim_end());
    Ok(())
}

fn say(began: Instant, what: &str) {
    println!("{:5.1} s  {what}", seconds(began));
}

fn seconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64()
}

/// SIGINT and SIGTERM, which end nothing but the wait for them.
struct Signals(libc::sigset_t);

impl Signals {
    fn block() -> anyhow::Result<Self> {
        // SAFETY: the set is made by sigemptyset before it is used.
        let set = unsafe {
            let mut set = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in [Signal::INT, Signal::TERM] {
                libc::sigaddset(&raw mut set, signal.as_raw());
            }
            set
        };
        // SAFETY: the set lives until the call returns.
        let failed = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        ensure!(failed == 0, "pthread_sigmask: {}", std::io::Error::from_raw_os_error(failed));
        Ok(Self(set))
    }

    fn wait(&self) -> anyhow::Result<()> {
        let mut signal = 0;
        // SAFETY: the set and the number live until the call returns.
        let failed = unsafe { libc::sigwait(&raw const self.0, &raw mut signal) };
        ensure!(failed == 0, "sigwait: {}", std::io::Error::from_raw_os_error(failed));
        Ok(())
    }
}
