//! Few keys against many: what is found is what a plain search finds, whatever was held before, and no message that is
//! changed on its way gives a wrong match.

use tacit_protocol::Offence;
use tacit_types::{Code, UnixMillis};

use super::*;
use crate::lookup::{Cache, Header, LookupTerms, Maker, QUERIES_OF_AN_EPOCH, Role, cache, lookup};

/// What a cheat does to the bytes of a message.
type Alter = fn(&mut Vec<u8>);

const DAY: u64 = 86_400_000;
const ASKER: usize = 1;

/// Two parties with what they keep from run to run.
struct Pair {
    held: Rows,
    asked: Rows,
    shelves: [Disk; 2],
    now: u64,
    oldest: u64,
    room: u64,
    attempt: u32,
    change: fn(&mut LookupTerms),
}

impl Pair {
    fn new(held: Rows, asked: Rows) -> Self {
        let shelves = [Disk::default(), Disk::default()];
        Self { held, asked, shelves, now: 5 * DAY, oldest: 0, room: u64::MAX, attempt: 1, change: |_| () }
    }

    fn terms(&self) -> LookupTerms {
        let asked: std::collections::BTreeSet<&String> = self.asked.iter().flatten().collect();
        let mut terms = LookupTerms {
            context: Hash([self.attempt as u8; 32]),
            series: Hash([8; 32]),
            asker: Seat(ASKER as u16),
            holder: Seat(0),
            disclosure: disclosure(),
            queries: asked.len() as u64,
            keys_min: 0,
            keys_max: 1 << 20,
            batch: 256,
            ship: 256,
            step_base: 3,
            begin_ms: 10 * STEP_MS,
            step_ms: STEP_MS,
        };
        (self.change)(&mut terms);
        terms
    }

    fn world(&mut self) -> World<'static, Option<Vec<u64>>> {
        self.attempt += 1;
        let (now, oldest, keys_max) = (self.now, self.oldest, self.room);
        let protocols = [self.held.clone(), self.asked.clone()].into_iter().enumerate().map(|(seat, rows)| {
            let (terms, shelf) = (self.terms(), self.shelves[seat].clone());
            let protocol: Protocol<Option<Vec<u64>>> = Box::new(move |mut party| {
                Box::pin(async move {
                    let (mut storage, mut shelf) = (InMemory::default(), Kept(shelf));
                    let keys = key_set(&mut storage, &schema(), &rows);
                    let mut host =
                        Host { storage: &mut storage, workers: &Inline, memory: 1 << 20, run: 0, resume: None };
                    if seat == ASKER {
                        let role = Role::Asker { oldest, keys_max };
                        let found = lookup(&mut party, &terms, &keys, &mut host, &mut shelf, role).await?;
                        let mut all = Vec::new();
                        found.expect("who asks learns").each(host.storage, &mut |_, rows| {
                            all.extend(rows);
                            Ok(())
                        })?;
                        all.sort_unstable();
                        return Ok(Some(all));
                    }
                    let made = make(&mut shelf, terms.series, now, &keys, &mut host)?;
                    let found = lookup(&mut party, &terms, &keys, &mut host, &mut shelf, Role::Holder(&made)).await?;
                    assert!(found.is_none());
                    Ok(None)
                })
            });
            protocol
        });
        World::new(self.attempt, protocols.collect(), vec![disclosure()])
    }

    /// A run without any trouble: the rows that were found, and the bytes of each direction.
    fn run(&mut self) -> (Vec<u64>, [usize; 2]) {
        let mut world = self.world();
        world.run();
        let outcomes = world.outcomes();
        let sent = |from: u16| world.sent.iter().filter(|m| m.address.from == Seat(from)).map(|m| m.body.len()).sum();
        let found = outcomes.into_iter().map(|o| o.unwrap_or_else(|e| panic!("{e}"))).collect::<Vec<_>>();
        assert_eq!(found[0], None, "the holder learns nothing");
        (found[1].clone().unwrap(), [sent(0), sent(1)])
    }

    /// What a plain search finds.
    fn plain(&self) -> Vec<u64> {
        let held: std::collections::BTreeSet<&String> = self.held.iter().flatten().collect();
        let has = |row: &Option<String>| row.as_ref().is_some_and(|id| held.contains(id));
        (0u64..).zip(&self.asked).filter(|(_, row)| has(row)).map(|(i, _)| i).collect()
    }
}

