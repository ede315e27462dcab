use super::*;

struct Given(Nodes);

impl Given {
    fn of(nodes: &[(&str, &[&str], &[&str])]) -> Self {
        let mut given = Self(Nodes::new());
        for (name, addresses, blocks) in nodes {
            given.add(name, addresses, blocks, 0);
        }
        given
    }

    fn add(&mut self, name: &str, addresses: &[&str], blocks: &[&str], since: u64) {
        let node = Node {
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            blocks: blocks.iter().map(|text| text.parse().unwrap()).collect(),
            standing: Standing::Ours,
            machine: String::new(),
            zone: String::new(),
            is_unavailable: false,
            since,
        };
        let uid = format!("uid-{name}-{since}");
        let entry = Entry { uid, created: String::new(), value: Some(node), fault: None, is_kept: false };
        self.0.insert(name.to_owned(), entry);
    }

    fn node(&mut self, name: &str) -> &mut Node {
        self.0.get_mut(name).unwrap().value.as_mut().unwrap()
    }

    fn agree(&self) -> (String, Vec<String>) {
        self.with(&ClusterSettings::default(), &[])
    }

    fn with(&self, settings: &ClusterSettings, last: &[IpAddr]) -> (String, Vec<String>) {
        let Agreement { cluster, remarks } = agree(&self.0, settings, "own", last);
        let shown = cluster.map_or_else(
            || "none".to_owned(),
            |cluster| {
                let node = |node: &NodeSpec| {
                    let addresses: Vec<String> = node.addresses.iter().map(ToString::to_string).collect();
                    let blocks: Vec<String> = node.blocks.iter().map(ToString::to_string).collect();
                    format!("{} {} {}", node.name, addresses.join(","), blocks.join(","))
                };
                cluster.nodes.iter().map(node).collect::<Vec<_>>().join("; ")
            },
        );
        (shown, remarks.iter().map(ToString::to_string).collect())
    }
}

const OWN: (&str, &[&str], &[&str]) = ("own", &["10.0.0.1"], &["10.244.1.0/24"]);

#[test]
fn nodes_that_agree_are_the_cluster_and_their_blocks_its_ranges() {
    let given = Given::of(&[OWN, ("b", &["10.0.0.2"], &["10.244.0.0/24"])]);
    let (shown, remarks) = given.agree();
    assert_eq!(shown, "b 10.0.0.2 10.244.0.0/24; own 10.0.0.1 10.244.1.0/24");
    assert!(remarks.is_empty());
    let cluster = agree(&given.0, &ClusterSettings::default(), "own", &[]).cluster.unwrap();
    assert_eq!(cluster.ranges, ["10.244.0.0/23".parse().unwrap()]);
}

#[test]
fn a_range_leads_to_the_node_that_got_it_last_whatever_order_events_come_in() {
    for (first, second) in [(5, 9), (9, 5)] {
        let mut given = Given::of(&[OWN]);
        given.add("a", &["10.0.0.2"], &["10.244.7.0/24"], first);
        given.add("b", &["10.0.0.3"], &["10.244.7.0/24"], second);
        let (winner, loser, address) = if first < second { ("b", "a", 3) } else { ("a", "b", 2) };
        let (shown, remarks) = given.agree();
        assert_eq!(shown, format!("{winner} 10.0.0.{address} 10.244.7.0/24; own 10.0.0.1 10.244.1.0/24"));
        let reason = format!("node {loser}: 10.244.7.0/24 overlaps 10.244.7.0/24 of node {winner}");
        assert_eq!(remarks, [reason]);
    }
}

#[test]
fn the_own_block_that_another_node_got_is_given_out_no_more() {
    let mut given = Given::of(&[OWN]);
    given.add("b", &["10.0.0.2"], &["10.244.0.0/16"], 9);
    let (shown, remarks) = given.agree();
    assert_eq!(shown, "b 10.0.0.2 10.244.0.0/16; own 10.0.0.1 ");
    assert_eq!(remarks, ["node own: 10.244.1.0/24 overlaps 10.244.0.0/16 of node b"]);
}

#[test]
fn an_address_belongs_to_this_node_first_and_to_the_later_one_of_others() {
    let mut given = Given::of(&[OWN]);
    given.add("a", &["10.0.0.1", "10.0.0.9"], &["10.244.2.0/24"], 9);
    given.add("b", &["10.0.0.9"], &["10.244.3.0/24"], 5);
    let (shown, remarks) = given.agree();
    assert_eq!(shown, "a 10.0.0.9 10.244.2.0/24; own 10.0.0.1 10.244.1.0/24");
    assert_eq!(
        remarks,
        [
            "node a: 10.0.0.1 is an address of node own already",
            "node b: 10.0.0.9 is an address of node a already",
        ]
    );
}

