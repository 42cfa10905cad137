//! Asks one server at a steady rate, open loop: the clock says when, not the answers, and a request's latency begins when it
//! was due, whether or not it could be sent then. Prints one line: answers, and in microseconds p50, p99 and p99.9 of the
//! latency, and p50, p99 and p99.9 of how late requests were sent, which the latency contains.
//!
//! `pace ADDRESS PATH RATE SECONDS CONNECTIONS SEED`. Requests come as from independent clients (a Poisson process); the same
//! seed gives the same schedule. What comes in the first half second warms up and is not counted. A request takes the
//! connection that was used last of those that are free, and waits where none is. One thread and one wait for all, so that
//! what it takes of the core that it shares with the upstream is little and the same for every server.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::process::exit;
use std::time::{Duration, Instant};

#[cfg_attr(target_arch = "x86_64", repr(C, packed))]
#[cfg_attr(not(target_arch = "x86_64"), repr(C))]
#[derive(Clone, Copy)]
struct Event {
    events: u32,
    number: u64,
}

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

unsafe extern "C" {
    fn epoll_create1(flags: i32) -> i32;
    fn epoll_ctl(epoll: i32, operation: i32, descriptor: i32, event: *const Event) -> i32;
    fn epoll_pwait2(epoll: i32, events: *mut Event, most: i32, wait: *const Timespec, mask: *const u8) -> i32;
    fn prctl(option: i32, value: u64) -> i32;
}

const PR_SET_TIMERSLACK: i32 = 29;
const EPOLL_CTL_ADD: i32 = 1;
const EPOLLIN: u32 = 1;
const WARM_UP: Duration = Duration::from_millis(500);
/// For the answers to what was sent last.
const PATIENCE: Duration = Duration::from_secs(5);

struct Connection {
    socket: TcpStream,
    /// When the request that it has was due.
    due: Option<Duration>,
    head: Vec<u8>,
    /// Bytes of the answer that have not come; None until its head has.
    left: Option<usize>,
}

fn fail(why: impl std::fmt::Display) -> ! {
    eprintln!("pace: {why}");
    exit(1)
}

/// The length of a head and the body after it. None while the head is not whole.
fn length(head: &[u8]) -> Option<usize> {
    let end = head.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
    if !text.starts_with("http/1.1 200") {
        fail(format_args!("answered: {}", text.lines().next().unwrap_or_default()));
    }
    let body = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    Some(end + body.unwrap_or_else(|| fail("an answer without a length")))
}

impl Connection {
    /// True once the answer is whole.
    fn read(&mut self, room: &mut [u8]) -> bool {
        loop {
            let read = match self.socket.read(room) {
                Ok(0) => fail("a connection was closed"),
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
                Err(error) => fail(error),
            };
            let left = match self.left {
                Some(left) => left.checked_sub(read),
                None => {
                    self.head.extend_from_slice(&room[..read]);
                    let Some(length) = length(&self.head) else { continue };
                    length.checked_sub(self.head.len())
                }
            };
            match left {
                None => fail("more came than was asked for"),
                Some(0) => {
                    (self.left, self.due) = (None, None);
                    self.head.clear();
                    return true;
                }
                left => self.left = left,
            }
        }
    }
}

/// Between 0 and 1 (splitmix64).
fn chance(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

fn percentiles(mut all: Vec<u64>) -> String {
    all.sort_unstable();
    let at = |part: f64| all[((all.len() as f64 * part).ceil() as usize).clamp(1, all.len()) - 1] as f64 / 1000.0;
    format!("{:.1} {:.1} {:.1}", at(0.5), at(0.99), at(0.999))
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, path, numbers @ ..] = &arguments[..] else { fail("wants an address and a path") };
    let numbers: Vec<u64> = numbers.iter().filter_map(|number| number.parse().ok()).collect();
    let [rate, seconds, connections @ 1..=1000, mut seed] = numbers[..] else {
        fail("wants a rate, seconds, up to 1,000 connections and a seed")
    };
    let request = format!("GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n");
    // SAFETY: numbers alone. Waits are to end when they should, and not up to 50 us later.
    unsafe { prctl(PR_SET_TIMERSLACK, 1) };
    // SAFETY: as above.
    let epoll = unsafe { epoll_create1(0) };
    let mut all: Vec<Connection> = (0..connections)
        .map(|number| {
            let socket = TcpStream::connect(address).unwrap_or_else(|error| fail(error));
            socket.set_nodelay(true).and_then(|()| socket.set_nonblocking(true)).unwrap_or_else(|error| fail(error));
            let event = Event { events: EPOLLIN, number };
            // SAFETY: the event lives through the call.
            if unsafe { epoll_ctl(epoll, EPOLL_CTL_ADD, socket.as_raw_fd(), &event) } != 0 {
                fail(std::io::Error::last_os_error());
            }
            Connection { socket, due: None, head: Vec::new(), left: None }
        })
        .collect();
    let mut free: Vec<usize> = (0..all.len()).collect();
    let (mut latencies, mut lateness) = (Vec::new(), Vec::new());
    let mut events = [Event { events: 0, number: 0 }; 64];
    let mut room = vec![0; 64 * 1024];
    let end = WARM_UP + Duration::from_secs(seconds);
    let mut next = Duration::ZERO;
    let start = Instant::now();
    loop {
        let mut now = start.elapsed();
        while next <= now && next < end {
            let Some(number) = free.pop() else { break };
            let one = &mut all[number];
            // A request is so small that there is always room for it.
            if !one.socket.write(request.as_bytes()).is_ok_and(|written| written == request.len()) {
                fail("a request could not be sent");
            }
            one.due = Some(next);
            if next >= WARM_UP {
                lateness.push((now - next).as_nanos() as u64);
            }
            next += Duration::from_secs_f64(-(1.0 - chance(&mut seed)).ln() / rate.max(1) as f64);
            now = start.elapsed();
        }
        if next >= end && free.len() == all.len() {
            break;
        }
        if now > end + PATIENCE {
            fail("no answer");
        }
        // Where no connection is free, an answer is what is waited for.
        let wait = if next >= end || free.is_empty() { PATIENCE } else { next.saturating_sub(now) };
        let wait = Timespec { seconds: wait.as_secs() as i64, nanoseconds: wait.subsec_nanos().into() };
        // SAFETY: room for as many events as is said, and a time that lives through the call; no mask.
        let count = unsafe { epoll_pwait2(epoll, events.as_mut_ptr(), events.len() as i32, &wait, std::ptr::null()) };
        for event in events.iter().take(usize::try_from(count).unwrap_or(0)) {
            let number = event.number as usize;
            let Some(due) = all[number].due else {
                match all[number].socket.read(&mut room) {
                    Ok(0) => fail("a connection without a request was closed"),
                    Ok(read) => fail(format_args!("no request, but an answer: {}", room[..read].escape_ascii())),
                    Err(error) => fail(format_args!("a connection without a request: {error}")),
                }
            };
            if all[number].read(&mut room) {
                if due >= WARM_UP {
                    latencies.push((start.elapsed() - due).as_nanos() as u64);
                }
                free.push(number);
            }
        }
    }
    if latencies.is_empty() {
        fail("nothing was asked");
    }
    println!("{} {} {}", latencies.len(), percentiles(latencies.clone()), percentiles(lateness));
}
