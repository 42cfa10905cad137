//! `paceline commits` through the real binary: the edge list, bounds, and what is said of input that cannot be read.

use crate::commands::paceline;
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Output, Stdio};

/// The edge list, which `scripts/conventions-diff` holds against other tools too.
const EDGES: &str = include_str!("../../../scripts/conventions-diff.d/edges.json");

/// In a directory of its own, so that no configuration is found.
fn given(arguments: &[&str], input: &[u8]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    given_in(dir.path(), arguments, input)
}

fn given_in(dir: &std::path::Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = paceline(&[&["commits"], arguments].concat());
    command.current_dir(dir).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A thread of its own: the answer begins before all is read. One who ends early leaves a pipe that cannot be written.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn records(output: &Output) -> Vec<Value> {
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words}");
    String::from_utf8(output.stdout.clone())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_edge_list_is_judged_as_it_says() {
    let edges: Vec<Value> = serde_json::from_str(EDGES).unwrap();
    let input: String = edges.iter().map(|edge| format!("{}\0", edge["message"].as_str().unwrap())).collect();
    let found = records(&given(&["-"], input.as_bytes()));
    assert_eq!(found.len(), edges.len());
    for (index, (edge, record)) in edges.iter().zip(&found).enumerate() {
        let told = format!("{:?}: {record:#}", edge["message"].as_str().unwrap());
        assert_eq!(record["index"], index, "{told}");
        for key in ["compliant", "type", "scope", "breaking", "description"] {
            if let Some(expect) = edge.get(key) {
                assert_eq!(&record[key], expect, "{key} of {told}");
            }
        }
        assert_eq!(record.get("kind"), edge.get("kind"), "{told}");
        let footers = record["footers"].as_array().unwrap().iter();
        let footers: Vec<Value> = footers.map(|f| json!([f["token"], f["value"]])).collect();
        if let Some(expect) = edge.get("footers") {
            assert_eq!(&json!(footers), expect, "{told}");
        }
        let findings = record["findings"].as_array().unwrap();
        let rules: Vec<&Value> = findings.iter().map(|finding| &finding["rule"]).collect();
        assert_eq!(json!(rules), edge["rules"], "{told}");
        for key in ["line", "column", "suggestion"] {
            // A column of `null` is one that is not asked for; a suggestion of `null` is none.
            if let Some(expect) = edge.get(key).filter(|expect| key != "column" || !expect.is_null()) {
                assert_eq!(&findings[0][key], expect, "{key} of {told}");
            }
        }
        for finding in findings {
            assert!(finding["message"].as_str().is_some_and(|words| !words.is_empty()), "{told}");
        }
    }
}

#[test]
fn a_record_has_the_names_of_the_contract() {
    let output = given(&["-"], b"fix(a)!: x\n\nCloses #12\0Merge branch 'a'");
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        lines,
        "{\"index\":0,\"compliant\":true,\"type\":\"fix\",\"scope\":\"a\",\"breaking\":true,\"description\":\"x\",\
         \"footers\":[{\"token\":\"Closes\",\"value\":\"12\"}],\"findings\":[]}\n\
         {\"index\":1,\"compliant\":null,\"kind\":\"merge\",\"type\":null,\"scope\":null,\"breaking\":false,\
         \"description\":null,\"footers\":[],\"findings\":[]}\n"
    );
    let record = &records(&given(&["-"], "feat(e\u{301}):x".as_bytes()))[0];
    assert_eq!(
        record["findings"],
        json!([{
            "rule": "header-form", "level": "error", "line": 1, "column": 9,
            "message": "A space is missing after the colon.", "suggestion": "feat(e\u{301}): x"
        }]),
        "columns count what people see"
    );
}