fn make(
    shelf: &mut dyn Storage,
    series: Hash,
    now: u64,
    keys: &crate::KeySet,
    host: &mut Host<'_>,
) -> Result<Cache, Fault> {
    let key = Secret::new([77; 32]);
    let mut maker = Maker { shelf, key: &key, series, now: UnixMillis(now), lasts: 3 * DAY };
    cache(&mut maker, keys, host)
}

#[test]
fn what_is_found_is_what_a_plain_search_finds() {
    for held in [1, 2, 127, 128, 129, 256, 257, 700] {
        let mut asked = rows((0..400).map(|i| i * 3));
        asked.extend([None, asked[0].clone(), asked[7].clone()]);
        let mut pair = Pair::new(rows((0..held).map(|i| i * 2)), asked);
        let (found, _) = pair.run();
        assert_eq!(found, pair.plain(), "{held}");
    }
}

#[test]
fn a_cache_is_shipped_once_and_queries_cost_64_bytes() {
    let mut pair = Pair::new(rows(0..3000), rows((0..1024).map(|i| i * 5)));
    let (first, [shipped, _]) = pair.run();
    // Tags of 40 + 12 + 24 bits.
    assert!(shipped > 3000 * 10, "{shipped}");
    let (second, [down, up]) = pair.run();
    assert_eq!((first, &second), (pair.plain(), &pair.plain()));
    // Four batches with a proof each, and what begins and ends a run.
    assert!(up <= 1024 * 32 + 400 && down <= 1024 * 32 + 4 * 64 + 600, "{up} up, {down} down");
    // Other queries against the same cache, later in the same epoch.
    pair.asked = rows((2500..3500).map(|i| i.to_string()));
    pair.now += DAY;
    let (third, [down, _]) = pair.run();
    assert_eq!((third.len(), &third), (500, &pair.plain()));
    assert!(down < 1024 * 32 + 2000, "nothing is shipped again: {down}");
}

/// The header that the asker got in the last run.
fn header(world: &World<'_, Option<Vec<u64>>>) -> Header {
    let second = world.sent.iter().find(|m| m.address.step.0 == (3 << 16) + 2).unwrap();
    Header::decode(&second.body[..crate::lookup::HEADER_BYTES]).unwrap()
}

#[test]
fn a_changed_list_or_an_epoch_that_is_over_has_a_new_key() {
    let mut pair = Pair::new(rows(0..500), rows(400..700));
    let mut seen: Vec<Header> = Vec::new();
    let mut run = |pair: &mut Pair, same: bool| {
        let mut world = pair.world();
        world.run();
        let found = world.outcomes().remove(ASKER).unwrap().unwrap();
        assert_eq!(found, pair.plain());
        let header = header(&world);
        assert_eq!(seen.last() == Some(&header), same);
        if !same {
            assert!(seen.iter().all(|s| s.public != header.public && s.epoch < header.epoch));
            seen.push(header);
        }
    };
    run(&mut pair, false);
    run(&mut pair, true);
    // The same keys in another order of rows are the same list; one key more is another.
    pair.held.reverse();
    run(&mut pair, true);
    pair.held.push(Some("650".into()));
    run(&mut pair, false);
    // The second epoch has the number after the first one's, because both are of one moment.
    run(&mut pair, true);
    pair.now += 3 * DAY;
    run(&mut pair, true);
    pair.now += 1;
    run(&mut pair, false);
    assert!(seen[0].wrong_match_bits() >= 64, "one wrong match in 2^64 queries: {}", seen[0].wrong_match_bits());
    assert!(QUERIES_OF_AN_EPOCH.ilog2() + 40 <= 64);
}

