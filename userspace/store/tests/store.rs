//! The node's stores as other processes use them.
#![expect(clippy::unwrap_used, reason = "a test whose scene cannot be set fails")]

mod store {
    mod contents;
    mod cost;
    mod disks;
    mod files;
    mod fuse;
    mod fuzz;
    mod identity;
    mod processes;
    mod scene;
}
