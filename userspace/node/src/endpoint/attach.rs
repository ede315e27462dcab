use crate::machine::MARKS;
use naru_netlink::netns;
use std::os::fd::{AsFd, OwnedFd};

use naru_abi::{InterfaceValue, PodValue};
use naru_core::{
    desired::IPV6_MIN_MTU,
    ids::{Alias, Generation, Label, NetnsId},
    ipam::{AddressRequest, Assignment, Domain, Millis, Row, keeps},
};
use naru_netlink::links::{self, HostSide, Link, LinkError, Mac, PairSpec, PodAddress, PodSide};

use super::{
    AttachError, Attached, Cause, Spec, Tools,
    check::{self, Expected},
    detach::{detach, own_link},
    namespaces,
    plan::{self, Failure, Step, nothing},
};
use crate::{
    host::sysctl::{Families, prepare_device},
    machine::NodeFacts,
    symmetry,
};

/// An attachment under way.
struct Work<'a> {
    tools: &'a mut Tools,
    node: &'a NodeFacts,
    spec: &'a Spec,
    now: Millis,
    netns: OwnedFd,
    netns_id: NetnsId,
    assignment: Assignment,
    attached: Attached,
    ifindex: u32,
}

/// Removes what the attachment had in another namespace, and only then gives its addresses back.
const fn reservation<'a>() -> [Step<Work<'a>, Cause>; 2] {
    [
        Step { name: "unwire", act: unwire, undo: nothing },
        Step { name: "reserve", act: reserve, undo: give_back },
    ]
}

/// The steps after the reservation. Map entries are written before the interface is up; everything that belongs to the
/// veth (filters, routes, neighbours, the pod's side) goes with it.
const fn wiring<'a>(pair: Step<Work<'a>, Cause>) -> [Step<Work<'a>, Cause>; 8] {
    [
        pair,
        Step { name: "purge", act: purge, undo: nothing },
        Step { name: "enter-maps", act: enter_maps, undo: leave_maps },
        Step { name: "judge", act: judge, undo: nothing },
        Step { name: "attach-filters", act: attach_filters, undo: nothing },
        Step { name: "activate", act: activate, undo: nothing },
        Step { name: "wire-pod", act: wire_pod, undo: nothing },
        Step { name: "confirm", act: confirm, undo: nothing },
    ]
}

const fn new_pair<'a>() -> Step<Work<'a>, Cause> {
    Step { name: "create-pair", act: create_pair, undo: delete_pair }
}

/// The pair that [`prepare`] made. It stays when a later step fails: the IPAM still needs it to release the lease.
const fn prepared_pair<'a>() -> Step<Work<'a>, Cause> {
    Step { name: "take-pair", act: take_pair, undo: nothing }
}

/// Makes the pair before there is an address, up at both ends, for an IPAM that asks for the address over it (DHCP).
/// Takes down whatever the attachment had before. [`attach`] continues from here where [`Spec::prepared`] says so; a
/// caller that does not get that far calls [`detach`].
///
/// # Errors
/// [`AttachError`]; what was done is taken back.
pub fn prepare(tools: &mut Tools, node: &NodeFacts, spec: &Spec, now: Millis) -> Result<(), AttachError> {
    let before = detach(&tools.links, Some(&mut tools.maps), Some(&mut tools.store), &spec.id, now);
    if let Some(cause) = before.kernel.into_iter().chain(before.store).next() {
        return Err(failed(spec, cause, Vec::new()));
    }
    let mut work = Work::begin(tools, node, spec, now).map_err(|cause| failed(spec, cause, Vec::new()))?;
    let [steps @ .., _confirm] = wiring(new_pair());
    plan::run(&steps, &mut work).map_err(|failure| explain(spec, failure))
}

