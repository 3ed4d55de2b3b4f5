//! What a peer sends in an intersection, and the texts of keys.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, OnceLock};

use tacit_crypto::points::{Backend, Encoding, From, Multiplier, Operation, run_at};
use tacit_crypto::{Secret, SecretScalar, SigningKey};
use tacit_protocol::{Abort, Audience, Disclosure, Effect, Event, Machine, Message, Party, Seating, Setup};
use tacit_psi::lookup::{Header, LookupTerms, Maker, Role, cache, lookup};
use tacit_psi::{
    GroupSetBuilder, Host, InMemory, Inline, KeyColumn, KeySet, KeySetBuilder, Level, Mode, Open, Outcome, RingGroups,
    RingKeys, RingTerms, Schema, Step, Terms, intersect, ring,
};
use tacit_types::{Attempt, Hash, JobId, Millis, Seat, UnixMillis, wire};

/// A party's opening: what was read, written again, is the same bytes.
pub fn open(bytes: &[u8]) {
    if let Ok(open) = Open::decode(bytes) {
        assert_eq!(wire::encode(&open), bytes);
    }
}

/// Openings.
pub fn open_seeds() -> Vec<Vec<u8>> {
    let open = Open { nonce: [7; 32], halves: [3, 5], public: [9; 32] };
    vec![wire::encode(&open)]
}

/// Encodings of points: every set of instructions accepts the same ones, and makes the same of them.
pub fn points(bytes: &[u8]) {
    let (encodings, _) = bytes.as_chunks::<32>();
    let encodings = &encodings[..encodings.len().min(64)];
    let scalar = SecretScalar::from_canonical(&[5; 32]).expect("a scalar");
    let by = Multiplier::new(scalar.expose_scalar());
    let mut answers = Backend::available().map(|backend| {
        let mut out: Vec<Encoding> = vec![[0; 32]; encodings.len()];
        run_at(backend, From::Encoded(encodings), Operation::Multiply(&by), &mut out).map(|()| out)
    });
    let first = answers.next().expect("there is always one");
    for other in answers {
        assert_eq!(first, other);
    }
}

/// Points, and what is nearly one.
pub fn points_seeds() -> Vec<Vec<u8>> {
    let point = |i: u8| *SecretScalar::from_canonical(&[i; 32]).expect("a scalar").public().as_bytes();
    let good: Vec<u8> = (1..12).flat_map(point).collect();
    let mut prime = [0xff; 32];
    (prime[0], prime[31]) = (0xed, 0x7f);
    vec![good.clone(), [good, prime.to_vec(), vec![0; 32]].concat()]
}

/// A value of a key column: a form that a step has made it makes again.
pub fn normalise(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    for name in ["nfkc/1", "trim/1", "fold/1", "digits/1", "date/1", "e164/1:86"] {
        let step = Step::parse(name).expect("a step");
        let Some(form) = step.apply(text) else { continue };
        // Folding has been brought to form KC, which can be folded further once.
        let again = step.apply(&form).expect("a form has a form");
        if !name.starts_with("fold") {
            assert_eq!(again, form, "{name}");
        }
    }
    if let Ok(step) = Step::parse(text) {
        assert_eq!(step.name(), text);
    }
}

/// Values as people write them.
pub fn normalise_seeds() -> Vec<Vec<u8>> {
    ["+86 138-0013-8000", "0086(138)", "2024/2/29", "ＳＴＲＡẞＥ ﬁ", "e164/1:44", "19991231"]
        .map(|t| t.as_bytes().to_vec())
        .into()
}

const CASES: [(Level, Mode); 6] = [
    (Level::Receiver, Mode::Oprf),
    (Level::Both, Mode::Oprf),
    (Level::Receiver, Mode::DoubleMask),
    (Level::Both, Mode::DoubleMask),
    (Level::Cardinality { both: true }, Mode::DoubleMask),
    (Level::Spine, Mode::DoubleMask),
];

/// A whole run against a peer whose messages are changed: three bytes of input change one byte of one message, the first byte
/// of all chooses the level, or a count by groups of the peer. Nothing panics, and no match is found that is none.
pub fn peer(bytes: &[u8]) {
    let Some((case, changes)) = bytes.split_first() else { return };
    let machines = match CASES.get(usize::from(*case) % (CASES.len() + 1)) {
        Some((level, mode)) => [0, 1].map(|seat| machine(seat, *level, *mode)),
        None => [0, 1].map(|seat| seated(seat, count)),
    };
    let found = play(machines, 0, changes);
    assert!(found.is_none_or(|found| found == COMMON), "{found:?}");
}

