//! The allocator's ledger over the tables of `state.db`, within one transaction.

use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use naru_core::ids::{AttachmentId, Generation, PodName};
use naru_core::ipam::{CHUNK_BYTES, Chunk, Domain, Ledger, Range, RangeId, Row, Space, State, Usage};
use rusqlite::{Connection, OptionalExtension, Params, Result, params};

use crate::StoreError;
use crate::columns::{
    self, ADDRESS_COLUMNS, RANGE_COLUMNS, address_key, bounds, integer, number, state_number,
};

/// The tables, as long as the transaction lasts.
pub(crate) struct SqlLedger<'t> {
    pub(crate) connection: &'t Connection,
    pub(crate) path: &'t Path,
}

impl SqlLedger<'_> {
    fn named<T>(&self, result: Result<T>) -> Result<T, StoreError> {
        result.map_err(|error| StoreError::sqlite(self.path, error))
    }

    fn execute(&self, sql: &str, values: impl Params) -> Result<(), StoreError> {
        let run = || self.connection.prepare_cached(sql)?.execute(values);
        self.named(run()).map(drop)
    }

    /// The rows of the table `addresses` that the rest of the statement selects.
    pub(crate) fn rows(&self, rest: &str, values: impl Params) -> Result<Vec<Row>, StoreError> {
        let sql = format!("SELECT {ADDRESS_COLUMNS} FROM addresses {rest}");
        let run = || self.connection.prepare_cached(&sql)?.query_map(values, columns::row)?.collect();
        self.named(run())
    }

    /// The ranges that a condition selects, oldest first.
    pub(crate) fn ranges_where(
        &self,
        condition: &str,
        values: impl Params,
    ) -> Result<Vec<(RangeId, Range)>, StoreError> {
        let sql = format!("SELECT {RANGE_COLUMNS}, id FROM ranges WHERE {condition} ORDER BY id");
        let read = |row: &rusqlite::Row<'_>| Ok((RangeId(row.get(7)?), columns::range(row)?));
        let run = || self.connection.prepare_cached(&sql)?.query_map(values, read)?.collect();
        self.named(run())
    }

    fn one_chunk(&self, rest: &str, values: impl Params) -> Result<Option<Chunk>, StoreError> {
        let sql = format!("SELECT idx, bits FROM chunks {rest}");
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Chunk::from_bytes(row.get(0)?, &row.get::<_, [u8; CHUNK_BYTES]>(1)?))
        };
        let run = || self.connection.prepare_cached(&sql)?.query_row(values, read).optional();
        self.named(run())
    }
}

impl Space for SqlLedger<'_> {
    type Error = StoreError;

    fn ranges(&self, domain: &Domain) -> Result<Vec<(RangeId, Range)>, StoreError> {
        self.ranges_where("domain = ?1", [domain.as_str()])
    }

    fn add_range(&mut self, range: &Range) -> Result<RangeId, StoreError> {
        let sql = format!("INSERT INTO ranges ({RANGE_COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
        let first = address_key(range.net.network());
        let (net_len, turn) = (range.net.prefix_len(), integer(range.turn.0));
        let domain = range.domain.as_str();
        self.execute(&sql, params![domain, range.pool, first, net_len, range.draining, range.cursor, turn])?;
        Ok(RangeId(self.connection.last_insert_rowid()))
    }

    fn set_range(&mut self, id: RangeId, range: Option<&Range>) -> Result<(), StoreError> {
        let Some(range) = range else {
            self.execute("DELETE FROM chunks WHERE range_id = ?1", [id.0])?;
            return self.execute("DELETE FROM ranges WHERE id = ?1", [id.0]);
        };
        let sql = "UPDATE ranges SET draining = ?2, cursor = ?3, turn = ?4 WHERE id = ?1";
        self.execute(sql, params![id.0, range.draining, range.cursor, integer(range.turn.0)])
    }

    fn chunk(&self, id: RangeId, index: u32) -> Result<Option<Chunk>, StoreError> {
        self.one_chunk("WHERE range_id = ?1 AND idx = ?2", params![id.0, index])
    }

    fn chunk_with_room(&self, id: RangeId, from: u32) -> Result<Option<Chunk>, StoreError> {
        // At most 256 rows are looked at, and those only when the range's current chunk is full: an index of the chunks
        // with room would cost every operation a page.
        let rest = "WHERE range_id = ?1 AND idx >= ?2 AND free > 0 ORDER BY idx LIMIT 1";
        self.one_chunk(rest, params![id.0, from])
    }

    fn set_chunk(&mut self, id: RangeId, chunk: &Chunk) -> Result<(), StoreError> {
        let sql = "INSERT INTO chunks (range_id, idx, free, bits) VALUES (?1, ?2, ?3, ?4) \
                   ON CONFLICT DO UPDATE SET free = excluded.free, bits = excluded.bits";
        self.execute(sql, params![id.0, chunk.index, chunk.free(), chunk.to_bytes()])
    }
}

