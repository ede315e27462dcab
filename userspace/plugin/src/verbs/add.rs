use naru_netlink::netns;
use std::path::PathBuf;

use naru_cni_types::{CniResult, Code, Dns, Error, NetworkConf, Target};
use naru_node::{
    endpoint::{self, AttachError, Attached, Expected, PodNotes, Spec, Tools},
    init,
    machine::{Delegated, NodeFacts, Request},
    paths::Paths,
};

use super::{hold, tools};
use crate::{
    answer::{self, Given},
    cause, clock,
    delegate::{self, Delegate, Lease},
    setting,
};

/// Attaches the target and returns the result.
pub(super) fn add(
    conf: &NetworkConf,
    target: &Target,
    netns: PathBuf,
    stdin: &[u8],
) -> Result<String, Error> {
    setting::check_served(conf)?;
    setting::check_limits(conf, || naru_bpf::has_tcx("lo"))?;
    match Delegate::of(&conf.network, stdin) {
        Some(delegate) => add_delegated(conf, target, netns, delegate),
        None => add_own(conf, target, netns),
    }
}

/// Attaches with addresses of our own store.
fn add_own(conf: &NetworkConf, target: &Target, netns: PathBuf) -> Result<String, Error> {
    let standalone = setting::standalone(conf)?;
    let addressing = setting::addressing(conf)?;
    answer::check_resolv_conf(addressing)?;
    let paths = setting::paths(&conf.network.naru);
    let node = match setting::named_pool(conf) {
        Some(name) => init::ensure_pool(&paths, name),
        None => init::ensure(&paths, standalone.as_ref()),
    }
    .map_err(|error| cause::of_init(&error))?;
    let spec = setting::spec(conf, target, netns, &node)?;
    let request = Request { standalone, ..Request::default() };
    let attached = attach_or_renew(&paths, &node, &spec, &request)?;
    say(conf, Given { dns: answer::dns(conf, addressing), ipam: None }, &spec, &attached)
}

/// Attaches with addresses of another IPAM plugin, which gets them back if a later step fails. An attachment that is
/// complete keeps its addresses, and the plugin is not called.
fn add_delegated(
    conf: &NetworkConf,
    target: &Target,
    netns: PathBuf,
    delegate: Delegate<'_>,
) -> Result<String, Error> {
    let paths = setting::paths(&conf.network.naru);
    let node = init::ensure_delegated(&paths, &Delegated::default()).map_err(|why| cause::of_init(&why))?;
    let mut bare = setting::bare(conf, target, netns, &node)?;
    netns::open_netns(&bare.netns).map_err(|why| cause::of_attach(&early(&bare, why.into())))?;
    let known = Lease::known(delegate, &paths, &bare.id, &node.boot_id)?;
    let (mut lease, result) = match known.filter(|(_, result)| stands(&paths, &node, &bare, result)) {
        Some(standing) => standing,
        None => {
            let taken = take(delegate, &paths, &node, &bare)?;
            bare.prepared = delegate.asks_over_link();
            taken
        }
    };
    let wire = || {
        let masquerade = conf.ip_masq.unwrap_or(false);
        let delegated = delegate::delegated(&conf.network.name, &result, masquerade);
        let node = init::ensure_delegated(&paths, &delegated).map_err(|why| cause::of_init(&why))?;
        delegate.refuse_unusable(&result, &node)?;
        let mut spec = setting::delegated_spec(bare.clone(), &result)?;
        if !spec.prepared {
            // A family that is new to the node may ask for more than it had before.
            spec.mtu = conf.mtu.unwrap_or(node.pod_mtu);
        }
        let request = Request { delegated: Some(delegated), ..Request::default() };
        let attached = attach_or_renew(&paths, &node, &spec, &request)?;
        let dns = if conf.dns == Dns::default() { result.dns.clone() } else { conf.dns.clone() };
        say(conf, Given { dns, ipam: Some(&result) }, &spec, &attached)
    };
    wire().map_err(|error| {
        let error = lease.undo(error);
        if bare.prepared {
            abandon(&paths, &node, &bare);
        }
        error
    })
}

