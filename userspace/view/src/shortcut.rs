//! Limits and XDP programs that the shortcut between pods of one node bypasses unnoticed.

use std::os::fd::AsFd;

use naru_abi::pod_flags;
use naru_bpf::Interfaces;
use naru_core::ipam::{Domain, Row};
use naru_netlink::{links::pod_link, netns};
use naru_node::{
    endpoint::live_namespaces,
    host, init,
    machine::{self, MARKS, MachineError, NodeFacts, limits},
    paths::Paths,
};
use naru_store::{NodeStore, StateStore};

use crate::{Code, Finding};

/// Findings about pods that would have to leave the shortcut.
pub(crate) fn findings(paths: &Paths) -> Result<Vec<Finding>, MachineError> {
    let Some(facts) = machine::current(paths)? else { return Ok(Vec::new()) };
    let mut all = by_limits(paths, &facts)?;
    all.extend(by_xdp(paths)?);
    Ok(all)
}

/// Findings about rate limits of which only the bandwidth plugin is told.
fn by_limits(paths: &Paths, facts: &NodeFacts) -> Result<Vec<Finding>, MachineError> {
    let told = init::as_told(paths, &NodeStore::open(&paths.node_store())?)?;
    let lists = limits(&told.cni_conf).into_iter();
    let unknown = lists.filter(|list| !list.is_for_all || !facts.limited.contains(&list.network));
    let evidence =
        "naru-cni is not told of the rate limits in it, so they do not hold between pods of one node";
    Ok(unknown
        .map(|list| Finding::new(Code::LimitBypassed, list.file.display().to_string(), evidence))
        .collect())
}

/// Findings about pods whose interface has a native XDP program: it runs on packets from the peer of a veth pair, but
/// not on those that are redirected into the pod.
fn by_xdp(paths: &Paths) -> Result<Vec<Finding>, MachineError> {
    let rows = StateStore::open(&paths.lease_store(), &host::boot_id()?)?.rows()?;
    let interfaces = Interfaces::open(&paths.pins())?;
    let alive = live_namespaces().map_err(|error| MachineError::Namespace(error.to_string()))?;
    let has_shortcut = |row: &Row| {
        let flags = interfaces.get(row.ifindex).ok().flatten().map(|value| value.flags);
        flags.is_some_and(|flags| flags & pod_flags::NO_SHORTCUT == 0)
    };
    let mut found: Vec<Finding> = Vec::new();
    for row in rows.iter().filter(|row| row.confirmed && row.domain == Domain::naru() && has_shortcut(row)) {
        let (Some(owner), Some(path)) = (&row.owner, row.netns.and_then(|id| alive.get(&id))) else {
            continue;
        };
        let Ok(netns) = netns::open_netns(path) else { continue };
        if !pod_link(netns.as_fd(), owner.ifname(), MARKS)
            .is_ok_and(|link| link.is_some_and(|link| link.has_xdp))
        {
            continue;
        }
        let subject = if row.pod.is_empty() { owner.to_string() } else { format!("pod {}", row.pod) };
        if found.iter().all(|one| one.subject != subject) {
            let evidence =
                format!("the XDP program of its {} sees no packet from pods of this node", owner.ifname());
            found.push(Finding::new(Code::XdpBypassed, subject, evidence));
        }
    }
    Ok(found)
}
