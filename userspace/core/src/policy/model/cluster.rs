//! All objects of a cluster that policies speak about, and the events that change them.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use super::{Labels, NetworkPolicy, Node, Pod, PolicyName};

/// The objects as they are known now.
#[derive(Clone, Default, Debug)]
pub struct Cluster {
    /// Policies by name.
    pub policies: BTreeMap<PolicyName, Arc<NetworkPolicy>>,
    /// Labels of namespaces by name.
    pub namespaces: BTreeMap<String, Labels>,
    /// Pods by UID.
    pub pods: HashMap<String, Arc<Pod>>,
    /// Nodes by name.
    pub nodes: BTreeMap<String, Node>,
}

/// A change of one object. `None` stands for an object that is gone.
#[derive(Clone, Debug)]
pub enum Event {
    /// A policy.
    Policy(PolicyName, Option<Arc<NetworkPolicy>>),
    /// The labels of a namespace.
    Namespace(String, Option<Labels>),
    /// A pod, by its UID.
    Pod(String, Option<Arc<Pod>>),
    /// A node.
    Node(String, Option<Node>),
}

/// The holder of an address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Holder {
    /// A pod with an own network namespace.
    Pod(Arc<Pod>),
    /// A node, by its name: its processes and the pods in its own network namespace.
    Node(String),
    /// A pod that is not known yet, by the block in which the address lies.
    UnknownPod,
    /// Nobody of the cluster.
    Outside,
}

impl Cluster {
    /// Makes the change and returns the one that undoes it.
    pub fn apply(&mut self, event: Event) -> Event {
        match event {
            Event::Policy(name, policy) => {
                let before = replace_ordered(&mut self.policies, &name, policy);
                Event::Policy(name, before)
            }
            Event::Namespace(name, labels) => {
                let before = replace_ordered(&mut self.namespaces, &name, labels);
                Event::Namespace(name, before)
            }
            Event::Node(name, node) => {
                let before = replace_ordered(&mut self.nodes, &name, node);
                Event::Node(name, before)
            }
            Event::Pod(uid, pod) => {
                let before = match pod {
                    Some(pod) => self.pods.insert(uid.clone(), pod),
                    None => self.pods.remove(&uid),
                };
                Event::Pod(uid, before)
            }
        }
    }

    /// The events that make an empty cluster this one.
    pub fn events(&self) -> impl Iterator<Item = Event> {
        let nodes = self.nodes.iter().map(|(name, node)| Event::Node(name.clone(), Some(node.clone())));
        let namespaces =
            self.namespaces.iter().map(|(name, labels)| Event::Namespace(name.clone(), Some(labels.clone())));
        let pods = self.pods.iter().map(|(uid, pod)| Event::Pod(uid.clone(), Some(pod.clone())));
        let policies = self.policies.iter().map(|(name, it)| Event::Policy(name.clone(), Some(it.clone())));
        nodes.chain(namespaces).chain(pods).chain(policies)
    }

    /// The holder of an address. This looks at every object; the compiler has an index.
    #[must_use]
    pub fn holder(&self, address: IpAddr) -> Holder {
        let has_it = |pod: &&Arc<Pod>| pod.is_member() && pod.addresses.contains(&address);
        let by_claim = |pod: &&Arc<Pod>| (pod.claim, pod.uid.clone());
        if let Some(pod) = self.pods.values().filter(has_it).max_by_key(by_claim) {
            return Holder::Pod(pod.clone());
        }
        if let Some((name, _)) = self.nodes.iter().find(|(_, node)| node.addresses.contains(&address)) {
            return Holder::Node(name.clone());
        }
        if let Some(pod) = self.pods.values().find(|pod| pod.lends_from_node(address)) {
            return Holder::Node(pod.node.clone());
        }
        let mut blocks = self.nodes.values().flat_map(|node| &node.blocks);
        if blocks.any(|block| block.contains(&address)) { Holder::UnknownPod } else { Holder::Outside }
    }
}

/// The pods that hold addresses, for many questions about one state of a cluster.
pub struct Holders<'a> {
    cluster: &'a Cluster,
    pods: HashMap<IpAddr, &'a Arc<Pod>>,
}

impl<'a> Holders<'a> {
    /// The holders of all addresses.
    #[must_use]
    pub fn new(cluster: &'a Cluster) -> Self {
        let mut pods = HashMap::<IpAddr, &Arc<Pod>>::new();
        for pod in cluster.pods.values().filter(|pod| pod.is_member()) {
            for address in &pod.addresses {
                let holder = pods.entry(*address).or_insert(pod);
                if (pod.claim, &pod.uid) > (holder.claim, &holder.uid) {
                    *holder = pod;
                }
            }
        }
        Self { cluster, pods }
    }

    /// The pod that holds an address.
    #[must_use]
    pub fn pod(&self, address: IpAddr) -> Option<&'a Arc<Pod>> {
        self.pods.get(&address).copied()
    }

    /// The holder of an address.
    #[must_use]
    pub fn holder(&self, address: IpAddr) -> Holder {
        self.pod(address).map_or_else(|| self.cluster.holder(address), |pod| Holder::Pod(pod.clone()))
    }
}

fn replace_ordered<K: Ord + Clone, V>(map: &mut BTreeMap<K, V>, key: &K, value: Option<V>) -> Option<V> {
    match value {
        Some(value) => map.insert(key.clone(), value),
        None => map.remove(key),
    }
}
