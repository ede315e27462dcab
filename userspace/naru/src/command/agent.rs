use std::{io::IsTerminal, time::Duration};

use naru_agent::{Mirror, follow};
#[cfg(feature = "debug")]
use naru_bpf::follow_log;
use naru_node::paths::Paths;
use tracing_subscriber::EnvFilter;

use super::init::{request, source};
use crate::args::AgentArgs;

/// The log filter unless `NARU_LOG` sets another.
const FILTER: &str = if cfg!(feature = "debug") { "info,naru_datapath=debug" } else { "info" };

/// Init, then follow the cluster until SIGTERM. The log goes to standard error; `NARU_LOG` filters it.
pub fn run(paths: &Paths, args: &AgentArgs) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env("NARU_LOG").unwrap_or_else(|_| EnvFilter::new(FILTER));
    let colours = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    #[cfg(feature = "debug")]
    std::thread::spawn({
        let pins = paths.pins();
        move || follow_log(&pins)
    });
    let source = Box::new(source(paths, &args.init));
    let mirror = Mirror::new(paths.clone(), request(paths, &args.init, None)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let end = runtime.block_on(follow(mirror, source, Duration::from_secs(args.interval)));
    // A read of a file that hangs is not waited for.
    runtime.shutdown_background();
    end
}
