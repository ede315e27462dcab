//! Base chains of nftables that see forwarded packets, those of iptables-nft among them.

use naru_netlink::nft::{
    Batch, Device, Family, ListedChain, ListedRule, NftError, Part, Rule, Socket, Statement, TableName,
    Verdict,
};

use super::{FORWARD, ForwardChain, KEY, NFT_TOOLS};
use crate::host::HostError;

/// Our own table, whose forward chain accepts.
const OWN_TABLE: &str = "naru";
/// Comment of our rules.
const COMMENT: &str = "naru";
/// The names of our devices begin so.
const OURS: &str = "naru";
/// The directions in which an exception is needed, in their order at the head of the chain.
const DIRECTIONS: [Device; 2] = [Device::In, Device::Out];
/// Limit of attempts to make an exception, which starts over if somebody changes rules meanwhile.
const ATTEMPTS: usize = 20;
/// The kernel's limit of chains that jump to each other.
const DEPTH: usize = 16;
/// The expressions that iptables-nft 1.8.9 can read besides those of [`Part`]. A single rule with another one makes it
/// refuse the whole table, so a chain in such a table is not its own.
const IPTABLES: [&str; 7] = ["match", "payload", "meta", "cmp", "bitwise", "range", "limit"];

/// A place for an exception.
struct Place {
    table: TableName,
    chain: String,
}

/// The two ways in which a rule of ours is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// As nft writes it.
    Nft,
    /// As iptables-nft writes it, which cannot read a comment of nft.
    Iptables,
}

/// The verdict on a packet to which no rule with a condition applies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Accepted,
    Dropped,
    /// The chain ends, or is left.
    Returned,
}

/// Returns the chains that drop packets that no earlier rule accepted.
pub fn dropping() -> Result<Vec<ForwardChain>, HostError> {
    let mut socket = Socket::open()?;
    let mut found = Vec::new();
    for chain in socket.chains()? {
        let Some(hook) = chain.hook.as_ref().filter(|hook| hook.is_forward) else { continue };
        if chain.table.name == OWN_TABLE {
            continue;
        }
        let drops = match fate(&chain.name, &mut |name| socket.rules(&chain.table, Some(name)), DEPTH)? {
            Fate::Dropped => true,
            Fate::Accepted => false,
            Fate::Returned => hook.drops,
        };
        if drops {
            found.push(name_of(&mut socket, &chain)?);
        }
    }
    Ok(found)
}

/// The chain by the tool that owns it.
fn name_of(socket: &mut Socket, chain: &ListedChain) -> Result<ForwardChain, NftError> {
    let place = Place { table: chain.table.clone(), chain: chain.name.clone() };
    let namesake = NFT_TOOLS.into_iter().find(|tool| place_of(tool).is_some_and(|its| its.is(&place)));
    Ok(match namesake {
        Some(tool) if form(socket, &place)? == Form::Iptables => {
            ForwardChain::Iptables { tool: tool.to_owned() }
        }
        _ => ForwardChain::Nft {
            family: chain.table.family.to_string(),
            table: chain.table.name.clone(),
            chain: chain.name.clone(),
        },
    })
}

/// Follows the chain from rule to rule, and from chain to chain if the jump has no condition.
fn fate(
    chain: &str,
    rules: &mut dyn FnMut(&str) -> Result<Vec<ListedRule>, NftError>,
    depth: usize,
) -> Result<Fate, NftError> {
    for rule in rules(chain)? {
        let fate = match unconditional(&rule) {
            Some(Part::Verdict(Verdict::Accept)) => Fate::Accepted,
            Some(Part::Verdict(Verdict::Drop) | Part::Reject) => Fate::Dropped,
            Some(Part::Target(target)) if target == "REJECT" => Fate::Dropped,
            Some(Part::Verdict(Verdict::Return)) => return Ok(Fate::Returned),
            Some(Part::Verdict(Verdict::Jump(target))) if depth > 0 => fate(target, rules, depth - 1)?,
            // A packet that goes to a chain does not come back.
            Some(Part::Verdict(Verdict::Goto(target))) if depth > 0 => return fate(target, rules, depth - 1),
            _ => Fate::Returned,
        };
        if fate != Fate::Returned {
            return Ok(fate);
        }
    }
    Ok(Fate::Returned)
}

/// Returns the action of a rule on every packet; `None` for a rule that has a condition, or an unknown part.
fn unconditional(rule: &ListedRule) -> Option<&Part> {
    let mut rest =
        rule.parts.iter().filter(|part| !matches!(part, Part::Counter | Part::Log { .. } | Part::Comment(_)));
    let only = rest.next()?;
    rest.next().is_none().then_some(only)
}

/// Returns true if our rules are at the head of the chain.
pub fn is_open(chain: &ForwardChain) -> Result<bool, HostError> {
    let (place, form) = (Place::of(chain)?, form_of(chain));
    Ok(is_open_in(&Socket::open()?.rules(&place.table, Some(&place.chain))?, form))
}

