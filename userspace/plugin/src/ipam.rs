//! `naru-ipam`: addresses for other main plugins (bridge, ptp, macvlan), with host-local's configuration keys. It
//! needs no node: no daemon, no eBPF, no init.

use std::{net::IpAddr, path::Path};

use ipnet::IpNet;
use naru_cni_types::{
    Addressing, Attachment, Call, CniResult, Code, Error, Ip, Ipam, Network, NetworkConf, RangeSet, Target,
    Version,
};
use naru_core::{
    ids::AttachmentId,
    ipam::{AddressSet, Family, Subnet},
};
use naru_node::{
    endpoint::Cause,
    lease::{self, Ask},
};

use crate::{
    Answer,
    answer::{check_resolv_conf, resolv_conf},
    cause, clock, setting, verbs,
};

pub(crate) fn answer(call: Call, stdin: &[u8]) -> Answer {
    if let Call::Del(target, _) = &call {
        let network = Network::parse(stdin)?;
        return del(&network, target).map_err(|error| (Some(network.version), error));
    }
    let conf = NetworkConf::parse(stdin)?;
    let answered = verbs::allow(&call, conf.network.version).and_then(|()| match &call {
        Call::Add(target, netns) => add(&conf, target, netns),
        Call::Check(target, _) => check(&conf, target),
        Call::Gc => gc(&conf),
        Call::Status => status(&conf),
        Call::Del(..) | Call::Version => {
            Err(Error::new(Code::InvalidEnvironment, "CNI_COMMAND: answered elsewhere"))
        }
    });
    answered.map_err(|error| (Some(conf.network.version), error))
}

fn add(conf: &NetworkConf, target: &Target, netns: &Path) -> Result<String, Error> {
    let addressing = addressing(conf)?;
    check_resolv_conf(addressing)?;
    check_expressible(conf.network.version, addressing)?;
    let ask = Ask {
        id: setting::attachment(&conf.network, target)?,
        pod: setting::pod_name(target),
        netns: netns.to_owned(),
        sets: sets(addressing),
        addresses: asked(conf, target),
    };
    let given = lease::add(&setting::paths(&conf.network.naru), &ask, clock::now());
    let given = given.map_err(|why| failed(&ask.id, &why, Code::Attach))?;
    let result = CniResult {
        ips: given.iter().zip(&ask.sets).filter_map(|(address, set)| ip(*address, set)).collect(),
        routes: addressing.routes.clone(),
        dns: resolv_conf(addressing),
        ..CniResult::default()
    };
    result.to_json(conf.network.version).map_err(|why| Error::new(Code::InvalidConfig, why))
}

/// Refuses sets for whose addresses the version's result has no room, before any address is given.
fn check_expressible(version: Version, addressing: &Addressing) -> Result<(), Error> {
    let v4 = sets(addressing).iter().filter(|set| set.family() == Family::V4).count();
    if version > Version::V0_2_0 || (v4 <= 1 && addressing.sets.len() - v4 <= 1) {
        return Ok(());
    }
    let msg = format!(
        "ipam.ranges: two sets of one family; a result of cniVersion {version} has room for one address of each"
    );
    Err(Error::new(Code::InvalidConfig, msg))
}

/// Gives the addresses back. If the store cannot be written, DEL succeeds all the same: the reconciler sees that the
/// namespace is gone.
fn del(network: &Network, target: &Target) -> Result<String, Error> {
    let id = setting::attachment(network, target)?;
    match lease::del(&setting::paths(&network.naru), &id, clock::now()) {
        Ok(_) => {}
        Err(why) if is_busy(&why) => return Err(failed(&id, &why, Code::TryAgainLater)),
        Err(why) => log!("{id}: {why}: the reconciler gives its address back"),
    }
    Ok(String::new())
}

