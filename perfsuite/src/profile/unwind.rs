//! From a sample to the addresses of its stack. Pure.
//!
//! The kernel follows frame pointers. Two cases lack them, and each would lose a function:
//!
//! - in the first and last instructions of a function its own frame is not made yet, or gone: its return address is at
//!   the stack pointer, and the chain leaves out its caller;
//! - the C library has none, and may use their register for something else. Its caller is then the first word on the
//!   stack that is an address of our own code right behind a call; that caller's frame pointer is in the register
//!   still, or was put on the stack in between.
//!
//! The second is a guess: a return address that was left over from an earlier call may be taken for one that counts.
//! Both are done on x86-64 only; elsewhere the chain is as the kernel says.

use super::record::Sample;

/// Frames of one stack; deeper ones keep their innermost.
pub(super) const DEPTH_MAX: usize = 128;
const WORD: u64 = 8;

/// What is known of an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// Of what is measured, so built with frame pointers.
    pub(super) ours: bool,
    /// Bytes from the start of its function.
    pub(super) into_function: Option<u64>,
    /// The instruction there returns.
    pub(super) returns: bool,
    /// The instruction before is a call.
    pub(super) after_call: bool,
}

/// The code of a process.
pub(super) trait Code {
    /// `None` where there is no code.
    fn look(&self, address: u64) -> Option<Look>;
}

/// The addresses of a sample's stack, innermost first: where it was, then where each function returns to.
pub(super) fn unwind(sample: &Sample, code: &impl Code) -> Vec<u64> {
    let known = |address: &u64| code.look(*address).is_some();
    let Some((&leaf, callers)) = sample.chain.split_first() else { return vec![] };
    let chain = || callers.iter().copied().filter(known);
    let Some(here) = code.look(leaf) else { return chain().take(DEPTH_MAX).collect() };
    let mut frames = vec![leaf];
    if !cfg!(target_arch = "x86_64") {
        frames.extend(chain());
    } else if here.ours {
        frames.extend(without_a_frame(&here).and_then(|word| word_at(sample, word)).filter(known));
        frames.extend(chain());
    } else {
        match out_of_foreign(sample, code) {
            Some(outer) => frames.extend(outer),
            None => frames.extend(chain()),
        }
    }
    frames.truncate(DEPTH_MAX);
    frames
}

/// Which word of the stack is the return address, where the function has no frame at this instruction: `push %rbp` is
/// one byte long.
fn without_a_frame(here: &Look) -> Option<usize> {
    match here.into_function? {
        0 => Some(0),
        1 => Some(1),
        _ => here.returns.then_some(0),
    }
}

fn word_at(sample: &Sample, index: usize) -> Option<u64> {
    let at = index.checked_mul(WORD as usize)?;
    sample.stack.get(at..at.checked_add(WORD as usize)?)?.try_into().ok().map(u64::from_ne_bytes)
}

