use std::net::IpAddr;

use anyhow::Context;
use naru_core::ipam::{Domain, HostLocalFile};
use naru_node::{
    endpoint::{Imported, host_local_files, import},
    host,
    paths::Paths,
};
use naru_store::StateStore;
use serde::Serialize;

use super::{ImportArgs, view};
use crate::report::{Table, print_json};

/// One file of the directory; `naru ipam import --json` is a list of these.
#[derive(Serialize)]
struct Line {
    /// The address.
    address: IpAddr,
    /// Its container.
    container: String,
    /// The container's interface.
    ifname: String,
    /// `adopted`, `known`, `stale` (no live namespace has it; left out) or `refused`.
    result: &'static str,
    /// The reason for a refusal; else null.
    why: Option<String>,
}

/// Takes over a host-local directory. Returns true if nothing was refused.
pub fn run(paths: &Paths, args: &ImportArgs) -> anyhow::Result<bool> {
    let directory = &args.directory;
    let named = || directory.canonicalize().ok()?.file_name().map(|name| name.to_string_lossy().into_owned());
    let network =
        args.network.clone().or_else(named).context("--network: not given, and the directory has no name")?;
    let files = host_local_files(directory).with_context(|| directory.display().to_string())?;
    let domain = if args.ipam { Domain::ipam(&network) } else { Domain::naru() };
    let mut store = match args.ipam {
        true => store(paths)?,
        false => view::open(paths)?.1.store,
    };
    let done = import(&mut store, &files, (&domain, &network), host::now())?;
    let lines: Vec<Line> = files.into_iter().zip(done).map(line).collect();
    if args.output.json {
        print_json(&lines)?;
    } else {
        print(&lines);
    }
    Ok(lines.iter().all(|line| line.why.is_none()))
}

/// The store, made as `naru-ipam` makes it: no init is needed for another main plugin.
fn store(paths: &Paths) -> anyhow::Result<StateStore> {
    let boot_id = host::boot_id()?;
    Ok(match StateStore::open(&paths.lease_store(), &boot_id) {
        Err(error) if error.wants_creation() => {
            StateStore::create(&paths.lease_store(), &boot_id, host::now())?.0
        }
        opened => opened?,
    })
}

fn line((file, imported): (HostLocalFile, Imported)) -> Line {
    let HostLocalFile { address, container, ifname } = file;
    let (result, why) = match imported {
        Imported::Adopted => ("adopted", None),
        Imported::Known => ("known", None),
        Imported::Stale => ("stale", None),
        Imported::Refused(why) => ("refused", Some(why)),
    };
    Line { address, container, ifname, result, why }
}

fn print(lines: &[Line]) {
    let mut table = Table::new(&["IP", "RESULT", "CONTAINER", "INTERFACE", "WHY"]);
    for line in lines {
        let why = line.why.clone().unwrap_or_default();
        let cells = [
            line.address.to_string(),
            line.result.to_owned(),
            line.container.clone(),
            line.ifname.clone(),
            why,
        ];
        table.row(cells.into());
    }
    out!("{table}");
}
