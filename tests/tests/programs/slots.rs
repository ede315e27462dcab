//! The use of one counter slot by several interfaces.

use std::{
    fs::File,
    sync::{Barrier, mpsc},
    thread,
    time::Duration,
};

use naru_abi::{InterfaceValue, POD_SLOTS};

use crate::node::Node;

const VALUE: InterfaceValue =
    InterfaceValue { ifindex: 0, flags: 0, subject: 0, host_mac: [2; 6], pod_mac: [4; 6] };
/// Interfaces of one slot.
const OF_ONE_SLOT: [u32; 4] = [7, 7 + POD_SLOTS, 7 + 2 * POD_SLOTS, 7 + 3 * POD_SLOTS];
const ROUNDS: usize = 2000;

#[test]
#[ignore = "needs root: cargo xtask test"]
fn interfaces_of_one_slot_that_begin_at_once_are_each_counted() {
    let node = Node::new();
    let barrier = Barrier::new(OF_ONE_SLOT.len());
    let interfaces = || node.datapath().interfaces().unwrap();
    let missed = |ifindex| {
        let mut interfaces = interfaces();
        let mut missed = 0;
        for _ in 0..ROUNDS {
            barrier.wait();
            interfaces.add(ifindex, VALUE).unwrap();
            barrier.wait();
            missed += u32::from(interfaces.counters(ifindex).unwrap().is_none());
            barrier.wait();
            interfaces.remove(ifindex).unwrap();
        }
        missed
    };
    let missed: u32 = thread::scope(|scope| {
        let threads = OF_ONE_SLOT.map(|ifindex| scope.spawn(move || missed(ifindex)));
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(missed, 0);
    assert!(interfaces().list().unwrap().is_empty());
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_slot_is_neither_given_nor_taken_back_while_another_process_is_at_it() {
    let node = Node::new();
    let mut interfaces = node.datapath().interfaces().unwrap();
    let other = File::open(node.pins.root()).unwrap();
    other.lock().unwrap();
    let (done, news) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            interfaces.add(7, VALUE).unwrap();
            done.send(()).unwrap();
        });
        assert!(news.recv_timeout(Duration::from_millis(200)).is_err());
        assert!(node.datapath().interfaces().unwrap().list().unwrap().is_empty());
        other.unlock().unwrap();
        news.recv_timeout(Duration::from_secs(10)).unwrap();
    });
    assert_eq!(node.datapath().interfaces().unwrap().list().unwrap(), [7]);
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn an_interface_that_began_again_in_a_slot_that_had_become_free_leaves_nothing() {
    let node = Node::new();
    let mut interfaces = node.datapath().interfaces().unwrap();
    let [first, second, ..] = OF_ONE_SLOT;
    interfaces.add(first, VALUE).unwrap();
    interfaces.add(second, VALUE).unwrap();
    assert!(interfaces.remove(first).unwrap());
    interfaces.add(second, VALUE).unwrap();
    assert!(interfaces.remove(second).unwrap());
    assert!(interfaces.list().unwrap().is_empty());
}
