//! Conversion of a network configuration into the arguments of the node's parts.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use naru_abi::pod_flags;
use naru_cni_types::Code;
use naru_cni_types::{
    Addressing, CniResult, Error, Ipam, NaruKeys, Network, NetworkConf, Range, Route, SourceCheck, Target,
    Unserved,
};
use naru_core::ids::{AttachmentId, PodName};
use naru_netlink::links::{Mac, PodRoute};
use naru_node::{
    admission::Admission,
    endpoint::Spec,
    machine::{NodeFacts, Standalone, pool_name},
    paths::{GivenPaths, Paths},
};

use crate::delegate;

/// The node's directories, from the configuration and the environment.
pub(crate) fn paths(naru: &NaruKeys) -> Paths {
    Paths::new(GivenPaths {
        run: naru.run_dir.clone(),
        state: naru.state_dir.clone(),
        bpf: naru.bpf_dir.clone(),
        config: naru.config_dir.clone(),
        ..GivenPaths::default()
    })
}

/// The attachment that a call concerns.
pub(crate) fn attachment(network: &Network, target: &Target) -> Result<AttachmentId, Error> {
    let id = AttachmentId::new(&network.name, &target.container, &target.ifname);
    id.map_err(|why| Error::new(Code::InvalidEnvironment, why.to_string()))
}

/// The configuration's own IPAM section.
pub(crate) fn addressing(conf: &NetworkConf) -> Result<&Addressing, Error> {
    match &conf.ipam {
        Ipam::Own(addressing) => Ok(addressing),
        Ipam::Delegate(name) => {
            Err(invalid(format!("ipam.type: {name:?}: naru does not hold its addresses")))
        }
    }
}

/// The settings of a machine without a cluster; `None` if pods use the node's blocks.
pub(crate) fn standalone(conf: &NetworkConf) -> Result<Option<Standalone>, Error> {
    let sets = &addressing(conf)?.sets;
    for (at, set) in sets.iter().enumerate() {
        let family =
            |set: &naru_cni_types::RangeSet| set.ranges.first().is_some_and(|range| range.first().is_ipv4());
        if sets.iter().take(at).any(|earlier| family(earlier) == family(set)) {
            return Err(invalid(
                "ipam.ranges: two sets of one family; a pod gets one address of each".to_owned(),
            ));
        }
    }
    let ranges = || sets.iter().flat_map(|set| &set.ranges);
    let subnets: Vec<IpNet> = ranges().flat_map(blocks_of).collect();
    let reserved: Vec<IpAddr> = ranges().filter_map(|range| range.gateway).collect();
    if conf.network.naru.pool.is_some() && !subnets.is_empty() {
        return Err(invalid("naru.pool: the configuration names subnets in ipam as well".to_owned()));
    }
    let (network, masquerade) = (conf.network.name.clone(), conf.ip_masq);
    let allow_overlap = conf.network.naru.allow_overlap;
    let standalone = Standalone { network, subnets, reserved, masquerade, allow_overlap };
    Ok((!standalone.subnets.is_empty()).then_some(standalone))
}

/// The subnet, or the fewest blocks that hold exactly the addresses from `rangeStart` to `rangeEnd`.
fn blocks_of(range: &Range) -> Vec<IpNet> {
    match (range.start.is_none() && range.end.is_none(), range.first(), range.last()) {
        (true, ..) => vec![range.subnet],
        (_, IpAddr::V4(first), IpAddr::V4(last)) => Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect(),
        (_, IpAddr::V6(first), IpAddr::V6(last)) => Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect(),
        // A range has one family; the conversion from JSON checked that.
        _ => vec![range.subnet],
    }
}

/// The whole request of an ADD to the endpoint.
pub(crate) fn spec(
    conf: &NetworkConf,
    target: &Target,
    netns: std::path::PathBuf,
    node: &NodeFacts,
) -> Result<Spec, Error> {
    let subnets = standalone(conf)?.map(|standalone| standalone.subnets).unwrap_or_default();
    let mut addresses = target.args.ips.clone();
    addresses.extend(&conf.runtime.ips);
    addresses.sort_unstable();
    addresses.dedup();
    let routes = pod_routes(addressing(conf)?)?;
    let pool = pool_of(conf, target, node).map_or_else(|| pool_name(&subnets), str::to_owned);
    let ranges = addressing(conf)?.sets.iter().flat_map(|set| &set.ranges);
    let subnets = ranges.map(|range| range.subnet).collect();
    Ok(Spec { pool, addresses, routes, subnets, ..bare(conf, target, netns, node)? })
}

/// The pool that the pod itself or the configuration names.
pub(crate) fn named_pool(conf: &NetworkConf) -> Option<&str> {
    conf.runtime.pool.as_deref().or(conf.network.naru.pool.as_deref())
}

