//! The measuring machine: what it is, what it lacks, and what speaks against its figures. Reads, never writes.

use crate::artifact::to_millis;
use crate::model::{Environment, MissingTool, Tool};
use crate::sandbox::Sandbox;
use std::ffi::OsStr;
use std::path::Path;
use std::time::Duration;

/// A machine with more runnable processes than this share of its cores is busy.
const BUSY_LOAD_PER_CORE: f64 = 0.5;
/// More stolen time than this is a noisy neighbour.
const STEAL_MAX: f64 = 0.02;

/// Taken when a run begins, so that its end can tell what happened in between.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    ticks: Option<Ticks>,
    load: Option<f64>,
}

impl Watch {
    pub fn begin() -> Watch {
        Watch { ticks: Ticks::now(), load: load_average() }
    }

    /// The environment of a run that began with this watch and ends now. `rustc` is what
    /// `rustc --version --verbose` says.
    pub fn end(&self, sandbox: &Sandbox, rustc: Option<&str>) -> Environment {
        let mut environment = fingerprint(sandbox);
        environment.rustc =
            rustc.and_then(|text| text.lines().next()).map(str::to_owned).or(environment.rustc);
        environment.load_before = self.load;
        environment.steal = match (self.ticks, Ticks::now()) {
            (Some(before), Some(after)) => after.steal_since(before).map(rounded),
            _ => None,
        };
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
        cpu_cores: std::thread::available_parallelism()
            .map_or(0, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
        microcode: field("microcode"),
        governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        smt: read("/sys/devices/system/cpu/smt/active").map(|active| active == "1"),
        memory_bytes: memory_bytes().unwrap_or(0),
        rustc: Some(sandbox.toolchain().version().to_owned()),
        steal: None,
        load_before: load_average(),
        sandbox: sandbox.describe(),
        missing: missing(sandbox),
        warnings: vec![],
    };
    environment.warnings = warnings(&environment);
    environment
}

fn missing(sandbox: &Sandbox) -> Vec<MissingTool> {
    let mut missing: Vec<MissingTool> = sandbox.missing().into_iter().collect();
    for (tool, program, hides, package) in [
        (Tool::Perf, "perf", "which functions the time goes to (profiles, flame graphs)", "linux-perf"),
        (
            Tool::Valgrind,
            "valgrind",
            "whether a small change is more instructions or only their layout",
            "valgrind",
        ),
    ] {
        if !on_path(program) {
            missing.push(MissingTool { tool, hides: hides.into(), package: package.into() });
        }
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
}

impl Ticks {
    fn now() -> Option<Ticks> {
        Ticks::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// `cpu user nice system idle iowait irq softirq steal guest guest_nice`; guests' time is in user's already.
    fn parse(stat: &str) -> Option<Ticks> {
        let line = stat.lines().find(|line| line.starts_with("cpu "))?;
        let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|t| t.parse().ok()).collect();
        Some(Ticks { total: ticks.iter().take(8).sum(), stolen: *ticks.get(7)? })
    }

    fn steal_since(self, before: Ticks) -> Option<f64> {
        let total = self.total.checked_sub(before.total).filter(|total| *total > 0)?;
        Some(self.stolen.saturating_sub(before.stolen) as f64 / total as f64)
    }
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
        assert_eq!(before, Ticks { total: 1000, stolen: 20 });
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
            ..quiet
        };
        let said = warnings(&busy).join("\n");
        assert!(said.contains("load average 6.0 on 4 cores"), "{said}");
        assert!(said.contains("took 20 %") && said.contains("`powersave`"), "{said}");
    }

    #[test]
    fn this_machine_has_cores_and_memory() {
        assert!(memory_bytes().unwrap() > 1 << 20);
        assert!(load_average().unwrap() >= 0.0);
        assert!(on_path("sh") && !on_path("no-such-program-anywhere"));
    }
}
