//! A table of policies in force: who reaches whom, and how, in both families, on a machine with pods, beside another
//! node with pods, and a host outside. The rows are data, in `rows/`; one machine serves them all.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

#[path = "../machine/mod.rs"]
mod machine;

mod ask;
mod objects;
mod rows;
mod scene;
mod servers;

use std::{collections::BTreeMap, net::TcpStream, thread, time::Instant};

use ask::{Ask, PROMPT};
use rows::{Row, Section};
use scene::Scene;

/// Rows that the table has at least.
const ROWS: usize = 80;

#[test]
#[ignore = "needs root: cargo xtask test"]
fn every_row_of_the_table_of_policies_is_as_it_says() {
    let sections: Vec<Section> = [
        include_str!("rows/ingress.txt"),
        include_str!("rows/egress.txt"),
        include_str!("rows/connections.txt"),
        include_str!("rows/node.txt"),
    ]
    .iter()
    .flat_map(|text| rows::parse(text))
    .collect();
    let count = sections.iter().map(|section| section.rows.len()).sum::<usize>();
    assert!(count >= ROWS, "{count} rows");
    let mut scene = Scene::new();
    scene.begin(&sections[0]);
    let mut open = BTreeMap::new();
    let mut faults = Vec::new();
    for section in &sections {
        let began = Instant::now();
        scene.put(section);
        let found = judge(&scene, section, &mut open);
        if !found.is_empty() {
            println!("{}\n{}", found.join("\n"), scene.denials());
        }
        faults.extend(found);
        println!("{:>5} ms {}", began.elapsed().as_millis(), section.name);
    }
    assert!(faults.is_empty(), "{} of {count} rows:\n{}", faults.len(), faults.join("\n"));
}

/// Returns what is not as the section says. Rows about connections come in their order, the others all at once.
fn judge(scene: &Scene, section: &Section, open: &mut BTreeMap<String, Vec<TcpStream>>) -> Vec<String> {
    let told = |row: &Row, found: &str| format!("{}: {}: {found}", section.name, row.text);
    let asked: Vec<(&Row, Vec<Ask>)> =
        section.rows.iter().filter(|row| row.name.is_none()).map(|row| (row, scene.asks(row))).collect();
    let mut faults = Vec::new();
    thread::scope(|scope| {
        let all = asked.iter().flat_map(|(row, asks)| asks.iter().map(move |ask| (*row, ask)));
        let all: Vec<_> =
            all.map(|(row, ask)| (row, ask, scope.spawn(|| ask.is_answered(row.passes)))).collect();
        for (row, ask, answered) in all {
            if answered.join().unwrap() != row.passes {
                faults.push(told(row, &ask.to_string()));
            }
        }
    });
    for row in &section.rows {
        let Some(name) = &row.name else { continue };
        if row.opens {
            let streams = scene.asks(row).iter().map(|ask| ask.connect(PROMPT).unwrap()).collect();
            open.insert(name.clone(), streams);
        }
        for stream in open.get_mut(name).unwrap() {
            if ask::goes_on(stream, row.passes) != row.passes {
                faults.push(told(row, &format!("{:?}", stream.peer_addr())));
            }
        }
    }
    faults
}
