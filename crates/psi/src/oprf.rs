//! Mode B: one party's keyed function on the other's blinded keys (2HashDH of Jarecki, Kiayias and Krawczyk 2014, with
//! additive blinding). `docs/protocols/psi.md` has the argument.

use curve25519_dalek::scalar::Scalar;
use tacit_crypto::{Secret, Transcript};
use tacit_protocol::{Abort, Offence, Party};
use tacit_types::{Fault, Hash};
use zeroize::Zeroizing;

use crate::exchange::{self, Proven, Shape, Work};
use crate::hash::{CHECK_BYTES, DST, Expander, Tagger, tag_bytes};
use crate::items::{self, Blinds};
use crate::keyset::{KeySet, Part, REF_BYTES};
use crate::mask;
use crate::outcome::{Alignment, Outcome};
use crate::session::{FUNCTION, Host, Session, Trouble};
use crate::sort::{Join, Side};
use crate::storage::{Log, Reader, Storage, Writer};
use crate::terms::{Level, Role, Terms};
use tacit_crypto::points::{Base, Encoding, Multiplier};

/// Files of a run in this mode.
mod files {
    pub(super) const CLIENT: u32 = 0;
    pub(super) const SERVER: u32 = 1;
    pub(super) const CLIENT_SORTED: u32 = 2;
    pub(super) const SERVER_SORTED: u32 = 3;
    pub(super) const CLIENT_MATCHED: u32 = 4;
    pub(super) const CLIENT_ALONE: u32 = 5;
    pub(super) const SERVER_MATCHED: u32 = 6;
    pub(super) const SERVER_ALONE: u32 = 7;
}

/// One direction of the function: whose keys are asked about, who answers, and how long the tags between them are.
struct Lane {
    part: Part,
    /// Keys on our side.
    items: u64,
    tagger: Tagger,
    tag: usize,
    /// The tagged keys: tag, proof where one is due, rows.
    log: Log,
}

impl Lane {
    /// Writes the tags of keys `first` on.
    fn put(&mut self, host: &mut Host<'_>, keys: &KeySet, first: u64, elements: &[Encoding]) -> Result<(), Fault> {
        let keys = keys.read(host.storage, self.part, first, elements.len())?;
        let tagger = &self.tagger;
        let hashes = items::hashes(host.workers, keys.len(), |i| tagger.keyed(&keys[i].hash, &elements[i])); // proof: read as many as there are elements.
        let mut records = Vec::with_capacity(keys.len() * self.log.width);
        let check = self.log.width - self.tag - REF_BYTES;
        for (key, hash) in keys.iter().zip(&hashes) {
            records.extend_from_slice(&hash[..self.tag]); // proof: tag and proof are 16 bytes each at the most.
            records.extend_from_slice(&hash[32 - check..]);
            records.extend_from_slice(&key.rows.bytes());
        }
        self.log.put(host.storage, first, &records)
    }
}

struct Client {
    lane: Lane,
    blinds: Blinds,
    /// Multiples of the server's public key.
    public: Base,
}

struct Server {
    lane: Lane,
    /// For the client's points, which are doubled already: a quarter of the key.
    evaluate: Multiplier,
    /// For the own keys: the key itself, so that the outcome is doubled as the client's is.
    own: Multiplier,
    /// The client's keys.
    asked: u64,
}

struct Oprf<'a> {
    terms: Terms,
    keys: &'a KeySet,
    expander: Expander,
    client: Option<Client>,
    server: Option<Server>,
}

impl Oprf<'_> {
    fn shape(&self) -> Shape {
        let asked = self.server.as_ref().map_or(0, |s| s.asked);
        let own = self.client.as_ref().map_or(0, |c| c.lane.items);
        Shape { points: [own, asked], answers: [32, 32], sorted: false, first: 2, proven: Proven::default() }
    }
}

