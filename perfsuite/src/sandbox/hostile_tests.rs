//! What a hostile program can do inside the walls: nothing that lasts, nothing outside, nothing without bound.

use super::{Command, Kind, Limits, Preference, Running, Sandbox};
use crate::observe::{Observer, Unobserved};
use crate::process::{End, Exit, Finished};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

/// The walls, or one line that says why the test is skipped; on continuous integration that is a failure.
fn walls() -> Option<Sandbox> {
    let sandbox = Sandbox::detect(Preference::Auto).unwrap();
    if sandbox.walled() {
        return Some(sandbox);
    }
    assert!(std::env::var_os("CI").is_none(), "no walls to test: {}", sandbox.describe());
    eprintln!("skipped: no walls to test ({})", sandbox.describe());
    None
}

fn no_walls() -> Sandbox {
    Sandbox::detect(Preference::Off).unwrap()
}

/// The hostile program, compiled once, within the walls if there are any.
fn hostile() -> &'static Path {
    static PROGRAM: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, program) = PROGRAM.get_or_init(|| {
        let sandbox = Sandbox::detect(Preference::Auto).unwrap();
        let work = tempfile::tempdir().unwrap();
        let (source, target) = (work.path().join("src"), work.path().join("target"));
        std::fs::create_dir_all(&source).unwrap();
        std::fs::create_dir_all(&target).unwrap();
        std::fs::write(source.join("hostile.rs"), include_str!("../../tests/fixtures/hostile.rs")).unwrap();
        let mut command = sandbox.command("rustc");
        let source = command.read(&source, super::SOURCE_INSIDE);
        let seen = command.write(&target, super::TARGET_INSIDE);
        command
            .args(["--edition", "2024", "-o"])
            .arg(seen.join("hostile"))
            .arg(source.join("hostile.rs"))
            .deadline(DEADLINE);
        let finished = sandbox.run(&command, &Unobserved).unwrap();
        assert!(finished.success(), "{} {}", finished.in_words(), finished.stderr_tail);
        (work, target.join("hostile"))
    });
    program
}

/// A command that runs the hostile program with `args`.
fn attack(sandbox: &Sandbox, args: &[&str]) -> Command {
    let mut probe = sandbox.command("");
    let seen = probe.read(hostile(), "/build/hostile");
    let mut command = sandbox.command(seen);
    command.read(hostile(), "/build/hostile");
    command.args(args).deadline(DEADLINE);
    command
}

fn run(sandbox: &Sandbox, command: &Command) -> Finished {
    sandbox.run(command, &Unobserved).unwrap()
}

fn answer(sandbox: &Sandbox, args: &[&str]) -> String {
    said(&run(sandbox, &attack(sandbox, args)))
}

fn said(finished: &Finished) -> String {
    assert!(finished.success(), "{}: {}", finished.in_words(), finished.stderr_tail);
    finished.stdout_text().trim().to_owned()
}

#[test]
fn the_hosts_loopback_is_out_of_reach_and_ones_own_is_up() {
    let Some(sandbox) = walls() else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    assert_eq!(answer(&sandbox, &["connect", &address]), "ConnectionRefused");
    assert_eq!(answer(&sandbox, &["connect", "192.0.2.1:80"]), "NetworkUnreachable");
    assert_eq!(answer(&sandbox, &["loopback"]), "done");
    // The same program without walls reaches it, so that the refusal is the walls' doing.
    assert_eq!(answer(&no_walls(), &["connect", &address]), "done");
}

#[test]
fn the_home_directory_and_other_files_are_not_seen() {
    let Some(sandbox) = walls() else { return };
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "token").unwrap();
    let path = secret.path().to_str().unwrap();
    assert_eq!(answer(&no_walls(), &["read", path]), "done");
    assert_eq!(answer(&sandbox, &["read", path]), "NotFound");
    assert_eq!(answer(&sandbox, &["read", "/etc/shadow"]), "NotFound");
    let credentials = sandbox.toolchain().cargo_home().join("credentials.toml");
    assert_eq!(answer(&sandbox, &["read", credentials.to_str().unwrap()]), "NotFound");
}

#[test]
fn the_environment_is_what_was_given() {
    for sandbox in walls().into_iter().chain([no_walls()]) {
        // Cargo sets this for tests: the runner's environment is not empty.
        assert!(std::env::vars_os().count() > 3);
        let mut command = attack(&sandbox, &["environment"]);
        command.env("GIVEN", "1");
        let text = said(&run(&sandbox, &command));
        let mut names: Vec<&str> = text.lines().filter(|name| *name != "PWD").collect();
        names.sort_unstable();
        assert_eq!(names, ["GIVEN", "HOME", "LANG", "PATH"]);
    }
}

