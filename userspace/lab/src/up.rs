//! `lab up`: everything is made by name, so that `down` finds it after a kill at any step.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Instant,
};

use anyhow::{Context, anyhow, bail};
use naru_sandbox::{
    files, netns, node,
    plugin::{beside, install},
};
use rustix::fs::{FlockOperation, flock};

use crate::{
    args::UpArgs,
    down,
    layout::LabName,
    model::{Lab, Node, Pod},
    plan, process, runtime, status, wiring,
};

/// Brings the lab up and prints it.
pub fn run(options: &UpArgs) -> anyhow::Result<()> {
    let started = Instant::now();
    let name = &options.name.lab;
    let plugin = beside("naru-cni")?;
    let lock = claim(name)?;
    let result = build(options, &plugin);
    if result.is_err() && !options.keep_failed {
        drop(lock);
        down::run(&options.name).unwrap_or_else(|error| eprintln!("lab {name}: clean up: {error:#}"));
    }
    let lab = result?;
    status::print(&lab);
    println!(
        "lab {name}: {} nodes, {} pods in {:.1} s",
        lab.nodes.len(),
        lab.pods.len(),
        started.elapsed().as_secs_f32()
    );
    Ok(())
}

/// The lab's directory, newly made and locked; `down` waits for the lock.
fn claim(name: &LabName) -> anyhow::Result<File> {
    let root = name.root();
    let leftovers = netns::names()?.iter().any(|netns| name.place(netns).is_some());
    if leftovers || root.exists() {
        bail!(
            "lab {name}: is up already, or a killed `up` left something; `naru lab down --lab {name}` first"
        );
    }
    files::again(|| fs::create_dir_all(&root)).with_context(|| format!("create {}", root.display()))?;
    let directory = File::open(&root).with_context(|| format!("open {}", root.display()))?;
    flock(&directory, FlockOperation::NonBlockingLockExclusive)
        .with_context(|| format!("lab {name}: lock"))?;
    Ok(directory)
}

fn build(options: &UpArgs, plugin: &Path) -> anyhow::Result<Lab> {
    let name = &options.name.lab;
    let mut lab = plan::plan(options);
    lab.save(name)?;
    wiring::build(name, &lab)?;
    let cluster = plan::cluster_file(&lab);
    let bring_up = |node: &Node, pods: Vec<Pod>| bring_up(options, plugin, node, &cluster, pods);
    lab.pods = thread::scope(|scope| {
        let pods_of = |node: &Node| lab.pods.iter().filter(|pod| pod.node == node.name).cloned().collect();
        let bring_up = &bring_up;
        let threads: Vec<_> = lab
            .nodes
            .iter()
            .map(|node| (pods_of(node), node))
            .map(|(pods, node)| scope.spawn(move || bring_up(node, pods)))
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, anyhow::Result<Vec<Pod>>>| {
            thread.join().map_err(|_| anyhow!("a thread of `lab up` panicked"))?
        };
        // All are joined before the first error is returned: nothing may run on while `down` cleans up.
        let results: Vec<_> = threads.into_iter().map(join).collect();
        results.into_iter().collect::<anyhow::Result<Vec<Vec<Pod>>>>()
    })?
    .concat();
    lab.complete = true;
    lab.save(name)?;
    Ok(lab)
}

/// One node: cluster file, `naru init`, agent, pods.
fn bring_up(
    options: &UpArgs,
    plugin: &Path,
    node: &Node,
    cluster: &str,
    mut pods: Vec<Pod>,
) -> anyhow::Result<Vec<Pod>> {
    let paths = node::paths(&node.root);
    for directory in [&paths.run, &paths.state, &paths.config, &paths.cni_conf, &paths.cni_bin] {
        fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    }
    fs::write(paths.cluster_file(), cluster)
        .with_context(|| format!("write {}", paths.cluster_file().display()))?;
    install(plugin, &paths.cni_bin)?;
    netns::inside(&node.netns, || init(options, node)).with_context(|| format!("node {}", node.name))?;
    if node.agent {
        netns::inside(&node.netns, || start_agent(node)).with_context(|| format!("node {}", node.name))?;
    }
    let plugin = runtime::plugin(node, plugin)?;
    pods.iter_mut().try_for_each(|pod| runtime::add(node, &plugin, pod))?;
    Ok(pods)
}

fn naru(node: &Node) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("find the running binary")?);
    command.envs(node::environment(&node.name, &node.root)).stdin(Stdio::null());
    Ok(command)
}

fn init(options: &UpArgs, node: &Node) -> anyhow::Result<()> {
    let output =
        naru(node)?.args(["init", "--attach", options.attach.label()]).output().context("run naru init")?;
    if !output.status.success() {
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        bail!("naru init: {}: {} {}", output.status, stderr.trim(), stdout.trim());
    }
    Ok(())
}

/// Starts the node's agent in a session of its own, its output in `agent.log`.
fn start_agent(node: &Node) -> anyhow::Result<()> {
    let path = node.root.join("agent.log");
    let log = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    let errors = log.try_clone().context("share the log")?;
    let mut command = naru(node)?;
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let child = command.arg("agent").stdout(log).stderr(errors).spawn().context("run naru agent")?;
    process::remember_agent(&node.root, child.id())
}
