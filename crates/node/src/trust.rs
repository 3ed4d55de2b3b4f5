//! Whom a receipt's checkpoint must have been shown to.

use tacit_governance::{JobSpec, PartyCard};
use tacit_receipts::{KeyHistory, Quorum, VerifierKey};
use tacit_types::{Code, Fault};

/// The quorum of witnesses for a job: its own parties. Their witness keys come from their cards,
/// whose root keys the job names, so that a coordinator cannot bring witnesses of its own; the list
/// of the log adds only the names under which those keys sign. A witness whose key has changed cosigns with the next.
///
/// # Errors
/// `log.unknown` when the witness key of a party is not known or not in the list.
pub fn provider_quorum(
    spec: &JobSpec,
    parties: &[(Vec<u8>, PartyCard, String)],
    listed: &[VerifierKey],
    keys: &KeyHistory,
) -> Result<Quorum, Fault> {
    let seated = spec.seated();
    let witnesses: Vec<VerifierKey> = seated
        .iter()
        .filter_map(|root| parties.iter().find(|(_, card, _)| card.root == *root))
        .filter_map(|(_, card, _)| listed.iter().find(|key| key.key() == card.witness).cloned())
        .collect();
    let missing = seated.len() - witnesses.len();
    if missing > 0 {
        return Err(Fault::new(Code::LogUnknown, format!("the witness keys of {missing} parties are not in its list")));
    }
    let mut quorum = Quorum::new(witnesses, tacit_engine::record::witness_threshold(seated.len()))?;
    quorum.follow(keys);
    Ok(quorum)
}
