use naru_node::machine::{self, MARKS, Presence};
use std::collections::{BTreeMap, HashSet};

use naru_cni_types::{Attachment, Code, Error, NetworkConf, gc_input};
use naru_core::{
    ids::{AttachmentId, Label},
    ipam::{Domain, Millis, State},
};
use naru_netlink::links::Links;
use naru_node::{
    endpoint::{self, Cause, Maps, PodNotes},
    host,
    paths::Paths,
};
use naru_store::{StateStore, StoreError};

use crate::{
    cause, clock,
    delegate::{self, Delegate},
    setting,
};

/// Detaches every attachment of this network that the runtime does not list, as far as possible; none without a list.
/// Attachments made since this call began are newer than the list. Then come other IPAM plugins: leases of theirs are
/// given back by DEL with the configuration of the ADD, and the plugin that the configuration names runs its own GC.
pub(super) fn gc(conf: &NetworkConf, stdin: &[u8]) -> Result<String, Error> {
    let began = clock::now();
    let valid: HashSet<&Attachment> = conf.attachments_to_keep()?.iter().collect();
    let paths = setting::paths(&conf.network.naru);
    machine::refuse_newer(&paths).map_err(|why| cause::of_init(&why))?;
    let mut errors = Vec::new();
    let mut keep = |part: Result<Vec<String>, String>| match part {
        Ok(told) => errors.extend(told),
        Err(why) => errors.push(why),
    };
    keep(take_down(&paths, &conf.network.name, &valid, began).map_err(|why| why.to_string()));
    keep(delegate::collect(&paths, &conf.network.name, &valid, began).map_err(|why| why.to_string()));
    // Another plugin may know the list only by the newer key, and take everything down without it.
    let stdin = gc_input(stdin)?;
    let delegate = Delegate::of(&conf.network, &stdin);
    keep(delegate.map_or(Ok(()), Delegate::gc).map(|()| Vec::new()).map_err(|why| why.to_string()));
    if errors.is_empty() { Ok(String::new()) } else { Err(Error::new(Code::Garbage, errors.join("; "))) }
}

/// Detaches our own part; returns the failures.
fn take_down(
    paths: &Paths,
    network: &str,
    valid: &HashSet<&Attachment>,
    began: Millis,
) -> Result<Vec<String>, Cause> {
    let links = Links::open(MARKS)?;
    let mut store = match StateStore::open(&paths.lease_store(), &host::boot_id()?) {
        // Nothing was attached in this boot yet.
        Err(StoreError::Missing(_) | StoreError::OtherBoot { .. }) => return Ok(Vec::new()),
        opened => opened?,
    };
    let _presence = Presence::take(paths)?;
    let mut maps = Maps::open(paths.pins())?;
    let mut errors = Vec::new();
    for id in stale(paths, &store, &links, network, valid, began)? {
        let done = endpoint::detach(&links, Some(&mut maps), Some(&mut store), &id, clock::now());
        for cause in &done.flows {
            log!("{id}: {cause}: the next pod with its address forgets its flows");
        }
        if done.kernel.is_empty() {
            PodNotes::of(paths).forget(&id);
        }
        errors.extend(done.kernel.iter().chain(&done.store).map(|cause| format!("{id}: {cause}")));
    }
    Ok(errors)
}

/// Returns the attachments of `network`, by store or by live veth, that are not needed.
fn stale(
    paths: &Paths,
    store: &StateStore,
    links: &Links,
    network: &str,
    valid: &HashSet<&Attachment>,
    began: Millis,
) -> Result<Vec<AttachmentId>, Cause> {
    // Links are read before rows: an attachment under way then has its row, which shows that it is new.
    let links = links.host_veths()?;
    let owners = links.iter().filter_map(|link| link.alias.parse::<Label>().ok()?.alias.attachment());
    let mut all: BTreeMap<AttachmentId, Millis> = owners.map(|owner| (owner, 0)).collect();
    let rows = store.rows()?;
    for row in rows.into_iter().filter(|row| row.state == State::Assigned && row.domain == Domain::naru()) {
        if let Some(owner) = row.owner {
            let newest = all.entry(owner).or_default();
            *newest = row.since.max(*newest);
        }
    }
    // A pair that waits for an address from DHCP has a note of its lease, and no row yet.
    for (owner, since) in delegate::noted_since(paths)? {
        all.entry(owner).and_modify(|newest| *newest = since.max(*newest));
    }
    let is_valid = |id: &AttachmentId| {
        valid.contains(&Attachment { container: id.container().to_owned(), ifname: id.ifname().to_owned() })
    };
    let stale =
        all.into_iter().filter(|(id, since)| id.network() == network && *since < began && !is_valid(id));
    Ok(stale.map(|(id, _)| id).collect())
}
