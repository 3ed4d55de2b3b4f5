use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};

use tacit_crypto::Secret;
use tacit_types::NodeId;

use super::*;
use crate::disclosure::{Audience, Concealed};
use crate::host::{Next, Wanted};
use crate::message::Address;

const STEP: Step = Step::new(0, 1);
const FAR: Millis = Millis(1_000);

fn disclosure() -> Disclosure {
    Disclosure { what: "total".into(), to: Audience::Nodes, cells_max: 2 }
}

fn keys(n: usize) -> Vec<Arc<SigningKey>> {
    let seed = |i: usize| {
        let mut seed = [(i as u8).wrapping_add(1); 32];
        seed[0] = (i >> 8) as u8;
        Secret::new(seed)
    };
    let mut keys: Vec<_> = (0..n).map(|i| SigningKey::from_seed(&seed(i))).collect();
    keys.sort_by_key(SigningKey::id);
    keys.into_iter().map(Arc::new).collect()
}

fn setup(n: usize, seat: u16) -> Setup {
    let nodes: Vec<NodeId> = keys(n).iter().map(|k| k.id()).collect();
    Setup {
        job: JobId([1; 32]),
        attempt: Attempt(1),
        seat: Seat(seat),
        seating: Seating::new(nodes).unwrap(),
        disclosures: vec![disclosure()],
        stream_bytes_max: 1 << 30,
    }
}

fn machine<T, F>(n: usize, seat: u16, protocol: impl FnOnce(Party) -> F) -> Machine<T>
where
    F: Future<Output = Result<T, Abort>> + Send + 'static,
{
    Machine::new(setup(n, seat), &Secret::new([seat as u8; 32]), keys(n)[seat as usize].clone(), Millis(0), protocol)
}

/// Delivers everything at once, in order, until nothing moves.
fn run<T>(machines: &mut [Machine<T>]) {
    let mut events: Vec<(usize, Event)> = (0..machines.len()).map(|i| (i, Event::Start)).collect();
    while !events.is_empty() {
        let (to, event) = events.remove(0);
        for effect in machines[to].step(Millis(0), event) {
            match effect {
                Effect::Send(m) => events.push((m.address.to.index(), Event::Received(m))),
                Effect::Credit { to: sender, consumed } => {
                    events.push((sender.index(), Event::Credit { from: Seat(to as u16), consumed }));
                }
                Effect::Persist { ticket, .. } => events.push((to, Event::Persisted { ticket })),
                _ => {}
            }
        }
    }
}

async fn total(mut party: Party, mine: u64) -> Result<u64, Abort> {
    let all = party.exchange(STEP, &mine.to_le_bytes(), 8, FAR).await?.all(STEP)?;
    let sum = all.values().map(|b| u64::from_le_bytes(b.as_slice().try_into().unwrap())).sum::<u64>() + mine;
    party.persist(b"sum".to_vec()).await?;
    party.reveal(&disclosure(), 1, Concealed::new(sum))
}

#[test]
fn three_parties_add() {
    let mut machines: Vec<_> = (0..3).map(|i| machine(3, i, move |p| total(p, 10u64.pow(u32::from(i))))).collect();
    run(&mut machines);
    for m in &mut machines {
        assert_eq!(m.take_outcome().unwrap().unwrap(), 111);
        let usage = m.usage();
        assert_eq!(usage.sent.values().sum::<u64>(), 16);
        assert_eq!(usage.received.values().sum::<u64>(), 16);
        assert_eq!(usage.opened["total"], 1);
    }
}

#[test]
fn the_gate_opens_only_what_the_job_lists() {
    let other = Disclosure { what: "rows".into(), ..disclosure() };
    let mut m = machine(1, 0, move |mut p: Party| async move {
        assert_eq!(p.reveal(&disclosure(), 2, Concealed::new(5))?, 5);
        assert!(matches!(p.reveal(&disclosure(), 1, Concealed::new(5)), Err(Abort::Undisclosed(_))));
        p.reveal(&other, 1, Concealed::new(6))
    });
    m.step(Millis(0), Event::Start);
    assert!(matches!(m.take_outcome(), Some(Err(Abort::Undisclosed(what))) if what == "rows"));
}

