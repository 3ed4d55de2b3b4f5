//! Parameters as trees, and the changes that can be made at each place.

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use super::{keys, named};

/// An item of deterministic CBOR.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Item {
    Int(i64),
    Bytes(Vec<u8>),
    Text(String),
    Bool(bool),
    Null,
    Array(Vec<Item>),
    Map(Vec<(u64, Item)>),
}

impl Item {
    pub fn read(d: &mut Decoder<'_>) -> Item {
        match d.datatype().unwrap() {
            Type::Bytes => Item::Bytes(d.bytes().unwrap().to_vec()),
            Type::String => Item::Text(d.str().unwrap().to_owned()),
            Type::Bool => Item::Bool(d.bool().unwrap()),
            Type::Null => {
                d.null().unwrap();
                Item::Null
            }
            Type::Array => Item::Array((0..d.array().unwrap().unwrap()).map(|_| Self::read(d)).collect()),
            Type::Map => {
                let n = d.map().unwrap().unwrap();
                Item::Map((0..n).map(|_| (d.u64().unwrap(), Self::read(d))).collect())
            }
            _ => Item::Int(d.i64().unwrap()),
        }
    }

    fn write(&self, e: &mut Encoder<Vec<u8>>) {
        match self {
            Item::Int(n) => drop(e.i64(*n).unwrap()),
            Item::Bytes(b) => drop(e.bytes(b).unwrap()),
            Item::Text(t) => drop(e.str(t).unwrap()),
            Item::Bool(b) => drop(e.bool(*b).unwrap()),
            Item::Null => drop(e.null().unwrap()),
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

    pub fn bytes(&self) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new());
        self.write(&mut encoder);
        encoder.into_writer()
    }

    /// The same with every id of a vector replaced by one that can sign.
    pub fn signable(self) -> Item {
        match self {
            Item::Bytes(b) => Item::Bytes(named(&b).map_or(b, |id| id.0.to_vec())),
            Item::Array(items) => Item::Array(items.into_iter().map(Item::signable).collect()),
            Item::Map(items) => Item::Map(items.into_iter().map(|(k, i)| (k, i.signable())).collect()),
            other => other,
        }
    }

    fn children(&mut self) -> Vec<(u64, &mut Item)> {
        match self {
            Item::Array(items) => (0..).zip(items).collect(),
            Item::Map(items) => items.iter_mut().map(|(key, item)| (*key, item)).collect(),
            _ => Vec::new(),
        }
    }

    pub fn at(&mut self, path: &[u64]) -> Option<&mut Item> {
        let Some((step, rest)) = path.split_first() else { return Some(self) };
        self.children().into_iter().find(|(key, _)| key == step)?.1.at(rest)
    }

    pub fn places(&mut self) -> Vec<Vec<u64>> {
        let below = |(step, item): (u64, &mut Item)| {
            let deeper = item.places().into_iter().map(move |path| [vec![step], path].concat());
            core::iter::once(vec![step]).chain(deeper).collect::<Vec<_>>()
        };
        self.children().into_iter().flat_map(below).collect()
    }
}

/// A change of one place.
#[derive(Clone, Debug)]
pub struct Change {
    pub path: Vec<u64>,
    /// What stands there instead; nothing where it is taken away.
    pub becomes: Option<Item>,
}

impl Change {
    /// Every change of a place.
    pub fn of(tree: &mut Item, path: &[u64], columns: &[String]) -> Vec<Change> {
        let others: Vec<Item> = match tree.at(path).unwrap().clone() {
            Item::Int(n) => [n - 1, n + 1, 0, i64::from(u32::MAX), -1].map(Item::Int).to_vec(),
            Item::Text(t) => {
                let made = [format!("{t}x"), "secret".into(), "*".into(), String::new()];
                made.into_iter().chain(columns.iter().cloned()).map(Item::Text).collect()
            }
            Item::Bytes(b) if b.is_empty() => Vec::new(),
            Item::Bytes(mut b) => {
                b[0] ^= 1;
                vec![Item::Bytes(b), Item::Bytes(Vec::new()), Item::Bytes(keys()[8].id().0.to_vec())]
            }
            Item::Bool(b) => vec![Item::Bool(!b)],
            Item::Null => vec![Item::Bool(true)],
            Item::Array(items) => {
                let twice = [items.clone(), items.iter().take(1).cloned().collect()].concat();
                let fewer = items.iter().skip(1).cloned().collect();
                [Vec::new(), twice, fewer].map(Item::Array).to_vec()
            }
            Item::Map(_) => vec![Item::Map(Vec::new())],
        };
        let there = tree.at(path).unwrap().clone();
        let others = others.into_iter().filter(|o| *o != there).map(Some).chain([None]);
        others.map(|becomes| Change { path: path.to_vec(), becomes }).collect()
    }

    /// Makes it, where the place is still there.
    pub fn make(&self, tree: &mut Item) {
        if let Some(item) = &self.becomes {
            if let Some(place) = tree.at(&self.path) {
                *place = item.clone();
            }
            return;
        }
        let (last, above) = self.path.split_last().unwrap();
        match tree.at(above) {
            Some(Item::Map(items)) => items.retain(|(key, _)| key != last),
            Some(Item::Array(items)) if (*last as usize) < items.len() => drop(items.remove(*last as usize)),
            _ => {}
        }
    }
}