#[test]
fn files_and_configurations_are_read() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("messages"), b"feat: x.\0wonder: y").unwrap();
    let rules = |arguments: &[&str]| {
        let found = records(&given_in(dir.path(), arguments, b""));
        found.iter().map(|record| record["findings"].to_string()).collect::<Vec<_>>()
    };
    assert!(rules(&["messages"]).iter().all(|findings| findings.contains("error")));
    std::fs::write(dir.path().join("named.toml"), "[commits]\nlevel = 'off'").unwrap();
    assert_eq!(rules(&["messages", "--config", "named.toml"]), ["[]", "[]"]);
    std::fs::create_dir(dir.path().join(".github")).unwrap();
    std::fs::write(
        dir.path().join(".github/paceline.toml"),
        "[commits.rules]\ntype-enum = { values = ['wonder'] }\nsubject-full-stop = { level = 'warn' }",
    )
    .unwrap();
    let own = rules(&["messages"]);
    assert!(own[0].contains("type-enum") && own[0].contains("\"warn\"") && own[1] == "[]", "{own:?}");
}

#[test]
fn check_ends_with_one_for_an_error() {
    let code = |arguments: &[&str], input: &[u8]| given(arguments, input).status.code();
    assert_eq!(code(&["-", "--check"], b"feat: x"), Some(0));
    assert_eq!(code(&["-", "--check"], b"feat: X"), Some(0), "a warning is none");
    assert_eq!(code(&["-", "--check"], b"feat: x\0feat:x"), Some(1));
    assert_eq!(code(&["-"], b"feat:x"), Some(0));
}

#[test]
fn what_cannot_be_read_is_said_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bad.toml"), "[comits]").unwrap();
    std::fs::write(dir.path().join("large.toml"), "#".repeat(10 << 20)).unwrap();
    for (arguments, expect) in [
        (&["none"][..], "none"),
        (&["."], "directory"),
        (&["-", "--config", "none.toml"], "none.toml"),
        (&["-", "--config", "bad.toml"], "line 1, column 2"),
        (&["-", "--config", "large.toml"], "256 KiB"),
    ] {
        let output = given_in(dir.path(), arguments, b"feat: x");
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words}");
        assert_eq!(words.trim_end().lines().count(), 1, "{words}");
        assert!(words.contains(expect) && output.stdout.is_empty(), "{words}");
    }
}

/// Each would take hours where a part of it were read again for each of its own bytes.
#[test]
fn a_message_of_a_mebibyte_is_answered_whatever_it_is_made_of() {
    for piece in [
        "(",
        "a(",
        "(a)",
        "!",
        ":",
        " ",
        "\n",
        "\r\n",
        "a: b\n",
        "BREAKING CHANGE: x\n",
        "\u{301}",
        "# x\n",
        "`",
        "fixup! ",
    ] {
        for start in ["", "feat", "feat: x\n\n"] {
            let message = format!("{start}{}", piece.repeat((1 << 20) / piece.len()));
            let output = given(&["-"], message.as_bytes());
            // No more is written than a bounded multiple of what was read.
            assert!(output.stdout.len() < 8 * message.len(), "{piece:?}: {}", output.stdout.len());
            assert_eq!(records(&output).len(), 1, "{piece:?}");
        }
    }
    let longer = [&b"feat: x\n\n"[..], &b"y\n".repeat(2 << 20)].concat();
    let found = records(&given(&["-"], &longer));
    assert_eq!(
        (&found[0]["compliant"], &found[0]["findings"][0]["rule"]),
        (&json!(true), &json!("message-size"))
    );
}

#[test]
fn thousands_of_hostile_messages_are_each_answered() {
    let hostile = [
        "$(reboot)",
        "feat: `rm -rf /`",
        "<script>alert(1)</script>",
        "feat: \u{202e}txt.exe",
        "feat: a\u{0}b",
        "feat: \u{1b}[31mred",
        "feat: x\n\n]]>--><!--",
        "\u{feff}feat: x",
        "feat: ${jndi:ldap://x}",
        "fix(\u{202e}): y",
    ];
    let input: String =
        (0..5_000).map(|n| format!("{}\0", hostile[n % hostile.len()].replace('\0', ""))).collect();
    let found = records(&given(&["-"], input.as_bytes()));
    assert_eq!(found.len(), 5_000);
    assert_eq!(found[4_999]["index"], 4_999);
}
