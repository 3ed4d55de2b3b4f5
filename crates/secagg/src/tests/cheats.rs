//! Every branch that blames, with a cheat that runs into it: one seat's messages are altered on
//! their way and signed again with its own key, or one seat runs another program.

use serde::Serialize;
use serde::de::DeserializeOwned;
use tacit_crypto::{Rng, SecretScalar};
use tacit_protocol::{Offence, Offender};
use tacit_types::wire::{self, Blob};

use super::*;
use crate::keys::RoundKeys;
use crate::messages::{Accept, Book, Bundle, Deal, Dealt, Root, Survivors, Terms, Unmask};
use crate::never::{certificate_seats, is_certificate};
use crate::plan::{round_phase, setup_phase};
use crate::signed::{Kind, Signed};
use crate::verify_blame;

pub(super) const N: u16 = 7;
pub(super) const CHEAT: Seat = Seat(3);
pub(super) const HUB: Seat = Seat(0);

pub(super) fn setup_step(phase: u16) -> Step {
    Step::new(BASE, phase)
}

pub(super) fn round_step(phase: u16) -> Step {
    Step::new(BASE + 1, phase)
}

pub(super) fn params() -> Params {
    Params::new(N).unwrap()
}

pub(super) fn one_round() -> Script {
    script(vec![round(0, Width::W64, 20)])
}

/// Alters the body of a signed message and signs it again as its sender.
pub(super) fn edit<T: Serialize + DeserializeOwned>(mut m: Message, f: impl FnOnce(&mut T)) -> Message {
    let signed = Signed::read(&m.body).unwrap();
    let mut body: T = signed.open().unwrap();
    f(&mut body);
    let key = &keys(N)[signed.seat.index()];
    m.body = Signed::with_key(key, signed.seat, &signed, &body).bytes();
    m.total = m.body.len() as u64;
    m
}

/// Runs a round in which `hook` sees the messages of `step` from `from`.
pub(super) fn run(from: Seat, step: Step, mut hook: impl FnMut(Message) -> Vec<Message>) -> BTreeMap<Seat, Done> {
    let mut world = World::new(&plan(params(), 1), &one_round());
    world.hook = Box::new(move |m| if m.address.from == from && m.address.step == step { hook(m) } else { vec![m] });
    world.run();
    world.outcomes()
}

/// Everyone but `without` has the sum of everyone but `without`.
pub(super) fn assert_sum_without(outcomes: &BTreeMap<Seat, Done>, without: &[Seat]) {
    let rest: Vec<Seat> = (0..N).map(Seat).filter(|s| !without.contains(s)).collect();
    for (seat, done) in outcomes.iter().filter(|(s, _)| !without.contains(s)) {
        let outcome = &done.as_ref().unwrap_or_else(|e| panic!("{seat}: {e}")).0[0];
        assert_eq!(outcome.survivors, rest);
        assert_eq!(outcome.sum, Some(plain_sum(&rest, Width::W64, 20)));
    }
}

/// The blame that a seat ended with.
pub(super) fn blame_of(outcomes: &BTreeMap<Seat, Done>, seat: Seat) -> Blame {
    match &outcomes[&seat] {
        Err(Abort::Misbehaved { blame, .. }) => blame.clone(),
        Err(other) => panic!("{seat}: {other}"),
        Ok(_) => panic!("{seat} has a sum"),
    }
}

/// What the aggregator survived: complaints of the set-up, then blames of the round.
pub(super) fn survived(outcomes: &BTreeMap<Seat, Done>) -> Vec<Blame> {
    let (rounds, complaints) = outcomes[&HUB].as_ref().unwrap();
    complaints.iter().chain(&rounds[0].blames).cloned().collect()
}

