use naru_netlink::netns;
use naru_node::machine;
use std::{net::IpAddr, os::fd::AsFd, path::Path};

use naru_cni_types::{CniResult, Code, Error, Interface, NetworkConf, Target};
use naru_node::endpoint::{self, Difference, Expected};

use super::tools;
use crate::{cause, delegate::Delegate, setting};

/// Checks that the target is as ADD left it and as `prevResult` describes it, including the other IPAM plugin's part.
pub(super) fn check(
    conf: &NetworkConf,
    target: &Target,
    netns: &Path,
    stdin: &[u8],
) -> Result<String, Error> {
    let id = setting::attachment(&conf.network, target)?;
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
    let expected =
        conf.prev_result.as_ref().map(|result| expected(result, netns, &target.ifname)).unwrap_or_default();
    match endpoint::check(&tools, &id, namespace.as_fd(), &expected) {
        Ok(_) => {
            let delegate = Delegate::of(&conf.network, stdin);
            delegate.map_or(Ok(()), Delegate::check).map(|()| String::new())
        }
        Err(Difference::Found(what)) => Err(differs(&what)),
        Err(Difference::Unknown(why)) => {
            Err(Error::new(cause::code_of(&why, Code::NotAsAttached), format!("{subject}: {why}")))
        }
    }
}

/// Our part of a result to which other plugins of the chain may have added: the addresses of our interface in this
/// namespace, and the routes.
fn expected(result: &CniResult, netns: &Path, ifname: &str) -> Expected {
    let sandbox = netns.display().to_string();
    let is_inside = |index: Option<usize>| {
        index.is_none_or(|at| {
            let is_ours = |one: &Interface| one.name == ifname && one.sandbox == sandbox;
            result.interfaces.get(at).is_some_and(is_ours)
        })
    };
    let inside = result.ips.iter().filter(|ip| is_inside(ip.interface));
    let addresses: Vec<IpAddr> = inside.map(|ip| ip.address.addr()).collect();
    Expected { addresses, routes: result.routes.iter().map(|route| route.dst).collect() }
}