impl Work for Oprf<'_> {
    fn points(&mut self, host: &mut Host<'_>, k: u64) -> Result<Vec<u8>, Trouble> {
        let Some(client) = &self.client else { return Ok(Vec::new()) };
        let (first, count) = self.terms.batch_of(client.lane.items, k);
        let keys = self.keys.read(host.storage, client.lane.part, first, count)?;
        let g = Base::generator();
        Ok(items::hash_blind(host.workers, &self.expander, g, &client.blinds, first, &keys).as_flattened().to_vec())
    }

    fn answer(&mut self, host: &mut Host<'_>, _: u64, points: &[Encoding]) -> Result<Vec<u8>, Trouble> {
        let Some(server) = &self.server else { return Ok(Vec::new()) };
        Ok(items::multiply(host.workers, &server.evaluate, points)?.as_flattened().to_vec())
    }

    fn take(&mut self, host: &mut Host<'_>, k: u64, answer: &[u8]) -> Result<(), Trouble> {
        let Some(client) = &mut self.client else { return Ok(()) };
        let (first, _) = self.terms.batch_of(client.lane.items, k);
        let points = answer.as_chunks::<32>().0;
        let elements = items::unblind(host.workers, &client.public, &client.blinds, first, points)?;
        Ok(client.lane.put(host, self.keys, first, &elements)?)
    }

    fn asides(&self) -> u64 {
        self.server.as_ref().map_or(0, |server| self.terms.batches(server.lane.items))
    }

    fn aside(&mut self, host: &mut Host<'_>, k: u64) -> Result<(), Trouble> {
        let Some(server) = &mut self.server else { return Ok(()) };
        let (first, count) = self.terms.batch_of(server.lane.items, k);
        let keys = self.keys.read(host.storage, server.lane.part, first, count)?;
        let elements = items::hash_multiply(host.workers, &self.expander, &server.own, &keys);
        Ok(server.lane.put(host, self.keys, first, &elements)?)
    }
}

/// Runs the mode for a level that reveals the set.
pub(crate) async fn run(
    party: &mut Party,
    session: &mut Session,
    keys: &KeySet,
    host: &mut Host<'_>,
) -> Result<Outcome, Abort> {
    let both = session.terms.level == Level::Both;
    let (client_part, server_part) = match (both, session.role) {
        (false, Role::Receiver) => (Some(Part::All), None),
        (false, Role::Sender) => (None, Some(Part::All)),
        (true, Role::Receiver) => (Some(Part::Half(0)), Some(Part::Half(1))),
        (true, Role::Sender) => (Some(Part::Half(1)), Some(Part::Half(0))),
    };
    let mut work = Oprf {
        terms: session.terms.clone(),
        keys,
        expander: Expander::new(DST),
        client: client_part.map(|part| client(session, host, part, both)).transpose()?,
        server: server_part.map(|part| server(session, host, part, both)),
    };
    let shape = work.shape();
    exchange::points(party, session, host, &shape, &mut work, true).await?;
    let Oprf { client, server, .. } = work;
    match_lists(party, session, keys, host, shape.end(session), client, server).await
}

fn lane(session: &Session, host: &Host<'_>, part: Part, public: &Encoding, proof: bool, file: u32) -> Lane {
    let (ours, theirs) = (part.count(session.ours.halves), part.count(session.theirs.halves));
    let tag = tag_bytes(ours, theirs);
    let width = tag + if proof { CHECK_BYTES } else { 0 } + REF_BYTES;
    let tagger = Tagger::new(&session.id, public, "oprf");
    Lane { part, items: ours, tagger, tag, log: Log::new(host.file(file), width) }
}

fn client(session: &Session, host: &Host<'_>, part: Part, proof: bool) -> Result<Client, Abort> {
    let public = &session.theirs.public;
    let base = Base::new(public).ok_or_else(|| session.blame(Offence::BadKey, 1))?;
    let seed: Secret<[u8; 40]> = session.derive("blinds");
    let lane = lane(session, host, part, public, proof, files::CLIENT);
    Ok(Client { lane, blinds: Blinds::new(&seed), public: base })
}

