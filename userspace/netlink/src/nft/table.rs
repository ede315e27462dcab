use super::{Batch, TableName, message::kind};

impl Batch {
    /// Adds the table, unless it is there already.
    pub fn add_table(&mut self, table: &TableName) {
        let what = format!("nftables table {table}: add");
        self.push(table, kind::NEW_TABLE, 0, table.attributes(), what);
    }

    /// Deletes the table with everything in it.
    pub fn delete_table(&mut self, table: &TableName) {
        let what = format!("nftables table {table}: delete");
        self.push(table, kind::DELETE_TABLE, 0, table.attributes(), what);
    }
}