/// The callers of a function that keeps no frame pointer.
fn out_of_foreign(sample: &Sample, code: &impl Code) -> Option<Vec<u64>> {
    let [frame, top, _] = sample.registers?;
    let words = sample.stack.len() / WORD as usize;
    let returns_to = |index: usize| {
        let word = word_at(sample, index)?;
        code.look(word).filter(|look| look.ours && look.after_call).map(|_| word)
    };
    let (place, caller) = (0..words).find_map(|index| Some((index, returns_to(index)?)))?;
    let place_at = top.checked_add(WORD * place as u64)?;
    let mut frames = vec![caller];
    let index_of = |address: u64| {
        let distance = address.checked_sub(top).filter(|distance| distance % WORD == 0)?;
        usize::try_from(distance / WORD).ok().filter(|index| index + 1 < words)
    };
    // A frame holds the one before it, and above that where its function returns to.
    let is_frame = |address: u64| {
        let within = index_of(address).is_some_and(|index| {
            word_at(sample, index + 1).is_some_and(|word| code.look(word).is_some_and(|look| look.after_call))
        });
        address > place_at && within
    };
    let kernels_frame_holds =
        frame > place_at && sample.chain.get(1).is_some_and(|next| code.look(*next).is_some());
    if kernels_frame_holds {
        frames.extend(sample.chain[1..].iter().copied().filter(|address| code.look(*address).is_some()));
        return Some(frames);
    }
    let saved = (0..place).rev().filter_map(|index| word_at(sample, index)).find(|word| is_frame(*word));
    let mut at = saved;
    while let Some(index) = at.and_then(index_of)
        && frames.len() < DEPTH_MAX
    {
        let (Some(next), Some(returns)) = (word_at(sample, index), word_at(sample, index + 1)) else { break };
        if code.look(returns).is_none() {
            break;
        }
        frames.push(returns);
        // Frames lie upwards, so this ends.
        at = Some(next).filter(|next| at.is_some_and(|at| *next > at));
    }
    Some(frames)
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Our functions begin at 0x1000, 0x1100, …; foreign ones at 0x9000. Every address that ends in 8 follows a call.
    struct Toy;

    impl Code for Toy {
        fn look(&self, address: u64) -> Option<Look> {
            let ours = (0x1000..0x2000).contains(&address);
            (ours || (0x9000..0xa000).contains(&address)).then_some(Look {
                ours,
                into_function: Some(address % 0x100),
                returns: address % 0x100 == 0xff,
                after_call: address % 0x10 == 8,
            })
        }
    }

    fn check(chain: &[u64], registers: [u64; 3], stack: &[u64], expect: &[u64]) {
        let stack = stack.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let sample = Sample { chain: chain.to_vec(), registers: Some(registers), stack, ..Sample::default() };
        assert_eq!(unwind(&sample, &Toy), expect, "{chain:x?}");
    }

    #[test]
    fn within_a_function_the_chain_is_right() {
        check(&[0x1050, 0x1118, 0x1218], [0, 0, 0], &[0x1338], &[0x1050, 0x1118, 0x1218]);
        check(&[0x1050, 0x1118, 0x5], [0, 0, 0], &[], &[0x1050, 0x1118]);
        check(&[], [0, 0, 0], &[], &[]);
    }

    #[test]
    fn at_its_ends_the_caller_is_on_the_stack() {
        for (leaf, stack) in [(0x1000, [0x1118, 7]), (0x1001, [7, 0x1118]), (0x10ff, [0x1118, 7])] {
            check(&[leaf, 0x1218], [0, 0, 0], &stack, &[leaf, 0x1118, 0x1218]);
        }
        check(&[0x1000, 0x1218], [0, 0, 0], &[], &[0x1000, 0x1218]);
    }

    #[test]
    fn a_foreign_leaf_that_leaves_the_register_alone() {
        // 0x1150 made its frame at 0x7030, and called what is at 0x9050.
        let stack = [1, 0x9118, 0x1158, 0, 0, 0, 0x7050, 0x1218];
        check(&[0x9050, 0x1218, 0x1338], [0x7030, 0x7000, 0x9050], &stack, &[0x9050, 0x1158, 0x1218, 0x1338]);
    }

    #[test]
    fn a_foreign_leaf_that_uses_the_register() {
        // The frame pointer of 0x1150 was put on the stack at 0x7008; the register holds something else.
        let stack = [1, 0x7030, 0x1158, 0, 0, 0, 0x7040, 0x1218, 0, 0x1338, 0];
        check(&[0x9050, 0x5], [3, 0x7000, 0x9050], &stack, &[0x9050, 0x1158, 0x1218, 0x1338]);
        check(&[0x9050, 0x5], [3, 0x7000, 0x9050], &[1, 2, 3], &[0x9050]);
    }

    proptest! {
        #[test]
        fn any_stack_ends(
            chain in prop::collection::vec(prop_oneof![0x1000_u64..0x2000, 0x9000_u64..0xa000, any::<u64>()], 0..200),
            registers in prop::array::uniform3(prop_oneof![0x7000_u64..0x7100, any::<u64>()]),
            words in prop::collection::vec(prop_oneof![0x7000_u64..0x7100, 0x1000_u64..0x2000, any::<u64>()], 0..64),
        ) {
            let stack = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
            let sample = Sample { chain, registers: Some(registers), stack, ..Sample::default() };
            prop_assert!(unwind(&sample, &Toy).len() <= DEPTH_MAX);
        }
    }
}