/// Checks that the target holds one address of every set, and the addresses that `prevResult` shows.
fn check(conf: &NetworkConf, target: &Target) -> Result<String, Error> {
    let id = setting::attachment(&conf.network, target)?;
    let held = lease::held(&setting::paths(&conf.network.naru), &id);
    let held = held.map_err(|why| failed(&id, &why, Code::NotAsAttached))?;
    let differs = |why: String| Err(Error::new(Code::NotAsAttached, format!("{id}: {why}")));
    for set in sets(addressing(conf)?) {
        let mut of_set = held.iter().filter(|address| set.subnet_of(**address).is_some());
        let Some(address) = of_set.next() else {
            return differs(format!("holds no address of pool {}", set.pool()));
        };
        let mut shown = conf.prev_result.iter().flat_map(|result| &result.ips);
        if conf.prev_result.is_some() && !shown.any(|ip| ip.address.addr() == *address) {
            return differs(format!("holds {address}, which prevResult does not show"));
        }
    }
    Ok(String::new())
}

fn gc(conf: &NetworkConf) -> Result<String, Error> {
    let kept = conf.attachments_to_keep()?;
    let is_valid = |id: &AttachmentId| {
        let (container, ifname) = (id.container().to_owned(), id.ifname().to_owned());
        kept.contains(&Attachment { container, ifname })
    };
    let network = &conf.network;
    let done = lease::gc(&setting::paths(&network.naru), &network.name, is_valid, clock::now());
    done.map(|()| String::new()).map_err(|why| Error::new(Code::Garbage, why.to_string()))
}

fn status(conf: &NetworkConf) -> Result<String, Error> {
    let sets = sets(addressing(conf)?);
    let unavailable = |why: String| Error::new(Code::NotAvailable, why);
    let shortage = lease::shortage(&setting::paths(&conf.network.naru), &conf.network.name, &sets);
    match shortage.map_err(|why| unavailable(why.to_string()))? {
        Some(what) => Err(unavailable(what)),
        None => Ok(String::new()),
    }
}

/// Returns the configuration's ranges, which are required, because there are no blocks of a node to use instead.
fn addressing(conf: &NetworkConf) -> Result<&Addressing, Error> {
    let wrong = |msg: String| Err(Error::new(Code::InvalidConfig, msg));
    match &conf.ipam {
        Ipam::Own(addressing) if !addressing.sets.is_empty() => Ok(addressing),
        Ipam::Own(_) => {
            wrong("ipam.ranges: missing; naru-ipam gives out no addresses of the node's blocks".into())
        }
        Ipam::Delegate(name) => wrong(format!("ipam.type: expected naru-ipam, found {name:?}")),
    }
}

fn sets(addressing: &Addressing) -> Vec<AddressSet> {
    addressing.sets.iter().map(set).collect()
}

fn set(set: &RangeSet) -> AddressSet {
    let subnet = |range: &naru_cni_types::Range| Subnet {
        net: range.subnet,
        first: range.first(),
        last: range.last(),
        gateway: range.gateway.or_else(|| second(range.subnet)),
    };
    AddressSet { subnets: set.ranges.iter().map(subnet).collect() }
}

/// The address at which a bridge expects the gateway if none is configured.
fn second(subnet: IpNet) -> Option<IpAddr> {
    let next = match subnet.network() {
        IpAddr::V4(first) => IpAddr::from(std::net::Ipv4Addr::from_bits(first.to_bits().checked_add(1)?)),
        IpAddr::V6(first) => IpAddr::from(std::net::Ipv6Addr::from_bits(first.to_bits().checked_add(1)?)),
    };
    subnet.contains(&next).then_some(next)
}

/// The requested addresses: by `CNI_ARGS`, by the capability `ips`, by `args.cni`.
fn asked(conf: &NetworkConf, target: &Target) -> Vec<IpAddr> {
    let mut asked = target.args.ips.clone();
    asked.extend(&conf.runtime.ips);
    asked.sort_unstable();
    asked.dedup();
    asked
}

fn ip(address: IpAddr, set: &AddressSet) -> Option<Ip> {
    let subnet = set.subnet_of(address)?;
    let address = IpNet::new(address, subnet.net.prefix_len()).ok()?;
    Some(Ip { interface: None, address, gateway: subnet.gateway })
}

fn is_busy(why: &Cause) -> bool {
    matches!(why, Cause::Store(naru_store::StoreError::Busy(_)))
}

fn failed(id: &AttachmentId, why: &Cause, otherwise: Code) -> Error {
    Error::new(cause::code_of(why, otherwise), format!("{id}: {why}"))
}
