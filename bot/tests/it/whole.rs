//! Everything at once: a webhook, the real runner as a child process, real builds, the comment.

use crate::database::{On, on_both};
use crate::world::{Wishes, World, eventually_within};
use std::time::Duration;

on_both!(a_webhook_ends_in_a_comment_that_names_the_slowdown);

/// Two builds of crates without dependencies, and some seconds of measuring, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(300);

const WORKSPACE: &str = r#"
[workspace]
resolver = "2"
members = ["harness"]

[package]
name = "widgets"
version = "0.1.0"
edition = "2021"

[dev-dependencies]
criterion = { path = "harness" }

[[bench]]
name = "speed"
harness = false
"#;

const LOCK: &str = r#"version = 4

[[package]]
name = "criterion"
version = "0.8.0"

[[package]]
name = "widgets"
version = "0.1.0"
dependencies = [
 "criterion",
]
"#;

const HARNESS_MANIFEST: &str = "[package]\nname = \"criterion\"\nversion = \"0.8.0\"\nedition = \"2021\"\n";

/// A harness with criterion's command line and files, so small that it builds at once.
const HARNESS: &str = r#"
use std::{env, fs, path::Path, time::Instant};

pub fn bench(name: &str, mut routine: impl FnMut()) {
    let arguments: Vec<String> = env::args().collect();
    if arguments.iter().any(|argument| argument == "--list") {
        println!("{name}: benchmark");
        return;
    }
    let filter = arguments.last().unwrap().replace(['^', '$', '\\'], "");
    if filter != name {
        return;
    }
    let (mut iters, mut times) = (Vec::new(), Vec::new());
    for n in 1..=10u32 {
        let start = Instant::now();
        for _ in 0..n * 20 {
            routine();
        }
        iters.push(format!("{}.0", n * 20));
        times.push(format!("{}.0", start.elapsed().as_nanos()));
    }
    let home = env::var("CRITERION_HOME").expect("CRITERION_HOME is set");
    let dir = Path::new(&home).join(name).join("new");
    fs::create_dir_all(&dir).unwrap();
    let sample = format!(
        "{{\"sampling_mode\":\"Linear\",\"iters\":[{}],\"times\":[{}]}}",
        iters.join(","),
        times.join(",")
    );
    fs::write(dir.join("sample.json"), sample).unwrap();
}
"#;

const BENCH: &str = r#"
fn main() {
    criterion::bench("widgets/sum", || {
        std::hint::black_box(widgets::sum(std::hint::black_box(20_000)));
    });
}
"#;

/// Twice the work on the head: seen whatever else the machine is doing.
fn sum(step: u64) -> String {
    format!(
        "pub fn sum(to: u64) -> u64 {{\n    let mut sum = 0u64;\n    for n in 0..to * {step} {{\n        \
         sum = std::hint::black_box(sum.wrapping_add(n));\n    }}\n    sum\n}}\n"
    )
}

async fn a_webhook_ends_in_a_comment_that_names_the_slowdown(on: On) {
    let base = sum(1).leak();
    let files = vec![
        ("Cargo.toml", WORKSPACE),
        ("Cargo.lock", LOCK),
        ("harness/Cargo.toml", HARNESS_MANIFEST),
        ("harness/src/lib.rs", HARNESS),
        ("benches/speed.rs", BENCH),
        ("src/lib.rs", &*base),
    ];
    // The fixture is about speed.
    let config = Some("[tests]\nlevel = \"off\"\nprove-fixes = \"off\"\n");
    let world = World::new(on, Wishes { own_runner: true, config, files, ..Wishes::default() }).await;
    world.commit("perf: sum in other words", &sum(2));
    let number = world.open_pull_as_it_is();
    world.pull_event(number, "opened").await;
    let head = world.head();
    let check = eventually_within(PATIENCE, "the performance check to end", || {
        world.check("paceline/performance", &head).filter(|check| check.status == "completed")
    })
    .await;
    // On a machine that is too uneven to tell a benchmark from itself, a slowdown is told and does not block.
    let told = check.conclusion.as_deref() == Some("neutral") && check.summary.contains("does not block");
    assert!(
        check.conclusion.as_deref() == Some("failure") || told,
        "{}\n{}\n{}",
        check.title,
        check.summary,
        check.text
    );
    let comments = eventually_within(PATIENCE, "the comment", || {
        let comments = world.our_comments(number);
        comments.iter().any(|comment| comment.body.contains("Slower")).then_some(comments)
    })
    .await;
    assert_eq!(comments.len(), 1);
    assert!(comments[0].body.contains("widgets/sum"), "{}", comments[0].body);
    world.server.stop().await;
}