/// Makes the attachment, or finds it standing: the same attachment in the same namespace is left untouched, one in
/// another namespace is superseded.
///
/// # Errors
/// [`AttachError`]; what was done is taken back.
pub fn attach(
    tools: &mut Tools,
    node: &NodeFacts,
    spec: &Spec,
    now: Millis,
) -> Result<Attached, AttachError> {
    let mut work = Work::begin(tools, node, spec, now).map_err(|cause| failed(spec, cause, Vec::new()))?;
    plan::run(&reservation(), &mut work).map_err(|failure| explain(spec, failure))?;
    if work.assignment.reused && work.is_standing() {
        return work.settle().map_err(|cause| failed(spec, cause, Vec::new()));
    }
    let pair = if spec.prepared { prepared_pair() } else { new_pair() };
    plan::run(&wiring(pair), &mut work).map_err(|mut failure| {
        failure.undo.extend(give_back(&mut work).err());
        explain(spec, failure)
    })?;
    Ok(work.attached)
}

fn failed(spec: &Spec, cause: Cause, undo: Vec<Cause>) -> AttachError {
    AttachError { subject: spec.subject(), cause: Box::new(cause), undo }
}

fn explain(spec: &Spec, failure: Failure<Cause>) -> AttachError {
    failed(spec, failure.error.unwrap_or(Cause::Asked(failure.step)), failure.undo)
}

impl<'a> Work<'a> {
    /// Makes every check that is possible before anything is done.
    fn begin(tools: &'a mut Tools, node: &'a NodeFacts, spec: &'a Spec, now: Millis) -> Result<Self, Cause> {
        let netns = netns::open_netns(&spec.netns)?;
        let netns_id = namespaces::id(netns::netns_identity(netns.as_fd())?);
        let random = || Mac::random().map_err(Cause::Random);
        let attached = Attached {
            host_name: spec.host_name(),
            host_mac: random()?,
            pod_name: spec.id.ifname().to_owned(),
            pod_mac: spec.mac.map_or_else(random, Ok)?,
            mtu: spec.mtu,
            addresses: Vec::new(),
            routes: Vec::new(),
        };
        let assignment = Assignment {
            addresses: Vec::new(),
            generation: Generation(0),
            reused: false,
            superseded: Vec::new(),
        };
        Ok(Self { tools, node, spec, now, netns, netns_id, assignment, attached, ifindex: 0 })
    }

    /// Returns true if the kernel shows the attachment as an earlier ADD left it; its assignment is taken over then.
    fn is_standing(&mut self) -> bool {
        let Ok(routes) = links::settled_routes(self.netns.as_fd(), &self.pod_side(), MARKS) else {
            return false;
        };
        let expected = Expected {
            addresses: self.assignment.addresses.clone(),
            routes: routes.iter().map(|route| route.destination).collect(),
        };
        match check::find(self.tools, &self.spec.id, self.netns.as_fd(), &expected) {
            Ok((attached, ifindex)) => {
                self.attached = Attached { routes, ..attached };
                self.ifindex = ifindex;
                true
            }
            Err(_) => false,
        }
    }

    /// Confirms an attachment that stands: the process that made it may have died just before.
    fn settle(mut self) -> Result<Attached, Cause> {
        confirm(&mut self)?;
        Ok(self.attached)
    }

    fn request(&self) -> AddressRequest {
        AddressRequest {
            pod: self.spec.pod.clone(),
            netns: Some(self.netns_id),
            addresses: self.spec.addresses.clone(),
            ..AddressRequest::new(Domain::naru(), self.spec.pool.clone(), self.spec.id.clone())
        }
    }

    fn pod_side(&self) -> PodSide<'_> {
        PodSide {
            name: self.spec.id.ifname(),
            gateway_mac: self.attached.host_mac,
            addresses: &self.assignment.addresses,
            routes: &self.attached.routes,
            subnets: &self.spec.subnets,
        }
    }

    fn label(&self) -> Label {
        Label { alias: Alias::new(&self.spec.id, self.assignment.generation), flags: self.spec.flags }
    }

    fn pod_value(&self) -> PodValue {
        PodValue {
            generation: self.assignment.generation.0,
            ifindex: self.ifindex,
            flags: self.spec.flags,
            mtu: self.spec.mtu,
            pod_mac: self.attached.pod_mac.0,
            host_mac: self.attached.host_mac.0,
            ..PodValue::EMPTY
        }
    }
}