/// Takes a new lease; the pair is made first if the plugin needs it.
fn take<'a>(
    delegate: Delegate<'a>,
    paths: &Paths,
    node: &NodeFacts,
    spec: &Spec,
) -> Result<(Lease<'a>, CniResult), Error> {
    let is_first = delegate.asks_over_link();
    let ready = || if is_first { prepare(paths, node, spec) } else { Ok(()) };
    Lease::take(delegate, paths, &spec.id, &node.boot_id, ready).inspect_err(|_| {
        if is_first {
            abandon(paths, node, spec);
        }
    })
}

fn prepare(paths: &Paths, node: &NodeFacts, spec: &Spec) -> Result<(), Error> {
    let held = hold(paths, node).map_err(|cause| early(spec, cause));
    let done =
        held.and_then(|(_presence, mut tools)| endpoint::prepare(&mut tools, node, spec, clock::now()));
    done.map_err(|why| cause::of_attach(&why))
}

/// Deletes the pair that was made for a lease that has been given back; the reconciler removes any leftovers.
fn abandon(paths: &Paths, node: &NodeFacts, spec: &Spec) {
    if let Ok((_presence, Tools { links, mut store, mut maps })) = hold(paths, node) {
        endpoint::detach(&links, Some(&mut maps), Some(&mut store), &spec.id, clock::now());
    }
}

/// Returns true if the attachment is wired with the other IPAM plugin's addresses.
fn stands(paths: &Paths, node: &NodeFacts, bare: &Spec, result: &CniResult) -> bool {
    let addresses = result.ips.iter().map(|ip| ip.address.addr()).collect();
    let expected = Expected { addresses, ..Expected::default() };
    let (Ok(netns), Ok(tools)) = (netns::open_netns(&bare.netns), tools(paths, node)) else { return false };
    endpoint::check(&tools, &bare.id, std::os::fd::AsFd::as_fd(&netns), &expected).is_ok()
}

fn say(conf: &NetworkConf, given: Given<'_>, spec: &Spec, attached: &Attached) -> Result<String, Error> {
    let result = answer::result(conf, given, &spec.netns, attached);
    result.to_json(conf.network.version).map_err(|why| Error::new(Code::InvalidConfig, why))
}

fn early(spec: &Spec, cause: endpoint::Cause) -> AttachError {
    AttachError { subject: spec.subject(), cause: Box::new(cause), undo: Vec::new() }
}

fn attach(paths: &Paths, node: &NodeFacts, spec: &Spec) -> Result<Attached, AttachError> {
    let (_presence, mut tools) = hold(paths, node).map_err(|cause| early(spec, cause))?;
    let attached = endpoint::attach(&mut tools, node, spec, clock::now())?;
    note_pod(paths, spec);
    Ok(attached)
}

/// Notes the pod, for a store that is made again while it lives.
fn note_pod(paths: &Paths, spec: &Spec) {
    if !spec.pod.is_empty()
        && let Err(error) = PodNotes::of(paths).write(&spec.id, &spec.pod)
    {
        log!("{}: its name is not noted: {error}", spec.subject());
    }
}

/// Attaches. If the store or the pins are gone though the node looked ready, makes it ready again and then attaches.
fn attach_or_renew(
    paths: &Paths,
    node: &NodeFacts,
    spec: &Spec,
    request: &Request,
) -> Result<Attached, Error> {
    match attach(paths, node, spec) {
        Err(error) if cause::asks_for_init(&error.cause) => {
            let ready = init::run(paths, request).map_err(|error| cause::of_init(&error))?;
            attach(paths, &ready.facts, spec).map_err(|error| cause::of_attach(&error))
        }
        result => result.map_err(|error| cause::of_attach(&error)),
    }
}
