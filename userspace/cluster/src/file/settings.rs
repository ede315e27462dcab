//! The settings of a cluster whose nodes come from elsewhere: the keys of `cluster.toml` except its nodes.

use std::{path::Path, time::Duration};

use ipnet::IpNet;
use naru_core::cluster::{Encapsulation, Routing, TunnelSpec};
use toml::Spanned;

use super::{
    convert::{self, Misfit},
    networks, raw,
};
use crate::{ClusterError, Problem, policies, services::Mode};

/// Settings of the cluster's administrator for all nodes; the default is that of a file without any key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterSettings {
    /// Ranges that must contain all blocks; if empty, any block is accepted.
    pub ranges: Vec<IpNet>,
    /// True if pods' packets that leave the cluster take the node's address.
    pub masquerade: bool,
    /// Destinations outside the cluster that are sent the pod's own address.
    pub no_masquerade: Vec<IpNet>,
    /// The routing mode of all nodes.
    pub routing: Routing,
    /// The encapsulation of all nodes.
    pub encapsulation: Encapsulation,
    /// The tunnel.
    pub tunnel: TunnelSpec,
    /// Addresses of the API servers, `host:port` or a URL, to be tried before all others that a node finds.
    pub api_servers: Vec<String>,
    /// Ranges of Service addresses, which replace those of the source.
    pub service_ranges: Vec<IpNet>,
    /// Translator of packets to Services.
    pub services: Mode,
    /// What becomes of policies.
    pub policies: policies::Settings,
    /// The longest time without contact for which a node gives out addresses of its blocks; `None`: for ever.
    pub contact_limit: Option<Duration>,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            ranges: Vec::new(),
            masquerade: true,
            no_masquerade: Vec::new(),
            routing: Routing::default(),
            encapsulation: Encapsulation::default(),
            tunnel: TunnelSpec::default(),
            api_servers: Vec::new(),
            service_ranges: Vec::new(),
            services: Mode::default(),
            policies: policies::Settings::default(),
            contact_limit: None,
        }
    }
}

/// Returns the settings in `text`; `file` is only used in errors.
///
/// # Errors
/// [`ClusterError::Invalid`] with line and key of the first thing that is wrong.
pub fn parse_settings(file: &Path, text: &str) -> Result<ClusterSettings, ClusterError> {
    convert::with_places(file, text, convert)
}

fn convert(raw: &raw::Settings) -> Result<ClusterSettings, Misfit> {
    let list = |list: &Option<_>| list.as_ref().map_or(Ok(Vec::new()), networks::list);
    for server in &raw.api_servers {
        if server.get_ref().trim().is_empty() {
            return Err(Misfit::new(server, Problem::Empty));
        }
    }
    Ok(ClusterSettings {
        ranges: list(&raw.ranges)?,
        masquerade: raw.masquerade.unwrap_or(true),
        no_masquerade: list(&raw.no_masquerade)?,
        routing: raw.routing,
        encapsulation: raw.encapsulation,
        tunnel: convert::tunnel(&raw.tunnel)?,
        api_servers: raw.api_servers.iter().map(|server| server.get_ref().trim().to_owned()).collect(),
        service_ranges: list(&raw.service_ranges)?,
        services: raw.services,
        policies: raw::policies(raw.policies, raw.own_node_egress),
        contact_limit: raw.contact_limit.as_ref().map(time).transpose()?,
    })
}

/// A number of seconds, minutes, hours or days: `90s`, `15m`, `12h`, `7d`.
fn time(text: &Spanned<String>) -> Result<Duration, Misfit> {
    let word = text.get_ref().trim();
    let parsed = [("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)].into_iter().find_map(|(unit, seconds)| {
        let number: u64 = word.strip_suffix(unit)?.parse().ok()?;
        number.checked_mul(seconds).filter(|seconds| *seconds > 0)
    });
    let wrong = || Misfit::new(text, Problem::NotATime(word.to_owned()));
    parsed.map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<ClusterSettings, String> {
        parse_settings(Path::new("settings.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_without_any_key_is_the_default() {
        assert_eq!(parsed("").unwrap(), ClusterSettings::default());
    }

    #[test]
    fn every_key_is_read() {
        let text = "ranges = [\"10.32.0.0/12\"]\nmasquerade = false\nrouting = \"tunnel\"\nencapsulation = \"device\"\n\
                    no_masquerade = [\"10.9.0.0/16\"]\napi_servers = [\"10.0.0.1:6443\"]\n\
                    service_ranges = [\"10.96.0.0/12\"]\nservices = \"stack\"\n\
                    policies = \"off\"\nown_node_egress = \"pass\"\n[tunnel]\nport = 4789\nvni = 7\n";
        let settings = parsed(text).unwrap();
        assert_eq!(settings.ranges, ["10.32.0.0/12".parse().unwrap()]);
        assert_eq!((settings.masquerade, settings.routing), (false, Routing::Tunnel));
        assert_eq!((settings.tunnel.port, settings.tunnel.vni), (4789, 7));
        assert_eq!(settings.api_servers, ["10.0.0.1:6443"]);
        assert_eq!(settings.service_ranges, ["10.96.0.0/12".parse().unwrap()]);
        let policies =
            policies::Settings { mode: policies::Mode::Off, own_node_egress: policies::OwnNodeEgress::Pass };
        assert_eq!((settings.services, settings.policies), (Mode::Stack, policies));
    }

    #[test]
    fn a_time_has_a_number_and_a_unit() {
        let limit = |text: &str| {
            let parsed = parsed(&format!("contact_limit = \"{text}\"\n"));
            parsed.map(|settings| settings.contact_limit.unwrap().as_secs())
        };
        assert_eq!(["90s", "15m", "12h", "7d"].map(|text| limit(text).unwrap()), [90, 900, 43_200, 604_800]);
        for wrong in ["", "12", "h", "-1h", "0s", "1.5h", "99999999999999999999d", "18446744073709551615d"] {
            assert!(limit(wrong).unwrap_err().contains("settings.toml:1: contact_limit"), "{wrong}");
        }
    }

    #[test]
    fn an_error_names_line_and_key_and_nodes_are_no_settings() {
        assert_eq!(
            parsed("masquerade = true\nranges = [\"10.32.0.1/12\"]\n").unwrap_err(),
            "settings.toml:2: ranges: 10.32.0.1/12 has host bits set; the network is 10.32.0.0/12"
        );
        assert!(parsed("[[node]]\nname = \"a\"\n").unwrap_err().contains("unknown field `node`"));
        assert!(
            parsed("services = \"on\"\n").unwrap_err().contains("settings.toml:1: services: unknown variant")
        );
        assert!(parsed("api_servers = [\"\"]\n").unwrap_err().contains("settings.toml:1: api_servers"));
    }
}