#[test]
fn an_old_or_an_expired_epoch_a_second_cache_of_one_and_one_that_is_too_large_are_refused() {
    let code = |pair: &mut Pair| {
        let mut world = pair.world();
        world.run();
        match world.outcomes().remove(ASKER) {
            Ok(_) => None,
            Err(Abort::Local(fault)) => Some(Ok(fault.code)),
            Err(Abort::Misbehaved { blame, .. }) => Some(Err(blame.offence)),
            Err(other) => panic!("{other}"),
        }
    };
    let mut pair = Pair::new(rows(0..500), rows(400..700));
    let before = Pair::new(rows(0..500), rows(0..3)).shelves[0].clone();
    assert_eq!(code(&mut pair), None);
    pair.now += 4 * DAY;
    pair.oldest = pair.now;
    assert_eq!(code(&mut pair), None, "the epoch of today");
    pair.room = 500;
    assert_eq!(code(&mut pair), None, "as many keys as there is room for");
    pair.room = 499;
    assert_eq!(code(&mut pair), Some(Ok(Code::DataTooLarge)), "one past it, and nobody is blamed");
    pair.room = u64::MAX;
    pair.oldest = pair.now + 1;
    assert_eq!(code(&mut pair), Some(Ok(Code::RefusedAlignment)), "one past it");
    pair.oldest = 0;
    // The holder goes back to the time before: a shelf without its caches, and a clock that stands.
    pair.shelves[0] = before;
    pair.now -= DAY;
    assert_eq!(code(&mut pair), Some(Ok(Code::RefusedAlignment)));
    pair.now += DAY;
    pair.shelves[0] = Disk::default();
    pair.held.push(Some("another".into()));
    assert_eq!(code(&mut pair), Some(Err(Offence::Equivocation)), "one epoch has one list");
}

/// A run of which the asker gets 20 messages of 256 tags, and has noted 16 of them. Gives the first tags.
fn cut(pair: &mut Pair) -> Vec<u8> {
    let mut world = pair.world();
    world.hook = Box::new(|m| if m.address.step.0 < (3 << 16) + 23 { vec![m] } else { Vec::new() });
    world.run();
    assert!(world.outcomes().iter().all(Result::is_err));
    world.sent.iter().find(|m| m.address.step.0 == (3 << 16) + 3).unwrap().body.clone()
}

#[test]
fn a_cache_that_is_cut_off_goes_on_where_it_was() {
    let mut pair = Pair::new(rows(0..9000), rows(8000..8600));
    cut(&mut pair);
    let whole = 9000 * 10;
    let (found, [down, _]) = pair.run();
    assert_eq!(found, pair.plain());
    assert!(down < whole - 4000 * 10 + 600 * 32 + 1000, "{down} of {whole} again");
    // A noted part that was spoiled on disk is found by its digest, and the cache is taken anew after that.
    let mut pair = Pair::new(rows(0..9000), rows(8000..8600));
    let tags = cut(&mut pair);
    {
        let mut shelf = pair.shelves[ASKER].lock().unwrap();
        let epoch = 5 * DAY;
        let body = 16 + 2 * (epoch as u32 & 0x3fff_ffff);
        let mut there = vec![0; 10];
        shelf.read(body, 0, &mut there).unwrap();
        assert_eq!(there, tags[..10], "the file of the tags");
        shelf.write(body, 9, &[tags[9] ^ 1]).unwrap();
    }
    let mut world = pair.world();
    world.run();
    match world.outcomes().remove(ASKER) {
        Err(Abort::Misbehaved { blame, .. }) => assert_eq!(blame.offence, Offence::BadOpening),
        other => panic!("{:?}", other.map_err(|e| e.to_string())),
    }
    let (found, [down, _]) = pair.run();
    assert_eq!(found, pair.plain());
    assert!(down > whole, "all of it");
}

