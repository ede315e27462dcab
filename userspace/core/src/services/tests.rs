//! The rules of kube-proxy as a table: what is said of a Service, and which backends its clients meet on node n1.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use super::*;

const VIP: &str = "10.96.0.1";

/// `10.0.0.1:80 n1 ready zones=z1,z2 nodes=n1`: an endpoint with its conditions and hints.
fn endpoint(text: &str) -> Endpoint {
    let mut words = text.split(' ');
    let address: IpAddr = words.next().unwrap().parse().unwrap();
    let mut made = Endpoint {
        address,
        node: None,
        is_ready: false,
        is_serving: false,
        is_terminating: false,
        zones: Box::default(),
        nodes: Box::default(),
    };
    let list = |text: &str| text.split(',').map(Into::into).collect();
    for word in words {
        match word {
            "ready" => (made.is_ready, made.is_serving) = (true, true),
            "published" => made.is_ready = true,
            "leaving" => (made.is_serving, made.is_terminating) = (true, true),
            "dead" => made.is_terminating = true,
            "unready" => {}
            node if node.starts_with('n') && !node.contains('=') => made.node = Some(node.into()),
            hint if hint.starts_with("zones=") => made.zones = list(&hint[6..]),
            hint if hint.starts_with("nodes=") => made.nodes = list(&hint[6..]),
            other => panic!("{other}"),
        }
    }
    made
}

fn port(name: &str, port: u16) -> Port {
    Port { name: name.into(), port, protocol: Protocol::Tcp }
}

fn service() -> Service {
    Service { addresses: [VIP.parse().unwrap()].into(), ports: [port("", 80)].into(), ..Service::default() }
}

fn slice(ports: &[Port], endpoints: &[&str]) -> Slice {
    Slice {
        service: "web".into(),
        ports: ports.into(),
        endpoints: endpoints.iter().map(|text| endpoint(text)).collect(),
    }
}

fn named(name: &str) -> ServiceName {
    ServiceName { namespace: "default".into(), name: name.into() }
}

fn model(service: Service, slices: &[Slice]) -> Model {
    let mut model = Model::default();
    model.set_service(named("web"), Some(Arc::new(service)));
    for (number, slice) in slices.iter().enumerate() {
        model.set_slice("default", &format!("web-{number}"), None, Some(Arc::new(slice.clone())));
    }
    model
}

fn place() -> Place {
    Place { node: "n1".into(), zone: "z1".into(), ..Place::default() }
}

fn frontend(address: &str, port: u16) -> Frontend {
    Frontend { address: address.parse().unwrap(), port, protocol: Protocol::Tcp }
}

/// `10.0.0.1:8080 10.0.0.2:8080 | kept ones | reason`
fn shown(translation: &Translation) -> String {
    let list = |backends: &[Backend]| {
        let text = |backend: &Backend| std::net::SocketAddr::new(backend.address, backend.port).to_string();
        backends.iter().map(text).collect::<Vec<_>>().join(" ")
    };
    let reason = translation.stack.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{} | {} | {reason}", list(&translation.chosen), list(&translation.kept)).trim().to_owned()
}

fn met(service: Service, slices: &[Slice]) -> String {
    let table = compile(&model(service, slices), place());
    shown(&table.frontends[&frontend(VIP, 80)])
}

