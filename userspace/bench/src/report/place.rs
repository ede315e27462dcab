use crate::figure::{Figure, Group, RATIO};

/// The tables of a report, in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sheet {
    /// Traffic of a path by that of another.
    TrafficRatios,
    /// Traffic of a path.
    TrafficRates,
    /// Time of a program by the pods in its map.
    ByPods,
    /// Time of a program by the prefixes in its map.
    ByPrefixes,
    /// Instructions of a program.
    Instructions,
    /// Times of naru's plugin by those of another.
    CniRatios,
    /// Times of a plugin.
    CniTimes,
    /// Times of naru's IPAM plugin by those of another.
    IpamRatios,
    /// Times of an IPAM plugin.
    IpamTimes,
    /// Bytes.
    Memory,
}

impl Sheet {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 10] = [
        Self::TrafficRatios,
        Self::TrafficRates,
        Self::ByPods,
        Self::ByPrefixes,
        Self::Instructions,
        Self::CniRatios,
        Self::CniTimes,
        Self::IpamRatios,
        Self::IpamTimes,
        Self::Memory,
    ];

    /// The heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::TrafficRatios => "traffic: a path by another (1 is as fast; one CPU unless it says two)",
            Self::TrafficRates => "traffic: rates (of one CPU's time unless it says two CPUs)",
            Self::ByPods => "programs: ns by pods in the map (BPF_PROG_TEST_RUN)",
            Self::ByPrefixes => "programs: ns by prefixes in the map (BPF_PROG_TEST_RUN)",
            Self::Instructions => "programs: instructions as the kernel has translated them",
            Self::CniRatios => "CNI plugins: naru's time by another's (less is better)",
            Self::CniTimes => "CNI plugins: ms of a call",
            Self::IpamRatios => "IPAM plugins: time of ADD and DEL together by another's (less is better)",
            Self::IpamTimes => "IPAM plugins: ms of ADD and DEL together",
            Self::Memory => "memory",
        }
    }
}

/// The cell of a figure: a sheet, a row (a path, a program, a plugin) and a column (a metric).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The table.
    pub sheet: Sheet,
    /// The path, program or plugin.
    pub row: String,
    /// The metric.
    pub column: String,
}

/// Ends of a lane's name that are a column of the lane without them, and what that column is called. The longest first:
/// one end holds the other.
const VARIANTS: [(&str, &str, &str); 3] = [
    (", wire without GRO", "stream", "wire, no GRO"),
    (", wire", "stream", "wire"),
    (", IPv6", "TCP_RR", "TCP_RR IPv6"),
];

/// The columns of traffic, in the order of tables.
const METRICS: [&str; 9] = [
    "TCP_RR",
    "TCP_RR IPv6",
    "UDP_RR",
    "TCP_CRR",
    "stream",
    "wire",
    "wire, no GRO",
    "stream on two CPUs",
    "packets on two CPUs",
];

/// The position of a traffic metric among its like; metrics that are not known come last.
pub fn position(metric: &str) -> usize {
    METRICS.iter().position(|known| *known == metric).unwrap_or(METRICS.len())
}

impl Place {
    /// The place of the figure, read from its name. A name of no known shape is a row of its own.
    pub fn of(figure: &Figure) -> Self {
        let name = figure.name.as_str();
        let is_ratio = figure.unit == RATIO;
        let found = match figure.group {
            Group::Traffic => traffic(name, is_ratio),
            Group::Programs => program(name),
            Group::Cni => plugin(name, is_ratio),
            Group::Ipam => lessor(name, is_ratio),
            Group::Memory => name.rsplit_once(", ").map(|parts| place(Sheet::Memory, parts.0, parts.1)),
        };
        found.unwrap_or_else(|| place(alone(figure.group), name, "value"))
    }
}

fn place(sheet: Sheet, row: &str, column: &str) -> Place {
    Place { sheet, row: row.to_owned(), column: column.to_owned() }
}

/// The sheet of figures whose names have no known shape.
const fn alone(group: Group) -> Sheet {
    match group {
        Group::Traffic => Sheet::TrafficRates,
        Group::Programs => Sheet::Instructions,
        Group::Cni => Sheet::CniTimes,
        Group::Ipam => Sheet::IpamTimes,
        Group::Memory => Sheet::Memory,
    }
}

/// `naru, direct, wire / flannel, wire: stream`, `naru, direct: TCP_RR`
fn traffic(name: &str, is_ratio: bool) -> Option<Place> {
    let sheet = if is_ratio { Sheet::TrafficRatios } else { Sheet::TrafficRates };
    let (lanes, load) = name.rsplit_once(": ")?;
    let lanes: Vec<&str> = lanes.split(" / ").collect();
    for (end, of, column) in VARIANTS.into_iter().filter(|(_, of, _)| *of == load) {
        let plain: Option<Vec<&str>> = lanes.iter().map(|lane| lane.strip_suffix(end)).collect();
        if let Some(plain) = plain {
            debug_assert_eq!(of, load);
            return Some(place(sheet, &plain.join(" / "), column));
        }
    }
    Some(place(sheet, &lanes.join(" / "), load))
}

