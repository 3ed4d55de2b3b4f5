//! An observer of every message and of every disk: what the parties of an aggregation must have made
//! durable before they send, and what must never be the same twice.

use std::collections::BTreeMap;

use serde::Deserialize;
use tacit_protocol::Message;
use tacit_secagg::verify::VERIFY_PHASES;
use tacit_secagg::{PHASES, Phase, Signed};
use tacit_types::{Hash, Step, wire};

use crate::run::{Check, broken, holds};

/// The steps of an aggregation begin at this round number.
pub(crate) const STEP_BASE: u16 = 1;

/// Every phase of an aggregation, those of verify mode last.
pub(crate) fn phases() -> impl Iterator<Item = &'static Phase> {
    PHASES.iter().chain(VERIFY_PHASES)
}

/// The name of a step's phase.
pub(crate) fn phase_of(step: Step) -> &'static str {
    if step.round() < STEP_BASE || tacit_jobs::session::is_confirmation(step) {
        return "other";
    }
    if let Some(number) = computed(step) {
        return ["terms", "seeds"].get(number as usize).copied().unwrap_or("compute");
    }
    let setup = step.round() == STEP_BASE;
    phases().find(|p| p.setup == setup && p.number == step.phase()).map_or("other", |p| p.name)
}

/// The number of a step of a computation on shares: its terms, the dealer's seeds, and then what is dealt and
/// opened.
fn computed(step: Step) -> Option<u32> {
    let (first, end) = (tacit_jobs::session::COMPUTE_ROUND, tacit_jobs::session::COLLECT_ROUND);
    (first..end).contains(&step.round()).then(|| step.0 - Step::new(first, 0).0)
}

/// A durable record of the protocol: what was decided, in which epoch and round, about what.
pub(crate) struct Record<'a> {
    pub kind: &'a str,
    pub epoch: [u8; 32],
    pub round: u16,
    pub about: [u8; 32],
}

/// Reads a record; `None` for one of another protocol.
pub(crate) fn record(bytes: &[u8]) -> Option<Record<'_>> {
    let rest = bytes.strip_prefix(b"tacit-secagg/1/")?;
    let end = rest.iter().position(|b| *b == b'/')?;
    let (kind, rest) = (core::str::from_utf8(&rest[..end]).ok()?, &rest[end + 1..]);
    let (epoch, rest) = rest.split_first_chunk::<32>()?;
    let (round, about) = rest.split_first_chunk::<2>()?;
    Some(Record { kind, epoch: *epoch, round: u16::from_le_bytes(*round), about: about.try_into().ok()? })
}

/// A bundle of public keys, as it stands on the wire.
#[derive(Deserialize)]
struct Bundle {
    #[expect(dead_code, reason = "it stands before the fields that are read")]
    roll: Hash,
    nonce: [u8; 32],
    keys: Vec<KeySet>,
}

#[derive(Deserialize)]
struct KeySet {
    mask: [u8; 32],
    seal: [u8; 32],
    own: Hash,
}

#[derive(Deserialize)]
struct Vote {
    survivors: Hash,
}

/// Fewer bytes may be equal by chance.
const PAD_BYTES_MIN: usize = 16;
/// The phase of a sum without drop-out in which a seat's vector leaves it.
const COLLECTED_VECTOR: u16 = 2;

/// What the observer remembers.
#[derive(Default)]
pub(crate) struct Wiretap {
    /// Public keys, commitments to self masks, nonces: of which party and attempt.
    keys: BTreeMap<[u8; 32], (usize, String)>,
    /// The header that a party signed for a round's transcript.
    headers: BTreeMap<(usize, Hash), Hash>,
    /// The set that a party voted for in a round's transcript.
    votes: BTreeMap<(usize, Hash), Hash>,
    /// What was dealt or opened in a computation on shares, and in which attempt.
    pads: BTreeMap<Hash, (usize, String)>,
}

