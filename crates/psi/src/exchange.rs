//! The two exchanges that every level is made of: points that are answered, batch by batch in both directions at once, and
//! sorted lists.

use curve25519_dalek::scalar::Scalar;
use tacit_crypto::agree::derive;
use tacit_crypto::points::Encoding;
use tacit_crypto::{Secret, Transcript};
use tacit_protocol::{Abort, Offence, Party};
use tacit_types::{Hash, Millis, Seat};
use zeroize::Zeroizing;

use crate::proof::{self, About, PROOF_BYTES};
use crate::session::{Host, Session, Trouble};
use crate::storage::{Log, Storage};
use crate::terms::Role;
use crate::workers::Workers;

/// Batches of points that are under way before the answer to the first: what keeps both parties busy.
pub(crate) const AHEAD: u64 = 2;
/// Messages that a party holds for a peer that does not consume them before it waits until they have left. Parties that work
/// are a few batches apart and never hold so many: each hears the other's next batch only after its own have been read.
pub(crate) const POSTED_MAX: usize = 16;

/// What a party does in an exchange of points.
pub(crate) trait Work: Send {
    /// The points of our batch `k`, always the same.
    fn points(&mut self, host: &mut Host<'_>, k: u64) -> Result<Vec<u8>, Trouble>;
    /// Works on the peer's batch `k`: the answer, empty where none is due.
    fn answer(&mut self, host: &mut Host<'_>, k: u64, points: &[Encoding]) -> Result<Vec<u8>, Trouble>;
    /// Takes the answer to our batch `k`.
    fn take(&mut self, host: &mut Host<'_>, k: u64, answer: &[u8]) -> Result<(), Trouble>;
    /// Batches of what needs no peer.
    fn asides(&self) -> u64 {
        0
    }
    /// Does batch `k` of what needs no peer.
    fn aside(&mut self, _host: &mut Host<'_>, _k: u64) -> Result<(), Trouble> {
        Ok(())
    }
}

/// The sizes of an exchange of points.
pub(crate) struct Shape {
    /// Points that we send and the peer sends.
    pub points: [u64; 2],
    /// Bytes of an answer to one point that we give and get, 0 for none.
    pub answers: [usize; 2],
    /// Whether the peer's points are to be in order, which also keeps them apart. Else they are within a batch.
    pub sorted: bool,
    /// The first step.
    pub first: u64,
    /// By which key our answers were made and the peer's, where that is proven.
    pub proven: Proven,
}

/// Answers that are proven: those of a batch with one proof that each is the same key times its point.
#[derive(Default)]
pub(crate) struct Proven {
    /// Which exchange of the session it is.
    pub what: &'static str,
    /// The key of our answers.
    pub key: Option<Key>,
    /// The public part of the key of the peer's.
    pub public: Option<Encoding>,
}

/// The key of our answers. What is said again after an interruption must be the same, so that nonces follow from a secret
/// and from what is proven.
pub(crate) struct Key {
    pub scalar: Zeroizing<Scalar>,
    pub public: Encoding,
    pub nonces: Secret<[u8; 32]>,
}

impl Proven {
    /// Bytes of a proof that we give and get.
    fn bytes(&self) -> [usize; 2] {
        [self.key.is_some(), self.public.is_some()].map(|proven| if proven { PROOF_BYTES } else { 0 })
    }

    /// Who answers in which exchange: no proof of the one is one of the other.
    fn run(&self, by: Role) -> Hash {
        Transcript::new("tacit-psi/1/answers").bytes(self.what.as_bytes()).u64((by == Role::Receiver).into()).finish()
    }

    /// Adds the proof to the answers to a batch.
    fn prove(
        &self,
        session: &Session,
        workers: &dyn Workers,
        k: u64,
        points: &[u8],
        body: &mut Vec<u8>,
    ) -> Result<(), Trouble> {
        let Some(key) = &self.key else { return Ok(()) };
        let run = self.run(session.role);
        let about = about(session, &key.public, &run, k);
        let mut nonce = |statement: &Hash| {
            let wide: Secret<[u8; 64]> = derive(&statement.0, key.nonces.expose_secret(), &[b"tacit-psi/1/nonce"]);
            Zeroizing::new(Scalar::from_bytes_mod_order_wide(wide.expose_secret()))
        };
        let answers = body.as_chunks::<32>().0;
        let made = proof::prove(workers, &about, &key.scalar, &mut nonce, points.as_chunks::<32>().0, answers);
        body.extend_from_slice(&made.ok_or(Trouble::Peer(Offence::BadPoint))?);
        Ok(())
    }

    /// The peer's answers to a batch of ours, whose proof holds.
    fn checked<'a>(
        &self,
        session: &Session,
        host: &mut Host<'_>,
        work: &mut dyn Work,
        k: u64,
        body: &'a [u8],
    ) -> Result<&'a [u8], Trouble> {
        let Some(public) = &self.public else { return Ok(body) };
        let Some((answers, proof)) = body.split_last_chunk::<PROOF_BYTES>() else {
            return Err(Trouble::Peer(Offence::Malformed));
        };
        let points = work.points(host, k)?;
        let run = self.run(session.role.other());
        let about = about(session, public, &run, k);
        let (points, made) = (points.as_chunks::<32>().0, answers.as_chunks::<32>().0);
        proof::check(host.workers, &about, points, made, proof).map_err(Trouble::Peer)?;
        Ok(answers)
    }
}

fn about<'a>(session: &'a Session, public: &'a Encoding, run: &'a Hash, batch: u64) -> About<'a> {
    About { protocol: "tacit-psi/1", scope: &session.id, public, run, batch, halved: false }
}