/// The form of the rules in a chain, by its owner.
const fn form_of(chain: &ForwardChain) -> Form {
    if matches!(chain, ForwardChain::Iptables { .. }) { Form::Iptables } else { Form::Nft }
}

/// Returns true if the first of these rules are ours, and no other is.
fn is_open_in(rules: &[ListedRule], form: Form) -> bool {
    let ours: Vec<_> = rules.iter().map(own).take_while(Option::is_some).flatten().collect();
    let count = rules.iter().filter(|rule| own(rule).is_some()).count();
    ours == DIRECTIONS.map(|direction| (form, direction)) && count == DIRECTIONS.len()
}

/// Puts our rules at the head of the chain unless they are there.
pub fn open(chain: &ForwardChain) -> Result<(), HostError> {
    let place = Place::of(chain)?;
    let form = form_of(chain);
    change(&place, |rules| {
        let mut batch = Batch::new();
        if is_open_in(rules, form) {
            return batch;
        }
        place.remove(rules, &mut batch);
        for direction in DIRECTIONS.iter().rev() {
            batch.insert_rule(&place.table, &place.chain, &exception(form, *direction));
        }
        batch
    })
}

/// Removes every rule of ours from the chain, in whichever form; a chain that is gone is passed over.
pub fn close(chain: &ForwardChain) -> Result<(), HostError> {
    let place = Place::of(chain)?;
    change(&place, |rules| {
        let mut batch = Batch::new();
        place.remove(rules, &mut batch);
        batch
    })
}

/// Makes the changes that follow from the rules of the chain, if nobody changes rules meanwhile; otherwise starts over.
fn change(place: &Place, changes: impl Fn(&[ListedRule]) -> Batch) -> Result<(), HostError> {
    let mut socket = Socket::open()?;
    for _ in 0..ATTEMPTS {
        let generation = socket.generation()?;
        let batch = changes(&socket.rules(&place.table, Some(&place.chain))?);
        match socket.commit(&batch, Some(generation)) {
            Err(error) if error.is_outdated() => {}
            done => return Ok(done?),
        }
    }
    let what = format!("nftables table {}: chain {}: change", place.table, place.chain);
    Err(HostError::System { what, source: rustix::io::Errno::AGAIN.into() })
}

/// Our rule for one direction.
fn exception(form: Form, device: Device) -> Rule {
    let ours = Statement::Device { device, is: true, prefix: OURS };
    let accept = Statement::Verdict(Verdict::Accept);
    match form {
        Form::Nft => Rule { comment: Some(COMMENT.to_owned()), ..Rule::new([ours, accept]) },
        Form::Iptables => Rule::new([ours, Statement::Comment(COMMENT), Statement::Count, accept]),
    }
}

/// Form and direction of a rule of ours: exactly our match, our verdict and our comment.
fn own(rule: &ListedRule) -> Option<(Form, Device)> {
    let uncounted: Vec<&Part> = rule.parts.iter().filter(|part| **part != Part::Counter).collect();
    let [Part::LoadDevice(device), Part::Begins(name), rest @ .., Part::Verdict(Verdict::Accept)] =
        uncounted.as_slice()
    else {
        return None;
    };
    let form = match rest {
        [] if rule.comment.as_deref() == Some(COMMENT) => Form::Nft,
        [Part::Comment(comment)] if comment == COMMENT => Form::Iptables,
        _ => return None,
    };
    (name == OURS.as_bytes()).then_some((form, *device))
}

/// The form that the owner of the table can read.
fn form(socket: &mut Socket, place: &Place) -> Result<Form, NftError> {
    let is_readable = |part: &Part| match part {
        Part::Other(name) => IPTABLES.contains(&name.as_str()),
        // iptables rejects with an extension, and logs with one unless the log goes to a group.
        Part::Reject | Part::Log { to_group: false } => false,
        _ => true,
    };
    let rules = socket.rules(&place.table, None)?;
    let readable = rules.iter().flat_map(|rule| &rule.parts).all(is_readable);
    Ok(if readable { Form::Iptables } else { Form::Nft })
}

/// The chain of the tool of iptables-nft.
fn place_of(tool: &str) -> Option<Place> {
    let family = match NFT_TOOLS.iter().position(|known| *known == tool)? {
        0 => Family::Ip,
        _ => Family::Ip6,
    };
    Some(Place { table: TableName::new(family, "filter"), chain: FORWARD.to_owned() })
}

impl Place {
    fn of(chain: &ForwardChain) -> Result<Self, HostError> {
        let place = match chain {
            ForwardChain::Iptables { tool } => place_of(tool),
            ForwardChain::Nft { family, table, chain } => {
                let family = Family::ALL.into_iter().find(|known| known.name() == family);
                family.map(|family| Self { table: TableName::new(family, table), chain: chain.clone() })
            }
        };
        place.ok_or_else(|| HostError::UnknownKey { key: format!("{KEY} {chain}") })
    }