/// Takes the address off the veth before it cools: a cooling address may be another pod's next.
fn unwire(work: &mut Work<'_>) -> Result<(), Cause> {
    let held = work.tools.store.lease_of(&Domain::naru(), &work.spec.id)?;
    if held.is_empty() || keeps(&work.request(), &held) {
        return Ok(());
    }
    remove_predecessor(work, &held)
}

/// Removes map entries first, so that nothing leads to the veth when it goes.
fn remove_predecessor(work: &mut Work<'_>, held: &[Row]) -> Result<(), Cause> {
    for row in held {
        work.tools.maps.pods.delete_generation(row.address, row.generation.0)?;
    }
    if let Some(link) = own_link(&work.tools.links, &work.spec.id)? {
        remove_link(work.tools, &link)?;
    }
    Ok(())
}

fn remove_link(tools: &mut Tools, link: &Link) -> Result<bool, Cause> {
    tools.maps.interfaces.remove(link.index)?;
    Ok(tools.links.delete_known_veth(link)?)
}

/// Removes a veth of ours that has the name of the one to be made. Returns true if there was one.
fn remove_namesake(work: &mut Work<'_>) -> Result<bool, Cause> {
    match work.tools.links.link(&work.attached.host_name)? {
        Some(link) => remove_link(work.tools, &link),
        None => Ok(false),
    }
}

fn reserve(work: &mut Work<'_>) -> Result<(), Cause> {
    let spec = work.spec;
    let request = work.request();
    let store = &mut work.tools.store;
    work.assignment = match spec.delegated {
        true => store.claim(&request, work.now)?,
        false => store.reserve(&request, work.now)?,
    };
    work.attached.addresses.clone_from(&work.assignment.addresses);
    work.attached.routes = spec.routes_for(&work.assignment.addresses);
    if spec.mtu < IPV6_MIN_MTU && work.assignment.addresses.iter().any(|ip| ip.is_ipv6()) {
        give_back(work)?;
        return Err(Cause::SmallMtu(spec.mtu));
    }
    Ok(())
}

/// Gives the addresses back by generation, so that an assignment that superseded this one stays.
fn give_back(work: &mut Work<'_>) -> Result<(), Cause> {
    for address in &work.assignment.addresses {
        let generation = work.assignment.generation;
        work.tools.store.free_if_generation(&Domain::naru(), *address, generation, work.now)?;
    }
    Ok(())
}

/// Forgets the flows of the addresses' last holder, before anything leads to the addresses.
fn purge(work: &mut Work<'_>) -> Result<(), Cause> {
    Ok(symmetry::purge_again(&mut work.tools.maps.records, &work.assignment.addresses)?)
}

fn create_pair(work: &mut Work<'_>) -> Result<(), Cause> {
    let superseded = std::mem::take(&mut work.assignment.superseded);
    if !superseded.is_empty() {
        // Nothing is left of the attachment unless another ADD has made it again.
        remove_predecessor(work, &superseded)?;
    }
    if work.assignment.reused {
        remove_namesake(work)?;
    }
    work.ifindex = match make_pair(work) {
        // A veth that is not in the store: its ADD died, or the store was lost.
        Err(error) if error.is_present() && remove_namesake(work)? => make_pair(work),
        result => result,
    }
    .map_err(|error| match error.is_present() {
        true => Cause::NameTaken(work.spec.id.ifname().to_owned()),
        false => error.into(),
    })?;
    Ok(())
}

/// Returns its index on the node.
fn make_pair(work: &Work<'_>) -> Result<u32, LinkError> {
    let alias = work.label().to_string();
    let pair = PairSpec {
        host_name: &work.attached.host_name,
        host_mac: work.attached.host_mac,
        alias: &alias,
        pod_name: work.spec.id.ifname(),
        pod_mac: work.attached.pod_mac,
        mtu: work.spec.mtu,
    };
    work.tools.links.create_pair(&pair, work.netns.as_fd())
}

