use super::LinkError;

/// A blocking rtnetlink socket.
#[derive(Debug)]
pub struct Socket {}

impl Socket {
    /// A socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, LinkError> {
        todo!()
    }
}
