//! Conversion of ids and states to columns, and back.

use std::net::IpAddr;

use ipnet::IpNet;
use naru_abi::Addr;
use naru_core::ids::{AttachmentId, Generation, PodName};
use naru_core::ipam::{Domain, Range, Row, State};
use rusqlite::types::Type;
use rusqlite::{Error, Result};

/// Columns of the table `addresses` in the order of [`row`].
pub(crate) const ADDRESS_COLUMNS: &str = "domain, address, state, owner, pod_namespace, pod_name, pod_uid, \
                                          note, netns, ifindex, generation, since, confirmed";
/// Columns of the table `ranges` in the order of [`range`].
pub(crate) const RANGE_COLUMNS: &str = "domain, pool, first, prefix_len, draining, cursor, turn";

/// Returns an address in a form in which both families sort: 16 bytes, IPv4 mapped.
pub(crate) fn address_key(address: IpAddr) -> [u8; 16] {
    Addr::from(address).octets
}

/// The keys of a prefix's first and last address.
pub(crate) fn bounds(net: IpNet) -> ([u8; 16], [u8; 16]) {
    (address_key(net.network()), address_key(net.broadcast()))
}

pub(crate) const fn state_number(state: State) -> i64 {
    match state {
        State::Assigned => 0,
        State::Cooling => 1,
        State::Reserved => 2,
        State::Quarantined => 3,
    }
}

/// A number for a column; one beyond an `i64` becomes the largest.
pub(crate) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number that a column holds.
pub(crate) fn number(columns: &rusqlite::Row<'_>, column: usize) -> Result<u64> {
    let number: i64 = columns.get(column)?;
    u64::try_from(number).map_err(|_| Error::IntegralValueOutOfRange(column, number))
}

pub(crate) fn row(columns: &rusqlite::Row<'_>) -> Result<Row> {
    let owner: Option<String> = columns.get(3)?;
    let netns: Option<String> = columns.get(8)?;
    Ok(Row {
        domain: Domain::from_stored(columns.get(0)?),
        address: Addr::v6(columns.get(1)?).into(),
        state: state(columns.get(2)?)?,
        owner: owner.map(|text| attachment(&text)).transpose()?,
        pod: PodName { namespace: columns.get(4)?, name: columns.get(5)?, uid: columns.get(6)? },
        note: columns.get(7)?,
        netns: netns.map(|text| text.parse()).transpose().map_err(|error| unreadable(8, error))?,
        ifindex: columns.get(9)?,
        generation: Generation(number(columns, 10)?),
        since: number(columns, 11)?,
        confirmed: columns.get(12)?,
    })
}

pub(crate) fn range(columns: &rusqlite::Row<'_>) -> Result<Range> {
    let first: IpAddr = Addr::v6(columns.get(2)?).into();
    Ok(Range {
        domain: Domain::from_stored(columns.get(0)?),
        pool: columns.get(1)?,
        net: IpNet::new(first, columns.get(3)?).map_err(|error| unreadable(3, error))?,
        draining: columns.get(4)?,
        cursor: columns.get(5)?,
        turn: Generation(number(columns, 6)?),
    })
}

fn state(number: i64) -> Result<State> {
    let all = [State::Assigned, State::Cooling, State::Reserved, State::Quarantined];
    let known = all.into_iter().find(|state| state_number(*state) == number);
    known.ok_or(Error::IntegralValueOutOfRange(2, number))
}

fn attachment(text: &str) -> Result<AttachmentId> {
    let mut parts = text.splitn(3, '/');
    let mut part = || parts.next().unwrap_or_default();
    AttachmentId::new(part(), part(), part()).map_err(|error| unreadable(3, error))
}

fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_survives_its_number_and_others_are_refused() {
        for known in [State::Assigned, State::Cooling, State::Reserved, State::Quarantined] {
            assert_eq!(state(state_number(known)).unwrap(), known);
        }
        assert!(state(4).is_err());
    }

    #[test]
    fn an_attachment_survives_being_written() {
        let id = AttachmentId::new("naru", "4f2c", "eth0").unwrap();
        assert_eq!(attachment(&id.to_string()).unwrap(), id);
        assert!(attachment("naru/4f2c").is_err());
        assert!(attachment("").is_err());
    }

    #[test]
    fn keys_sort_as_addresses_do_within_a_family() {
        let key = |text: &str| address_key(text.parse().unwrap());
        assert!(key("9.255.255.255") < key("10.0.0.0"));
        assert!(key("fd00::ff") < key("fd00::1:0"));
        assert_eq!(bounds("10.0.0.0/24".parse().unwrap()), (key("10.0.0.0"), key("10.0.0.255")));
        assert_eq!(bounds("fd00::/127".parse().unwrap()), (key("fd00::"), key("fd00::1")));
    }
}
