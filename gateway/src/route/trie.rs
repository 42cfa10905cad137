//! Many tries of segments in one hash table: a child is found by its parent and its text in one probe.
//!
//! The table is built from the configuration and only read afterwards, so a request cannot insert into it
//! and its hash needs no secret.

/// One node; ids of one [`Trie`] mean nothing in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NodeId(u32);

impl NodeId {
    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    /// The text of every node, end to end.
    text: Vec<u8>,
    /// Open addressing with linear probing; the length is a power of two, at least twice the nodes.
    slots: Vec<Slot>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    parent: u32,
    start: u32,
    length: u32,
}

/// `node` is [`EMPTY`] in a free slot. `tag` holds hash bits that the position does not, so that most
/// probes that meet a stranger never look at its node.
#[derive(Clone, Copy, Debug)]
struct Slot {
    tag: u32,
    node: u32,
}

const EMPTY: u32 = u32::MAX;
const SLOTS_MIN: usize = 16;

impl Trie {
    pub(super) fn new() -> Trie {
        Trie { nodes: Vec::new(), text: Vec::new(), slots: vec![Slot { tag: 0, node: EMPTY }; SLOTS_MIN] }
    }

    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// A new root, child of nothing.
    pub(super) fn add_root(&mut self) -> NodeId {
        self.push(EMPTY, &[])
    }

    /// The child of `parent` with this text, if there is one.
    pub(super) fn child(&self, parent: NodeId, text: &[u8]) -> Option<NodeId> {
        let hash = hash(parent.0, text);
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot.node == EMPTY {
                return None;
            }
            if slot.tag == tag(hash) && self.is(slot.node, parent.0, text) {
                return Some(NodeId(slot.node));
            }
            at = (at + 1) & mask;
        }
    }

    /// The child of `parent` with this text, made if there is none.
    pub(super) fn child_or_insert(&mut self, parent: NodeId, text: &[u8]) -> NodeId {
        if let Some(found) = self.child(parent, text) {
            return found;
        }
        let node = self.push(parent.0, text);
        if self.nodes.len() * 2 > self.slots.len() {
            self.grow();
        } else {
            self.place(node.0);
        }
        node
    }

    fn is(&self, node: u32, parent: u32, text: &[u8]) -> bool {
        let node = self.nodes[node as usize];
        node.parent == parent && self.text_of(node) == text
    }

    fn text_of(&self, node: Node) -> &[u8] {
        &self.text[node.start as usize..(node.start + node.length) as usize]
    }

    fn push(&mut self, parent: u32, text: &[u8]) -> NodeId {
        let id = u32::try_from(self.nodes.len()).expect("the configuration bounds the routes");
        let start = u32::try_from(self.text.len()).expect("the configuration bounds the prefixes");
        self.text.extend_from_slice(text);
        self.nodes.push(Node { parent, start, length: text.len() as u32 });
        NodeId(id)
    }

    fn grow(&mut self) {
        self.slots = vec![Slot { tag: 0, node: EMPTY }; self.slots.len() * 4];
        for node in 0..self.nodes.len() as u32 {
            if self.nodes[node as usize].parent != EMPTY {
                self.place(node);
            }
        }
    }

    fn place(&mut self, id: u32) {
        let node = self.nodes[id as usize];
        let hash = hash(node.parent, self.text_of(node));
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while self.slots[at].node != EMPTY {
            at = (at + 1) & mask;
        }
        self.slots[at] = Slot { tag: tag(hash), node: id };
    }
}

fn tag(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// Folds eight bytes at a time through a 64 by 64 bit multiplication; a short rest is read as two
/// overlapping halves, so that no length needs a loop over bytes.
fn hash(parent: u32, text: &[u8]) -> u64 {
    let mut state = fold(u64::from(parent) ^ MIX_A, text.len() as u64 ^ MIX_B);
    let mut rest = text;
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        state = fold(state ^ u64::from_le_bytes(*word), MIX_A);
        rest = after;
    }
    let word = match (rest.first_chunk::<4>(), rest.last_chunk::<4>()) {
        (Some(head), Some(end)) => {
            u64::from(u32::from_le_bytes(*head)) << 32 | u64::from(u32::from_le_bytes(*end))
        }
        _ => match *rest {
            [] => return state,
            [a] => u64::from(a),
            [a, b] => u64::from(a) << 8 | u64::from(b),
            [a, b, c, ..] => u64::from(a) << 16 | u64::from(b) << 8 | u64::from(c),
        },
    };
    fold(state ^ word, MIX_B)
}

/// Two odd constants with about as many ones as zeros: the golden ratio and the square root of three.
const MIX_A: u64 = 0x9e37_79b9_7f4a_7c15;
const MIX_B: u64 = 0xbb67_ae85_84ca_a73b;

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_are_found_by_parent_and_text() {
        let mut trie = Trie::new();
        let (left, right) = (trie.add_root(), trie.add_root());
        let texts: Vec<String> = (0..500).map(|n| "x".repeat(n % 40) + &n.to_string()).collect();
        let made: Vec<_> = texts.iter().map(|text| trie.child_or_insert(left, text.as_bytes())).collect();
        for (text, node) in texts.iter().zip(&made) {
            assert_eq!(trie.child(left, text.as_bytes()), Some(*node));
            assert_eq!(trie.child_or_insert(left, text.as_bytes()), *node);
            assert_eq!(trie.child(right, text.as_bytes()), None);
        }
        assert_eq!(trie.len(), 502);
        assert_eq!(trie.child(left, b""), None);
    }

    #[test]
    fn texts_that_differ_in_one_byte_hash_apart() {
        for length in 1..40 {
            let text = vec![b'a'; length];
            for at in 0..length {
                let mut other = text.clone();
                other[at] = b'b';
                assert_ne!(hash(7, &text), hash(7, &other), "length {length}, byte {at}");
            }
            assert_ne!(hash(7, &text), hash(8, &text));
        }
    }
}
