use super::{
    super::model::{Cluster, Node, Phase},
    *,
};

const BLOCKS: [&str; 2] = ["10.0.2.0/24", "fd00:2::/64"];

/// A reader on node1 with node2, and all that it has told.
struct Reader(Lent, Cluster);

fn addresses(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn pod(name: &str, node: &str, texts: &[&str]) -> Pod {
    Pod {
        uid: name.to_owned(),
        namespace: "shop".into(),
        name: name.to_owned(),
        labels: [("app", name)].into_iter().collect(),
        node: node.to_owned(),
        addresses: addresses(texts),
        host_network: false,
        phase: Phase::Pending,
        terminating: false,
        ports: Vec::new(),
        claim: 0,
    }
}

impl Reader {
    fn new() -> Self {
        let mut reader = Self(Lent::new("node1"), Cluster::default());
        reader.node("node2", &BLOCKS);
        reader
    }

    fn take(&mut self, events: Vec<Event>, lendings: Vec<(String, Option<Lending>)>) -> usize {
        let events = self.0.take(events, lendings);
        let told = events.len();
        events.into_iter().for_each(|event| drop(self.1.apply(event)));
        told
    }

    fn node(&mut self, name: &str, blocks: &[&str]) {
        let blocks = blocks.iter().map(|text| text.parse().unwrap()).collect();
        self.take(vec![Event::Node(name.into(), Some(Node { addresses: Vec::new(), blocks }))], Vec::new());
    }

    fn say(&mut self, pod: Pod) {
        self.take(vec![Event::Pod(pod.uid.clone(), Some(Arc::new(pod)))], Vec::new());
    }

    fn lend(&mut self, node: &str, pods: &[(&str, &[&str])]) -> usize {
        let lent =
            |(uid, texts): &(&str, &[&str])| ((*uid).to_owned(), addresses(texts).into_iter().collect());
        self.take(Vec::new(), vec![(node.to_owned(), Some(pods.iter().map(lent).collect()))])
    }

    fn has(&self, uid: &str, texts: &[&str]) {
        assert_eq!(self.1.pods[uid].addresses, addresses(texts));
    }
}

#[test]
fn a_pod_has_what_its_node_lends_whichever_is_heard_first() {
    let mut reader = Reader::new();
    reader.say(pod("a", "node2", &[]));
    reader.has("a", &[]);
    reader.lend("node2", &[("a", &["10.0.2.1", "fd00:2::1"])]);
    reader.has("a", &["10.0.2.1", "fd00:2::1"]);
    let mut reader = Reader::new();
    assert_eq!(reader.lend("node2", &[("a", &["10.0.2.1"])]), 0, "a pod that nobody knows has nothing");
    reader.say(pod("a", "node2", &[]));
    reader.has("a", &["10.0.2.1"]);
    assert_eq!(reader.lend("node2", &[("a", &["10.0.2.1"])]), 0, "that is no news");
}

#[test]
fn what_the_source_says_of_a_family_wins_and_the_other_family_is_lent() {
    let mut reader = Reader::new();
    reader.lend("node2", &[("a", &["10.0.2.1", "fd00:2::1"])]);
    reader.say(pod("a", "node2", &["10.0.2.9"]));
    reader.has("a", &["10.0.2.9", "fd00:2::1"]);
    reader.say(pod("a", "node2", &["10.0.2.9", "fd00:2::9"]));
    reader.has("a", &["10.0.2.9", "fd00:2::9"]);
    reader.lend("node2", &[("a", &["10.0.2.7", "fd00:2::7"])]);
    reader.has("a", &["10.0.2.9", "fd00:2::9"]);
}

#[test]
fn a_node_lends_to_its_own_pods_and_from_its_own_blocks_only() {
    let mut reader = Reader::new();
    reader.node("node3", &["10.0.3.0/24"]);
    reader.say(pod("a", "node2", &[]));
    reader.say(pod("mine", "node1", &[]));
    reader.lend("node3", &[("a", &["10.0.3.1"]), ("mine", &["10.0.3.2"])]);
    reader.has("a", &[]);
    reader.has("mine", &[]);
    reader.lend("node2", &[("a", &["10.0.3.1", "192.0.2.1", "10.0.2.1"])]);
    reader.has("a", &["10.0.2.1"]);
    let mut host = pod("host", "node2", &[]);
    host.host_network = true;
    reader.say(host);
    reader.lend("node2", &[("host", &["10.0.2.2"])]);
    reader.has("host", &[]);
    reader.node("node2", &["10.0.9.0/24"]);
    reader.lend("node1", &[("mine", &["10.0.1.1"])]);
    reader.has("mine", &[]);
}

#[test]
fn what_is_lent_ends_with_the_blocks_that_it_came_from() {
    let mut reader = Reader::new();
    reader.say(pod("a", "node2", &[]));
    reader.lend("node2", &[("a", &["10.0.2.1"])]);
    reader.node("node2", &["10.0.9.0/24"]);
    reader.has("a", &[]);
    reader.node("node2", &BLOCKS);
    reader.has("a", &["10.0.2.1"]);
}

#[test]
fn an_address_stays_between_the_word_of_its_node_and_that_of_the_source() {
    let mut reader = Reader::new();
    reader.say(pod("a", "node2", &[]));
    reader.lend("node2", &[("a", &["10.0.2.1", "fd00:2::1"])]);
    reader.lend("node2", &[]);
    reader.has("a", &["10.0.2.1", "fd00:2::1"]);
    reader.say(pod("a", "node2", &["10.0.2.1"]));
    reader.has("a", &["10.0.2.1", "fd00:2::1"]);
    reader.take(vec![Event::Pod("a".into(), None)], Vec::new());
    assert!(reader.1.pods.is_empty());
    reader.say(pod("a", "node2", &[]));
    reader.has("a", &[]);
}

#[test]
fn an_address_that_a_pod_had_is_no_more_its_own_once_another_has_it() {
    for is_lent in [true, false] {
        let mut reader = Reader::new();
        reader.say(pod("a", "node2", &[]));
        reader.say(pod("b", "node2", &[]));
        reader.lend("node2", &[("a", &["10.0.2.1"])]);
        reader.lend("node2", &[]);
        match is_lent {
            true => drop(reader.lend("node2", &[("b", &["10.0.2.1"])])),
            false => reader.say(pod("b", "node2", &["10.0.2.1"])),
        }
        reader.has("a", &[]);
        reader.has("b", &["10.0.2.1"]);
    }
}

#[test]
fn an_object_that_is_gone_lends_nothing() {
    let mut reader = Reader::new();
    reader.say(pod("a", "node2", &[]));
    reader.lend("node2", &[("a", &["10.0.2.1"])]);
    reader.take(Vec::new(), vec![("node2".to_owned(), None)]);
    reader.has("a", &[]);
}
