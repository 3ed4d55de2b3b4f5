//! What convicts: of two stories about who survived, of votes that are too few, and of shares that are not of the signed key.

use tacit_protocol::{Offence, Offender};
use tacit_types::limits::SEATS_MAX;
use tacit_types::wire;

use super::cheats::{
    CHEAT, HUB, N, assert_convicts, blame_of, edit, one_round, params, random_scalar, round_step, run,
};
use super::*;
use crate::evidence::Share;
use crate::keys::RoundKeys;
use crate::messages::{Caps, PATH_MAX, Quorum, Survivors, Unmask, Vote};
use crate::params::{COMPLETE_SEATS_MAX, ROUND_KEYS_MAX};
use crate::plan::round_phase;
use crate::setup::Setup as KeySetup;
use crate::signed::{Kind, Signed};
use crate::verify_blame;

#[test]
fn two_sets_of_survivors_are_not_both_opened() {
    let mut world = World::new(&plan(params(), 1), &one_round());
    world.log = true;
    world.hook = Box::new(|m| {
        let split = m.address.step == round_step(round_phase::SURVIVORS) && m.address.to.0 > 3;
        vec![if split { edit(m, |list: &mut Survivors| list.headers.retain(|h| h.seat != CHEAT)) } else { m }]
    });
    world.run();
    let outcomes = world.outcomes();
    assert!(outcomes.values().all(Result::is_err));
    assert!(!world.sent.iter().any(|m| m.address.step == round_step(round_phase::UNMASK)), "nobody opens a share");
    // The two lists are evidence.
    let lists = |to: u16| {
        let step = round_step(round_phase::SURVIVORS);
        world.sent.iter().find(|m| m.address.step == step && m.address.to == Seat(to)).unwrap().clone()
    };
    let forged = edit(lists(4), |list: &mut Survivors| list.headers.retain(|h| h.seat != CHEAT));
    let blame = Blame::seat(HUB, Offence::Equivocation).with(lists(1).body).with(forged.body);
    assert_convicts(&blame, HUB, Offence::Equivocation);
    let same = Blame::seat(HUB, Offence::Equivocation).with(lists(1).body).with(lists(2).body);
    assert!(!verify_blame(&seating(N), &same));
}

/// One seat is shown a list without another. The others vote enough, and the quorum that it gets names their list: it holds
/// two statements of the aggregator that cannot both be.
#[test]
fn who_was_shown_another_list_convicts_the_aggregator_when_the_quorum_comes() {
    let outcomes = run(HUB, round_step(round_phase::SURVIVORS), |m| {
        let other = m.address.to == Seat(6);
        vec![if other { edit(m, |list: &mut Survivors| list.headers.retain(|h| h.seat != CHEAT)) } else { m }]
    });
    assert_convicts(&blame_of(&outcomes, Seat(6)), HUB, Offence::NoQuorum);
}

#[test]
fn a_vote_of_who_is_not_in_the_list_counts_for_nothing_and_convicts_the_aggregator() {
    let mut world = World::new(&plan(params(), 1), &one_round());
    world.hook = Box::new(|m| {
        if m.address.from == CHEAT && m.address.step == round_step(round_phase::MASKED) {
            return vec![];
        }
        if (m.address.to, m.address.step) != (Seat(6), round_step(round_phase::QUORUM)) {
            return vec![m];
        }
        vec![edit(m, |q: &mut Quorum| {
            let like = q.votes[1].clone();
            let vote = Signed::with_key(&keys(N)[CHEAT.index()], CHEAT, &like, &Vote { survivors: q.survivors });
            q.votes[1] = vote;
        })]
    });
    world.run();
    let outcomes = world.outcomes();
    assert_convicts(&blame_of(&outcomes, Seat(6)), HUB, Offence::NoQuorum);
}

#[test]
fn survivors_below_the_floor_or_with_forged_headers_are_refused() {
    type Cheat = fn(&mut Survivors);
    let cases: [(Cheat, Offence); 4] = [
        // One below U_min.
        (|list| list.headers.truncate(4), Offence::NoQuorum),
        (|list| list.headers[2].signature.0[5] ^= 1, Offence::Malformed),
        (|list| list.headers.swap(1, 2), Offence::Malformed),
        (|list| list.headers[2].scope = Hash([0; 32]), Offence::Malformed),
    ];
    for (cheat, offence) in cases {
        let outcomes = run(HUB, round_step(round_phase::SURVIVORS), move |m| {
            if m.address.to == Seat(2) { vec![edit(m, cheat)] } else { vec![m] }
        });
        let blame = blame_of(&outcomes, Seat(2));
        assert_eq!((blame.offender, blame.offence), (Offender::Seat(HUB), offence));
        if offence == Offence::NoQuorum {
            assert_convicts(&blame, HUB, offence);
        }
    }
}

