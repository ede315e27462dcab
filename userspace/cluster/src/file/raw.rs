//! The file as written: types of TOML, every value with its place, unknown keys refused.

use naru_core::cluster::{Encapsulation, Routing};
use serde::Deserialize;
use toml::Spanned;

use crate::{policies, services::Mode};

/// A list whose entries know their place.
pub type List = Vec<Spanned<String>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    pub ranges: Spanned<List>,
    pub masquerade: Option<bool>,
    #[serde(default)]
    pub no_masquerade: Option<Spanned<List>>,
    #[serde(default)]
    pub routing: Routing,
    #[serde(default)]
    pub encapsulation: Encapsulation,
    #[serde(default)]
    pub tunnel: Tunnel,
    #[serde(default)]
    pub services: Mode,
    pub service_files: Option<Spanned<String>>,
    #[serde(default)]
    pub policies: policies::Mode,
    #[serde(default)]
    pub own_node_egress: policies::OwnNodeEgress,
    pub policy_files: Option<Spanned<String>>,
    #[serde(default, rename = "node")]
    pub nodes: Vec<Node>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(default)]
    pub ranges: Option<Spanned<List>>,
    pub masquerade: Option<bool>,
    #[serde(default)]
    pub no_masquerade: Option<Spanned<List>>,
    #[serde(default)]
    pub routing: Routing,
    #[serde(default)]
    pub encapsulation: Encapsulation,
    #[serde(default)]
    pub tunnel: Tunnel,
    #[serde(default)]
    pub api_servers: List,
    #[serde(default)]
    pub service_ranges: Option<Spanned<List>>,
    #[serde(default)]
    pub services: Mode,
    #[serde(default)]
    pub policies: policies::Mode,
    #[serde(default)]
    pub own_node_egress: policies::OwnNodeEgress,
    pub contact_limit: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub struct Tunnel {
    pub port: Option<Spanned<u16>>,
    pub fallback_ports: Option<Vec<Spanned<u16>>>,
    pub vni: Option<Spanned<u32>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    pub name: Spanned<String>,
    pub addresses: Spanned<List>,
    pub blocks: Spanned<List>,
    pub routing: Option<Routing>,
    pub encapsulation: Option<Encapsulation>,
}

/// What a file says about policies.
pub const fn policies(mode: policies::Mode, own_node_egress: policies::OwnNodeEgress) -> policies::Settings {
    policies::Settings { mode, own_node_egress }
}
