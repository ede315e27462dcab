use naru_core::ids::stable_hash;
use naru_netlink::nft::{Batch, Chain, NftError, Socket, TableContent};

use super::{rules::MARK, table};

/// Prefix of the name of the chain that seals the table. The kernel lists rules in another form than they were written,
/// so a hash of the listing of the new table is kept in the name of a chain without rules.
const SEAL: &str = "seal_";

/// The table as it is.
pub struct Live(pub TableContent);

impl Live {
    /// Looks at the table; `None` where there is none.
    pub fn read(socket: &mut Socket) -> Result<Option<Self>, NftError> {
        Ok(socket.content(&table())?.map(Self))
    }

    /// The name of the chain that seals the table as it is.
    fn seal(&self) -> String {
        format!("{SEAL}{:016x}", stable_hash(&self.0.bytes(is_seal), 0))
    }

    /// The change that seals it.
    pub fn sealing(&self) -> Batch {
        let mut batch = Batch::new();
        batch.add_chain(&table(), &Chain { name: &self.seal(), hook: None });
        batch
    }

    /// Returns true if nobody changed it since it was sealed.
    pub fn is_sealed(&self) -> bool {
        let mut seals = self.0.chains.iter().filter(|name| is_seal(name));
        seals.next() == Some(&self.seal()) && seals.next().is_none()
    }

    /// Returns true if it was made for this mark.
    pub fn has_mark(&self, mark: &str) -> bool {
        self.0.comments.iter().find(|comment| comment.starts_with(MARK)).is_some_and(|found| found == mark)
    }
}

fn is_seal(chain: &str) -> bool {
    chain.starts_with(SEAL)
}
