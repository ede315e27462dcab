//! Random clusters: the compiled table against a plain evaluation of each Service by itself, and a table that followed
//! many changes against one made at once.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;

const NODES: [&str; 3] = ["n1", "n2", "n3"];
const ZONES: [&str; 3] = ["z1", "z2", "z3"];
const NAMES: [&str; 3] = ["a", "b", "c"];
const PORT_NAMES: [&str; 2] = ["http", "dns"];

fn vip(last: u8, is_v6: bool) -> IpAddr {
    if is_v6 { [0xfd96, 0, 0, 0, 0, 0, 0, u16::from(last)].into() } else { [10, 96, 0, last].into() }
}

fn pod(last: u8, is_v6: bool) -> IpAddr {
    if is_v6 { [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(last)].into() } else { [10, 0, 0, last].into() }
}

prop_compose! {
    fn port()(name in select(&PORT_NAMES[..]), port in 1_u16..4, is_udp in any::<bool>()) -> Port {
        let protocol = if is_udp { Protocol::Udp } else { Protocol::Tcp };
        Port { name: name.into(), port, protocol }
    }
}

prop_compose! {
    fn service()(
        form in select(&[Form::Cluster, Form::Cluster, Form::Cluster, Form::Headless, Form::ExternalName][..]),
        v4 in option::of(1_u8..4),
        v6 in option::of(1_u8..4),
        ports in vec(port(), 0..3),
        affinity in option::of(1_u32..9),
        is_local in any::<bool>(),
        proxy in prop::bool::weighted(0.1),
    ) -> Service {
        let addresses = v4.map(|last| vip(last, false)).into_iter().chain(v6.map(|last| vip(last, true)));
        Service {
            form,
            addresses: addresses.collect(),
            ports: ports.into(),
            affinity,
            is_local,
            proxy: proxy.then(|| "mesh".into()),
        }
    }
}

fn names(of: &'static [&'static str]) -> impl Strategy<Value = Box<[Box<str>]>> {
    vec(select(of), 0..3).prop_map(|names| names.into_iter().map(Into::into).collect())
}

prop_compose! {
    fn endpoint()(
        last in 1_u8..6,
        is_v6 in any::<bool>(),
        node in option::of(select(&NODES[..])),
        [is_ready, is_serving, is_terminating] in any::<[bool; 3]>(),
        zones in names(&ZONES),
        nodes in names(&NODES),
    ) -> Endpoint {
        let node = node.map(Into::into);
        Endpoint { address: pod(last, is_v6), node, is_ready, is_serving, is_terminating, zones, nodes }
    }
}

prop_compose! {
    fn slice()(
        service in select(&NAMES[..]),
        ports in vec(port(), 0..3),
        endpoints in vec(endpoint(), 0..5),
    ) -> Slice {
        Slice { service: service.into(), ports: ports.into(), endpoints: endpoints.into() }
    }
}

/// Change of the Service or slice with that number; `None` removes it.
#[derive(Clone, Debug)]
enum Step {
    Service(usize, Option<Service>),
    Slice(usize, Option<Slice>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..NAMES.len(), option::weighted(0.8, service())).prop_map(|(n, service)| Step::Service(n, service)),
        (0..6_usize, option::weighted(0.8, slice())).prop_map(|(n, slice)| Step::Slice(n, slice)),
    ]
}

fn named(name: &str) -> ServiceName {
    ServiceName { namespace: "default".into(), name: name.into() }
}

fn places() -> impl Strategy<Value = Place> {
    (select(&NODES[..]), select(&["", "z1", "z2", "z9"][..]), option::of(1_u8..4)).prop_map(
        |(node, zone, own)| {
            let own = own.map(|last| vip(last, false)).into_iter().collect();
            Place { node: node.into(), zone: zone.into(), own, is_off: false }
        },
    )
}

/// The cluster as lists, which the plain evaluation reads.
#[derive(Default)]
struct Plain {
    services: [Option<Service>; NAMES.len()],
    slices: [Option<Slice>; 6],
}

