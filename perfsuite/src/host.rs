//! The measuring machine: what it is, what it lacks, and what speaks against its figures. Reads, never writes.

use crate::artifact::to_millis;
use crate::load::affinity;
use crate::model::{Environment, MissingTool, Tool};
use crate::sandbox::Sandbox;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

/// A machine with more runnable processes than this share of its cores is busy.
const BUSY_LOAD_PER_CORE: f64 = 0.5;
/// More stolen time than this is a noisy neighbour.
const STEAL_MAX: f64 = 0.02;
/// Programs that take more than this of the machine beside a run disturb it.
const OTHERS_MAX: f64 = 0.10;
/// A machine with this many runnable processes a core gives each of them so little, and so unevenly, that a run would
/// end undecided after all its minutes.
const HOPELESS_LOAD_PER_CORE: f64 = 20.0;

/// Taken when a run begins, so that its end can tell what happened in between.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    ticks: Option<Ticks>,
    /// Measures nothing but benches from here on, which keep one core busy.
    benches_alone: bool,
    load: Option<f64>,
}

/// Why this machine should not measure now, if so: in words that say what to do.
pub fn too_busy() -> Option<String> {
    too_busy_at(load_average()?, cores())
}

fn too_busy_at(load: f64, cores: u32) -> Option<String> {
    (load > HOPELESS_LOAD_PER_CORE * f64::from(cores.max(1))).then(|| {
        format!(
            "the machine is too busy to measure anything: load average {load:.0} on {}. Wait until it is quiet, or measure on another one",
            if cores == 1 { "one core".to_owned() } else { format!("{cores} cores") }
        )
    })
}

impl Watch {
    pub fn begin() -> Watch {
        Watch { ticks: Ticks::now(), benches_alone: false, load: load_average() }
    }

    /// What happens from now on counts; the load before stays that of the beginning. Called when measuring begins:
    /// what a build does is no disturbance.
    pub fn measuring(&mut self, benches_alone: bool) {
        (self.ticks, self.benches_alone) = (Ticks::now(), benches_alone);
    }

    /// The environment of a run that began with this watch and ends now. `rustc` is what
    /// `rustc --version --verbose` says.
    pub fn end(&self, sandbox: &Sandbox, rustc: Option<&str>) -> Environment {
        let mut environment = fingerprint(sandbox);
        environment.rustc =
            rustc.and_then(|text| text.lines().next()).map(str::to_owned).or(environment.rustc);
        environment.load_before = self.load;
        environment.load_after = load_average();
        if let (Some(before), Some(after)) = (self.ticks, Ticks::now()) {
            environment.steal = after.steal_since(before).map(rounded);
            let others = after.others_since(before, environment.cpu_cores);
            environment.others = others.filter(|_| self.benches_alone).map(rounded);
        }
        environment.warnings = warnings(&environment);
        environment
    }
}

/// What the machine is, without a run.
pub fn fingerprint(sandbox: &Sandbox) -> Environment {
    let cpuinfo = read("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        cpuinfo.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        })
    };
    let mut environment = Environment {
        hostname: read("/proc/sys/kernel/hostname").unwrap_or_default(),
        os: os_name().unwrap_or_default(),
        kernel: read("/proc/sys/kernel/osrelease").unwrap_or_default(),
        // ARM has no model name; its parts are numbers.
        cpu_model: field("model name").or_else(|| field("CPU part")).unwrap_or_default(),
        cpu_cores: cores(),
        microcode: field("microcode"),
        governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        smt: read("/sys/devices/system/cpu/smt/active").map(|active| active == "1"),
        memory_bytes: memory_bytes().unwrap_or(0),
        rustc: Some(sandbox.toolchain().version().to_owned()),
        steal: None,
        load_before: load_average(),
        load_after: None,
        others: None,
        pinning: Some(can_pin()),
        turbo: turbo(),
        virtualised: field("flags").map(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
        sandbox: sandbox.describe(),
        missing: missing(sandbox),
        warnings: vec![],
    };
    environment.warnings = warnings(&environment);
    environment
}

fn missing(sandbox: &Sandbox) -> Vec<MissingTool> {
    let mut missing: Vec<MissingTool> = sandbox.missing().into_iter().collect();
    if !on_path("valgrind") {
        let hides = "whether a small change is more instructions or only their layout";
        missing.push(MissingTool { tool: Tool::Valgrind, hides: hides.into(), package: "valgrind".into() });
    }
    missing
}

fn warnings(environment: &Environment) -> Vec<String> {
    let mut warnings = Vec::new();
    let cores = f64::from(environment.cpu_cores.max(1));
    if let Some(load) = environment.load_before.filter(|load| *load > BUSY_LOAD_PER_CORE * cores) {
        warnings.push(format!(
            "The machine was busy when the run began: load average {load:.1} on {} cores. Expect wider intervals.",
            environment.cpu_cores
        ));
    }
    if let Some(steal) = environment.steal.filter(|steal| *steal > STEAL_MAX) {
        warnings.push(format!(
            "The hypervisor took {:.0} % of the time for other machines. Expect wider intervals.",
            steal * 100.0
        ));
    }
    if let Some(others) = environment.others.filter(|others| *others > OTHERS_MAX) {
        warnings.push(format!(
            "Other programs took {:.0} % of the machine while it measured. Expect wider intervals.",
            others * 100.0
        ));
    }
    if environment.pinning == Some(false) {
        warnings
            .push("Processes cannot be kept on a core here, so that a turn between two takes longer.".into());
    }
    if let Some(governor) =
        environment.governor.as_deref().filter(|g| !["performance", "schedutil"].contains(g))
    {
        warnings.push(format!(
            "The CPU's frequency follows the load (governor `{governor}`); `performance` measures more evenly."
        ));
    }
    if environment.cpu_cores == 1 {
        warnings.push(
            "The machine has one core: everything else that runs on it disturbs what is measured.".into(),
        );
    }
    warnings
}

/// Time as the kernel counts it, over all cores, in ticks.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ticks {
    total: u64,
    stolen: u64,
    /// Neither idle, nor waiting, nor stolen.
    busy: u64,
}

