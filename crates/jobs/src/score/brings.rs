//! What a party brings of its rows, however they are found: by a list of keys, or one by one as a window's calls name
//! them. What differs by kind is what is kept of a row, and what is made of it.

use std::sync::Arc;

use tacit_models::{Feature, Frame};
use tacit_types::{Columns, Fault, NodeId};
use zeroize::Zeroize;

use super::circuit::Circuit;
use super::keys::Wanted;
use super::linear::no_part;
use super::online::Online;
use super::online::shares::{self, Lookup, party::PartyJoint, rows::Table};
use super::params::ScoreParams;
use super::rows::{Kept, Rows, finish};
use super::shared::{SharedJoint, Values};
use crate::kind::{Fold, JointHalf};

/// What writes what is kept of a row, and says whether the row is usable.
pub(super) type Reader<'b, C> = Box<dyn Fn(usize, &mut [C]) -> bool + 'b>;

/// What a party brings.
pub(super) trait Brings: Send + Sync + 'static {
    /// What an input of the plan may be.
    type Input: Copy + Send + Sync + 'static;
    /// A number that is kept of a row.
    type Cell: Copy + Default + Zeroize + Send + Sync + 'static;

    /// The column with the key, and how many numbers are kept of a row; nothing at a party without rows.
    fn kept(&self) -> Option<(&str, usize)>;

    /// How the rows of a batch are read.
    ///
    /// # Errors
    /// Of the columns, never of a value, so that no failure tells of a key.
    fn reader<'b>(&'b self, batch: &'b Columns) -> Result<Reader<'b, Self::Cell>, Fault>;

    /// What stands for the i-th number of a row that is not there.
    fn absent(&self, i: usize) -> Self::Cell;

    /// What is brought to the inputs, with the rows that were found.
    fn values(self: Arc<Self>, kept: Option<Kept<Self::Cell>>) -> Box<dyn Values<Self::Input>>;
}

/// Reads features. A row with a value that `encode` does not take is unusable.
///
/// # Errors
/// Those of [`Frame::new`].
pub(super) fn read<'b, C: Default>(
    features: &[Feature],
    batch: &Columns,
    encode: impl Fn(usize, f64) -> Option<C> + 'b,
) -> Result<Reader<'b, C>, Fault> {
    let frame = Frame::new(features, batch)?;
    Ok(Box::new(move |row, cells| {
        let mut usable = true;
        for (i, cell) in cells.iter_mut().enumerate() {
            let value = encode(i, frame.value(row, i as u32));
            usable &= value.is_some();
            *cell = value.unwrap_or_default();
        }
        usable
    }))
}

/// The local half of a seat in a job on shares, or in a window of one; `brings` is asked of those who compute, and of the
/// dealer of a job.
///
/// # Errors
/// `refused.parties` for whoever has no part; those of the list of keys and of `brings`.
pub(super) fn fold<B: Brings>(
    params: &ScoreParams,
    circuit: &Arc<Circuit<B::Input>>,
    me: &NodeId,
    wanted: &dyn Fn() -> Result<Wanted, Fault>,
    brings: impl FnOnce() -> Result<B, Fault>,
) -> Result<Box<dyn Fold>, Fault> {
    if let Some(half) = params.online.and_then(|online| shares::others(params, online, circuit, me)) {
        return Ok(half);
    }
    if !circuit.has(me) {
        return Err(no_part());
    }
    let (params, circuit, brings) = (params.clone(), circuit.clone(), Arc::new(brings()?));
    Ok(match params.online {
        None => {
            let rows =
                brings.kept().map(|(key, count)| Ok::<_, Fault>(Rows::new(key, count, wanted()?))).transpose()?;
            Box::new(ListFold { params, circuit, rows, brings })
        }
        Some(online) => {
            let table = brings.kept().map(|(key, count)| Table::new(key, count));
            Box::new(WindowFold { params, online, circuit, counts: false, table, brings })
        }
    })
}

/// The local half with a list of keys.
struct ListFold<B: Brings> {
    params: ScoreParams,
    circuit: Arc<Circuit<B::Input>>,
    rows: Option<Rows<B::Cell>>,
    brings: Arc<B>,
}

impl<B: Brings> Fold for ListFold<B> {
    fn take(&mut self, batch: &Columns) -> Result<(), Fault> {
        let Some(rows) = &mut self.rows else { return Ok(()) };
        rows.take(batch, self.brings.reader(batch)?)
    }

    fn finish(self: Box<Self>) -> Box<dyn JointHalf> {
        let Self { params, circuit, rows, brings } = *self;
        let (kept, known) = finish(rows, |i| brings.absent(i));
        Box::new(SharedJoint { params, circuit, known, values: brings.values(kept) })
    }
}

/// The local half of a window: makes what calls are looked up in.
struct WindowFold<B: Brings> {
    params: ScoreParams,
    online: Online,
    circuit: Arc<Circuit<B::Input>>,
    counts: bool,
    table: Option<Table<B::Cell>>,
    brings: Arc<B>,
}

impl<B: Brings> Fold for WindowFold<B> {
    fn take(&mut self, batch: &Columns) -> Result<(), Fault> {
        let Some(table) = &mut self.table else { return Ok(()) };
        table.take(batch, self.brings.reader(batch)?)
    }

    fn count_keys(&mut self) {
        self.counts = true;
    }

    fn finish(self: Box<Self>) -> Box<dyn JointHalf> {
        let Self { params, online, circuit, counts, table, brings } = *self;
        let lookup = Box::new(Found { table: table.map(Table::finish), brings });
        Box::new(PartyJoint { params, online, circuit, counts, lookup })
    }
}

/// Where the rows of calls are found.
struct Found<B: Brings> {
    table: Option<Table<B::Cell>>,
    brings: Arc<B>,
}

impl<B: Brings> Lookup<B::Input> for Found<B> {
    fn find(&self, keys: &[&[u8]], rows: usize) -> (Box<dyn Values<B::Input>>, Vec<bool>) {
        let found = self.table.as_ref().map(|table| table.find(keys, rows, |i| self.brings.absent(i)));
        let (kept, known) = found.map_or((None, Vec::new()), |(kept, known)| (Some(kept), known));
        (self.brings.clone().values(kept), known)
    }
}
