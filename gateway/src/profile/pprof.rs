//! A profile as `profile.pb.gz`, which `go tool pprof` and its relatives read. Pure.
//!
//! The message is `perftools.profiles.Profile` (google/pprof, `proto/profile.proto`); the few fields that are needed are
//! written by the rules of protocol buffers. A function is told as a mapping-less location of its own: its name is known.

use super::stacks::Stacks;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::HashMap;
use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What is said of a profile as a whole.
#[derive(Clone, Debug)]
pub(super) struct About<'a, const N: usize> {
    /// Name and unit of each value.
    pub(super) kinds: [(&'a str, &'a str); N],
    /// The kind that is shown first.
    pub(super) first: &'a str,
    /// Name and unit of what is between two samples, and how much of it.
    pub(super) period: (&'a str, &'a str, u64),
    pub(super) begun: SystemTime,
    pub(super) length: Duration,
    pub(super) comments: &'a [String],
}

pub(super) fn encode<const N: usize>(stacks: &Stacks<N>, about: &About<'_, N>) -> io::Result<Vec<u8>> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&message(stacks, about))?;
    gzip.finish()
}

fn message<const N: usize>(stacks: &Stacks<N>, about: &About<'_, N>) -> Vec<u8> {
    let mut strings = Strings::default();
    let mut out = Message::default();
    let kind = |strings: &mut Strings, (name, unit): (&str, &str)| {
        let mut kind = Message::default();
        kind.number(1, strings.place(name));
        kind.number(2, strings.place(unit));
        kind
    };
    for of_value in about.kinds {
        out.message(1, &kind(&mut strings, of_value));
    }
    for (stack, values) in stacks.iter().filter(|(_, values)| values.iter().any(|value| *value > 0)) {
        let mut sample = Message::default();
        // Locations are those of functions, counted from one; the innermost first.
        sample.numbers(1, stack.iter().rev().map(|place| u64::from(*place) + 1));
        sample.numbers(2, values.iter().copied());
        out.message(2, &sample);
    }
    for (id, name) in (1..).zip(&stacks.names) {
        let mut line = Message::default();
        line.number(1, id);
        let mut location = Message::default();
        location.number(1, id);
        location.message(4, &line);
        out.message(4, &location);
        let mut function = Message::default();
        function.number(1, id);
        function.number(2, strings.place(name));
        function.number(3, strings.place(name));
        out.message(5, &function);
    }
    let period = kind(&mut strings, (about.period.0, about.period.1));
    let comments: Vec<u64> = about.comments.iter().map(|comment| strings.place(comment)).collect();
    let first = strings.place(about.first);
    for string in &strings.all {
        out.bytes(6, string.as_bytes());
    }
    let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    out.number(9, ns(about.begun.duration_since(UNIX_EPOCH).unwrap_or_default()));
    out.number(10, ns(about.length));
    out.message(11, &period);
    out.number(12, about.period.2);
    out.numbers(13, comments.into_iter());
    out.number(14, first);
    out.0
}

/// The table of strings; the first is empty.
struct Strings {
    all: Vec<String>,
    places: HashMap<String, u64>,
}

impl Default for Strings {
    fn default() -> Self {
        Strings { all: vec![String::new()], places: [(String::new(), 0)].into() }
    }
}

impl Strings {
    fn place(&mut self, text: &str) -> u64 {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let place = self.all.len() as u64;
        self.all.push(text.to_owned());
        self.places.insert(text.to_owned(), place);
        place
    }
}