#[test]
fn nothing_outside_the_writable_paths_can_be_written() {
    let Some(sandbox) = walls() else { return };
    let (source, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let places =
        ["/x", "/usr/x", "/etc/x", "/dev/x", "/proc/sys/kernel/hostname", "/build/x", "/build/src/x"];
    let mut command = attack(&sandbox, &["write"]);
    command.args(places).args(["/build/target/x", "/tmp/x"]);
    command.read(&source, super::SOURCE_INSIDE);
    command.write(&target, super::TARGET_INSIDE);
    let text = said(&run(&sandbox, &command));
    let lines: Vec<&str> = text.lines().collect();
    let (refused, allowed) = lines.split_at(places.len());
    for (place, line) in places.iter().zip(refused) {
        assert!(["ReadOnlyFilesystem", "PermissionDenied"].contains(line), "{place}: {line}");
    }
    assert_eq!(allowed, ["done", "done"]);
    assert_eq!(std::fs::read_to_string(target.path().join("x")).unwrap(), "x");
    assert_eq!(std::fs::read_dir(source.path()).unwrap().count(), 0);
}

#[test]
fn a_planted_cargo_configuration_and_a_proxys_password_are_not_seen() {
    let Some(sandbox) = walls() else { return };
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("config.toml"), "[build]\nrustc-wrapper = '/build/evil'\n").unwrap();
    let mut command = sandbox.command("sh");
    command.args(["-c", "cat $CARGO_HOME/config.toml; echo $HTTPS_PROXY; touch $CARGO_HOME/x"]);
    command
        .env("HTTPS_PROXY", "http://alice:hunter2@proxy:1")
        .cargo_home(&home)
        .network(super::Network::Fetch);
    let finished = run(&sandbox, &command.deadline(DEADLINE).clone());
    assert!(!finished.success(), "it is read-only");
    let text = finished.stdout_text();
    assert!(text.ends_with("http://proxy:1\n") && !text.contains("evil"), "{text}");
    let mut command = sandbox.command("true");
    command.cargo_home(sandbox.toolchain().cargo_home());
    assert!(sandbox.run(&command, &Unobserved).is_err());
}

#[test]
fn measured_code_is_never_root() {
    let Some(sandbox) = walls() else { return };
    assert_ne!(answer(&sandbox, &["uid"]), "0");
}

#[test]
fn other_processes_are_not_seen() {
    let Some(sandbox) = walls() else { return };
    // The sandbox's first process and the program.
    assert_eq!(answer(&sandbox, &["processes"]), "2");
}

#[test]
fn dangerous_system_calls_are_refused() {
    let Some(sandbox) = walls() else { return };
    let eperm = libc::EPERM.to_string();
    let calls = [
        ("ptrace", libc::SYS_ptrace, 0, 0),
        ("perf_event_open", libc::SYS_perf_event_open, 0, 0),
        ("bpf", libc::SYS_bpf, 0, 0),
        ("keyctl", libc::SYS_keyctl, 0, 0),
        ("userfaultfd", libc::SYS_userfaultfd, 0, 0),
        ("io_uring_setup", libc::SYS_io_uring_setup, 8, 0),
        ("mount", libc::SYS_mount, 0, 0),
        ("unshare", libc::SYS_unshare, libc::CLONE_NEWUSER as i64, 0),
        ("netlink", libc::SYS_socket, libc::AF_NETLINK as i64, libc::SOCK_RAW as i64),
        ("packet", libc::SYS_socket, libc::AF_PACKET as i64, libc::SOCK_RAW as i64),
        ("vsock", libc::SYS_socket, libc::AF_VSOCK as i64, libc::SOCK_STREAM as i64),
        ("typing into the terminal", libc::SYS_ioctl, 0, libc::TIOCSTI as i64),
    ];
    for (name, number, a, b) in calls {
        let args = [number.to_string(), a.to_string(), b.to_string()];
        assert_eq!(answer(&sandbox, &["syscall", &args[0], &args[1], &args[2]]), eperm, "{name}");
    }
    let getpid = |bit: i64| (libc::SYS_getpid | bit).to_string();
    assert_eq!(answer(&sandbox, &["syscall", &getpid(0)]), "done");
    if cfg!(target_arch = "x86_64") {
        assert_eq!(answer(&sandbox, &["syscall", &getpid(0x4000_0000)]), eperm, "x32");
    }
    let socket = [libc::SYS_socket.to_string(), libc::AF_UNIX.to_string(), libc::SOCK_STREAM.to_string()];
    assert_eq!(answer(&sandbox, &["syscall", &socket[0], &socket[1], &socket[2]]), "done");
}