#[test]
fn a_block_with_a_nodes_address_in_it_is_left_out() {
    let given = Given::of(&[OWN, ("b", &["10.0.0.2"], &["10.0.0.0/8", "10.244.2.0/24"])]);
    let (shown, remarks) = given.agree();
    assert_eq!(shown, "b 10.0.0.2 10.244.2.0/24; own 10.0.0.1 10.244.1.0/24");
    assert_eq!(remarks, ["node b: 10.0.0.1 lies in the pod range 10.0.0.0/8"]);
}

#[test]
fn nodes_without_address_or_range_are_left_out_quietly_and_this_one_is_not() {
    let given =
        Given::of(&[("own", &["10.0.0.1"], &[]), ("b", &[], &["10.244.2.0/24"]), ("c", &["10.0.0.3"], &[])]);
    let (shown, remarks) = given.agree();
    assert_eq!(shown, "own 10.0.0.1 ");
    assert_eq!(
        remarks,
        ["node own: no podCIDR: the cluster gives it no range, and it gives out no addresses"]
    );
}

#[test]
fn others_than_linux_machines_are_left_out_quietly() {
    let mut given = Given::of(&[OWN, ("win", &["10.0.0.2"], &["10.244.2.0/24"]), ("vk", &["10.0.0.3"], &[])]);
    given.node("win").standing = Standing::OtherSystem;
    given.node("vk").standing = Standing::Virtual;
    let (shown, remarks) = given.agree();
    assert_eq!((shown.as_str(), remarks.len()), ("own 10.0.0.1 10.244.1.0/24", 0));
}

#[test]
fn a_node_that_the_api_lost_keeps_its_addresses_and_gives_out_nothing() {
    let given = Given::of(&[("b", &["10.0.0.2"], &["10.244.2.0/24"])]);
    let last = ["10.0.0.1".parse().unwrap()];
    let (shown, remarks) = given.with(&ClusterSettings::default(), &last);
    assert_eq!(shown, "b 10.0.0.2 10.244.2.0/24; own 10.0.0.1 ");
    assert_eq!(remarks, ["node own: the API has no Node of this name: it gives out no addresses"]);
    assert_eq!(given.agree().0, "none", "without addresses it is no node");
}

#[test]
fn a_wrong_word_of_one_node_is_told_and_touches_no_other() {
    let mut given = Given::of(&[OWN, ("b", &["10.0.0.2"], &["10.244.2.0/24"])]);
    given.0.get_mut("b").unwrap().fault = Some("nonsense".into());
    let (shown, remarks) = given.agree();
    assert_eq!(shown, "b 10.0.0.2 10.244.2.0/24; own 10.0.0.1 10.244.1.0/24");
    assert_eq!(remarks, ["node b: nonsense: what it said before stays"]);
}

#[test]
fn tunnels_end_at_the_family_that_most_nodes_have() {
    let dual: (&str, &[&str], &[&str]) = ("own", &["fd00::1", "10.0.0.1"], &["10.244.1.0/24"]);
    let given = Given::of(&[dual, ("b", &["10.0.0.2"], &["10.244.2.0/24"])]);
    assert_eq!(given.agree().0, "b 10.0.0.2 10.244.2.0/24; own 10.0.0.1,fd00::1 10.244.1.0/24");
    let given = Given::of(&[dual, ("b", &["fd00::2", "10.0.0.2"], &["10.244.2.0/24"])]);
    assert_eq!(given.agree().0, "b fd00::2,10.0.0.2 10.244.2.0/24; own fd00::1,10.0.0.1 10.244.1.0/24");
    let given = Given::of(&[OWN, ("b", &["fd00::2"], &["10.244.2.0/24"])]);
    let (shown, remarks) = given.agree();
    assert_eq!(shown, "own 10.0.0.1 10.244.1.0/24");
    let reason =
        "node b: fd00::2 is of another family than the first address of node own: tunnels need one family";
    assert_eq!(remarks, [reason]);
}

#[test]
fn set_ranges_hold_for_blocks_and_addresses() {
    let given = Given::of(&[OWN, ("b", &["10.244.9.9"], &["10.250.0.0/24"])]);
    let ranges = vec!["10.244.0.0/16".parse().unwrap()];
    let (shown, remarks) = given.with(&ClusterSettings { ranges, ..ClusterSettings::default() }, &[]);
    assert_eq!(shown, "own 10.0.0.1 10.244.1.0/24");
    assert_eq!(
        remarks,
        [
            "node b: 10.244.9.9 lies in the pod range 10.244.0.0/16",
            "node b: 10.250.0.0/24 lies in none of `ranges`",
        ]
    );
}

#[test]
fn a_kept_node_gives_way_to_every_other() {
    let mut given = Given::of(&[OWN]);
    given.add("a", &["10.0.0.2"], &["10.244.7.0/24"], 99);
    given.add("b", &["10.0.0.3"], &["10.244.7.0/24"], 1);
    given.0.get_mut("a").unwrap().is_kept = true;
    assert_eq!(given.agree().0, "b 10.0.0.3 10.244.7.0/24; own 10.0.0.1 10.244.1.0/24");
}