/// Runs two parties, of whose messages those of one are changed. Gives what the second has found, if it ended well.
fn play(mut machines: [Machine<Option<u64>>; 2], liar: usize, changes: &[u8]) -> Option<u64> {
    let mut queue: VecDeque<(usize, Event)> = [(0, Event::Start), (1, Event::Start)].into();
    let (mut number, mut now) = (0u8, 0);
    loop {
        while let Some((to, event)) = queue.pop_front() {
            for effect in machines[to].step(Millis(now), event) {
                match effect {
                    Effect::Send(mut message) => {
                        if to == liar {
                            change(&mut message, number, changes);
                            number = number.wrapping_add(1);
                        }
                        queue.push_back((message.address.to.index(), Event::Received(message)));
                    }
                    Effect::Credit { to: sender, consumed } => {
                        queue.push_back((sender.index(), Event::Credit { from: Seat(to as u16), consumed }));
                    }
                    // What is due at once is a pause in a long work.
                    Effect::SetTimer(at) if at.0 <= now => queue.push_back((to, Event::Timer)),
                    _ => {}
                }
            }
        }
        if now > 1_000_000 {
            break;
        }
        now += 100_000;
        queue.extend([(0, Event::Timer), (1, Event::Timer)]);
    }
    machines[1].take_outcome().and_then(Result::ok).flatten()
}

fn change(message: &mut Message, number: u8, changes: &[u8]) {
    for [of, at, by] in changes.as_chunks::<3>().0.iter().filter(|c| c[0] == number) {
        let _ = of;
        match by {
            // Another length.
            0 => message.body.truncate(usize::from(*at)),
            1 => message.body.resize(message.body.len() + usize::from(*at), 1),
            by => {
                if let Some(byte) = message.body.get_mut(usize::from(*at)) {
                    *byte ^= by;
                }
            }
        }
        message.total = message.body.len() as u64;
    }
}

/// A run as it is, and with a change in each kind of message.
pub fn peer_seeds() -> Vec<Vec<u8>> {
    let cases = 0..=CASES.len() as u8;
    let mut seeds: Vec<Vec<u8>> = cases.clone().map(|case| vec![case]).collect();
    seeds.extend(cases.flat_map(|case| (0..6).map(move |number| vec![case, number, 33, 2])));
    seeds
}

/// Keys that both lists have.
const COMMON: u64 = 3;

fn seated<F>(seat: u16, run: impl FnOnce(Party) -> F) -> Machine<Option<u64>>
where
    F: Future<Output = Result<Option<u64>, Abort>> + Send + 'static,
{
    static KEYS: OnceLock<Vec<Arc<SigningKey>>> = OnceLock::new();
    let keys = KEYS.get_or_init(|| {
        let mut keys: Vec<_> = [1, 2].map(|i| SigningKey::from_seed(&Secret::new([i; 32]))).into();
        keys.sort_by_key(SigningKey::id);
        keys.into_iter().map(Arc::new).collect()
    });
    let setup = Setup {
        job: JobId([1; 32]),
        attempt: Attempt(1),
        seat: Seat(seat),
        seating: Seating::new(keys.iter().map(|k| k.id()).collect()).expect("two seats"),
        disclosures: vec![disclosure()],
        stream_bytes_max: 1 << 20,
    };
    let key = keys[usize::from(seat)].clone();
    Machine::new(setup, &Secret::new([seat as u8 + 5; 32]), key, Millis(0), run)
}

fn disclosure() -> Disclosure {
    Disclosure { what: "matches".into(), to: Audience::Nodes, cells_max: 1 << 40 }
}

fn machine(seat: u16, level: Level, mode: Mode) -> Machine<Option<u64>> {
    let terms = Terms {
        level,
        mode,
        context: Hash([7; 32]),
        receiver: Seat(1),
        sender: Seat(0),
        disclosure: disclosure(),
        books: None,
        items_max: 64,
        items_min: 1,
        announced: None,
        batch: 256,
        checkpoint: 0,
        step_base: 3,
        begin_ms: 1000,
        step_ms: 1000,
    };
    seated(seat, |party| act(party, terms))
}

/// What a holder says of its cache: what was read, written again, is the same bytes.
pub fn lookup_header(bytes: &[u8]) {
    if let Some(header) = Header::decode(bytes) {
        assert_eq!(header.bytes()[..], *bytes);
        assert!(header.wrong_match_bits() >= 64);
    }
}

/// Headers of caches with one tag, and with the most.
pub fn lookup_header_seeds() -> Vec<Vec<u8>> {
    let of = |keys, width| {
        let (series, schema, digest) = (Hash([1; 32]), Hash([2; 32]), Hash([3; 32]));
        Header { series, schema, epoch: 5, keys, width, public: [4; 32], digest }.bytes().to_vec()
    };
    vec![of(1, 8), of(1 << 28, 12), of((1 << 28) + 1, 12)]
}

