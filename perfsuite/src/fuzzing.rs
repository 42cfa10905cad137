//! What hostile bytes must never do, one function for each fuzz target of `fuzz/`. Tests run them on the seeds, and on
//! what was found in the past.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a property that does not hold ends the process, as it should"
)]

use crate::codegen::{Comparison, Difference, Entrance, Image};
use crate::load::response::{Bad, ResponseReader};
use crate::{checking, cli, sandbox, suite};

/// What a bench prints: cut into lines in whatever pieces it comes, and read as announcements of benchmarks.
pub fn bench_output(data: &[u8]) {
    let Some((step, text)) = data.split_first() else { return };
    let whole = sandbox::lines_of([text]);
    let pieces = text.chunks(usize::from(*step).max(1));
    assert_eq!(sandbox::lines_of(pieces), whole, "the same lines however they arrive");
    for line in &whole {
        assert!(!line.contains('\n'));
    }
    suite::criterion::hostile_listing(&String::from_utf8_lossy(text));
}

/// What a compiler, a formatter or a test prints, with the sources at `/build/src`.
pub fn tool_output(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    checking::hostile_output(&text);
    for test in checking::read_harness("test a", &text, Ok(101)) {
        assert!(!test.test.is_empty() && !test.test.chars().any(char::is_control), "{test:?}");
    }
}

/// An executable, and the linker's map of it behind the last line `MAP`.
pub fn codegen(data: &[u8]) {
    const MARK: &[u8] = b"\nMAP\n";
    let at = data.windows(MARK.len()).rposition(|window| window == MARK).unwrap_or(data.len());
    let (executable, map) = (&data[..at], data.get(at + MARK.len()..).unwrap_or_default());
    let Ok(image) = Image::read(executable, map) else { return };
    let own = image.entry_address();
    let entrance = Entrance { own, all: vec![own, image.lowest_address()] };
    let mut comparison = Comparison::new(&image, &image);
    match comparison.benchmark(&entrance, &entrance) {
        Difference::Same(_) => {}
        // Every piece equals itself; what is not understood equals nothing.
        Difference::Changed(changed) => assert!(changed.unsure.is_some(), "{changed:?}"),
    }
}

/// What a server under test answers, in whatever pieces. The first byte is the size of the pieces.
pub fn load_response(data: &[u8]) {
    const BODY_MAX_BYTES: u64 = 4_096;
    let Some((step, bytes)) = data.split_first() else { return };
    let read = |size: usize| -> Result<Option<u16>, Bad> {
        let mut reader = ResponseReader::new(BODY_MAX_BYTES);
        reader.expect(false);
        for piece in bytes.chunks(size) {
            if let Some(answer) = reader.feed(piece)? {
                return Ok(Some(answer.status));
            }
        }
        Ok(None)
    };
    let whole = read(bytes.len().max(1));
    let pieces = read(usize::from(*step).max(1));
    match (whole, pieces) {
        (Ok(a), Ok(b)) => assert_eq!(a, b, "the same answer however it arrives"),
        // A body that ends within the bound may have more behind it in the same piece.
        (Err(Bad::TooLarge), Ok(_)) | (Err(_), Err(_)) => {}
        (a, b) => panic!("{a:?} at once, {b:?} in pieces of {step}"),
    }
}

/// A file of measurements.
pub fn judge_csv(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(lines) = cli::judged(&text) {
        for line in lines {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            for key in ["estimate", "low", "high", "smallest_visible"] {
                assert!(line[key].is_number(), "{key} of {line}");
            }
        }
    }
}

/// A history, as a file.
pub fn history_csv(data: &[u8]) {
    for line in cli::change_points_told(data).unwrap_or_default().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let size = line["size"].as_f64().unwrap();
        assert!(size > -1.0 && size != 0.0, "{line}");
        assert!(line["index"].is_i64() || line["index"].is_u64(), "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each file of a target's seeds and of what was found in the past; every target has some.
    fn each(target: &str, holds: impl Fn(&[u8])) {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
        let mut inputs = 0;
        for kind in ["seeds", "regressions"] {
            for entry in std::fs::read_dir(root.join(kind).join(target)).into_iter().flatten() {
                let path = entry.unwrap().path();
                eprintln!("{}", path.display());
                holds(&std::fs::read(path).unwrap());
                inputs += 1;
            }
        }
        assert!(inputs > 0, "no seeds for {target}");
    }

    #[test]
    fn seeds_and_findings_hold() {
        each("bench_output", bench_output);
        each("codegen", codegen);
        each("load_response", load_response);
        each("judge_csv", judge_csv);
        each("history_csv", history_csv);
        each("tool_output", tool_output);
    }
}