/// The evidence convicts exactly the offender, and no altered evidence convicts anyone.
pub(super) fn assert_convicts(blame: &Blame, offender: Seat, offence: Offence) {
    assert_eq!((blame.offender, blame.offence), (Offender::Seat(offender), offence));
    assert!(verify_blame(&seating(N), blame), "{offence:?}");
    for other in (0..N).map(Seat).filter(|s| *s != offender) {
        assert!(!verify_blame(&seating(N), &Blame { offender: Offender::Seat(other), ..blame.clone() }));
    }
    assert!(!verify_blame(&seating(N), &Blame { offender: Offender::Coordinator, ..blame.clone() }));
    for i in 0..blame.evidence.len() {
        let mut fewer = blame.clone();
        fewer.evidence.remove(i);
        assert!(!verify_blame(&seating(N), &fewer), "without piece {i}");
        // The stated terms of a wrong root are the job's, not signed; every other piece is.
        if offence == Offence::WrongRoot && i == 1 {
            continue;
        }
        let length = blame.evidence[i].len();
        for at in (0..length).step_by(length / 40 + 1) {
            let mut altered = blame.clone();
            altered.evidence[i].0[at] ^= 1;
            assert!(!verify_blame(&seating(N), &altered), "piece {i}, byte {at}");
        }
    }
}

#[test]
fn two_roots_of_one_dealer_convict_it_and_it_is_left_out() {
    // Seat 2 says that it holds seat 3's deal under another root, which seat 3 did sign.
    let outcomes = run(Seat(2), setup_step(setup_phase::DEALT), |m| {
        vec![edit(m, |dealt: &mut Dealt| {
            let root = dealt.roots.iter_mut().find(|r| r.seat == CHEAT).unwrap();
            let body: Root = root.open().unwrap();
            *root = Signed::with_key(&keys(N)[3], CHEAT, root, &Root { root: Hash([1; 32]), ..body });
        })]
    });
    assert_sum_without(&outcomes, &[CHEAT]);
    assert!(matches!(&outcomes[&CHEAT], Err(Abort::Missing { seats, .. }) if *seats == [CHEAT]));
    assert_convicts(&survived(&outcomes)[0], CHEAT, Offence::Equivocation);
}

#[test]
fn a_root_that_its_dealer_never_signed_counts_for_nothing() {
    let outcomes = run(Seat(2), setup_step(setup_phase::DEALT), |m| {
        vec![edit(m, |dealt: &mut Dealt| {
            let root = dealt.roots.iter_mut().find(|r| r.seat == CHEAT).unwrap();
            root.body = Blob(wire::encode(&Root {
                root: Hash([1; 32]),
                bundle: Hash([2; 32]),
                holders: 7,
                keys: 1,
                threshold: 5,
            }));
        })]
    });
    assert_sum_without(&outcomes, &[]);
    assert!(survived(&outcomes).is_empty());
}

/// A seat that is honest in the set-up and then runs on a tampered epoch.
fn with_tampered_epoch(tamper: fn(&mut Epoch)) -> BTreeMap<Seat, Done> {
    let plan = plan(params(), 1);
    let mut world = World::custom(N, |seat| {
        let (plan, script) = (plan.clone(), one_round());
        if seat != CHEAT {
            return honest(plan, script);
        }
        Box::new(move |mut party| {
            let (plan, script) = (plan.clone(), script.clone());
            Box::pin(async move {
                let mut epoch = setup(&mut party, &plan).await?;
                tamper(&mut epoch);
                rounds(party, epoch, script).await
            })
        })
    });
    world.run();
    world.outcomes()
}

pub(super) fn random_scalar() -> SecretScalar {
    SecretScalar::random(&mut Rng::from_seed(&Secret::new([1; 32])))
}

#[test]
fn an_opening_that_does_not_match_its_commitment_is_dropped_and_convicts_the_opener() {
    let outcomes = with_tampered_epoch(|epoch| {
        let held = epoch.held.get_mut(&Seat(1)).unwrap();
        held.shares[0] = Some((random_scalar(), random_scalar()));
    });
    assert_sum_without(&outcomes, &[]);
    assert_convicts(&survived(&outcomes)[0], CHEAT, Offence::BadOpening);
}

