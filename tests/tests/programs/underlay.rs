//! The uplink's programs under real packets: encapsulated here and decapsulated there, by program or device.

use std::time::Duration;

use naru_abi::{
    Hook::{FromOverlay, FromPod, FromUnderlay},
    StackReason, Verdict,
};
use naru_e2e::{
    offload::Offload,
    probe::{
        ping::{self, Ping},
        tcp, udp,
    },
    tool,
};

use crate::{
    pair::{Mode, Pair},
    world::{FAMILIES, Family, POD_MTU},
};

const MB: u64 = 1 << 20;

/// Streams and datagrams both ways between the pods: sizes around the largest that fits, and larger ones in fragments.
fn traffic(pair: &Pair, family: Family) {
    let [near, far] = pair.hosts(family);
    let fits = POD_MTU as usize - family.header() - 8;
    for (from, to) in [(&near, &far), (&far, &near)] {
        ping::all_return(from, to, 56, 2).unwrap();
        udp::echo(from, to, &[0, 1, 7, 1000, fits - 1, fits, fits + 1, 5000]).unwrap();
        tcp::stream(from, to, 2 * MB, 2 * MB).unwrap();
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn program_and_device_understand_each_other_in_every_family() {
    if !Mode::Own.is_possible() {
        return;
    }
    for underlay in FAMILIES {
        for modes in [[Mode::Own, Mode::Own], [Mode::Own, Mode::Device], [Mode::Device, Mode::Own]] {
            let pair = Pair::new(underlay, modes);
            for family in FAMILIES {
                traffic(&pair, family);
            }
            for (member, mode, other) in [(&pair.near, modes[0], modes[1]), (&pair.far, modes[1], modes[0])] {
                let name = format!("{mode:?} to {other:?} over {underlay:?}");
                let [own, device] =
                    [Verdict::Encapsulated, Verdict::Tunnel].map(|end| member.count(FromPod, end));
                assert!(
                    (own > 1000, device > 1000) == (mode == Mode::Own, mode == Mode::Device),
                    "{name}: {own}, {device}"
                );
                let taken_out = member.count(FromUnderlay, Verdict::Peer);
                let by_device = member.count(FromOverlay, Verdict::Peer);
                let expects_own = (mode, other) == (Mode::Own, Mode::Own);
                assert_eq!(
                    (taken_out > 1000, by_device > 1000),
                    (expects_own, !expects_own),
                    "{name}: {taken_out}, {by_device}"
                );
            }
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn streams_near_the_mtu_arrive_whole_with_and_without_offloads() {
    if !Mode::Own.is_possible() {
        return;
    }
    for underlay in FAMILIES {
        let pair = Pair::new(underlay, [Mode::Own, Mode::Own]);
        for (segments, sums) in [(true, false), (false, true), (false, false), (true, true)] {
            for member in [&pair.near, &pair.far] {
                member.offload(Offload::SendChecksums, sums);
                for offload in [Offload::SendTcpSegments, Offload::SendSegments, Offload::Receive] {
                    member.offload(offload, segments);
                }
            }
            for family in FAMILIES {
                traffic(&pair, family);
            }
        }
        for member in [&pair.near, &pair.far] {
            let (own, device) =
                (member.count(FromPod, Verdict::Encapsulated), member.count(FromPod, Verdict::Tunnel));
            assert!(own > 10_000 && device == 0, "{own} by us, {device} by the device");
            assert_eq!(member.count(FromUnderlay, StackReason::TunnelDevice), 0);
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn nodes_may_choose_differently_between_tunnel_and_direct_routing() {
    let modes = [
        [Mode::Direct, Mode::Direct],
        [Mode::Direct, Mode::Own],
        [Mode::Device, Mode::Direct],
        [Mode::Direct, Mode::Stack],
    ];
    let possible = modes.into_iter().filter(|[near, far]| near.is_possible() && far.is_possible());
    for (modes, underlay) in possible.zip(FAMILIES.into_iter().cycle()) {
        let pair = Pair::new(underlay, modes);
        for family in FAMILIES {
            traffic(&pair, family);
        }
        for (member, mode, other) in [(&pair.near, modes[0], modes[1]), (&pair.far, modes[1], modes[0])] {
            let name = format!("{mode:?} to {other:?}");
            let ends = [Verdict::Direct, Verdict::Encapsulated, Verdict::Tunnel]
                .map(|end| member.count(FromPod, end) > 1000);
            assert_eq!(ends, [mode == Mode::Direct, mode == Mode::Own, mode == Mode::Device], "{name}");
            // Answers to packets that came through the stack go through it.
            let by_stack = member.count(FromPod, StackReason::DirectByStack)
                + member.count(FromPod, StackReason::RecordedFlow);
            assert_eq!(by_stack > 1000, mode == Mode::Stack, "{name}: {by_stack}");
            let taken = member.count(FromUnderlay, Verdict::Peer);
            let is_taken =
                mode != Mode::Stack && other != Mode::Device && (mode, other) != (Mode::Device, Mode::Own);
            assert_eq!(taken > 1000, is_taken, "{name}: {taken}");
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn no_packet_is_lost_while_the_next_hop_is_asked_for_and_none_when_it_changes_its_mac() {
    for mode in [Mode::Own, Mode::Direct].into_iter().filter(|mode| mode.is_possible()) {
        for underlay in FAMILIES {
            let pair = Pair::new(underlay, [mode, mode]);
            for family in FAMILIES {
                let [near, far] = pair.hosts(family);
                ping::all_return(&near, &far, 56, 1).unwrap();
                for member in [&pair.near, &pair.far] {
                    member.ip("neigh flush dev u0");
                }
                let lost =
                    ping::lost(&near.netns, far.address, Ping::default(), 5, Duration::from_millis(20));
                assert_eq!(lost.unwrap(), 0, "{mode:?} {family:?} in {underlay:?}: flushed");
                pair.far.ip(&format!("link set u0 address 02:00:00:00:99:{:02x}", 1 + family as u8));
                pair.near.ip("neigh flush dev u0");
                let lost =
                    ping::lost(&near.netns, far.address, Ping::default(), 5, Duration::from_millis(20));
                assert!(lost.unwrap() <= 1, "{mode:?} {family:?} in {underlay:?}: another MAC");
            }
        }
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn what_the_underlay_cannot_carry_whole_goes_by_the_device() {
    if !Mode::Own.is_possible() {
        return;
    }
    for underlay in FAMILIES {
        let pair = Pair::new(underlay, [Mode::Own, Mode::Own]);
        let (to, length) = (underlay.remote_node(), if underlay == Family::V4 { 32 } else { 128 });
        pair.near.ip(&format!("route add {to}/{length} dev u0 mtu lock 1300"));
        for family in FAMILIES {
            let [near, far] = pair.hosts(family);
            // Neighbours are known then: asking again for one takes a second, half of what an echo may.
            let reaches = || ping::all_return(&near, &far, 56, 1).is_ok();
            assert!(tool::holds_within(Duration::from_secs(10), reaches), "{family:?} in {underlay:?}");
            let sent = |size: usize| {
                let count =
                    || [Verdict::Encapsulated, Verdict::Tunnel].map(|end| pair.near.count(FromPod, end));
                let before = count();
                let echo = udp::echo(&near, &far, &[size]);
                let after = count();
                (echo, [after[0] - before[0], after[1] - before[1]])
            };
            let (echo, ends) = sent(1000);
            assert_eq!((echo.is_ok(), ends), (true, [1, 0]), "{family:?} in {underlay:?}, fits: {echo:?}");
            // An IPv6 packet is fragmented by its sender only, and the device is none.
            let ((echo, ends), arrives) = (sent(1330), underlay == Family::V4);
            assert_eq!(
                (echo.is_ok(), ends),
                (arrives, [0, 1]),
                "{family:?} in {underlay:?}, too long: {echo:?}"
            );
        }
    }
}
