use naru_node::machine::MARKS;
use std::{path::Path, sync::Arc, time::Duration};

use naru_bpf::{Pins, is_of_pods};
use naru_netlink::links::{Change, DeviceConf, Watch};
use naru_node::{host::firewall, machine::DEVICE};
use notify::{RecursiveMode, Watcher};
use tokio::sync::{
    Notify,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

/// The value of `rp_filter` for which packets may come in by any interface.
const LOOSE: u32 = 2;

/// What the threads tell the agent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum News {
    /// Something to look at in a pass.
    Wake(Wake),
    /// Somebody changed the filters of the interface of that index; the next glance looks there.
    Filters(u32),
}

/// What a pass has to look at; the later the more.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Wake {
    /// Routes, rules, addresses.
    Routes,
    /// The cluster file too.
    Cluster,
    /// Everything that init makes.
    Everything,
}

/// News of the cluster file and of the network namespace, from threads of their own.
pub fn watch(file: Option<&Path>, pins: Pins) -> anyhow::Result<UnboundedReceiver<News>> {
    let (sender, receiver) = unbounded_channel();
    if let Some(file) = file {
        watch_file(file, sender.clone())?;
    }
    let mut watch = Watch::open(MARKS)?;
    std::thread::Builder::new().name("netlink".into()).spawn(move || {
        loop {
            match watch.next(None) {
                Ok(Some(change)) => tell(&sender, news(&change, |program| is_of_pods(&pins, program))),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!("netlink: {error}: only the periodic pass sees changes from here on");
                    return;
                }
            }
        }
    })?;
    Ok(receiver)
}

/// Notes that firewall rules changed, ours or others', from a thread of its own; many changes are one note.
pub fn watch_firewall() -> anyhow::Result<Arc<Notify>> {
    let changed = Arc::new(Notify::new());
    let mut watch = firewall::watch()?;
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

/// Nothing is left out where a flood of small changes hides a large one; the receiver merges them.
fn tell(sender: &UnboundedSender<News>, news: Option<News>) {
    if let Some(news) = news {
        // The receiver goes away when the process does.
        let _ = sender.send(news);
    }
}

/// Watches the file's directory, because editors and config maps replace the file; the thread lives as long as the process.
fn watch_file(file: &Path, sender: UnboundedSender<News>) -> anyhow::Result<()> {
    let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !directory.is_dir() {
        tracing::warn!("{}: not there: only the periodic pass looks for it", directory.display());
        return Ok(());
    }
    let take = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            tell(&sender, Some(News::Wake(Wake::Cluster)));
        }
    };
    let mut watcher = notify::recommended_watcher(take)?;
    watcher.watch(directory, RecursiveMode::NonRecursive)?;
    std::thread::Builder::new().name("file".into()).spawn(move || {
        let _watcher = watcher;
        loop {
            std::thread::sleep(Duration::from_secs(3600));
        }
    })?;
    Ok(())
}

/// What the agent is told of a change; `is_ours` knows the numbers of programs that pods have.
fn news(change: &Change, is_ours: impl Fn(u32) -> bool) -> Option<News> {
    match change {
        Change::Filters { index } => Some(News::Filters(*index)),
        Change::FilterInPlace { index, program } => {
            (!program.is_some_and(is_ours)).then_some(News::Filters(*index))
        }
        change => concern(change).map(News::Wake),
    }
}

/// What a change wakes: attachments' own routes and interfaces come and go without our doing.
fn concern(change: &Change) -> Option<Wake> {
    match change {
        Change::LinkGone { name, .. } if name == DEVICE => Some(Wake::Everything),
        Change::Link { name, up, .. } if name == DEVICE => {
            Some(if *up { Wake::Routes } else { Wake::Everything })
        }
        Change::Link { name, .. } | Change::LinkGone { name, .. } => {
            (!name.starts_with("naru")).then_some(Wake::Routes)
        }
        Change::Route { ours, gone } => (*gone || !*ours).then_some(Wake::Routes),
        Change::Address { .. } | Change::Rule => Some(Wake::Routes),
        Change::Conf(conf) => is_undone(conf).then_some(Wake::Routes),
        Change::Filters { .. } | Change::FilterInPlace { .. } => None,
        Change::Lost => Some(Wake::Everything),
    }
}

/// Whether packets may be forwarded no more. A new device tells both of its settings, and its filter is its maker's; alone
/// a filter tells what somebody set, which only a loose one leaves without effect.
fn is_undone(conf: &DeviceConf) -> bool {
    conf.forwarding.map_or(conf.rp_filter != Some(LOOSE), |on| !on)
}

#[cfg(test)]
mod tests {
    use naru_netlink::links::ConfOf;

    use super::*;

    fn link(name: &str, up: bool) -> Change {
        Change::Link { index: 2, name: name.into(), mac: None, up }
    }

    #[test]
    fn a_tunnel_device_that_goes_wakes_everything() {
        assert_eq!(concern(&Change::LinkGone { index: 2, name: DEVICE.into() }), Some(Wake::Everything));
        assert_eq!(concern(&link(DEVICE, false)), Some(Wake::Everything));
        assert_eq!(concern(&link(DEVICE, true)), Some(Wake::Routes));
    }

    #[test]
    fn pods_that_are_attached_wake_nobody() {
        assert_eq!(concern(&link("naru0123456789a", true)), None);
        assert_eq!(concern(&Change::Route { ours: true, gone: false }), None);
    }

    #[test]
    fn a_filter_that_goes_is_for_the_next_glance_and_wakes_no_pass() {
        let change = Change::Filters { index: 7 };
        assert_eq!((news(&change, |_| false), concern(&change)), (Some(News::Filters(7)), None));
    }

    #[test]
    fn a_filter_in_our_place_is_news_unless_its_program_is_ours() {
        let told = |program| news(&Change::FilterInPlace { index: 7, program }, |number| number == 5);
        assert_eq!(
            [told(Some(5)), told(Some(6)), told(None)],
            [None, Some(News::Filters(7)), Some(News::Filters(7))]
        );
    }

    #[test]
    fn forwarding_that_somebody_switches_off_is_looked_at_and_a_pods_new_interface_is_not() {
        let conf = |forwarding, rp_filter| {
            concern(&Change::Conf(DeviceConf { v4: true, of: ConfOf::Device(7), forwarding, rp_filter }))
        };
        assert_eq!(conf(Some(true), Some(0)), None, "a new device");
        assert_eq!(conf(Some(false), None), Some(Wake::Routes));
        assert_eq!(conf(Some(true), None), None, "switched on, by us or others");
        assert_eq!([conf(None, Some(1)), conf(None, Some(2))], [Some(Wake::Routes), None]);
    }

    #[test]
    fn an_uplink_that_changes_is_looked_at_for_its_mtu() {
        assert_eq!(concern(&link("eth0", true)), Some(Wake::Routes));
    }

    #[test]
    fn a_route_of_ours_that_goes_or_anothers_that_comes_is_looked_at() {
        assert_eq!(concern(&Change::Route { ours: true, gone: true }), Some(Wake::Routes));
        assert_eq!(concern(&Change::Route { ours: false, gone: false }), Some(Wake::Routes));
    }
}
