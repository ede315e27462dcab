//! Conversion of an attachment into a result.

use std::{fs, net::IpAddr, path::Path};

use ipnet::IpNet;
use naru_cni_types::{Addressing, CniResult, Code, Dns, Error, Interface, Ip, NetworkConf, Route};
use naru_node::{endpoint::Attached, machine::GATEWAYS};

/// The parts of a result that do not come from the attachment.
pub(crate) struct Given<'a> {
    /// Name resolution.
    pub(crate) dns: Dns,
    /// The result of another IPAM plugin. Its gateways are passed on as they are, though pods send to their own,
    /// because the plugin's CHECK compares them.
    pub(crate) ipam: Option<&'a CniResult>,
}

impl Given<'_> {
    fn gateway_of(&self, address: IpAddr) -> Option<IpAddr> {
        self.ipam?.ips.iter().find(|ip| ip.address.addr() == address)?.gateway
    }
}

/// The result for the runtime about `attached`.
pub(crate) fn result(conf: &NetworkConf, given: Given<'_>, netns: &Path, attached: &Attached) -> CniResult {
    let sandbox = netns.display().to_string();
    let interface = |name: &str, mac: String, sandbox: String| Interface {
        name: name.to_owned(),
        mac,
        mtu: Some(attached.mtu),
        sandbox,
        ..Interface::default()
    };
    let host = interface(&attached.host_name, attached.host_mac.to_string(), String::new());
    let pod = interface(&attached.pod_name, attached.pod_mac.to_string(), sandbox);
    let ip = |ip: &_| Ip {
        interface: Some(1),
        address: IpNet::from(*ip),
        gateway: Some(given.gateway_of(*ip).unwrap_or(GATEWAYS.of(*ip))),
    };
    let route = |route: &naru_netlink::links::PodRoute| Route {
        mtu: route.mtu,
        advmss: route.advmss,
        priority: route.priority,
        ..Route::new(route.destination, Some(route.gateway.unwrap_or(GATEWAYS.of(route.destination.addr()))))
    };
    let own = CniResult {
        interfaces: vec![host, pod],
        ips: attached.addresses.iter().map(ip).collect(),
        routes: attached.routes.iter().map(route).collect(),
        dns: given.dns,
    };
    match &conf.prev_result {
        Some(previous) => previous.clone().followed_by(own),
        None => own,
    }
}

/// The configuration's `dns`, or the content of its `ipam.resolvConf`, which [`check_resolv_conf`] could read.
pub(crate) fn dns(conf: &NetworkConf, addressing: &Addressing) -> Dns {
    if conf.dns == Dns::default() { resolv_conf(addressing) } else { conf.dns.clone() }
}

/// The content of `ipam.resolvConf`; nothing if it is not set.
pub(crate) fn resolv_conf(addressing: &Addressing) -> Dns {
    let text = addressing.resolv_conf.as_ref().and_then(|path| fs::read_to_string(path).ok());
    text.map(|text| parse(&text)).unwrap_or_default()
}

/// Refuses a `resolvConf` that cannot be read, before anything is attached.
pub(crate) fn check_resolv_conf(addressing: &Addressing) -> Result<(), Error> {
    let Some(path) = &addressing.resolv_conf else { return Ok(()) };
    let read = fs::File::open(path);
    read.map(drop).map_err(|why| Error::new(Code::Io, format!("ipam.resolvConf: {path}: {why}")))
}

/// Reads `resolv.conf(5)`: the last `domain` and `search` count, `nameserver` and `options` add up.
fn parse(text: &str) -> Dns {
    let mut dns = Dns::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let key = words.next();
        let words = words.map(str::to_owned);
        match key {
            Some("nameserver") => dns.nameservers.extend(words.take(1)),
            Some("domain") => dns.domain = words.take(1).collect(),
            Some("search") => dns.search = words.collect(),
            Some("options") => dns.options.extend(words),
            _ => {}
        }
    }
    dns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolv_conf_becomes_dns() {
        let dns = parse(
            "# made by hand\nnameserver 10.0.0.10\nnameserver fd00::10\nsearch a b\ndomain c\noptions ndots:5\n",
        );
        assert_eq!(dns.nameservers, ["10.0.0.10", "fd00::10"]);
        assert_eq!(
            (dns.domain.as_str(), dns.search, dns.options),
            ("c", vec!["a".into(), "b".into()], vec!["ndots:5".into()])
        );
    }
}
