//! One run between two parties.

use tacit_protocol::{Abort, Concealed, Party};

use crate::keyset::KeySet;
use crate::outcome::Outcome;
use crate::session::{self, Host, Session};
use crate::terms::{Level, Mode, Role, Terms};
use crate::{mask, oprf, spine};

/// Runs the terms over this party's keys, whose set lies in the host's storage.
///
/// Nothing of the keys leaves before both parties hold the same terms and schema and the job's list of disclosures has
/// room for what the level opens. Nothing is given back before both have signed one hash of everything that was said.
///
/// # Errors
/// [`Abort::Disagreement`] for other terms; [`Abort::Local`] with `job.disagreement` for another schema, `args.invalid` for
/// terms that cannot be, `refused.cohort` for too few or too many keys, `refused.dataset` for a state of another input, and
/// the storage's own faults; [`Abort::Undisclosed`] when the job does not list the opening; [`Abort::Missing`] for a lost
/// peer; [`Abort::Misbehaved`] with `BadPoint`, `Duplicate`, `Unordered`, `BadCount`, `BadSize`, `BadKey`, `Malformed`,
/// `BadOpening`, `Signature` or `Equivocation`.
pub async fn intersect(party: &mut Party, terms: &Terms, keys: &KeySet, host: &mut Host<'_>) -> Result<Outcome, Abort> {
    let mut session = session::begin(party, terms, keys, host.resume.as_ref()).await?;
    gate(party, &session)?;
    if session.done > 0 {
        host.storage.taken_up(session.done);
    }
    match (terms.level, terms.mode) {
        (Level::Spine, _) => spine::run(party, &mut session, keys, host).await,
        (_, Mode::DoubleMask) => mask::run(party, &mut session, keys, host).await,
        (_, Mode::Oprf) => oprf::run(party, &mut session, keys, host).await,
    }
}

/// Books what the level opens, the same number on both sides whatever the keys are: who learns which of its keys match has an
/// answer to each of them, to those that do not as well.
fn gate(party: &mut Party, session: &Session) -> Result<(), Abort> {
    let (ours, theirs) = (session.ours.items(), session.theirs.items());
    let cells = match session.terms.level {
        Level::Receiver if session.role == Role::Receiver => ours,
        Level::Receiver => theirs,
        Level::Cardinality { .. } => 1,
        Level::Both | Level::Spine => ours + theirs, // proof: both are within ITEMS_MAX.
    };
    let cells = session.terms.books.map_or(cells, |books| books.max(cells));
    party.reveal(&session.terms.disclosure, cells, Concealed::new(()))
}
