use std::time::Duration;

use super::*;

impl Kind for u32 {
    fn read(object: &[u8]) -> Result<Self, String> {
        String::from_utf8_lossy(object).parse().map_err(|_| "no number".to_owned())
    }
}

fn meta(name: &str, uid: &str) -> Meta {
    Meta {
        name: name.into(),
        namespace: String::new(),
        uid: uid.into(),
        resource_version: String::new(),
        creation_timestamp: String::new(),
    }
}

fn listing(revision: u64, objects: &[(&str, &str, u32)]) -> Listing<u32> {
    let object = |(name, uid, value): &(&str, &str, u32)| ((*name).to_owned(), (meta(name, uid), Ok(*value)));
    Listing { revision, objects: objects.iter().map(object).collect(), nameless: 0 }
}

fn shown(known: &Known<u32>) -> Vec<(String, Option<u32>)> {
    known.entries().iter().map(|(name, entry)| (name.clone(), entry.value)).collect()
}

fn is(known: &Known<u32>, expected: &[(&str, u32)]) {
    let expected: Vec<_> = expected.iter().map(|(name, value)| ((*name).to_owned(), Some(*value))).collect();
    assert_eq!(shown(known), expected);
}

const LAGS: Duration = Duration::from_secs(30);
const SETTLES: Duration = Duration::from_secs(600);
const FOUR: [(&str, &str, u32); 4] = [("a", "1", 1), ("b", "2", 2), ("c", "3", 3), ("d", "4", 4)];

fn four() -> (Known<u32>, Instant) {
    let (mut known, now) = (Known::new(None, Pace::default()), Instant::now());
    assert_eq!(known.listed(listing(10, &FOUR), now), Verdict::Taken);
    (known, now)
}

#[test]
fn an_event_that_is_replayed_changes_nothing() {
    let (mut known, _) = four();
    assert!(known.changed(12, Change::Gone(meta("a", "1"))));
    assert!(!known.changed(11, Change::Is(meta("a", "1"), Ok(7))), "an event from before its deletion");
    assert!(!known.changed(12, Change::Gone(meta("b", "2"))));
    is(&known, &[("b", 2), ("c", 3), ("d", 4)]);
}

#[test]
fn a_late_goodbye_takes_nothing_from_the_next_holder_of_the_name() {
    let (mut known, _) = four();
    known.changed(11, Change::Is(meta("a", "9"), Ok(9)));
    known.changed(12, Change::Gone(meta("a", "1")));
    is(&known, &[("a", 9), ("b", 2), ("c", 3), ("d", 4)]);
}

#[test]
fn what_an_object_says_that_cannot_be_leaves_it_as_it_was_and_others_alone() {
    let (mut known, _) = four();
    known.changed(11, Change::Is(meta("a", "1"), Err("nonsense".into())));
    assert_eq!(known.entries()["a"].fault.as_deref(), Some("nonsense"));
    is(&known, &[("a", 1), ("b", 2), ("c", 3), ("d", 4)]);
    known.changed(12, Change::Is(meta("a", "5"), Err("nonsense".into())));
    assert_eq!(known.entries()["a"].value, None, "another object of that name never said anything good");
    known.changed(13, Change::Is(meta("a", "5"), Ok(5)));
    assert_eq!((known.entries()["a"].value, known.entries()["a"].fault.clone()), (Some(5), None));
}

#[test]
fn a_list_that_removes_more_than_half_is_believed_the_second_time() {
    let (mut known, now) = four();
    assert_eq!(known.listed(listing(11, &FOUR[..1]), now), Verdict::Doubted);
    assert_eq!(shown(&known).len(), 4);
    assert_eq!(known.listed(listing(12, &FOUR[..1]), now), Verdict::Taken);
    is(&known, &[("a", 1)]);
}

#[test]
fn two_lists_that_remove_different_halves_are_not_one_and_the_same() {
    let (mut known, now) = four();
    assert_eq!(known.listed(listing(11, &FOUR[..1]), now), Verdict::Doubted);
    assert_eq!(known.listed(listing(12, &FOUR[1..2]), now), Verdict::Doubted);
    assert_eq!(known.listed(listing(13, &FOUR), now), Verdict::Taken, "it was a lie");
    assert_eq!(known.listed(listing(14, &FOUR[..2]), now), Verdict::Taken, "half is not more than half");
}

#[test]
fn an_empty_first_list_is_doubted_where_nodes_are_remembered() {
    let names = ["a", "b"].map(str::to_owned).into();
    let mut known: Known<u32> = Known::new(Some(Remembered { revision: 10, names }), Pace::default());
    let now = Instant::now();
    assert_eq!(known.listed(listing(11, &[]), now), Verdict::Doubted);
    assert!(!known.is_listed());
    assert_eq!(known.listed(listing(11, &[]), now), Verdict::Taken);
    assert!(known.is_listed());
}

#[test]
fn an_older_state_is_not_believed_while_a_server_may_lag() {
    let (mut known, now) = four();
    assert_eq!(known.listed(listing(8, &FOUR[..3]), now), Verdict::Doubted);
    assert_eq!(known.listed(listing(9, &FOUR[..3]), now + LAGS / 2), Verdict::Doubted);
    assert_eq!(known.listed(listing(11, &FOUR[..3]), now + LAGS), Verdict::Taken, "it has caught up");
    assert_eq!(shown(&known).len(), 3);
}

#[test]
fn a_store_that_went_back_adds_at_once_and_removes_only_when_it_has_settled() {
    let (mut known, now) = four();
    let restored = [("a", "1", 1), ("e", "5", 5)];
    assert_eq!(known.listed(listing(5, &restored), now), Verdict::Doubted);
    let believed = now + LAGS;
    assert_eq!(known.listed(listing(5, &restored), believed), Verdict::Taken);
    is(&known, &[("a", 1), ("b", 2), ("c", 3), ("d", 4), ("e", 5)]);
    assert!(known.entries()["b"].is_kept && !known.entries()["e"].is_kept);
    assert!(known.changed(6, Change::Is(meta("b", "7"), Ok(7))), "events go on from there");
    assert!(!known.entries()["b"].is_kept, "it came back");
    let settled = [("a", "1", 1), ("b", "7", 7), ("e", "5", 5)];
    assert_eq!(known.listed(listing(7, &settled), believed + SETTLES / 2), Verdict::Taken);
    assert_eq!(shown(&known).len(), 5);
    assert_eq!(known.listed(listing(7, &settled), believed + SETTLES), Verdict::Taken);
    is(&known, &[("a", 1), ("b", 7), ("e", 5)]);
}

#[test]
fn a_remembered_state_that_is_newer_makes_the_first_list_doubtful() {
    let mut known: Known<u32> =
        Known::new(Some(Remembered { revision: 100, names: ["a".to_owned()].into() }), Pace::default());
    let now = Instant::now();
    assert_eq!(known.listed(listing(10, &FOUR), now), Verdict::Doubted);
    assert_eq!(known.listed(listing(100, &FOUR), now), Verdict::Taken);
}

#[test]
fn a_list_with_an_object_that_cannot_be_named_removes_nothing() {
    let (mut known, now) = four();
    let list = Listing { nameless: 1, ..listing(11, &FOUR[..3]) };
    assert_eq!(known.listed(list, now), Verdict::Taken);
    assert_eq!(shown(&known).len(), 4);
}
