//! The conversation with whoever drives this process: lines in and out on what it was given as standard input and
//! output. The bench itself sees other descriptors there (`system`).
//!
//! `PACELINE_DUET` says what for. `list`: every benchmark is announced and none is run. `drive`: the one that
//! `PACELINE_DUET_BENCHMARK` names is run on command. `PACELINE_DUET_SEED` fixes the seeds of hash maps.
//!
//! | in | out | |
//! |---|---|---|
//! | | `image ADDRESS` | `list`: where this executable is loaded |
//! | | `main` | `list`: criterion's own `main` has begun |
//! | | `benchmark ADDRESS KIND ID` | `list`: the entry function, `time` or `other` for the measurement, the id |
//! | | `over` | `list`: it has come to its end, so that nothing more would be announced |
//! | | `ready CALLS` | `drive`: the benchmark is reached; its closure was run once and called `iter` so often |
//! | `state` | `at` | the closure runs afresh, up to its last call of `iter` |
//! | `run N` | `took NS WALL_NS` | N iterations, by the measurement and by the clock with all set-up |
//! | `end` | | the process ends |
//!
//! Every line out begins with a mark that nothing prints by accident.

use crate::system;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

/// Before every line out: control characters of no meaning to terminals.
const MARK: &str = "\u{1}duet\u{2} ";

/// A batch that is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) iters: u64,
    asked: bool,
}

/// A benchmark that main has come to.
pub(crate) struct Announcement {
    pub(crate) id: String,
    /// Of its entry function, in this process.
    pub(crate) address: usize,
    /// It measures time, which can be driven.
    pub(crate) driven: bool,
}

/// What this process is for.
enum Part {
    List,
    Drive { benchmark: String },
}

struct Stage {
    part: Part,
    input: BufReader<File>,
    output: File,
    /// How often each id was announced: criterion tells repeated ones apart by number.
    seen: HashMap<String, usize>,
    /// A command that was heard in one place and is obeyed in another.
    unheard: Option<Command>,
    /// Who converses: a process that forks has a child with the same descriptors.
    process: u32,
}

static STAGE: OnceLock<Mutex<Stage>> = OnceLock::new();

/// Opens the conversation, once. Ends the process where nobody wants one.
pub(crate) fn take() {
    STAGE.get_or_init(|| {
        let orders = system::orders();
        let part = match orders.map(|orders| (orders.part.as_str(), &orders.benchmark)) {
            Some(("list", _)) => Part::List,
            Some(("drive", benchmark)) => Part::Drive { benchmark: benchmark.clone() },
            _ => fail("this bench was built to be driven by perfsuite; build it again with cargo bench"),
        };
        let Some((input, output)) = system::conversation() else { fail("no conversation") };
        let process = std::process::id();
        let input = BufReader::new(input);
        let stage = Stage { part, input, output, seen: HashMap::new(), unheard: None, process };
        if matches!(stage.part, Part::List) {
            stage.say(&format!("image {:x}", load_address()));
        }
        Mutex::new(stage)
    });
}

/// Criterion's own `main` begins.
pub(crate) fn main_begins() {
    say_when_listing("main");
}

/// Criterion's own `main` has run to its end.
pub(crate) fn main_ends() {
    say_when_listing("over");
}

fn say_when_listing(line: &str) {
    take();
    let Some(stage) = STAGE.get() else { return };
    let stage = stage.lock().unwrap_or_else(PoisonError::into_inner);
    if matches!(stage.part, Part::List) {
        stage.say(line);
    }
}

