use std::collections::BTreeMap;

use super::*;
use crate::{figure::Group, gates, load::Load, report::Host};

/// An element with its attributes, and the text in it.
type Element<'a> = (&'a str, BTreeMap<&'a str, &'a str>, &'a str);

/// The elements of a picture. Checks on the way that every tag is closed in its order and that no text holds markup.
fn elements(svg: &str) -> Vec<Element<'_>> {
    let (mut open, mut elements) = (Vec::new(), Vec::new());
    for piece in svg.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').unwrap_or_else(|| panic!("an open tag: {piece}"));
        assert!(!text.contains('>') && tag.matches('"').count() % 2 == 0, "{piece}");
        let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&apos;"].map(|name| text.matches(name).count());
        assert_eq!(text.matches('&').count(), known.iter().sum::<usize>(), "{piece}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "{piece}");
            continue;
        }
        let (name, rest) = tag.split_once(' ').unwrap();
        let parts: Vec<&str> = rest.split('"').collect();
        let attributes = parts.chunks_exact(2).map(|pair| (pair[0].trim().trim_end_matches('='), pair[1]));
        elements.push((name, attributes.collect(), text.trim()));
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new());
    elements
}

fn number(element: &Element<'_>, attribute: &str) -> f64 {
    element.1[attribute].parse().unwrap()
}

/// Left and right end, top and bottom of a text, as wide as a usual font makes it at most.
fn extent(text: &Element<'_>) -> ([f64; 2], [f64; 2]) {
    let (x, y, size) = (number(text, "x"), number(text, "y"), number(text, "font-size"));
    let bold = if text.1.contains_key("font-weight") { 1.12 } else { 1.0 };
    let shown = text.2.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").replace("&apos;", "'");
    let width = shown.chars().count() as f64 * size * 0.56 * bold;
    let left = match text.1["text-anchor"] {
        "start" => x,
        "middle" => x - width / 2.0,
        _ => x - width,
    };
    let middle = match text.1["dy"] {
        "0.76em" => y + size / 2.0,
        "0.5ex" => y,
        other => panic!("a text hangs from {other}"),
    };
    ([left, left + width], [middle - size / 2.0, middle + size / 2.0])
}

/// A run with every gate of traffic, each program and each plugin.
fn full_run() -> Run {
    let figure = |group, name: String, unit, value: f64| {
        Figure::new(group, name, unit, vec![0.9 * value, value, 1.3 * value]).unwrap()
    };
    let mut figures = Vec::new();
    for (number, one) in gates::TRAFFIC.iter().enumerate() {
        for load in Load::ALL {
            let name = format!("{} / {}: {}", one.candidate, one.baseline, load.label());
            let value = 0.6 + 0.2 * number as f64;
            figures.push(figure(Group::Traffic, name, RATIO, value).limited(one.limit(load)));
        }
    }
    for program in ["from_pod to the tunnel device", "from_underlay decapsulating", "to_overlay"] {
        let growth = format!("{program}: 10000 prefixes / 10 prefixes");
        figures.push(figure(Group::Programs, growth, RATIO, 1.4).limited(Some(gates::MORE_PREFIXES)));
        for (end, entries) in ["", ", cold"].into_iter().flat_map(|end| [10, 1000, 10_000].map(|n| (end, n)))
        {
            let name = format!("{program}{end}, {entries} prefixes");
            figures.push(figure(Group::Programs, name, "ns", f64::from(entries)));
        }
    }
    for plugin in ["naru", "bridge + host-local", "ptp <&> host-local", "bare veth pair"] {
        for call in ["ADD", "DEL", "ADD, 16 at once", "DEL, 16 at once", "ADD, p99"] {
            figures.push(figure(Group::Cni, format!("{plugin}: {call}"), "ms", 20.0));
        }
    }
    Run::new(Host::this(), Vec::new(), figures)
}

#[test]
fn every_group_has_a_well_formed_chart() {
    let charts = charts(&full_run()).unwrap();
    let names: Vec<&str> = charts.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["ratios.svg", "programs.svg", "latency.svg"]);
    for (name, svg) in &charts {
        assert!(elements(svg).len() > 20, "{name}");
    }
}

#[test]
fn no_label_leaves_the_picture_and_no_two_touch() {
    for (name, svg) in charts(&full_run()).unwrap() {
        let all = elements(&svg);
        let height = number(&all[0], "height");
        let texts: Vec<_> = all.iter().filter(|element| element.0 == "text").collect();
        for (place, text) in texts.iter().enumerate() {
            let (x, y) = extent(text);
            assert!(x[0] >= 0.0 && x[1] <= f64::from(page::WIDTH), "{name}: {}: {x:?}", text.2);
            assert!(y[0] >= 0.0 && y[1] <= height, "{name}: {}: {y:?}", text.2);
            for other in &texts[..place] {
                let apart = |ours: [f64; 2], theirs: [f64; 2]| ours[1] <= theirs[0] || theirs[1] <= ours[0];
                let theirs = extent(other);
                assert!(apart(x, theirs.0) || apart(y, theirs.1), "{name}: {} and {}", text.2, other.2);
            }
        }
    }
}

#[test]
fn gates_are_marks_and_missed_ones_are_told_in_red() {
    let figure = |value: f64| {
        let figure = Figure::new(Group::Traffic, "a / b: TCP_RR", RATIO, vec![value]).unwrap();
        figure.limited(Some(Limit::at_least(0.94, 0.97)))
    };
    let shown = |value: f64| {
        let run = Run::new(Host::this(), Vec::new(), vec![figure(value)]);
        let charts = charts(&run).unwrap();
        let all = elements(&charts[0].1);
        let marks = all.iter().filter(|element| element.1.get("stroke-width") == Some(&"3")).count();
        let red = all.iter().filter(|element| element.1.get("fill") == Some(&"#C80000"));
        (marks, red.map(|element| element.2.to_owned()).collect::<Vec<_>>())
    };
    assert_eq!(shown(0.9), (1, vec!["0.900 &lt; gate 0.94".to_owned()]));
    assert_eq!(shown(0.95), (1, Vec::new()));
}

#[test]
fn curves_of_a_chart_have_colours_of_their_own_and_keep_them_in_every_panel() {
    for (name, svg) in charts(&full_run()).unwrap().into_iter().skip(1) {
        let all = elements(&svg);
        let strokes = |width: &str| {
            let mut strokes: Vec<String> = all
                .iter()
                .filter(|element| element.1.get("stroke-width") == Some(&width))
                .map(|element| element.1["stroke"].to_owned())
                .collect();
            strokes.sort();
            strokes
        };
        let legend = strokes("3");
        let (mut curves, once) = (strokes("2"), legend.len());
        let mut distinct = legend.clone();
        distinct.dedup();
        curves.dedup();
        assert_eq!((distinct.len(), &curves), (once, &legend), "{name}");
    }
}

#[test]
fn what_was_not_measured_has_no_chart() {
    assert_eq!(charts(&Run::new(Host::this(), Vec::new(), Vec::new())).unwrap(), []);
}