impl Ticks {
    fn now() -> Option<Ticks> {
        Ticks::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// `cpu user nice system idle iowait irq softirq steal guest guest_nice`; guests' time is in user's already.
    fn parse(stat: &str) -> Option<Ticks> {
        let line = stat.lines().find(|line| line.starts_with("cpu "))?;
        let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|t| t.parse().ok()).collect();
        let idle: u64 = ticks.iter().skip(3).take(2).sum();
        let (total, stolen): (u64, u64) = (ticks.iter().take(8).sum(), *ticks.get(7)?);
        Some(Ticks { total, stolen, busy: total.saturating_sub(idle + stolen) })
    }

    fn steal_since(self, before: Ticks) -> Option<f64> {
        let total = self.total.checked_sub(before.total).filter(|total| *total > 0)?;
        Some(self.stolen.saturating_sub(before.stolen) as f64 / total as f64)
    }

    /// The least share of all time in which others ran, where we kept no more than one of the cores busy. Processes
    /// that were killed in their walls are counted nowhere, so that our own time is not known better.
    fn others_since(self, before: Ticks, cores: u32) -> Option<f64> {
        let total = self.total.checked_sub(before.total).filter(|total| *total > 0)?;
        let own = total as f64 / f64::from(cores.max(1));
        let others = self.busy.saturating_sub(before.busy) as f64 - own;
        Some(others.max(0.0) / total as f64)
    }
}

fn cores() -> u32 {
    std::thread::available_parallelism().map_or(0, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
}

/// Tries it, on a thread of its own.
fn can_pin() -> bool {
    let tried = || {
        let cores = affinity::current().ok()?;
        affinity::Pinned::to(&[*cores.first()?]).ok().map(drop)
    };
    std::thread::spawn(tried).join().ok().flatten().is_some()
}

fn turbo() -> Option<bool> {
    let intel = read("/sys/devices/system/cpu/intel_pstate/no_turbo").map(|off| off == "0");
    intel.or_else(|| read("/sys/devices/system/cpu/cpufreq/boost").map(|on| on == "1"))
}

fn load_average() -> Option<f64> {
    read("/proc/loadavg")?.split_whitespace().next()?.parse().ok()
}

fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

fn os_name() -> Option<String> {
    let text = std::fs::read_to_string("/etc/os-release").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(line.trim_matches('"').to_owned())
}

pub(crate) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| is_executable(&directory.join(OsStr::new(program))))
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(file).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Short enough that JSON gives it back as it was.
fn rounded(share: f64) -> f64 {
    to_millis(Duration::from_secs_f64(share.clamp(0.0, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stolen_time_is_a_share_of_all() {
        let before = Ticks::parse("cpu  100 0 100 700 50 10 20 20 5 0\ncpu0 1 2 3\n").unwrap();
        let after = Ticks::parse("cpu  200 0 100 1500 50 10 20 120 5 0\n").unwrap();
        assert_eq!(before, Ticks { total: 1000, stolen: 20, busy: 230 });
        let busy = Ticks { total: 2000, busy: 930, ..before };
        assert_eq!(busy.others_since(before, 2), Some(0.2), "0.7 of two cores, one of them ours");
        assert_eq!(busy.others_since(before, 1), Some(0.0), "whose one core that is, cannot be told");
        assert_eq!(after.steal_since(before), Some(0.1));
        assert_eq!(before.steal_since(before), None, "no time has passed");
        assert_eq!(Ticks::parse("intr 1"), None);
    }

    #[test]
    fn a_busy_machine_is_warned_of() {
        let quiet =
            Environment { cpu_cores: 4, load_before: Some(0.3), steal: Some(0.0), ..Environment::default() };
        assert!(warnings(&quiet).is_empty());
        let busy = Environment {
            load_before: Some(6.0),
            steal: Some(0.2),
            governor: Some("powersave".into()),
            others: Some(0.3),
            pinning: Some(false),
            ..quiet
        };
        let said = warnings(&busy).join("\n");
        assert!(said.contains("load average 6.0 on 4 cores"), "{said}");
        assert!(said.contains("took 20 %") && said.contains("`powersave`"), "{said}");
        assert!(said.contains("took 30 % of the machine") && said.contains("kept on a core"), "{said}");
    }

    #[test]
    fn a_hopeless_machine_is_refused_in_words() {
        assert_eq!(too_busy_at(39.0, 2), None);
        let words = too_busy_at(41.0, 2).unwrap();
        assert!(words.contains("load average 41 on 2 cores. Wait"), "{words}");
        assert!(too_busy_at(20.5, 1).unwrap().contains("on one core"));
    }

    #[test]
    fn this_machine_has_cores_and_memory() {
        assert!(memory_bytes().unwrap() > 1 << 20);
        assert!(load_average().unwrap() >= 0.0);
        assert!(on_path("sh") && !on_path("no-such-program-anywhere"));
    }
}
