//! An API that is away, slow, or lies: a real one behind a relay that makes it so. Whatever it does, no node is removed
//! from the cluster because of it, and the truth is known again afterwards.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod bed;

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use naru_cluster::ClusterError;
use naru_controlplane::Authority;
use naru_kubernetes::{Access, Pace};
use serde_json::{Value, json};

use bed::{Bed, Followed, PACE, names, node, relay::Relay};

const NODES: &str = "/api/v1/nodes";

/// A bed with nodes 1 to 4, and a source that knows them.
async fn four() -> (Bed, Followed) {
    let bed = Bed::new();
    (1..=4).for_each(|number| drop(bed.create(&node(number))));
    let mut followed = bed.follow();
    followed.nodes(&[1, 2, 3, 4]).await;
    (bed, followed)
}

fn is_list(path: &str) -> bool {
    path.starts_with(NODES) && !path.contains("watch=true")
}

fn is_watch(path: &str) -> bool {
    path.starts_with(NODES) && path.contains("watch=true")
}

/// Type and name of an event.
fn event(line: &str) -> (String, String) {
    let event: Value = serde_json::from_str(line).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (text(&event["type"]), text(&event["object"]["metadata"]["name"]))
}

/// Everything of a list but its items.
fn emptied(list: &str) -> String {
    let mut list: Value = serde_json::from_str(list).unwrap();
    list["items"] = json!([]);
    list.to_string()
}

