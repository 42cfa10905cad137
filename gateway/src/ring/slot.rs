//! One connection of a ring: what is known of it, and what of it needs no ring.

use crate::sys::uring::Chunk;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::task::{Poll, Waker};
use tokio::time::Instant;

pub(super) struct Slot {
    /// None once it is closed, and the slot free.
    pub(super) socket: Option<TcpStream>,
    pub(super) unread: VecDeque<Unread>,
    /// Nothing more will come.
    pub(super) end: Option<End>,
    pub(super) wish: Wish,
    /// There may be something that only a system call would find.
    pub(super) may_read: bool,
    /// Whoever writes waits for the kernel to say that there is room.
    pub(super) awaits_room: bool,
    /// The kernel has bytes of this connection that it has not sent.
    pub(super) is_sending: bool,
    /// The number of the error with which sending has failed.
    pub(super) broken: Option<i32>,
    pub(super) sends: u32,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    /// Nobody has it any more.
    pub(super) is_closing: bool,
    /// When what is being sent is given up.
    pub(super) given_up_at: Option<Instant>,
}

pub(super) struct Unread {
    pub(super) chunk: Chunk,
    pub(super) from: usize,
}

#[derive(Clone, Copy)]
pub(super) enum End {
    /// Of all that the other side had to say.
    Of,
    /// The number of an error.
    Failed(i32),
}

/// What the kernel was asked to tell of what comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    None,
    Receive,
    Watch,
    /// Was taken back, and is not answered yet.
    TakenBack,
}

impl Slot {
    pub(super) fn new(socket: TcpStream) -> Slot {
        Slot {
            socket: Some(socket),
            unread: VecDeque::new(),
            end: None,
            wish: Wish::None,
            may_read: false,
            awaits_room: false,
            is_sending: false,
            broken: None,
            sends: 0,
            reader: None,
            writer: None,
            is_closing: false,
            given_up_at: None,
        }
    }

    /// Reads by a system call; pending where there is nothing.
    pub(super) fn read_now(&mut self, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let Some(mut socket) = self.socket.as_ref() else { return Poll::Ready(Ok(0)) };
        loop {
            match socket.read(into) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => {
                    self.end = error.raw_os_error().map(End::Failed);
                    return Poll::Ready(Err(error));
                }
                Ok(0) if !into.is_empty() => {
                    self.end = Some(End::Of);
                    return Poll::Ready(Ok(0));
                }
                Ok(bytes) => {
                    // What did not fill the room was all.
                    self.may_read = bytes == into.len();
                    return Poll::Ready(Ok(bytes));
                }
            }
        }
    }

    /// Writes by a system call; pending where there is no room.
    pub(super) fn write_now(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(mut socket) = self.socket.as_ref() else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        loop {
            match socket.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                written => return Poll::Ready(written),
            }
        }
    }
}

/// Notes a task down to be woken, or nobody.
pub(super) fn note(noted: &mut Option<Waker>, task: Option<&Waker>) {
    match (noted, task) {
        (Some(noted), Some(task)) if noted.will_wake(task) => {}
        (noted, task) => *noted = task.cloned(),
    }
}
