//! The shape of 0.1.0 and 0.2.0: at most one address of each family, with its routes.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{CniResult, Dns, Ip, Route, empty_as_none, null_as_empty};
use crate::version::Version;

/// `{"cniVersion", "ip4", "ip6", "dns"}`.
#[derive(Serialize, Deserialize)]
struct Shape {
    #[serde(default, rename = "cniVersion")]
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip4: Option<Family>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ip6: Option<Family>,
    #[serde(default)]
    dns: Dns,
}

/// The container's addresses and routes of one family.
#[derive(Serialize, Deserialize)]
struct Family {
    ip: IpNet,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "empty_as_none")]
    gateway: Option<IpAddr>,
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_empty")]
    routes: Vec<Route>,
}

pub(super) fn to_json(result: &CniResult, version: Version) -> Result<String, String> {
    let (ip4, ip6) = (family(result, true), family(result, false));
    if ip4.is_none() && ip6.is_none() {
        return Err(format!("cniVersion {version} cannot express a result without an address"));
    }
    let shape = Shape { version: version.to_string(), ip4, ip6, dns: result.dns.clone() };
    serde_json::to_string(&shape).map_err(|why| why.to_string())
}

fn family(result: &CniResult, v4: bool) -> Option<Family> {
    let ip = result.ips.iter().find(|ip| ip.address.addr().is_ipv4() == v4)?;
    let of_family = result.routes.iter().filter(|route| route.dst.addr().is_ipv4() == v4);
    Some(Family {
        ip: ip.address,
        gateway: ip.gateway,
        routes: of_family.map(Route::without_metrics).collect(),
    })
}

pub(super) fn parse(value: Value) -> Result<CniResult, String> {
    let shape: Shape = serde_json::from_value(value).map_err(|why| why.to_string())?;
    let mut result = CniResult { dns: shape.dns, ..CniResult::default() };
    for family in [shape.ip4, shape.ip6].into_iter().flatten() {
        result.ips.push(Ip { interface: None, address: family.ip, gateway: family.gateway });
        result.routes.extend(family.routes);
    }
    Ok(result)
}