fn take_pair(work: &mut Work<'_>) -> Result<(), Cause> {
    let name = &work.attached.host_name;
    let gone = |what: &str| LinkError::kernel(format!("{what}: look"), libc::ENODEV);
    let link = own_link(&work.tools.links, &work.spec.id)?.ok_or_else(|| gone(name))?;
    let pod = links::pod_facts(work.netns.as_fd(), work.spec.id.ifname(), MARKS)?;
    let pod = pod.ok_or_else(|| gone(work.spec.id.ifname()))?;
    work.tools.links.set_alias(&link, &work.label().to_string())?;
    work.ifindex = link.index;
    work.attached.host_mac = link.mac.ok_or_else(|| gone(name))?;
    work.attached.pod_mac = pod.link.mac.ok_or_else(|| gone(name))?;
    Ok(())
}

fn delete_pair(work: &mut Work<'_>) -> Result<(), Cause> {
    work.tools.links.delete_host_veth(&work.attached.host_name)?;
    Ok(())
}

fn enter_maps(work: &mut Work<'_>) -> Result<(), Cause> {
    let value = work.pod_value();
    let result = enter(work, value);
    if result.is_err() {
        leave_maps(work)?;
    }
    result
}

fn enter(work: &mut Work<'_>, value: PodValue) -> Result<(), Cause> {
    let value = work.spec.admission.first(&work.tools.links, value)?;
    let interface = InterfaceValue {
        ifindex: value.ifindex,
        flags: value.flags,
        subject: value.subject,
        host_mac: value.host_mac,
        pod_mac: value.pod_mac,
    };
    work.tools.maps.interfaces.add(value.ifindex, interface)?;
    for address in &work.assignment.addresses {
        work.tools.maps.pods.insert(*address, value)?;
    }
    Ok(())
}

fn leave_maps(work: &mut Work<'_>) -> Result<(), Cause> {
    for address in &work.assignment.addresses {
        work.tools.maps.pods.delete_generation(*address, work.assignment.generation.0)?;
    }
    // The IPAM still needs a prepared pair to release the lease.
    if !work.spec.prepared {
        work.tools.maps.interfaces.remove(work.ifindex)?;
    }
    Ok(())
}

fn judge(work: &mut Work<'_>) -> Result<(), Cause> {
    work.spec.admission.ask(&work.spec.pod);
    Ok(())
}

fn attach_filters(work: &mut Work<'_>) -> Result<(), Cause> {
    let by = naru_bpf::pod_mode(work.spec.flags);
    Ok(naru_bpf::attach_pod(&work.tools.maps.pins, &work.attached.host_name, by)?)
}

fn activate(work: &mut Work<'_>) -> Result<(), Cause> {
    let has = |v4: bool| work.assignment.addresses.iter().any(|ip| ip.is_ipv4() == v4);
    prepare_device(&work.attached.host_name, Families { v4: has(true), v6: has(false) })?;
    let address = |ip: &_| PodAddress { ip: *ip, source: work.node.source_for(*ip) };
    let addresses: Vec<PodAddress> = work.assignment.addresses.iter().map(address).collect();
    let side = HostSide {
        name: &work.attached.host_name,
        index: work.ifindex,
        mtu: work.spec.mtu,
        pod_mac: work.attached.pod_mac,
        addresses: &addresses,
    };
    Ok(work.tools.links.activate(&side)?)
}

fn wire_pod(work: &mut Work<'_>) -> Result<(), Cause> {
    work.attached.routes = links::wire_pod(work.netns.as_fd(), &work.pod_side(), MARKS)?;
    // The runtime may send to the pod as soon as we answer.
    work.tools.links.await_running(work.ifindex)?;
    Ok(())
}

fn confirm(work: &mut Work<'_>) -> Result<(), Cause> {
    let generation = work.assignment.generation;
    Ok(work.tools.store.confirm(&Domain::naru(), &work.spec.id, generation, work.ifindex)?)
}