#[test]
fn a_fork_bomb_is_bounded() {
    let Some(sandbox) = walls() else { return };
    let mut command = attack(&sandbox, &["forks"]);
    command.limits(Limits { processes: 64, deadline: DEADLINE, ..Limits::default() });
    let made: u32 = said(&run(&sandbox, &command)).parse().unwrap();
    assert!((1..64).contains(&made), "{made} forks");
}

#[test]
fn a_fork_bomb_starves_nobody_else() {
    let Some(sandbox) = walls() else { return };
    let limits = Limits { processes: 48, deadline: DEADLINE, ..Limits::default() };
    let mut command = attack(&sandbox, &["forks", "stay"]);
    command.limits(limits).talk();
    let mut bomb = sandbox.spawn(&command).unwrap();
    let made: u64 = bomb.read_line(DEADLINE).unwrap().unwrap().parse().unwrap();
    assert!(made > 30, "{made}");
    // The other side of the same job, by the same user, while the bomb holds all that it may have.
    let mut other = attack(&sandbox, &["hoard", "1", "32"]);
    other.limits(limits);
    assert_eq!(said(&run(&sandbox, &other)), "all live");
    bomb.kill();
    let refused = bomb.finish().unwrap().refused;
    if sandbox.cgroups.as_ref().is_some_and(super::cgroup::Cgroups::bounds_processes) {
        assert!(refused.processes > 0, "what the group refused is counted");
    }
}

#[test]
fn files_that_were_removed_and_are_open_fill_the_disk_too() {
    let Some(sandbox) = walls() else { return };
    let target = tempfile::tempdir().unwrap();
    let mut command = attack(&sandbox, &["fill-unseen"]);
    let seen = command.write(&target, super::TARGET_INSIDE);
    command.arg(seen).limits(Limits { disk_bytes: 32 << 20, deadline: DEADLINE, ..Limits::default() });
    assert_eq!(run(&sandbox, &command).end, End::DiskFull);
    // Killed between making one and removing it, at most.
    assert!(std::fs::read_dir(target.path()).unwrap().count() <= 1);
}

#[test]
fn each_runner_of_root_has_a_user_of_its_own() {
    let (Some(one), Some(two)) = (walls(), walls()) else { return };
    let root = super::sys::effective_uid() == 0;
    assert_eq!(answer(&one, &["uid"]) != answer(&two, &["uid"]), root);
}

#[test]
fn a_daemon_dies_with_the_command_that_left_it() {
    let Some(sandbox) = walls() else { return };
    let target = tempfile::tempdir().unwrap();
    let mut command = attack(&sandbox, &["daemon", "/build/target/count"]);
    command.write(&target, super::TARGET_INSIDE);
    assert_eq!(said(&run(&sandbox, &command)), "left it behind");
    let count = || std::fs::read_to_string(target.path().join("count")).unwrap();
    let before = count();
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(before, count());
}

#[test]
fn a_daemon_that_holds_stdout_does_not_hang_the_reader() {
    let sandbox = no_walls();
    let target = tempfile::tempdir().unwrap();
    let mut command = attack(&sandbox, &["daemon"]);
    let seen = command.write(&target, super::TARGET_INSIDE);
    command.arg(seen.join("count"));
    // It writes up to 99 and ends; by then the command must have long returned.
    assert_eq!(said(&run(&sandbox, &command)), "left it behind");
    assert_ne!(std::fs::read_to_string(target.path().join("count")).unwrap(), "99");
}

#[test]
fn a_disk_filler_is_stopped() {
    for sandbox in walls().into_iter().chain([no_walls()]) {
        let small = Limits { disk_bytes: 32 << 20, deadline: DEADLINE, ..Limits::default() };
        // No disk has so much to spare.
        let full = Limits { disk_reserve_bytes: u64::MAX, ..small };
        for (limits, end) in [(small, End::DiskFull), (full, End::MachineFull)] {
            let target = tempfile::tempdir().unwrap();
            let mut command = attack(&sandbox, &["fill"]);
            let seen = command.write(&target, super::TARGET_INSIDE);
            command.arg(seen).limits(limits);
            assert_eq!(run(&sandbox, &command).end, end);
        }
    }
}

