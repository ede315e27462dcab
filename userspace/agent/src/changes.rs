use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use anyhow::Context;
use naru_bpf::{Pins, Pods, is_of_pods};
use naru_netlink::links::{Change, DeviceConf, LinkError, Mac, Watch};
use naru_node::{
    host::firewall,
    machine::{DEVICE, MARKS},
};
use tokio::{
    io::{Interest as Readiness, unix::AsyncFd},
    sync::Notify,
};

use crate::{interest::Interest, schedule::Kind};

/// The value of `rp_filter` for which packets may come in by any interface.
const LOOSE: u32 = 2;

/// Limit of notifications that are read in a row before the agent does anything else.
const BURST: usize = 256;
/// The same limit at the end of a pass, which may have caused notifications itself: more than the socket holds.
const QUEUE: usize = 16_384;

/// Flags of addresses that decide whether others can use them: `IFA_F_OPTIMISTIC`, `IFA_F_DADFAILED`,
/// `IFA_F_DEPRECATED`, `IFA_F_TENTATIVE`. A router advertisement changes only other properties, every few seconds.
const STATE: u32 = 0x04 | 0x08 | 0x20 | 0x40;

/// The agent's news of changes in the network namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// Something to look at in a pass.
    Wish(Kind),
    /// Somebody changed the filters of the interface of that index; the next check of programs looks there.
    Filters(u32),
    /// An address of the node came, changed or went, whatever it is for.
    Addresses,
}

/// The kernel's notifications of links, addresses, routes, rules and filters, as far as they matter.
pub struct Changes {
    watch: AsyncFd<Watch>,
    pins: Pins,
    seen: Seen,
}

impl Changes {
    /// Subscribes; changes from now on are kept until they are read. Needs a tokio runtime with IO.
    ///
    /// # Errors
    /// The socket cannot be made, or not be waited for.
    pub fn open(pins: Pins) -> anyhow::Result<Self> {
        let watch = Watch::open(MARKS)?;
        // SAFETY: the watch owns its descriptor, and nothing replaces or closes it before the watch goes.
        let watch = unsafe { AsyncFd::register_with_interest(watch, Readiness::READABLE) };
        Ok(Self { watch: watch.map_err(std::io::Error::from)?, pins, seen: Seen::default() })
    }

    /// Waits for notifications. Returns the news in the first of them.
    ///
    /// # Errors
    /// The socket fails.
    pub async fn next(&mut self, interest: &Interest) -> Result<Vec<News>, LinkError> {
        let failed = |error: std::io::Error| {
            LinkError::kernel("watch: poll", error.raw_os_error().unwrap_or(libc::EIO))
        };
        let mut ready = self.watch.readable_mut().await.map_err(failed)?;
        let (news, is_empty) = read(ready.get_inner_mut(), &mut self.seen, &self.pins, interest, BURST)?;
        if is_empty {
            ready.clear_ready();
        }
        Ok(news)
    }

    /// The news that have arrived already.
    ///
    /// # Errors
    /// The socket fails.
    pub fn pending(&mut self, interest: &Interest) -> Result<Vec<News>, LinkError> {
        read(self.watch.get_mut(), &mut self.seen, &self.pins, interest, QUEUE).map(|(news, _)| news)
    }
}

/// Reads up to `limit` notifications; returns their news without duplicates, and true if these were all.
fn read(
    watch: &mut Watch,
    seen: &mut Seen,
    pins: &Pins,
    interest: &Interest,
    limit: usize,
) -> Result<(Vec<News>, bool), LinkError> {
    let mut news = Vec::new();
    for _ in 0..limit {
        let Some(change) = watch.pending()? else { return Ok((news, true)) };
        if matches!(change, Change::Address { .. } | Change::Lost) && !news.contains(&News::Addresses) {
            news.push(News::Addresses);
        }
        let told = seen.news(&change, interest, &Owned { pins });
        news.extend(told.filter(|told| !news.contains(told)));
    }
    Ok((news, false))
}

/// The objects of the datapath that a change may concern.
trait Datapath {
    /// Returns true if the program of that number is one that pods have.
    fn is_of_pods(&self, program: u32) -> bool;
    /// Returns true if a pod holds the address; where that cannot be told too.
    fn has_pod(&self, address: IpAddr) -> bool;
}

/// The objects that are pinned now.
struct Owned<'a> {
    pins: &'a Pins,
}

impl Datapath for Owned<'_> {
    fn is_of_pods(&self, program: u32) -> bool {
        is_of_pods(self.pins, program)
    }

    fn has_pod(&self, address: IpAddr) -> bool {
        let found = Pods::open(self.pins).and_then(|pods| pods.get(address));
        !matches!(found, Ok(None))
    }
}

/// The last known state of links and addresses: the kernel announces them again even if nothing of interest has
/// changed, and also after naru's own changes.
#[derive(Default)]
struct Seen {
    links: BTreeMap<u32, (String, Option<Mac>, u32, bool)>,
    addresses: BTreeMap<(u32, IpAddr), u32>,
}

