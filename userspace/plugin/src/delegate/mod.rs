//! Addresses from another IPAM plugin, which is called with our own environment and standard input, as the
//! specification demands.

mod lease;

use std::{env, net::IpAddr, time::Duration};

use ipnet::IpNet;
use naru_cni_types::{CniResult, Code, Error, Network, Version, delegate_error, delegate_result};
use naru_node::{
    delegate::{DEADLINE, Run, RunError},
    machine::{Delegated, NodeFacts},
};
use naru_store::DelegatedLease;
use serde_json::Value;

pub(crate) use lease::{Lease, collect, noted_since, release_noted};

/// The other plugin that a configuration names.
#[derive(Clone, Copy)]
pub(crate) struct Delegate<'a> {
    network: &'a Network,
    /// `ipam.type`.
    pub(crate) plugin: &'a str,
    stdin: &'a [u8],
    /// True if the container's namespace is gone, whatever `CNI_NETNS` says.
    is_netns_gone: bool,
}

impl<'a> Delegate<'a> {
    /// The other plugin, or `None` if the addresses are from our own store.
    pub(crate) fn of(network: &'a Network, stdin: &'a [u8]) -> Option<Self> {
        Some(Self { network, plugin: network.delegate.as_deref()?, stdin, is_netns_gone: false })
    }

    /// The same, for a container whose namespace is gone.
    pub(crate) fn without_netns(self) -> Self {
        Self { is_netns_gone: true, ..self }
    }

    /// Returns true if it asks for addresses over the pod's own interface.
    pub(crate) fn asks_over_link(self) -> bool {
        asks_over_link(Some(self.plugin))
    }

    /// Returns true if the plugin can be run.
    pub(crate) fn is_installed(self) -> bool {
        self.look().is_ok()
    }

    /// Finds the plugin.
    pub(crate) fn look(self) -> Result<(), Error> {
        let path = self.path()?;
        let run = Run { plugin: self.plugin, path: &path, variables: &[], stdin: &[], deadline: DEADLINE };
        run.look().map_err(|error| self.failed(code_of(&error), &error))
    }

    fn path(self) -> Result<String, Error> {
        let path = env::var("CNI_PATH").ok().filter(|path| !path.is_empty());
        path.ok_or_else(|| Error::new(Code::InvalidEnvironment, "CNI_PATH: missing"))
    }

    /// Returns true if it is asked as it was for that lease: by the same configuration, but for what the runtime adds.
    pub(crate) fn asks_as(self, lease: &DelegatedLease) -> bool {
        let written = |conf: &[u8]| {
            let mut conf: Value = serde_json::from_slice(conf).unwrap_or_default();
            if let Some(keys) = conf.as_object_mut() {
                keys.retain(|key, _| !["prevResult", "runtimeConfig"].contains(&key.as_str()));
            }
            conf
        };
        self.plugin == lease.plugin && written(self.stdin) == written(&lease.conf)
    }

    /// Calls ADD and returns the plugin's result.
    pub(crate) fn add(self) -> Result<CniResult, Error> {
        let stdout = self.ask("ADD")?;
        delegate_result(self.plugin, self.network.version, &stdout)
    }

    /// Calls DEL, on the runtime's request or because a later step of ADD failed.
    pub(crate) fn del(self) -> Result<(), Error> {
        self.ask("DEL").map(drop)
    }

    /// Calls CHECK, with the `prevResult` on standard input.
    pub(crate) fn check(self) -> Result<(), Error> {
        self.ask("CHECK").map(drop)
    }

    /// Calls GC if the plugin has it; a plugin without GC gets only DEL.
    pub(crate) fn gc(self) -> Result<(), Error> {
        if self.speaks()? { self.ask("GC").map(drop) } else { Ok(()) }
    }

    /// Calls STATUS: codes 50 and 51 are passed on as they are, every other fault is code 50.
    pub(crate) fn status(self) -> Result<(), Error> {
        let asked = self.speaks().and_then(|speaks| match speaks {
            true => self.ask("STATUS").map(drop),
            false => Err(self.failed(
                Code::NotAvailable,
                format_args!("does not speak cniVersion {}", self.network.version),
            )),
        });
        asked.map_err(|error| match error.code {
            Code::NotAvailable | Code::NotAvailableLimited => error,
            other => {
                let msg = format!("{} (code {})", error.msg, other.number());
                Error { code: Code::NotAvailable, msg, details: error.details }
            }
        })
    }

