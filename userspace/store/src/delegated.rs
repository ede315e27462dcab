use naru_core::ids::AttachmentId;
use rusqlite::{Row, params};

use crate::{NodeStore, StoreError};

/// An attachment to which another IPAM plugin gave addresses, or was about to: everything that its DEL needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DelegatedLease {
    /// The attachment.
    pub id: AttachmentId,
    /// Name of the plugin, `ipam.type`.
    pub plugin: String,
    /// The configuration as the runtime sent it.
    pub conf: Vec<u8>,
    /// `CNI_ARGS` of the ADD.
    pub args: String,
    /// `CNI_PATH` of the ADD.
    pub path: String,
    /// The boot it was made in.
    pub boot_id: String,
    /// Time at which it was made, in milliseconds since that boot began.
    pub since: u64,
    /// The plugin's answer; `None` until there is one.
    pub result: Option<String>,
}

impl NodeStore {
    /// Notes a lease before its plugin is asked, and again with the plugin's answer.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn put_delegated(&mut self, lease: &DelegatedLease) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO delegated VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
        let (id, since) = (&lease.id, i64::try_from(lease.since).unwrap_or(i64::MAX));
        self.transact(|transaction| {
            let DelegatedLease { plugin, conf, args, path, boot_id, result, .. } = lease;
            let (network, container, ifname) = (id.network(), id.container(), id.ifname());
            let values =
                params![network, container, ifname, plugin, conf, args, path, boot_id, since, result];
            transaction.execute(sql, values).map(drop)
        })
    }

    /// Forgets a lease, after its plugin's DEL succeeded.
    ///
    /// # Errors
    /// The store cannot be written.
    pub fn forget_delegated(&mut self, id: &AttachmentId) -> Result<(), StoreError> {
        let sql = "DELETE FROM delegated WHERE network = ?1 AND container = ?2 AND ifname = ?3";
        self.transact(|transaction| {
            transaction.execute(sql, [id.network(), id.container(), id.ifname()]).map(drop)
        })
    }

    /// Every lease, by attachment.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn delegated(&self) -> Result<Vec<DelegatedLease>, StoreError> {
        let sql = "SELECT * FROM delegated ORDER BY network, container, ifname";
        Ok(self.select(sql, [], read)?.into_iter().flatten().collect())
    }

    /// The lease of one attachment.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn delegated_of(&self, id: &AttachmentId) -> Result<Option<DelegatedLease>, StoreError> {
        Ok(self.delegated()?.into_iter().find(|lease| lease.id == *id))
    }
}

/// Returns `None` for a row with invalid names: it cannot be ours.
fn read(row: &Row<'_>) -> rusqlite::Result<Option<DelegatedLease>> {
    let names: (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let Ok(id) = AttachmentId::new(names.0, names.1, names.2) else { return Ok(None) };
    Ok(Some(DelegatedLease {
        id,
        plugin: row.get(3)?,
        conf: row.get(4)?,
        args: row.get(5)?,
        path: row.get(6)?,
        boot_id: row.get(7)?,
        since: u64::try_from(row.get::<_, i64>(8)?).unwrap_or_default(),
        result: row.get(9)?,
    }))
}
