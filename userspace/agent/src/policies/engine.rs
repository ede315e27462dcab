//! The compiler and the maps of one node.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use naru_abi::{MAX_PEER_NETS, MAX_PEERS, MAX_RULES, policy::Direction};
use naru_bpf::Pods;
use naru_cluster::policies::{LeftOut, Mode, News, OwnNodeEgress, Reason, Settings};
use naru_core::{
    ids::PodName,
    ipam::{Domain, State},
    policy::{
        compile::{Compiler, Limits, Plan, Refusal},
        lent::{Lending, Lent},
        local::{Attachment, Locals, closed},
        model::{Event, NetworkPolicy, PolicyName},
    },
};
use naru_node::{
    admission::{Directions, Standing},
    paths::Paths,
    policy::{Enforcement, Held, Options},
};
use naru_store::StateStore;

/// The limits of what is in force: while a change is carried out, the old stands beside the new.
const LIMITS: Limits = Limits {
    peers: MAX_PEERS as usize / 4 * 3,
    nets: MAX_PEER_NETS as usize / 2,
    rules: MAX_RULES as usize / 2,
};

/// A policy by its name.
pub type Policies = BTreeMap<PolicyName, Arc<NetworkPolicy>>;

/// What is known, compiled and in force.
#[derive(Default)]
pub struct Engine {
    node: String,
    /// All policies of the source, in force or not.
    policies: Policies,
    /// True if policies are enforced.
    is_on: bool,
    /// What the settings say about isolated pods.
    options: Options,
    lent: Lent,
    locals: Locals,
    compiler: Option<Compiler>,
    /// Changes that wait for a compiler.
    events: Vec<Event>,
    /// Objects that do not fit, by what the refusal calls them.
    refused: BTreeMap<String, (Event, Refusal)>,
    maps: Option<Maps>,
    /// True if entries may be in the maps to which nothing refers.
    has_remains: bool,
}

/// The maps, and what they held before the compiler began.
struct Maps {
    enforcement: Enforcement,
    pods: Pods,
    /// `None` once the first plan was carried out.
    held: Option<Held>,
}

impl Engine {
    /// Takes changes from the source.
    pub fn take(&mut self, node: &str, news: News, settings: Settings) {
        let is_on = settings.mode != Mode::Off;
        self.options = Options { own_node: settings.own_node_egress == OwnNodeEgress::Pass };
        if news.is_begun || self.node != node {
            node.clone_into(&mut self.node);
            self.lent = Lent::new(node);
            self.locals = Locals::new(node);
            self.compiler = None;
            self.events.clear();
            self.refused.clear();
            self.put_policies(is_on);
        }
        let mut events = Vec::with_capacity(news.events.len());
        for event in news.events {
            match event {
                Event::Policy(name, policy) => {
                    match &policy {
                        Some(policy) => drop(self.policies.insert(name.clone(), policy.clone())),
                        None => drop(self.policies.remove(&name)),
                    }
                    events.push(Event::Policy(name, policy.filter(|_| is_on)));
                }
                other => events.push(other),
            }
        }
        if self.is_on != is_on {
            self.put_policies(is_on);
        }
        let events = self.locals.take(self.lent.take(events, news.lendings));
        self.events.extend(events);
    }

    fn put_policies(&mut self, is_on: bool) {
        self.is_on = is_on;
        let put = |(name, policy): (&PolicyName, &Arc<NetworkPolicy>)| {
            Event::Policy(name.clone(), is_on.then(|| policy.clone()))
        };
        self.events.extend(self.policies.iter().map(put));
    }

    /// Makes the next plan one of everything, after a plan that was not carried out to its end.
    pub fn begin_again(&mut self) {
        self.maps = None;
        if let Some(compiler) = self.compiler.take() {
            let later = std::mem::take(&mut self.events);
            let refused = std::mem::take(&mut self.refused).into_values().map(|(event, _)| event);
            self.events = compiler.cluster().events().chain(refused).chain(later).collect();
        }
    }

    /// True while policies are in the maps.
    pub const fn is_enforcing(&self) -> bool {
        self.maps.is_some()
    }

    /// True if policies are in force, or must come into force.
    ///
    /// # Errors
    /// The kernel's.
    pub fn must_enforce(&self, paths: &Paths) -> anyhow::Result<bool> {
        if self.is_enforcing() || self.has_policies() {
            return Ok(true);
        }
        let pins = paths.pins();
        if !Held::is_any(&pins) {
            return Ok(false);
        }
        if naru_bpf::has_policies(&pins)? {
            return Ok(true);
        }
        let opened = naru_node::policy::release(&pins)?;
        tracing::info!("policies: there are none: {opened} addresses of closed pods are open");
        Ok(false)
    }