async fn pause(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn connections_that_are_cut_again_and_again_lose_nothing() {
    let (bed, mut followed) = four().await;
    for number in 5..=8 {
        bed.relay.cut();
        bed.create(&node(number));
        pause(50).await;
        bed.relay.cut();
    }
    followed.nodes(&[1, 2, 3, 4, 5, 6, 7, 8]).await;
    let lists = bed.relay.requests().into_iter().filter(|path| is_list(path)).count();
    assert_eq!(lists, 1, "a watch goes on from where the one before ended");
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn single_events_that_are_lost_come_with_the_next_comparison() {
    let bed = Bed::new();
    (1..=4).for_each(|number| drop(bed.create(&node(number))));
    let resync = Duration::from_secs(4);
    let source = bed.source();
    let mut followed =
        Followed::new(naru_kubernetes::KubernetesSource { pace: Pace { resync, ..PACE }, ..source });
    followed.nodes(&[1, 2, 3, 4]).await;
    bed.relay.faults().filter = Some(Box::new(|line| {
        let lost = ["node004", "node005"].contains(&event(line).1.as_str());
        if lost { Vec::new() } else { vec![line.to_owned()] }
    }));
    bed.delete(&["node004".into()]);
    bed.create(&node(5));
    bed.create(&node(6));
    followed.wait("what was not lost", |view| names(view).contains(&"node006".into())).await;
    followed.nodes(&[1, 2, 3, 5, 6]).await;
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn events_that_are_told_again_bring_nothing_back() {
    let (bed, mut followed) = four().await;
    let mut told: Vec<String> = Vec::new();
    bed.relay.faults().filter = Some(Box::new(move |line| {
        told.push(line.to_owned());
        told.clone()
    }));
    bed.create(&node(5));
    followed.nodes(&[1, 2, 3, 4, 5]).await;
    bed.delete(&["node005".into(), "node004".into()]);
    followed.nodes(&[1, 2, 3]).await;
    bed.create(&node(6));
    followed.nodes(&[1, 2, 3, 6]).await;
    pause(500).await;
    assert_eq!(names(&followed.views.borrow()).len(), 4);
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn a_watch_that_expired_is_followed_by_a_list_and_no_node_is_missed_meanwhile() {
    let (bed, mut followed) = four().await;
    let gone = json!({ "type": "ERROR", "object": { "kind": "Status", "code": 410, "message": "too old" } });
    let expired = Arc::new(AtomicUsize::new(0));
    let count = expired.clone();
    bed.relay.faults().filter = Some(Box::new(move |_| match count.fetch_add(1, Ordering::Relaxed) {
        0 => vec![gone.to_string()],
        _ => Vec::new(),
    }));
    bed.relay.requests();
    let is_whole = |view: &naru_cluster::View| names(view).len() >= 4;
    bed.create(&node(5));
    let since = Instant::now();
    while !names(&followed.views.borrow()).contains(&"node005".into()) {
        assert!(is_whole(&followed.views.borrow()), "a list under way takes nothing away");
        assert!(since.elapsed() < bed::PATIENCE);
        pause(10).await;
    }
    assert!(bed.relay.requests().iter().any(|path| is_list(path)));
    followed.nodes(&[1, 2, 3, 4, 5]).await;
}

/// Kinds of objects that the source follows in a cluster without policies, each by requests of its own: nodes, ranges
/// of Services, addresses of API servers, Services, EndpointSlices and policies.
const KINDS: usize = 6;

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn every_refusal_leaves_the_cluster_and_ends_with_what_is_true() {
    let refusals =
        [(401, None), (403, None), (409, None), (410, None), (429, Some(2)), (500, None), (503, Some(1))];
    for (code, after) in refusals {
        let (bed, mut followed) = four().await;
        let before = followed.views.borrow().clone();
        let refused = Arc::new(AtomicUsize::new(0));
        let count = refused.clone();
        bed.relay.faults().refusal = Some(Box::new(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            Some((code, after))
        }));
        let since = Instant::now();
        bed.relay.cut();
        bed.create(&node(5));
        let view = followed.wait("a complaint", |view| view.complaint.is_some()).await;
        assert!(matches!(view.complaint, Some(ClusterError::Unreachable { .. })), "{code}: {view:?}");
        assert_eq!((&view.cluster, &view.revision), (&before.cluster, &before.revision), "{code}");
        let asked = refused.load(Ordering::Relaxed);
        let allowed =
            after.map_or(usize::MAX, |after| KINDS * (2 + since.elapsed().as_secs() / after) as usize);
        assert!(asked <= allowed, "{code}: {asked} requests although a pause was asked for");
        bed.relay.faults().refusal = None;
        followed.nodes(&[1, 2, 3, 4, 5]).await;
    }
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn a_condition_whose_change_is_refused_is_changed_later_and_views_go_on_meanwhile() {
    let bed = Bed::new();
    let mut object = bed::object(&node(1));
    object["status"]["conditions"] =
        json!([{ "type": "NetworkUnavailable", "status": "True", "reason": "Cloud" }]);
    bed.ask("POST", NODES, Some(object)).unwrap();
    let refused = Arc::new(AtomicUsize::new(0));
    let count = refused.clone();
    bed.relay.faults().refusal = Some(Box::new(move |path| {
        let is_patch = path.ends_with("/status");
        let place = if is_patch { count.fetch_add(1, Ordering::Relaxed) } else { usize::MAX };
        [(409, None), (500, None), (429, Some(1)), (403, None)].get(place).copied()
    }));
    let mut followed = bed.follow();
    followed.nodes(&[1]).await;
    followed.contact.set_ready(true);
    while refused.load(Ordering::Relaxed) < 2 {
        pause(10).await;
    }
    bed.create(&node(2));
    followed.nodes(&[1, 2]).await;
    let since = Instant::now();
    let is_set = || {
        bed.ask("GET", "/api/v1/nodes/node001", None).unwrap()["status"]["conditions"][0]["status"] == "True"
    };
    while is_set() {
        assert!(since.elapsed() < bed::PATIENCE);
        pause(100).await;
    }
    assert_eq!(refused.load(Ordering::Relaxed), 5, "four refusals, and no more requests than it takes");
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn an_empty_list_is_believed_only_when_it_is_said_twice() {
    let (bed, mut followed) = four().await;
    let lists = Arc::new(AtomicUsize::new(0));
    for lies in [1, usize::MAX] {
        let count = lists.clone();
        count.store(0, Ordering::Relaxed);
        bed.relay.faults().edit = Some(Box::new(move |path, list| {
            let is_lie = is_list(path) && count.fetch_add(1, Ordering::Relaxed) < lies;
            if is_lie { emptied(&list) } else { list }
        }));
        expire_once(&bed);
        bed.relay.cut();
        if lies == 1 {
            let since = Instant::now();
            while lists.load(Ordering::Relaxed) < 2 {
                assert_eq!(names(&followed.views.borrow()).len(), 4);
                assert!(since.elapsed() < bed::PATIENCE);
                pause(10).await;
            }
            pause(500).await;
            followed.nodes(&[1, 2, 3, 4]).await;
        } else {
            // Said twice it is true as far as anybody can know; this node goes on with what it was.
            let view = followed.wait("only this node", |view| names(view) == ["node001"]).await;
            assert!(view.remarks.iter().any(|remark| remark.subject == "node node001"), "{view:?}");
            assert!(view.cluster.unwrap().nodes[0].blocks.is_empty(), "it gives out nothing");
        }
    }
}

/// Makes watches of nodes expire until a list comes: the answer to one of them may be cut off.
fn expire_once(bed: &Bed) {
    let mut is_done = false;
    bed.relay.faults().refusal = Some(Box::new(move |path| {
        is_done |= is_list(path);
        (is_watch(path) && !is_done).then_some((410, None))
    }));
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn a_list_that_is_cut_short_or_is_something_else_takes_nothing_away() {
    let (bed, mut followed) = four().await;
    for lie in ["cut", "html", "status", "nameless"] {
        let lists = Arc::new(AtomicUsize::new(0));
        let count = lists.clone();
        bed.relay.faults().edit = Some(Box::new(move |path, list| {
            if !is_list(path) || count.fetch_add(1, Ordering::Relaxed) > 1 {
                return list;
            }
            match lie {
                "cut" => list[..list.len() / 2].to_owned(),
                "html" => "<html>a balancer</html>".to_owned(),
                "nameless" => list.replace("\"name\":\"node002\"", "\"name\":\"\""),
                _ => r#"{"kind":"Status","status":"Success"}"#.to_owned(),
            }
        }));
        expire_once(&bed);
        bed.relay.cut();
        let since = Instant::now();
        while lists.load(Ordering::Relaxed) < 3 {
            let known = names(&followed.views.borrow());
            assert!(
                ["node001", "node002", "node003", "node004"]
                    .iter()
                    .all(|name| known.contains(&(*name).into()))
            );
            if lie == "nameless" && lists.load(Ordering::Relaxed) > 0 {
                break;
            }
            assert!(since.elapsed() < bed::PATIENCE, "{lie}");
            pause(10).await;
        }
        bed.relay.faults().edit = None;
        expire_once(&bed);
        bed.relay.cut();
        followed.nodes(&[1, 2, 3, 4]).await;
    }
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn a_server_that_lags_is_not_believed_and_a_store_that_went_back_removes_nothing_until_it_settles() {
    let (bed, mut followed) = four().await;
    let old = |lies: usize| -> bed::relay::Edit {
        let mut lists = 0;
        Box::new(move |path, list| {
            lists += usize::from(is_list(path));
            if !is_list(path) || lists > lies {
                return list;
            }
            let mut list: Value = serde_json::from_str(&list).unwrap();
            list["metadata"]["resourceVersion"] = json!("1");
            list["items"].as_array_mut().unwrap().retain(|item| item["metadata"]["name"] != "node004");
            list.to_string()
        })
    };
    bed.relay.faults().edit = Some(old(3));
    expire_once(&bed);
    bed.relay.cut();
    let since = Instant::now();
    while since.elapsed() < PACE.lags {
        assert_eq!(names(&followed.views.borrow()).len(), 4, "a server that lags takes nothing away");
        pause(50).await;
    }
    followed.nodes(&[1, 2, 3, 4]).await;
    bed.relay.faults().edit = Some(old(usize::MAX));
    expire_once(&bed);
    bed.relay.cut();
    let kept = |view: &naru_cluster::View| {
        view.remarks.iter().any(|remark| remark.reason.contains("went back in time"))
    };
    let view = followed.wait("a node that is kept", kept).await;
    assert_eq!(names(&view).len(), 4);
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn a_new_process_doubts_a_first_list_that_leaves_most_out() {
    let (bed, followed) = four().await;
    pause(300).await;
    drop(followed);
    let lists = Arc::new(AtomicUsize::new(0));
    let count = lists.clone();
    bed.relay.faults().edit = Some(Box::new(move |path, list| {
        let is_lie = is_list(path) && count.fetch_add(1, Ordering::Relaxed) == 0;
        if is_lie { emptied(&list) } else { list }
    }));
    let mut followed = bed.follow();
    let view = followed.wait("a first cluster", |view| view.cluster.is_some()).await;
    assert_eq!((names(&view).len(), lists.load(Ordering::Relaxed)), (4, 2));
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn a_watch_that_stays_silent_makes_another_address_be_asked() {
    let bed = Bed::new();
    (1..=2).for_each(|number| drop(bed.create(&node(number))));
    let certificate = bed.plane().authority().server(&["127.0.0.1"]).unwrap();
    let other = Relay::new(bed.plane().servers()[0].address(), &bed.plane().authority().pem(), certificate);
    other.open();
    bed.relay.faults().is_silent = true;
    let mut source = bed.source();
    source.pace.silence = Duration::from_secs(6);
    source.servers = vec![bed.relay.address().to_string()];
    source.access = Access::Kubeconfig(bed.plane().kubeconfig("other.kubeconfig", other.address()).unwrap());
    let mut followed = Followed::new(source);
    followed.nodes(&[1, 2]).await;
    assert_eq!(other.connections(), 0, "the first address is enough while it answers");
    bed.create(&node(3));
    followed.nodes(&[1, 2, 3]).await;
    assert!(other.connections() > 0);
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn lists_may_be_slow_and_servers_may_have_ipv6_alone() {
    let bed = Bed::new();
    (1..=2).for_each(|number| drop(bed.create(&node(number))));
    let certificate = bed.plane().authority().server(&["::1"]).unwrap();
    let upstream = bed.plane().servers()[0].address();
    let relay = Relay::at("[::1]:0", upstream, &bed.plane().authority().pem(), certificate);
    relay.faults().delay = Duration::from_secs(4);
    relay.open();
    let mut source = bed.source();
    source.access = Access::Kubeconfig(bed.plane().kubeconfig("six.kubeconfig", relay.address()).unwrap());
    Followed::new(source).nodes(&[1, 2]).await;
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn a_token_and_an_authority_that_are_renewed_are_read_again() {
    let bed = Bed::new();
    (1..=2).for_each(|number| drop(bed.create(&node(number))));
    let mut source = bed.source();
    let Access::Kubeconfig(file) = &source.access else { panic!("no kubeconfig") };
    let text = fs::read_to_string(file).unwrap();
    let token = text.lines().find_map(|line| line.trim().strip_prefix("token: ")).unwrap().to_owned();
    let (own, authority) = (bed.path("renewed.kubeconfig"), bed.path("ca.crt"));
    let lines = text.lines().map(|line| match line.trim().split(": ").next() {
        Some("token") => format!("    tokenFile: {}", bed.path("token").display()),
        Some("certificate-authority") => format!("    certificate-authority: {}", authority.display()),
        _ => line.to_owned(),
    });
    fs::write(&own, lines.collect::<Vec<_>>().join("\n")).unwrap();
    fs::write(bed.path("token"), "expired").unwrap();
    fs::write(&authority, bed.plane().authority().pem()).unwrap();
    source.access = Access::Kubeconfig(own);
    let mut followed = Followed::new(source);
    let view = followed.wait("a complaint", |view| view.complaint.is_some()).await;
    assert!(view.complaint.unwrap().to_string().contains("401"));
    fs::write(bed.path("token"), format!("{token}\n")).unwrap();
    followed.nodes(&[1, 2]).await;
    let next = Authority::new("next").unwrap();
    bed.relay.show(&next.server(&["127.0.0.1"]).unwrap());
    bed.relay.cut();
    let is_strange = |view: &naru_cluster::View| {
        view.complaint.as_ref().is_some_and(|complaint| complaint.to_string().contains("peer certificate"))
    };
    followed.wait("a server that is another one so far", is_strange).await;
    fs::write(&authority, next.pem()).unwrap();
    bed.create(&node(3));
    followed.nodes(&[1, 2, 3]).await;
}
