//! The last screen of `cargo xtask lab`: the traffic that passed, the addresses, the maps of a node.

use std::net::IpAddr;

use serde_json::Value;

use super::excerpt::Excerpt;

/// The size of a screen.
pub const LINES: usize = 50;
/// Columns of a line.
pub const COLUMNS: usize = 100;
/// Failed cells that are named; pods and nodes that are listed.
const FAILURES: usize = 4;
const PLACES: usize = 9;
/// Entries of a map, where there is room.
const ENTRIES: usize = 3;

/// The contents of the screen.
pub struct Summary<'a> {
    /// `naru lab status --json`.
    pub lab: &'a Value,
    /// The cells of the matrix as its program writes them; `Null` if it did not come to an end.
    pub matrix: &'a Value,
    /// The node whose maps are shown.
    pub node: &'a str,
    /// Its maps.
    pub maps: &'a [Excerpt],
    /// The next things that the reader can do.
    pub hint: &'a str,
}

impl Summary<'_> {
    /// The screen: [`LINES`] lines at most, of [`COLUMNS`] columns at most.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.title()];
        let cells = Cell::all(self.matrix);
        if !cells.is_empty() {
            lines.extend([vec![String::new()], table(&cells), failures(&cells)].concat());
        }
        lines.push(String::new());
        lines.extend(places(self.lab));
        if !self.maps.is_empty() {
            lines.extend([String::new(), format!("MAPS of {} (zeros left out; all with --maps)", self.node)]);
            // The hint and the line before it follow.
            lines.extend(excerpts(self.maps, LINES.saturating_sub(lines.len() + 2)));
        }
        lines.extend([String::new(), self.hint.to_owned()]);
        lines.iter().map(|line| clip(line)).collect()
    }

    fn title(&self) -> String {
        let count = |key: &str, what: &str| match self.lab[key].as_array().map_or(0, Vec::len) {
            1 => format!("1 {what}"),
            number => format!("{number} {what}s"),
        };
        let cells = Cell::all(self.matrix);
        let of = |result: &str| cells.iter().filter(|cell| cell.result == result).count();
        let traffic = match (of("passed"), of("failed")) {
            (0, 0) => "the traffic matrix was not run to its end".to_owned(),
            (passed, 0) => format!("all {passed} cells of the traffic matrix passed"),
            (passed, failed) => format!("{failed} of {} cells of the traffic matrix FAILED", passed + failed),
        };
        let name = self.lab["name"].as_str().unwrap_or("?");
        format!("lab {name}: {}, {}; {traffic}", count("nodes", "node"), count("pods", "pod"))
    }
}

/// A cell of the matrix.
struct Cell<'a> {
    path: &'a str,
    check: &'a str,
    protocol: &'a str,
    family: &'a str,
    result: &'a str,
    why: &'a str,
}

impl<'a> Cell<'a> {
    fn all(matrix: &'a Value) -> Vec<Self> {
        let one = |cell: &'a Value| {
            let word = |key: &str| cell[key].as_str().unwrap_or_default();
            let (path, check, protocol) = (word("path"), word("check"), word("protocol"));
            Self { path, check, protocol, family: word("family"), result: word("result"), why: word("why") }
        };
        matrix.as_array().into_iter().flatten().map(one).collect()
    }
}

