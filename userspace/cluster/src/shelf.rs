//! What a source writes and one thread of the node reads, whenever there is news.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Content that knows whether its reader has seen it.
pub trait Content {
    /// Returns true if there is something for the reader.
    fn is_news(&self) -> bool;
}

/// The content and its reader's bell.
#[derive(Debug, Default)]
pub struct Shelf<T> {
    content: Mutex<T>,
    changed: Condvar,
}

impl<T: Content> Shelf<T> {
    /// Changes the content, and wakes the reader if that is news to it. Returns what `change` does.
    pub fn change<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut content = self.lock();
        let result = change(&mut content);
        if content.is_news() {
            self.changed.notify_all();
        }
        result
    }

    /// Waits for news, for at most so long.
    pub fn wait(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let mut content = self.lock();
        while !content.is_news() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            content = self.changed.wait_timeout(content, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The content, for whoever holds it no longer than a look takes.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        // Nothing that holds the lock can panic half-way through a change.
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
