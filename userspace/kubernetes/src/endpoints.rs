//! The addresses of the API servers themselves, as the API names them: by these a node finds them without any Service,
//! also after a reboot.

use std::{collections::BTreeMap, net::IpAddr};

use serde::Deserialize;

use crate::follow::{Entry, Kind};

/// The slices of the Service `kubernetes`.
pub const PATH: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices\
                        ?labelSelector=kubernetes.io%2Fservice-name%3Dkubernetes";

/// The addresses of one slice, with their port.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Servers(Vec<String>);

#[derive(Deserialize)]
struct Object {
    #[serde(default)]
    endpoints: Vec<Endpoint>,
    #[serde(default)]
    ports: Vec<Port>,
}

#[derive(Deserialize)]
struct Endpoint {
    addresses: Vec<IpAddr>,
}

#[derive(Deserialize)]
struct Port {
    port: Option<u16>,
}

impl Kind for Servers {
    fn read(object: &[u8]) -> Result<Self, String> {
        let object: Object = serde_json::from_slice(object).map_err(|error| error.to_string())?;
        let port = object.ports.iter().find_map(|port| port.port).unwrap_or(6443);
        let addresses = object.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
        let text = |address: &IpAddr| match address {
            IpAddr::V4(v4) => format!("{v4}:{port}"),
            IpAddr::V6(v6) => format!("[{v6}]:{port}"),
        };
        Ok(Self(addresses.map(text).collect()))
    }
}

/// The addresses of all slices, each once, in order.
pub fn all(entries: &BTreeMap<String, Entry<Servers>>) -> Vec<String> {
    let servers = entries.values().filter_map(|entry| entry.value.as_ref());
    let mut all: Vec<String> = servers.flat_map(|servers| servers.0.iter().cloned()).collect();
    all.sort();
    all.dedup();
    all
}
