use naru_bpf::Datapath;
use naru_node::paths::Paths;
use serde::Serialize;

use crate::report::{HookRow, OutputArgs, Owners, PodRow, Table, hooks, pods, print_json};

/// Shape of `naru stats --json`.
#[derive(Serialize)]
struct Stats {
    /// By hook and outcome.
    hooks: Vec<HookRow>,
    /// By pod.
    pods: Vec<PodRow>,
}

/// Prints packets and bytes by hook and outcome, and by pod.
pub fn run(paths: &Paths, args: &OutputArgs) -> anyhow::Result<()> {
    let datapath = Datapath::open(&paths.pins())?;
    let stats = Stats { hooks: hooks(&datapath)?, pods: pods(&datapath, &Owners::read(paths))? };
    if args.json {
        return print_json(&stats);
    }
    out!("{}\n", hook_table(&stats.hooks));
    out!("{}", pod_table(&stats.pods));
    Ok(())
}

/// Hooks and what came to which end there.
pub fn hook_table(rows: &[HookRow]) -> Table {
    let mut table = Table::new(&["HOOK", "CLASS", "OUTCOME", "PACKETS", "BYTES"]);
    for row in rows {
        let (packets, bytes) = (row.tally.packets.to_string(), row.tally.bytes.to_string());
        table.row(vec![row.hook.into(), row.class.into(), row.outcome.into(), packets, bytes]);
    }
    table
}

fn pod_table(rows: &[PodRow]) -> Table {
    let mut table =
        Table::new(&["POD", "INTERFACE", "TX PACKETS", "TX BYTES", "RX PACKETS", "RX BYTES", "DROPPED"]);
    for row in rows {
        let dropped: u64 =
            row.outcomes.iter().filter(|one| one.class == "drop").map(|one| one.tally.packets).sum();
        let numbers = [row.tx.packets, row.tx.bytes, row.rx.packets, row.rx.bytes, dropped];
        let names = [row.pod.clone(), row.interface.clone()].into_iter();
        table.row(names.chain(numbers.iter().map(ToString::to_string)).collect());
    }
    table
}
