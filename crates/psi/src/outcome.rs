//! What a party has in the end, in an order that is the same on both sides.

use tacit_types::Fault;

use crate::keyset::{KeySet, RowsRef};
use crate::storage::{Log, Reader, Storage};

/// What a run gave.
pub enum Outcome {
    /// The matched keys.
    Set(Alignment),
    /// How many keys both have.
    Cardinality(u64),
    /// Ids for the union of the keys.
    Spine(Spine),
    /// Nothing: the other party learns.
    Nothing,
}

/// Which rows of the two tables a view has, as the join of that name has them. `Left` is the receiver's table. A view says
/// nothing that the level does not: all are made of the matched keys and of the sizes of the lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// Keys that both have.
    Inner,
    /// All keys of the receiver.
    Left,
    /// All keys of the sender.
    Right,
    /// All keys of either.
    Full,
    /// Keys that only the receiver has.
    Anti,
}

/// One place of a view.
#[derive(PartialEq, Eq, Debug)]
pub enum Place {
    /// A key that both have: this party's rows with it, in order. The table that both would make of it has each of these
    /// with each of the peer's.
    Both(Vec<u64>),
    /// A key that only this party has.
    Own(Vec<u64>),
    /// A key that only the peer has.
    Peer,
}

/// Takes the rows of one key, with the storage at hand.
pub type TakeRows<'a> = dyn FnMut(&mut dyn Storage, Vec<u64>) -> Result<(), Fault> + 'a;
/// Takes one id with the rows that it has, with the storage at hand.
pub type TakeIds<'a> = dyn FnMut(&mut dyn Storage, [u8; UID_BYTES], Vec<u64>) -> Result<(), Fault> + 'a;

/// Matched keys, each with this party's rows, in tag order.
pub struct Alignment {
    pub(crate) keys: KeySet,
    pub(crate) receiver: bool,
    pub(crate) matched: Vec<Log>,
    pub(crate) alone: Vec<Log>,
    pub(crate) peer_alone: u64,
}

impl Alignment {
    /// Keys that both have.
    pub fn matches(&self) -> u64 {
        self.matched.iter().map(|l| l.count).sum()
    }

    /// Keys of this party that the peer has not.
    pub fn alone(&self) -> u64 {
        self.alone.iter().map(|l| l.count).sum()
    }

    /// Keys of the peer that this party has not.
    pub fn peer_alone(&self) -> u64 {
        self.peer_alone
    }

    /// Goes through the places of a view in their order: matched keys, then the receiver's others, then the sender's.
    ///
    /// # Errors
    /// Those of the storage and of `take`.
    pub fn view(
        &self,
        storage: &mut dyn Storage,
        view: View,
        take: &mut dyn FnMut(Place) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if view != View::Anti {
            self.each(storage, &self.matched, &mut |rows| take(Place::Both(rows)))?;
        }
        let (left, right) = match view {
            View::Inner => (false, false),
            View::Left | View::Anti => (true, false),
            View::Right => (false, true),
            View::Full => (true, true),
        };
        for (wanted, receivers) in [(left, true), (right, false)] {
            if wanted && receivers == self.receiver {
                self.each(storage, &self.alone, &mut |rows| take(Place::Own(rows)))?;
            } else if wanted {
                (0..self.peer_alone).try_for_each(|_| take(Place::Peer))?;
            }
        }
        Ok(())
    }

    /// Goes through the matched keys in their order, each with this party's rows, with the storage at hand: what was
    /// written beside the rows can be read on the way.
    ///
    /// # Errors
    /// Those of the storage and of `take`.
    pub fn matched(&self, storage: &mut dyn Storage, take: &mut TakeRows<'_>) -> Result<(), Fault> {
        for log in &self.matched {
            let mut reader = Reader::new(log);
            while let Some(rows) = reader.next(storage)?.and_then(RowsRef::of) {
                let rows = self.keys.rows(storage, rows)?;
                take(storage, rows)?;
            }
        }
        Ok(())
    }

    fn each(
        &self,
        storage: &mut dyn Storage,
        logs: &[Log],
        take: &mut dyn FnMut(Vec<u64>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        for log in logs {
            let mut reader = Reader::new(log);
            while let Some(rows) = reader.next(storage)?.and_then(RowsRef::of) {
                take(self.keys.rows(storage, rows)?)?;
            }
        }
        Ok(())
    }
}

/// Bytes of an id of a spine.
pub const UID_BYTES: usize = 16;

/// Ids for the union of the keys. Which of them belong to both is not known to either party, so it may only be used where
/// values stay shared.
pub struct Spine {
    pub(crate) keys: KeySet,
    /// Ids with this party's rows, in order.
    pub(crate) own: Log,
    /// All ids, in order.
    pub(crate) union: Log,
    pub(crate) matches: u64,
}

impl Spine {
    /// Ids of the union.
    pub fn len(&self) -> u64 {
        self.union.count
    }

    /// Whether nobody has a key.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keys that both have: what the spine reveals.
    pub fn matches(&self) -> u64 {
        self.matches
    }

    /// Goes through the ids of the union in their order, which is the same on both sides: each with this party's rows, none
    /// where it has no such key.
    ///
    /// # Errors
    /// Those of the storage and of `take`.
    pub fn each(
        &self,
        storage: &mut dyn Storage,
        take: &mut dyn FnMut([u8; UID_BYTES], Vec<u64>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.each_with(storage, &mut |_, uid, rows| take(uid, rows))
    }

    /// As [`Spine::each`], with the storage at hand.
    ///
    /// # Errors
    /// Those of the storage and of `take`.
    pub fn each_with(&self, storage: &mut dyn Storage, take: &mut TakeIds<'_>) -> Result<(), Fault> {
        let (mut union, mut own) = (Reader::new(&self.union), Reader::new(&self.own));
        let mut next = own.next(storage)?.map(<[u8]>::to_vec);
        while let Some(uid) = union.next(storage)?.and_then(|r| r.first_chunk::<UID_BYTES>().copied()) {
            let held = next.as_deref().filter(|r| r.starts_with(&uid)).and_then(RowsRef::of);
            let rows = match held {
                Some(at) => {
                    next = own.next(storage)?.map(<[u8]>::to_vec);
                    self.keys.rows(storage, at)?
                }
                None => Vec::new(),
            };
            take(storage, uid, rows)?;
        }
        Ok(())
    }
}