/// A row for each path, a column for each family and protocol: cells that passed, of those that there are.
fn table(cells: &[Cell<'_>]) -> Vec<String> {
    let mut columns = distinct(cells.iter().map(|cell| (cell.family, cell.protocol)));
    // Families beside each other; protocols keep their order.
    columns.sort_by_key(|(family, _)| *family);
    let paths = distinct(cells.iter().map(|cell| cell.path));
    let first = paths.iter().map(|path| path.chars().count()).max().unwrap_or_default().max(7);
    let mut above = None;
    let families = columns.iter().map(|(family, _)| match above.replace(*family) {
        Some(known) if known == *family => String::new(),
        _ => (*family).to_owned(),
    });
    let mut lines = vec![row("TRAFFIC", first, families)];
    lines.push(row("", first, columns.iter().map(|(_, protocol)| (*protocol).to_owned())));
    for path in paths {
        let counts = columns.iter().map(|column| {
            let of = |result: &str| {
                let here = cells.iter().filter(|cell| (cell.family, cell.protocol) == *column);
                here.filter(|cell| cell.path == path && cell.result == result).count()
            };
            match (of("passed"), of("failed")) {
                (0, 0) => "-".to_owned(),
                (passed, 0) => format!("{passed}/{passed}"),
                (passed, failed) => format!("{passed}/{}!", passed + failed),
            }
        });
        lines.push(row(path, first, counts));
    }
    lines
}

fn row(name: &str, first: usize, cells: impl Iterator<Item = String>) -> String {
    let cells: String = cells.map(|cell| format!(" {cell:>6}")).collect();
    format!("{name:<first$}{cells}").trim_end().to_owned()
}

/// A line for each failed cell, the first few.
fn failures(cells: &[Cell<'_>]) -> Vec<String> {
    let failed = cells.iter().filter(|cell| cell.result == "failed");
    let line =
        |cell: &Cell<'_>| format!("FAILED {}, {}, {}: {}", cell.path, cell.check, cell.family, cell.why);
    first_of(failed.map(line).collect(), FAILURES)
}

/// Nodes, pods and the host outside, with an address of each family.
fn places(lab: &Value) -> Vec<String> {
    let addresses = |place: &Value| -> [String; 2] {
        let all = || place["addresses"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let is_v6 = |text: &str| text.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6());
        [false, true].map(|v6| all().find(|text| is_v6(text) == v6).unwrap_or("-").to_owned())
    };
    let line = |name: &str, on: &str, place: &Value| {
        let [v4, v6] = addresses(place);
        format!("{name:<12} {on:<8} {v4:<16} {v6}").trim_end().to_owned()
    };
    let list = |key: &str| lab[key].as_array().into_iter().flatten();
    let name = |place: &Value, key: &str| place[key].as_str().unwrap_or("-").to_owned();
    let nodes = list("nodes").map(|node| line(&name(node, "name"), "-", node));
    let pods = list("pods").map(|pod| line(&name(pod, "name"), &name(pod, "node"), pod));
    let all = std::iter::once(line("out", "-", &lab["outside"])).chain(nodes).chain(pods);
    let head = format!("{:<12} {:<8} {:<16} {}", "ADDRESSES", "NODE", "IPV4", "IPV6");
    [vec![head], first_of(all.collect(), PLACES)].concat()
}

/// Every map with its first entries, in `room` lines; where even one of each is too much, the first maps.
fn excerpts(maps: &[Excerpt], room: usize) -> Vec<String> {
    let width = maps.iter().map(|map| map.name.chars().count()).max().unwrap_or_default() + 2;
    let with = |maps: &[Excerpt], entries: usize| -> Vec<String> {
        maps.iter().flat_map(|map| excerpt(map, entries, width)).collect()
    };
    if let Some(lines) = (1..=ENTRIES).rev().map(|most| with(maps, most)).find(|lines| lines.len() <= room) {
        return lines;
    }
    // A map takes two lines then, and what is left out one.
    let (shown, left) = maps.split_at(maps.len().min(room.saturating_sub(1) / 2));
    let mut lines = with(shown, 1);
    lines.push(format!("... and {} more maps", left.len()));
    lines
}

/// The map's name, right of it its first entries.
fn excerpt(map: &Excerpt, entries: usize, width: usize) -> Vec<String> {
    let mut lines = first_of(map.entries.clone(), entries);
    if lines.is_empty() {
        lines.push("empty".to_owned());
    }
    let names = std::iter::once(map.name.as_str()).chain(std::iter::repeat(""));
    names.zip(lines).map(|(name, line)| format!("{name:<width$}{line}")).collect()
}

/// The first of the lines, and how many more there are instead of those: one more would take no less room.
fn first_of(mut lines: Vec<String>, most: usize) -> Vec<String> {
    let more = lines.len().saturating_sub(most);
    if more > 1 {
        lines.truncate(most);
        lines.push(format!("... and {more} more"));
    }
    lines
}

fn distinct<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut known = Vec::new();
    values.for_each(|value| {
        if !known.contains(&value) {
            known.push(value);
        }
    });
    known
}

/// The line, cut at a blank where it is too long.
fn clip(line: &str) -> String {
    if line.chars().count() <= COLUMNS {
        return line.to_owned();
    }
    let kept: String = line.chars().take(COLUMNS - 4).collect();
    let kept = kept.rsplit_once(' ').map_or(kept.as_str(), |(whole, _)| whole);
    format!("{} ...", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cell(path: &str, check: &str, protocol: &str, family: &str, why: &str) -> Value {
        let result = if why.is_empty() { "passed" } else { "failed" };
        json!({
            "path": path, "check": check, "protocol": protocol, "family": family, "result": result, "why": why,
        })
    }

    fn lab(pods: usize) -> Value {
        let addresses = ["10.32.1.17", "fd10:32:0:1::a711"];
        let pod =
            |number: usize| json!({"name": format!("p1-{number}"), "node": "n1", "addresses": addresses});
        json!({
            "name": "naru",
            "outside": {"addresses": ["192.0.2.1", "2001:db8:2::1"]},
            "nodes": [{"name": "n1", "addresses": ["2001:db8:1::1"]}],
            "pods": (1..=pods).map(pod).collect::<Vec<_>>(),
        })
    }

    fn map(name: &str, entries: usize) -> Excerpt {
        let entry = |number: usize| format!("10.32.1.{number}: ifindex=4 mtu=1450");
        Excerpt { name: name.to_owned(), entries: (0..entries).map(entry).collect() }
    }

    fn lines(lab: &Value, matrix: &Value, maps: &[Excerpt]) -> Vec<String> {
        Summary { lab, matrix, node: "n1", maps, hint: "the lab is down" }.lines()
    }

    #[test]
    fn the_screen_tells_traffic_addresses_and_maps() {
        let matrix = json!([
            cell("pod to pod", "ping", "icmp", "v4", ""),
            cell("pod to pod", "ping", "icmp", "v6", ""),
            cell("pod to pod", "ttl 1", "icmp", "v4", ""),
            cell("pod to pod", "tcp", "tcp", "v6", "timed out"),
        ]);
        let maps = [map("PODS", 14), map("FLOWS", 0)];
        let expected = [
            "lab naru: 1 node, 1 pod; 1 of 4 cells of the traffic matrix FAILED",
            "",
            "TRAFFIC        v4     v6",
            "             icmp   icmp    tcp",
            "pod to pod    2/2    1/1   0/1!",
            "FAILED pod to pod, tcp, v6: timed out",
            "",
            "ADDRESSES    NODE     IPV4             IPV6",
            "out          -        192.0.2.1        2001:db8:2::1",
            "n1           -        -                2001:db8:1::1",
            "p1-1         n1       10.32.1.17       fd10:32:0:1::a711",
            "",
            "MAPS of n1 (zeros left out; all with --maps)",
            "PODS   10.32.1.0: ifindex=4 mtu=1450",
            "       10.32.1.1: ifindex=4 mtu=1450",
            "       10.32.1.2: ifindex=4 mtu=1450",
            "       ... and 11 more",
            "FLOWS  empty",
            "",
            "the lab is down",
        ];
        assert_eq!(lines(&lab(1), &matrix, &maps), expected);
    }

    #[test]
    fn whatever_happens_the_screen_is_one_screen() {
        let cells = |path: usize| {
            ["ping", "tcp", "udp", "sctp", "gre"].into_iter().flat_map(move |check| {
                let why = "no answer ".repeat(20);
                ["v4", "v6"].map(|family| cell(&format!("path number {path}"), check, check, family, &why))
            })
        };
        let matrix = Value::Array((0..8).flat_map(cells).collect());
        for (pods, maps) in [(4, 9), (1000, 9), (1000, 30), (0, 0)] {
            let maps: Vec<Excerpt> = (0..maps).map(|number| map(&format!("MAP_{number}"), 200)).collect();
            for matrix in [&matrix, &Value::Null] {
                let lines = lines(&lab(pods), matrix, &maps);
                assert!(lines.len() <= LINES, "{} lines: {lines:#?}", lines.len());
                assert!(lines.iter().all(|line| line.chars().count() <= COLUMNS), "{lines:#?}");
            }
        }
    }

    #[test]
    fn a_matrix_that_did_not_end_is_told() {
        let lines = lines(&lab(1), &Value::Null, &[]);
        assert_eq!(lines[0], "lab naru: 1 node, 1 pod; the traffic matrix was not run to its end");
    }
}