impl Seen {
    /// Returns the agent's news of a change. `datapath` knows the programs that pods have.
    fn news(&mut self, change: &Change, interest: &Interest, datapath: &impl Datapath) -> Option<News> {
        match change {
            Change::Filters { index } => Some(News::Filters(*index)),
            Change::FilterInPlace { index, program } => {
                let is_ours = program.is_some_and(|program| datapath.is_of_pods(program));
                (!is_ours).then_some(News::Filters(*index))
            }
            change => self.wish(change, interest, datapath).map(News::Wish),
        }
    }

    /// Returns the kind of pass that a change requires. Attachments' own routes and interfaces come and go without the
    /// agent: a DEL removes the pod's entry first.
    fn wish(&mut self, change: &Change, interest: &Interest, datapath: &impl Datapath) -> Option<Kind> {
        match change {
            Change::Link { index, name, mac, mtu, up } => {
                let now = (name.clone(), *mac, *mtu, *up);
                let is_same = self.links.insert(*index, now.clone()) == Some(now);
                (!is_same).then(|| link(name)).flatten()
            }
            Change::LinkGone { index, name } => {
                self.links.remove(index);
                self.addresses.retain(|(of, _), _| of != index);
                link(name)
            }
            Change::Route { ours: true, gone, destination } => {
                let is_missed = || !interest.is_own_pod(*destination) || datapath.has_pod(destination.addr());
                (*gone && is_missed()).then_some(Kind::Routes)
            }
            Change::Route { destination, .. } => interest.concerns(*destination).then_some(Kind::Routes),
            Change::Address { index, address, flags } => self.address(*index, *address, *flags),
            Change::Rule => Some(Kind::Routes),
            Change::Conf(conf) => is_undone(conf).then_some(Kind::Routes),
            Change::Filters { .. } | Change::FilterInPlace { .. } => None,
            Change::Lost => {
                *self = Self::default();
                Some(Kind::Everything)
            }
        }
    }

    /// Other nodes do not reach this node by link-local and loopback addresses.
    fn address(&mut self, index: u32, address: IpAddr, flags: Option<u32>) -> Option<Kind> {
        let is_local = match address {
            IpAddr::V4(v4) => v4.is_link_local() || v4.is_loopback() || v4 == Ipv4Addr::UNSPECIFIED,
            IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_loopback(),
        };
        if is_local {
            return None;
        }
        let is_same = match flags.map(|flags| flags & STATE) {
            Some(flags) => self.addresses.insert((index, address), flags) == Some(flags),
            None => {
                self.addresses.remove(&(index, address));
                false
            }
        };
        (!is_same).then_some(Kind::Routes)
    }
}

/// Returns true if packets may not be forwarded any more. A new device announces both of its settings, and its filter
/// is up to its maker; a filter announced alone is what somebody set, and only a loose one does no harm.
fn is_undone(conf: &DeviceConf) -> bool {
    conf.forwarding.map_or(conf.rp_filter != Some(LOOSE), |on| !on)
}

/// Returns the kind of pass that a link requires when it appears, changes or goes. A pass over routes looks at the
/// tunnel device, and hands over to a larger pass if the device is not up: the announcement may be the larger pass's
/// own.
fn link(name: &str) -> Option<Kind> {
    (name == DEVICE || !name.starts_with("naru")).then_some(Kind::Routes)
}

/// Notes, from a thread of its own, that firewall rules changed, ours or others'; many changes are one note.
pub fn watch_firewall() -> anyhow::Result<Arc<Notify>> {
    let changed = Arc::new(Notify::new());
    let mut watch =
        firewall::watch().context("subscribe to changes of nftables, which needs CAP_NET_ADMIN")?;
    let note = Arc::clone(&changed);
    std::thread::Builder::new().name("nftables".into()).spawn(move || {
        loop {
            if let Err(error) = watch.wait() {
                tracing::error!("nftables: {error}: only the periodic pass sees changes from here on");
                return;
            }
            note.notify_one();
        }
    })?;
    Ok(changed)
}

#[cfg(test)]
mod tests {
    use naru_netlink::links::ConfOf;

    use super::*;

    fn link(name: &str, mtu: u32, up: bool) -> Change {
        Change::Link { index: 2, name: name.into(), mac: None, mtu, up }
    }

    /// A datapath with a single pod address, and a single program of pods, number 5.
    struct OnePod;

    impl Datapath for OnePod {
        fn is_of_pods(&self, program: u32) -> bool {
            program == 5
        }

        fn has_pod(&self, address: IpAddr) -> bool {
            address == IpAddr::from([10, 32, 0, 7])
        }
    }