#[test]
fn openings_without_a_quorum_of_votes_are_refused_and_convict_the_aggregator() {
    let cases: [fn(&mut Quorum); 7] = [
        |q| q.votes.truncate(4),
        |q| q.votes[1] = q.votes[0].clone(),
        |q| {
            let like = q.votes[1].clone();
            q.votes[1] = Signed::with_key(&keys(N)[0], like.seat, &like, &Vote { survivors: q.survivors });
        },
        // What it says that it needs is not what the parameters ask, with as many votes as it says and with enough.
        |q| {
            q.votes.truncate(4);
            q.need = 4;
        },
        |q| q.need = 4,
        |q| {
            q.votes.clear();
            q.need = 0;
        },
        // Of another round.
        |q| {
            let like = Signed { scope: Hash([5; 32]), ..q.votes[1].clone() };
            q.votes[1] = Signed::with_key(
                &keys(N)[usize::from(like.seat.0)],
                like.seat,
                &like,
                &Vote { survivors: q.survivors },
            );
        },
    ];
    for cheat in cases {
        let outcomes = run(HUB, round_step(round_phase::QUORUM), move |m| {
            if m.address.to == CHEAT { vec![edit(m, cheat)] } else { vec![m] }
        });
        assert_convicts(&blame_of(&outcomes, CHEAT), HUB, Offence::NoQuorum);
    }
}

/// What an honest aggregator signs convicts it neither beside its terms nor beside those of another attempt.
#[test]
fn an_honest_list_and_quorum_convict_nobody() {
    let lowered = run(HUB, round_step(round_phase::QUORUM), |m| {
        vec![if m.address.to == CHEAT { edit(m, |q: &mut Quorum| q.need = 4) } else { m }]
    });
    let [_, start, story] = &blame_of(&lowered, CHEAT).evidence[..] else { panic!("three pieces") };
    let sent = |plan: &Plan, phase: u16| {
        let mut world = World::new(plan, &one_round());
        world.log = true;
        world.run();
        let step = round_step(phase);
        world.sent.iter().find(|m| m.address.step == step && m.address.to == CHEAT).unwrap().body.clone()
    };
    let convicts = |pieces: &[&[u8]]| {
        let blame = Blame::seat(HUB, Offence::NoQuorum);
        verify_blame(&seating(N), &pieces.iter().fold(blame, |blame, piece| blame.with(piece.to_vec())))
    };
    let ours = plan(params(), 1);
    let [list, quorum] = [round_phase::SURVIVORS, round_phase::QUORUM].map(|phase| sent(&ours, phase));
    assert_eq!(sent(&ours, round_phase::START), start.to_vec(), "the same round");
    assert!(!convicts(&[&list, start, story]));
    assert!(!convicts(&[&quorum, start, story]));
    assert!(!convicts(&[&quorum, start, story, &list]));
    assert!(!convicts(&[&quorum]));
    // Parameters that ask for fewer votes are another round's, which the pieces do not fit.
    let fewer = plan(Params::complete(N, 0).unwrap(), 1);
    let [list, quorum] = [round_phase::SURVIVORS, round_phase::QUORUM].map(|phase| sent(&fewer, phase));
    let asks = |bytes: &[u8]| Signed::read(bytes).unwrap().open::<Quorum>().unwrap().need;
    assert_eq!(asks(&quorum), 4);
    assert!(!convicts(&[&quorum, start, story]) && !convicts(&[&list, start, story]));
    assert!(!convicts(&[&quorum, &sent(&fewer, round_phase::START), story]));
    assert!(!convicts(&[&quorum]));
}