#[test]
fn a_file_has_a_bound() {
    for sandbox in walls().into_iter().chain([no_walls()]) {
        let target = tempfile::tempdir().unwrap();
        let mut command = attack(&sandbox, &["grow"]);
        let seen = command.write(&target, super::TARGET_INSIDE);
        command.arg(seen.join("big"));
        command.limits(Limits { file_bytes: 8 << 20, deadline: DEADLINE, ..Limits::default() });
        assert_eq!(run(&sandbox, &command).end, End::Exited(Exit::Signal(libc::SIGXFSZ)));
        assert_eq!(std::fs::metadata(target.path().join("big")).unwrap().len(), 8 << 20);
    }
}

#[test]
fn temporary_files_have_a_bound() {
    let Some(sandbox) = walls() else { return };
    for directory in ["/tmp", "/dev/shm"] {
        let mut command = attack(&sandbox, &["fill", directory]);
        command.limits(Limits { tmp_bytes: 16 << 20, deadline: DEADLINE, ..Limits::default() });
        let text = said(&run(&sandbox, &command));
        let (files, why) = text.split_once(' ').unwrap();
        assert_eq!(why, "StorageFull", "{directory}");
        assert!(files.parse::<u32>().unwrap() <= 64, "{directory}: {files} megabytes");
    }
}

#[test]
fn memory_has_a_bound() {
    for sandbox in walls().into_iter().chain([no_walls()]) {
        let limits = Limits { memory_bytes: 256 << 20, deadline: DEADLINE, ..Limits::default() };
        let mut within = attack(&sandbox, &["allocate", &(64 << 20).to_string()]);
        within.limits(limits);
        assert_eq!(said(&run(&sandbox, &within)), format!("allocated {}", 64 << 20));
        let mut beyond = attack(&sandbox, &["allocate", &(512 << 20).to_string()]);
        beyond.limits(limits);
        let finished = run(&sandbox, &beyond);
        assert!(!finished.stdout_text().contains("allocated"), "{}", finished.stdout_text());
    }
}

#[test]
fn memory_of_many_processes_has_a_bound_together() {
    for sandbox in walls().into_iter().chain([no_walls()]) {
        if sandbox.cgroups.is_none() {
            eprintln!(
                "skipped: no control group can be made here, so that memory is limited by process only"
            );
            return;
        }
        let limits = Limits { memory_bytes: 256 << 20, deadline: DEADLINE, ..Limits::default() };
        for (processes, fits) in [("2", true), ("8", false)] {
            let mut command = attack(&sandbox, &["hoard", &(64 << 20).to_string(), processes]);
            command.limits(limits);
            let finished = run(&sandbox, &command);
            assert_eq!(
                finished.stdout_text().contains("all live"),
                fits,
                "{processes}: {}",
                finished.in_words()
            );
        }
    }
}

#[test]
fn a_link_that_measured_code_planted_is_not_followed() {
    for sandbox in walls().into_iter().chain([no_walls()]) {
        let (target, secret) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut command = sandbox.command("true");
        command.write(&target, super::TARGET_INSIDE);
        assert!(run(&sandbox, &command).success());
        std::fs::create_dir(target.path().join("release")).unwrap();
        std::os::unix::fs::symlink(secret.path(), target.path().join("link")).unwrap();
        for (path, refused) in [("release", false), ("link", true)] {
            let mut command = sandbox.command("true");
            command.read(target.path().join(path), "/build/read");
            let result = sandbox.run(&command, &Unobserved);
            assert_eq!(result.is_err(), refused, "{path}");
        }
    }
}

#[test]
fn fetching_reaches_the_network_and_no_local_socket() {
    let Some(sandbox) = walls() else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut command = attack(&sandbox, &["connect", &address]);
    command.network(super::Network::Fetch);
    assert_eq!(said(&run(&sandbox, &command)), "done");
    let socket = [libc::SYS_socket.to_string(), libc::AF_UNIX.to_string(), libc::SOCK_STREAM.to_string()];
    let mut command = attack(&sandbox, &["syscall", &socket[0], &socket[1], &socket[2]]);
    command.network(super::Network::Fetch);
    assert_eq!(said(&run(&sandbox, &command)), libc::EPERM.to_string());
    let mut command = attack(&sandbox, &["read", "/etc/shadow"]);
    command.network(super::Network::Fetch);
    assert_eq!(said(&run(&sandbox, &command)), "NotFound");
}

