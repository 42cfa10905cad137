//! Samples the processes of a visit, only while told to: counters in the kernel, and a thread that empties their rings.

use super::events::{Event, PERIOD_NS, Ring, Wanted};
use super::record::{Record, records};
use super::resolve::{Library, Place, Process};
use super::stacks::{Of, Stacks};
use crate::model::profile::{Profile, ProfileVisit, WorkUnit};
use crate::model::{BenchmarkId, Side};
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// A ring holds 60 ms of samples; a machine that is busy wakes us late.
const EMPTIED_EVERY: Duration = Duration::from_millis(5);
/// Counters of one session: a descriptor for each thread and core, and most processes may have 1,024.
const EVENTS_MAX: usize = 768;
/// How often a process's mappings are read again, when something runs that they do not have.
const LOOKS_MAX: u32 = 50;
/// Processes below one that is sampled.
const PROCESSES_MAX: usize = 256;

/// What samples one side: its processes, and where their files are.
#[derive(Clone, Debug)]
pub struct Subject {
    pub side: Side,
    /// As this process sees them; what they have started already is sampled with them, and what they will start.
    pub processes: Vec<u32>,
    pub places: Vec<Place>,
}

/// When sampling begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// By [`Session::enable`].
    WhenEnabled,
    /// When the process becomes another program.
    OnExec,
}

/// Whether this machine lets us sample at all: else why not, and what would allow it.
pub fn available() -> Result<(), String> {
    let core = crate::load::affinity::current().ok().and_then(|cores| cores.first().copied()).unwrap_or(0);
    open(0, core, false, Begin::WhenEnabled).map(drop).map_err(|error| refusal(&error))
}

/// All that was sampled of one benchmark, visit by visit.
#[derive(Default)]
pub struct Recorder {
    stacks: Stacks,
    library: Library,
    visits: Vec<ProfileVisit>,
    kernel: Option<bool>,
    lost: u64,
}

impl Recorder {
    pub fn shared() -> Arc<Mutex<Recorder>> {
        Arc::default()
    }

    /// The work that the visit's sides did, once it is over.
    pub fn visited(&mut self, visit: ProfileVisit) {
        self.visits.push(visit);
    }

    pub fn visits(&self) -> usize {
        self.visits.len()
    }

    pub fn samples(&self, side: Side) -> u64 {
        self.stacks.samples(side)
    }

    pub fn into_profile(self, suite: &str, benchmark: &BenchmarkId, unit: WorkUnit) -> Profile {
        let of = Of {
            suite: suite.to_owned(),
            benchmark: benchmark.clone(),
            unit,
            period_ns: PERIOD_NS,
            kernel: self.kernel.unwrap_or(false),
        };
        let all = self.stacks.samples(Side::Base) + self.stacks.samples(Side::Head);
        let mut profile = self.stacks.into_profile(of, self.visits);
        if self.lost > 0 {
            profile.notes.push(format!("{} samples were lost beside {all}: the machine was busy", self.lost));
        }
        for name in self.library.nameless {
            profile
                .notes
                .push(format!("{name} has no symbols (is it stripped?), so its functions have no names"));
        }
        if !profile.kernel {
            profile.notes.push("time in the kernel was not sampled: that is not allowed here".into());
        }
        profile
    }
}

/// Ends a recorder that nobody else holds any more.
pub fn recorded(recorder: Arc<Mutex<Recorder>>) -> Recorder {
    std::mem::take(&mut *lock(&recorder))
}

