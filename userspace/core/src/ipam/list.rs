use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Range, Row};
use crate::ids::{AttachmentId, PodName};

/// One line of `naru ipam list`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// First address of the line.
    pub first: IpAddr,
    /// Last address of the line; it equals the first unless the line is a span of free addresses.
    pub last: IpAddr,
    /// `ASSIGNED`, `COOLING`, `RESERVED` or `FREE`.
    pub status: &'static str,
    /// The pod that holds or held the address, if the runtime named one.
    pub pod: PodName,
    /// The attachment that holds or held the address.
    pub owner: Option<AttachmentId>,
    /// The reason for which the address is reserved, else empty.
    pub note: String,
}

impl Listed {
    /// The column IP: the address, or `first-last` of a span.
    #[must_use]
    pub fn ip(&self) -> String {
        if self.first == self.last {
            return self.first.to_string();
        }
        format!("{}-{}", self.first, self.last)
    }

    /// The column POD: the pod (also one for which the address is reserved), else the attachment, else the reason for
    /// the reservation, else `-`.
    #[must_use]
    pub fn holder(&self) -> String {
        match &self.owner {
            Some(owner) if self.pod.is_empty() => owner.to_string(),
            None if self.pod.is_empty() && !self.note.is_empty() => self.note.clone(),
            _ => self.pod.to_string(),
        }
    }

    fn free(first: IpAddr, last: IpAddr) -> Self {
        Self { first, last, status: "FREE", pod: PodName::default(), owner: None, note: String::new() }
    }

    fn held(row: &Row) -> Self {
        let (pod, owner, note) = (row.pod.clone(), row.owner.clone(), row.note.clone());
        Self { first: row.address, last: row.address, status: row.state.label(), pod, owner, note }
    }
}

/// The ranges' addresses in order, with a line for each that is not free and one for each span of free ones. Rows
/// outside all ranges (a range was lost while a pod of it lives) come last. `rows` may be in any order, but must be
/// of the ranges' domain. A draining range has no free addresses.
#[must_use]
pub fn list(ranges: &[Range], rows: &[Row]) -> Vec<Listed> {
    let mut rows: Vec<&Row> = rows.iter().collect();
    rows.sort_by_key(|row| row.address);
    let mut ranges: Vec<&Range> = ranges.iter().collect();
    ranges.sort_by_key(|range| (range.net.network(), range.net.prefix_len()));
    let mut lines = Vec::new();
    for range in &ranges {
        push_range(&mut lines, range, &rows);
    }
    let outside = |row: &&&Row| !ranges.iter().any(|range| range.offset_of(row.address).is_some());
    lines.extend(rows.iter().filter(outside).map(|row| Listed::held(row)));
    lines.dedup();
    lines
}

fn push_range(lines: &mut Vec<Listed>, range: &Range, rows: &[&Row]) {
    let mut next_free = Some(range.net.network());
    let start = rows.partition_point(|row| row.address < range.net.network());
    for row in rows.iter().skip(start).take_while(|row| range.offset_of(row.address).is_some()) {
        push_free(lines, range, next_free, before(row.address));
        lines.push(Listed::held(row));
        next_free = after(row.address);
    }
    push_free(lines, range, next_free, Some(range.last()));
}

fn push_free(lines: &mut Vec<Listed>, range: &Range, first: Option<IpAddr>, last: Option<IpAddr>) {
    if let (Some(first), Some(last), false) = (first, last, range.draining)
        && first <= last
    {
        lines.push(Listed::free(first, last));
    }
}

fn before(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => address.to_bits().checked_sub(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(address) => address.to_bits().checked_sub(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

fn after(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => address.to_bits().checked_add(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(address) => address.to_bits().checked_add(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Generation;
    use crate::ipam::{Domain, State};

    fn range(net: &str) -> Range {
        let (domain, pool) = (Domain::naru(), String::from("default"));
        Range { domain, pool, net: net.parse().unwrap(), draining: false, cursor: 0, turn: Generation(0) }
    }

    fn row(address: &str, state: State, pod: &str) -> Row {
        let pod = PodName { namespace: "default".into(), name: pod.into(), uid: String::new() };
        let owner = AttachmentId::new("naru", "c1", "eth0").ok();
        Row { state, pod, owner, ..Row::reserved(Domain::naru(), address.parse().unwrap(), "", 0) }
    }

    fn lines(ranges: &[Range], rows: &[Row]) -> Vec<String> {
        let show = |line: &Listed| format!("{} {} {}", line.ip(), line.status, line.holder());
        list(ranges, rows).iter().map(show).collect()
    }

    #[test]
    fn an_empty_range_is_one_free_span() {
        assert_eq!(lines(&[range("10.0.0.0/24")], &[]), ["10.0.0.0-10.0.0.255 FREE -"]);
        assert_eq!(lines(&[range("10.0.0.1/32")], &[]), ["10.0.0.1 FREE -"]);
    }

    #[test]
    fn held_addresses_stand_between_spans_of_free_ones() {
        let gateway = Row::reserved(Domain::naru(), "10.0.0.1".parse().unwrap(), "gateway", 0);
        let rows =
            [row("10.0.0.7", State::Cooling, "web-1"), gateway, row("10.0.0.2", State::Assigned, "web-0")];
        let expected = [
            "10.0.0.0 FREE -",
            "10.0.0.1 RESERVED gateway",
            "10.0.0.2 ASSIGNED default/web-0",
            "10.0.0.3-10.0.0.6 FREE -",
            "10.0.0.7 COOLING default/web-1",
        ];
        assert_eq!(lines(&[range("10.0.0.0/29")], &rows), expected);
    }

    #[test]
    fn ranges_stand_in_order_ipv4_first_and_rows_in_none_of_them_last() {
        let ranges = [range("fd00::/127"), range("10.0.1.0/31"), range("10.0.0.0/31")];
        let rows = [row("192.0.2.1", State::Assigned, "lost"), row("fd00::", State::Assigned, "web-0")];
        let expected = [
            "10.0.0.0-10.0.0.1 FREE -",
            "10.0.1.0-10.0.1.1 FREE -",
            "fd00:: ASSIGNED default/web-0",
            "fd00::1 FREE -",
            "192.0.2.1 ASSIGNED default/lost",
        ];
        assert_eq!(lines(&ranges, &rows), expected);
    }

    #[test]
    fn a_holder_without_a_pod_name_is_shown_as_its_attachment() {
        let row = row("10.0.0.0", State::Assigned, "");
        assert_eq!(lines(&[range("10.0.0.0/32")], &[row]), ["10.0.0.0 ASSIGNED naru/c1/eth0"]);
    }

    #[test]
    fn a_draining_range_shows_only_what_is_left_in_it() {
        let draining = Range { draining: true, ..range("10.0.0.0/24") };
        let rows = [row("10.0.0.9", State::Assigned, "web-0")];
        assert_eq!(lines(&[draining], &rows), ["10.0.0.9 ASSIGNED default/web-0"]);
    }

    #[test]
    fn the_ends_of_the_address_space_are_no_trouble() {
        let rows = [row("255.255.255.255", State::Assigned, "last"), row("::", State::Assigned, "first")];
        let ranges = [range("255.255.255.254/31"), range("::/127")];
        let expected = [
            "255.255.255.254 FREE -",
            "255.255.255.255 ASSIGNED default/last",
            ":: ASSIGNED default/first",
            "::1 FREE -",
        ];
        assert_eq!(lines(&ranges, &rows), expected);
    }
}
