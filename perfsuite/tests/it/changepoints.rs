//! `perfsuite changepoints` through the door.

use serde_json::{Value, json};
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Runs the program with a file on its standard input.
fn perfsuite(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_perfsuite"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Where it refuses a line, it does not read the rest.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// `before` rows around 100, `after` rows around 103.
fn rows(name: &str, before: usize, after: usize) -> String {
    let value = |i: usize| (if i < before { 100.0 } else { 103.0 }) + 0.1 * ((i * 7 % 11) as f64 - 5.0);
    (0..before + after).map(|i| format!("{name},{},{:.2}\n", 10 * i, value(i))).collect()
}

#[test]
fn changes_are_a_line_of_json_each() {
    let text = format!(
        "series,index,value\n{}{}{}",
        rows("\"a, b\"", 40, 40),
        rows("new", 40, 5),
        rows("calm", 80, 0)
    );
    let output = perfsuite(&["changepoints", "-"], &text);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let mut lines: Vec<Value> =
        out(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for line in &mut lines {
        let size = line["size"].take().as_f64().unwrap();
        assert!((size - 0.03).abs() < 0.004, "{size}");
    }
    assert_eq!(
        lines,
        [
            json!({ "series": "a, b", "index": 400, "size": null, "state": "confirmed" }),
            json!({ "series": "new", "index": 400, "size": null, "state": "provisional" }),
        ]
    );
    let keys = |line: &str| line.match_indices('"').count();
    assert!(out(&output).lines().all(|line| keys(line) == 12), "four keys and two strings, and no more");
}

#[test]
fn a_file_is_read_and_told_in_words() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), rows("a", 40, 40) + &rows("b", 40, 5) + &rows("c", 9, 0)).unwrap();
    let output = perfsuite(&["changepoints", "--format", "text", file.path().to_str().unwrap()], "");
    let words = out(&output);
    let lines: Vec<&str> = words.lines().collect();
    assert_eq!(lines.len(), 3, "{words}");
    assert!(lines[0].starts_with("a: +3.0 %") && lines[0].ends_with("from 400 on"), "{words}");
    assert!(lines[1].ends_with("provisionally: few points came after it"), "{words}");
    assert_eq!(lines[2], "c: no change in 9 points");
}

#[test]
fn gaps_are_said_and_no_points() {
    let text = rows("a", 40, 40).replace("a,390,", "a,390,NaN\na,391,-").replace("a,400,", "a,400,\na,401,");
    let output = perfsuite(&["changepoints", "-"], &text);
    assert_eq!(output.status.code(), Some(0));
    assert!(out(&output).starts_with("{\"series\":\"a\",\"index\":401,"), "{}", out(&output));
    assert_eq!(err(&output), "perfsuite: series a: 3 rows without a positive value were left out\n");
    let output = perfsuite(&["changepoints", "-"], "series,index,value\na,1,5\n");
    assert_eq!((output.status.code(), out(&output).as_str()), (Some(0), ""));
}

#[test]
fn what_cannot_be_read_is_named() {
    for (text, expected) in [
        ("", "there are no measurements"),
        ("a,1,2\na,2\n", "line 2: not of the form series,index,value"),
        ("a,2,2\na,1,2\n", "line 2: index 1 of series a does not come after 2 of line 1"),
        ("a,1,two\n", "line 1: the value \"two\" is no number"),
    ] {
        let output = perfsuite(&["changepoints", "-"], text);
        assert_eq!((output.status.code(), out(&output).as_str()), (Some(2), ""));
        assert!(err(&output).starts_with("perfsuite: cannot read -: ") && err(&output).contains(expected));
    }
    let output = perfsuite(&["changepoints", "/no/such/file"], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).starts_with("perfsuite: cannot open /no/such/file"), "{}", err(&output));
    let output = perfsuite(&["changepoints", "--min-size=-1", "-"], "a,1,2\n");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_hundred_thousand_points_are_answered() {
    let text: String = (0..100_000)
        .map(|i| format!("a,{i},{}\n", if i < 50_000 { 100.0 } else { 103.0 } + f64::from(i * 7 % 11) * 0.1))
        .collect();
    let output = perfsuite(&["changepoints", "-"], &text);
    assert_eq!(out(&output).lines().count(), 1, "{}", out(&output));
    assert!(out(&output).contains("\"index\":50000,"), "{}", out(&output));
}

/// The histories that the promise is about, through the door.
#[test]
fn generated_histories_are_told_right() {
    let made = perfsuite(&["history-trial", "--generate", "30", "--seed", "5"], "");
    let output = perfsuite(&["changepoints", "-"], &out(&made));
    let told: Vec<Value> = out(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let truth = err(&made);
    let steps = truth.lines().count();
    let found = truth.lines().filter(|step| {
        let columns: Vec<&str> = step.split(',').collect();
        let (at, size): (i64, f64) = (columns[1].parse().unwrap(), columns[2].parse().unwrap());
        told.iter().any(|line| {
            line["series"] == columns[0]
                && (line["index"].as_i64().unwrap() - at).abs() <= 2
                && (line["size"].as_f64().unwrap() - size).abs() < 0.02
        })
    });
    let found = found.count();
    assert_eq!(steps, 60);
    assert!(found >= 55 && told.len() <= 65, "{found} of {steps} found, {} told", told.len());
}
