use naru_netlink::netns;
use std::{os::fd::AsFd, path::Path};

use naru_cni_types::{Code, Error, NetworkConf, Target};
use naru_node::{
    endpoint::{self, Difference},
    machine, readiness,
};

use super::{listed::Listed, tools};
use crate::{cause, delegate::Delegate, setting};

/// Checks that the target is as ADD left it and as `prevResult` describes it, including the other IPAM's part, and that
/// the node is as init left it. Repairs nothing: that is ADD's task.
pub(super) fn check(
    conf: &NetworkConf,
    target: &Target,
    netns: &Path,
    stdin: &[u8],
) -> Result<String, Error> {
    let id = setting::attachment(&conf.network, target)?;
    let Some(result) = &conf.prev_result else {
        return Err(Error::new(
            Code::InvalidConfig,
            "prevResult: missing: CHECK compares with what ADD answered",
        ));
    };
    let subject = format!("container {}", target.container);
    let differs =
        |what: &dyn std::fmt::Display| Error::new(Code::NotAsAttached, format!("{subject}: {what}"));
    let paths = setting::paths(&conf.network.naru);
    let node = match machine::current(&paths) {
        Ok(Some(node)) => node,
        Ok(None) => {
            return Err(differs(&format!("{}: the node is not initialised", paths.pins().root().display())));
        }
        Err(error) => return Err(cause::of_init(&error)),
    };
    let namespace = netns::open_netns(netns).map_err(|error| differs(&error))?;
    let tools = tools(&paths, &node).map_err(|error| differs(&error))?;
    let listed = Listed::new(result, netns, &target.ifname);
    let delegate = Delegate::of(&conf.network, stdin);
    match endpoint::check(&tools, &id, namespace.as_fd(), &listed.expected()) {
        Ok(attached) => {
            let other = listed.difference(&attached, delegate.is_some());
            other.map_or(Ok(()), |what| Err(differs(&what)))?;
        }
        Err(Difference::Found(what)) => return Err(differs(&what)),
        Err(Difference::Unknown(why)) => {
            return Err(Error::new(cause::code_of(&why, Code::NotAsAttached), format!("{subject}: {why}")));
        }
    }
    let fault = readiness::fault(&paths, &node).map_err(|error| differs(&error))?;
    fault.map_or(Ok(()), |what| Err(differs(&format!("the node: {what}"))))?;
    delegate.map_or(Ok(()), Delegate::check).map(|()| String::new())
}