impl Ledger for SqlLedger<'_> {
    fn held_by(&self, domain: &Domain, owner: &AttachmentId) -> Result<Vec<Row>, StoreError> {
        let rest = "INDEXED BY held WHERE domain = ?1 AND owner = ?2 AND state = 0";
        let mut held = self.rows(rest, [domain.as_str(), &owner.to_string()])?;
        held.sort_by_key(|row| row.address);
        Ok(held)
    }

    fn reserved_for(&self, domain: &Domain, pod: &PodName) -> Result<Vec<Row>, StoreError> {
        // Without a hint that a pod has few rows, the library walks the whole domain to avoid sorting them.
        let rest = "WHERE domain = ?1 AND pod_namespace = ?2 AND unlikely(pod_name = ?3) AND note <> '' \
                    AND state IN (0, 2) ORDER BY address";
        self.rows(rest, [domain.as_str(), &pod.namespace, &pod.name])
    }

    fn set_row(&mut self, domain: &Domain, address: IpAddr, row: Option<&Row>) -> Result<(), StoreError> {
        let (domain, key) = (domain.as_str(), address_key(address));
        let Some(row) = row else {
            return self
                .execute("DELETE FROM addresses WHERE domain = ?1 AND address = ?2", params![domain, key]);
        };
        let sql = format!(
            "INSERT OR REPLACE INTO addresses ({ADDRESS_COLUMNS}) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)"
        );
        let (owner, netns) =
            (row.owner.as_ref().map(ToString::to_string), row.netns.map(|id| id.to_string()));
        let (state, pod) = (state_number(row.state), &row.pod);
        let (generation, since) = (integer(row.generation.0), integer(row.since));
        let values = params![
            domain,
            key,
            state,
            owner,
            pod.namespace,
            pod.name,
            pod.uid,
            row.note,
            netns,
            row.ifindex,
            generation,
            since,
            row.confirmed
        ];
        self.execute(&sql, values)
    }

    fn oldest_cooling(&self, domain: &Domain, within: Option<IpNet>) -> Result<Option<Row>, StoreError> {
        let (first, last) = within.map_or(([0; 16], [255; 16]), bounds);
        // Without a hint, the library walks the whole range to avoid sorting the few cooling ones.
        let rest = "INDEXED BY cooling WHERE domain = ?1 AND state = 1 AND address BETWEEN ?2 AND ?3 \
                    ORDER BY since, address LIMIT 1";
        let found = self.rows(rest, params![domain.as_str(), first, last])?;
        Ok(found.into_iter().next())
    }

    fn rows_within(&self, domain: &Domain, net: IpNet, state: Option<State>) -> Result<Vec<Row>, StoreError> {
        let (first, last) = bounds(net);
        let rest =
            "WHERE domain = ?1 AND address BETWEEN ?2 AND ?3 AND (?4 IS NULL OR state = ?4) ORDER BY address";
        self.rows(rest, params![domain.as_str(), first, last, state.map(state_number)])
    }

    fn in_use(&self, domain: &Domain, net: IpNet) -> Result<bool, StoreError> {
        let (first, last) = bounds(net);
        let sql = "SELECT EXISTS (SELECT 1 FROM addresses \
                   WHERE domain = ?1 AND address BETWEEN ?2 AND ?3 AND state <> 2)";
        let values = params![domain.as_str(), first, last];
        let run = || self.connection.prepare_cached(sql)?.query_row(values, |row| row.get(0));
        self.named(run())
    }

    fn usage_within(&self, domain: &Domain, net: IpNet) -> Result<Usage, StoreError> {
        let (first, last) = bounds(net);
        let sql = "SELECT count(*) FILTER (WHERE state = 0), count(*) FILTER (WHERE state = 1), \
                   count(*) FILTER (WHERE state >= 2) FROM addresses WHERE domain = ?1 AND address BETWEEN ?2 AND ?3";
        let read = |row: &rusqlite::Row<'_>| {
            let (assigned, cooling, reserved) = (number(row, 0)?, number(row, 1)?, number(row, 2)?);
            Ok(Usage { total: 0, assigned, cooling, reserved })
        };
        let values = params![domain.as_str(), first, last];
        let run = || self.connection.prepare_cached(sql)?.query_row(values, read);
        self.named(run())
    }

    fn next_generation(&mut self, above: Generation) -> Result<Generation, StoreError> {
        let sql = "UPDATE meta SET generation = max(generation, ?1) + 1 RETURNING generation";
        let read = |row: &rusqlite::Row<'_>| number(row, 0);
        let run = || self.connection.prepare_cached(sql)?.query_row([integer(above.0)], read);
        self.named(run()).map(Generation)
    }
}
