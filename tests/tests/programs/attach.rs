use std::{fs, process::Command};

use aya::programs::{LinkOrder, ProgramInfo, SchedClassifier, TcAttachType, tc::TcAttachOptions};
use naru_abi::programs::{self, FROM_OVERLAY, FROM_POD, FROM_UNDERLAY, TO_OVERLAY, TO_POD};
use naru_bpf::{
    AttachMode, Attachment, Error, Pins, PodFilters, Side, Sizes, attach, attach_pod, attachment, chains,
    detach, detach_others, has_strays, install, pod_filters, restore_pod,
};
use naru_e2e::tool;

use crate::{foreign, kernel::has_tcx, node::Node};

const NONE: Attachment = Attachment { mode: None, ingress: false, egress: false };

fn both(mode: AttachMode) -> Attachment {
    Attachment { mode: Some(mode), ingress: true, egress: true }
}

fn attach_overlay(pins: &Pins, interface: &str, mode: AttachMode) -> Result<AttachMode, Error> {
    attach(pins, Side::Overlay, interface, mode)
}

fn overlay_attachment(pins: &Pins, interface: &str) -> Result<Attachment, Error> {
    attachment(pins, Side::Overlay, interface)
}

fn with_device() -> Node {
    let node = Node::new();
    node.ip("link add name v0 type veth peer name v1");
    node
}

/// Number of filters of any kind on the device, in both directions.
fn filter_count(node: &Node) -> usize {
    let list = |way| tool::run(node.netns(), &format!("tc filter show dev v0 {way}")).unwrap();
    ["ingress", "egress"].into_iter().map(|way| list(way).matches(" handle ").count()).sum()
}

/// The same with tcx programs.
fn attached(node: &Node) -> usize {
    let by_tcx = |way| if has_tcx() { chain(node, way).len() } else { 0 };
    filter_count(node) + by_tcx(TcAttachType::Ingress) + by_tcx(TcAttachType::Egress)
}

fn chain(node: &Node, direction: TcAttachType) -> Vec<u32> {
    node.run(|| SchedClassifier::query_tcx("v0", direction).unwrap().1.iter().map(ProgramInfo::id).collect())
}

fn pinned(node: &Node, name: &str) -> u32 {
    ProgramInfo::from_pin(node.pins.program(name)).unwrap().id()
}