/// Processes that are sampled. Dropped, they no longer are.
pub struct Session {
    /// By side.
    events: [Vec<Event>; 2],
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Session {
    /// Gives every thread of the subjects a counter on each core that it may run on.
    pub fn attach(
        recorder: &Arc<Mutex<Recorder>>,
        subjects: &[Subject],
        begin: Begin,
    ) -> Result<Session, String> {
        let visit = u32::try_from(lock(recorder).visits.len()).unwrap_or(u32::MAX);
        let mut attached = Attached::default();
        let kernel = lock(recorder).kernel;
        for (number, subject) in subjects.iter().enumerate() {
            let at = attached.subject(subject, number, kernel, begin);
            at.map_err(|error| refusal(&error))?;
        }
        if attached.events.iter().all(Vec::is_empty) {
            return Err("what should be sampled has ended".into());
        }
        lock(recorder).kernel = attached.kernel;
        let done = Arc::new(AtomicBool::new(false));
        let mut collector = Collector {
            recorder: recorder.clone(),
            rings: attached.rings.into_values().collect(),
            of_event: attached.of_event,
            subjects: subjects.to_vec(),
            processes: HashMap::new(),
            visit,
        };
        if begin == Begin::WhenEnabled {
            collector.know_all();
        }
        let stop = done.clone();
        let thread = std::thread::Builder::new().name("samples".into()).spawn(move || {
            while !stop.load(Ordering::Acquire) {
                std::thread::sleep(EMPTIED_EVERY);
                collector.collect();
            }
            collector.collect();
        });
        let thread = thread.map_err(|error| format!("no thread to collect samples: {error}"))?;
        Ok(Session {
            events: attached.events.map(|events| events.into_iter().map(|(event, _)| event).collect()),
            done,
            thread: Some(thread),
        })
    }

    pub fn enable(&self, side: Side) -> io::Result<()> {
        self.events[side as usize].iter().try_for_each(Event::enable)
    }

    pub fn disable(&self, side: Side) -> io::Result<()> {
        self.events[side as usize].iter().try_for_each(Event::disable)
    }

    /// Takes in what is still in the rings.
    pub fn finish(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.done.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            // A collector that panicked has left its samples; there is nobody else to tell.
            let _ = thread.join();
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.end();
    }
}

/// Counters that were opened, and where they write to.
#[derive(Default)]
struct Attached {
    /// With their cores.
    events: [Vec<(Event, usize)>; 2],
    rings: HashMap<usize, Ring>,
    /// Number of the subject, by the counter's id.
    of_event: HashMap<u64, usize>,
    kernel: Option<bool>,
}

impl Attached {
    fn subject(
        &mut self,
        subject: &Subject,
        number: usize,
        kernel: Option<bool>,
        begin: Begin,
    ) -> io::Result<()> {
        self.kernel = self.kernel.or(kernel);
        for thread in threads(&subject.processes) {
            for core in cores_of(thread) {
                if self.of_event.len() >= EVENTS_MAX {
                    return Ok(());
                }
                let event = match self.open(thread, core, begin) {
                    Ok(event) => event,
                    // It ended meanwhile; or the core is not there.
                    Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENODEV)) => {
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                self.of_event.insert(event.id, number);
                let first = self.events.iter().flatten().find(|(_, of)| *of == core);
                match first {
                    Some((first, _)) => event.write_to(first)?,
                    None => drop(self.rings.insert(core, Ring::of(&event)?)),
                }
                self.events[subject.side as usize].push((event, core));
            }
        }
        Ok(())
    }

    /// With the kernel's part where that is allowed, for all or none.
    fn open(&mut self, thread: u32, core: usize, begin: Begin) -> io::Result<Event> {
        if let Some(kernel) = self.kernel {
            return open(thread, core, kernel, begin);
        }
        let with = open(thread, core, true, begin);
        let refused = with.as_ref().err().and_then(io::Error::raw_os_error);
        match refused {
            Some(libc::EACCES | libc::EPERM) => {
                let without = open(thread, core, false, begin)?;
                self.kernel = Some(false);
                Ok(without)
            }
            Some(_) => with,
            None => {
                self.kernel = Some(true);
                with
            }
        }
    }
}

fn open(thread: u32, core: usize, kernel: bool, begin: Begin) -> io::Result<Event> {
    Event::open(Wanted { thread, core, kernel, on_exec: begin == Begin::OnExec })
}

/// Empties the rings and makes functions of what is in them.
struct Collector {
    recorder: Arc<Mutex<Recorder>>,
    rings: Vec<Ring>,
    of_event: HashMap<u64, usize>,
    subjects: Vec<Subject>,
    processes: HashMap<u32, Process>,
    visit: u32,
}

impl Collector {
    /// Looks at all processes while they are there.
    fn know_all(&mut self) {
        let mut recorder = lock(&self.recorder);
        for subject in &self.subjects {
            for process in family(&subject.processes) {
                let known = Process::of(process, &subject.places, &mut recorder.library);
                self.processes.insert(process, known);
            }
        }
    }

