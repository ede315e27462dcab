use std::net::IpAddr;

use naru_core::ipam::{Listed, list};
use naru_node::{host, paths::Paths};
use naru_store::StateStore;
use serde::Serialize;

use crate::report::{OutputArgs, Table, print_json};

/// One line of `naru ipam list`; with `--json` a list of these.
#[derive(Serialize)]
struct Line {
    /// First address.
    first: IpAddr,
    /// Last address: the first again unless the line is a span of free ones.
    last: IpAddr,
    /// `ASSIGNED`, `COOLING`, `RESERVED` or `FREE`.
    status: &'static str,
    /// `default/web-0`; null when the runtime named none.
    pod: Option<String>,
    /// `network/container/interface`; null for free and reserved addresses.
    attachment: Option<String>,
    /// The reason for which it is reserved; else empty.
    note: String,
}

/// Prints every address that is not free, and the spans of those that are.
pub fn run(paths: &Paths, output: OutputArgs) -> anyhow::Result<()> {
    let store = StateStore::open(&paths.lease_store(), &host::boot_id()?)?;
    let lines = list(&store.ranges()?, &store.rows()?);
    if output.json {
        return print_json(&lines.iter().map(line).collect::<Vec<_>>());
    }
    let mut table = Table::new(&["IP", "STATUS", "POD"]);
    for line in lines {
        table.row(vec![line.ip(), line.status.into(), line.holder()]);
    }
    out!("{table}");
    Ok(())
}

fn line(listed: &Listed) -> Line {
    Line {
        first: listed.first,
        last: listed.last,
        status: listed.status,
        pod: (!listed.pod.is_empty()).then(|| listed.pod.to_string()),
        attachment: listed.owner.as_ref().map(ToString::to_string),
        note: listed.note.clone(),
    }
}
