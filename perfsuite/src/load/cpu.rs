//! CPU time of a process and its descendants, read from outside through `/proc`.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Processes and threads that one server may have before we stop looking: a bound on the walk, not on the server.
const PROCESSES_MAX: usize = 1_024;
const THREADS_MAX: usize = 8_192;
/// Ticks a second in `/proc/PID/stat`: `USER_HZ`, 100 on every architecture that Rust's Linux targets have.
const USER_HZ: u64 = 100;

/// CPU time spent so far, by thread where the kernel counts it in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CpuReading {
    threads_ns: BTreeMap<(u32, u32), u64>,
    /// User and system of all threads that ever were, in ticks, with waited-for children.
    ticks: BTreeMap<u32, u64>,
}

impl CpuReading {
    /// Reads `pid` and everything below it. An error when `pid` is gone.
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut reading = Self::default();
        reading.ticks.insert(pid, ticks_of(pid)?);
        let mut open = vec![pid];
        while let Some(pid) = open.pop() {
            let Ok(tasks) = fs::read_dir(process(pid).join("task")) else { continue };
            for task in tasks.flatten() {
                let Some(tid) = task.file_name().to_str().and_then(|t| t.parse::<u32>().ok()) else {
                    continue;
                };
                if reading.threads_ns.len() >= THREADS_MAX {
                    break;
                }
                if let Some(ns) = nanoseconds_of(&task.path()) {
                    reading.threads_ns.insert((pid, tid), ns);
                }
                for child in children_of(&task.path()) {
                    if reading.ticks.len() >= PROCESSES_MAX || reading.ticks.contains_key(&child) {
                        continue;
                    }
                    if let Ok(ticks) = ticks_of(child) {
                        reading.ticks.insert(child, ticks);
                        open.push(child);
                    }
                }
            }
        }
        Ok(reading)
    }

    /// Nanoseconds spent between `before` and `self`. Thread by thread as long as none has ended in between (its
    /// nanoseconds end with it); else by the process's ticks, which keep ended threads but are 10 ms wide.
    pub fn since(&self, before: &Self) -> u64 {
        let ended = before.threads_ns.keys().any(|thread| !self.threads_ns.contains_key(thread));
        if !ended && !self.threads_ns.is_empty() {
            let spent = |(thread, ns): (_, &u64)| {
                ns.saturating_sub(before.threads_ns.get(thread).copied().unwrap_or(0))
            };
            return self.threads_ns.iter().map(spent).sum();
        }
        let spent = |(pid, t): (_, &u64)| t.saturating_sub(before.ticks.get(pid).copied().unwrap_or(0));
        self.ticks.iter().map(spent).sum::<u64>() * (1_000_000_000 / USER_HZ)
    }

    /// The processes that were found, the asked one among them.
    pub fn processes(&self) -> impl Iterator<Item = u32> + '_ {
        self.ticks.keys().copied()
    }
}

/// The largest resident memory that `pid` ever had, in bytes; `None` when it is gone.
pub fn memory_peak_bytes(pid: u32) -> Option<u64> {
    memory(pid, "VmHWM:")
}

/// The memory that these processes hold now; `None` when one of them is gone.
pub fn resident_bytes(pids: impl Iterator<Item = u32>) -> Option<u64> {
    pids.map(|pid| memory(pid, "VmRSS:")).sum()
}

fn memory(pid: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(process(pid).join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// CPU time that this thread has spent so far; `None` where the kernel does not count it in nanoseconds.
pub fn own_thread_ns() -> Option<u64> {
    nanoseconds_of(Path::new("/proc/thread-self"))
}

fn process(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}"))
}

fn nanoseconds_of(task: &Path) -> Option<u64> {
    fs::read_to_string(task.join("schedstat")).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

fn children_of(task: &Path) -> Vec<u32> {
    let text = fs::read_to_string(task.join("children")).unwrap_or_default();
    text.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn ticks_of(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(process(pid).join("stat"))?;
    // The command's name may hold anything, spaces and brackets too: fields are counted after its last bracket.
    let after = stat.rfind(')').map_or("", |at| &stat[at + 1..]);
    // utime, stime, cutime, cstime are fields 14 to 17; the first one after the name is field 3.
    let fields = after.split_ascii_whitespace().skip(11).take(4).map(str::parse::<u64>);
    let times: Vec<u64> =
        fields.collect::<Result<_, _>>().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
    if times.len() == 4 {
        Ok(times.iter().sum())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, format!("/proc/{pid}/stat is too short")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        process::{Child, Command, Stdio},
        thread,
        time::Duration,
    };

    struct Busy(Child);

    impl Drop for Busy {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    fn run(script: &str) -> Busy {
        let child = Command::new("sh").args(["-c", script]).stdin(Stdio::piped()).spawn().expect("sh runs");
        Busy(child)
    }

    /// Waits until `pid` has used up some CPU; panics when it never does.
    fn spent_some(pid: u32) -> u64 {
        let before = CpuReading::of(pid).unwrap();
        for _ in 0..500 {
            thread::sleep(Duration::from_millis(10));
            let spent = CpuReading::of(pid).unwrap().since(&before);
            if spent > 5_000_000 {
                return spent;
            }
        }
        panic!("no CPU time was seen in five seconds");
    }

    #[test]
    fn a_busy_child_spends() {
        let busy = run("while :; do :; done");
        assert!(spent_some(busy.0.id()) > 0);
        let resident = resident_bytes([busy.0.id()].into_iter()).unwrap();
        assert!(resident > 0 && memory_peak_bytes(busy.0.id()).unwrap() >= resident);
    }

    #[test]
    fn a_busy_grandchild_counts_for_its_grandparent() {
        // `read` waits on our pipe and ends with it, so the grandchild cannot outlive the test for long.
        let mut busy = run("(while :; do :; done) & spinner=$!; read line; kill $spinner");
        assert!(spent_some(busy.0.id()) > 0);
        drop(busy.0.stdin.take());
        let _ = busy.0.wait();
    }

    #[test]
    fn ended_threads_fall_back_to_ticks() {
        let before = CpuReading { threads_ns: [((1, 1), 10), ((1, 2), 20)].into(), ticks: [(1, 100)].into() };
        let after = CpuReading { threads_ns: [((1, 1), 50)].into(), ticks: [(1, 103)].into() };
        assert_eq!(after.since(&before), 30_000_000);
        let grown = CpuReading { threads_ns: [((1, 1), 50), ((1, 3), 7)].into(), ticks: [(1, 103)].into() };
        let start = CpuReading { threads_ns: [((1, 1), 10)].into(), ticks: [(1, 100)].into() };
        assert_eq!(grown.since(&start), 47);
    }

    #[test]
    fn ones_own_time_grows() {
        let before = own_thread_ns().unwrap();
        let begun = std::time::Instant::now();
        while own_thread_ns().unwrap() == before {
            assert!(begun.elapsed() < Duration::from_secs(60), "a busy thread spends nothing");
        }
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = child.id();
        child.wait().unwrap();
        assert!(CpuReading::of(pid).is_err());
    }
}
