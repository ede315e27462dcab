//! Following the cluster: what the agent does after init. It owns nothing the datapath needs; killed at any moment it
//! leaves a node that works, and started again it finds the way from what is to what should be.

mod changes;
mod mirror;

use std::{collections::BTreeSet, sync::Once, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use changes::{News, Wake};
pub use mirror::Mirror;

/// How long changes are gathered before a pass: an editor writes a file in several steps.
const SETTLE: Duration = Duration::from_millis(100);

/// How often to look whether the programs are still attached: the kernel tells nobody that a tcx link went. What
/// others do to filters waits for it too, so that a storm of such changes is one look.
const GLANCE: Duration = Duration::from_millis(500);

/// How soon a pass that failed is repeated; each time in a row it takes twice as long, up to the periodic pass.
const RETRY: Duration = Duration::from_secs(1);

/// How many times as long as a look at the firewall took it is left alone: others may change theirs without end, and a
/// long rule set takes long to read.
const REST: u32 = 10;

/// Makes the node, then follows until SIGTERM or SIGINT, or until another process has the agent's place. Watches before it
/// looks, so that no change falls in between.
pub async fn follow(mut mirror: Mirror, period: Duration) -> anyhow::Result<()> {
    mirror.claim()?;
    let mut news = changes::watch(mirror.file(), mirror.pins())?;
    let firewall = changes::watch_firewall()?;
    let (mut rested, mut firewall_due) = (Instant::now(), None);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut glances = interval(GLANCE);
    glances.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut filters = BTreeSet::new();
    let mut due: Option<(Instant, Wake)> = None;
    let mut retry = RETRY;
    let say_once = Once::new();
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = ticks.tick() => {
                if !mirror.pass(Wake::Everything)? {
                    due = Some(again(due, &mut retry, period, Wake::Everything));
                }
                say_once.call_once(|| tracing::info!("following {}", mirror.describe()));
            }
            _ = glances.tick() => {
                if mirror.glance(&filters) {
                    filters.clear();
                }
            }
            () = firewall.notified() => {
                firewall_due.get_or_insert(rested.max(Instant::now() + SETTLE));
            }
            () = at(firewall_due) => {
                firewall_due = None;
                let started = Instant::now();
                mirror.firewall();
                rested = Instant::now() + started.elapsed() * REST;
            }
            Some(news) = news.recv() => match news {
                News::Wake(wake) => due = Some(merge(due, SETTLE, wake)),
                News::Filters(index) => drop(filters.insert(index)),
            },
            () = at(due.map(|(at, _)| at)) => {
                if let Some((_, wake)) = due.take() {
                    if mirror.pass(wake)? {
                        retry = RETRY;
                    } else {
                        due = Some(again(due, &mut retry, period, wake));
                    }
                }
            }
        }
    }
    tracing::info!("stopped; the datapath goes on without the agent");
    Ok(())
}

/// Ends at that time; never without one.
async fn at(due: Option<Instant>) {
    match due {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// When a pass that failed is due again; the next to fail will wait twice as long, up to `period`.
fn again(
    due: Option<(Instant, Wake)>,
    retry: &mut Duration,
    period: Duration,
    wake: Wake,
) -> (Instant, Wake) {
    let delay = std::mem::replace(retry, period.min(*retry * 2));
    merge(due, delay, wake)
}

/// The earlier time and the larger pass: a stream of changes cannot put a pass off.
fn merge(due: Option<(Instant, Wake)>, delay: Duration, wake: Wake) -> (Instant, Wake) {
    let at = Instant::now() + delay;
    due.map_or((at, wake), |(before, other)| (before.min(at), other.max(wake)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_of_changes_keeps_the_first_ones_time_and_the_largest_pass() {
        let first = Instant::now();
        let merged = merge(Some((first, Wake::Everything)), SETTLE, Wake::Routes);
        assert_eq!(merged, (first, Wake::Everything));
        assert_eq!(merge(Some((first, Wake::Routes)), SETTLE, Wake::Cluster).1, Wake::Cluster);
    }

    #[test]
    fn each_failure_in_a_row_waits_twice_as_long_up_to_the_periodic_pass() {
        let (mut retry, period) = (RETRY, Duration::from_secs(3));
        let waits: Vec<Duration> = (0..4)
            .map(|_| {
                let before = retry;
                let (at, wake) = again(None, &mut retry, period, Wake::Routes);
                assert!(at > Instant::now() + before - SETTLE && wake == Wake::Routes);
                before
            })
            .collect();
        assert_eq!(waits, [1, 2, 3, 3].map(Duration::from_secs));
    }

    #[test]
    fn a_change_does_not_wait_for_a_pass_that_failed() {
        let later = Instant::now() + Duration::from_secs(20);
        let (at, wake) = merge(Some((later, Wake::Everything)), SETTLE, Wake::Routes);
        assert!(at < later);
        assert_eq!(wake, Wake::Everything);
    }
}