/// A run with every message of one step and sender changed: how each of the two ended.
fn cheated(step: u32, from: u16, change: fn(&mut Vec<u8>)) -> [Result<Option<Vec<u64>>, Abort>; 2] {
    let mut pair = Pair::new(rows(0..600), rows((0..600).map(|i| i * 2)));
    let mut world = pair.world();
    world.hook = Box::new(move |mut m| {
        if m.address.step.0 == (3 << 16) + step && m.address.from == Seat(from) {
            change(&mut m.body);
            m.total = m.body.len() as u64;
        }
        vec![m]
    });
    world.run();
    let [holder, asker] = <[_; 2]>::try_from(world.outcomes()).ok().unwrap();
    [holder, asker]
}

#[test]
fn no_changed_message_gives_a_match() {
    let offence = |end: &Result<Option<Vec<u64>>, Abort>| match end {
        Err(Abort::Misbehaved { blame, .. }) => Some(blame.offence),
        Err(Abort::Disagreement { .. }) => Some(Offence::Inconsistent),
        Err(Abort::Local(f)) if f.code == Code::JobDisagreement => Some(Offence::WrongRoot),
        _ => None,
    };
    // Three messages of tags; the queries begin where the largest cache would end.
    let queries = 3 + (1 << 20) / 256;
    let cases: [(&str, u32, u16, Offence, Alter); 20] = [
        ("another schema", 0, 0, Offence::WrongRoot, |b| b[0] ^= 1),
        ("other terms", 0, 0, Offence::Inconsistent, |b| b[40] ^= 1),
        ("too short", 0, 0, Offence::BadCount, |b| b.truncate(63)),
        ("no header", 2, 0, Offence::Malformed, |b| b[0] ^= 1),
        ("another series", 2, 0, Offence::Malformed, |b| b[8] ^= 1),
        ("a schema that is not agreed", 2, 0, Offence::Malformed, |b| b[40] ^= 1),
        ("a width that the size does not ask for", 2, 0, Offence::Malformed, |b| b[88] += 1),
        ("no public key", 2, 0, Offence::BadKey, |b| b[89..121].fill(255)),
        ("the public key of nobody", 2, 0, Offence::BadKey, |b| b[89..121].fill(0)),
        ("another digest", 2, 0, Offence::BadOpening, |b| b[121] ^= 1),
        ("tags that the asker has not", 2, 0, Offence::Malformed, |b| b[160] = 1),
        ("a tag", 3, 0, Offence::BadOpening, |b| b[19] ^= 1),
        ("the last tag", 5, 0, Offence::BadOpening, |b| *b.last_mut().unwrap() ^= 1),
        ("tags out of order", 3, 0, Offence::Unordered, |b| b[..20].rotate_left(10)),
        ("a tag twice", 3, 0, Offence::Unordered, |b| b.copy_within(..10, 10)),
        ("a tag less", 4, 0, Offence::BadCount, |b| b.truncate(2550)),
        ("an answer that is none", queries + 1, 0, Offence::BadPoint, |b| b[..32].fill(255)),
        ("two answers in each other's place", queries + 1, 0, Offence::BadOpening, |b| b[..64].rotate_left(32)),
        ("an answer of another batch's point", queries + 3, 0, Offence::BadOpening, |b| b.copy_within(..32, 32)),
        ("another proof", queries + 1, 0, Offence::BadOpening, |b| b[32 * 256] ^= 1),
    ];
    for (what, step, from, expected, change) in cases {
        let [_, asker] = cheated(step, from, change);
        assert_eq!(offence(&asker), Some(expected), "{what}");
    }
    // What the asker says is checked by the holder, who does not sign then; without its signature nothing is given.
    let cases: [(&str, u32, Offence, Alter); 3] = [
        ("a point that is none", queries, Offence::BadPoint, |b| b[..32].fill(255)),
        ("the identity", queries + 2, Offence::BadPoint, |b| b[..32].fill(0)),
        ("a batch less", queries + 4, Offence::BadCount, |b| b.truncate(32)),
    ];
    for (what, step, expected, change) in cases {
        let [holder, asker] = cheated(step, ASKER as u16, change);
        assert_eq!(offence(&holder), Some(expected), "{what}");
        assert!(asker.is_err(), "{what}");
    }
    let last = queries + 2 * 3;
    for (byte, expected) in [(0, Offence::Signature), (40, Offence::Signature)] {
        let change: fn(&mut Vec<u8>) = if byte == 0 { |b| b[0] ^= 1 } else { |b| b[40] ^= 1 };
        let [holder, asker] = cheated(last, 0, change);
        assert_eq!((offence(&asker), holder.is_ok()), (Some(expected), true));
    }
    // Another point of the group in place of a query: the proof holds for what the holder saw, not for what was asked.
    let [_, asker] = cheated(queries, ASKER as u16, |b| b.copy_within(..32, 32));
    assert_eq!(offence(&asker), Some(Offence::BadOpening));
}

