//! Exported evidence is checked beside the receipt that carries its hash: what `tacit receipt convict` says rests on this.

mod case;

use case::common::{World, key};
use tacit_crypto::{SigningKey, Transcript};
use tacit_engine::evidence::{self, convict};
use tacit_protocol::{Blame, Offence};
use tacit_receipts::{Trust, UsageRecord, assemble};
use tacit_types::wire::{self, Blob};
use tacit_types::{Code, Hash, Seat};

/// Two roots that the key signed for one slot of one attempt.
fn equivocation(seat: Seat, by: &SigningKey) -> Blame {
    #[derive(serde::Serialize)]
    struct Wire(u32, Hash, u32, Seat, Blob, tacit_crypto::sign::Signature);
    let over = Hash([8; 32]);
    let body = |tag: u8| {
        let body = Blob(vec![tag; 8]);
        // Kind 2 is a dealer's root.
        let message = Transcript::new("tacit-secagg/1/signed")
            .u64(2)
            .fixed(&over.0)
            .u64(0)
            .u64(u64::from(seat.0))
            .bytes(&body)
            .finish();
        wire::encode(&Wire(2, over, 0, seat, body, by.sign(message.as_bytes())))
    };
    Blame::seat(seat, Offence::Equivocation).with(body(1)).with(body(2))
}

/// A record of three with what it says of one of them.
struct Accused {
    world: World,
    record: UsageRecord,
    seat: Seat,
    key: SigningKey,
}

impl Accused {
    fn new() -> Self {
        let mut world = World::new(3);
        let record = world.record(1);
        let keys = world.bundle().history(Some(&world.trust()));
        let seating = evidence::seating(&record, &keys).unwrap();
        let cheat = world.party(1);
        let seat = seating.seat_of(&cheat.id()).unwrap();
        Self { world, record, seat, key: cheat }
    }

    /// The leaf, the bundle and the trust file of a log whose last receipt names the evidence.
    fn logged(mut self, blame: &Blame) -> (u64, Vec<u8>, Trust) {
        self.record.convictions = vec![evidence::conviction(blame).unwrap()];
        let attestations = self.world.attest_all(&self.record);
        let leaf = self.world.publish(assemble(self.record, &attestations, Vec::new()).unwrap().receipt);
        (leaf, self.world.single(&[0, 1, leaf]).to_bytes(), self.world.trust())
    }
}

#[test]
fn evidence_convicts_beside_the_receipt_that_carries_its_hash_and_nowhere_else() {
    let accused = Accused::new();
    let (seat, name) = (accused.seat, accused.record.parties[1].name.clone());
    let (party, blame) = (accused.key.id(), equivocation(seat, &accused.key));
    let (leaf, bundle, trust) = accused.logged(&blame);
    let file = evidence::encode(&blame);
    for trusted in [Some(&trust), None] {
        let held = convict(&file, &bundle, trusted).unwrap();
        assert_eq!((held.leaf, held.conviction.seat, held.conviction.offence.as_str()), (leaf, seat, "equivocation"));
        let named = held.record.parties.iter().find(|p| p.party == party).unwrap();
        assert_eq!(named.name, name);
    }
    // Another piece of evidence, by the same key and as good, is carried by no receipt here.
    let another = equivocation(seat, &key(7));
    assert_eq!(convict(&evidence::encode(&another), &bundle, Some(&trust)).unwrap_err().code, Code::ReceiptUnknown);
    for at in 0..file.len() {
        let mut altered = file.clone();
        altered[at] ^= 1;
        let code = convict(&altered, &bundle, Some(&trust)).unwrap_err().code;
        assert!([Code::ReceiptUnknown, Code::ReceiptMalformed].contains(&code), "byte {at}: {code:?}");
    }
    // No receipt, another log's trust, a bundle that does not hold.
    let empty = World::new(3);
    assert_eq!(convict(&file, &empty.bundle().to_bytes(), None).unwrap_err().code, Code::ReceiptUnknown);
    let foreign = Trust { log_key: empty.witness(0).to_string(), ..trust.clone() };
    assert!(convict(&file, &bundle, Some(&foreign)).is_err());
    assert!(convict(&file, &bundle[..bundle.len() - 1], Some(&trust)).is_err());
}

/// Parties that sign a record together cannot convict whom no signature of its own does.
#[test]
fn a_receipt_that_names_evidence_which_shows_nothing_convicts_nobody() {
    // By a key that is nobody's here, and of a seat that did not sign it.
    let accused = Accused::new();
    let blame = equivocation(accused.seat, &key(7));
    let (_, bundle, trust) = accused.logged(&blame);
    assert_eq!(convict(&evidence::encode(&blame), &bundle, Some(&trust)).unwrap_err().code, Code::ReceiptInvalid);
    let accused = Accused::new();
    let other = (0..3).map(Seat).find(|s| *s != accused.seat).unwrap();
    let blame = equivocation(other, &accused.key);
    let (_, bundle, trust) = accused.logged(&blame);
    assert_eq!(convict(&evidence::encode(&blame), &bundle, Some(&trust)).unwrap_err().code, Code::ReceiptInvalid);
}