/// The pool by the pod's annotation, else by its namespace, else by the configuration.
fn pool_of<'a>(conf: &'a NetworkConf, target: &Target, node: &'a NodeFacts) -> Option<&'a str> {
    let of_namespace = || node.pool_of_namespace(&target.args.namespace);
    conf.runtime.pool.as_deref().or_else(of_namespace).or(conf.network.naru.pool.as_deref())
}

/// The request with addresses and routes from another IPAM plugin.
pub(crate) fn delegated_spec(bare: Spec, result: &CniResult) -> Result<Spec, Error> {
    let mut addresses: Vec<IpAddr> = result.ips.iter().map(|ip| ip.address.addr()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    // The gateway of a subnet that is on no link is replaced by the pod's own gateway.
    let is_gateway = |gw: IpAddr| result.ips.iter().any(|ip| ip.gateway == Some(gw));
    let own = |route: &Route| Route { gw: route.gw.filter(|gw| !is_gateway(*gw)), ..route.clone() };
    let routes = result.routes.iter().map(own).map(|route| pod_route(&route)).collect::<Result<_, _>>()?;
    let subnets = result.ips.iter().map(|ip| ip.address.trunc()).collect();
    Ok(Spec { addresses, routes, subnets, ..bare })
}

/// The parts of an ADD that do not depend on the addresses.
pub(crate) fn bare(
    conf: &NetworkConf,
    target: &Target,
    netns: std::path::PathBuf,
    node: &NodeFacts,
) -> Result<Spec, Error> {
    Ok(Spec {
        id: attachment(&conf.network, target)?,
        pod: pod_name(target),
        netns,
        pool: String::new(),
        addresses: Vec::new(),
        delegated: conf.network.delegate.is_some(),
        prepared: false,
        mtu: conf.mtu.unwrap_or(node.pod_mtu),
        mac: conf.runtime.mac.or(target.args.mac).map(Mac),
        routes: Vec::new(),
        subnets: Vec::new(),
        flags: flags(conf, node.limited.contains(&conf.network.name)),
        admission: Admission::of(&paths(&conf.network.naru), &pod_name(target)),
    })
}

/// The pod that the runtime named.
pub(crate) fn pod_name(target: &Target) -> PodName {
    let args = &target.args;
    PodName { namespace: args.namespace.clone(), name: args.name.clone(), uid: args.uid.clone() }
}

/// Returns the pod's flags. `is_limited`: its network's list requests a rate limit of which we are not told.
fn flags(conf: &NetworkConf, is_limited: bool) -> u32 {
    let naru = &conf.network.naru;
    let flag = |holds: bool, bit: u32| if holds { bit } else { 0 };
    flag(naru.no_shortcut || conf.runtime.limits_bandwidth || is_limited, pod_flags::NO_SHORTCUT)
        | flag(naru.check_mac, pod_flags::CHECK_MAC)
        | flag(naru.source_check == SourceCheck::Off, pod_flags::ANY_SOURCE)
        | flag(delegate::asks_over_link(conf.network.delegate.as_deref()), pod_flags::DHCP)
}

/// Refuses a limit that cannot be kept: the bandwidth plugin limits a pod's sending by an ingress qdisc in the place
/// of clsact, so our programs need tcx.
pub(crate) fn check_limits(conf: &NetworkConf, has_tcx: impl FnOnce() -> bool) -> Result<(), Error> {
    if !conf.runtime.limits_egress || has_tcx() {
        return Ok(());
    }
    let msg =
        "runtimeConfig.bandwidth: egressRate needs a kernel with tcx (6.6 or newer); ingressRate does not";
    Err(Error::new(Code::UnsupportedField, msg))
}

/// Refuses what a pod wants of plugins that are not there: it would seem to have it.
pub(crate) fn check_served(conf: &NetworkConf) -> Result<(), Error> {
    let missing = |wanted: String, plugin: &str| {
        let msg = format!(
            "{wanted}, which the plugin {plugin} makes, and {plugin} is not in the runtime's directory of plugins: \
             install it there (containernetworking/plugins), and naru takes it into its list within a minute; where \
             another plugin of the list does it, take it out of \"unserved\" in naru-cni's entry"
        );
        Err(Error::new(Code::UnsupportedField, msg))
    };
    let runtime = &conf.runtime;
    for unserved in &conf.network.naru.unserved {
        match unserved {
            Unserved::PortMappings if !runtime.host_ports.is_empty() => {
                let ports: Vec<String> = runtime.host_ports.iter().map(ToString::to_string).collect();
                return missing(format!("the pod asks for host port {}", ports.join(", ")), "portmap");
            }
            Unserved::Bandwidth if runtime.limits_bandwidth => {
                return missing("the pod asks for a rate limit".to_owned(), "bandwidth");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses a route with what we cannot set.
pub(crate) fn check_routes(addressing: &Addressing) -> Result<(), Error> {
    pod_routes(addressing).map(drop)
}

fn pod_routes(addressing: &Addressing) -> Result<Vec<PodRoute>, Error> {
    addressing.routes.iter().map(pod_route).collect()
}

fn pod_route(route: &Route) -> Result<PodRoute, Error> {
    let unsupported = |key: &str, value: u32| {
        let msg = format!("ipam.routes: {}: {key} {value} is not supported", route.dst);
        Err(Error::new(Code::UnsupportedField, msg))
    };
    match (route.table, route.scope) {
        (Some(value), _) => unsupported("table", value),
        (_, Some(value)) => unsupported("scope", value),
        _ => Ok(PodRoute {
            mtu: route.mtu,
            advmss: route.advmss,
            priority: route.priority,
            ..PodRoute::new(route.dst.trunc(), route.gw)
        }),
    }
}

fn invalid(msg: String) -> Error {
    Error::new(Code::InvalidConfig, msg)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(ipam: &str) -> NetworkConf {
        let text =
            format!(r#"{{"cniVersion":"1.0.0","name":"n","type":"naru-cni","ipMasq":true,"ipam":{ipam}}}"#);
        NetworkConf::parse(text.as_bytes()).unwrap()
    }

    fn subnets(ipam: &str) -> Vec<String> {
        standalone(&conf(ipam)).unwrap().unwrap().subnets.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_subnet_is_taken_whole() {
        assert_eq!(subnets(r#"{"subnet":"10.22.0.0/16"}"#), ["10.22.0.0/16"]);
    }

    #[test]
    fn part_of_a_subnet_is_the_fewest_blocks_that_hold_it() {
        let part = r#"{"subnet":"10.22.0.0/16","rangeStart":"10.22.1.10","rangeEnd":"10.22.1.15"}"#;
        assert_eq!(subnets(part), ["10.22.1.10/31", "10.22.1.12/30"]);
        let part = r#"{"subnet":"fd00::/112","rangeStart":"fd00::8","rangeEnd":"fd00::f"}"#;
        assert_eq!(subnets(part), ["fd00::8/125"]);
    }

    #[test]
    fn the_gateway_of_the_configuration_is_kept_from_pods() {
        let conf = conf(r#"{"subnet":"10.22.0.0/16","gateway":"10.22.0.1"}"#);
        let standalone = standalone(&conf).unwrap().unwrap();
        assert_eq!(standalone.reserved, ["10.22.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!((standalone.masquerade, standalone.network.as_str()), (Some(true), "n"));
    }

    #[test]
    fn without_a_subnet_the_node_gives_the_addresses() {
        assert_eq!(standalone(&conf("{}")).unwrap(), None);
    }

    #[test]
    fn a_second_set_of_a_family_is_refused_by_name() {
        let twice = r#"{"ranges":[[{"subnet":"10.0.0.0/24"}],[{"subnet":"10.0.1.0/24"}]]}"#;
        assert!(standalone(&conf(twice)).unwrap_err().msg.starts_with("ipam.ranges: "));
    }

    #[test]
    fn a_limit_of_what_a_pod_sends_is_refused_by_name_where_the_kernel_has_no_tcx() {
        let limited = |rate: &str| {
            NetworkConf {
            runtime: NetworkConf::parse(
                format!(
                    r#"{{"cniVersion":"1.0.0","name":"n","type":"naru-cni","runtimeConfig":{{"bandwidth":{rate}}}}}"#
                )
                .as_bytes(),
            )
            .unwrap()
            .runtime,
            ..conf("{}")
        }
        };
        let both = limited(r#"{"ingressRate":1,"egressRate":1}"#);
        assert!(check_limits(&both, || true).is_ok());
        let error = check_limits(&both, || false).unwrap_err();
        assert!(error.code == Code::UnsupportedField && error.msg.contains("egressRate"), "{error:?}");
        assert!(check_limits(&limited(r#"{"ingressRate":1,"egressRate":0}"#), || false).is_ok());
    }

    #[test]
    fn a_route_with_what_we_cannot_set_is_refused_by_its_key() {
        let conf = conf(r#"{"routes":[{"dst":"0.0.0.0/0","table":7}]}"#);
        let error = pod_route(&addressing(&conf).unwrap().routes[0]).unwrap_err();
        assert_eq!(
            (error.code, error.msg.as_str()),
            (Code::UnsupportedField, "ipam.routes: 0.0.0.0/0: table 7 is not supported")
        );
    }
}
