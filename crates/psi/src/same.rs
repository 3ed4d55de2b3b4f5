//! Whether two parties that both learn the set have found the same keys, where each had the other's word for its matches. Neither
//! learns more than that: an exchange of keys whose password is the set (SPEKE, Jablon 1996), by which who does not know it can
//! ask about one guess, and is found.

use tacit_crypto::Transcript;
use tacit_protocol::{Abort, Offence, Party};
use tacit_types::{Fault, Hash};

use crate::exchange;
use crate::hash::{DST, Expander};
use crate::items;
use crate::keyset::{Key, KeySet, RowsRef};
use crate::mask::half;
use crate::session::{Host, Session};
use crate::sort::sort;
use crate::storage::Log;
use crate::terms::Role;

/// Steps that it takes.
pub(crate) const STEPS: u64 = 2;

/// The hash of the keys whose rows are listed, whatever the order of the list. Sorts it into a file.
pub(crate) fn digest(keys: &KeySet, host: &mut Host<'_>, matched: &Log, file: u32) -> Result<Hash, Fault> {
    let into = host.file(file);
    let rows = sort(host.storage, matched, into, crate::keyset::files::SCRATCH, host.memory)?;
    let mut hash = Some(Transcript::new("tacit-psi/1/found"));
    keys.of_rows(host.storage, &rows, &mut |key| hash = hash.take().map(|hash| hash.fixed(key)))?;
    rows.remove(host.storage)?;
    Ok(hash.unwrap_or_else(|| Transcript::new("tacit-psi/1/found")).finish())
}

/// Compares what both have found. Gives the step after.
///
/// # Errors
/// `BadOpening` blame where the peer has not found the same; `BadPoint` for a point that is none.
pub(crate) async fn same(
    party: &mut Party,
    session: &mut Session,
    host: &mut Host<'_>,
    found: &Hash,
    step: u64,
) -> Result<u64, Abort> {
    let secret = half(&session.scalar("same"));
    let found = Key { hash: found.0, rows: RowsRef { half: 0, first: 0, count: 0 } };
    let ours = items::hash_multiply(host.workers, &Expander::new(DST), &secret, &[found]).concat();
    let theirs = exchange::both(party, session, step, ours.clone()).await?;
    let shared = items::multiply(host.workers, &secret, theirs.as_chunks::<32>().0);
    let shared = shared.map_err(|t| session.trouble(t, step))?.concat();
    let points = if session.role == Role::Receiver { [&ours, &theirs] } else { [&theirs, &ours] };
    // Of either role another, so that nobody can say again what it heard.
    let word = |role: Role| {
        let hash = Transcript::new("tacit-psi/1/same").fixed(&session.id.0).u64((role == Role::Receiver).into());
        points.iter().fold(hash, |hash, point| hash.bytes(point)).bytes(&shared).finish()
    };
    let (own, other) = match session.role {
        Role::Receiver => (word(Role::Receiver), word(Role::Sender)),
        Role::Sender => (word(Role::Sender), word(Role::Receiver)),
    };
    if exchange::both(party, session, step + 1, own.0.to_vec()).await? != other.0 {
        return Err(session.blame(Offence::BadOpening, step + 1));
    }
    Ok(step + STEPS)
}