/// As [`peer`], of a search in a cache: the first byte says whose messages are changed.
pub fn lookup_peer(bytes: &[u8]) {
    let Some((liar, changes)) = bytes.split_first() else { return };
    let found = play([0, 1].map(|seat| seated(seat, search)), usize::from(liar % 2), changes);
    assert!(found.is_none_or(|found| found == COMMON), "{found:?}");
}

/// A search as it is, and with a change in each message of either party.
pub fn lookup_peer_seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<Vec<u8>> = vec![vec![0]];
    seeds.extend((0..2).flat_map(|liar| (0..5).map(move |number| vec![liar, number, 33, 2])));
    seeds
}

async fn search(mut party: Party) -> Result<Option<u64>, Abort> {
    let terms = LookupTerms {
        context: Hash([7; 32]),
        series: Hash([8; 32]),
        asker: Seat(1),
        holder: Seat(0),
        disclosure: disclosure(),
        queries: 5,
        keys_min: 1,
        keys_max: 64,
        batch: 256,
        ship: 128,
        step_base: 3,
        begin_ms: 1000,
        step_ms: 1000,
    };
    let (mut storage, mut shelf) = (InMemory::default(), InMemory::default());
    let keys = five(&party, &mut storage)?;
    let mut host = Host { storage: &mut storage, workers: &Inline, memory: 0, run: 0, resume: None };
    if party.seat() == terms.asker {
        let role = Role::Asker { oldest: 0, keys_max: u64::MAX };
        let found = lookup(&mut party, &terms, &keys, &mut host, &mut shelf, role).await?;
        return Ok(found.map(|found| found.len()));
    }
    let key = Secret::new([6; 32]);
    let mut maker = Maker { shelf: &mut shelf, key: &key, series: terms.series, now: UnixMillis(1), lasts: 9 };
    let made = cache(&mut maker, &keys, &mut host)?;
    lookup(&mut party, &terms, &keys, &mut host, &mut shelf, Role::Holder(&made)).await?;
    Ok(None)
}

/// Five keys, of which the two parties have three in common.
fn five(party: &Party, storage: &mut InMemory) -> Result<KeySet, Abort> {
    let schema = Schema::new(vec![KeyColumn { name: "id".into(), steps: vec![] }])?;
    let mut builder = KeySetBuilder::new(schema.clone(), 0);
    let first = if party.seat() == Seat(0) { 0 } else { 2 };
    for i in first..first + 5 {
        builder.push_key(storage, schema.key([Some(i.to_string().as_str())]))?;
    }
    Ok(builder.finish(storage)?)
}

/// Counts by two groups of the first's keys, for the second.
async fn count(mut party: Party) -> Result<Option<u64>, Abort> {
    let terms = RingTerms {
        seats: vec![Seat(0), Seat(1)],
        collector: Seat(1),
        context: Hash([7; 32]),
        disclosure: disclosure(),
        items_max: 64,
        items_min: 2,
        announced: BTreeMap::new(),
        groups: Some(RingGroups { seat: Seat(0), count: 2, items_max: 64 }),
        batch: 256,
        step_base: 3,
        step_ms: 1000,
    };
    let mut storage = InMemory::default();
    let keys = five(&party, &mut storage)?;
    let schema = Schema::new(vec![KeyColumn { name: "id".into(), steps: vec![] }])?;
    let mut builder = GroupSetBuilder::new(schema.digest(), 2, 0);
    for i in 0..5usize {
        if let Ok(key) = schema.key([Some(i.to_string().as_str())]) {
            builder.push(&mut storage, &key, i % 2)?;
        }
    }
    let grouped = builder.finish(&mut storage, terms.items_min)?;
    let keys = if party.seat() == Seat(0) { RingKeys::Grouped(&grouped) } else { RingKeys::Plain(&keys) };
    let mut host = Host { storage: &mut storage, workers: &Inline, memory: 0, run: 0, resume: None };
    let counts = ring(&mut party, &terms, keys, &mut host).await?;
    // Keys 2, 3 and 4 are common: two of the first group and one of the second.
    assert!(counts.as_ref().is_none_or(|counts| counts[..] == [2, 1]), "{counts:?}");
    Ok(counts.map(|counts| counts.iter().sum()))
}

async fn act(mut party: Party, terms: Terms) -> Result<Option<u64>, Abort> {
    let mut storage = InMemory::default();
    let keys = five(&party, &mut storage)?;
    let mut host = Host { storage: &mut storage, workers: &Inline, memory: 0, run: 0, resume: None };
    Ok(match intersect(&mut party, &terms, &keys, &mut host).await? {
        Outcome::Set(set) => Some(set.matches()),
        Outcome::Cardinality(count) => Some(count),
        Outcome::Spine(spine) => Some(spine.matches()),
        Outcome::Nothing => None,
    })
}