    fn has_policies(&self) -> bool {
        self.is_on && !self.policies.is_empty()
    }

    /// What new pods are judged by.
    pub fn standing(&self) -> Option<Standing> {
        let mut namespaces = BTreeMap::<String, Directions>::new();
        for (name, policy) in self.policies.iter().filter(|_| self.is_on) {
            let known = namespaces.entry(name.namespace.clone()).or_default();
            known.ingress |= policy.rules(Direction::Ingress).is_some();
            known.egress |= policy.rules(Direction::Egress).is_some();
        }
        (!namespaces.is_empty()).then_some(Standing { is_unread: false, namespaces })
    }

    /// Compiles what changed and puts it into force. With `is_due`, everything is looked at, whoever changed it.
    /// Returns the number of writes.
    pub fn enforce(&mut self, paths: &Paths, here: Vec<Attachment>, is_due: bool) -> anyhow::Result<usize> {
        let moved = self.locals.set_here(here);
        self.events.extend(moved);
        let pins = paths.pins();
        if self.maps.is_none() {
            let held = if Held::is_any(&pins) { Held::read(&pins)? } else { Held::default() };
            // A compiler that was made beside other maps numbers on where those ended.
            self.begin_again();
            naru_node::policy::begin(paths)?;
            let enforcement = Enforcement::open(&pins)?;
            self.compiler = Some(Compiler::new(&self.node, LIMITS, held.first()));
            self.maps = Some(Maps { enforcement, pods: Pods::open(&pins)?, held: Some(held) });
        }
        let Some(compiler) = &mut self.compiler else {
            // The source began anew: so do the maps.
            self.maps = None;
            return self.enforce(paths, self.locals.here().cloned().collect(), is_due);
        };
        let refused = compile(compiler, std::mem::take(&mut self.events));
        for (key, event, refusal) in refused {
            match refusal {
                Some(refusal) => drop(self.refused.insert(key, (event, refusal))),
                None => drop(self.refused.remove(&key)),
            }
        }
        let plan = compiler.take_plan();
        let mut writes = plan.writes();
        self.has_remains |= writes > 0;
        self.carry_out(&plan)?;
        writes += self.settle()?;
        if is_due {
            writes += self.tidy()?;
        }
        Ok(writes)
    }

    fn carry_out(&mut self, plan: &Plan) -> anyhow::Result<()> {
        let (Some(maps), locals) = (&mut self.maps, &self.locals) else { return Ok(()) };
        maps.enforcement.set_options(self.options);
        let addresses = |uid: &str| locals.addresses(uid);
        let Some(held) = maps.held.take() else {
            return Ok(maps.enforcement.carry_out(plan, addresses)?);
        };
        let mut moves = Vec::new();
        for (uid, isolation) in &plan.pods {
            for address in addresses(uid) {
                let before = maps.pods.get(address)?.map_or(0, |value| value.subject);
                moves.push((before, isolation.subject));
            }
        }
        let bridge = Held::bridge(plan, moves);
        let mut superseded = held.superseded(plan);
        superseded.removed_rules.extend(bridge.iter().map(|value| value.key));
        maps.enforcement.carry_out(&Plan { rules: bridge, ..Plan::default() }, addresses)?;
        maps.enforcement.carry_out(plan, addresses)?;
        self.settle()?;
        if let Some(maps) = &mut self.maps {
            maps.enforcement.carry_out(&superseded, |_| Vec::new())?;
        }
        Ok(())
    }

    /// Makes every pod of this node judged as it should be, whoever wrote its entries. Returns the number of writes.
    fn settle(&mut self) -> anyhow::Result<usize> {
        let (Some(maps), Some(compiler)) = (&mut self.maps, &self.compiler) else { return Ok(0) };
        maps.enforcement.set_options(self.options);
        let mut writes = 0;
        for one in self.locals.here() {
            let wanted = match self.locals.uid(&one.pod) {
                Some(uid) => compiler.isolation(uid),
                None => closed(&compiler.cluster().policies, &one.pod.namespace),
            };
            for address in &one.addresses {
                let Some(value) = maps.pods.get(*address)? else { continue };
                if maps.enforcement.is_isolated_so(&value, wanted) {
                    continue;
                }
                maps.enforcement.isolate(&[*address], wanted)?;
                writes += 1;
            }
        }
        Ok(writes)
    }

