use std::{collections::HashSet, env};

use naru_cni_types::{Attachment, CniResult, Code, Error, Version};
use naru_core::{ids::AttachmentId, ipam::Millis};
use naru_node::{delegate, endpoint::Cause, host, paths::Paths};
use naru_store::{DelegatedLease, NodeStore};

use super::{Delegate, noted};
use crate::clock;

/// The addresses that another plugin gave to an attachment, noted on the disk before the plugin was asked.
pub(crate) struct Lease<'a> {
    delegate: Delegate<'a>,
    store: NodeStore,
    noted: DelegatedLease,
}

impl<'a> Lease<'a> {
    /// The note of the attachment in this boot, with the plugin's result.
    pub(crate) fn known(
        delegate: Delegate<'a>,
        paths: &Paths,
        id: &AttachmentId,
        boot_id: &str,
    ) -> Result<Option<(Self, CniResult)>, Error> {
        let store = open(paths)?;
        let lease = store.delegated_of(id).map_err(|why| passing(&why))?;
        let lease = lease.filter(|lease| lease.boot_id == boot_id && lease.plugin == delegate.plugin);
        let Some(lease) = lease else { return Ok(None) };
        let result = lease.result.as_deref().and_then(|text| noted(&lease.plugin, text));
        Ok(result.map(|result| (Self { delegate, store, noted: lease }, result)))
    }