#[test]
fn conditions_and_hints_choose_backends_as_kube_proxy_does() {
    let none = "| no endpoints";
    for (endpoints, expected) in [
        (&[][..], "|  | no endpoints"),
        (&["10.0.0.1 ready", "10.0.0.2 ready"], "10.0.0.1:8080 10.0.0.2:8080 |  |"),
        (&["10.0.0.1 unready", "10.0.0.2 ready"], "10.0.0.2:8080 |  |"),
        (&["10.0.0.1 published"], "10.0.0.1:8080 |  |"),
        (&["10.0.0.1 ready", "10.0.0.2 leaving"], "10.0.0.1:8080 | 10.0.0.2:8080 |"),
        (&["10.0.0.1 unready", "10.0.0.2 leaving"], "10.0.0.2:8080 |  |"),
        (&["10.0.0.1 unready", "10.0.0.2 dead"], &format!("|  {none}")),
        // Hints by zone.
        (&["10.0.0.1 ready zones=z1", "10.0.0.2 ready zones=z2"], "10.0.0.1:8080 | 10.0.0.2:8080 |"),
        (&["10.0.0.1 ready zones=z2,z1", "10.0.0.2 ready zones=z2"], "10.0.0.1:8080 | 10.0.0.2:8080 |"),
        (&["10.0.0.1 ready zones=z1", "10.0.0.2 ready"], "10.0.0.1:8080 10.0.0.2:8080 |  |"),
        (&["10.0.0.1 ready zones=z2", "10.0.0.2 ready zones=z3"], "10.0.0.1:8080 10.0.0.2:8080 |  |"),
        (&["10.0.0.1 unready zones=z1", "10.0.0.2 ready zones=z2"], "10.0.0.2:8080 |  |"),
        (&["10.0.0.1 ready zones=z1", "10.0.0.2 unready"], "10.0.0.1:8080 |  |"),
        (&["10.0.0.1 leaving zones=z1", "10.0.0.2 leaving zones=z2"], "10.0.0.1:8080 10.0.0.2:8080 |  |"),
        // Hints by node come before those by zone, and count by themselves.
        (
            &["10.0.0.1 ready nodes=n1 zones=z2", "10.0.0.2 ready nodes=n2 zones=z1"],
            "10.0.0.1:8080 | 10.0.0.2:8080 |",
        ),
        (
            &["10.0.0.1 ready nodes=n2 zones=z1", "10.0.0.2 ready nodes=n2 zones=z2"],
            "10.0.0.1:8080 | 10.0.0.2:8080 |",
        ),
        (
            &["10.0.0.1 ready nodes=n1 zones=z1", "10.0.0.2 ready zones=z1"],
            "10.0.0.1:8080 10.0.0.2:8080 |  |",
        ),
    ] {
        assert_eq!(met(service(), &[slice(&[port("", 8080)], endpoints)]), expected, "{endpoints:?}");
    }
}

#[test]
fn a_local_policy_keeps_to_this_node_and_takes_no_hints() {
    for (endpoints, expected) in [
        (&["10.0.0.1 n1 ready", "10.0.0.2 n2 ready"][..], "10.0.0.1:8080 | 10.0.0.2:8080 |"),
        (&["10.0.0.1 n1 ready zones=z2", "10.0.0.2 n2 ready zones=z1"], "10.0.0.1:8080 | 10.0.0.2:8080 |"),
        (&["10.0.0.1 n1 leaving", "10.0.0.2 n2 ready"], "10.0.0.1:8080 | 10.0.0.2:8080 |"),
        (
            &["10.0.0.1 ready", "10.0.0.2 n2 ready"],
            "| 10.0.0.1:8080 10.0.0.2:8080 | internalTrafficPolicy is Local, no endpoint on this node",
        ),
        (&["10.0.0.1 n1 unready"], "|  | no endpoints"),
    ] {
        let service = Service { is_local: true, ..service() };
        assert_eq!(met(service, &[slice(&[port("", 8080)], endpoints)]), expected, "{endpoints:?}");
    }
}

#[test]
fn an_address_that_is_listed_twice_is_one_backend_and_that_of_the_pod_that_stays() {
    let ports = [port("", 8080)];
    let (old, new) = ("10.0.0.1 n1 leaving", "10.0.0.1 n2 ready");
    for endpoints in [[old, new], [new, old]] {
        assert_eq!(met(service(), &[slice(&ports, &endpoints)]), "10.0.0.1:8080 |  |", "one slice");
        let two = endpoints.map(|text| slice(&ports, &[text]));
        assert_eq!(met(service(), &two), "10.0.0.1:8080 |  |", "two slices");
        let local = Service { is_local: true, ..service() };
        assert!(met(local, &two).starts_with("| 10.0.0.1:8080 |"), "the one that stays is on another node");
    }
    let apart = slice(&[port("", 8080), port("", 8081)], &["10.0.0.1 ready"]);
    assert_eq!(met(service(), &[apart]), "10.0.0.1:8080 10.0.0.1:8081 |  |", "one address, two ports");
}

#[test]
fn ports_are_found_by_name_and_protocol_in_every_slice() {
    let udp = Port { protocol: Protocol::Udp, ..port("dns", 53) };
    let web = Service { ports: [port("http", 80), port("dns", 53), udp.clone()].into(), ..service() };
    let slices = [
        slice(&[port("http", 8080), udp], &["10.0.0.1 ready"]),
        slice(&[port("http", 9090)], &["10.0.0.2 ready"]),
    ];
    let table = compile(&model(web, &slices), place());
    let at = |port, protocol| shown(&table.frontends[&Frontend { protocol, ..frontend(VIP, port) }]);
    assert_eq!(at(80, Protocol::Tcp), "10.0.0.1:8080 10.0.0.2:9090 |  |");
    assert_eq!(at(53, Protocol::Udp), "10.0.0.1:53 |  |");
    assert_eq!(at(53, Protocol::Tcp), "|  | no endpoints");
    assert_eq!(table.frontends.len(), 3);
}

