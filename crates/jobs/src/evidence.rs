//! Evidence of misbehaviour in the protocols that kinds run, for whoever saw nothing of them.

use tacit_protocol::{Blame, Seating};
use tacit_types::Hash;

/// Whether the evidence convicts the blamed seat to anyone who knows the seating. Of the protocols of today only secure
/// aggregation leaves such evidence; see its page.
pub fn verify(seating: &Seating, blame: &Blame) -> bool {
    tacit_secagg::verify_blame(seating, blame)
}

/// What the evidence is signed over. Who took part in an attempt knows its own.
pub fn transcript(blame: &Blame) -> Option<Hash> {
    tacit_secagg::evidence_transcript(blame)
}
