//! Ranges of Service addresses: `ServiceCIDR` objects, which may come and go while the cluster runs.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde::Deserialize;

use crate::follow::{Entry, Kind};

/// All `ServiceCIDR` objects; a server older than 1.33 has none.
pub const PATH: &str = "/apis/networking.k8s.io/v1/servicecidrs";

/// The ranges of one object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ServiceRange(Vec<IpNet>);

#[derive(Deserialize)]
struct Object {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    cidrs: Vec<String>,
}

impl Kind for ServiceRange {
    fn read(object: &[u8]) -> Result<Self, String> {
        let object: Object = serde_json::from_slice(object).map_err(|error| error.to_string())?;
        let network = |text: &String| text.parse::<IpNet>().map(|net| net.trunc());
        let ranges: Result<Vec<_>, _> = object.spec.cidrs.iter().map(network).collect();
        ranges.map(Self).map_err(|_| "spec.cidrs is no list of networks".to_owned())
    }
}

/// The ranges of all objects, each once, in order.
pub fn all(entries: &BTreeMap<String, Entry<ServiceRange>>) -> Vec<IpNet> {
    let ranges = entries.values().filter_map(|entry| entry.value.as_ref());
    let mut all: Vec<IpNet> = ranges.flat_map(|range| range.0.iter().copied()).collect();
    all.sort();
    all.dedup();
    all
}