#[test]
fn a_hang_ends_at_the_deadline_and_a_flood_is_cut() {
    for sandbox in walls().into_iter().chain([no_walls()]) {
        let mut command = attack(&sandbox, &["hang"]);
        command.deadline(Duration::from_millis(300));
        assert!(run(&sandbox, &command).timed_out());

        let mut command = attack(&sandbox, &["flood"]);
        command.deadline(Duration::from_millis(500)).keep(10_000, 10_000);
        let finished = run(&sandbox, &command);
        assert!(finished.timed_out());
        assert!(finished.stdout_cut);
        assert_eq!(finished.stdout.len(), 10_000);
    }
}

#[test]
fn an_observers_stop_ends_it() {
    struct Stop;
    impl Observer for Stop {
        fn progress(&self, _: crate::model::wire::Progress) {}
        fn log(&self, _: &str) {}
        fn stopped(&self) -> bool {
            true
        }
    }
    for sandbox in walls().into_iter().chain([no_walls()]) {
        assert!(sandbox.run(&attack(&sandbox, &["hang"]), &Stop).unwrap().stopped());
    }
}

#[test]
fn a_dropped_program_is_dead() {
    for sandbox in walls().into_iter().chain([no_walls()]) {
        let running = sandbox.spawn(&attack(&sandbox, &["hang"])).unwrap();
        let pid = started(&running);
        drop(running);
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
    }
}

#[test]
fn a_killed_program_tells_what_was_left() {
    for sandbox in walls().into_iter().chain([no_walls()]) {
        let running = sandbox.spawn(&attack(&sandbox, &["hang"])).unwrap();
        started(&running);
        running.kill();
        assert!(running.finish().unwrap().stopped());
    }
}

/// Waits until the hostile program itself runs, and returns its process id.
fn started(running: &Running) -> u32 {
    loop {
        let pid = running.pid().unwrap();
        let line = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        if line.split('\0').nth(1) == Some("hang") {
            assert!(running.pids().contains(&pid));
            return pid;
        }
        assert!(!running.has_ended());
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_conversation_goes_line_by_line() {
    for sandbox in walls().into_iter().chain([no_walls()]) {
        let mut command = sandbox.command("cat");
        command.talk().deadline(DEADLINE);
        let mut running = sandbox.spawn(&command).unwrap();
        for line in ["one", "two"] {
            running.write_line(line).unwrap();
            assert_eq!(running.read_line(DEADLINE).unwrap().as_deref(), Some(line));
        }
        let error = running.read_line(Duration::from_millis(20)).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        assert!(running.finish().unwrap().success());
    }
}

#[test]
fn a_program_that_does_not_exist_is_told() {
    let finished = walls().map(|sandbox| run(&sandbox, &sandbox.command("no-such-program")));
    if let Some(finished) = finished {
        assert!(!finished.success());
        assert!(finished.stderr_tail.contains("no-such-program"), "{}", finished.stderr_tail);
    }
    assert!(no_walls().run(&no_walls().command("no-such-program"), &Unobserved).is_err());
}

#[test]
fn a_signal_is_told_as_one() {
    for sandbox in walls().into_iter().chain([no_walls()]) {
        let mut command = sandbox.command("sh");
        command.args(["-c", "kill -ABRT $$"]).deadline(DEADLINE);
        assert_eq!(run(&sandbox, &command).end, End::Exited(Exit::Signal(libc::SIGABRT)));
        let mut command = sandbox.command("sh");
        command.args(["-c", "exit 101"]).deadline(DEADLINE);
        assert_eq!(run(&sandbox, &command).end, End::Exited(Exit::Code(101)));
    }
}

#[test]
fn strangers_are_refused_without_walls_and_told_what_to_install() {
    use crate::model::Trust;
    assert!(no_walls().permit(Trust::Own).is_ok());
    assert!(no_walls().permit(Trust::Stranger).is_err());
    assert_eq!(no_walls().describe(), "none: switched off");
    let kind = Kind::None { reason: "no bwrap".into(), missing: Some(super::bubblewrap_missing()) };
    let without = Sandbox { kind: kind.into(), ..no_walls() };
    let refusal = without.permit(Trust::Stranger).unwrap_err();
    assert!(refusal.contains("install the package `bubblewrap`"), "{refusal}");
}