/// A quorum alone, as evidence once was: with fewer votes than it states itself.
#[test]
fn a_quorum_alone_convicts_by_its_own_word() {
    let alone = |cheat: fn(&mut Quorum)| {
        let outcomes = run(HUB, round_step(round_phase::QUORUM), move |m| {
            if m.address.to == CHEAT { vec![edit(m, cheat)] } else { vec![m] }
        });
        let blame = blame_of(&outcomes, CHEAT);
        verify_blame(&seating(N), &Blame { evidence: blame.evidence[..1].to_vec(), ..blame })
    };
    assert!(alone(|q| q.votes.truncate(4)));
    assert!(!alone(|q| {
        q.votes.truncate(4);
        q.need = 4;
    }));
}

/// Seats of which one deals shares of another b than that whose hash it has signed.
fn with_inconsistent_dealer(n: u16) -> BTreeMap<Seat, Done> {
    let plan = plan(Params::new(n).unwrap(), 1);
    let mut world = World::custom(n, |seat| {
        let (plan, script) = (plan.clone(), one_round());
        if seat != CHEAT {
            return honest(plan, script);
        }
        Box::new(move |mut party| {
            let (plan, script) = (plan.clone(), script.clone());
            Box::pin(async move {
                let mut own = vec![RoundKeys::random(party.rng())];
                let t0 = crate::keys::t0(&plan, party.seating());
                let mut setup = KeySetup { plan: &plan, t0, complaints: Vec::new() };
                let book = setup.agree_keys(&mut party, &own).await?;
                own[0].own = random_scalar();
                let epoch = setup.share(&mut party, book, own).await?;
                rounds(party, epoch, script).await
            })
        })
    });
    world.run();
    world.outcomes()
}

#[test]
fn shares_of_another_secret_than_the_signed_one_convict_the_dealer() {
    let outcomes = with_inconsistent_dealer(N);
    let blame = blame_of(&outcomes, HUB);
    assert_convicts(&blame, CHEAT, Offence::Inconsistent);
    assert!(outcomes.values().all(Result::is_err), "nobody has a sum");

    let [bundle, root, shown] = &blame.evidence[..] else { panic!("{} pieces", blame.evidence.len()) };
    let shares = || wire::decode::<Vec<Share>>(shown).unwrap();
    let with = |pieces: Vec<Vec<u8>>| {
        let blame = Blame::seat(CHEAT, Offence::Inconsistent).with(bundle.to_vec()).with(root.to_vec());
        verify_blame(&seating(N), &pieces.into_iter().fold(blame, Blame::with))
    };
    assert_eq!(shares().len(), 5, "t of them");
    assert!(!with(vec![wire::encode(&shares()[1..])]), "t - 1 shares");
    let mut doubled = shares();
    doubled.pop();
    doubled.extend(shares().into_iter().next());
    assert!(!with(vec![wire::encode(&doubled)]), "one of them twice");
    // As it was shown once: the signed openings of t holders.
    let signed = |share: Share| {
        let like = Signed { kind: Kind::Unmask, scope: Hash([8; 32]), ..Signed::read(root).unwrap() };
        let body = Unmask { epoch: like.scope, survivors: Hash([7; 32]), openings: vec![share.opening] };
        Signed::with_key(&keys(N)[share.holder.index()], share.holder, &like, &body).bytes()
    };
    let openings: Vec<Vec<u8>> = shares().into_iter().map(signed).collect();
    assert!(with(openings.clone()));
    assert!(!with(openings[1..].to_vec()));
}

/// The whole openings of as many holders would be twice as long.
#[test]
fn evidence_against_a_dealer_among_many_is_short_enough_for_a_receipt() {
    const TRAVELS: usize = 256 << 10;
    let n = 48;
    let blame = blame_of(&with_inconsistent_dealer(n), HUB);
    assert!(verify_blame(&seating(n), &blame));
    let length = |shares: usize| shares * (2 + 2 + 32 + 8 + 32 * PATH_MAX);
    let params = |n| Params::new(n).unwrap();
    let shown = blame.evidence[2].len();
    assert!(shown <= 8 + length(params(n).threshold().into()), "{shown} bytes");
    for n in [COMPLETE_SEATS_MAX, COMPLETE_SEATS_MAX + 1, SEATS_MAX as u16] {
        let bundle = Caps { seats: usize::from(n), keys: ROUND_KEYS_MAX.into() }.bundle();
        let longest = bundle + 1024 + length(params(n).threshold().into());
        assert!(longest < TRAVELS, "{n} parties: {longest} bytes");
    }
}