#[test]
fn terms_that_cannot_be_are_refused() {
    let refused = |change: fn(&mut LookupTerms)| {
        let mut pair = Pair::new(rows(0..20), rows(0..10));
        pair.change = change;
        let mut world = pair.world();
        world.run();
        let ends = world.outcomes();
        ends.iter().all(|o| matches!(o, Err(Abort::Local(f)) if f.code == Code::ArgsInvalid))
    };
    assert!(!refused(|_| ()));
    assert!(refused(|t| t.asker = Seat(0)));
    assert!(refused(|t| t.holder = Seat(2)));
    assert!(refused(|t| t.queries = 0));
    assert!(refused(|t| t.queries = crate::terms::ITEMS_MAX + 1));
    assert!(refused(|t| t.keys_max = crate::lookup::CACHE_KEYS_MAX + 1));
    assert!(refused(|t| t.keys_min = (1 << 20) + 1));
    assert!(refused(|t| t.batch = 255));
    assert!(refused(|t| t.ship = 0));
    assert!(refused(|t| t.ship = 129));
    assert!(refused(|t| t.ship = (1 << 16) + 128));
    assert!(refused(|t| (t.step_base, t.keys_max) = (u16::MAX, crate::lookup::CACHE_KEYS_MAX)));
    // One query more or fewer than was agreed on.
    for queries in [9, 11] {
        let mut pair = Pair::new(rows(0..20), rows(0..10));
        pair.change = if queries == 9 { |t| t.queries = 9 } else { |t| t.queries = 11 };
        let mut world = pair.world();
        world.run();
        let end = world.outcomes().remove(ASKER);
        assert!(matches!(end, Err(Abort::Local(f)) if f.code == Code::RefusedCohort));
    }
    // A holder's list beyond the terms.
    let mut pair = Pair::new(rows(0..20), rows(0..10));
    pair.change = |t| t.keys_max = 19;
    let mut world = pair.world();
    world.run();
    let end = world.outcomes().remove(ASKER);
    assert!(matches!(end, Err(Abort::Misbehaved { blame, .. }) if blame.offence == Offence::BadSize));
}

#[test]
fn headers_are_read_back_and_nothing_else_is() {
    let width = crate::hash::tag_bytes(5, QUERIES_OF_AN_EPOCH) as u8;
    let header = Header {
        series: Hash([1; 32]),
        schema: Hash([2; 32]),
        epoch: 3,
        keys: 5,
        width,
        public: [4; 32],
        digest: Hash([5; 32]),
    };
    let bytes = header.bytes();
    assert_eq!(Header::decode(&bytes), Some(header));
    assert_eq!(Header::decode(&bytes[1..]), None);
    assert_eq!(Header::decode(&[&bytes[..], &[0]].concat()), None);
    let most = crate::lookup::CACHE_KEYS_MAX;
    let of = |keys| Header { keys, width: crate::hash::tag_bytes(keys, QUERIES_OF_AN_EPOCH) as u8, ..header };
    assert!(Header::decode(&of(most).bytes()).is_some() && Header::decode(&of(most + 1).bytes()).is_none());
}