/// A message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(&mut self, field: u64, value: u64) {
        // What is zero is left out, as by every writer of version 3.
        if value != 0 {
            self.varint(field << 3);
            self.varint(value);
        }
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        const LENGTH_BEFORE: u64 = 2;
        self.varint(field << 3 | LENGTH_BEFORE);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u64, message: &Message) {
        self.bytes(field, &message.0);
    }

    /// Packed.
    fn numbers(&mut self, field: u64, values: impl Iterator<Item = u64>) {
        let mut packed = Message::default();
        values.for_each(|value| packed.varint(value));
        self.message(field, &packed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use std::io::Read;

    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for at in 0.. {
            let (first, rest) = bytes.split_first().expect("a varint ends");
            *bytes = rest;
            value |= u64::from(first & 0x7f) << (7 * at);
            if first & 0x80 == 0 {
                break;
            }
        }
        value
    }

    /// Fields by number: one that is a number as itself, others as bytes.
    fn fields(mut bytes: &[u8]) -> Vec<(u64, Result<u64, Vec<u8>>)> {
        let mut fields = vec![];
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let value = match key & 7 {
                0 => Ok(varint(&mut bytes)),
                _ => {
                    let length = varint(&mut bytes) as usize;
                    let (own, rest) = bytes.split_at(length);
                    bytes = rest;
                    Err(own.to_vec())
                }
            };
            fields.push((key >> 3, value));
        }
        fields
    }

    fn of(fields: &[(u64, Result<u64, Vec<u8>>)], wanted: u64) -> Vec<Vec<u8>> {
        let found = fields.iter().filter(|(number, _)| *number == wanted);
        found.filter_map(|(_, value)| value.clone().err()).collect()
    }

    fn number(fields: &[(u64, Result<u64, Vec<u8>>)], wanted: u64) -> u64 {
        fields
            .iter()
            .find(|(number, _)| *number == wanted)
            .and_then(|(_, value)| value.clone().ok())
            .unwrap_or(0)
    }

    fn numbers(mut packed: &[u8]) -> Vec<u64> {
        let mut numbers = vec![];
        while !packed.is_empty() {
            numbers.push(varint(&mut packed));
        }
        numbers
    }

    #[test]
    fn a_profile_reads_back() {
        let mut stacks = Stacks::<2>::default();
        let (main, inner) = (stacks.place("main"), stacks.place("größe<T>"));
        stacks.add(vec![main, inner], [300, 3_000_000_000]);
        stacks.add(vec![main], [1, 10_000_000]);
        stacks.add(vec![inner], [0, 0]);
        let about = About {
            kinds: [("samples", "count"), ("cpu", "nanoseconds")],
            first: "cpu",
            period: ("cpu", "nanoseconds", 10_000_000),
            begun: UNIX_EPOCH + Duration::from_secs(7),
            length: Duration::from_secs(3),
            comments: &["a word".to_owned()],
        };
        let gzip = encode(&stacks, &about).expect("a profile");
        let mut bytes = vec![];
        GzDecoder::new(&gzip[..]).read_to_end(&mut bytes).expect("gzip");
        let profile = fields(&bytes);
        let strings: Vec<String> =
            of(&profile, 6).into_iter().map(|bytes| String::from_utf8(bytes).expect("text")).collect();
        let text = |place: u64| strings[place as usize].as_str();
        assert_eq!(text(0), "");
        let kinds: Vec<_> = of(&profile, 1).iter().map(|kind| fields(kind)).collect();
        assert_eq!((text(number(&kinds[0], 1)), text(number(&kinds[1], 2))), ("samples", "nanoseconds"));
        let functions = of(&profile, 5);
        let named = |id: u64| {
            let function = functions.iter().map(|function| fields(function)).find(|f| number(f, 1) == id);
            text(number(&function.expect("a function"), 2)).to_owned()
        };
        let locations = of(&profile, 4);
        let at = |id: u64| {
            let location = locations.iter().map(|location| fields(location)).find(|f| number(f, 1) == id);
            named(number(&fields(&of(&location.expect("a location"), 4)[0]), 1))
        };
        let samples: Vec<(Vec<String>, Vec<u64>)> = of(&profile, 2)
            .iter()
            .map(|sample| fields(sample))
            .map(|f| (numbers(&of(&f, 1)[0]).into_iter().map(at).collect(), numbers(&of(&f, 2)[0])))
            .collect();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let expect = [
            (names(&["main"]), vec![1, 10_000_000]),
            (names(&["größe<T>", "main"]), vec![300, 3_000_000_000]),
        ];
        assert_eq!(samples, expect, "the innermost first, and none without a count");
        assert_eq!((number(&profile, 9), number(&profile, 10)), (7_000_000_000, 3_000_000_000));
        assert_eq!((number(&profile, 12), text(number(&profile, 14))), (10_000_000, "cpu"));
        assert_eq!(text(numbers(&of(&profile, 13)[0])[0]), "a word");
    }
}
