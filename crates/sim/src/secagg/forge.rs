//! What a dishonest seat makes of its messages. It holds its own key, so it can sign anything.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tacit_crypto::{SealPublic, SigningKey, Transcript};
use tacit_protocol::Message;
use tacit_secagg::{Signed, Width};
use tacit_types::wire::{self, Blob};
use tacit_types::{Hash, Seat};

use crate::dice::Dice;
use crate::wiretap::phase_of;

/// The message with one byte altered.
pub fn altered(dice: &mut Dice, mut message: Message) -> Message {
    let at = dice.below(message.body.len() as u64) as usize;
    if let Some(byte) = message.body.get_mut(at) {
        *byte ^= 1 << dice.below(8);
    }
    message
}

/// The message with its signed body altered, cut or lengthened, under a good signature; altered plainly
/// when nothing in it is signed by its sender.
pub fn resigned(dice: &mut Dice, key: &SigningKey, mut message: Message) -> Message {
    if phase_of(message.address.step) == "deal" {
        let forged = edited(&message.body, |deal: &mut Deal| spoil(dice, key, &mut deal.root));
        return forged.map_or(message.clone(), |body| Message { total: body.len() as u64, body, ..message });
    }
    let Ok(mut signed) = wire::decode::<Signed>(&message.body) else { return altered(dice, message) };
    spoil(dice, key, &mut signed);
    message.body = wire::encode(&signed);
    message.total = message.body.len() as u64;
    message
}

fn spoil(dice: &mut Dice, key: &SigningKey, signed: &mut Signed) {
    let body = &mut signed.body.0;
    let at = dice.below(body.len() as u64) as usize;
    match dice.below(5) {
        0 => body.truncate(at),
        1 => body.extend_from_slice(&dice.bytes::<3>()),
        _ => body.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << dice.below(8)),
    }
    sign(key, signed);
}

/// The bodies of lists, as they stand on the wire.
#[derive(Serialize, Deserialize)]
struct Survivors {
    headers: Vec<Signed>,
}

/// In verify mode.
#[derive(Serialize, Deserialize)]
struct ClaimedSurvivors {
    headers: Vec<Signed>,
    width: Width,
    len: u64,
    root: Hash,
}

#[derive(Serialize, Deserialize)]
struct Ready {
    participants: Vec<Seat>,
}

#[derive(Serialize, Deserialize)]
struct Terms {
    query: Hash,
    model_root: Option<Hash>,
    width: Width,
    len: u64,
    recipient: Option<SealPublic>,
    participants: Vec<Seat>,
}

#[derive(Serialize, Deserialize)]
struct Roll {
    accepts: Vec<Signed>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    seat: Seat,
    nonce: [u8; 32],
    bundle: Hash,
}

#[derive(Serialize, Deserialize)]
struct Book {
    entries: Vec<Entry>,
    bundles: Vec<Signed>,
}

#[derive(Serialize, Deserialize)]
struct Deal {
    root: Signed,
    path: Vec<Hash>,
    sealed: Vec<Blob>,
}

/// The body of what a seat says that it holds, and that of a dealer's root.
#[derive(Serialize, Deserialize)]
struct Dealt {
    roots: Vec<Signed>,
    complaints: Vec<(Seat, bool)>,
}

#[derive(Serialize, Deserialize)]
struct Root {
    root: Hash,
    bundle: Hash,
    holders: u16,
    keys: u16,
    threshold: u16,
}

/// What a dealer says that it holds, with another root of its own than the one that it dealt under: well signed, and of the
/// same length. `None` for another message.
pub(crate) fn two_roots(key: &SigningKey, mut message: Message) -> Option<Message> {
    if phase_of(message.address.step) != "dealt" {
        return None;
    }
    let (mut signed, own) = (wire::decode::<Signed>(&message.body).ok()?, message.address.from);
    let body = edited(&signed.body, |dealt: &mut Dealt| {
        for root in dealt.roots.iter_mut().filter(|root| root.seat == own) {
            if let Some(body) = edited(&root.body, |body: &mut Root| body.root = Hash([0x5a; 32])) {
                root.body = Blob(body);
                sign(key, root);
            }
        }
    })?;
    signed.body = Blob(body);
    sign(key, &mut signed);
    message.body = wire::encode(&signed);
    Some(message)
}

