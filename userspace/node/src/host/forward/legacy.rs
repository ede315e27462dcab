//! `iptables` and `ip6tables` of the x_tables back end, through the output of `-S`: the commands that would make the
//! table. x_tables has no interface to single rules, so only the host's own tool keeps others' rules as they are.

use std::{collections::BTreeSet, fs, io};

use super::FORWARD;
use crate::host::{HostError, command};

/// The tools, IPv4 first.
pub const TOOLS: [&str; 2] = ["iptables-legacy", "ip6tables-legacy"];

/// Our two rules, in their order at the head of the chain, without chain and position.
const EXCEPTIONS: [[&str; 8]; 2] = [exception("-i"), exception("-o")];
/// The tool waits so long for another user of the table's lock, in seconds.
const WAIT: &str = "10";

/// Accepts packets that come in by (`-i`) or leave through (`-o`) our devices.
const fn exception(direction: &'static str) -> [&'static str; 8] {
    [direction, "naru+", "-m", "comment", "--comment", "naru", "-j", "ACCEPT"]
}

/// Returns true if x_tables has a `filter` table in this namespace. Only then may its tool be run: the question alone
/// would make the table.
pub fn is_in_use(tool: &str) -> Result<bool, HostError> {
    let list = if tool.starts_with("ip6") { "ip6_tables_names" } else { "ip_tables_names" };
    let path = format!("/proc/thread-self/net/{list}");
    match fs::read_to_string(&path) {
        Ok(names) => Ok(names.lines().any(|name| name == "filter")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(HostError::file(path, "read", error)),
    }
}

/// Returns true if the chain drops packets that no earlier rule accepted; `None` if the tool is not installed.
pub fn drops(tool: &str) -> Result<Option<bool>, HostError> {
    match list(tool) {
        Err(HostError::ToolMissing { .. }) => Ok(None),
        listing => Ok(Some(is_dropping(&listing?))),
    }
}

/// Returns true if our rules are at the head of the chain.
pub fn is_open(tool: &str) -> Result<bool, HostError> {
    let rules = forward_rules(&list(tool)?);
    let head = rules.iter().take(EXCEPTIONS.len()).map(Vec::as_slice);
    Ok(head.eq(EXCEPTIONS.iter().map(|rule| rule.as_slice())))
}

/// Puts our rules at the head of the chain unless they are there.
pub fn open(tool: &str) -> Result<(), HostError> {
    if is_open(tool)? {
        return Ok(());
    }
    close(tool)?;
    for rule in EXCEPTIONS.iter().rev() {
        run(tool, &[&["-I", FORWARD, "1"], rule.as_slice()].concat())?;
    }
    Ok(())
}

/// Removes every rule of ours from the chain.
pub fn close(tool: &str) -> Result<(), HostError> {
    for rule in forward_rules(&list(tool)?) {
        if EXCEPTIONS.iter().any(|ours| ours.as_slice() == rule) {
            let words: Vec<&str> = rule.iter().map(String::as_str).collect();
            run(tool, &[&["-D", FORWARD], words.as_slice()].concat())?;
        }
    }
    Ok(())
}

/// The filter table.
fn list(tool: &str) -> Result<String, HostError> {
    run(tool, &["-S"])
}

/// Runs the tool on its default table, `filter`.
fn run(tool: &str, arguments: &[&str]) -> Result<String, HostError> {
    command::run(tool, &[&["-w", WAIT], arguments].concat())
}

/// The rules of the chain, each as its words after the chain's name.
fn forward_rules(listing: &str) -> Vec<Vec<String>> {
    let rules = listing.lines().map(words);
    rules
        .filter_map(|words| Some(words.strip_prefix(&["-A".to_owned(), FORWARD.to_owned()])?.to_vec()))
        .collect()
}

/// Returns true if a packet that no rule accepts is dropped, by the policy or by a rule without a condition.
fn is_dropping(listing: &str) -> bool {
    let lines: Vec<Vec<String>> = listing.lines().map(words).collect();
    let policy = ["-P", FORWARD, "DROP"];
    let mut ends = BTreeSet::from([FORWARD.to_owned()]);
    loop {
        let targets: Vec<&str> = lines.iter().filter_map(|line| unconditional(line, &ends)).collect();
        if targets.iter().any(|target| matches!(*target, "DROP" | "REJECT")) {
            return true;
        }
        let before = ends.len();
        ends.extend(targets.into_iter().map(str::to_owned));
        if ends.len() == before {
            return lines.iter().any(|line| line.iter().eq(policy.iter()));
        }
    }
}

/// The target of an unconditional rule in one of the chains.
fn unconditional<'a>(line: &'a [String], chains: &BTreeSet<String>) -> Option<&'a str> {
    let [add, chain, rest @ ..] = line else { return None };
    let rest = match rest {
        [m, comment, _, _, rest @ ..] if m == "-m" && comment == "comment" => rest,
        _ => rest,
    };
    let [jump, target, ..] = rest else { return None };
    let ends = matches!(jump.as_str(), "-j" | "-g") && add == "-A" && chains.contains(chain);
    ends.then_some(target.as_str())
}

/// The words of a line, quoted ones without their quotes.
fn words(line: &str) -> Vec<String> {
    let (mut list, mut word, mut quoted, mut any) = (Vec::new(), String::new(), false, false);
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '"' => (quoted, any) = (!quoted, true),
            '\\' if quoted => word.extend(letters.next()),
            ' ' if !quoted => {
                if any || !word.is_empty() {
                    list.push(std::mem::take(&mut word));
                }
                any = false;
            }
            _ => word.push(letter),
        }
    }
    if any || !word.is_empty() {
        list.push(word);
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_policy_drops() {
        assert!(is_dropping("-P INPUT ACCEPT\n-P FORWARD DROP\n-P OUTPUT ACCEPT\n"));
        assert!(!is_dropping("-P INPUT DROP\n-P FORWARD ACCEPT\n"));
    }

    #[test]
    fn an_unconditional_reject_drops_also_behind_a_jump_and_a_comment() {
        let listing =
            "-P FORWARD ACCEPT\n-N END\n-A FORWARD -m comment --comment \"the \\\"end\\\"\" -j END\n";
        assert!(!is_dropping(listing));
        assert!(is_dropping(&format!("{listing}-A END -j REJECT --reject-with icmp-host-prohibited\n")));
    }

    #[test]
    fn a_conditional_drop_or_a_drop_behind_a_conditional_jump_is_the_administrators_own() {
        let listing = "-P FORWARD ACCEPT\n-N D\n-A FORWARD -i docker0 -j D\n\
                       -A FORWARD -s 192.0.2.1/32 -j DROP\n-A D -j DROP\n";
        assert!(!is_dropping(listing));
    }

    #[test]
    fn the_rules_of_the_chain_are_found_as_they_were_given() {
        let listing = "-A INPUT -j ACCEPT\n-A FORWARD -i naru+ -m comment --comment naru -j ACCEPT\n";
        assert_eq!(forward_rules(listing), [EXCEPTIONS[0].map(str::to_owned).to_vec()]);
    }
}