#[test]
fn a_deadline_names_the_missing_and_a_lost_seat_ends_the_wait() {
    let start = || machine(3, 0, |p| total(p, 1));
    let mut m = start();
    assert!(m.step(Millis(0), Event::Start).contains(&Effect::SetTimer(FAR)));
    m.step(FAR, Event::Timer);
    assert_eq!(m.take_outcome().unwrap().unwrap_err(), Abort::Missing { step: STEP, seats: vec![Seat(1), Seat(2)] });
    let mut m = start();
    m.step(Millis(0), Event::Start);
    m.step(Millis(1), Event::Gone(Seat(1)));
    assert!(!m.is_finished());
    m.step(Millis(1), Event::Gone(Seat(2)));
    assert!(m.is_finished());
}

#[test]
fn a_full_window_suspends_the_sender_until_credit_comes() {
    let chunk = setup(2, 0).seating.chunk_bytes();
    let sender = |p: Party| async move {
        let mut p = p;
        let mut message = p.open(Seat(1), STEP, 5 * chunk as u64);
        for i in 0..4u8 {
            message.write_chunk(vec![i; chunk], FAR).await?;
        }
        // Other sizes are cut to chunks.
        message.write_chunk(vec![4; chunk - 1], FAR).await?;
        message.write_chunk(vec![4], FAR).await?;
        message.finish(FAR).await?;
        Ok(0)
    };
    let receiver = |mut p: Party| async move {
        let from = BTreeSet::from([Seat(0)]);
        let mut seen = 0u64;
        while let Some(c) = p.chunk(&from, STEP, FAR).await? {
            assert_eq!(c.offset, seen);
            assert!(c.bytes.iter().all(|b| u64::from(*b) == c.offset / chunk as u64));
            seen += c.bytes.len() as u64;
        }
        Ok(seen)
    };
    let mut a = machine(2, 0, sender);
    let sent = a.step(Millis(0), Event::Start);
    assert_eq!(sent.iter().filter(|e| matches!(e, Effect::Send(_))).count(), 2, "the window is two chunks");
    let mut machines = [machine(2, 0, sender), machine(2, 1, receiver)];
    run(&mut machines);
    assert_eq!(machines[1].take_outcome().unwrap().unwrap(), 5 * chunk as u64);
}

#[test]
fn fanning_out_serves_each_seat_by_its_own_window_and_names_the_full_one() {
    let chunk = setup(4, 0).seating.chunk_bytes();
    let long: Arc<[u8]> = vec![7; 3 * chunk + 1].into();
    let bodies = BTreeMap::from([(Seat(1), long.clone()), (Seat(2), long), (Seat(3), Arc::from(&b""[..]))]);
    let mut m = machine(4, 0, move |mut p: Party| async move { p.fan_out(STEP, &bodies, FAR).await });
    let sent = |effects: &[Effect], seat: u16| {
        let to = |e: &&Effect| matches!(e, Effect::Send(m) if m.address.to == Seat(seat));
        effects.iter().filter(to).count()
    };
    let effects = m.step(Millis(0), Event::Start);
    assert_eq!([sent(&effects, 1), sent(&effects, 2), sent(&effects, 3)], [2, 2, 1]);
    let effects = m.step(Millis(1), Event::Credit { from: Seat(2), consumed: 2 * chunk as u64 });
    assert_eq!([sent(&effects, 1), sent(&effects, 2)], [0, 2], "a full window holds up no other");
    m.step(FAR, Event::Timer);
    assert_eq!(m.take_outcome().unwrap().unwrap(), [Seat(1)]);
}

/// A seat that sends a body of more than two windows to each of 400 others, and how many bodies it has made.
fn fan_of_many() -> (Machine<Vec<Seat>>, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    let counter = made.clone();
    let m = machine(MANY, 0, move |mut p: Party| async move {
        let length = BODY_CHUNKS as usize * p.seating().chunk_bytes();
        let others = p.others();
        let body = |_| {
            counter.fetch_add(1, Ordering::Relaxed);
            vec![1; length].into()
        };
        p.fan_out_with(STEP, others, body, FAR).await
    });
    (m, made)
}

const MANY: usize = 401;
const BODY_CHUNKS: u64 = 9;

fn bytes_of(effects: &[Effect]) -> BTreeMap<Seat, u64> {
    let mut bytes = BTreeMap::new();
    for effect in effects {
        if let Effect::Send(m) = effect {
            *bytes.entry(m.address.to).or_insert(0) += m.body.len() as u64;
        }
    }
    bytes
}

