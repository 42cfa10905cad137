//! What the kernel writes about a sample, as a value. Pure: bytes in, samples out, whatever the bytes are.

/// `PERF_RECORD_LOST` and `PERF_RECORD_SAMPLE` of `linux/perf_event.h`.
const LOST: u32 = 2;
const SAMPLE: u32 = 9;
const HEADER_BYTES: usize = 8;
/// Bits of `misc` that say where the processor was, and the value for the kernel.
const MODE_MASK: u16 = 7;
const MODE_KERNEL: u16 = 1;
/// From here up an entry of a call chain is a word of the kernel's about those that follow (`PERF_CONTEXT_MAX`).
const CONTEXT_MAX: u64 = -4095_i64 as u64;
/// Entries of a call chain: `kernel.perf_event_max_stack` is 127, and some raise it.
const CHAIN_MAX: u64 = 1_024;

/// One sample of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) process: u32,
    /// Of the counter that its process, or an ancestor of it, was given.
    pub(super) event: u64,
    pub(super) in_kernel: bool,
    /// Addresses in the program: where it was, then where each function returns to, by frame pointers.
    pub(super) chain: Vec<u64>,
    /// Frame pointer, stack pointer and instruction; absent of a thread without a program's part.
    pub(super) registers: Option<[u64; 3]>,
    /// The stack from the stack pointer upwards.
    pub(super) stack: Vec<u8>,
}

/// What one record is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Sample(Sample),
    /// So many samples did not fit into the ring.
    Lost(u64),
}

/// Reads whole records; what is of another kind, or broken, is passed over.
pub(super) fn records(mut bytes: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some(header) = bytes.first_chunk::<HEADER_BYTES>() {
        let kind = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
        let misc = u16::from_ne_bytes([header[4], header[5]]);
        let size = usize::from(u16::from_ne_bytes([header[6], header[7]]));
        // A record of no length would be read for ever.
        if size < HEADER_BYTES || size > bytes.len() {
            break;
        }
        let mut body = Body(&bytes[HEADER_BYTES..size]);
        let read = match kind {
            SAMPLE => sample(&mut body, misc).map(Record::Sample),
            LOST => body.u64().and_then(|_| body.u64()).map(Record::Lost),
            _ => None,
        };
        records.extend(read);
        bytes = &bytes[size..];
    }
    records
}

fn sample(body: &mut Body<'_>, misc: u16) -> Option<Sample> {
    let (process, _thread) = (body.u32()?, body.u32()?);
    let event = body.u64()?;
    let count = body.u64().filter(|count| *count <= CHAIN_MAX)?;
    let mut chain = Vec::new();
    for _ in 0..count {
        let address = body.u64()?;
        if address < CONTEXT_MAX {
            chain.push(address);
        }
    }
    let mut registers = None;
    // The ABI: none, 32 bits, 64 bits.
    let abi = body.u64()?;
    if abi != 0 {
        registers = Some([body.u64()?, body.u64()?, body.u64()?]).filter(|_| abi == 2);
    }
    let mut stack = Vec::new();
    let size = usize::try_from(body.u64()?).ok()?;
    if size > 0 {
        let bytes = body.take(size)?;
        let filled = usize::try_from(body.u64()?).ok()?;
        stack = bytes[..filled.min(size)].to_vec();
    }
    Some(Sample { process, event, in_kernel: misc & MODE_MASK == MODE_KERNEL, chain, registers, stack })
}

struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_ne_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(kind: u32, misc: u16, words: &[u64]) -> Vec<u8> {
        let size = u16::try_from(HEADER_BYTES + 8 * words.len()).unwrap();
        let mut bytes =
            [kind.to_ne_bytes().to_vec(), misc.to_ne_bytes().to_vec(), size.to_ne_bytes().to_vec()].concat();
        bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        bytes
    }

    #[test]
    fn a_sample_has_its_chain_registers_and_stack() {
        let thread = u64::from_ne_bytes([[7, 0, 0, 0], [8, 0, 0, 0]].concat().try_into().unwrap());
        let user = -512_i64 as u64;
        let words = [thread, 42, 3, user, 0x1000, 0x2000, 2, 0xb0, 0x50, 0x1000, 16, 1, 2, 8];
        let mut bytes = record(SAMPLE, MODE_KERNEL, &words);
        bytes.extend(record(3, 0, &[1]));
        bytes.extend(record(LOST, 0, &[42, 5]));
        let sample = Sample {
            process: 7,
            event: 42,
            in_kernel: true,
            chain: vec![0x1000, 0x2000],
            registers: Some([0xb0, 0x50, 0x1000]),
            stack: 1_u64.to_ne_bytes().to_vec(),
        };
        assert_eq!(records(&bytes), [Record::Sample(sample), Record::Lost(5)]);
    }

    #[test]
    fn a_thread_without_a_program_has_no_registers() {
        let bytes = record(SAMPLE, 2, &[7, 42, 0, 0, 0]);
        let read = records(&bytes);
        let [Record::Sample(sample)] = read.as_slice() else { panic!("no sample") };
        assert_eq!((sample.registers, sample.stack.len(), sample.in_kernel), (None, 0, false));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
            records(&bytes);
        }

        #[test]
        fn any_sample_is_read_to_an_end(words in prop::collection::vec(prop_oneof![0_u64..40, any::<u64>()], 0..60)) {
            records(&record(SAMPLE, 0, &words));
        }
    }
}
