use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use naru_agent::{Mirror, follow};
#[cfg(feature = "debug")]
use naru_bpf::follow_log;
use naru_cluster::Source;
use naru_install::programs::Program;
use naru_kubernetes::{Access, KubernetesSource, Pace, Places};
use naru_node::{host, machine::Settings, paths::Paths};
use naru_view::AgentReport;
use tracing_subscriber::EnvFilter;

use super::{
    init::{request, source},
    install::directories_of_the_runtime,
    runtime,
};
use crate::{
    args::{AgentArgs, Directories, Probe},
    report::Log,
    root::{self, Kept},
};

/// The log filter unless `NARU_LOG` sets another.
const FILTER: &str = if cfg!(feature = "debug") { "info,naru_datapath=debug" } else { "info" };

/// Runs init, then follows the cluster until SIGTERM. The log goes to standard error; `NARU_LOG` filters it.
pub fn run(directories: &Directories, args: &AgentArgs) -> anyhow::Result<ExitCode> {
    let mut paths = directories.paths();
    if let Some(probe) = args.probe {
        return probed(&paths, probe);
    }
    let filter = EnvFilter::try_from_env("NARU_LOG").unwrap_or_else(|_| EnvFilter::new(FILTER));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(|| Log).init();
    #[cfg(feature = "debug")]
    std::thread::spawn({
        let pins = paths.pins();
        move || follow_log(&pins)
    });
    let mut container = args.root.as_deref().map(|root| Container::leave(root, args)).transpose()?;
    if args.kubernetes {
        let found = directories_of_the_runtime(&directories.given())?;
        if let Some(container) = &mut container {
            let plugins = std::mem::take(&mut container.plugins);
            runtime::follow(directories.given(), plugins, found.clone())?;
        }
        // Of several directories the one with the plugins that stand behind ours.
        let bin = found.bin.iter().find(|bin| bin.join("portmap").exists()).or(found.bin.first());
        paths.cni_bin = bin.cloned().unwrap_or(paths.cni_bin);
        paths.cni_conf = found.conf;
    }
    let source: Box<dyn Source> = match args.kubernetes {
        true => Box::new(kubernetes(&paths, args, container.as_ref())?),
        false => Box::new(source(&paths, &args.init)),
    };
    let mirror = Mirror::new(paths.clone(), request(&paths, &args.init, None)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let end = runtime.block_on(follow(mirror, source, Duration::from_secs(args.interval)));
    // The process does not wait for a read of a file that hangs.
    runtime.shutdown_background();
    end.map(|()| ExitCode::SUCCESS)
}

/// Files of the agent's container that it reads after its root directory has become the host's.
struct Container {
    credentials: Kept,
    settings: Option<(Kept, PathBuf)>,
    plugins: Vec<Program>,
}

impl Container {
    /// Makes the host's root directory that of this process.
    fn leave(host: &Path, args: &AgentArgs) -> anyhow::Result<Self> {
        let credentials = Kept::open(Path::new(Access::POD))?;
        let settings = args.settings.as_ref().map(|file| {
            let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty());
            let name = file.file_name().with_context(|| format!("{}: not a file", file.display()))?;
            anyhow::Ok((Kept::open(directory.unwrap_or_else(|| Path::new(".")))?, name.into()))
        });
        let plugins = runtime::open_plugins()?;
        let container = Self { credentials, settings: settings.transpose()?, plugins };
        root::enter(host)?;
        Ok(container)
    }
}

fn kubernetes(
    paths: &Paths,
    args: &AgentArgs,
    container: Option<&Container>,
) -> anyhow::Result<KubernetesSource> {
    let known = Settings::load(paths)?.map(|settings| settings.node);
    let access = match (&args.kubeconfig, container) {
        (Some(file), _) => Access::Kubeconfig(file.clone()),
        (None, Some(container)) => Access::ServiceAccount(container.credentials.path()),
        (None, None) => Access::ServiceAccount(Access::POD.into()),
    };
    let kept = container.and_then(|container| container.settings.as_ref());
    let settings = match kept {
        Some((directory, name)) => directory.path().join(name),
        None => args.settings.clone().unwrap_or_else(|| paths.cluster_settings()),
    };
    Ok(KubernetesSource {
        node: args.init.node.clone().or(known).unwrap_or_else(host::hostname),
        access,
        servers: args.api_server.clone(),
        service: Places::service(|name| std::env::var(name).ok()),
        settings,
        services: args.init.service_range.clone(),
        memory: paths.kubernetes_memory(),
        pace: Pace::default(),
    })
}

fn probed(paths: &Paths, probe: Probe) -> anyhow::Result<ExitCode> {
    let socket = paths.agent_socket();
    let report = AgentReport::ask(&socket)
        .map_err(|error| anyhow::anyhow!("{}: {error}: no agent answers", socket.display()))?;
    let (is_so, complaint) = match probe {
        Probe::Live => (report.live, "the agent is stuck in one job".to_owned()),
        Probe::Ready => {
            let reasons = report.left_out.into_iter().chain(report.complaint).collect::<Vec<_>>().join("; ");
            (report.ready, format!("pods get no addresses here: {reasons}"))
        }
    };
    if !is_so {
        errln!("naru: {complaint}");
    }
    Ok(if is_so { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