    /// Returns true if the plugin supports the version of the configuration.
    fn speaks(self) -> Result<bool, Error> {
        let reply: Value = serde_json::from_slice(&self.ask("VERSION")?).unwrap_or_default();
        let version = self.network.version.as_str();
        let listed = reply.get("supportedVersions").and_then(Value::as_array);
        Ok(listed.is_some_and(|all| all.iter().any(|one| one.as_str() == Some(version))))
    }

    fn ask(self, command: &str) -> Result<Vec<u8>, Error> {
        let path = self.path()?;
        let deadline =
            self.network.naru.ipam_timeout.map_or(DEADLINE, |seconds| Duration::from_secs(seconds.into()));
        let variables = [("CNI_COMMAND", command), ("CNI_NETNS", "")];
        let variables = if self.is_netns_gone { &variables[..] } else { &variables[..1] };
        let run = Run { plugin: self.plugin, path: &path, variables, stdin: self.stdin, deadline };
        let said = run.run().map_err(|error| self.failed(code_of(&error), &error))?;
        if said.status.success() {
            return Ok(said.stdout);
        }
        Err(delegate_error(self.plugin, &said.stdout, &said.status.to_string()))
    }

    fn failed(self, code: Code, why: impl std::fmt::Display) -> Error {
        Error::new(code, format!("ipam {}: {why}", self.plugin))
    }

    /// Refuses addresses that no pod can have.
    pub(crate) fn refuse_unusable(self, result: &CniResult, node: &NodeFacts) -> Result<(), Error> {
        for ip in result.ips.iter().map(|ip| ip.address.addr()) {
            if node.addresses.contains(&ip) {
                return Err(
                    self.failed(Code::InvalidConfig, format_args!("gave {ip}, an address of this node"))
                );
            }
            if is_special(ip) {
                return Err(
                    self.failed(Code::InvalidConfig, format_args!("gave {ip}, which no pod can have"))
                );
            }
        }
        Ok(())
    }
}

/// Returns true if the plugin needs the pod's interface before there is an address. The reference plugin for DHCP
/// speaks to its server over it, in ADD, while the pod lives, and in DEL.
pub(crate) fn asks_over_link(plugin: Option<&str>) -> bool {
    plugin == Some("dhcp")
}

/// The subnets in the result, for the node's settings.
pub(crate) fn delegated(network: &str, result: &CniResult, masquerade: bool) -> Delegated {
    let mut subnets: Vec<IpNet> = result.ips.iter().map(|ip| ip.address.trunc()).collect();
    subnets.sort_unstable();
    subnets.dedup();
    Delegated { subnets, masquerade, networks: [network.to_owned()].into() }
}

/// Reads a noted result.
pub(crate) fn noted(plugin: &str, text: &str) -> Option<CniResult> {
    delegate_result(plugin, Version::LATEST, text.as_bytes()).ok()
}

fn is_special(ip: IpAddr) -> bool {
    let is_link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    is_link_local || ip.is_loopback() || ip.is_multicast() || ip.is_unspecified()
}

const fn code_of(error: &RunError) -> Code {
    match error {
        RunError::NotFound { .. } | RunError::Itself(_) => Code::InvalidConfig,
        RunError::Deadline(_) => Code::TryAgainLater,
        RunError::Io { .. } => Code::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_no_pod_can_have_are_told_from_others() {
        for text in ["127.0.0.1", "0.0.0.0", "224.0.0.1", "169.254.1.1", "::1", "fe80::1", "ff02::1"] {
            assert!(is_special(text.parse().unwrap()), "{text}");
        }
        for text in ["10.0.0.1", "192.0.2.1", "fd00::1", "2001:db8::1"] {
            assert!(!is_special(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn two_addresses_of_a_subnet_make_one_subnet() {
        let result = noted(
            "x",
            r#"{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.5/24"},{"address":"10.0.0.6/24"}]}"#,
        );
        assert_eq!(delegated("net", &result.unwrap(), true).subnets, ["10.0.0.0/24".parse().unwrap()]);
    }
}