/// Announces a benchmark that main has come to; the seat, when it is to be driven.
pub(crate) fn reached(announcement: Announcement) -> Option<Seat> {
    take();
    let mut stage = STAGE.get()?.lock().unwrap_or_else(PoisonError::into_inner);
    // One line each, and the same name when it is asked for.
    let id: String = announcement.id.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let count = stage.seen.entry(id.clone()).and_modify(|n| *n += 1).or_insert(1);
    let id = match *count {
        1 => id,
        n => format!("{id} #{n}"),
    };
    match &stage.part {
        Part::List => {
            let kind = if announcement.driven { "time" } else { "other" };
            stage.say(&format!("benchmark {:x} {kind} {}", announcement.address, id));
            None
        }
        Part::Drive { benchmark } if *benchmark == id => {
            Some(Seat { stage, driven: 0, calls: 0, state: State::Probe })
        }
        Part::Drive { .. } => None,
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// Finding out how often the closure calls `iter`: each call gets one iteration.
    Probe,
    /// Between two states of the benchmark.
    Between,
    /// The closure runs, and has not come to the call that is driven.
    Before,
    /// In the call that is driven.
    At,
    /// One that is passed over, given its single iteration.
    Given,
}

/// The driven benchmark's end of the conversation.
pub(crate) struct Seat {
    stage: MutexGuard<'static, Stage>,
    /// Which call of `iter` within the closure is driven: the last, whose value criterion keeps.
    driven: u32,
    /// Calls of `iter` since the closure began.
    calls: u32,
    state: State,
}

impl Seat {
    /// Whether the closure is to run (again).
    pub(crate) fn wants_state(&mut self) -> bool {
        self.calls = 0;
        if self.driven == 0 {
            return true;
        }
        match self.stage.hear() {
            Command::State => {
                self.state = State::Before;
                true
            }
            Command::Run(_) => fail("told to run without a state"),
            Command::End => false,
        }
    }

    /// The closure has returned.
    pub(crate) fn state_left(&mut self) {
        if self.driven == 0 {
            if self.calls == 0 {
                fail("Benchmark function must call Bencher::iter or related method.");
            }
            self.driven = self.calls;
            let ready = format!("ready {}", self.calls);
            self.stage.say(&ready);
        } else if self.calls < self.driven {
            fail("the benchmark called iter less often than before");
        }
        self.state = State::Between;
    }

    /// A call of `iter` or one of its relatives begins.
    pub(crate) fn enter(&mut self) {
        self.calls += 1;
        if self.driven > 0 {
            self.state = if self.calls == self.driven { State::At } else { State::Before };
            if self.state == State::At {
                self.stage.say("at");
            }
        } else {
            self.state = State::Probe;
        }
    }

    /// The next batch of this call; `None` when the call is to return.
    pub(crate) fn turn(&mut self) -> Option<Turn> {
        match self.state {
            State::Probe | State::Before => {
                self.state = State::Given;
                Some(Turn { iters: 1, asked: false })
            }
            State::Given | State::Between => None,
            State::At => match self.stage.hear() {
                Command::Run(iters) => Some(Turn { iters, asked: true }),
                other => {
                    self.stage.unheard = Some(other);
                    None
                }
            },
        }
    }

    pub(crate) fn answer(&mut self, turn: Turn, value: f64, wall: Duration) {
        if turn.asked {
            self.stage.say(&format!("took {value} {}", wall.as_nanos()));
        }
    }

    /// The driven benchmark is over, and with it the process: what main would run after it is nobody's business.
    pub(crate) fn leave(self) {
        std::process::exit(0);
    }
}

#[derive(Clone, Copy)]
enum Command {
    State,
    Run(u64),
    End,
}

impl Stage {
    /// The next command. The end of input is the end of the process.
    fn hear(&mut self) -> Command {
        if let Some(command) = self.unheard.take() {
            return command;
        }
        let mut line = String::new();
        match self.input.read_line(&mut line) {
            Ok(0) => return Command::End,
            Ok(_) => {}
            Err(error) => fail(&format!("cannot hear: {error}")),
        }
        match line.trim_end().split_once(' ') {
            None if line.trim_end() == "state" => Command::State,
            None if line.trim_end() == "end" => Command::End,
            Some(("run", n)) => n.parse().map_or_else(|_| fail("told to run no number"), Command::Run),
            _ => fail("told something unknown"),
        }
    }

    /// In one write, so that what a bench prints never parts a line.
    fn say(&self, line: &str) {
        // What it does next in its parent's place is nobody's answer.
        if std::process::id() != self.process {
            fail("a child of the benchmark came back to it; its parent goes on");
        }
        if (&self.output).write_all(format!("{MARK}{line}\n").as_bytes()).is_err() {
            // Nobody listens any more.
            std::process::exit(1);
        }
    }
}

fn fail(words: &str) -> ! {
    eprintln!("{words}");
    std::process::exit(2);
}

/// The lowest address at which this executable is mapped; zero where the system does not say.
fn load_address() -> usize {
    let Ok(program) = std::env::current_exe() else { return 0 };
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return 0 };
    maps.lines()
        .filter(|line| line.ends_with(&*program.to_string_lossy()))
        .filter_map(|line| usize::from_str_radix(line.split('-').next()?, 16).ok())
        .min()
        .unwrap_or(0)
}
