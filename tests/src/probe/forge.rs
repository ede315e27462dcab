//! Packets of a hostile pod, and a listener that tells if any of them arrives.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context;

use super::socket::Raw;
use crate::netns::{Netns, Task};

/// Sends whole frames from the interface `link` of `netns`.
///
/// # Errors
/// The socket fails.
pub fn send_frames(netns: &Netns, link: &str, frames: &[Vec<u8>]) -> anyhow::Result<()> {
    netns.run(|| {
        let socket = Raw::frames(link).with_context(|| format!("link {link}: open a packet socket"))?;
        frames.iter().try_for_each(|frame| socket.send(frame).with_context(|| format!("link {link}: send")))
    })
}

/// Listens on every frame that an interface sees.
#[derive(Debug)]
pub struct Listener {
    stop: Arc<AtomicBool>,
    task: Task<usize>,
}

impl Listener {
    /// Counts frames with `marker` anywhere in them that arrive at `link` of `netns`, from now on.
    ///
    /// # Errors
    /// The socket fails.
    pub fn start(netns: &Netns, link: &str, marker: &[u8]) -> anyhow::Result<Self> {
        let socket = netns.run(|| Raw::frames(link).with_context(|| format!("link {link}: listen")))?;
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, marker) = (Arc::clone(&stop), marker.to_vec());
        let task = netns.spawn(move || count(&socket, &marker, &stopped));
        Ok(Self { stop, task })
    }

    /// Waits a moment for late frames and returns the number of frames.
    ///
    /// # Errors
    /// The socket failed.
    pub fn stop(self) -> anyhow::Result<usize> {
        std::thread::sleep(Duration::from_millis(300));
        self.stop.store(true, Ordering::Relaxed);
        self.task.join()
    }
}

fn count(socket: &Raw, marker: &[u8], stop: &AtomicBool) -> anyhow::Result<usize> {
    let mut buffer = vec![0; 66_000];
    let mut seen = 0;
    while !stop.load(Ordering::Relaxed) {
        let end = Instant::now() + Duration::from_millis(50);
        if let Some(frame) = socket.receive_frame(&mut buffer, end).context("listen")? {
            seen += usize::from(frame.windows(marker.len()).any(|window| window == marker));
        }
    }
    Ok(seen)
}