impl Shape {
    /// Batches of the longer side.
    pub(crate) fn batches(&self, session: &Session) -> u64 {
        self.points.iter().map(|n| session.terms.batches(*n)).max().unwrap_or(0)
    }

    /// The step after the last.
    pub(crate) fn end(&self, session: &Session) -> u64 {
        self.first + 2 * self.batches(session)
    }
}

/// Runs an exchange of points, and what needs no peer beside it: a batch of that after each answer, and the rest when the peer
/// has all of its answers. `resumable` for the one that a state tells about: it goes on where both stood.
pub(crate) async fn points(
    party: &mut Party,
    session: &mut Session,
    host: &mut Host<'_>,
    shape: &Shape,
    work: &mut dyn Work,
    resumable: bool,
) -> Result<(), Abort> {
    party.progress(session.terms.step(shape.first));
    let batches = shape.batches(session);
    let start = if resumable { session.done.min(batches) } else { 0 };
    let asides = if resumable { work.asides() } else { 0 };
    let mut posted = start;
    // Of batches that are said again the chain tells that they are those of before, which were in order.
    let mut last = session.last.take().filter(|_| resumable);
    for k in start..batches {
        let (points_step, answer_step) = (shape.first + 2 * k, shape.first + 2 * k + 1);
        while posted < batches.min(k + AHEAD) {
            let step = shape.first + 2 * posted;
            let (_, count) = session.terms.batch_of(shape.points[0], posted);
            if count > 0 {
                let body = work.points(host, posted).map_err(|t| session.trouble(t, step))?;
                said(session, resumable, Way::PointsOut, posted, &body, step)?;
                session.post(party, step, body)?;
            }
            posted += 1;
        }
        party.forget(session.terms.step(points_step));
        let (_, count) = session.terms.batch_of(shape.points[1], k);
        let mut heard = count > 0;
        // Before its first points the peer may mask and sort its whole list.
        let within = |session: &Session, party: &Party| match k == start {
            true => session.until_of_lists(party),
            false => session.terms.until(party),
        };
        if count > 0 {
            let until = within(session, party);
            let body = session.receive(party, points_step, 32 * count, until).await?;
            said(session, resumable, Way::PointsIn, k, &body, points_step)?;
            let answer = answer(host, shape, work, k, &body, &mut last);
            let mut answer = answer.map_err(|t| session.trouble(t, points_step))?;
            if !answer.is_empty() {
                as_told(session, Said::Answers, &mut answer);
                let proven = shape.proven.prove(session, host.workers, k, &body, &mut answer);
                proven.map_err(|t| session.trouble(t, points_step))?;
                said(session, resumable, Way::AnswersOut, k, &answer, answer_step)?;
                session.post(party, answer_step, answer)?;
            }
        }
        if session.aside < asides {
            // The answer leaves before.
            party.pause().await?;
            work.aside(host, session.aside).map_err(|t| session.trouble(t, points_step))?;
            session.aside += 1;
        }
        let (_, count) = session.terms.batch_of(shape.points[0], k);
        if count > 0 && shape.answers[1] > 0 {
            let until = within(session, party);
            let bytes = shape.answers[1] * count + shape.proven.bytes()[1];
            let body = session.receive(party, answer_step, bytes, until).await?;
            said(session, resumable, Way::AnswersIn, k, &body, answer_step)?;
            let answers = shape.proven.checked(session, host, work, k, &body);
            let taken = answers.and_then(|answers| work.take(host, k, answers));
            taken.map_err(|t| session.trouble(t, answer_step))?;
            heard = true;
        }
        let until = within(session, party);
        held(party, session.peer, heard, until).await?;
        if resumable {
            let repeats = k + 1 < session.done;
            session.done = session.done.max(k + 1);
            session.last = last;
            if !repeats {
                keep(party, session, host, k + 1, k + 1 == batches).await?;
            }
        }
    }
    while session.aside < asides {
        party.pause().await?;
        work.aside(host, session.aside).map_err(|t| session.trouble(t, shape.end(session)))?;
        session.aside += 1;
        keep(party, session, host, session.aside, session.aside == asides).await?;
    }
    Ok(())
}