/// Makes the pinned program another one, as an upgrade would.
fn upgrade(node: &Node) {
    for name in programs::ALL {
        fs::remove_file(node.pins.program(name)).unwrap();
    }
    install(&node.pins, Sizes { pods: 64, routes: 64, flows: 64 }).unwrap();
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pod_has_one_filter_each_way_however_often_it_is_attached() {
    for mode in modes() {
        let node = with_device();
        node.run(|| {
            assert_eq!(pod_filters(&node.pins, "v0").unwrap(), PodFilters::default());
            for _ in 0..3 {
                attach_pod(&node.pins, "v0", mode).unwrap();
                assert!(pod_filters(&node.pins, "v0").unwrap().is_complete());
            }
        });
        assert_eq!(attached(&node), 2, "{mode:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_upgrade_shows_as_missing_filters_until_the_pod_is_attached_again() {
    for mode in modes() {
        let node = with_device();
        node.run(|| attach_pod(&node.pins, "v0", mode).unwrap());
        upgrade(&node);
        node.run(|| {
            assert_eq!(pod_filters(&node.pins, "v0").unwrap(), PodFilters::default());
            attach_pod(&node.pins, "v0", mode).unwrap();
            assert!(pod_filters(&node.pins, "v0").unwrap().is_complete());
        });
        assert_eq!(attached(&node), 2, "{mode:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn foreign_filters_stay_where_they_are() {
    let node = with_device();
    tool::run(node.netns(), "tc qdisc add dev v0 clsact").unwrap();
    let pin = node.pins.root().join("foreign");
    foreign::program(FROM_POD, &pin);
    let filter = format!("tc filter add dev v0 ingress prio 1 bpf da pinned {}", pin.display());
    tool::run(node.netns(), &filter).unwrap();
    node.run(|| {
        attach_pod(&node.pins, "v0", AttachMode::Clsact).unwrap();
        assert!(!has_strays("v0").unwrap());
        restore_pod(&node.pins, "v0", AttachMode::Clsact).unwrap();
    });
    let list = tool::run(node.netns(), "tc filter show dev v0 ingress").unwrap();
    assert!(list.contains("pref 1 ") && list.contains("pref 5230 ") && list.contains("from_pod"), "{list}");
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_another_installation_left_in_a_chain_goes_and_what_is_others_stays() {
    for mode in modes() {
        let node = with_device();
        let other = Pins::at(node.pins.root().with_file_name("other"));
        tool::run(node.netns(), "tc qdisc add dev v0 clsact").unwrap();
        let mut foreign = Command::new("tc");
        foreign.args("filter add dev v0 ingress prio 9 protocol all bpf da bytecode".split(' '));
        tool::text(tool::output(node.netns(), foreign.arg("1,6 0 0 4294967295"), "").unwrap()).unwrap();
        node.run(|| {
            install(&other, Sizes { pods: 64, routes: 64, flows: 64 }).unwrap();
            for left in modes() {
                attach(&other, Side::Underlay, "v0", left).unwrap();
                attach(&node.pins, Side::Underlay, "v0", mode).unwrap();
                assert!(attachment(&node.pins, Side::Underlay, "v0").unwrap().is_complete(), "{mode:?}");
                assert_eq!(
                    chains("v0").unwrap().map(|chain| chain.ours()),
                    [1, 1],
                    "{mode:?}, {left:?} left"
                );
            }
            detach(&node.pins, Side::Underlay, "v0").unwrap();
            for left in modes() {
                attach_pod(&other, "v0", left).unwrap();
                restore_pod(&node.pins, "v0", mode).unwrap();
                assert!(pod_filters(&node.pins, "v0").unwrap().is_complete(), "{mode:?}, {left:?} left");
                assert!(!has_strays("v0").unwrap(), "{mode:?}, {left:?} left");
            }
        });
        let list = tool::run(node.netns(), "tc filter show dev v0 ingress").unwrap();
        assert!(list.contains("pref 9 bpf"), "{list}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_filter_that_is_removed_is_seen_by_name_and_put_back() {
    let node = with_device();
    node.run(|| attach_pod(&node.pins, "v0", AttachMode::Clsact).unwrap());
    tool::run(node.netns(), "tc filter del dev v0 egress").unwrap();
    node.run(|| {
        let filters = pod_filters(&node.pins, "v0").unwrap();
        assert_eq!(filters, PodFilters { from_pod: true, to_pod: false });
        attach_pod(&node.pins, "v0", AttachMode::Clsact).unwrap();
        assert!(pod_filters(&node.pins, "v0").unwrap().is_complete());
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_device_that_is_not_there_is_named() {
    let node = with_device();
    node.run(|| {
        for refused in [
            attach_pod(&node.pins, "gone", AttachMode::Clsact).unwrap_err(),
            pod_filters(&node.pins, "gone").unwrap_err(),
        ] {
            assert!(refused.is_no_device() && refused.to_string().starts_with("gone: "), "{refused}");
        }
        detach(&node.pins, Side::Overlay, "gone").unwrap();
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pod_whose_filters_an_earlier_build_attached_has_one_of_each_after_another_mode() {
    for mode in modes() {
        let node = with_device();
        node.run(|| attach_pod(&node.pins, "v0", AttachMode::Clsact).unwrap());
        upgrade(&node);
        node.run(|| {
            attach_pod(&node.pins, "v0", mode).unwrap();
            assert!(pod_filters(&node.pins, "v0").unwrap().is_complete());
        });
        assert_eq!(attached(&node), 2, "{mode:?}");
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_pod_attached_by_tcx_leaves_the_ingress_qdisc_to_others() {
    let node = with_device();
    let attached_so = node.run(|| attach_pod(&node.pins, "v0", AttachMode::Tcx));
    if !modes().contains(&AttachMode::Tcx) {
        assert!(matches!(attached_so, Err(Error::NoTcx(_))), "{attached_so:?}");
        return;
    }
    attached_so.unwrap();
    tool::run(node.netns(), "tc qdisc add dev v0 ingress").unwrap();
    node.run(|| assert!(pod_filters(&node.pins, "v0").unwrap().is_complete()));
}

fn modes() -> Vec<AttachMode> {
    let has_tcx = has_tcx();
    if has_tcx { vec![AttachMode::Tcx, AttachMode::Clsact] } else { vec![AttachMode::Clsact] }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_overlay_is_attached_once_in_either_mode_and_detached_without_trace() {
    for mode in modes() {
        let node = with_device();
        node.run(|| {
            assert_eq!(overlay_attachment(&node.pins, "v0").unwrap(), NONE);
            for _ in 0..3 {
                assert_eq!(attach_overlay(&node.pins, "v0", mode).unwrap(), mode);
                assert_eq!(overlay_attachment(&node.pins, "v0").unwrap(), both(mode));
            }
        });
        let by_tcx = mode == AttachMode::Tcx;
        assert_eq!(filter_count(&node), if by_tcx { 0 } else { 2 });
        assert_eq!(node.pins.link(FROM_OVERLAY, node.ifindex("v0")).exists(), by_tcx);
        if by_tcx {
            assert_eq!(chain(&node, TcAttachType::Ingress), [pinned(&node, FROM_OVERLAY)]);
            assert_eq!(chain(&node, TcAttachType::Egress), [pinned(&node, TO_OVERLAY)]);
        }
        node.run(|| {
            detach(&node.pins, Side::Overlay, "v0").unwrap();
            detach(&node.pins, Side::Overlay, "v0").unwrap();
            assert_eq!(overlay_attachment(&node.pins, "v0").unwrap(), NONE);
        });
        assert_eq!(filter_count(&node), 0);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn ours_comes_last_in_a_chain_with_a_foreign_program_and_leaves_it_there() {
    if !has_tcx() {
        return;
    }
    for (side, name) in [(Side::Overlay, FROM_OVERLAY), (Side::Underlay, FROM_UNDERLAY)] {
        let node = with_device();
        // Ours are not recognised by the name alone.
        let pin = node.pins.root().join("foreign");
        let mut foreign = foreign::program(name, &pin);
        node.run(|| {
            let first = TcAttachOptions::TcxOrder(LinkOrder::first());
            foreign.attach_with_options("v0", TcAttachType::Ingress, first).unwrap();
            attach(&node.pins, side, "v0", AttachMode::Auto).unwrap();
        });
        let (theirs, ours) = (ProgramInfo::from_pin(&pin).unwrap().id(), pinned(&node, name));
        assert_eq!(chain(&node, TcAttachType::Ingress), [theirs, ours]);
        upgrade(&node);
        node.run(|| attach(&node.pins, side, "v0", AttachMode::Auto).unwrap());
        assert_eq!(chain(&node, TcAttachType::Ingress), [theirs, pinned(&node, name)]);
        node.run(|| detach(&node.pins, side, "v0").unwrap());
        assert_eq!(chain(&node, TcAttachType::Ingress), [theirs]);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_change_of_mode_leaves_only_the_new_one() {
    let node = with_device();
    let modes = modes();
    node.run(|| {
        for mode in modes.iter().chain(modes.iter().rev()) {
            attach_overlay(&node.pins, "v0", *mode).unwrap();
            assert_eq!(overlay_attachment(&node.pins, "v0").unwrap(), both(*mode));
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_upgrade_exchanges_the_program_behind_the_same_link() {
    let node = with_device();
    node.run(|| attach_overlay(&node.pins, "v0", AttachMode::Auto).unwrap());
    upgrade(&node);
    node.run(|| {
        assert!(!overlay_attachment(&node.pins, "v0").unwrap().is_complete());
        let mode = attach_overlay(&node.pins, "v0", AttachMode::Auto).unwrap();
        assert_eq!(overlay_attachment(&node.pins, "v0").unwrap(), both(mode));
        if mode == AttachMode::Tcx {
            assert_eq!(chain(&node, TcAttachType::Ingress), [pinned(&node, FROM_OVERLAY)]);
        }
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn links_of_a_dead_device_are_replaced() {
    let node = with_device();
    node.run(|| attach_overlay(&node.pins, "v0", AttachMode::Auto).unwrap());
    node.ip("link del v0");
    node.ip("link add name v0 type veth peer name v1");
    node.run(|| {
        assert!(!overlay_attachment(&node.pins, "v0").unwrap().is_complete());
        let mode = attach_overlay(&node.pins, "v0", AttachMode::Auto).unwrap();
        assert_eq!(overlay_attachment(&node.pins, "v0").unwrap(), both(mode));
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn without_pins_every_attachment_says_what_is_missing() {
    let node = with_device();
    for name in [FROM_POD, TO_POD, FROM_OVERLAY, TO_OVERLAY] {
        fs::remove_file(node.pins.program(name)).unwrap();
    }
    node.run(|| {
        let refused = [
            attach_pod(&node.pins, "v0", AttachMode::Clsact).unwrap_err(),
            attach_overlay(&node.pins, "v0", AttachMode::Auto).unwrap_err(),
            pod_filters(&node.pins, "v0").unwrap_err(),
        ];
        assert!(refused.iter().all(Error::is_not_installed), "{refused:?}");
    });
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn several_uplinks_have_programs_beside_the_overlay_and_lose_them_one_by_one() {
    for mode in modes() {
        let node = with_device();
        node.ip("link add name v2 type veth peer name v3");
        let before = tool::run(node.netns(), "tc qdisc show").unwrap();
        let complete = |side, name: &str| attachment(&node.pins, side, name).unwrap().is_complete();
        node.run(|| {
            attach(&node.pins, Side::Overlay, "v0", mode).unwrap();
            for uplink in ["v1", "v2"] {
                attach(&node.pins, Side::Underlay, uplink, mode).unwrap();
                assert!(complete(Side::Underlay, uplink), "{uplink}");
            }
            assert!(complete(Side::Overlay, "v0"));
            detach_others(&node.pins, Side::Underlay, &[node.ifindex("v1")]).unwrap();
            assert!(complete(Side::Overlay, "v0") && complete(Side::Underlay, "v1"));
            detach(&node.pins, Side::Underlay, "v2").unwrap();
            detach(&node.pins, Side::Underlay, "v1").unwrap();
            detach(&node.pins, Side::Overlay, "v0").unwrap();
            assert_eq!(attachment(&node.pins, Side::Underlay, "v1").unwrap(), NONE);
        });
        assert_eq!(tool::run(node.netns(), "tc qdisc show").unwrap(), before, "a clsact qdisc is left");
        assert_eq!(fs::read_dir(node.pins.links()).unwrap().count(), 0);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn the_chain_names_who_comes_before_ours_and_who_after() {
    let names = |members: &[naru_bpf::Member]| -> Vec<String> {
        members.iter().map(|member| member.name.clone()).collect()
    };
    let node = with_device();
    tool::run(node.netns(), "tc qdisc add dev v0 clsact").unwrap();
    let add = |priority: u32| {
        let mut filter = std::process::Command::new("tc");
        filter.args(["filter", "add", "dev", "v0", "ingress", "prio", &priority.to_string()]);
        filter.args(["protocol", "all", "bpf", "bytecode", "1,6 0 0 0"]);
        tool::output(node.netns(), &mut filter, "").and_then(tool::text).unwrap();
    };
    add(7);
    add(50_000);
    node.run(|| {
        attach(&node.pins, Side::Underlay, "v0", AttachMode::Clsact).unwrap();
        let [ingress, egress] = chains("v0").unwrap();
        assert_eq!((names(ingress.before()), ingress.ours()), (vec!["bpf priority 7".to_owned()], 1));
        assert_eq!(names(ingress.after()), ["bpf priority 50000"]);
        assert_eq!((egress.before(), egress.ours(), egress.after()), (&[][..], 1, &[][..]));
        if modes().contains(&AttachMode::Tcx) {
            attach(&node.pins, Side::Underlay, "v0", AttachMode::Tcx).unwrap();
            let [ingress, _] = chains("v0").unwrap();
            assert_eq!((ingress.before(), ingress.ours()), (&[][..], 1));
            assert_eq!(names(ingress.after()), ["bpf priority 7", "bpf priority 50000"]);
        }
    });
}