#[test]
fn a_fan_to_many_keeps_a_bounded_number_of_bytes_under_way_and_bodies_in_memory() {
    let (mut m, made) = fan_of_many();
    let seating = setup(MANY, 0).seating;
    let (most, chunk) = (seating.fan_out_bytes(), seating.chunk_bytes() as u64);
    assert!(most < (MANY as u64 - 1) * chunk, "the bound is what holds back, not the windows");
    let mut sent: BTreeMap<Seat, u64> = BTreeMap::new();
    let (mut credited, mut events) = (BTreeMap::<Seat, u64>::new(), vec![Event::Start]);
    while let Some(event) = events.pop() {
        for (seat, bytes) in bytes_of(&m.step(Millis(0), event)) {
            *sent.entry(seat).or_default() += bytes;
        }
        let under_way = sent.values().sum::<u64>() - credited.values().sum::<u64>();
        assert!(under_way <= most, "{under_way} bytes under way");
        let begun = made.load(Ordering::Relaxed);
        let done = sent.values().filter(|b| **b == BODY_CHUNKS * chunk).count();
        assert!((begun - done) as u64 * chunk <= most, "{begun} bodies made, {done} of them given up");
        let behind = sent.iter().find(|(seat, bytes)| credited.get(seat).copied().unwrap_or(0) < **bytes);
        if let Some((seat, bytes)) = behind {
            credited.insert(*seat, *bytes);
            events.push(Event::Credit { from: *seat, consumed: *bytes });
        }
    }
    assert_eq!(m.take_outcome().unwrap().unwrap(), []);
    assert_eq!(sent.len(), MANY - 1);
    assert!(sent.values().all(|b| *b == BODY_CHUNKS * chunk));
    assert_eq!(made.load(Ordering::Relaxed), MANY - 1, "each body is made once");
}

#[test]
fn seats_that_do_not_read_hold_up_a_fan_for_an_eighth_of_its_time() {
    let (mut m, _) = fan_of_many();
    let seating = setup(MANY, 0).seating;
    let most = seating.fan_out_bytes();
    let first = m.step(Millis(0), Event::Start);
    assert_eq!(bytes_of(&first).values().sum::<u64>(), most);
    assert!(first.contains(&Effect::SetTimer(Millis(FAR.0 / 8))));
    assert_eq!(bytes_of(&m.step(Millis(FAR.0 / 8 - 1), Event::Timer)).len(), 0);
    let second = m.step(Millis(FAR.0 / 8), Event::Timer);
    assert_eq!(bytes_of(&second).values().sum::<u64>(), most, "as much again");
    m.step(FAR, Event::Timer);
    assert_eq!(m.take_outcome().unwrap().unwrap().len(), MANY - 1, "all windows stayed full");
}

#[test]
fn a_widened_window_goes_back_and_only_who_may_widens() {
    let seating = setup(MANY, 0).seating;
    let (chunk, window, wide) = (seating.chunk_bytes() as u64, seating.window_bytes(), seating.widened_bytes());
    let start = |may: bool| {
        let mut m = machine(MANY, 0, move |mut p: Party| async move {
            if may {
                p.may_widen(Seat(1));
            }
            let body = vec![1; 3 * p.seating().widened_bytes() as usize];
            p.send(Seat(1), STEP, body, FAR).await
        });
        let sent = bytes_of(&m.step(Millis(0), Event::Start))[&Seat(1)];
        assert_eq!(sent, window);
        m
    };
    let credit = |consumed| Event::Credit { from: Seat(1), consumed };
    let mut m = start(true);
    let sent = bytes_of(&m.step(Millis(0), credit(window + wide)))[&Seat(1)];
    assert_eq!(sent, wide + window / chunk * chunk, "what is widened beside the window");
    m.step(Millis(0), credit(window + sent + wide + 1));
    assert!(matches!(m.take_outcome(), Some(Err(Abort::Misbehaved { .. }))), "credit for more than it may widen");
    let mut m = start(false);
    m.step(Millis(0), credit(window + 1));
    assert!(matches!(m.take_outcome(), Some(Err(Abort::Misbehaved { .. }))), "credit for bytes never sent");
}

