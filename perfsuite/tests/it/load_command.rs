//! `perfsuite load` through the door: servers that work, and every way in which they do not.

use base64::{Engine, engine::general_purpose::STANDARD};
use hdrhistogram::{Histogram, serialization::Deserializer};
use perfsuite::load::wire::decode;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// A directory with a scenario of 300 requests a second over four connections.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        // Seen by the user that measured code runs as.
        fs::set_permissions(place.0.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let scenario = "server = ['{server}', '{perfsuite}', '{listen}']\nrequests = [{ path = '/' }]\n\
            rate = 300\nconnections = 4\np99-limit-ms = 50\n";
        fs::write(place.0.path().join("scenario.toml"), scenario).unwrap();
        place
    }

    /// A server: a script that is given this program and an address.
    fn server(&self, name: &str, script: &str) -> PathBuf {
        let file = self.0.path().join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
        file
    }

    /// One that answers everything, with these faults.
    fn upstream(&self, name: &str, faults: &str) -> PathBuf {
        self.server(name, &format!("exec \"$1\" upstream --listen \"$2\" --body-bytes 100 {faults}"))
    }

    fn load(&self, base: &Path, head: &Path, more: &[&str]) -> Output {
        let (base, head) = (base.to_str().unwrap(), head.to_str().unwrap());
        // Six seconds: two or three rounds.
        let mut command = Command::new(env!("CARGO_BIN_EXE_perfsuite"));
        command.current_dir(self.0.path()).args(["load", "./scenario.toml", "--base", base, "--head", head]);
        command.args(["--sandbox", "off", "--minutes", "0.1"]).args(more).output().unwrap()
    }

    /// What is printed with a head that has faults, and the exit code.
    fn judged(&self, head: &Path, more: &[&str]) -> (Value, i32) {
        let base = self.upstream("good", "");
        let output = self.load(&base, head, &[more, &["--format", "json"]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(text.lines().count(), 1, "{text}{said}");
        (serde_json::from_str(&text).unwrap(), output.status.code().unwrap())
    }

    /// What is printed when it says this. A machine that stands still for a part of a second makes a hill of a queue's
    /// even slope, which is then not seen in a round: so three are played at most.
    fn until(&self, base: &Path, head: &Path, words: &str) -> Value {
        let mut others = String::new();
        for _ in 0..3 {
            let output = self.load(base, head, &["--format", "json"]);
            let text = String::from_utf8(output.stdout).unwrap();
            if text.contains(words) {
                return serde_json::from_str(&text).unwrap();
            }
            others += &text;
            others += &String::from_utf8_lossy(&output.stderr);
        }
        panic!("{words} in {others}");
    }

    /// The first failure: its side, and its words.
    fn failure(&self, head: &Path) -> (Value, String) {
        let (played, code) = self.judged(head, &[]);
        assert_eq!(code, 2, "{played}");
        let failure = &played["failures"][0];
        (failure["side"].clone(), failure["output"].as_str().unwrap().to_owned())
    }
}

fn notes(played: &Value) -> String {
    played["notes"].as_array().unwrap().iter().map(|note| format!("{}\n", note.as_str().unwrap())).collect()
}

#[test]
fn each_metric_has_estimate_interval_verdict_and_histograms() {
    let place = Place::new();
    let (played, code) = place.judged(&place.upstream("head", ""), &["--seed", "7", "--spacing", "poisson"]);
    assert!(code == 0 || code == 1, "{played}");
    assert_eq!(played["failures"], serde_json::json!([]));
    let names: Vec<&str> =
        played["metrics"].as_array().unwrap().iter().map(|row| row["metric"].as_str().unwrap()).collect();
    assert_eq!(names, ["latency-p50", "latency-p99", "latency-p999", "qps-per-core"]);
    let rounds = played["rounds"].as_u64().unwrap();
    assert!(rounds >= 1);
    for row in played["metrics"].as_array().unwrap() {
        let (low, high) = (row["interval"][0].as_f64().unwrap(), row["interval"][1].as_f64().unwrap());
        let estimate = row["estimate"].as_f64().unwrap();
        assert!(low <= estimate && estimate <= high, "{row}");
        assert_eq!((&row["low"], &row["high"]), (&row["interval"][0], &row["interval"][1]));
        assert!(["slower", "faster", "equal", "inconclusive"].contains(&row["verdict"].as_str().unwrap()));
        for side in ["base", "head"] {
            let histogram = decode(row["histograms"][side].as_str().unwrap()).unwrap();
            let expect = if row["metric"] == "qps-per-core" {
                rounds
            } else {
                played["sides"][side]["answered"].as_u64().unwrap()
            };
            assert_eq!(histogram.len(), expect, "{row}");
            let compressed = STANDARD.decode(row["histograms_compressed"][side].as_str().unwrap()).unwrap();
            let compressed: Histogram<u64> =
                Deserializer::new().deserialize(&mut compressed.as_slice()).unwrap();
            assert_eq!(compressed, histogram);
        }
    }
    let qps = &played["metrics"][3];
    assert!(qps["base"].as_f64().unwrap() > 0.0 && qps["better"] == "higher", "{qps}");
}

#[test]
fn a_stall_is_charged_to_everybody_who_waited() {
    let place = Place::new();
    // Half a second of standing still in every second and a half or so: of 150 requests a second.
    let (played, _) = place.judged(&place.upstream("head", "--stall-ms 500 --stall-every 200"), &[]);
    let p99 = &played["metrics"][1];
    assert_eq!(p99["metric"], "latency-p99");
    let (base, head) = (p99["base"].as_f64().unwrap(), p99["head"].as_f64().unwrap());
    assert!(head > 300e6 && base < head, "{p99}");
    assert!(!notes(&played).contains("slower than the schedule"), "it keeps up: {played}");
    // One request in two hundred met it: what a closed loop would count is half a percent, beyond its p99.
    let latency = decode(p99["histograms"]["head"].as_str().unwrap()).unwrap();
    let waited = latency.count_between(50_000_000, u64::MAX) as f64 / latency.len() as f64;
    assert!(waited > 0.1, "{waited} of all requests waited");
}

#[test]
fn the_knee_of_both_sides_is_shown() {
    let place = Place::new();
    // Four connections of 5 ms: 800 requests a second; of 20 ms: 200.
    let head = place.upstream("slow", "--delay-us 20000");
    let base = place.upstream("base", "--delay-us 5000");
    let output = place.load(&base, &head, &["--knee", "--rate", "100", "--format", "json"]);
    let played: Value = serde_json::from_slice(&output.stdout).unwrap();
    for side in ["base", "head"] {
        let knee = &played["knees"][side];
        assert!(!knee["probes"].as_array().unwrap().is_empty(), "{played}");
        assert!(knee["rate_per_second"].as_f64().unwrap() < 1_000.0, "{knee}");
    }
    assert!(played["generator_cpu_ns"].as_f64().unwrap() > 0.0, "{played}");
}

#[test]
fn words_are_for_people() {
    let place = Place::new();
    let same = place.upstream("same", "");
    let output = place.load(&same, &same, &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("scenario: 300 requests a second to base and head together, "), "{text}");
    for word in ["p50 latency", "p99 latency", "QPS per core", "sandbox: none: switched off"] {
        assert!(text.contains(word), "{word} in {text}");
    }
}

#[test]
fn a_server_that_is_never_ready() {
    let place = Place::new();
    let (side, words) = place.failure(&place.server("head", "exec sleep 60"));
    assert_eq!(side, "head");
    assert!(words.contains("was not ready within"), "{words}");
}

#[test]
fn a_server_on_the_wrong_port() {
    let place = Place::new();
    let (side, words) = place.failure(&place.server("head", "exec \"$1\" upstream --listen 127.0.0.1:0"));
    assert_eq!(side, "head");
    assert!(words.contains("it was told to listen on 127.0.0.1:"), "{words}");
    assert!(words.contains(" and listens on 127.0.0.1:"), "{words}");
}

#[test]
fn a_server_that_dies_in_the_middle() {
    let place = Place::new();
    let (side, words) = place.failure(&place.upstream("head", "--die-after 90"));
    assert_eq!(side, "head");
    assert!(
        words.contains("the server ended (exit status: 101) while requests were on their way"),
        "{words}"
    );
    assert!(words.contains("ended after 90 requests, as asked"), "its last words: {words}");
}

#[test]
fn a_server_that_answers_500_on_one_side_only() {
    let place = Place::new();
    let (side, words) = place.failure(&place.upstream("head", "--status 500"));
    assert_eq!(side, "head");
    assert!(words.contains("requests failed") && words.contains("answers of 400 and above"), "{words}");
}

#[test]
fn a_server_that_leaks_memory() {
    let place = Place::new();
    let (played, _) = place.judged(&place.upstream("head", "--leak-bytes 30000"), &[]);
    let words = notes(&played);
    assert!(words.contains("head keeps memory for every request"), "{words}");
    assert!(!words.contains("base keeps memory"), "{words}");
    let growth = |side: &str| played["sides"][side]["memory_growth_bytes"].as_f64().unwrap();
    assert!(growth("head") > growth("base") + 1e6, "{played}");
}

#[test]
fn a_server_that_is_slower_than_the_schedule() {
    let place = Place::new();
    // Two connections of 20 ms each serve 100 requests a second; 150 come.
    let slow = place.upstream("slow", "--delay-us 20000");
    let good = place.upstream("good", "");
    let played = place.until(&good, &slow, "head is slower than the schedule");
    assert_eq!(played["sides"]["base"]["kept_schedule"], true, "{played}");
    assert_eq!(played["sides"]["head"]["kept_schedule"], false, "{played}");
    let played = place.until(&slow, &slow, "both servers are slower than 300 requests a second");
    assert_eq!(played["failures"][0]["side"], Value::Null, "{played}");
}

#[test]
fn a_generator_that_cannot_keep_the_rate_blames_nobody() {
    let place = Place::new();
    let (played, code) = place.judged(&place.upstream("head", ""), &["--rate", "1000000"]);
    assert_eq!(code, 2, "{played}");
    let failure = &played["failures"][0];
    assert_eq!(failure["side"], Value::Null, "{played}");
    let words = failure["output"].as_str().unwrap();
    // How much of the machine the generator gets before its servers stand still is the machine's business.
    let said = ["the generator could not keep 1000000", "neither the servers nor the generator kept 1000000"];
    assert!(said.iter().any(|said| words.contains(said)), "{words}");
    assert!(words.contains("says nothing about the servers"), "{words}");
}

#[test]
fn what_cannot_be_played_is_said() {
    let place = Place::new();
    let good = place.upstream("good", "");
    let said = |base: &Path, more: &[&str]| {
        let output = place.load(base, &good, more);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
        String::from_utf8(output.stderr).unwrap()
    };
    let missing = said(Path::new("./no-such-binary"), &[]);
    assert!(missing.contains("cannot use ./no-such-binary"), "{missing}");
    let text = place.0.path().join("scenario.toml");
    assert!(said(&text, &[]).contains("is no executable file"));
    assert!(said(&good, &["--budget", "2"]).contains("--budget must lie between 0 and 1"));
    let output = Command::new(env!("CARGO_BIN_EXE_perfsuite"))
        .current_dir(place.0.path())
        .args(["load", "nothing", "--base", "good", "--head", "good"])
        .output()
        .unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(words.contains("there is no load scenario \"nothing\""), "{words}");
}
