//! Links in a record: what each party reports of its own, and nothing else of them.

use tacit_receipts::PartyLinks;
use tacit_receipts::record::LINKED_PARTIES_MAX;

use super::*;

/// Whether a report of links can stand in a record of so many parties. What cannot is left out, and its party does not attest.
pub(crate) fn may_be_links(links: &Linked, parties: usize) -> bool {
    let Linked { differing, unsealed, .. } = links;
    parties <= LINKED_PARTIES_MAX
        && differing.iter().zip(differing.iter().skip(1)).all(|(a, b)| a < b)
        && differing.iter().all(|seat| seat.index() < parties)
        && differing.len() + usize::from(*unsealed) < parties
}

/// The links of the parties that took part, in the order of seats.
pub(super) fn of(ended: &Ended<'_>) -> Vec<PartyLinks> {
    let parties = ended.parties.len();
    if parties > LINKED_PARTIES_MAX || ended.attempt.0 == 0 {
        return Vec::new();
    }
    let took_part = (0u16..).zip(&ended.parties).filter(|(_, p)| p.standing == Standing::TookPart);
    let one = |(seat, p): (u16, &Part)| {
        let Linked { root, differing, unsealed } = p.links.clone()?;
        let seat = Seat(seat);
        (!differing.contains(&seat)).then_some(PartyLinks { seat, root, differing, unsealed })
    };
    took_part.filter_map(one).collect()
}

/// Checks that the record has of this party's links what it reported. Of an attempt without a result the record may have
/// been made before the report came.
pub(super) fn check(record: &UsageRecord, own: &Own<'_>) -> Result<(), Fault> {
    let wrong = |what: &str| Err(Fault::new(Code::ReceiptRecord, format!("links: {what}")));
    let held = own.links.filter(|_| record.attempt == own.attempt && record.parties.len() <= LINKED_PARTIES_MAX);
    match (record.links_of(&own.node), held) {
        (None, None) => Ok(()),
        (None, Some(_)) if record.status != Status::Ok => Ok(()),
        (None, Some(_)) => wrong("it leaves out this party's"),
        (Some(_), None) => wrong("it has some of this party, which has none of that attempt"),
        (Some(said), Some(own)) => {
            let same = (said.root, &said.differing, said.unsealed) == (own.root, &own.differing, own.unsealed);
            if same { Ok(()) } else { wrong("it has others of this party than that party has") }
        }
    }
}

/// The root that a party's attestation has: that of the record, or where a record has links of nobody, its own.
pub(crate) fn attested_root(record: &UsageRecord, node: &NodeId, own: Option<&Linked>) -> Option<Hash> {
    match record.links.is_empty() {
        true => own.map(|links| links.root),
        false => record.links_of(node).map(|links| links.root),
    }
}