#[test]
fn a_share_of_the_other_kind_is_a_bad_opening() {
    let outcomes = with_tampered_epoch(|epoch| {
        let held = epoch.held.get_mut(&Seat(1)).unwrap();
        let (mask, own) = held.shares[0].take().unwrap();
        held.shares[0] = Some((own, mask));
    });
    assert_sum_without(&outcomes, &[]);
    assert_convicts(&survived(&outcomes)[0], CHEAT, Offence::BadOpening);
}

#[test]
fn honest_openings_convict_nobody_even_beside_another_epoch() {
    let mut world = World::new(&plan(params(), 1), &one_round());
    world.log = true;
    world.run();
    let find =
        |phase: Step, from: u16| world.sent.iter().find(|m| m.address.step == phase && m.address.from == Seat(from));
    let dealt = Signed::read(&find(setup_step(setup_phase::DEALT), 3).unwrap().body).unwrap();
    let other = Signed::with_key(
        &keys(N)[3],
        CHEAT,
        &Signed { scope: Hash([9; 32]), ..dealt.clone() },
        &dealt.open::<Dealt>().unwrap(),
    );
    let unmask = |epoch: Hash| {
        let like = Signed { kind: Kind::Unmask, scope: Hash([8; 32]), ..dealt.clone() };
        let opening = crate::messages::Opening { dealer: Seat(1), share: [0; 32], path: vec![] };
        Signed::with_key(
            &keys(N)[3],
            CHEAT,
            &like,
            &Unmask { epoch, survivors: Hash([7; 32]), openings: vec![opening] },
        )
    };
    let blame = |a: &Signed, b: &Signed| Blame::seat(CHEAT, Offence::BadOpening).with(a.bytes()).with(b.bytes());
    assert!(verify_blame(&seating(N), &blame(&dealt, &unmask(dealt.scope))), "a share that is none");
    assert!(!verify_blame(&seating(N), &blame(&other, &unmask(dealt.scope))), "openings of another epoch");
}

#[test]
fn a_missing_or_broken_deal_is_complained_of_and_survived() {
    let to_4 = |m: &Message| m.address.to == Seat(4);
    let dropped = run(CHEAT, setup_step(setup_phase::DEAL), |m| if to_4(&m) { vec![] } else { vec![m] });
    let broken = |f: fn(&mut Deal)| {
        run(CHEAT, setup_step(setup_phase::DEAL), move |mut m| {
            if to_4(&m) {
                let mut deal: Deal = wire::decode(&m.body).unwrap();
                f(&mut deal);
                m.body = wire::encode(&deal);
                m.total = m.body.len() as u64;
            }
            vec![m]
        })
    };
    let cases = [
        (dropped, Offence::MissingDeal),
        (broken(|deal| deal.sealed[0].0[5] ^= 1), Offence::BadDeal),
        (broken(|deal| deal.path[0].0[5] ^= 1), Offence::BadDeal),
        (broken(|deal| deal.sealed.clear()), Offence::BadDeal),
        (broken(|deal| deal.root.signature.0[9] ^= 1), Offence::BadDeal),
    ];
    for (outcomes, offence) in cases {
        assert_sum_without(&outcomes, &[]);
        let complaint = &survived(&outcomes)[0];
        assert_eq!((complaint.offender, complaint.offence), (Offender::Seat(CHEAT), offence));
        // The dealer may be innocent: the network may have failed, or the holder may lie.
        assert!(!verify_blame(&seating(N), complaint));
    }
}

#[test]
fn a_dealer_that_too_few_hold_is_left_out() {
    let outcomes = run(CHEAT, setup_step(setup_phase::DEAL), |m| if m.address.to.0 < 3 { vec![m] } else { vec![] });
    assert_sum_without(&outcomes, &[CHEAT]);
}

#[test]
fn a_receipted_vector_left_out_of_the_survivors_convicts_the_aggregator() {
    let outcomes = run(HUB, round_step(round_phase::SURVIVORS), |m| {
        vec![edit(m, |list: &mut Survivors| list.headers.retain(|h| h.seat != CHEAT))]
    });
    assert_convicts(&blame_of(&outcomes, CHEAT), HUB, Offence::LeftOut);
    assert!(outcomes.values().all(Result::is_err), "the others voted for another set");
}

