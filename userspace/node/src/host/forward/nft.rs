//! Base chains of nftables, read as JSON. Those of iptables-nft are left to that tool: it cannot read rules that `nft` made.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use super::{Chain, iptables};
use crate::host::{HostError, command, nft_json};

/// Our own table, whose forward chain accepts.
const OWN_TABLE: &str = "naru";
/// Comment of our rules.
const COMMENT: &str = "naru";
/// The directions an exception is needed for, in their order at the head of the chain.
const DIRECTIONS: [&str; 2] = ["iifname", "oifname"];

/// A chain in nft's JSON.
#[derive(Deserialize)]
struct ListedChain {
    family: String,
    table: String,
    name: String,
    hook: Option<String>,
    policy: Option<String>,
}

/// A rule in nft's JSON.
#[derive(Deserialize)]
struct Rule {
    chain: String,
    handle: u64,
    comment: Option<String>,
    #[serde(default)]
    expr: Vec<Value>,
}

/// The chains that drop what nothing before accepted; none where `nft` is missing, as then nobody here made any.
pub fn dropping() -> Result<Vec<Chain>, HostError> {
    let listing = match command::run("nft", &["-j", "list", "chains"], "") {
        Err(HostError::ToolMissing { .. }) => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for chain in nft_json::objects::<ListedChain>(&listing, "chain")? {
        let routed = matches!(chain.family.as_str(), "ip" | "ip6" | "inet") && chain.table != OWN_TABLE;
        if routed && chain.hook.as_deref() == Some("forward") {
            found.extend(examine(chain)?);
        }
    }
    Ok(found)
}

/// The chain by the tool that owns it, if it drops. A chain with the names of iptables-nft is that tool's if it can
/// read the table.
fn examine(chain: ListedChain) -> Result<Option<Chain>, HostError> {
    if let Some((tool, Ok(drops))) = namesake(&chain).map(|tool| (tool, iptables::drops(tool))) {
        return Ok(drops.then(|| Chain::Iptables { tool: tool.to_owned() }));
    }
    let ListedChain { family, table, name, policy, .. } = chain;
    let drops = policy.as_deref() == Some("drop") || is_dropping(&rules(&family, &table)?, &name);
    Ok(drops.then_some(Chain::Nft { family, table, chain: name }))
}

/// The iptables tool whose chain has these names.
fn namesake(chain: &ListedChain) -> Option<&'static str> {
    let [v4, v6] = iptables::NFT;
    match (chain.family.as_str(), chain.table.as_str(), chain.name.as_str()) {
        ("ip", "filter", "FORWARD") => Some(v4),
        ("ip6", "filter", "FORWARD") => Some(v6),
        _ => None,
    }
}

/// All rules of the table, in their order.
fn rules(family: &str, table: &str) -> Result<Vec<Rule>, HostError> {
    nft_json::objects(&command::run("nft", &["-j", "list", "table", family, table], "")?, "rule")
}

/// Whether a packet that no rule of the chain accepts meets a drop or reject without a condition.
fn is_dropping(rules: &[Rule], chain: &str) -> bool {
    let mut chains = BTreeSet::from([chain.to_owned()]);
    loop {
        let before = chains.len();
        for statement in rules
            .iter()
            .filter(|rule| chains.contains(&rule.chain))
            .filter_map(unconditional)
            .collect::<Vec<_>>()
        {
            if ["drop", "reject"].iter().any(|verdict| statement.get(verdict).is_some()) {
                return true;
            }
            let target =
                ["jump", "goto"].iter().find_map(|jump| statement.get(jump)?.get("target")?.as_str());
            chains.extend(target.map(str::to_owned));
        }
        if chains.len() == before {
            return false;
        }
    }
}

/// The one statement of a rule without a condition, counting and logging aside.
fn unconditional(rule: &Rule) -> Option<&Value> {
    let mut rest = rule.expr.iter().filter(|part| part.get("counter").is_none() && part.get("log").is_none());
    let statement = rest.next()?;
    rest.next().is_none().then_some(statement)
}

