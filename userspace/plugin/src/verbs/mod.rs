//! The commands of the main plugin.

mod add;
mod check;
mod del;
mod gc;
mod listed;
mod status;

use std::{os::fd::AsFd, path::Path};

use naru_cni_types::{Call, Code, Error, Network, NetworkConf, Target, Version};
use naru_netlink::{links::Links, netns};
use naru_node::machine::MARKS;
use naru_node::{
    endpoint::{Cause, Maps, Tools},
    machine::{NodeFacts, Presence},
    paths::Paths,
};
use naru_store::StateStore;

use crate::Answer;

/// Answers every command but VERSION.
pub(crate) fn answer(call: Call, stdin: &[u8]) -> Answer {
    if let Call::Del(target, netns) = &call {
        let network = Network::parse(stdin)?;
        return del::del(&network, target, netns.as_deref(), stdin)
            .map_err(|error| (Some(network.version), error));
    }
    let conf = NetworkConf::parse(stdin)?;
    allow(&call, conf.network.version).map_err(|error| (Some(conf.network.version), error))?;
    let answered = match call {
        Call::Add(target, netns) => add::add(&conf, &target, netns, stdin),
        Call::Check(target, netns) => check::check(&conf, &target, &netns, stdin),
        Call::Gc => gc::gc(&conf, stdin),
        Call::Status => status::status(&conf, stdin),
        Call::Del(..) | Call::Version => {
            Err(Error::new(Code::InvalidEnvironment, "CNI_COMMAND: answered elsewhere"))
        }
    };
    answered.map_err(|error| (Some(conf.network.version), error.in_version(conf.network.version)))
}

/// Refuses a command that the configuration's version does not have, or that would work in our own namespace.
pub(crate) fn allow(call: &Call, version: Version) -> Result<(), Error> {
    match call {
        Call::Add(target, netns) | Call::Check(target, netns) => refuse_own_netns(target, netns)?,
        Call::Del(..) | Call::Gc | Call::Status | Call::Version => {}
    }
    let (name, since) = match call {
        Call::Check(..) => ("CHECK", Version::V0_4_0),
        Call::Gc => ("GC", Version::V1_1_0),
        Call::Status => ("STATUS", Version::V1_1_0),
        Call::Add(..) | Call::Del(..) | Call::Version => return Ok(()),
    };
    if version >= since {
        return Ok(());
    }
    let msg = format!("cniVersion: {version} has no {name}; {name} needs {since} or newer");
    Err(Error::new(Code::IncompatibleVersion, msg))
}

/// Refuses a container whose namespace is the plugin's own, the node's: its process id was another's before, or the
/// runtime is wrong. The interface would be made on the node, and its routes be the node's. libcni's plugins refuse
/// that too, unless `CNI_NETNS_OVERRIDE` says that it is intended.
pub(crate) fn refuse_own_netns(target: &Target, netns: &Path) -> Result<(), Error> {
    if target.in_own_netns || !is_own(netns) {
        return Ok(());
    }
    let msg = format!("CNI_NETNS: {} is the namespace that the plugin itself runs in", netns.display());
    Err(Error::new(Code::InvalidNetns, msg))
}

/// Returns true if the path leads to our own namespace. One that is no namespace is somebody else's to refuse.
fn is_own(netns: &Path) -> bool {
    let same = netns::open_netns(netns).and_then(|netns| netns::is_own_netns(netns.as_fd()));
    same.unwrap_or(false)
}

/// Opens everything that work on an attachment needs, and keeps the node as it is meanwhile.
fn hold(paths: &Paths, node: &NodeFacts) -> Result<(Presence, Tools), Cause> {
    let presence = Presence::take(paths)?;
    Ok((presence, tools(paths, node)?))
}

/// Opens everything that an attachment needs.
fn tools(paths: &Paths, node: &NodeFacts) -> Result<Tools, Cause> {
    Ok(Tools {
        store: StateStore::open(&paths.lease_store(), &node.boot_id)?,
        maps: Maps::open(paths.pins())?,
        links: Links::open(MARKS)?,
    })
}
