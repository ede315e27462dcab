//! The `loopback` plugin sets `lo` of a container up. Container runtimes run it before every other plugin.

use naru_netlink::netns;
use naru_node::machine::MARKS;
use std::{net::IpAddr, os::fd::AsFd, path::Path};

use ipnet::IpNet;
use naru_cni_types::{Call, CniResult, Code, Error, Interface, Ip, NetworkConf};
use naru_netlink::links;

use crate::{Answer, verbs::refuse_own_netns};

pub(crate) fn answer(call: Call, stdin: &[u8]) -> Answer {
    let conf = NetworkConf::parse(stdin)?;
    let version = conf.network.version;
    let allowed = match &call {
        Call::Add(target, netns) => refuse_own_netns(target, netns),
        _ => Ok(()),
    };
    allowed.map_err(|error| (Some(version), error))?;
    let answered = match call {
        Call::Add(_, netns) => up(&netns).and_then(|()| {
            let result = conf.prev_result.unwrap_or_else(|| result(&netns));
            result.to_json(version).map_err(|why| Error::new(Code::InvalidConfig, why))
        }),
        Call::Check(_, netns) => is_up(&netns).map(|()| String::new()),
        // `lo` goes with its namespace.
        _ => Ok(String::new()),
    };
    answered.map_err(|error| (Some(version), error))
}

fn failed(netns: &Path, why: impl std::fmt::Display) -> Error {
    Error::new(Code::Attach, format!("{}: lo: {why}", netns.display()))
}

fn up(netns: &Path) -> Result<(), Error> {
    let fd = netns::open_netns(netns).map_err(|why| failed(netns, why))?;
    links::loopback_up(fd.as_fd(), MARKS).map_err(|why| failed(netns, why))
}

fn is_up(netns: &Path) -> Result<(), Error> {
    let fd = netns::open_netns(netns).map_err(|why| failed(netns, why))?;
    match links::pod_facts(fd.as_fd(), "lo", MARKS) {
        Ok(Some(facts)) if facts.link.up => Ok(()),
        Ok(_) => Err(Error::new(Code::NotAsAttached, format!("{}: lo: down", netns.display()))),
        Err(why) => Err(failed(netns, why)),
    }
}

fn result(netns: &Path) -> CniResult {
    let lo = Interface {
        name: "lo".to_owned(),
        mac: "00:00:00:00:00:00".to_owned(),
        sandbox: netns.display().to_string(),
        ..Interface::default()
    };
    let net = |ip: IpAddr, len: u8| IpNet::new(ip, len).ok();
    let both = [net([127, 0, 0, 1].into(), 8), net(std::net::Ipv6Addr::LOCALHOST.into(), 128)];
    let ips = both.into_iter().flatten().map(|address| Ip { interface: Some(0), address, gateway: None });
    CniResult { interfaces: vec![lo], ips: ips.collect(), ..CniResult::default() }
}