#[test]
fn a_receiver_widens_within_a_bound_of_all_seats_and_holds_senders_to_it() {
    let seating = setup(MANY, 0).seating;
    let (chunk, window, wide) = (seating.chunk_bytes() as u64, seating.window_bytes(), seating.widened_bytes());
    let reads = |mut p: Party| async move {
        let wide = p.seating().widened_bytes();
        p.widen(Seat(1), wide - 5);
        p.widen(Seat(2), 100);
        p.widen(Seat(3), 100);
        p.receive(Seat(1), STEP, usize::MAX, FAR).await.map(|body| body.len())
    };
    let credits = |effects: &[Effect]| -> Vec<(u16, u64)> {
        let of = |e: &Effect| if let Effect::Credit { to, consumed } = e { Some((to.0, *consumed)) } else { None };
        effects.iter().filter_map(of).collect()
    };
    let mut m = machine(MANY, 0, reads);
    let total = wide + 4 * window;
    assert_eq!(credits(&m.step(Millis(0), Event::Start)), [(1, wide - 5), (2, 5)], "five bytes are left, then none");
    let chunk_of = |i: u64| {
        let mut message = message(STEP, 1, 1, &vec![1; chunk as usize], total);
        message.address.sequence = i as u32;
        Event::Received(message)
    };
    // The first chunk is held back, so that nothing is consumed.
    let room = (wide - 5 + window) / chunk;
    for i in 1..=room {
        assert_eq!(credits(&m.step(Millis(0), chunk_of(i))), []);
        assert!(!m.is_finished());
    }
    assert_eq!(credits(&m.step(Millis(0), chunk_of(room + 1))), []);
    assert!(matches!(m.take_outcome(), Some(Err(Abort::Misbehaved { .. }))), "one chunk past what it was told");
    let mut m = machine(MANY, 0, reads);
    m.step(Millis(0), Event::Start);
    let told: Vec<(u16, u64)> = (0..total / chunk).flat_map(|i| credits(&m.step(Millis(0), chunk_of(i)))).collect();
    assert_eq!(told.first(), Some(&(1, (wide - 5) / chunk * chunk + chunk)), "no news until as much is consumed");
    assert_eq!(told.last(), Some(&(1, total / chunk * chunk)));
}

#[test]
fn windows_to_a_narrow_seat_hold_less_on_both_sides() {
    let seating = setup(MANY, 0).seating;
    let (chunk, window, narrow) = (seating.chunk_bytes(), seating.window_bytes(), seating.narrow_bytes());
    assert!(narrow < window);
    assert_eq!(setup(3, 0).seating.narrow_bytes(), setup(3, 0).seating.window_bytes(), "few have room");
    let mut m = machine(MANY, 0, |mut p: Party| async move {
        p.narrow(Seat(1));
        let body: Arc<[u8]> = vec![1; 9 * p.seating().chunk_bytes()].into();
        p.fan_out(STEP, &BTreeMap::from([(Seat(1), body.clone()), (Seat(2), body)]), FAR).await
    });
    let sent = bytes_of(&m.step(Millis(0), Event::Start));
    let whole = |bytes: u64| bytes / chunk as u64 * chunk as u64;
    assert_eq!(sent, BTreeMap::from([(Seat(1), whole(narrow)), (Seat(2), whole(window))]));
    // The second chunk is held back, so that nothing is consumed beyond the first.
    let takes = |narrows: bool| {
        let mut m = machine(MANY, 0, move |mut p: Party| async move {
            if narrows {
                p.narrow(Seat(0));
            }
            p.receive(Seat(1), STEP, usize::MAX, FAR).await.map(|_| ())
        });
        m.step(Millis(0), Event::Start);
        let last = window / chunk as u64;
        let fails = (1..=last).find(|i| {
            let mut message = message(STEP, 1, 1, &vec![1; chunk], 100 * chunk as u64);
            message.address.sequence = *i as u32;
            m.step(Millis(0), Event::Received(message));
            m.is_finished()
        });
        (fails, m.take_outcome())
    };
    assert!(matches!(takes(false), (None, None)));
    let (fails, outcome) = takes(true);
    assert_eq!(fails, Some(narrow / chunk as u64 + 1));
    assert!(matches!(outcome, Some(Err(Abort::Misbehaved { .. }))));
}

fn message(step: Step, from: u16, job: u8, body: &[u8], total: u64) -> Message {
    let address =
        Address { job: JobId([job; 32]), attempt: Attempt(1), step, from: Seat(from), to: Seat(0), sequence: 0 };
    Message { address, total, body: body.to_vec() }
}

