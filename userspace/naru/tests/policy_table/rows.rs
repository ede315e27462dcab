//! The rows, as they are written.
//!
//! A section begins with `## NAME`. Lines that set the scene come next: `policy APP REST` is a policy for the pods with
//! that label, whose specification is `REST`, in YAML between braces that are left out; `pod NAME KEY VALUE` changes a
//! pod's object; `namespace NAME LABEL`; `object YAML`; `own_node_egress pass`. Then the rows: `FROM > TO HOW = yes` or
//! `no`, where `HOW` is `tcp PORT`, `udp PORT`, `big PORT` (datagrams in fragments both ways), `reuse PORT` (the same
//! ports again at once) or `ping`, and `v4` or `v6` for one family alone. `NAME: FROM > TO tcp PORT = open` keeps a
//! connection, of which later rows, in later sections too, say `NAME = yes` or `no`.

/// What is in force, and what comes of it.
pub struct Section {
    pub name: String,
    pub setup: Vec<String>,
    pub rows: Vec<Row>,
}

/// One row.
#[derive(Clone, Debug)]
pub struct Row {
    pub text: String,
    /// The connection that it is about.
    pub name: Option<String>,
    pub opens: bool,
    pub from: String,
    pub to: String,
    pub how: String,
    pub port: u16,
    /// The one family, by its number: 4 or 6.
    pub family: Option<u8>,
    pub passes: bool,
}

const SETUP: [&str; 5] = ["policy ", "pod ", "namespace ", "object ", "own_node_egress "];

/// The sections of a text.
pub fn parse(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("# ")) {
        if let Some(name) = line.strip_prefix("## ") {
            sections.push(Section { name: name.to_owned(), setup: Vec::new(), rows: Vec::new() });
            continue;
        }
        let section = sections.last_mut().unwrap_or_else(|| panic!("{line}: in no section"));
        match SETUP.iter().any(|word| line.starts_with(word)) {
            true => section.setup.push(line.to_owned()),
            false => section.rows.push(row(line)),
        }
    }
    sections
}

fn row(line: &str) -> Row {
    let (what, end) = line.rsplit_once(" = ").unwrap_or_else(|| panic!("{line}: no end"));
    let mut row = Row {
        text: line.to_owned(),
        name: None,
        opens: end == "open",
        from: String::new(),
        to: String::new(),
        how: "tcp".to_owned(),
        port: 0,
        family: None,
        passes: end != "no",
    };
    assert!(["yes", "no", "open"].contains(&end), "{line}");
    let what = match what.split_once(": ") {
        Some((name, what)) => {
            row.name = Some(name.to_owned());
            what
        }
        None => what,
    };
    let Some((from, rest)) = what.split_once(" > ") else {
        row.name = Some(what.to_owned());
        return row;
    };
    let mut words = rest.split_whitespace();
    let mut word = || words.next();
    (row.from, row.to) = (from.to_owned(), word().unwrap().to_owned());
    row.how = word().unwrap().to_owned();
    while let Some(word) = word() {
        match word {
            "v4" => row.family = Some(4),
            "v6" => row.family = Some(6),
            port => row.port = port.parse().unwrap_or_else(|_| panic!("{line}: {port}")),
        }
    }
    row
}
