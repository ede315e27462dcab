//! Uninstall of a node without notes: its parts that exist, and changes of the machine that can be undone all the same.

use naru_netlink::links::Links;

use crate::{
    host::{self, firewall, forward, sysctl},
    machine::{DEVICE, MachineError},
    paths::Paths,
};
use naru_bpf::Pins;

/// Returns the parts of a node that exist, in words.
pub(super) fn found(paths: &Paths, links: &Links) -> Result<Vec<String>, MachineError> {
    let counted = |count: usize, what: &str| (count > 0).then(|| format!("{count} {what}"));
    let named = |is_there: bool, what: &str| is_there.then(|| what.to_owned());
    let device = links.link(DEVICE)?.is_some_and(|link| link.kind == "vxlan");
    let pins = Pins::versions(&paths.bpf).map_err(MachineError::file(&paths.bpf, "list"))?;
    let all = [
        counted(links.host_veths()?.len(), "pod interfaces"),
        named(device, "the tunnel device"),
        counted(links.routes()?.len(), "routes"),
        counted(links.rules()?.own.len(), "rules"),
        named(firewall::counters()?.is_some(), "the nftables table inet naru"),
        counted(pins.len(), "directories of pins"),
    ];
    Ok(all.into_iter().flatten().collect())
}

/// Removes our exceptions from others' chains, and unmounts the bpffs if it lies within our directory.
pub(super) fn undo(paths: &Paths) -> Result<(), MachineError> {
    for chain in forward::dropping()? {
        forward::close(&chain.to_string())?;
    }
    if paths.bpf.starts_with(&paths.run) {
        host::unmount_bpffs(&paths.bpf)?;
    }
    Ok(())
}

/// Returns settings that init switches on, and that are on.
pub(super) fn settings() -> Vec<String> {
    let all = ["net/ipv4/conf/all/forwarding", "net/ipv6/conf/all/forwarding"];
    let is_on = |name: &&str| sysctl::read(name).is_ok_and(|value| value.as_deref() == Some("1"));
    all.into_iter().filter(is_on).map(|name| format!("{} is 1", name.replace('/', "."))).collect()
}
