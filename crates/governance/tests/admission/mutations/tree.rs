//! Signed bodies as trees, so that a change can be made at every place of them without knowing what stands there.

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

/// An item of deterministic CBOR, of the types that bodies have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    Uint(u64),
    Bytes(Vec<u8>),
    Text(String),
    Bool(bool),
    Array(Vec<Item>),
    Map(Vec<(u64, Item)>),
}

/// One step down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Key(u64),
    Place(usize),
}

pub type Path = Vec<Step>;

impl Item {
    pub fn read(bytes: &[u8]) -> Item {
        let mut decoder = Decoder::new(bytes);
        let item = Self::next(&mut decoder);
        assert_eq!(decoder.position(), bytes.len());
        item
    }

    fn next(d: &mut Decoder<'_>) -> Item {
        match d.datatype().unwrap() {
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => Item::Uint(d.u64().unwrap()),
            Type::Bytes => Item::Bytes(d.bytes().unwrap().to_vec()),
            Type::String => Item::Text(d.str().unwrap().to_owned()),
            Type::Bool => Item::Bool(d.bool().unwrap()),
            Type::Array => {
                let n = d.array().unwrap().unwrap();
                Item::Array((0..n).map(|_| Self::next(d)).collect())
            }
            Type::Map => {
                let n = d.map().unwrap().unwrap();
                Item::Map((0..n).map(|_| (d.u64().unwrap(), Self::next(d))).collect())
            }
            other => panic!("a body holds no {other}"),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new());
        self.write(&mut encoder);
        encoder.into_writer()
    }

    fn write(&self, e: &mut Encoder<Vec<u8>>) {
        match self {
            Item::Uint(n) => drop(e.u64(*n).unwrap()),
            Item::Bytes(b) => drop(e.bytes(b).unwrap()),
            Item::Text(t) => drop(e.str(t).unwrap()),
            Item::Bool(b) => drop(e.bool(*b).unwrap()),
            Item::Array(items) => {
                e.array(items.len() as u64).unwrap();
                items.iter().for_each(|i| i.write(e));
            }
            Item::Map(items) => {
                e.map(items.len() as u64).unwrap();
                for (key, item) in items {
                    e.u64(*key).unwrap();
                    item.write(e);
                }
            }
        }
    }

    pub fn at(&mut self, path: &[Step]) -> &mut Item {
        let Some((step, rest)) = path.split_first() else { return self };
        match (self, step) {
            (Item::Map(items), Step::Key(key)) => items.iter_mut().find(|(k, _)| k == key).unwrap().1.at(rest),
            (Item::Array(items), Step::Place(i)) => items[*i].at(rest),
            (item, step) => panic!("{step:?} of {item:?}"),
        }
    }

    /// Every place, the root left out.
    pub fn places(&self) -> Vec<Path> {
        let mut found = Vec::new();
        let below = |step: Step, item: &Item, found: &mut Vec<Path>| {
            found.push(vec![step]);
            found.extend(item.places().into_iter().map(|path| [vec![step], path].concat()));
        };
        match self {
            Item::Map(items) => items.iter().for_each(|(key, item)| below(Step::Key(*key), item, &mut found)),
            Item::Array(items) => {
                items.iter().enumerate().for_each(|(i, item)| below(Step::Place(i), item, &mut found));
            }
            _ => {}
        }
        found
    }
}

/// What is done at a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// A number becomes this one, greater than before.
    Raise(u64),
    /// A number becomes this one, less than before.
    Lower(u64),
    /// A bit of bytes is turned.
    Flip,
    /// A text gets this.
    Write(String),
    /// A flag is turned.
    Turn(bool),
    /// Bytes, a text or a list becomes empty.
    Empty,
    /// A field or a place of a list goes.
    Remove,
    /// A place of a list stands twice.
    Repeat,
    /// A field that is not there comes, as another body has it.
    Graft(Item),
}

impl Op {
    pub fn apply(&self, root: &mut Item, path: &[Step]) {
        let (last, parent) = path.split_last().unwrap();
        match self {
            Op::Remove => match (root.at(parent), last) {
                (Item::Map(items), Step::Key(key)) => items.retain(|(k, _)| k != key),
                (Item::Array(items), Step::Place(i)) => drop(items.remove(*i)),
                _ => unreachable!(),
            },
            Op::Repeat => match (root.at(parent), last) {
                (Item::Array(items), Step::Place(i)) => items.push(items[*i].clone()),
                _ => unreachable!(),
            },
            Op::Graft(item) => match (root.at(parent), last) {
                (Item::Map(items), Step::Key(key)) => {
                    items.push((*key, item.clone()));
                    items.sort_by_key(|(k, _)| *k);
                }
                _ => unreachable!(),
            },
            op => op.leaf(root.at(path)),
        }
    }

    fn leaf(&self, item: &mut Item) {
        match (self, item) {
            (Op::Raise(n) | Op::Lower(n), Item::Uint(v)) => *v = *n,
            (Op::Flip, Item::Bytes(b)) => b[0] ^= 1,
            (Op::Write(t), Item::Text(v)) => v.clone_from(t),
            (Op::Turn(b), Item::Bool(v)) => *v = *b,
            (Op::Empty, Item::Bytes(b)) => b.clear(),
            (Op::Empty, Item::Text(t)) => t.clear(),
            (Op::Empty, Item::Array(a)) => a.clear(),
            (op, item) => panic!("{op:?} of {item:?}"),
        }
    }

    /// Whether only one value changes, and no list or map another's place.
    pub fn is_leaf(&self) -> bool {
        matches!(self, Op::Raise(_) | Op::Lower(_) | Op::Flip | Op::Write(_) | Op::Turn(_))
    }
}

/// Every change of one place.
pub fn ops(root: &mut Item, path: &[Step]) -> Vec<Op> {
    let mut ops = match root.at(path) {
        Item::Uint(n) => {
            let n = *n;
            let lower = [n.checked_sub(1), (n > 1).then_some(0)].into_iter().flatten().map(Op::Lower);
            lower.chain([Op::Raise(n + 1), Op::Raise(u64::MAX >> 1)]).collect()
        }
        Item::Bytes(b) if b.is_empty() => Vec::new(),
        Item::Bytes(_) => vec![Op::Flip, Op::Empty],
        Item::Text(t) => vec![Op::Write(format!("{t}x")), Op::Write("*".into()), Op::Empty],
        Item::Bool(b) => vec![Op::Turn(!*b)],
        Item::Array(a) if a.is_empty() => Vec::new(),
        Item::Array(_) => vec![Op::Empty],
        Item::Map(_) => Vec::new(),
    };
    ops.push(Op::Remove);
    if matches!(path.last(), Some(Step::Place(_))) {
        ops.push(Op::Repeat);
    }
    ops
}

/// A place as the table writes it: with the number of its first list's place, and with none.
pub fn written(path: &[Step]) -> (String, String) {
    let (mut own, mut any) = (String::new(), String::new());
    for step in path {
        match step {
            Step::Key(key) => [&mut own, &mut any].into_iter().for_each(|text| {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(&key.to_string());
            }),
            Step::Place(i) => {
                if own.contains('[') {
                    own.push_str("[]");
                } else {
                    own.push_str(&format!("[{i}]"));
                }
                any.push_str("[]");
            }
        }
    }
    (own, any)
}