    fn is(&self, other: &Self) -> bool {
        (&self.table, &self.chain) == (&other.table, &other.chain)
    }

    /// Adds the deletion of every rule of ours.
    fn remove(&self, rules: &[ListedRule], batch: &mut Batch) {
        for rule in rules.iter().filter(|rule| own(rule).is_some()) {
            batch.delete_rule(&self.table, rule);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(chain: &str, parts: &[Part]) -> ListedRule {
        ListedRule { chain: chain.to_owned(), handle: 1, parts: parts.to_vec(), comment: None }
    }

    fn fate_of(rules: &[ListedRule]) -> Fate {
        let mut of = |chain: &str| Ok(rules.iter().filter(|rule| rule.chain == chain).cloned().collect());
        fate("fw", &mut of, DEPTH).unwrap()
    }

    fn jump(target: &str) -> Part {
        Part::Verdict(Verdict::Jump(target.to_owned()))
    }

    const DROP: Part = Part::Verdict(Verdict::Drop);
    const ACCEPT: Part = Part::Verdict(Verdict::Accept);

    #[test]
    fn a_counted_commented_and_logged_drop_is_unconditional() {
        let comment = Part::Comment("the end".to_owned());
        assert_eq!(
            fate_of(&[rule("fw", &[comment, Part::Counter, Part::Log { to_group: false }, DROP])]),
            Fate::Dropped
        );
    }

    #[test]
    fn a_reject_behind_unconditional_jumps_drops() {
        let rules = [rule("fw", &[jump("a")]), rule("a", &[jump("b")]), rule("b", &[Part::Reject])];
        assert_eq!(fate_of(&rules), Fate::Dropped);
        let extension = rule("b", &[Part::Target("REJECT".to_owned())]);
        assert_eq!(fate_of(&[&rules[..2], &[extension]].concat()), Fate::Dropped);
        assert_eq!(fate_of(&rules[..2]), Fate::Returned);
    }

    #[test]
    fn a_rule_with_a_condition_or_a_part_that_is_not_known_decides_about_nobody() {
        let condition = [Part::LoadDevice(Device::In), Part::Begins(b"eth9".to_vec())];
        let unknown = [Part::Other("tproxy".to_owned())];
        assert_eq!(fate_of(&[rule("fw", &[Part::Target("LOG".to_owned())])]), Fate::Returned);
        for parts in [condition.as_slice(), &unknown] {
            for verdict in [DROP, ACCEPT, Part::Reject] {
                assert_eq!(fate_of(&[rule("fw", &[parts, &[verdict]].concat())]), Fate::Returned);
            }
            let jumps = [rule("fw", &[parts, &[jump("a")]].concat()), rule("a", &[DROP])];
            assert_eq!(fate_of(&jumps), Fate::Returned);
        }
        assert_eq!(fate_of(&[rule("fw", &unknown)]), Fate::Returned);
    }

    #[test]
    fn what_every_packet_meets_first_decides() {
        let returns = Part::Verdict(Verdict::Return);
        let goto = Part::Verdict(Verdict::Goto("a".to_owned()));
        assert_eq!(fate_of(&[rule("fw", &[ACCEPT]), rule("fw", &[DROP])]), Fate::Accepted);
        assert_eq!(fate_of(&[rule("fw", &[returns]), rule("fw", &[DROP])]), Fate::Returned);
        assert_eq!(fate_of(&[rule("fw", &[goto]), rule("fw", &[DROP])]), Fate::Returned);
    }

    #[test]
    fn only_our_own_rule_is_ours() {
        let matched = [Part::LoadDevice(Device::In), Part::Begins(b"naru".to_vec())];
        let with = |parts: &[Part], comment: Option<&str>| ListedRule {
            comment: comment.map(str::to_owned),
            ..rule("fw", &[&matched[..], parts].concat())
        };
        assert!(own(&with(&[ACCEPT], Some("naru"))) == Some((Form::Nft, Device::In)));
        let comment = Part::Comment("naru".to_owned());
        let iptables = with(&[comment, Part::Counter, ACCEPT], None);
        assert!(own(&iptables) == Some((Form::Iptables, Device::In)));
        let other = Part::Other("ct".to_owned());
        for foreign in [
            with(&[ACCEPT], None),
            with(&[DROP], Some("naru")),
            with(&[Part::Comment("mine".to_owned()), ACCEPT], None),
            with(&[other, ACCEPT], Some("naru")),
            ListedRule { comment: Some("naru".to_owned()), ..rule("fw", &[ACCEPT]) },
        ] {
            assert!(own(&foreign).is_none(), "{foreign:?}");
        }
    }
}