#[test]
fn terms_other_than_the_jobs_are_refused() {
    let cases: [fn(&mut Terms); 5] = [
        |t| t.model_root = Some(Hash([1; 32])),
        |t| t.query = Hash([9; 32]),
        |t| t.len += 1,
        |t| t.width = Width::W32,
        |t| t.recipient = Some(tacit_crypto::SealPublic([1; 32])),
    ];
    for cheat in cases {
        let outcomes = run(HUB, round_step(round_phase::START), move |m| {
            if m.address.to == CHEAT { vec![edit(m, cheat)] } else { vec![m] }
        });
        assert_convicts(&blame_of(&outcomes, CHEAT), HUB, Offence::WrongRoot);
        assert_sum_without(&outcomes, &[CHEAT]);
    }
}

#[test]
fn a_sum_other_than_the_signed_one_is_refused() {
    let outcomes = run(HUB, round_step(round_phase::RESULT), |mut m| {
        m.body[17] ^= u8::from(m.address.to == CHEAT);
        vec![m]
    });
    let blame = blame_of(&outcomes, CHEAT);
    assert_eq!((blame.offender, blame.offence), (Offender::Seat(HUB), Offence::BadSum));
    assert!(!verify_blame(&seating(N), &blame));
}

#[test]
fn a_vector_other_than_its_signed_header_is_left_out() {
    let outcomes = run(CHEAT, round_step(round_phase::MASKED), |mut m| {
        m.body[17] ^= 1;
        vec![m]
    });
    assert_sum_without(&outcomes, &[CHEAT]);
    assert_eq!(survived(&outcomes), [Blame::seat(CHEAT, Offence::BadInput)]);
    let Err(Abort::Missing { seats, .. }) = &outcomes[&CHEAT] else { panic!("{:?}", outcomes[&CHEAT].is_ok()) };
    assert_eq!(*seats, [CHEAT]);
}

#[test]
fn a_vector_of_another_length_is_left_out() {
    let outcomes = run(CHEAT, round_step(round_phase::MASKED), |mut m| {
        m.body.extend_from_slice(&[0; 8]);
        m.total += 8;
        vec![m]
    });
    assert_sum_without(&outcomes, &[CHEAT]);
    assert_eq!(survived(&outcomes), [Blame::seat(CHEAT, Offence::Malformed)]);
}

#[test]
fn a_key_that_is_the_identity_or_no_point_is_left_out_with_evidence() {
    let cases: [fn(&mut Bundle); 2] = [|b| b.keys[0].mask = [0; 32], |b| b.keys[0].seal = [0xff; 32]];
    for cheat in cases {
        let outcomes = run(CHEAT, setup_step(setup_phase::BUNDLE), move |m| vec![edit(m, cheat)]);
        assert_sum_without(&outcomes, &[CHEAT]);
        assert_convicts(&survived(&outcomes)[0], CHEAT, Offence::BadKey);
    }
}

#[test]
fn a_nonce_other_than_the_committed_one_is_left_out() {
    let outcomes = run(CHEAT, setup_step(setup_phase::BUNDLE), |m| vec![edit(m, |b: &mut Bundle| b.nonce[0] ^= 1)]);
    assert_sum_without(&outcomes, &[CHEAT]);
    assert_eq!(survived(&outcomes)[0].offence, Offence::Malformed);
}

#[test]
fn keys_swapped_by_the_aggregator_stop_every_seat_before_its_input() {
    let mut world = World::new(&plan(params(), 1), &one_round());
    world.log = true;
    world.hook = Box::new(|mut m| {
        if m.address.step == setup_step(setup_phase::BOOK) {
            let mut book: Book = wire::decode(&m.body).unwrap();
            let victim = book.bundles.iter_mut().find(|b| b.seat == Seat(2)).unwrap();
            let mut body: Bundle = victim.open().unwrap();
            body.keys[0] = RoundKeys::random(&mut Rng::from_seed(&Secret::new([4; 32]))).public(Seat(2), 0);
            *victim = Signed::with_key(&keys(N)[0], Seat(2), victim, &body);
            book.entries.iter_mut().find(|e| e.seat == Seat(2)).unwrap().bundle = victim.body_hash();
            m.body = wire::encode(&book);
        }
        vec![m]
    });
    world.run();
    for (seat, done) in world.outcomes() {
        match done {
            Err(Abort::Misbehaved { blame, .. }) => assert_eq!(blame.offender, Offender::Seat(HUB), "{seat}"),
            Err(Abort::Quorum { .. }) => assert_eq!(seat, HUB),
            other => panic!("{seat}: {:?}", other.map(|_| ())),
        }
    }
    assert!(world.sent.iter().all(|m| m.address.step.round() == BASE), "no input left");
}

