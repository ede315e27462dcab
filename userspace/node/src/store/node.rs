#![expect(clippy::todo, reason = "signatures first; bodies follow within the hour")]
use std::path::Path;

use ipnet::IpNet;

use super::StoreError;

/// Who the node is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Random, made at the first start, the node's for ever; written like a UUID.
    pub uid: String,
    /// Its name, which may change.
    pub name: String,
}

/// `<state>/node.db`: what survives a reboot. Every write is on the disk when the call returns.
#[derive(Debug)]
pub struct NodeStore {}

impl NodeStore {
    /// Opens the store, and makes it when it is missing.
    pub fn open(_path: &Path) -> Result<Self, StoreError> {
        todo!()
    }

    /// Who the node is; makes the identity at the first call and keeps the name up to date.
    pub fn identity(&mut self, _name: &str) -> Result<Identity, StoreError> {
        todo!()
    }

    /// The node's blocks as last set.
    pub fn blocks(&self) -> Result<Vec<IpNet>, StoreError> {
        todo!()
    }

    /// Replaces the node's blocks.
    pub fn set_blocks(&mut self, _blocks: &[IpNet]) -> Result<(), StoreError> {
        todo!()
    }

    /// The boot under which the node was initialised last.
    pub fn last_boot(&self) -> Result<Option<String>, StoreError> {
        todo!()
    }

    /// Notes the boot under which the node is initialised.
    pub fn set_last_boot(&mut self, _boot_id: &str) -> Result<(), StoreError> {
        todo!()
    }

    /// Notes what a thing of the host was before naru changed it, unless that is noted already. Call it before
    /// the change. Returns whether the note is new.
    pub fn journal_once(&mut self, _key: &str, _before: &str) -> Result<bool, StoreError> {
        todo!()
    }

    /// What the thing was before.
    pub fn journal_get(&self, _key: &str) -> Result<Option<String>, StoreError> {
        todo!()
    }

    /// Every note whose key begins with `prefix`, newest first: the order in which to undo.
    pub fn journal(&self, _prefix: &str) -> Result<Vec<(String, String)>, StoreError> {
        todo!()
    }

    /// Forgets a note, after the thing was put back. Returns what it said.
    pub fn journal_take(&mut self, _key: &str) -> Result<Option<String>, StoreError> {
        todo!()
    }

    /// Notes or replaces a value that is not a change of the host.
    pub fn put(&mut self, _key: &str, _value: &str) -> Result<(), StoreError> {
        todo!()
    }

    /// A value noted with [`NodeStore::put`].
    pub fn value(&self, _key: &str) -> Result<Option<String>, StoreError> {
        todo!()
    }
}
