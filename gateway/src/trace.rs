//! The trace that a request belongs to (W3C Trace Context): read as it came, and written for the next hop. Pure.

/// A request's place in a trace, as `traceparent` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    pub trace: [u8; 16],
    /// The span that the request was sent from.
    pub span: [u8; 8],
    pub flags: u8,
}

/// Whoever sent it keeps what it knows of the trace.
const SAMPLED: u8 = 1;
/// The flags that are known: sampled, and a trace's number by chance (level 2).
const KNOWN_FLAGS: u8 = 3;
/// `00-`, the trace, `-`, the span, `-`, the flags.
const FIELD_BYTES: usize = 55;

/// A field's value of this hop.
pub type Field = [u8; FIELD_BYTES];

/// What the next hop is told in place of what came.
#[derive(Clone, Copy, Debug)]
pub struct Onward<'a> {
    /// The value of `traceparent`.
    pub parent: &'a Field,
    /// The trace begins here, so that a `tracestate` that came is another's.
    pub begins: bool,
}

impl Onward<'_> {
    /// Whether a field that came does not go on.
    pub fn replaces(&self, name: &str) -> bool {
        name.eq_ignore_ascii_case("traceparent") || (self.begins && name.eq_ignore_ascii_case("tracestate"))
    }
}

impl Context {
    /// Section 3.2.2: lower-case hexadecimal, no ids of zeros; a version that is not known may have more behind.
    pub fn parse(value: &[u8]) -> Option<Context> {
        let (known, more) = value.split_at_checked(FIELD_BYTES)?;
        let version = number::<1>(&known[..2])?[0];
        let has_its_length = more.is_empty() || (version > 0 && more.starts_with(b"-"));
        let has_its_dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        if version == 0xff || !has_its_length || !has_its_dashes {
            return None;
        }
        let context = Context {
            trace: number(&known[3..35])?,
            span: number(&known[36..52])?,
            flags: number::<1>(&known[53..])?[0],
        };
        (context.trace != [0; 16] && context.span != [0; 8]).then_some(context)
    }

    pub fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// A trace that begins here, by numbers of chance.
    pub fn begin(mut chance: impl FnMut() -> u64) -> Context {
        let mut trace = [0; 16];
        trace[..8].copy_from_slice(&id(&mut chance));
        trace[8..].copy_from_slice(&id(&mut chance));
        Context { trace, span: id(&mut chance), flags: SAMPLED }
    }

    /// The same trace, from a span of ours.
    pub fn onward(&self, chance: impl FnMut() -> u64) -> Context {
        Context { span: id(chance), flags: self.flags & KNOWN_FLAGS, ..*self }
    }

    pub fn field(&self) -> Field {
        let mut field = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write(&mut field[3..35], &self.trace);
        write(&mut field[36..52], &self.span);
        write(&mut field[53..], &[self.flags]);
        field
    }
}

/// Never all zeros, which stands for none.
fn id(mut chance: impl FnMut() -> u64) -> [u8; 8] {
    chance().max(1).to_be_bytes()
}

fn number<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Two digits for each byte.
pub fn write(digits: &mut [u8], bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_field_is_read_and_written() {
        let context = Context::parse(GOOD.as_bytes()).expect("a context");
        assert_eq!((context.trace[0], context.trace[15]), (0x4b, 0x36));
        assert_eq!((context.span[1], context.flags, context.is_sampled()), (0xf0, 1, true));
        assert_eq!(context.field(), GOOD.as_bytes());
        assert!(!Context::parse(GOOD.replace("-01", "-02").as_bytes()).expect("a context").is_sampled());
    }

    #[test]
    fn what_is_no_context_is_none() {
        for bad in [
            "",
            "00",
            &GOOD.replace("00-4b", "ff-4b"),
            &GOOD.replace("4bf9", "4BF9"),
            &GOOD.replace("4bf9", "4bg9"),
            &GOOD.replace("-01", "_01"),
            &GOOD.replace("-01", "-1"),
            &format!("{GOOD}-"),
            &format!("{GOOD}0"),
            &GOOD.replace("00f067aa0ba902b7", "0000000000000000"),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
        ] {
            assert_eq!(Context::parse(bad.as_bytes()), None, "{bad}");
        }
        let later = GOOD.replace("00-4b", "cc-4b");
        assert!(Context::parse(later.as_bytes()).is_some());
        assert!(Context::parse(format!("{later}-what-is-new").as_bytes()).is_some());
        assert_eq!(Context::parse(format!("{later}.what-is-new").as_bytes()), None);
    }

    #[test]
    fn the_next_hop_hears_of_our_span() {
        let came = Context { flags: 0xff, ..Context::parse(GOOD.as_bytes()).expect("a context") };
        let goes = came.onward(|| 7);
        assert_eq!((goes.trace, goes.span, goes.flags), (came.trace, [0, 0, 0, 0, 0, 0, 0, 7], 3));
        let begun = Context::begin(|| 0);
        assert_eq!(
            Context::parse(&begun.field()),
            Some(begun),
            "not even where chance has nothing but zeros"
        );
        let onward = Onward { parent: &begun.field(), begins: false };
        assert!(
            onward.replaces("TraceParent") && !onward.replaces("tracestate") && !onward.replaces("trace")
        );
        assert!(Onward { begins: true, ..onward }.replaces("Tracestate"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(trace in any::<[u8; 16]>(), span in any::<[u8; 8]>(), flags in any::<u8>()) {
            let context = Context { trace, span, flags };
            let expect = (trace != [0; 16] && span != [0; 8]).then_some(context);
            prop_assert_eq!(Context::parse(&context.field()), expect);
        }

        #[test]
        fn any_bytes_are_read_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..70)) {
            Context::parse(&bytes);
        }
    }
}