#[test]
fn a_key_spoilt_by_the_aggregator_is_not_its_owners_fault() {
    let outcomes = run(HUB, setup_step(setup_phase::BOOK), |mut m| {
        let mut book: Book = wire::decode(&m.body).unwrap();
        let victim = book.bundles.iter_mut().find(|b| b.seat == Seat(2)).unwrap();
        let mut body: Bundle = victim.open().unwrap();
        body.keys[0].mask = [0; 32];
        victim.body = Blob(wire::encode(&body));
        m.body = wire::encode(&book);
        vec![m]
    });
    for seat in (1..N).map(Seat).filter(|s| *s != Seat(2)) {
        assert_eq!(blame_of(&outcomes, seat), Blame::seat(HUB, Offence::Malformed), "{seat}");
    }
}

#[test]
fn a_seat_hidden_from_another_leaves_them_without_common_keys() {
    // Seat 4 is shown a roll without seat 3: its later keys fit nobody's, so it drops out.
    let outcomes = run(HUB, setup_step(setup_phase::ROLL), |mut m| {
        if m.address.to == Seat(4) {
            let mut roll: crate::messages::Roll = wire::decode(&m.body).unwrap();
            roll.accepts.retain(|a| a.seat != CHEAT);
            m.body = wire::encode(&roll);
            m.total = m.body.len() as u64;
        }
        vec![m]
    });
    assert_sum_without(&outcomes, &[Seat(4)]);
    assert!(outcomes[&Seat(4)].is_err());
}

#[test]
fn another_plan_at_one_seat_is_a_disagreement_before_any_key() {
    let good = plan(params(), 1);
    let changes: [fn(&mut Plan); 4] = [
        |p| p.context = Hash([8; 32]),
        |p| p.params = Params::complete(N, 1).unwrap(),
        |p| p.rounds = 2,
        |p| p.context.0[31] ^= 1,
    ];
    for change in changes {
        let mut plans = vec![good.clone(); usize::from(N)];
        change(&mut plans[CHEAT.index()]);
        let mut world = World::with_plans(&plans, &one_round());
        world.log = true;
        world.run();
        let outcomes = world.outcomes();
        assert_eq!(outcomes[&HUB].as_ref().err(), Some(&Abort::Disagreement { seats: vec![CHEAT] }));
        assert!(outcomes.values().all(Result::is_err));
        assert!(world.sent.iter().all(|m| m.address.step == setup_step(setup_phase::ACCEPT)));
    }
}

#[test]
fn an_accept_that_the_aggregator_altered_is_noticed() {
    let outcomes = run(HUB, setup_step(setup_phase::ROLL), |mut m| {
        let mut roll: crate::messages::Roll = wire::decode(&m.body).unwrap();
        let own = roll.accepts.iter_mut().find(|a| a.seat == m.address.to).unwrap();
        *own = Signed::with_key(&keys(N)[0], own.seat, own, &Accept { commitment: Hash([1; 32]) });
        m.body = wire::encode(&roll);
        vec![m]
    });
    for seat in (1..N).map(Seat) {
        assert_eq!(blame_of(&outcomes, seat).offence, Offence::Equivocation);
    }
}

#[test]
fn repeated_messages_change_nothing() {
    let mut world = World::new(&plan(params(), 1), &one_round());
    world.hook = Box::new(|m| vec![m.clone(), m]);
    world.run();
    let outcomes = world.outcomes();
    assert_sum_without(&outcomes, &[]);
    assert!(survived(&outcomes).is_empty());
}