#[test]
fn families_are_served_apart_and_come_and_go_apart() {
    let dual = Service { addresses: [VIP, "fd96::1"].map(|a| a.parse().unwrap()).into(), ..service() };
    let ports = [port("", 8080)];
    let (v4, v6) = (slice(&ports, &["10.0.0.1 ready"]), slice(&ports, &["fd00::1 ready"]));
    let of = |slices: &[Slice]| {
        let table = compile(&model(dual.clone(), slices), place());
        [VIP, "fd96::1"].map(|address| shown(&table.frontends[&frontend(address, 80)]))
    };
    assert_eq!(of(&[v4.clone(), v6.clone()]), ["10.0.0.1:8080 |  |", "[fd00::1]:8080 |  |"]);
    assert_eq!(of(&[v4]), ["10.0.0.1:8080 |  |", "|  | no endpoints"]);
    assert_eq!(of(&[v6]), ["|  | no endpoints", "[fd00::1]:8080 |  |"]);
}

#[test]
fn what_is_left_to_the_stack_says_why() {
    let slices = [slice(&[port("", 8080)], &["10.0.0.1 ready"])];
    for (service, reason) in [
        (Service { form: Form::Headless, addresses: [].into(), ..service() }, Reason::Headless),
        (Service { form: Form::ExternalName, ..service() }, Reason::ExternalName),
        (Service { addresses: [].into(), ..service() }, Reason::NoAddress),
        (Service { ports: [].into(), ..service() }, Reason::NoPorts),
        (Service { proxy: Some("mesh".into()), ..service() }, Reason::OtherProxy("mesh".into())),
    ] {
        let table = compile(&model(service, &slices), place());
        assert_eq!(table.frontends.len(), 0, "{reason}");
        assert_eq!(table.left[&named("web")], reason);
    }
    let own = Place { own: BTreeSet::from([VIP.parse().unwrap()]), ..place() };
    let off = Place { is_off: true, ..place() };
    for (place, reason) in [(own, "the address is one of this node's own"), (off, "services = \"stack\"")] {
        let table = compile(&model(service(), &slices), place);
        let expected = format!("| 10.0.0.1:8080 | {reason}");
        assert_eq!(shown(&table.frontends[&frontend(VIP, 80)]), expected, "flows that are there go on");
    }
}

#[test]
fn affinity_is_the_services_and_every_translation_names_it() {
    let table = compile(&model(Service { affinity: Some(60), ..service() }, &[]), place());
    let translation = &table.frontends[&frontend(VIP, 80)];
    assert_eq!((translation.affinity, &translation.service), (Some(60), &named("web")));
}

#[test]
fn an_address_of_two_services_is_nobodys_until_one_of_them_goes() {
    let slices = [slice(&[port("", 8080)], &["10.0.0.1 ready"])];
    let mut model = model(service(), &slices);
    let mut compiler = Compiler::new(place());
    compiler.renew(&model, [&named("web")]);
    let shows = |compiler: &Compiler| shown(&compiler.table().frontends[&frontend(VIP, 80)]);
    for (other, present, expected) in [
        ("zeta", true, "|  | Service default/zeta has the same address and port"),
        ("alpha", true, "|  | Service default/web has the same address and port"),
        ("zeta", false, "|  | Service default/web has the same address and port"),
        ("alpha", false, "10.0.0.1:8080 |  |"),
    ] {
        model.set_service(named(other), present.then(|| Arc::new(service())));
        compiler.renew(&model, [&named(other)]);
        assert_eq!(shows(&compiler), expected);
    }
    model.set_service(named("web"), None);
    compiler.renew(&model, [&named("web")]);
    assert_eq!(*compiler.table(), Table::default());
}

#[test]
fn a_slice_that_goes_over_to_another_service_concerns_both() {
    let ports = [port("", 8080)];
    let before = slice(&ports, &["10.0.0.1 ready"]);
    let mut model = model(service(), std::slice::from_ref(&before));
    let after = Slice { service: "other".into(), ..before.clone() };
    let concerned = model.set_slice("default", "web-0", Some(&before), Some(Arc::new(after)));
    assert_eq!(concerned, BTreeSet::from([named("web"), named("other")]));
    assert_eq!(shown(&compile(&model, place()).frontends[&frontend(VIP, 80)]), "|  | no endpoints");
}
