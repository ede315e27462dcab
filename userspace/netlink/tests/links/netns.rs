//! Identity of network namespaces.

use std::{
    os::fd::{AsFd, AsRawFd},
    path::Path,
};

use naru_netlink::netns::{NetnsError, NetnsIdentity, current_netns, netns_identity, open_netns};

use crate::support::Netns;

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_namespace_is_told_from_every_other_and_from_its_successor() {
    let (one, other) = (Netns::new(), Netns::new());
    let identity = netns_identity(one.fd()).unwrap();
    assert_eq!(identity, netns_identity(one.fd()).unwrap());
    assert_ne!(identity, netns_identity(other.fd()).unwrap());
    assert!(identity.cookie.is_some(), "this kernel has cookies");
    let own = one.run(|| netns_identity(current_netns().unwrap().as_fd()).unwrap());
    assert_eq!(own, identity);
    drop(one);
    for _ in 0..64 {
        let successor: NetnsIdentity = netns_identity(Netns::new().fd()).unwrap();
        assert_ne!(successor.cookie, identity.cookie);
    }
}

#[test]
#[ignore = "needs root: cargo xtask test"]
fn a_path_that_is_no_network_namespace_is_refused_with_what_it_is() {
    let netns = Netns::new();
    open_netns(Path::new(&format!("/proc/self/fd/{}", netns.fd().as_raw_fd()))).unwrap();
    let plain = tempfile::NamedTempFile::new().unwrap();
    let error = open_netns(plain.path()).unwrap_err();
    assert!(matches!(error, NetnsError::NotANetns { .. }), "{error}");
    let error = open_netns(Path::new("/proc/self/ns/mnt")).unwrap_err();
    assert_eq!(error.to_string(), "/proc/self/ns/mnt: no network namespace: a namespace of another kind");
    let error = open_netns(Path::new("/run/netns/naru-no-such")).unwrap_err();
    assert_eq!(error.to_string(), "/run/netns/naru-no-such: open: no such file or directory");
    assert_eq!(error.errno(), Some(libc::ENOENT));
}