fn server(session: &Session, host: &Host<'_>, part: Part, proof: bool) -> Server {
    let key = session.scalar(FUNCTION);
    let quarter = Zeroizing::new(*key * Scalar::from(4u8).invert());
    let lane = lane(session, host, part, &session.ours.public, proof, files::SERVER);
    let asked = part.count(session.theirs.halves);
    Server { lane, evaluate: Multiplier::new(&quarter), own: Multiplier::new(&key), asked }
}

/// The second half: sorted tags from server to client, and where both learn, the matches back with a proof.
async fn match_lists(
    party: &mut Party,
    session: &mut Session,
    keys: &KeySet,
    host: &mut Host<'_>,
    first: u64,
    client: Option<Client>,
    server: Option<Server>,
) -> Result<Outcome, Abort> {
    let served = server.map(|s| sorted(session, host, s.lane, files::SERVER_SORTED)).transpose()?;
    let asked = client.map(|c| sorted(session, host, c.lane, files::CLIENT_SORTED)).transpose()?;
    let expected = asked.as_ref().map_or(0, |lane| lane.part.count(session.theirs.halves));
    let mut found = asked.as_ref().map(|lane| Found::new(host, lane, expected));
    let mut on = |storage: &mut dyn Storage, record: &[u8]| match &mut found {
        Some(found) => Ok(found.record(storage, record)?),
        None => Ok(()),
    };
    // Tags of either direction are as long as its own lists ask.
    let widths = [&served, &asked].map(|lane| lane.as_ref().map_or(1, |l| l.tag));
    let out = served.as_ref().map(|l| &l.log);
    let end = exchange::lists(party, session, host, first, widths, out, expected, &mut on).await?;
    let done = found.map(|f| f.finish(host.storage)).transpose()?;
    let both = session.terms.level == Level::Both;
    let extra = Hash([0; 32]);
    let Some(done) = done else {
        session.end(party, end, &extra).await?;
        return Ok(Outcome::Nothing);
    };
    let mut alignment = Alignment {
        keys: keys.clone(),
        receiver: session.role == Role::Receiver,
        matched: vec![done.matched],
        alone: vec![done.alone],
        peer_alone: done.peer_alone,
    };
    let mut last = end;
    if let (true, Some(lane)) = (both, served) {
        let back = [&done.bits[..], &done.proof.0].concat();
        session.post(party, end, back)?;
        let bytes = lane.items.div_ceil(8) as usize + 32;
        let until = session.until_of_lists(party);
        let body = session.receive(party, end, bytes, until).await?;
        let told = told(host, &lane, &body).map_err(|t| session.trouble(t, end))?;
        // The first half of the key space comes first on both sides: the receiver asks about that.
        let at = if session.role == Role::Receiver { 1 } else { 0 };
        alignment.matched.insert(at, told.0);
        alignment.alone.insert(at, told.1);
        alignment.peer_alone +=
            lane.part.count(session.theirs.halves) - alignment.matched.get(at).map_or(0, |l| l.count);
        last = end + 1;
    }
    session.end(party, last, &extra).await?;
    Ok(Outcome::Set(alignment))
}

fn sorted(session: &Session, host: &mut Host<'_>, mut lane: Lane, file: u32) -> Result<Lane, Fault> {
    // A run that was taken up again has written only its last batches here.
    lane.log.count = lane.items;
    let log = mask::sorted(session, host, lane.log, file)?;
    Ok(Lane { log, ..lane })
}

/// What a client finds out while the server's tags come in.
struct Found {
    join: Join,
    sides: Sides,
}

struct Sides {
    tag: usize,
    matched: Writer,
    alone: Writer,
    peer_alone: u64,
    /// Which of the server's tags matched, by place.
    bits: Vec<u8>,
    place: u64,
    proof: Transcript,
}