#[test]
fn a_cheating_seat_is_blamed_and_a_replay_from_another_job_is_not_seen() {
    let cases = [
        (message(STEP, 1, 1, &[0; 9], 9), Some(Offence::Flow)),
        (message(STEP, 1, 1, &[0; 3], 8), Some(Offence::Malformed)),
        (message(STEP, 1, 1, &[], 1 << 40), Some(Offence::Flow)),
        (message(STEP, 1, 2, &[0; 9], 9), None),
        (message(STEP, 9, 1, &[0; 8], 8), None),
        (message(STEP, 0, 1, &[0; 8], 8), None),
    ];
    for (bad, offence) in cases {
        let mut m = machine(2, 0, |p| total(p, 1));
        m.step(Millis(0), Event::Start);
        m.step(Millis(1), Event::Received(bad));
        match (offence, m.take_outcome()) {
            (Some(o), Some(Err(Abort::Misbehaved { blame, .. }))) => assert_eq!(blame, Blame::seat(Seat(1), o)),
            (None, None) => {}
            (_, other) => panic!("{:?}", other.map(|r| r.map_err(|e| e.to_string()))),
        }
    }
    let mut m = machine(2, 0, |p| total(p, 1));
    m.step(Millis(0), Event::Start);
    m.step(Millis(0), Event::Credit { from: Seat(1), consumed: 9 });
    assert!(matches!(m.take_outcome(), Some(Err(Abort::Misbehaved { .. }))), "credit for bytes never sent");
}

#[test]
fn cancelling_stops_at_the_next_step() {
    let mut m = machine(2, 0, |p| total(p, 1));
    m.step(Millis(0), Event::Start);
    m.step(Millis(1), Event::Cancel(Code::JobCancelled));
    assert_eq!(m.take_outcome().unwrap().unwrap_err().code(), Code::JobCancelled);
}

#[test]
fn who_pauses_lets_out_what_was_posted_and_stops_in_between() {
    let protocol = |mut p: Party| async move {
        for piece in 0..3u8 {
            p.post(Seat(1), Step::new(1, u16::from(piece)), vec![piece])?;
            p.pause().await?;
        }
        Ok(())
    };
    let sent = |effects: &[Effect]| effects.iter().filter(|e| matches!(e, Effect::Send(_))).count();
    let mut m = machine(2, 0, protocol);
    for (now, event) in [(5, Event::Start), (5, Event::Timer), (7, Event::Timer)] {
        let effects = m.step(Millis(now), event);
        assert_eq!(sent(&effects), 1, "one piece at a time");
        assert!(effects.contains(&Effect::SetTimer(Millis(now))), "and the driver is asked for the next: {effects:?}");
    }
    assert_eq!(m.step(Millis(7), Event::Timer), [Effect::Finish]);
    let mut m = machine(2, 0, protocol);
    m.step(Millis(5), Event::Start);
    assert_eq!(m.step(Millis(5), Event::Cancel(Code::JobCancelled)), [Effect::Finish], "nothing more leaves");
    assert_eq!(m.take_outcome().unwrap().unwrap_err().code(), Code::JobCancelled);
}

#[test]
fn nothing_goes_on_before_it_is_durable() {
    let mut m = machine(2, 0, |mut p: Party| async move {
        p.persist(b"decision".to_vec()).await?;
        p.send(Seat(1), STEP, b"go".to_vec(), FAR).await
    });
    let effects = m.step(Millis(0), Event::Start);
    assert_eq!(effects, [Effect::Persist { ticket: 1, record: b"decision".to_vec() }]);
    assert!(m.step(Millis(1), Event::Start).is_empty());
    let effects = m.step(Millis(2), Event::Persisted { ticket: 1 });
    assert!(matches!(effects[..], [Effect::Send(_), Effect::Finish]));
}

#[test]
fn two_seats_post_more_than_a_window_to_each_other_and_neither_waits_for_ever() {
    let length = 9 * setup(2, 0).seating.chunk_bytes() + 5;
    let protocol = move |mut p: Party| async move {
        let other = p.others()[0];
        for i in 0..3u8 {
            p.post(other, Step::new(1, u16::from(i)), vec![p.seat().0 as u8 + i; length])?;
        }
        let mut sum = 0u64;
        for i in 0..3u8 {
            let step = Step::new(1, u16::from(i));
            let body = p.receive(other, step, 1 << 30, FAR).await?;
            p.forget(Step(step.0 + 1));
            assert!(body.len() == length && body.iter().all(|b| *b == other.0 as u8 + i));
            sum += 1;
        }
        p.flush(FAR).await?;
        Ok(sum)
    };
    let mut machines: Vec<_> = (0..2).map(|i| machine(2, i, protocol)).collect();
    run(&mut machines);
    for machine in &mut machines {
        assert_eq!(machine.take_outcome().expect("an outcome").unwrap(), 3);
    }
}

