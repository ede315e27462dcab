//! A wire between an API server and its store that can be held up: the server lags then.

use std::{
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// The wire; it hands nothing on after it is dropped.
pub struct Wire {
    address: SocketAddr,
    is_held: Arc<AtomicBool>,
}

impl Wire {
    /// A wire to `end`.
    pub fn new(end: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let wire = Self { address: listener.local_addr().unwrap(), is_held: Arc::default() };
        let is_held = wire.is_held.clone();
        thread::spawn(move || {
            for near in listener.incoming() {
                let (Ok(near), Ok(far)) = (near, TcpStream::connect(end)) else { continue };
                let (near_too, far_too) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let held = is_held.clone();
                thread::spawn(move || pump(near, far, &held));
                let held = is_held.clone();
                thread::spawn(move || pump(far_too, near_too, &held));
            }
        });
        wire
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Holds everything up, or lets it go on.
    pub fn hold(&self, is_held: bool) {
        self.is_held.store(is_held, Ordering::Relaxed);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.hold(false);
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, is_held: &AtomicBool) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(count) = from.read(&mut buffer) {
        while is_held.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(10));
        }
        if count == 0 || to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}