    fn collect(&mut self) {
        let mut bytes = Vec::new();
        self.rings.iter_mut().for_each(|ring| ring.drain(&mut bytes));
        if bytes.is_empty() {
            return;
        }
        let mut recorder = lock(&self.recorder);
        for record in records(&bytes) {
            let sample = match record {
                Record::Sample(sample) => sample,
                Record::Lost(count) => {
                    recorder.lost = recorder.lost.saturating_add(count);
                    continue;
                }
            };
            let Some(subject) = self.of_event.get(&sample.event).and_then(|at| self.subjects.get(*at)) else {
                continue;
            };
            let full = self.processes.len() >= PROCESSES_MAX;
            if full && !self.processes.contains_key(&sample.process) {
                recorder.stacks.add(subject.side, self.visit, &["[a process too many]"]);
                continue;
            }
            let process = self
                .processes
                .entry(sample.process)
                .or_insert_with(|| Process::of(sample.process, &subject.places, &mut recorder.library));
            // Loaded since, or another program by now.
            if !process.knows(&sample) && process.looked < LOOKS_MAX {
                let looked = process.looked + 1;
                *process = Process::of(sample.process, &subject.places, &mut recorder.library);
                process.looked = looked;
            }
            let functions = process.functions(&sample);
            recorder.stacks.add(subject.side, self.visit, &functions);
        }
    }
}

fn lock(recorder: &Mutex<Recorder>) -> MutexGuard<'_, Recorder> {
    recorder.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Processes and all below them.
fn family(processes: &[u32]) -> Vec<u32> {
    let mut all: Vec<u32> = Vec::new();
    let mut open = processes.to_vec();
    while let Some(process) = open.pop() {
        if all.contains(&process) || all.len() >= PROCESSES_MAX {
            continue;
        }
        all.push(process);
        for thread in tasks(process) {
            let children = std::fs::read_to_string(format!("/proc/{process}/task/{thread}/children"));
            let children = children.unwrap_or_default();
            open.extend(children.split_ascii_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    all
}

fn threads(processes: &[u32]) -> Vec<u32> {
    family(processes).into_iter().flat_map(tasks).collect()
}

fn tasks(process: u32) -> Vec<u32> {
    let Ok(tasks) = std::fs::read_dir(format!("/proc/{process}/task")) else { return vec![] };
    tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse().ok()).collect()
}

/// The cores that a thread may run on, by `Cpus_allowed_list`: `0-3,8`.
fn cores_of(thread: u32) -> Vec<usize> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    cores(list.unwrap_or_default())
}

fn cores(list: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<usize>().ok()?..=last.trim().parse().ok()?)
    };
    list.split(',').filter_map(range).flatten().take(EVENTS_MAX).collect()
}

/// Why sampling is refused, and what would allow it.
fn refusal(error: &io::Error) -> String {
    let why = match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => {
            let level = std::fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").unwrap_or_default();
            format!(
                "the kernel does not allow it (kernel.perf_event_paranoid is {}): `sysctl kernel.perf_event_paranoid=2` does; \
                 in a container it needs the capability PERFMON, and a seccomp profile that lets perf_event_open pass",
                level.trim()
            )
        }
        Some(libc::ENOENT | libc::ENOSYS | libc::EOPNOTSUPP) => {
            "this kernel was built without perf events (CONFIG_PERF_EVENTS)".into()
        }
        Some(libc::EMFILE | libc::ENFILE) => {
            "it would take more open files than are allowed: raise `ulimit -n`".into()
        }
        _ => error.to_string(),
    };
    format!("functions cannot be sampled: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores() {
        assert_eq!(cores(" 0-3,8"), [0, 1, 2, 3, 8]);
        assert_eq!(cores("5"), [5]);
        assert_eq!(cores(""), Vec::<usize>::new());
        assert!(cores("0-4294967295").len() <= EVENTS_MAX);
        assert!(!cores_of(std::process::id()).is_empty());
    }

    #[test]
    fn a_refusal_says_what_would_allow_it() {
        let said = |code| refusal(&io::Error::from_raw_os_error(code));
        assert!(said(libc::EACCES).contains("sysctl kernel.perf_event_paranoid=2"));
        assert!(said(libc::ENOSYS).contains("CONFIG_PERF_EVENTS"));
        assert!(said(libc::EMFILE).contains("ulimit -n"));
    }

    #[test]
    fn what_has_ended_cannot_be_sampled() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let id = child.id();
        child.wait().unwrap();
        let subject = Subject { side: Side::Head, processes: vec![id], places: vec![] };
        let outcome = Session::attach(&Recorder::shared(), &[subject], Begin::WhenEnabled);
        assert!(outcome.err().unwrap().contains("has ended"));
    }
}
