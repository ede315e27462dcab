use ipnet::IpNet;
use naru_core::ipam::{Range, Row, State};
use naru_node::{
    init,
    machine::{MachineError, NamedPool, PoolChange, Request, Settings},
    paths::Paths,
};
use serde::Serialize;

use super::{PoolAddArgs, PoolArgs, PoolCommand, PoolDrainArgs, PoolShowArgs, view};
use crate::report::{OutputArgs, Table, print_json};

/// One range of a pool; `naru ipam pool show --json` is a list of these.
#[derive(Serialize)]
struct Line {
    /// The pool; `node` stands for the cluster's blocks of this node, without the ranges of named pools.
    pool: String,
    /// `naru`, or `ipam/<network>` for another main plugin's network.
    domain: String,
    /// The range; parts that are excluded from a named pool are left out.
    range: IpNet,
    /// True if nothing is given out from it any more.
    draining: bool,
    /// Addresses.
    total: u64,
    /// Held by attachments.
    assigned: u64,
    /// Given back a moment ago.
    cooling: u64,
    /// Never given out, or to one pod only.
    reserved: u64,
    /// Namespaces whose pods take their addresses from the pool.
    namespaces: Vec<String>,
}

/// Runs `naru ipam pool`. Returns true if the change was possible.
pub fn run(paths: &Paths, args: &PoolArgs) -> anyhow::Result<bool> {
    match &args.command {
        PoolCommand::Show(args) => show(paths, args),
        PoolCommand::Add(args) => change(paths, PoolChange::Add(pool(paths, args)?), args.output),
        PoolCommand::Drain(args) => drain(paths, args),
    }
}

fn pool(paths: &Paths, args: &PoolAddArgs) -> anyhow::Result<NamedPool> {
    let known = Settings::load(paths)?.and_then(|memory| memory.named_pool(&args.name).cloned());
    let truncated = |nets: &[IpNet]| nets.iter().map(IpNet::trunc).collect();
    Ok(NamedPool {
        name: args.name.clone(),
        ranges: truncated(&args.ranges),
        excluded: truncated(&args.exclude),
        draining: Vec::new(),
        namespaces: args.namespace.clone(),
        masquerade: args.masquerade.or(known.map(|pool| pool.masquerade)).unwrap_or(true),
    })
}

/// Drains a pool, by its name or by one of its ranges.
fn drain(paths: &Paths, args: &PoolDrainArgs) -> anyhow::Result<bool> {
    let Ok(range) = args.pool.parse::<IpNet>() else {
        return change(paths, PoolChange::Drain { name: args.pool.clone(), range: None }, args.output);
    };
    let range = range.trunc();
    let named = Settings::load(paths)?.map(|memory| memory.named).unwrap_or_default();
    match named.into_iter().find(|pool| pool.ranges.contains(&range)) {
        Some(pool) => change(paths, PoolChange::Drain { name: pool.name, range: Some(range) }, args.output),
        None => Ok(refuse(&format!("{range}: no named pool has this range"))),
    }
}

fn refuse(why: &str) -> bool {
    errln!("naru: {why}");
    false
}

/// Applies the change, and prints the pools as they are then.
fn change(paths: &Paths, change: PoolChange, output: OutputArgs) -> anyhow::Result<bool> {
    let request = Request { pool: Some(change), ..Request::default() };
    match init::run(paths, &request) {
        Ok(ready) => {
            ready.changes.complete()?;
            show(paths, &PoolShowArgs { name: None, output })
        }
        Err(error @ (MachineError::Pool { .. } | MachineError::NoPool { .. } | MachineError::Overlap(_))) => {
            Ok(refuse(&error.to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

fn show(paths: &Paths, args: &PoolShowArgs) -> anyhow::Result<bool> {
    let (_, tools) = view::open(paths)?;
    let named = Settings::load(paths)?.map(|memory| memory.named).unwrap_or_default();
    let (ranges, rows) = (tools.store.ranges()?, tools.store.rows()?);
    let is_asked = |range: &&Range| args.name.as_ref().is_none_or(|name| *name == range.pool);
    let mut lines: Vec<Line> =
        ranges.iter().filter(is_asked).map(|range| line(range, &rows, &named)).collect();
    lines.sort_by(|a, b| (&a.domain, &a.pool, a.range).cmp(&(&b.domain, &b.pool, b.range)));
    if args.output.json {
        print_json(&lines)?;
    } else {
        print(&lines);
    }
    Ok(args.name.is_none() || !lines.is_empty())
}

fn line(range: &Range, rows: &[Row], named: &[NamedPool]) -> Line {
    let inside = |row: &&Row| row.domain == range.domain && range.offset_of(row.address).is_some();
    let count = |states: &[State]| {
        rows.iter().filter(inside).filter(|row| states.contains(&row.state)).count() as u64
    };
    let known = named.iter().find(|pool| pool.name == range.pool);
    Line {
        pool: range.pool.clone(),
        domain: range.domain.to_string(),
        range: range.net,
        draining: range.draining,
        total: range.size().into(),
        assigned: count(&[State::Assigned]),
        cooling: count(&[State::Cooling]),
        reserved: count(&[State::Reserved, State::Quarantined]),
        namespaces: known.map(|pool| pool.namespaces.clone()).unwrap_or_default(),
    }
}

fn print(lines: &[Line]) {
    let mut table =
        Table::new(&["POOL", "RANGE", "STATE", "TOTAL", "ASSIGNED", "COOLING", "RESERVED", "NAMESPACES"]);
    for line in lines {
        let state = if line.draining { "DRAINING" } else { "ACTIVE" };
        let numbers =
            [line.total, line.assigned, line.cooling, line.reserved].map(|number| number.to_string());
        let mut cells = vec![line.pool.clone(), line.range.to_string(), state.to_owned()];
        cells.extend(numbers);
        cells.push(line.namespaces.join(","));
        table.row(cells);
    }
    out!("{table}");
}