    fn wish(change: &Change) -> Option<Kind> {
        let own = vec!["10.32.0.0/24".parse().unwrap()];
        Seen::default().wish(change, &Interest::new(Vec::new(), own.clone(), own), &OnePod)
    }

    fn route(ours: bool, gone: bool, destination: &str) -> Change {
        Change::Route { ours, gone, destination: destination.parse().unwrap() }
    }

    #[test]
    fn a_tunnel_device_that_comes_changes_or_goes_is_looked_at() {
        assert_eq!(wish(&Change::LinkGone { index: 2, name: DEVICE.into() }), Some(Kind::Routes));
        assert_eq!(wish(&link(DEVICE, 1500, false)), Some(Kind::Routes));
        assert_eq!(wish(&link(DEVICE, 1500, true)), Some(Kind::Routes));
    }

    #[test]
    fn pods_that_are_attached_wake_nobody() {
        assert_eq!(wish(&link("naru0123456789a", 1500, true)), None);
        assert_eq!(wish(&route(true, false, "10.32.0.7/32")), None);
    }

    #[test]
    fn a_link_that_is_announced_as_it_was_wakes_nobody() {
        let (mut seen, interest) = (Seen::default(), Interest::default());
        let mut told = |change: Change| seen.wish(&change, &interest, &OnePod);
        assert_eq!(told(link("eth0", 1500, true)), Some(Kind::Routes), "seen for the first time");
        assert_eq!(told(link("eth0", 1500, true)), None);
        assert_eq!(told(link("eth0", 1400, true)), Some(Kind::Routes));
        assert_eq!(told(link("eth0", 1400, false)), Some(Kind::Routes));
        assert_eq!(told(Change::Lost), Some(Kind::Everything));
        assert_eq!(
            told(link("eth0", 1400, false)),
            Some(Kind::Routes),
            "what was seen before counts no more"
        );
    }

    #[test]
    fn an_address_is_looked_at_when_it_comes_goes_or_settles() {
        let (mut seen, interest) = (Seen::default(), Interest::default());
        let mut told = |address: &str, flags| {
            let address = address.parse().unwrap();
            seen.wish(&Change::Address { index: 2, address, flags }, &interest, &OnePod)
        };
        assert_eq!(told("2001:db8::1", Some(0x40)), Some(Kind::Routes));
        assert_eq!(told("2001:db8::1", Some(0)), Some(Kind::Routes), "its duplicate detection has ended");
        assert_eq!(told("2001:db8::1", Some(0x100)), None, "a router advertisement made its life longer");
        assert_eq!(told("2001:db8::1", None), Some(Kind::Routes));
        assert_eq!(told("fe80::1", Some(0)), None);
        assert_eq!(told("198.51.100.1", Some(0x80)), Some(Kind::Routes));
    }

    #[test]
    fn a_filter_that_goes_is_for_the_next_look_at_programs_and_wakes_no_pass() {
        let news = Seen::default().news(&Change::Filters { index: 7 }, &Interest::default(), &OnePod);
        assert_eq!(news, Some(News::Filters(7)));
    }

    #[test]
    fn a_filter_in_our_place_is_news_unless_its_program_is_ours() {
        let told = |program| {
            let change = Change::FilterInPlace { index: 7, program };
            Seen::default().news(&change, &Interest::default(), &OnePod)
        };
        assert_eq!(
            [told(Some(5)), told(Some(6)), told(None)],
            [None, Some(News::Filters(7)), Some(News::Filters(7))]
        );
    }

    #[test]
    fn forwarding_that_somebody_switches_off_is_looked_at_and_a_pods_new_interface_is_not() {
        let conf = |forwarding, rp_filter| {
            wish(&Change::Conf(DeviceConf { v4: true, of: ConfOf::Device(7), forwarding, rp_filter }))
        };
        assert_eq!(conf(Some(true), Some(0)), None, "a new device");
        assert_eq!(conf(Some(false), None), Some(Kind::Routes));
        assert_eq!(conf(Some(true), None), None, "switched on, by us or others");
        assert_eq!([conf(None, Some(1)), conf(None, Some(2))], [Some(Kind::Routes), None]);
    }

    #[test]
    fn a_pods_route_that_goes_with_its_pod_wakes_nobody() {
        assert_eq!(wish(&route(true, true, "10.32.0.7/32")), Some(Kind::Routes), "its pod is there");
        assert_eq!(wish(&route(true, true, "10.32.0.8/32")), None);
        assert_eq!(wish(&route(true, true, "198.51.100.2/32")), Some(Kind::Routes), "another node's");
    }

    #[test]
    fn a_route_of_ours_that_goes_and_one_of_others_that_matters_are_looked_at() {
        assert_eq!(wish(&route(true, true, "10.32.1.0/24")), Some(Kind::Routes));
        assert_eq!(wish(&route(false, false, "0.0.0.0/0")), Some(Kind::Routes));
        assert_eq!(wish(&route(false, true, "21.7.0.0/16")), None);
    }
}
