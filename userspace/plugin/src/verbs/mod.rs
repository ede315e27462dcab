//! The commands of the main plugin.

mod add;
mod check;
mod del;
mod gc;
mod status;

use naru_cni_types::{Call, Code, Error, Network, NetworkConf};
use naru_node::{
    datapath::Pins,
    endpoint::{Cause, Maps, Tools},
    init::NodeFacts,
    links::Links,
    paths::Paths,
    store::StateStore,
};

use crate::Answer;

/// Answers everything but VERSION.
pub(crate) fn answer(call: Call, stdin: &[u8]) -> Answer {
    if let Call::Del(target, _) = &call {
        let network = Network::parse(stdin)?;
        return del::del(&network, target).map_err(|error| (Some(network.version), error));
    }
    let conf = NetworkConf::parse(stdin)?;
    let answered = match call {
        Call::Add(target, netns) => add::add(&conf, &target, netns),
        Call::Check(target, netns) => check::check(&conf, &target, &netns),
        Call::Gc => gc::gc(&conf),
        Call::Status => status::status(&conf),
        Call::Del(..) | Call::Version => {
            Err(Error::new(Code::InvalidEnvironment, "CNI_COMMAND: answered elsewhere"))
        }
    };
    answered.map_err(|error| (Some(conf.network.version), error))
}

/// Opens everything an attachment goes through.
fn tools(paths: &Paths, node: &NodeFacts) -> Result<Tools, Cause> {
    Ok(Tools {
        store: StateStore::open(&paths.lease_store(), &node.boot_id)?,
        maps: Maps::open(Pins::new(paths))?,
        links: Links::open()?,
    })
}
