use std::collections::{BTreeMap, HashSet};

use naru_cni_types::{Attachment, Code, Error, NetworkConf};
use naru_core::{
    ids::{AttachmentId, Label},
    ipam::{Domain, Millis, State},
};
use naru_node::{
    datapath::Pins,
    endpoint::{self, Cause, Maps},
    host,
    links::Links,
    store::StateStore,
};

use crate::{clock, setting};

/// Takes down every attachment of this network that the runtime does not list. Those made since this call began are
/// newer than the list.
pub(super) fn gc(conf: &NetworkConf) -> Result<String, Error> {
    let began = clock::now();
    let failed = |why: &dyn std::fmt::Display| Error::new(Code::Garbage, why.to_string());
    let paths = setting::paths(&conf.network.naru);
    let links = Links::open().map_err(|why| failed(&why))?;
    let boot = host::boot_id().map_err(|why| failed(&why))?;
    let mut store = StateStore::open(&paths.lease_store(), &boot).map_err(|why| failed(&why))?;
    let mut maps = Maps::open(Pins::new(&paths)).map_err(|why| failed(&why))?;
    let valid: HashSet<&Attachment> = conf.valid_attachments.iter().collect();
    let mut errors = Vec::new();
    for id in stale(&store, &links, &conf.network.name, &valid, began).map_err(|why| failed(&why))? {
        let done = endpoint::detach(&links, Some(&mut maps), Some(&mut store), &id, clock::now());
        errors.extend(done.kernel.iter().chain(&done.store).map(|cause| format!("{id}: {cause}")));
    }
    if errors.is_empty() { Ok(String::new()) } else { Err(failed(&errors.join("; "))) }
}

/// The attachments of `network`, by store or by live veth, that nobody needs.
fn stale(
    store: &StateStore,
    links: &Links,
    network: &str,
    valid: &HashSet<&Attachment>,
    began: Millis,
) -> Result<Vec<AttachmentId>, Cause> {
    // Links before rows: an attachment under way then shows its row too, which says that it is new.
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
    let is_valid = |id: &AttachmentId| {
        valid.contains(&Attachment { container: id.container().to_owned(), ifname: id.ifname().to_owned() })
    };
    let stale =
        all.into_iter().filter(|(id, since)| id.network() == network && *since < began && !is_valid(id));
    Ok(stale.map(|(id, _)| id).collect())
}