/// Waits until what was posted has left, where nothing was heard that would say that the peer reads it, or too much is held for a
/// peer that only sends.
pub(crate) async fn held(party: &mut Party, to: Seat, heard: bool, until: Millis) -> Result<(), Abort> {
    if !heard || party.posted(to) > POSTED_MAX { party.flush(until).await } else { Ok(()) }
}

/// Makes the state durable where it is due: after every so many batches, and after the last.
async fn keep(party: &mut Party, session: &Session, host: &mut Host<'_>, done: u64, last: bool) -> Result<(), Abort> {
    let every = u64::from(session.terms.checkpoint);
    let Some(resume) = &host.resume else { return Ok(()) };
    if every == 0 || !(done.is_multiple_of(every) || last) {
        return Ok(());
    }
    host.storage.sync()?;
    let record = session.seal(party, resume.key);
    party.persist(record).await
}

/// Sends so many bytes and takes as many.
pub(crate) async fn both(party: &mut Party, session: &mut Session, step: u64, body: Vec<u8>) -> Result<Vec<u8>, Abort> {
    let bytes = body.len();
    said(session, false, Way::PointsOut, 0, &body, step)?;
    session.post(party, step, body)?;
    party.forget(session.terms.step(step));
    let until = session.until_of_lists(party);
    let body = session.receive(party, step, bytes, until).await?;
    said(session, false, Way::PointsIn, 0, &body, step)?;
    Ok(body)
}

/// In tests, what a party that lies says in place of the truth, by its own code: it hashes and signs what it says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Said {
    Answers,
    Tags,
}

#[cfg(test)]
fn as_told(session: &Session, what: Said, body: &mut Vec<u8>) {
    if let Some(lie) = session.terms.lie {
        lie(what, body);
    }
}

#[cfg(not(test))]
fn as_told(_: &Session, _: Said, _: &mut Vec<u8>) {}

enum Way {
    PointsOut,
    PointsIn,
    AnswersOut,
    AnswersIn,
}

/// Adds a message to what was said. A repeat must have the same bytes.
fn said(session: &mut Session, resumable: bool, way: Way, k: u64, body: &[u8], step: u64) -> Result<(), Abort> {
    let chains = if resumable { &mut session.chains } else { &mut session.rest };
    let (chain, ours) = match way {
        Way::PointsOut => (&mut chains.points_out, true),
        Way::PointsIn => (&mut chains.points_in, false),
        Way::AnswersOut => (&mut chains.answers_out, true),
        Way::AnswersIn => (&mut chains.answers_in, false),
    };
    // What is not taken up again is numbered through all exchanges.
    let k = if resumable { k } else { chain.len() };
    match (chain.add(k, body), ours) {
        (true, _) => Ok(()),
        (false, false) => Err(session.blame(Offence::Equivocation, step)),
        (false, true) => Err(session.changed()),
    }
}