struct Done {
    matched: Log,
    alone: Log,
    peer_alone: u64,
    bits: Vec<u8>,
    proof: Hash,
}

impl Found {
    fn new(host: &Host<'_>, lane: &Lane, expected: u64) -> Self {
        let sides = Sides {
            tag: lane.tag,
            matched: Writer::new(host.file(files::CLIENT_MATCHED), REF_BYTES),
            alone: Writer::new(host.file(files::CLIENT_ALONE), REF_BYTES),
            peer_alone: 0,
            bits: vec![0; expected.div_ceil(8) as usize],
            place: 0,
            proof: Transcript::new("tacit-psi/1/matches"),
        };
        Self { join: Join::new(&lane.log, lane.tag), sides }
    }

    fn record(&mut self, storage: &mut dyn Storage, record: &[u8]) -> Result<(), Fault> {
        let Self { join, sides } = self;
        join.right(storage, record, &mut |storage, side| sides.take(storage, side))?;
        sides.place += 1;
        Ok(())
    }

    fn finish(self, storage: &mut dyn Storage) -> Result<Done, Fault> {
        let Self { join, mut sides } = self;
        join.finish(storage, &mut |storage, side| sides.take(storage, side))?;
        Ok(Done {
            matched: sides.matched.finish(storage)?,
            alone: sides.alone.finish(storage)?,
            peer_alone: sides.peer_alone,
            bits: sides.bits,
            proof: sides.proof.finish(),
        })
    }
}

impl Sides {
    fn take(&mut self, storage: &mut dyn Storage, side: Side<'_>) -> Result<(), Fault> {
        match side {
            Side::Both(record) => {
                let (check, rows) = ends(record, self.tag);
                self.proof = self.proof.clone().bytes(check);
                if let Some(byte) = self.bits.get_mut((self.place / 8) as usize) {
                    *byte |= 1 << (self.place % 8);
                }
                self.matched.push(storage, &[rows])
            }
            Side::Left(record) => self.alone.push(storage, &[ends(record, self.tag).1]),
            Side::Right => {
                self.peer_alone += 1;
                Ok(())
            }
        }
    }
}

/// Proof and rows of a record.
fn ends(record: &[u8], tag: usize) -> (&[u8], &[u8]) {
    let rest = record.get(tag..).unwrap_or_default();
    rest.split_at(rest.len().saturating_sub(REF_BYTES))
}

/// Takes the client's word for which of the server's keys matched, if it proves that it holds all of them: the proof is
/// over bytes that only who was given the function's value on a key can know.
fn told(host: &mut Host<'_>, lane: &Lane, body: &[u8]) -> Result<(Log, Log), Trouble> {
    let (bits, proof) = body.split_at(body.len().saturating_sub(32));
    let mut matched = Writer::new(host.file(files::SERVER_MATCHED), REF_BYTES);
    let mut alone = Writer::new(host.file(files::SERVER_ALONE), REF_BYTES);
    let mut hash = Transcript::new("tacit-psi/1/matches");
    let mut reader = Reader::new(&lane.log);
    let mut place = 0u64;
    while let Some(record) = reader.next(host.storage)? {
        let (check, rows) = ends(record, lane.tag);
        let (check, rows) = (check.to_vec(), rows.to_vec());
        let set = bits.get((place / 8) as usize).is_some_and(|byte| byte >> (place % 8) & 1 == 1);
        if set {
            hash = hash.bytes(&check);
            matched.push(host.storage, &[&rows])?;
        } else {
            alone.push(host.storage, &[&rows])?;
        }
        place += 1;
    }
    let over = bits.last().is_some_and(|byte| !place.is_multiple_of(8) && byte >> (place % 8) != 0);
    if over {
        return Err(Trouble::Peer(Offence::Malformed));
    }
    if hash.finish().0[..] != *proof {
        return Err(Trouble::Peer(Offence::BadOpening));
    }
    Ok((matched.finish(host.storage)?, alone.finish(host.storage)?))
}