/// `to_pod, 100 pods`, `to_pod, cold, 100 pods`, `to_pod: 60000 pods / 100 pods`, `to_pod: instructions`
fn program(name: &str) -> Option<Place> {
    if let Some(program) = name.strip_suffix(": instructions") {
        return Some(place(Sheet::Instructions, program, "instructions"));
    }
    let (row, column) = match name.rsplit_once(": ") {
        Some((row, entries)) => (row, entries),
        None => name.rsplit_once(", ")?,
    };
    let kind = column.rsplit(' ').next()?;
    let sheet = match kind {
        "pods" => Sheet::ByPods,
        "prefixes" => Sheet::ByPrefixes,
        _ => return None,
    };
    Some(place(sheet, row, &column.replace(&format!(" {kind}"), "")))
}

/// `naru / ptp + host-local: ADD, 16 at once, p99`, `naru: ADD`
fn plugin(name: &str, is_ratio: bool) -> Option<Place> {
    let (row, call) = name.rsplit_once(": ")?;
    let column = call.replace(", 16 at once", " x16").replace(", p99", " p99");
    Some(place(if is_ratio { Sheet::CniRatios } else { Sheet::CniTimes }, row, &column))
}

/// `naru-ipam / host-local, 1000 in use`, `naru-ipam, 1000 in use / none in use`, `naru-ipam, 0 in use`
fn lessor(name: &str, is_ratio: bool) -> Option<Place> {
    let sheet = if is_ratio { Sheet::IpamRatios } else { Sheet::IpamTimes };
    let (row, used) = name.rsplit_once(", ")?;
    match used.split_once(" / ") {
        Some((used, base)) => Some(place(sheet, &format!("{row} / {row} with {base}"), used)),
        None => Some(place(sheet, row, used)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{gates, load::Load};

    fn of(group: Group, name: &str, unit: &str) -> (Sheet, String, String) {
        let place = Place::of(&Figure::new(group, name, unit, vec![1.0]).unwrap());
        (place.sheet, place.row, place.column)
    }

    fn at(sheet: Sheet, row: &str, column: &str) -> (Sheet, String, String) {
        (sheet, row.to_owned(), column.to_owned())
    }

    #[test]
    fn variants_of_a_path_are_columns_of_its_row() {
        let row = "naru, own encapsulation / flannel";
        for (lanes, load, column) in [
            (row, "UDP_RR", "UDP_RR"),
            ("naru, own encapsulation, wire / flannel, wire", "stream", "wire"),
            (
                "naru, own encapsulation, wire without GRO / flannel, wire without GRO",
                "stream",
                "wire, no GRO",
            ),
            ("naru, own encapsulation, IPv6 / flannel, IPv6", "TCP_RR", "TCP_RR IPv6"),
        ] {
            let found = of(Group::Traffic, &format!("{lanes}: {load}"), RATIO);
            assert_eq!(found, at(Sheet::TrafficRatios, row, column));
        }
        assert_eq!(
            of(Group::Traffic, "veth, IPv6: TCP_RR", "transactions/s"),
            at(Sheet::TrafficRates, "veth", "TCP_RR IPv6")
        );
    }

    #[test]
    fn every_gate_of_traffic_has_a_known_column_and_a_cell_of_its_own() {
        let mut taken = std::collections::BTreeSet::new();
        for comparison in gates::TRAFFIC {
            for load in Load::ALL {
                let name = format!("{} / {}: {}", comparison.candidate, comparison.baseline, load.label());
                let (_, row, column) = of(Group::Traffic, &name, RATIO);
                // A wire carries streams only, and IPv6 one load only.
                let is_variant = ["wire", "IPv6"].iter().any(|word| comparison.candidate.contains(word));
                if !is_variant || column != load.label() {
                    assert!(position(&column) < METRICS.len(), "{name}: {column}");
                    assert!(taken.insert((row, column)), "{name}");
                }
            }
        }
    }

    #[test]
    fn programs_are_rows_and_numbers_of_entries_columns() {
        for (name, expected) in [
            ("from_pod to a pod, 100 pods", at(Sheet::ByPods, "from_pod to a pod", "100")),
            ("to_overlay, cold, 10 prefixes", at(Sheet::ByPrefixes, "to_overlay, cold", "10")),
            ("to_pod: 60000 pods / 100 pods", at(Sheet::ByPods, "to_pod", "60000 / 100")),
            ("to_pod: instructions", at(Sheet::Instructions, "to_pod", "instructions")),
        ] {
            assert_eq!(of(Group::Programs, name, "ns"), expected);
        }
    }

    #[test]
    fn plugins_are_rows_and_calls_columns() {
        assert_eq!(
            of(Group::Cni, "naru / ptp + host-local: ADD, 16 at once, p99", RATIO),
            at(Sheet::CniRatios, "naru / ptp + host-local", "ADD x16 p99")
        );
        assert_eq!(
            of(Group::Ipam, "naru-ipam, 100000 in use / none in use", RATIO),
            at(Sheet::IpamRatios, "naru-ipam / naru-ipam with none in use", "100000 in use")
        );
        assert_eq!(of(Group::Memory, "maps, 250 pods", "bytes"), at(Sheet::Memory, "maps", "250 pods"));
    }

    #[test]
    fn a_name_of_no_known_shape_is_a_row_of_its_own() {
        assert_eq!(of(Group::Traffic, "odd", "x/s"), at(Sheet::TrafficRates, "odd", "value"));
    }
}
