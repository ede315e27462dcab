use std::path::Path;

use naru_cni_types::{Code, Error, Network, Target};
use naru_netlink::links::Links;
use naru_node::machine::{MARKS, Presence};
use naru_node::{
    endpoint::{self, Cause, Maps, PodNotes},
    host,
};
use naru_store::StateStore;

use crate::{
    clock,
    delegate::{self, Delegate},
    setting,
};

use super::refuse_own_netns;

/// Detaches the target. It is no error if parts are gone already, even the store and the maps; a refusal of the kernel
/// may succeed later.
pub(super) fn del(
    network: &Network,
    target: &Target,
    netns: Option<&Path>,
    stdin: &[u8],
) -> Result<String, Error> {
    let id = setting::attachment(network, target)?;
    let paths = setting::paths(&network.naru);
    let delegate = Delegate::of(network, stdin).map(|delegate| match netns {
        // The container's namespace is gone; the plugin must not clean up in the node's.
        Some(netns) if refuse_own_netns(target, netns).is_err() => delegate.without_netns(),
        _ => delegate,
    });
    // The DHCP plugin releases its lease over the interface, which is deleted even if that fails.
    let early = delegate.filter(|one| one.asks_over_link());
    let released = early.map(|one| delegate::release_noted(Some(one), &paths, &id));
    // Without this lock the attachment goes all the same: there is no node, or another process keeps the lock.
    let _presence = Presence::take(&paths).ok();
    let links = Links::open(MARKS).map_err(|why| failed(target, &[why.into()]))?;
    let mut maps = told(Maps::open(paths.pins()).map_err(Cause::from));
    let store = host::boot_id().map_err(Cause::from);
    let mut store = told(store.and_then(|boot| Ok(StateStore::open(&paths.lease_store(), &boot)?)));
    let done = endpoint::detach(&links, maps.as_mut(), store.as_mut(), &id, clock::now());
    for cause in &done.store {
        log!("{id}: {cause}: the reconciler gives its address back");
    }
    for cause in &done.flows {
        log!("{id}: {cause}: the next pod with its address forgets its flows");
    }
    if !done.kernel.is_empty() {
        return Err(failed(target, &done.kernel));
    }
    PodNotes::of(&paths).forget(&id);
    // The addresses are given back last: earlier, somebody else could have been given an address that is still in
    // use.
    released.unwrap_or_else(|| delegate::release_noted(delegate, &paths, &id))?;
    Ok(String::new())
}

/// Returns the value, or logs the error to the runtime's log and returns nothing.
fn told<T>(result: Result<T, Cause>) -> Option<T> {
    result.inspect_err(|cause| log!("{cause}: detaching without it")).ok()
}

fn failed(target: &Target, causes: &[Cause]) -> Error {
    let all: Vec<String> = causes.iter().map(ToString::to_string).collect();
    Error::new(Code::TryAgainLater, format!("container {}: {}", target.container, all.join("; ")))
}