/// Puts our rules at the head of the chain unless they are there. `place` is family, table and chain.
pub fn open(place: &[&str]) -> Result<(), HostError> {
    let rules = chain_rules(place)?;
    let head: Vec<Option<&str>> = rules.iter().take(DIRECTIONS.len()).map(direction).collect();
    if head == DIRECTIONS.map(Some) {
        return Ok(());
    }
    let place = place.join(" ");
    let mut script = removals(&place, &rules);
    for direction in DIRECTIONS.iter().rev() {
        script += &format!("insert rule {place} {direction} \"naru*\" accept comment \"{COMMENT}\"\n");
    }
    command::run("nft", &["-f", "-"], &script).map(drop)
}

/// Removes every rule of ours from the chain; a chain that is gone is passed over.
pub fn close(place: &[&str]) -> Result<(), HostError> {
    let rules = match chain_rules(place) {
        Err(HostError::Tool { reason, .. }) if reason.contains("No such file or directory") => return Ok(()),
        Err(HostError::ToolMissing { .. }) => return Ok(()),
        other => other?,
    };
    match removals(&place.join(" "), &rules).as_str() {
        "" => Ok(()),
        script => command::run("nft", &["-f", "-"], script).map(drop),
    }
}

/// The rules of one chain, in their order.
fn chain_rules(place: &[&str]) -> Result<Vec<Rule>, HostError> {
    nft_json::objects(&command::run("nft", &[&["-j", "list", "chain"], place].concat(), "")?, "rule")
}

/// The commands that delete our rules.
fn removals(place: &str, rules: &[Rule]) -> String {
    let ours = rules.iter().filter(|rule| direction(rule).is_some());
    ours.map(|rule| format!("delete rule {place} handle {}\n", rule.handle)).collect()
}

/// The direction of a rule of ours: exactly our match, our verdict and our comment.
fn direction(rule: &Rule) -> Option<&str> {
    let [matched, verdict] = rule.expr.as_slice() else { return None };
    let matched = matched.get("match")?;
    let ours = rule.comment.as_deref() == Some(COMMENT) && matched.get("right")? == "naru*";
    let key = matched.get("left")?.get("meta")?.get("key")?.as_str()?;
    (ours && verdict.get("accept").is_some() && DIRECTIONS.contains(&key)).then_some(key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(chain: &str, expr: Value) -> Rule {
        serde_json::from_value(json!({ "chain": chain, "handle": 1, "expr": expr })).unwrap()
    }

    #[test]
    fn a_counted_and_logged_drop_is_unconditional() {
        let drop = json!([{ "counter": { "packets": 0, "bytes": 0 } }, { "log": null }, { "drop": null }]);
        assert!(is_dropping(&[rule("fw", drop)], "fw"));
    }

    #[test]
    fn a_reject_behind_unconditional_jumps_drops() {
        let jump = |target: &str| json!([{ "jump": { "target": target } }]);
        let rules = [rule("fw", jump("a")), rule("a", jump("b")), rule("b", json!([{ "reject": null }]))];
        assert!(is_dropping(&rules, "fw"));
        assert!(!is_dropping(&rules[..2], "fw"));
    }

    #[test]
    fn a_conditional_drop_is_the_administrators_own() {
        let condition =
            json!({ "match": { "op": "==", "left": { "meta": { "key": "iifname" } }, "right": "eth9" } });
        assert!(!is_dropping(&[rule("fw", json!([condition, { "drop": null }]))], "fw"));
    }

    #[test]
    fn only_our_own_rule_is_ours() {
        let matched =
            json!({ "match": { "op": "==", "left": { "meta": { "key": "iifname" } }, "right": "naru*" } });
        let mut candidate = rule("fw", json!([matched, { "accept": null }]));
        assert_eq!(direction(&candidate), None);
        candidate.comment = Some("naru".to_owned());
        assert_eq!(direction(&candidate), Some("iifname"));
        candidate.expr.pop();
        candidate.expr.push(json!({ "drop": null }));
        assert_eq!(direction(&candidate), None);
    }
}