#[test]
fn a_message_moved_from_another_round_counts_for_nothing() {
    let rounds = vec![round(0, Width::W64, 20), round(1, Width::W64, 20)];
    let mut world = World::new(&plan(params(), 2), &script(rounds));
    let mut recorded = None;
    world.hook = Box::new(move |mut m| {
        if m.address.from == CHEAT && m.address.step.phase() == round_phase::MASKED {
            if m.address.step.round() == BASE + 1 {
                recorded = Some(m.body.clone());
            } else if let Some(body) = &recorded {
                m.body = body.clone();
            }
        }
        vec![m]
    });
    world.run();
    let outcomes = world.outcomes();
    let rest: Vec<Seat> = (0..N).map(Seat).filter(|s| *s != CHEAT).collect();
    for (seat, done) in outcomes.iter().filter(|(s, _)| **s != CHEAT) {
        let outcomes = &done.as_ref().unwrap_or_else(|e| panic!("{seat}: {e}")).0;
        assert_eq!(outcomes[0].survivors.len(), usize::from(N));
        assert_eq!(outcomes[1].survivors, rest);
        assert_eq!(outcomes[1].sum, Some(plain_sum(&rest, Width::W64, 20)));
    }
}

#[test]
fn a_message_over_its_cap_leaves_its_sender_out() {
    let outcomes = run(CHEAT, setup_step(setup_phase::ACCEPT), |mut m| {
        m.body.push(0);
        m.total += 1;
        vec![m]
    });
    assert_sum_without(&outcomes, &[CHEAT]);
    assert_eq!(survived(&outcomes)[0], Blame::seat(CHEAT, Offence::Flow));
}

#[test]
fn promises_never_to_open_make_a_certificate_when_there_are_enough() {
    let plan = plan(params(), 1);
    let promise = |tolerant: bool| {
        let plan = plan.clone();
        move |seat: Seat| -> Protocol<Result<Signed, Abort>> {
            let plan = plan.clone();
            Box::new(move |mut party| {
                let plan = plan.clone();
                Box::pin(async move {
                    let mut epoch = setup(&mut party, &plan).await?;
                    assert!(epoch.promise_never_to_open(&mut party, 0).await.is_err(), "before the round");
                    let round = round(0, Width::W64, 4);
                    let done = aggregate(&mut party, &mut epoch, &round, input(seat, Width::W64, 4)).await;
                    assert_eq!(done.is_ok(), tolerant);
                    let promise = epoch.promise_never_to_open(&mut party, 0).await;
                    if promise.is_ok() {
                        assert!(epoch.promise_never_to_open(&mut party, 0).await.is_err(), "twice");
                    }
                    Ok(promise)
                })
            })
        }
    };
    // The aggregator is lost after the vectors are in: nothing was opened.
    let mut world = World::custom(N, promise(false));
    world.kills = BTreeMap::from([(HUB, round_step(round_phase::SURVIVORS))]);
    world.run();
    let promises: Vec<Signed> = world.outcomes().into_values().map(|d| d.unwrap().unwrap()).collect();
    let (need, scope) = (usize::from(certificate_seats(&params())), promises[0].scope);
    assert_eq!(need, 7 - 5 + 1 + 2);
    let holds = |promises: &[Signed]| is_certificate(&seating(N), &params(), &scope, promises);
    assert!(holds(&promises) && holds(&promises[..need]));
    assert!(!holds(&promises[..need - 1]));
    let doubled = [&promises[..need - 1], &promises[..1]].concat();
    assert!(!holds(&doubled), "one seat counts once");
    let mut forged = promises[..need].to_vec();
    forged[0].signature.0[3] ^= 1;
    assert!(!holds(&forged));
    assert!(!is_certificate(&seating(N), &params(), &Hash([0; 32]), &promises), "of another round");

    // After opening, no promise is given.
    let mut world = World::custom(N, promise(true));
    world.run();
    assert!(world.outcomes().into_values().all(|d| d.unwrap().is_err()));
}