#[test]
fn a_flush_names_the_seat_whose_window_stays_full() {
    let length = 3 * setup(2, 0).seating.chunk_bytes();
    let mut m = machine(2, 0, move |mut p: Party| async move {
        assert!(p.post(Seat(7), STEP, vec![]).is_err());
        p.post(Seat(1), STEP, vec![1; length])?;
        p.flush(Millis(50)).await
    });
    m.step(Millis(0), Event::Start);
    m.step(Millis(50), Event::Timer);
    assert_eq!(m.take_outcome().unwrap(), Err(Abort::Missing { step: STEP, seats: vec![Seat(1)] }));
}

/// Serves its host: bytes of the host go to the other seat, what comes back goes to the host, and it says who is lost.
async fn serve(mut p: Party) -> Result<Vec<String>, Abort> {
    let mut wanted = Wanted::default();
    wanted.host = true;
    let (mut seen, mut number) = (Vec::new(), 0);
    loop {
        match p.next(&mut wanted, 4, FAR).await? {
            Next::Host(bytes) => {
                let step = Step::new(2, number);
                number += 1;
                wanted.messages.insert((step, Seat(1)));
                p.post(Seat(1), step, bytes)?;
            }
            Next::Message { from, step, body } => {
                seen.push(format!("{from} {} {body:?}", step.phase()));
                p.tell_host(body);
            }
            Next::Lost(seat) => seen.push(format!("lost {seat}")),
            Next::Time => return Ok(seen),
        }
    }
}

fn answer(number: u16, body: &[u8]) -> Event {
    let address = Address {
        job: JobId([1; 32]),
        attempt: Attempt(1),
        step: Step::new(2, number),
        from: Seat(1),
        to: Seat(0),
        sequence: 0,
    };
    Event::Received(Message { address, total: body.len() as u64, body: body.to_vec() })
}

#[test]
fn a_party_serves_its_host_and_hears_of_a_loss_once() {
    let mut m = machine(3, 0, serve);
    m.step(Millis(0), Event::Start);
    for call in [b"a", b"b"] {
        let effects = m.step(Millis(1), Event::Host(call.to_vec()));
        assert!(matches!(&effects[..], [Effect::Send(sent)] if sent.body == call && sent.address.to == Seat(1)));
    }
    // In any order, and one that was not asked for is left alone.
    for (number, told) in [(1, true), (5, false), (0, true), (0, false)] {
        let effects = m.step(Millis(2), answer(number, &[number as u8]));
        assert_eq!(effects.contains(&Effect::Host(vec![number as u8])), told, "{number}");
    }
    m.step(Millis(3), Event::Gone(Seat(2)));
    m.step(Millis(4), Event::Gone(Seat(2)));
    m.step(FAR, Event::Timer);
    let seat = Seat(1);
    assert_eq!(
        m.take_outcome().unwrap().unwrap(),
        [format!("{seat} 1 [1]"), format!("{seat} 0 [0]"), format!("lost {}", Seat(2))]
    );
}

#[test]
fn an_answer_over_its_cap_is_blamed_and_what_was_there_first_is_heard_before_the_host() {
    let mut m = machine(2, 0, serve);
    m.step(Millis(0), Event::Host(b"a".to_vec()));
    m.step(Millis(1), answer(0, &[1, 2, 3, 4]));
    m.step(Millis(1), Event::Host(b"b".to_vec()));
    m.step(Millis(2), answer(1, &[1, 2, 3, 4, 5]));
    let blame = Blame::seat(Seat(1), Offence::Flow).at(Step::new(2, 1));
    assert_eq!(m.take_outcome().unwrap(), Err(blame));
    let mut m = machine(2, 0, |mut p: Party| async move {
        let mut wanted = Wanted::default();
        (wanted.host, wanted.messages) = (true, [(Step::new(2, 0), Seat(1))].into());
        let first = p.next(&mut wanted, 4, FAR).await?;
        p.persist(Vec::new()).await?;
        let second = p.next(&mut wanted, 4, FAR).await?;
        Ok(matches!((first, second), (Next::Host(_), Next::Message { .. })))
    });
    m.step(Millis(0), Event::Host(b"a".to_vec()));
    m.step(Millis(0), Event::Host(b"b".to_vec()));
    m.step(Millis(0), answer(0, b"x"));
    m.step(Millis(0), Event::Persisted { ticket: 1 });
    assert_eq!(m.take_outcome().unwrap(), Ok(true));
}
