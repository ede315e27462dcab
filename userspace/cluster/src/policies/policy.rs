//! NetworkPolicy as Kubernetes writes it.

use naru_core::UnknownProtocol;
use naru_core::policy::model::{
    Block, Namespaces, NetworkPolicy, Peer, PolicyName, Port, Ports, Protocol, Rule, parse_net,
};
use serde::Deserialize;

use super::{default_namespace, or_default, selector::SelectorObject};

/// A policy. In what decides about packets, a field that is not known might narrow a rule, and is refused.
#[derive(Deserialize, Debug)]
pub struct PolicyObject {
    metadata: Metadata,
    #[serde(default, deserialize_with = "or_default")]
    spec: Spec,
}

#[derive(Deserialize, Debug)]
struct Metadata {
    name: String,
    #[serde(default = "default_namespace")]
    namespace: String,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
struct Spec {
    #[serde(deserialize_with = "or_default")]
    pod_selector: SelectorObject,
    #[serde(deserialize_with = "or_default")]
    ingress: Vec<RuleObject>,
    #[serde(deserialize_with = "or_default")]
    egress: Vec<RuleObject>,
    #[serde(deserialize_with = "or_default")]
    policy_types: Vec<String>,
}

/// A rule of either direction: `from` stands in one for packets to the pod, `to` in one for packets of it.
#[derive(Deserialize, Default, Debug)]
#[serde(default, deny_unknown_fields)]
struct RuleObject {
    #[serde(deserialize_with = "or_default")]
    from: Vec<PeerObject>,
    #[serde(deserialize_with = "or_default")]
    to: Vec<PeerObject>,
    #[serde(deserialize_with = "or_default")]
    ports: Vec<PortObject>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PeerObject {
    pod_selector: Option<SelectorObject>,
    namespace_selector: Option<SelectorObject>,
    ip_block: Option<BlockObject>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
struct BlockObject {
    cidr: String,
    #[serde(default, deserialize_with = "or_default")]
    except: Vec<String>,
}

#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct PortObject {
    protocol: Option<String>,
    port: Option<NumberOrName>,
    end_port: Option<u16>,
}

#[derive(Deserialize, Debug)]
#[serde(untagged)]
enum NumberOrName {
    Number(u16),
    Name(String),
}

impl PolicyObject {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> PolicyName {
        PolicyName { namespace: self.metadata.namespace.clone(), name: self.metadata.name.clone() }
    }

    /// Converts the object to a [`NetworkPolicy`], with the API's defaults.
    ///
    /// # Errors
    /// The part that means nothing, in words.
    pub fn policy(self) -> Result<NetworkPolicy, String> {
        let name = self.name();
        let Spec { pod_selector, ingress, egress, policy_types } = self.spec;
        let unknown = policy_types.iter().find(|kind| !matches!(kind.as_str(), "Ingress" | "Egress"));
        if let Some(unknown) = unknown {
            return Err(format!("policyTypes: {unknown} is not known"));
        }
        let is_named = |kind: &str| policy_types.iter().any(|named| named == kind);
        let isolates_in = policy_types.is_empty() || is_named("Ingress");
        let isolates_out = if policy_types.is_empty() { !egress.is_empty() } else { is_named("Egress") };
        // Rules of a direction in which nothing is isolated are read too: what means nothing is refused anywhere.
        let ingress = rules("ingress", ingress)?;
        let egress = rules("egress", egress)?;
        Ok(NetworkPolicy {
            name,
            pods: pod_selector.selector().map_err(|error| format!("podSelector: {error}"))?,
            ingress: isolates_in.then_some(ingress),
            egress: isolates_out.then_some(egress),
        })
    }
}

fn rules(direction: &str, rules: Vec<RuleObject>) -> Result<Vec<Rule>, String> {
    let read = |(index, rule): (usize, RuleObject)| {
        rule.rule(direction).map_err(|error| format!("{direction} rule {}: {error}", index + 1))
    };
    rules.into_iter().enumerate().map(read).collect()
}

impl RuleObject {
    fn rule(self, direction: &str) -> Result<Rule, String> {
        let (peers, others, word) = match direction {
            "ingress" => (self.from, self.to, "to"),
            _ => (self.to, self.from, "from"),
        };
        if !others.is_empty() {
            return Err(format!("{word} has no meaning here"));
        }
        let peers = peers.into_iter().map(PeerObject::peer).collect::<Result<_, _>>()?;
        let ports = self.ports.into_iter().map(PortObject::port).collect::<Result<_, _>>()?;
        Ok(Rule { peers, ports })
    }
}

impl PeerObject {
    fn peer(self) -> Result<Peer, String> {
        match (self.ip_block, self.namespace_selector, self.pod_selector) {
            (Some(block), None, None) => block.block().map(Peer::Block),
            (Some(_), _, _) => Err("a peer with ipBlock has no selectors".to_owned()),
            (None, None, None) => Err("a peer needs ipBlock, podSelector or namespaceSelector".to_owned()),
            (None, namespaces, pods) => {
                let namespaces = match namespaces {
                    None => Namespaces::Own,
                    Some(selector) => Namespaces::Selected(selector.selector()?),
                };
                Ok(Peer::Pods { namespaces, pods: pods.unwrap_or_default().selector()? })
            }
        }
    }
}

impl BlockObject {
    fn block(self) -> Result<Block, String> {
        let net = |text: &str| parse_net(text).ok_or_else(|| format!("{text} is no range of addresses"));
        let cidr = net(&self.cidr)?;
        let mut except = Vec::new();
        for text in &self.except {
            let part = net(text)?;
            if !cidr.contains(&part) {
                return Err(format!("except {text} is no part of {}", self.cidr));
            }
            except.push(part);
        }
        Ok(Block::new(cidr, &except))
    }
}

impl PortObject {
    fn port(self) -> Result<Port, String> {
        let protocol = match self.protocol.as_deref() {
            None => Protocol::default(),
            Some(text) => text.parse().map_err(|error: UnknownProtocol| error.to_string())?,
        };
        let ports = match (self.port, self.end_port) {
            (None, None) => Ports::All,
            (Some(NumberOrName::Number(0)), _) => return Err("port 0 is none".to_owned()),
            (Some(NumberOrName::Number(port)), None) => Ports::Range(port, port),
            (Some(NumberOrName::Number(port)), Some(end)) if port <= end => Ports::Range(port, end),
            (Some(NumberOrName::Number(port)), Some(end)) => {
                return Err(format!("endPort {end} is smaller than port {port}"));
            }
            (Some(NumberOrName::Name(name)), None) if is_name(&name) => Ports::Named(name.into()),
            (Some(NumberOrName::Name(name)), None) => return Err(format!("port {name} is no name")),
            (_, Some(_)) => return Err("endPort needs the number of a port".to_owned()),
        };
        Ok(Port { protocol, ports })
    }
}

/// The names of ports have a letter at least, so that none looks like a number.
fn is_name(name: &str) -> bool {
    name.len() <= 15 && name.bytes().any(|byte| byte.is_ascii_lowercase())
}