    /// Removes what nothing refers to any more, and tries what did not fit again.
    fn tidy(&mut self) -> anyhow::Result<usize> {
        if let Some(maps) = &mut self.maps {
            let gone = maps.enforcement.sweep()?;
            tracing::trace!(gone, "connections of pods that are gone are forgotten");
        }
        self.events.extend(self.refused.values().map(|(event, _)| event.clone()));
        let Some(compiler) = &mut self.compiler else { return Ok(0) };
        if !std::mem::take(&mut self.has_remains) {
            return Ok(0);
        }
        compiler.collect();
        let plan = compiler.take_plan();
        self.carry_out(&plan)?;
        Ok(plan.writes())
    }

    /// True if a pod of this node has the rights that the policies give it.
    pub fn is_settled(&self, pod: &PodName) -> bool {
        match (&self.maps, self.locals.uid(pod)) {
            (Some(_), Some(_)) => true,
            // Nothing isolates it, whatever its labels.
            (Some(_), None) => {
                !self.policies.keys().any(|name| self.is_on && name.namespace == pod.namespace)
            }
            (None, _) => !self.has_policies(),
        }
    }

    /// What does not fit.
    pub fn refused(&self) -> impl Iterator<Item = &Refusal> {
        self.refused.values().map(|(_, refusal)| refusal)
    }

    /// The policies that do not fit.
    pub fn left_out(&self) -> impl Iterator<Item = LeftOut> {
        self.refused.values().filter_map(|(event, refusal)| match event {
            Event::Policy(name, Some(_)) => Some(LeftOut {
                policy: name.clone(),
                reason: Reason::DoesNotFit,
                message: refusal.to_string(),
            }),
            _ => None,
        })
    }

    /// The pods of this node that are closed because the source does not say their labels.
    pub fn closed(&self) -> impl Iterator<Item = &PodName> {
        let is_closed = |one: &&Attachment| self.locals.uid(&one.pod).is_none() && !self.is_settled(&one.pod);
        self.locals.here().filter(is_closed).map(|one| &one.pod)
    }

    /// The compiler, if policies were ever in force.
    pub const fn compiler(&self) -> Option<&Compiler> {
        self.compiler.as_ref()
    }

    /// Addresses of this node's pods that other nodes need and cannot know yet: none without policies.
    pub fn unsaid(&self) -> Lending {
        if self.has_policies() { self.locals.unsaid() } else { Lending::new() }
    }

    /// The pods of this node.
    pub const fn locals(&self) -> &Locals {
        &self.locals
    }
}

/// Takes the changes in. Returns each object that was refused, and those of earlier refusals that are in force now.
fn compile(compiler: &mut Compiler, events: Vec<Event>) -> Vec<(String, Event, Option<Refusal>)> {
    let mut refusals = compiler.apply(events.clone());
    let verdict = |event: Event| {
        let key = subject(&event)?;
        let at = refusals.iter().position(|refusal| refusal.subject == key);
        let refusal = at.map(|at| refusals.swap_remove(at));
        Some((key, event, refusal))
    };
    events.into_iter().filter_map(verdict).collect()
}

/// The name of an object that may be refused, as [`Refusal::subject`]; a pod has another way to be tried again.
fn subject(event: &Event) -> Option<String> {
    match event {
        Event::Policy(name, _) => Some(format!("policy {name}")),
        Event::Namespace(name, _) => Some(format!("namespace {name}")),
        Event::Node(name, _) => Some(format!("node {name}")),
        Event::Pod(..) => None,
    }
}

/// The attachments of this node that have addresses, in order.
pub fn attachments(paths: &Paths, boot: &str) -> anyhow::Result<Vec<Attachment>> {
    let mut here = BTreeMap::<(String, String, String), BTreeSet<IpAddr>>::new();
    for row in StateStore::open(&paths.lease_store(), boot)?.rows()? {
        if row.state == State::Assigned && row.domain == Domain::naru() && !row.pod.is_empty() {
            let PodName { namespace, name, uid } = row.pod;
            here.entry((namespace, name, uid)).or_default().insert(row.address);
        }
    }
    let attachment =
        |((namespace, name, uid), addresses)| Attachment { pod: PodName { namespace, name, uid }, addresses };
    Ok(here.into_iter().map(attachment).collect())
}
