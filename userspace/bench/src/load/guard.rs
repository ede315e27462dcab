use std::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::{
    fd::{AsFd, OwnedFd},
    net::{Shutdown, shutdown},
};

/// The sockets of a cell, to end it from outside: reads without a time limit cost the kernel no timer.
#[derive(Default)]
pub struct Guard {
    sockets: Mutex<Vec<OwnedFd>>,
    nudged: Mutex<Option<UdpSocket>>,
}

impl Guard {
    /// Ends this connection with the others.
    pub fn stream(&self, socket: &TcpStream) -> anyhow::Result<()> {
        self.keep(socket.try_clone()?.into());
        Ok(())
    }

    /// Ends this listener with the others.
    pub fn listener(&self, socket: &TcpListener) -> anyhow::Result<()> {
        self.keep(socket.try_clone()?.into());
        Ok(())
    }

    /// Ends this socket with the others.
    pub fn datagrams(&self, socket: &UdpSocket) -> anyhow::Result<()> {
        self.keep(socket.try_clone()?.into());
        Ok(())
    }

    /// Sends from this connected socket when a datagram was lost.
    pub fn replace_lost(&self, socket: &UdpSocket) -> anyhow::Result<()> {
        *lock(&self.nudged) = Some(socket.try_clone()?);
        Ok(())
    }

    /// Sends a datagram in place of a lost one.
    pub fn nudge(&self) {
        if let Some(socket) = &*lock(&self.nudged) {
            let _ = socket.send(b"x");
        }
    }

    /// Ends all of them; what waits on them returns.
    pub fn shut(&self) {
        for socket in lock(&self.sockets).iter() {
            let _ = shutdown(socket.as_fd(), Shutdown::Both);
        }
    }

    fn keep(&self, socket: OwnedFd) {
        lock(&self.sockets).push(socket);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