/// In verify mode: what the aggregator gives out of a sum.
#[derive(Serialize, Deserialize)]
struct Proof {
    survivors: Hash,
    tags: Vec<Signed>,
    shown: Vec<Seat>,
    secrets: Vec<(Seat, [u8; 32])>,
}

#[derive(Serialize, Deserialize)]
struct PieceDigest {
    survivors: Hash,
    leaves: Vec<Hash>,
}

/// What the aggregator of a checked sum gives out, as if the sum were another one: well signed, and of the same length.
/// `None` for another message.
pub(crate) fn wrong_sum(key: &SigningKey, mut message: Message) -> Option<Message> {
    let mut signed = wire::decode::<Signed>(&message.body).ok()?;
    let body = match phase_of(message.address.step) {
        "proof" => {
            edited(&signed.body, |proof: &mut Proof| proof.secrets.iter_mut().for_each(|(_, secret)| secret[0] ^= 1))
        }
        "result" => {
            edited(&signed.body, |digest: &mut PieceDigest| digest.leaves.iter_mut().for_each(|leaf| leaf.0[0] ^= 1))
        }
        _ => None,
    }?;
    signed.body = Blob(body);
    sign(key, &mut signed);
    message.body = wire::encode(&signed);
    Some(message)
}

/// The message with one seat fewer in its list, well signed; the same when it has no list.
pub fn shortened(key: &SigningKey, mut message: Message) -> Message {
    let hub = message.address.from;
    let unsigned = match phase_of(message.address.step) {
        "roll" => edited(&message.body, |list: &mut Roll| drop_last(&mut list.accepts, |a| a.seat != hub)),
        "book" => edited(&message.body, |list: &mut Book| drop_last(&mut list.entries, |e| e.seat != hub)),
        _ => None,
    };
    if let Some(body) = unsigned {
        return Message { total: body.len() as u64, body, ..message };
    }
    let Ok(mut signed) = wire::decode::<Signed>(&message.body) else { return message };
    let not = signed.seat;
    let body = match phase_of(message.address.step) {
        "survivors" => edited(&signed.body, |list: &mut Survivors| drop_last(&mut list.headers, |h| h.seat != not))
            .or_else(|| {
                edited(&signed.body, |list: &mut ClaimedSurvivors| drop_last(&mut list.headers, |h| h.seat != not))
            }),
        "ready" => edited(&signed.body, |list: &mut Ready| drop_last(&mut list.participants, |s| *s != not)),
        "start" => edited(&signed.body, |terms: &mut Terms| drop_last(&mut terms.participants, |s| *s != not)),
        _ => None,
    };
    let Some(body) = body else { return message };
    signed.body = Blob(body);
    sign(key, &mut signed);
    message.body = wire::encode(&signed);
    message.total = message.body.len() as u64;
    message
}

fn edited<T: Serialize + DeserializeOwned>(body: &[u8], edit: impl FnOnce(&mut T)) -> Option<Vec<u8>> {
    let mut value: T = wire::decode(body).ok()?;
    edit(&mut value);
    Some(wire::encode(&value))
}

fn drop_last<T>(list: &mut Vec<T>, may_go: impl Fn(&T) -> bool) {
    if let Some(at) = list.iter().rposition(may_go) {
        list.remove(at);
    }
}

fn sign(key: &SigningKey, signed: &mut Signed) {
    let message = Transcript::new("tacit-secagg/1/signed")
        .u64(signed.kind as u64)
        .fixed(&signed.scope.0)
        .u64(u64::from(signed.slot))
        .u64(u64::from(signed.seat.0))
        .bytes(&signed.body)
        .finish();
    signed.signature = key.sign(message.as_bytes());
}
