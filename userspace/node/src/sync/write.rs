use crate::machine::GATEWAYS;
use naru_abi::Prefix;
use naru_core::desired::{
    Command, KernelHop, KernelRoute, MAIN_TABLE, Rank, RouteKey, Rule, Selector, State,
};
use naru_netlink::links::{self, Links, RouteTarget};

use crate::machine::MachineError;
use naru_bpf::{Pins, Routes};

/// The plan and the kernel use the same table.
const _: () = assert!(MAIN_TABLE == links::MAIN);

/// Carries the commands out in order. Returns the refusals.
pub(super) fn all(
    links: &Links,
    pins: &Pins,
    overlay: Option<u32>,
    commands: &[Command],
) -> Result<Vec<String>, MachineError> {
    let mut map = Routes::open(pins)?;
    let mut refused = Vec::new();
    for batch in commands.chunk_by(|a, b| std::mem::discriminant(a) == std::mem::discriminant(b)) {
        refused.extend(routes(links, overlay, batch));
        for command in batch {
            refused.extend(one(links, &mut map, command).err().map(|error| error.to_string()));
        }
    }
    Ok(refused)
}

/// The routes of a batch, in one exchange; one after the other if that is refused, to know which.
fn routes(links: &Links, overlay: Option<u32>, batch: &[Command]) -> Vec<String> {
    let of = |command: &Command| match *command {
        Command::SetRoute(key, route) | Command::RemoveRoute(key, route) => kernel_route(key, route, overlay),
        _ => None,
    };
    let routes: Vec<links::Route> = batch.iter().filter_map(of).collect();
    if routes.is_empty() {
        return Vec::new();
    }
    let write = |routes: &[links::Route]| match batch.first() {
        Some(Command::RemoveRoute(..)) => links.delete_routes(routes),
        _ => links.ensure_routes(routes),
    };
    if write(&routes).is_ok() {
        return Vec::new();
    }
    let failures = routes.iter().filter_map(|route| Some((route, write(std::slice::from_ref(route)).err()?)));
    failures.filter(|(route, error)| !is_leaving(route, error)).map(|(_, error)| error.to_string()).collect()
}

/// Returns true if the route belongs to a pod that is being attached or detached right now: the pod's own plan does the
/// rest.
fn is_leaving(route: &links::Route, error: &links::LinkError) -> bool {
    let is_pods = matches!(route.target, RouteTarget::Device { .. });
    is_pods && (error.is_absent() || error.errno() == Some(libc::ENETDOWN))
}

fn one(links: &Links, map: &mut Routes, command: &Command) -> Result<(), MachineError> {
    match *command {
        Command::SetEntry(to, value) => map.insert(Prefix::new(to.addr(), to.prefix_len()), value)?,
        Command::RemoveEntry(to) => drop(map.delete(Prefix::new(to.addr(), to.prefix_len()))?),
        Command::AddRule(rule) => links.ensure_rule(kernel_rule(rule))?,
        Command::RemoveRule(rule) => drop(links.delete_rule(kernel_rule(rule))?),
        Command::SetRoute(..) | Command::RemoveRoute(..) => {}
    }
    Ok(())
}

/// A rule of the desired state as the kernel takes it.
pub(super) fn kernel_rule(rule: Rule) -> links::Rule {
    let selector = match rule.selector {
        Selector::From(prefix) => links::Selector::From(prefix),
        Selector::To(prefix) => links::Selector::To(prefix),
    };
    links::Rule { selector, table: rule.table, preference: rule.preference, suppress: rule.suppress }
}

/// The routes of a state as the kernel takes them.
pub(super) fn kernel_routes(state: &State, overlay: Option<u32>) -> Vec<links::Route> {
    state.routes.iter().filter_map(|(key, route)| kernel_route(*key, *route, overlay)).collect()
}

/// A route of the desired state as the kernel takes it; `None` for one through a tunnel device that is not there.
fn kernel_route(key: RouteKey, route: KernelRoute, overlay: Option<u32>) -> Option<links::Route> {
    let target = match route.hop {
        KernelHop::Pod { ifindex } => RouteTarget::Device { index: ifindex },
        KernelHop::Unreachable => RouteTarget::Unreachable,
        KernelHop::Direct { ifindex, via } => RouteTarget::Gateway { index: ifindex, via },
        KernelHop::Overlay => {
            RouteTarget::Gateway { index: overlay?, via: GATEWAYS.of(key.destination.addr()) }
        }
    };
    let KernelRoute { source, mtu, .. } = route;
    let route = links::Route::new(key.destination, key.table, target, source, mtu);
    Some(if key.rank == Rank::Spare { route.spare() } else { route })
}
