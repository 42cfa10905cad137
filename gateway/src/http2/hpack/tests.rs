//! Blocks as the standard's examples have them, what is no block, and the way there and back.

use super::*;
use proptest::prelude::*;

fn bytes(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex")).collect()
}

fn read(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, BadBlock> {
    let mut fields = Vec::new();
    decoder.decode(block, |name, value| {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        fields.push((text(name), text(value)));
        true
    })?;
    Ok(fields)
}

#[track_caller]
fn check(decoder: &mut Decoder, hex: &str, expect: &[(&str, &str)]) {
    let fields = read(decoder, &bytes(hex)).expect("a block");
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(fields, expect, "{hex}");
}

const FIRST: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")];

#[test]
fn blocks_are_read() {
    // RFC 7541, appendix C.2.
    let mut decoder = Decoder::default();
    let literal = "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572";
    check(&mut decoder, literal, &[("custom-key", "custom-header")]);
    check(&mut decoder, "040c 2f73 616d 706c 652f 7061 7468", &[(":path", "/sample/path")]);
    check(&mut decoder, "1008 7061 7373 776f 7264 0673 6563 7265 74", &[("password", "secret")]);
    check(&mut decoder, "82", &[(":method", "GET")]);
    check(&mut decoder, "be", &[("custom-key", "custom-header")]);
}

#[test]
fn what_came_before_is_remembered() {
    // RFC 7541, appendix C.3 and C.4.
    let clear = ["8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", "8286 84be 5808 6e6f 2d63 6163 6865"];
    let coded = ["8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", "8286 84be 5886 a8eb 1064 9cbf"];
    for [first, second] in [clear, coded] {
        let mut decoder = Decoder::default();
        check(&mut decoder, first, &FIRST);
        check(&mut decoder, second, &[&FIRST[..], &[("cache-control", "no-cache")]].concat());
        check(&mut decoder, "be bf", &[("cache-control", "no-cache"), FIRST[3]]);
        // A smaller table forgets the oldest: 53 bytes are one field.
        check(&mut decoder, "3f16 be", &[("cache-control", "no-cache")]);
        assert_eq!(read(&mut decoder, &[0xbf]), Err(BadBlock));
    }
}

#[test]
fn what_is_no_block_is_refused() {
    for hex in [
        "80",
        "ff8080 01",
        "be",
        "ffff ffff ffff",
        "40",
        "4001",
        "0003 6161",
        "0001 61 05 61",
        "82 20",
        "3fe2 1f",
        "0081 ff00",
    ] {
        assert_eq!(read(&mut Decoder::default(), &bytes(hex)), Err(BadBlock), "{hex}");
    }
}

#[test]
fn a_name_outlives_the_entry_that_it_is_taken_from() {
    let mut decoder = Decoder::default();
    let mut block = vec![0x40];
    push_string(&mut block, b"long");
    push_string(&mut block, &[b'x'; 4000]);
    // By that entry's name, and too large for both to stay.
    block.push(0x7e);
    push_string(&mut block, &[b'y'; 100]);
    block.push(0xbe);
    let fields = read(&mut decoder, &block).expect("a block");
    assert_eq!(fields[1].0, "long");
    assert_eq!(fields[2], fields[1]);
    assert_eq!(fields.len(), 3);
}

#[test]
fn nothing_is_told_any_more_once_it_is_not_wanted() {
    let mut told = 0;
    let mut decoder = Decoder::default();
    let block = bytes("8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d");
    let tell = |_: &[u8], _: &[u8]| {
        told += 1;
        told < 2
    };
    decoder.decode(&block, tell).expect("a block");
    assert_eq!(told, 2);
    check(&mut decoder, "be", &[FIRST[3]]);
}

#[test]
fn names_of_answers_are_written_short() {
    for (place, (name, _)) in STATIC.iter().enumerate() {
        if let Some(known) = known(name) {
            assert_eq!(usize::from(known), place + 1, "{}", String::from_utf8_lossy(name));
        }
    }
    for name in
        ["content-length", "content-type", "date", "server", "via", "etag", "location", "vary", "set-cookie"]
    {
        assert!(known(name.as_bytes()).is_some(), "{name}");
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        code in 100u32..600,
        fields in prop::collection::vec(("[a-zA-Z-]{1,20}|content-type|Set-Cookie|via|x{200}", "[ -~]{0,300}"), 0..12),
    ) {
        let mut out = Vec::new();
        forget(&mut out);
        status(&mut out, code.to_string().as_bytes());
        for (name, value) in &fields {
            field(&mut out, name.as_bytes(), value.as_bytes());
        }
        let back = read(&mut Decoder::default(), &out).expect("a block");
        let mut expect = vec![(":status".to_owned(), code.to_string())];
        expect.extend(fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())));
        prop_assert_eq!(back, expect);
    }

    #[test]
    fn any_bytes_are_read_or_refused(block in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&mut Decoder::default(), &block);
    }
}