fn answer(
    host: &mut Host<'_>,
    shape: &Shape,
    work: &mut dyn Work,
    k: u64,
    body: &[u8],
    last: &mut Option<Encoding>,
) -> Result<Vec<u8>, Trouble> {
    let points = body.as_chunks::<32>().0;
    if shape.sorted {
        for point in points {
            ascending(last.as_ref().map(<[u8; 32]>::as_slice), point)?;
            *last = Some(*point);
        }
    } else {
        let mut all: Vec<&Encoding> = points.iter().collect();
        all.sort_unstable();
        if all.windows(2).any(|w| w[0] == w[1]) {
            return Err(Trouble::Peer(Offence::Duplicate));
        }
    }
    work.answer(host, k, points)
}

/// Refuses an item that does not come after the one before.
pub(crate) fn ascending(last: Option<&[u8]>, next: &[u8]) -> Result<(), Trouble> {
    match last.map(|last| last.cmp(next)) {
        None | Some(core::cmp::Ordering::Less) => Ok(()),
        Some(core::cmp::Ordering::Equal) => Err(Trouble::Peer(Offence::Duplicate)),
        Some(core::cmp::Ordering::Greater) => Err(Trouble::Peer(Offence::Unordered)),
    }
}

/// What is done with each record of the peer's list.
pub(crate) type OnRecord<'a> = dyn FnMut(&mut dyn Storage, &[u8]) -> Result<(), Trouble> + Send + 'a;

/// Sends the first bytes of each record of a sorted list, `widths[0]` of them, and takes the peer's list in the same way:
/// `expected` times `widths[1]` bytes in strict order. Gives the step after the last.
#[allow(clippy::too_many_arguments)] // why: two lists, each with its length, on one party's machine.
pub(crate) async fn lists(
    party: &mut Party,
    session: &mut Session,
    host: &mut Host<'_>,
    first: u64,
    [width_out, width_in]: [usize; 2],
    out: Option<&Log>,
    expected: u64,
    on: &mut OnRecord<'_>,
) -> Result<u64, Abort> {
    party.progress(session.terms.step(first));
    let ours = out.map_or(0, |log| log.count);
    let batches = session.terms.batches(ours).max(session.terms.batches(expected));
    let mut last: Option<Vec<u8>> = None;
    for k in 0..batches {
        let step = first + k;
        let (from, count) = session.terms.batch_of(ours, k);
        if let Some(log) = out.filter(|_| count > 0) {
            let records = log.get(host.storage, from, count)?;
            let mut body = Vec::with_capacity(width_out * count);
            records.chunks_exact(log.width).for_each(|r| body.extend_from_slice(r.get(..width_out).unwrap_or(r)));
            as_told(session, Said::Tags, &mut body);
            said(session, false, Way::PointsOut, k, &body, step)?;
            session.post(party, step, body)?;
        }
        party.forget(session.terms.step(step));
        let (_, count) = session.terms.batch_of(expected, k);
        let heard = count > 0;
        // Before its first tags the peer may sort its whole list, or tag it.
        let within = |session: &Session, party: &Party| match k {
            0 => session.until_of_lists(party),
            _ => session.terms.until(party),
        };
        if heard {
            let until = within(session, party);
            let body = session.receive(party, step, width_in * count, until).await?;
            said(session, false, Way::PointsIn, k, &body, step)?;
            for record in body.chunks_exact(width_in) {
                ascending(last.as_deref(), record)
                    .and_then(|()| on(host.storage, record))
                    .map_err(|t| session.trouble(t, step))?;
                let held = last.get_or_insert_default();
                held.clear();
                held.extend_from_slice(record);
            }
        }
        let until = within(session, party);
        held(party, session.peer, heard, until).await?;
    }
    Ok(first + batches)
}
