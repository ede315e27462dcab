use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use crate::{policies, services};

/// State that a source and the node that follows it share besides views. Clones are one contact.
#[derive(Clone, Debug)]
pub struct Contact {
    /// Seconds since 1970 at which the source was heard last; 0 before.
    heard: Arc<AtomicU64>,
    ready: watch::Sender<bool>,
    services: services::Register,
    policies: policies::Register,
}

impl Default for Contact {
    fn default() -> Self {
        Self {
            heard: Arc::default(),
            ready: watch::Sender::new(false),
            services: services::Register::default(),
            policies: policies::Register::default(),
        }
    }
}

impl Contact {
    /// Notes that the source was heard, news or not.
    pub fn hear(&self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.heard.store(now.as_secs(), Ordering::Relaxed);
    }

    /// The time at which the source was heard last.
    #[must_use]
    pub fn heard(&self) -> Option<SystemTime> {
        let seconds = self.heard.load(Ordering::Relaxed);
        (seconds > 0).then(|| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// Returns the register of the source's Services.
    #[must_use]
    pub const fn services(&self) -> &services::Register {
        &self.services
    }

    /// Returns the register of the source's policies.
    #[must_use]
    pub const fn policies(&self) -> &policies::Register {
        &self.policies
    }

    /// Notes whether the node serves pods.
    pub fn set_ready(&self, is_ready: bool) {
        self.ready.send_if_modified(|known| std::mem::replace(known, is_ready) != is_ready);
    }

    /// Returns a channel that holds true while the node serves pods.
    #[must_use]
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.subscribe()
    }
}
