//! The cost of many agents at one API server.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod bed;

use std::time::{Duration, Instant};

use naru_kubernetes::{KubernetesSource, Pace};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use bed::{Bed, Followed, node};

const AGENTS: usize = 1000;

/// Requests that the API server has counted for a resource and verb.
fn counted(bed: &Bed, resource: &str, verb: &str) -> f64 {
    let metrics = bed.plane().run(&["get", "--raw", "/metrics"], "").unwrap();
    let is_wanted = |line: &&str| {
        line.starts_with("apiserver_request_total{")
            && line.contains(&format!("resource=\"{resource}\""))
            && line.contains(&format!("verb=\"{verb}\""))
    };
    metrics.lines().filter(is_wanted).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn a_thousand_agents_that_start_at_once_ask_for_each_kind_of_objects_about_once() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let bed = Bed::new();
    (1..=50).for_each(|number| drop(bed.create(&node(number))));
    // Slices twice: those of the API servers themselves, and those of Services.
    let kinds = ["nodes", "servicecidrs", "services", "endpointslices", "networkpolicies"];
    let times = [1.0, 1.0, 1.0, 2.0, 1.0];
    let lists = |bed: &Bed| kinds.map(|kind| counted(bed, kind, "LIST"));
    let before = lists(&bed);
    let file = bed.plane().kubeconfig("many.kubeconfig", bed.plane().servers()[0].address()).unwrap();
    let since = Instant::now();
    let mut agents: Vec<Followed> = (0..AGENTS)
        .map(|agent| {
            let access = naru_kubernetes::Access::Kubeconfig(file.clone());
            let memory = bed.path(&format!("memory-{agent}.json"));
            Followed::new(KubernetesSource { access, memory, pace: Pace::default(), ..bed.source() })
        })
        .collect();
    for agent in &mut agents {
        agent.wait("a cluster", |view| view.cluster.is_some()).await;
    }
    let asked = lists(&bed);
    let grown: Vec<f64> = asked.iter().zip(before).map(|(after, before)| after - before).collect();
    println!(
        "{AGENTS} agents know the cluster after {:?}; lists by kind {kinds:?}: {grown:?}",
        since.elapsed()
    );
    #[expect(clippy::cast_precision_loss, reason = "a thousand is exact")]
    let most = AGENTS as f64 * 1.5;
    assert!(grown.iter().zip(times).all(|(lists, times)| *lists <= most * times), "{grown:?}");
}

#[tokio::test]
#[ignore = "needs Kubernetes: cargo xtask setup --kubernetes, then cargo xtask test"]
async fn an_agent_in_quiet_asks_the_api_server_at_most_thirty_times_an_hour() {
    let bed = Bed::new();
    (1..=50).for_each(|number| drop(bed.create(&node(number))));
    // An hour in thirty seconds: what is done every so often is done more often by as much.
    let faster = 120;
    let usual = Pace::default();
    let pace = Pace { resync: usual.resync / faster, ..usual };
    let mut followed = Followed::new(KubernetesSource { pace, ..bed.source() });
    followed.wait("a cluster", |view| view.cluster.is_some()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    bed.relay.requests();
    tokio::time::sleep(Duration::from_secs(3600) / faster).await;
    let asked = bed.relay.requests();
    // A server ends a watch after two hours; each of the six has its own.
    let watches = asked.iter().filter(|path| path.contains("watch=true")).count();
    let lists = asked.len() - watches;
    println!(
        "requests of an agent in an hour of quiet: {lists} lists, {watches} watches, and up to 6 watches that end"
    );
    assert!(asked.len() + 6 <= 30, "{asked:#?}");
}