/// The backends that a client on `place` may meet behind a port of a Service in a family: chosen, and kept beside them;
/// as sentences of the rules one by one, for one endpoint at a time.
fn evaluated(
    plain: &Plain,
    name: &str,
    port: &Port,
    is_v4: bool,
    is_local: bool,
    place: &Place,
) -> [BTreeSet<Backend>; 2] {
    let mut all: Vec<(Backend, Endpoint)> = Vec::new();
    for slice in plain.slices.iter().flatten().filter(|slice| &*slice.service == name) {
        for own in slice.ports.iter().filter(|own| own.name == port.name && own.protocol == port.protocol) {
            for endpoint in slice.endpoints.iter().filter(|endpoint| endpoint.address.is_ipv4() == is_v4) {
                let backend = Backend { address: endpoint.address, port: own.port };
                match all.iter_mut().find(|(known, _)| *known == backend) {
                    Some((_, known)) if !endpoint.is_terminating => *known = endpoint.clone(),
                    Some(_) => {}
                    None => all.push((backend, endpoint.clone())),
                }
            }
        }
    }
    let ready = || all.iter().map(|(_, endpoint)| endpoint).filter(|endpoint| endpoint.is_ready);
    let for_node = |one: &Endpoint| one.nodes.iter().any(|node| **node == *place.node);
    let for_zone = |one: &Endpoint| one.zones.iter().any(|zone| **zone == *place.zone);
    let by_node = ready().all(|one| !one.nodes.is_empty()) && ready().any(for_node);
    let by_zone = !by_node && ready().all(|one| !one.zones.is_empty()) && ready().any(for_zone);
    let is_here = |one: &Endpoint| one.node.as_deref() == Some(&*place.node);
    let gets = |one: &Endpoint| {
        if is_local {
            if !is_here(one) {
                return false;
            }
            let others_ready = all.iter().any(|(_, other)| is_here(other) && other.is_ready);
            return one.is_ready || (!others_ready && one.is_serving && one.is_terminating);
        }
        if one.is_ready {
            return if by_node { for_node(one) } else { !by_zone || for_zone(one) };
        }
        ready().next().is_none() && one.is_serving && one.is_terminating
    };
    let chosen: BTreeSet<Backend> =
        all.iter().filter(|(_, one)| gets(one)).map(|(backend, _)| *backend).collect();
    let serving = all.iter().filter(|(_, one)| one.is_serving).map(|(backend, _)| *backend);
    let kept = serving.filter(|backend| !chosen.contains(backend)).collect();
    [chosen, kept]
}

/// Checks a frontend of the table against the Services that claim it.
fn check_frontend(
    plain: &Plain,
    table: &Table,
    frontend: Frontend,
    place: &Place,
) -> Result<(), TestCaseError> {
    let port_of = |service: &Service| {
        let is_served = service.form == Form::Cluster && service.proxy.is_none();
        let is_its = is_served && service.addresses.contains(&frontend.address);
        let is_same = |port: &&Port| port.port == frontend.port && port.protocol == frontend.protocol;
        service.ports.iter().filter(|_| is_its).rfind(is_same).cloned()
    };
    let claims = NAMES.iter().zip(&plain.services);
    let claims: Vec<_> = claims
        .filter_map(|(name, service)| service.as_ref().and_then(|one| Some((name, port_of(one)?, one))))
        .collect();
    let found = table.frontends.get(&frontend);
    let [(name, port, service)] = &claims[..] else {
        let is_disputed = found.is_some_and(|one| matches!(one.stack, Some(Reason::Disputed(_))));
        prop_assert_eq!(is_disputed, claims.len() > 1);
        prop_assert_eq!(found.is_some(), claims.len() > 1);
        return Ok(());
    };
    let [chosen, kept] = evaluated(plain, name, port, frontend.address.is_ipv4(), service.is_local, place);
    let found = found.ok_or_else(|| TestCaseError::fail("no such frontend"))?;
    prop_assert_eq!(&found.service, &named(name));
    prop_assert_eq!(found.affinity, service.affinity);
    let all = |a: &BTreeSet<Backend>, b: &[Backend]| a.iter().copied().eq(b.iter().copied());
    if place.own.contains(&frontend.address) {
        prop_assert_eq!(found.stack.as_ref(), Some(&Reason::OwnAddress));
        return Ok(());
    }
    prop_assert!(all(&chosen, &found.chosen), "chosen: {:?}, not {:?}", found.chosen, chosen);
    prop_assert!(all(&kept, &found.kept), "kept: {:?}, not {:?}", found.kept, kept);
    prop_assert_eq!(found.stack.is_none(), !chosen.is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_table_says_of_every_frontend_what_its_services_and_slices_say(
        steps in vec(step(), 1..14),
        place in places(),
    ) {
        let (mut plain, mut model) = (Plain::default(), Model::default());
        let mut compiler = Compiler::new(place.clone());
        for step in steps {
            let concerned = match step {
                Step::Service(number, service) => {
                    plain.services[number].clone_from(&service);
                    model.set_service(named(NAMES[number]), service.map(Arc::new));
                    BTreeSet::from([named(NAMES[number])])
                }
                Step::Slice(number, slice) => {
                    let before = std::mem::replace(&mut plain.slices[number], slice.clone());
                    model.set_slice("default", &number.to_string(), before.as_ref(), slice.map(Arc::new))
                }
            };
            compiler.renew(&model, &concerned);
        }
        let table = compiler.table();
        prop_assert_eq!(table, &compile(&model, place.clone()), "followed, and made at once");
        for number in 0..36_u8 {
            let protocol = if number % 2 == 0 { Protocol::Tcp } else { Protocol::Udp };
            let address = vip(1 + number / 4 % 3, number / 2 % 2 == 0);
            let frontend = Frontend { address, port: 1 + u16::from(number / 12), protocol };
            check_frontend(&plain, table, frontend, &place)?;
        }
    }
}