    /// Asks the plugin for addresses. Before that, the plugin gets back the leases of the boot before and the
    /// attachment's present lease; `ready` is called in between. A plugin that fails is told to undo its work.
    pub(crate) fn take(
        delegate: Delegate<'a>,
        paths: &Paths,
        id: &AttachmentId,
        boot_id: &str,
        ready: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(Self, CniResult), Error> {
        // No lease is taken that nobody could give back.
        delegate.look()?;
        let mut store = open(paths)?;
        let variable = |name: &str| env::var(name).unwrap_or_default();
        let noted = DelegatedLease {
            id: id.clone(),
            plugin: delegate.plugin.to_owned(),
            conf: delegate.stdin.to_vec(),
            args: variable("CNI_ARGS"),
            path: variable("CNI_PATH"),
            boot_id: boot_id.to_owned(),
            since: clock::now(),
            result: None,
        };
        let lock = delegate::lock(paths).map_err(|why| passing(&why))?;
        let is_void = |lease: &DelegatedLease| lease.boot_id != boot_id || lease.id == *id;
        let failed = delegate::release_those(&mut store, is_void).map_err(|why| passing(&why))?;
        for (stale, why) in &failed {
            log!("{stale}: its lease of another IPAM is not given back yet: {why}");
        }
        if let Some((_, why)) = failed.iter().find(|(stale, _)| stale == id) {
            return Err(passing(&format_args!("{id}: the lease it had: {why}")));
        }
        store.put_delegated(&noted).map_err(|why| passing(&why))?;
        drop(lock);
        let mut lease = Self { delegate, store, noted };
        let asked = ready().and_then(|()| delegate.add());
        match asked.and_then(|result| lease.note(&result).map(|()| result)) {
            Ok(result) => Ok((lease, result)),
            Err(error) => Err(lease.undo(error)),
        }
    }

    fn note(&mut self, result: &CniResult) -> Result<(), Error> {
        let text = result.to_json(Version::LATEST).map_err(|why| Error::new(Code::Decode, why))?;
        self.noted.result = Some(text);
        self.store.put_delegated(&self.noted).map_err(|why| passing(&why))
    }

    /// Gives everything back because of `error`. Leases that cannot be given back are added to the error, and stay
    /// noted for DEL and GC.
    pub(crate) fn undo(&mut self, error: Error) -> Error {
        let forget =
            |store: &mut NodeStore| store.forget_delegated(&self.noted.id).map_err(|why| passing(&why));
        match self.delegate.del().and_then(|()| forget(&mut self.store)) {
            Ok(()) => error,
            Err(undo) => Error { msg: format!("{}; undo: {undo}", error.msg), ..error },
        }
    }
}

fn open(paths: &Paths) -> Result<NodeStore, Error> {
    NodeStore::open(&paths.node_store()).map_err(|why| passing(&why))
}

/// Every fault of a store is temporary.
fn passing(why: &dyn std::fmt::Display) -> Error {
    Error::new(Code::TryAgainLater, why.to_string())
}

/// Gives the addresses of an ended attachment back to the plugin that gave them. If the configuration is the same as at
/// the ADD, its plugin is called with it; otherwise the noted plugin with the noted configuration. If the plugin fails,
/// DEL fails, and the lease stays noted; a plugin that is missing now may return.
pub(crate) fn release_noted(
    delegate: Option<Delegate<'_>>,
    paths: &Paths,
    id: &AttachmentId,
) -> Result<(), Error> {
    if delegate.is_none() && !paths.delegate_lock().exists() {
        return Ok(());
    }
    // Without the note there is nothing to forget, and DEL must work even if nothing can be written.
    let store = open(paths).inspect_err(|why| log!("{id}: {why}")).ok();
    let lease = store.as_ref().and_then(|store| store.delegated_of(id).unwrap_or_default());
    match (store, lease, delegate) {
        (Some(mut store), Some(lease), Some(delegate))
            if delegate.asks_as(&lease) && delegate.is_installed() =>
        {
            match delegate.del() {
                Ok(()) => store.forget_delegated(id).map_err(|why| passing(&why)),
                // What the runtime added may be at fault.
                Err(error) => delegate::release(&mut store, &lease).map_err(|_| error),
            }
        }
        (Some(mut store), Some(lease), _) => by_note(&mut store, &lease),
        (_, None, Some(delegate)) if delegate.is_installed() => delegate.del(),
        (Some(_), None, Some(delegate)) => {
            log!("{id}: ipam {}: not installed, and gave nothing", delegate.plugin);
            Ok(())
        }
        (None, _, Some(delegate)) => Err(passing(&format_args!(
            "ipam {}: not installed, and its lease cannot be read",
            delegate.plugin
        ))),
        (_, None, None) | (None, ..) => Ok(()),
    }
}

/// Gives a lease back by its note. A plugin that never answered its ADD, and does not answer now, gave nothing that is
/// known.
fn by_note(store: &mut NodeStore, lease: &DelegatedLease) -> Result<(), Error> {
    match delegate::release(store, lease) {
        Ok(()) => Ok(()),
        Err(why) if lease.result.is_none() => {
            log!("{}: ipam {}: {why}: given up", lease.id, lease.plugin);
            store.forget_delegated(&lease.id).map_err(|why| passing(&why))
        }
        Err(why) => Err(passing(&format_args!("ipam {}: {why}", lease.plugin))),
    }
}

/// The time at which each attachment's lease of this boot was noted; there is none without a store.
pub(crate) fn noted_since(paths: &Paths) -> Result<Vec<(AttachmentId, Millis)>, Cause> {
    if !paths.node_store().exists() {
        return Ok(Vec::new());
    }
    let all = NodeStore::open(&paths.node_store())?.delegated()?;
    let boot_id = host::boot_id()?;
    let of_boot = all.into_iter().filter(|lease| lease.boot_id == boot_id);
    Ok(of_boot.map(|lease| (lease.id, lease.since)).collect())
}

/// GC by DEL: a lease that was noted in `network` before `began` and is not valid is given back with the
/// configuration of its ADD. Returns the leases that could not be given back.
pub(crate) fn collect(
    paths: &Paths,
    network: &str,
    valid: &HashSet<&Attachment>,
    began: Millis,
) -> Result<Vec<String>, Error> {
    if !paths.node_store().exists() {
        return Ok(Vec::new());
    }
    let mut store = open(paths)?;
    if store.delegated().map_err(|why| passing(&why))?.is_empty() {
        return Ok(Vec::new());
    }
    // The note is read again under the lock, under which nobody notes a new lease.
    let _lock = delegate::lock(paths).map_err(|why| passing(&why))?;
    let is_valid = |id: &AttachmentId| {
        valid.contains(&Attachment { container: id.container().to_owned(), ifname: id.ifname().to_owned() })
    };
    let boot_id = host::boot_id().map_err(|why| passing(&why))?;
    // The clock began again with the boot.
    let is_new = |lease: &DelegatedLease| lease.boot_id == boot_id && lease.since >= began;
    let is_stale =
        |lease: &DelegatedLease| lease.id.network() == network && !is_new(lease) && !is_valid(&lease.id);
    let failed = delegate::release_those(&mut store, is_stale).map_err(|why| passing(&why))?;
    Ok(failed.into_iter().map(|(id, why)| format!("{id}: {why}")).collect())
}
