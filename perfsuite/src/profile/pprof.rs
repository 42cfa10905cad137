//! One side as `profile.pb.gz`, which `go tool pprof` and its relatives read. Pure.
//!
//! The message is `perftools.profiles.Profile` (google/pprof, `proto/profile.proto`); its few fields that are needed are
//! written here by the rules of protocol buffers (varints, and lengths before what is long), without a library for it.

use super::folded::counts;
use crate::model::Side;
use crate::model::profile::Profile;
use anyhow::Context;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::collections::HashMap;
use std::io::Write;

/// The compressed profile of one side.
pub fn encode(profile: &Profile, side: Side) -> anyhow::Result<Vec<u8>> {
    // Neither name nor time in the header: the same profile, the same bytes.
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&message(profile, side)).and_then(|()| gzip.finish()).context("cannot compress a profile")
}

/// `Profile`, uncompressed.
fn message(profile: &Profile, side: Side) -> Vec<u8> {
    let mut strings = Strings::default();
    let mut out = Message::default();
    let value_type = |strings: &mut Strings, kind: &str, unit: &str| {
        let mut value = Message::default();
        value.number(1, strings.place(kind));
        value.number(2, strings.place(unit));
        value
    };
    let samples = value_type(&mut strings, "samples", "count");
    let cpu = value_type(&mut strings, "cpu", "nanoseconds");
    out.message(1, &samples);
    out.message(1, &cpu);
    for stack in &profile.stacks {
        let count: u64 = counts(stack, side).iter().map(|count| u64::from(*count)).sum();
        if count == 0 {
            continue;
        }
        // Places are those of functions, counted from one; the innermost first.
        let places: Vec<u64> = stack.frames.iter().rev().map(|frame| u64::from(*frame) + 1).collect();
        let mut sample = Message::default();
        sample.numbers(1, &places);
        sample.numbers(2, &[count, count.saturating_mul(profile.period_ns)]);
        out.message(2, &sample);
    }
    for (at, name) in profile.names.iter().enumerate() {
        let id = at as u64 + 1;
        let mut line = Message::default();
        line.number(1, id);
        let mut location = Message::default();
        location.number(1, id);
        location.message(4, &line);
        out.message(4, &location);
        let mut function = Message::default();
        function.number(1, id);
        let name = strings.place(name);
        function.number(2, name);
        function.number(3, name);
        out.message(5, &function);
    }
    let work: f64 = profile.visits.iter().map(|v| if side == Side::Base { v.base } else { v.head }).sum();
    let comment = strings.place(&format!("{work} {}s of {}", profile.unit.as_str(), profile.benchmark));
    let period = value_type(&mut strings, "cpu", "nanoseconds");
    for string in &strings.all {
        out.bytes(6, string.as_bytes());
    }
    out.message(11, &period);
    out.number(12, profile.period_ns);
    out.number(13, comment);
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
    fn numbers(&mut self, field: u64, values: &[u64]) {
        let mut packed = Message::default();
        values.iter().for_each(|value| packed.varint(*value));
        self.message(field, &packed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::profile::ProfileVisit;
    use crate::profile::stacks::{Stacks, tests::of};
    use flate2::read::GzDecoder;
    use proptest::prelude::*;
    use std::io::Read;

    /// A field as it stands on the wire.
    #[derive(Clone, Debug, PartialEq)]
    enum Field {
        Number(u64, u64),
        Bytes(u64, Vec<u8>),
    }

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

    fn fields(mut bytes: &[u8]) -> Vec<Field> {
        let mut fields = vec![];
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            fields.push(match key & 7 {
                0 => Field::Number(key >> 3, varint(&mut bytes)),
                2 => {
                    let length = varint(&mut bytes) as usize;
                    let (own, rest) = bytes.split_at(length);
                    bytes = rest;
                    Field::Bytes(key >> 3, own.to_vec())
                }
                other => panic!("wire type {other}"),
            });
        }
        fields
    }

    fn numbers(mut packed: &[u8]) -> Vec<u64> {
        let mut numbers = vec![];
        while !packed.is_empty() {
            numbers.push(varint(&mut packed));
        }
        numbers
    }

    fn all(fields: &[Field], wanted: u64) -> Vec<Vec<u8>> {
        let bytes = fields.iter().filter_map(|field| match field {
            Field::Bytes(number, bytes) if *number == wanted => Some(bytes.clone()),
            _ => None,
        });
        bytes.collect()
    }

    fn number(fields: &[Field], wanted: u64) -> u64 {
        let found = fields.iter().find_map(|field| match field {
            Field::Number(number, value) if *number == wanted => Some(*value),
            _ => None,
        });
        found.unwrap_or(0)
    }

    /// Reads stacks back by the documented form: samples, their locations, lines, functions, strings.
    fn read_back(gzip: &[u8]) -> Vec<(Vec<String>, u64, u64)> {
        let mut bytes = vec![];
        GzDecoder::new(gzip).read_to_end(&mut bytes).unwrap();
        let profile = fields(&bytes);
        let strings: Vec<String> =
            all(&profile, 6).into_iter().map(|bytes| String::from_utf8(bytes).unwrap()).collect();
        assert_eq!(strings[0], "");
        let types: Vec<(String, String)> = all(&profile, 1)
            .iter()
            .map(|bytes| fields(bytes))
            .map(|f| (strings[number(&f, 1) as usize].clone(), strings[number(&f, 2) as usize].clone()))
            .collect();
        let text = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(types, [text("samples", "count"), text("cpu", "nanoseconds")]);
        let functions: HashMap<u64, String> = all(&profile, 5)
            .iter()
            .map(|bytes| fields(bytes))
            .map(|f| (number(&f, 1), strings[number(&f, 2) as usize].clone()))
            .collect();
        let locations: HashMap<u64, String> = all(&profile, 4)
            .iter()
            .map(|bytes| fields(bytes))
            .map(|f| (number(&f, 1), functions[&number(&fields(&all(&f, 4)[0]), 1)].clone()))
            .collect();
        let samples = all(&profile, 2).into_iter().map(|bytes| {
            let sample = fields(&bytes);
            let stack = numbers(&all(&sample, 1)[0]).iter().rev().map(|id| locations[id].clone()).collect();
            let values = numbers(&all(&sample, 2)[0]);
            (stack, values[0], values[1])
        });
        samples.collect()
    }

    #[test]
    fn a_profile_reads_back() {
        let mut stacks = Stacks::default();
        for _ in 0..300 {
            stacks.add(Side::Head, 0, &["main", "größe<T>"]);
        }
        stacks.add(Side::Head, 0, &["main"]);
        stacks.add(Side::Base, 0, &["other"]);
        let profile = stacks.into_profile(of(), vec![ProfileVisit { base: 1.0, head: 2.0 }]);
        let gzip = encode(&profile, Side::Head).unwrap();
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            read_back(&gzip),
            [(names(&["main"]), 1, 500_000), (names(&["main", "größe<T>"]), 300, 150_000_000)]
        );
        assert_eq!(gzip, encode(&profile, Side::Head).unwrap(), "the same bytes");
    }

    proptest! {
        #[test]
        fn any_profile_reads_back(samples in prop::collection::vec((prop::collection::vec(0_u8..200, 1..5), 1_u8..9), 0..40)) {
            let mut stacks = Stacks::default();
            for (frames, count) in &samples {
                let functions: Vec<String> = frames.iter().map(|frame| format!("f{frame}")).collect();
                (0..*count).for_each(|_| stacks.add(Side::Base, 0, &functions));
            }
            let profile = stacks.into_profile(of(), vec![ProfileVisit { base: 1.0, head: 1.0 }]);
            let read = read_back(&encode(&profile, Side::Base).unwrap());
            let given: u64 = samples.iter().map(|(_, count)| u64::from(*count)).sum();
            prop_assert_eq!(read.iter().map(|(_, count, _)| count).sum::<u64>(), given);
            let expect: Vec<Vec<String>> = profile
                .stacks
                .iter()
                .map(|stack| stack.frames.iter().map(|frame| profile.names[*frame as usize].clone()).collect())
                .collect();
            prop_assert_eq!(read.into_iter().map(|(stack, ..)| stack).collect::<Vec<_>>(), expect);
        }
    }
}
