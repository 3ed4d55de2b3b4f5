//! Three or more parties, one of which, the hub, learns which of its keys all have. It runs [`Level::Receiver`] with each
//! of the others and so learns which keys it shares with each one; `docs/protocols/psi.md` says so, and a job that uses
//! this must.

use std::collections::BTreeSet;

use tacit_protocol::{Abort, Party};
use tacit_types::{Code, Fault};

use crate::keyset::{KeySet, REF_BYTES, RowsRef, files};
use crate::outcome::{Alignment, Outcome, TakeRows};
use crate::run::intersect;
use crate::session::{Host, interrupted};
use crate::sort::sort;
use crate::storage::{Log, Reader, Storage, Writer};
use crate::terms::{Level, Terms};

/// The file of the hub's result, after those of its runs.
const COMMON: u32 = 12;

/// Keys that the hub and all others have, or that were found in a cache, each with the hub's rows, in order of the keys' hashes.
pub struct Common {
    keys: KeySet,
    matched: Log,
}

impl Common {
    /// Of keys, those whose rows are listed.
    pub(crate) fn of(keys: &KeySet, matched: Log) -> Self {
        Self { keys: keys.clone(), matched }
    }

    /// Keys.
    pub fn len(&self) -> u64 {
        self.matched.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Goes through the rows of each key, with the storage at hand.
    ///
    /// # Errors
    /// Those of the storage and of `take`.
    pub fn each(&self, storage: &mut dyn Storage, take: &mut TakeRows<'_>) -> Result<(), Fault> {
        let mut reader = Reader::new(&self.matched);
        while let Some(rows) = reader.next(storage)?.and_then(RowsRef::of) {
            let rows = self.keys.rows(storage, rows)?;
            take(storage, rows)?;
        }
        Ok(())
    }
}

/// Runs the hub's terms with each of the others, one after the other; a party that is not the hub runs its own. `None` for
/// all but the hub. The terms' steps and contexts differ, and each waits for its turn: `begin_ms` of a later one covers
/// those before it. At the hub the runs take the numbers from the host's on.
///
/// # Errors
/// Those of [`intersect`]; `args.invalid` for terms that are not those of a star.
pub async fn star(
    party: &mut Party,
    runs: &[Terms],
    keys: &KeySet,
    host: &mut Host<'_>,
) -> Result<Option<Common>, Abort> {
    check(runs)?;
    let hub = runs.first().map(|t| t.receiver);
    if hub != Some(party.seat()) {
        let seat = party.seat();
        let own = runs.iter().find(|t| t.sender == seat);
        let own = own.ok_or_else(|| wrong("this seat has no part in the star"))?;
        intersect(party, own, keys, host).await?;
        return Ok(None);
    }
    // The one state is of whichever run was interrupted: a list that may not meet it meets none of the others either.
    for terms in runs {
        interrupted(terms, keys, host.resume.as_ref())?;
    }
    let first = host.run;
    let mut found = Vec::with_capacity(runs.len());
    for (i, terms) in runs.iter().enumerate() {
        host.run = first.saturating_add(i as u16);
        if let Outcome::Set(alignment) = intersect(party, terms, keys, host).await? {
            found.push(alignment);
        }
    }
    Ok(Some(common(keys, host, &found)?))
}

fn wrong(what: &str) -> Abort {
    Abort::Local(Fault::new(Code::ArgsInvalid, what))
}

fn check(runs: &[Terms]) -> Result<(), Abort> {
    let Some(first) = runs.first() else { return Err(wrong("a star has at least one other party")) };
    if runs.iter().any(|t| t.receiver != first.receiver || t.level != Level::Receiver) {
        return Err(wrong("in a star one party learns the set, and it is the same in all runs"));
    }
    let senders: BTreeSet<_> = runs.iter().map(|t| t.sender).collect();
    let contexts: BTreeSet<_> = runs.iter().map(|t| t.context).collect();
    if senders.len() != runs.len() || contexts.len() != runs.len() {
        return Err(wrong("the runs of a star have different senders and contexts"));
    }
    let apart =
        |pair: &[Terms]| (u64::from(pair[0].step_base) << 16) + pair[0].steps() <= u64::from(pair[1].step_base) << 16;
    if !runs.windows(2).all(apart) {
        return Err(wrong("the steps of a star's runs overlap"));
    }
    Ok(())
}

/// Keys that are in every one of several lists.
fn common(keys: &KeySet, host: &mut Host<'_>, found: &[Alignment]) -> Result<Common, Fault> {
    let mut writer = Writer::new(host.file(COMMON), REF_BYTES);
    for log in found.iter().flat_map(|a| &a.matched) {
        let mut reader = Reader::new(log);
        while let Some(record) = reader.next(host.storage)?.map(<[u8]>::to_vec) {
            writer.push(host.storage, &[&record])?;
        }
    }
    let all = writer.finish(host.storage)?;
    let into = host.file(COMMON + 1);
    let sorted = sort(host.storage, &all, into, files::SCRATCH, host.memory)?;
    all.remove(host.storage)?;
    let mut writer = Writer::new(host.file(COMMON + 2), REF_BYTES);
    let mut reader = Reader::new(&sorted);
    let mut held: (Vec<u8>, usize) = (Vec::new(), 0);
    while let Some(record) = reader.next(host.storage)?.map(<[u8]>::to_vec) {
        let times = if held.0 == record { held.1 + 1 } else { 1 };
        if times == found.len() {
            writer.push(host.storage, &[&record])?;
        }
        held = (record, times);
    }
    sorted.remove(host.storage)?;
    Ok(Common::of(keys, writer.finish(host.storage)?))
}