impl Wiretap {
    /// Checks a message that an honest party is about to send, given the records of this attempt that
    /// are durable on its disk.
    pub fn sent<'a>(
        &mut self,
        party: usize,
        attempt: &str,
        durable: impl Iterator<Item = &'a [u8]> + Clone,
        message: &Message,
    ) -> Check {
        let step = message.address.step;
        let round = step.round().wrapping_sub(STEP_BASE + 1);
        let there = |kind: &str, about: Option<[u8; 32]>| {
            let fits = |r: Record<'_>| r.kind == kind && r.round == round && about.is_none_or(|a| a == r.about);
            let found = durable.clone().filter_map(record).any(fits);
            holds(found, "what_is_sent_is_durable_first", || {
                format!("party {party}: no {kind} record of round {round} on its disk")
            })
        };
        if step.round() == tacit_jobs::session::COLLECT_ROUND {
            // Its keys are made for it alone, so nothing of it is on the disk.
            let vector = step.phase() == COLLECTED_VECTOR;
            return if vector { self.a_round_key_masks_one_vector(party, message) } else { Ok(()) };
        }
        match phase_of(step) {
            "bundle" => self.no_two_attempts_share_a_mask_nonce_or_seed(party, attempt, message),
            "masked" => {
                there("consume", None)?;
                self.a_round_key_masks_one_vector(party, message)
            }
            "vote" => {
                let signed: Option<Signed> = wire::decode(&message.body).ok();
                let vote = signed.as_ref().and_then(|s| wire::decode::<Vote>(&s.body).ok());
                let (Some(signed), Some(vote)) = (signed, vote) else { return Ok(()) };
                there("vote", Some(vote.survivors.0))?;
                let first = *self.votes.entry((party, signed.scope)).or_insert(vote.survivors);
                holds(first == vote.survivors, "a_seat_votes_once_in_a_round", || format!("party {party}"))
            }
            "unmask" => there("open", None),
            "seeds" | "compute" => self.no_two_attempts_use_one_preprocessing(party, attempt, message),
            _ => Ok(()),
        }
    }

    /// What one attempt makes of a seed no other does: the same inputs under the same pads are the same bytes.
    fn no_two_attempts_use_one_preprocessing(&mut self, party: usize, attempt: &str, message: &Message) -> Check {
        if message.body.len() < PAD_BYTES_MIN {
            return Ok(());
        }
        let body = tacit_crypto::sha256(&message.body);
        let (other, before) = self.pads.entry(body).or_insert_with(|| (party, attempt.to_owned()));
        holds(before == attempt, "no_two_attempts_use_one_preprocessing", || {
            format!("party {party} in attempt {attempt} and party {other} in attempt {before}")
        })
    }

    fn no_two_attempts_share_a_mask_nonce_or_seed(&mut self, party: usize, attempt: &str, message: &Message) -> Check {
        let bundle = wire::decode::<Signed>(&message.body).ok().and_then(|s| wire::decode::<Bundle>(&s.body).ok());
        let Some(bundle) = bundle else { return broken("a_bundle_is_well_formed", format!("party {party}")) };
        let keys = bundle.keys.iter().flat_map(|k| [k.mask, k.seal, k.own.0]);
        for value in keys.chain([bundle.nonce]) {
            if let Some((other, before)) = self.keys.insert(value, (party, attempt.to_owned())) {
                let what = format!("party {party} in attempt {attempt} and party {other} in attempt {before}");
                return broken("no_two_attempts_share_a_mask_nonce_or_seed", what);
            }
        }
        Ok(())
    }

    fn a_round_key_masks_one_vector(&mut self, party: usize, message: &Message) -> Check {
        // The header stands at the end; its scope is the round's transcript.
        let header = (0..message.body.len()).rev().find_map(|at| wire::decode::<Signed>(&message.body[at..]).ok());
        let Some(header) = header else { return broken("a_masked_vector_is_signed", format!("party {party}")) };
        let body = tacit_crypto::sha256(&header.body);
        let first = *self.headers.entry((party, header.scope)).or_insert(body);
        holds(first == body, "a_round_key_masks_one_vector", || format!("party {party}"))
    }
}
