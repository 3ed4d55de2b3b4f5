//! Rotation of the keys of parties: of a node, of a witness, and of the coordinator.
//!
//! A node's id is its first key, for ever: price plans, cases, receipts and trust files name it, and go on to mean the
//! same party. Which key signs for an id at a time is what [`PartyRotation`] statements in the log say, each signed by
//! the key that goes and agreed to by the one that comes. [`KeyHistory`] is the one place where a key becomes an id.
//! Witnesses likewise: the id is the first cosignature key, which stands in the quorum. And the coordinator: its id is the key to
//! which everybody connects, and which signs what it says in the log until another does.

use std::borrow::Cow;
use std::collections::BTreeMap;

use minicbor::bytes::ByteVec;
use serde::Serialize;
use tacit_crypto::statement::Envelope;
use tacit_crypto::{Body, Signature, SigningKey, Statement, cbor, verify};
use tacit_types::{Code, Fault, NodeId, UnixMillis};

use crate::leaf::refused;
use crate::rotation::OVERLAP_MILLIS_MAX;
use crate::verify::CLOCK_SKEW_MILLIS_MAX;

/// Keys that one id has had.
pub const PARTY_KEYS_MAX: usize = 64;
/// Changes of parties' keys that a trust file or a log may show.
pub const PARTY_ROTATIONS_MAX: usize = 4096;
/// For how long after the end of a key the log may still take what the key signed in its time, in milliseconds: a week,
/// as long as a receipt may be promised ahead.
pub const LATE_MILLIS_MAX: u64 = 7 * 24 * 3_600_000;

/// What the key that comes signs, before the terms.
const LABEL: &[u8] = b"tacit-party-key-rotation/1\0";

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum KeyRole {
    /// A node's key, which attests and signs what its party says in the log.
    #[n(0)]
    Node,
    /// A witness's, which cosigns checkpoints.
    #[n(1)]
    Witness,
    /// The coordinator's, which signs receipts, promises, charges and the log's beginning.
    #[n(2)]
    Coordinator,
}

impl KeyRole {
    /// Every role.
    pub const ALL: [KeyRole; 3] = [KeyRole::Node, KeyRole::Witness, KeyRole::Coordinator];

    /// The stable word.
    pub const fn word(self) -> &'static str {
        match self {
            KeyRole::Node => "node",
            KeyRole::Witness => "witness",
            KeyRole::Coordinator => "coordinator",
        }
    }
}

/// One key of a party gives way to another. Signed by the old one; a leaf of the log.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct PartyRotation {
    /// 1.
    #[n(1)]
    pub version: u32,
    /// The log's origin.
    #[n(2)]
    pub origin: String,
    /// What the keys are for.
    #[n(3)]
    pub role: KeyRole,
    /// The first key that the party had in this role.
    #[n(4)]
    pub id: NodeId,
    /// The key that goes.
    #[n(5)]
    pub old: NodeId,
    /// The key that comes.
    #[n(6)]
    pub new: NodeId,
    /// From when on the new key holds.
    #[n(7)]
    pub from: UnixMillis,
    /// Until when the old one still does.
    #[n(8)]
    pub until: UnixMillis,
    /// The new key's signature over a label and this map without this field, 64 bytes.
    #[n(9)]
    pub consent: Option<ByteVec>,
}

impl Body for PartyRotation {
    const TYPE: &'static str = "party-key-rotation";
}

impl PartyRotation {
    /// Has the old key name the new one, and the new one agree.
    pub fn sign(
        origin: &str,
        (role, id): (KeyRole, NodeId),
        (old, new): (&SigningKey, &SigningKey),
        (from, until): (UnixMillis, UnixMillis),
    ) -> Statement<Self> {
        let (origin, consent) = (origin.to_owned(), None);
        let mut body = Self { version: 1, origin, role, id, old: old.id(), new: new.id(), from, until, consent };
        body.consent = Some(new.sign(&body.terms()).0.to_vec().into());
        let subject = body.subject();
        Statement::sign(old, &subject, from, None, body)
    }

    /// The subject of its statement.
    pub fn subject(&self) -> String {
        format!("{}/{}", self.role.word(), self.id)
    }

    fn terms(&self) -> Vec<u8> {
        [LABEL, &cbor::encode(&Self { consent: None, ..self.clone() })].concat()
    }

    /// Checks what stands in the statement itself.
    ///
    /// # Errors
    /// `receipt.key_rotation`.
    pub fn check(statement: &Statement<Self>) -> Result<(), Fault> {
        let body = statement.body();
        let consent = body.consent.as_ref().and_then(|bytes| <[u8; 64]>::try_from(bytes.as_slice()).ok());
        let what = if body.version != 1 {
            "another version than 1"
        } else if statement.signer() != body.old {
            "not signed by the key that goes"
        } else if statement.envelope().subject != body.subject() {
            "of another party in the header"
        } else if body.new == body.old || body.new == body.id {
            "the same key again"
        } else if body.until < body.from || body.until.0 - body.from.0 > OVERLAP_MILLIS_MAX {
            "the overlap"
        } else if !consent.is_some_and(|signature| verify(&body.new, &body.terms(), &Signature(signature))) {
            "the key that comes has not agreed"
        } else {
            return Ok(());
        };
        Err(wrong(what))
    }
}

fn wrong(what: impl Into<String>) -> Fault {
    Fault::new(Code::ReceiptKeyRotation, what)
}

/// Changes of parties' keys as one file keeps them.
pub fn to_file<'a>(changes: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let items: Vec<ByteVec> = changes.into_iter().map(|bytes| bytes.to_vec().into()).collect();
    cbor::encode(&items)
}

/// Reads them back. Whether they follow is for [`KeyHistory::follow`].
///
/// # Errors
/// `receipt.malformed`, for more than `most` as well.
pub fn from_file(bytes: &[u8], most: usize) -> Result<Vec<Statement<PartyRotation>>, Fault> {
    let malformed = |what: String| Fault::new(Code::ReceiptMalformed, format!("changes of parties' keys: {what}"));
    let items: Vec<ByteVec> = cbor::decode(bytes).map_err(|e| malformed(e.to_string()))?;
    if items.len() > most {
        return Err(malformed(format!("{} of them", items.len())));
    }
    items.iter().map(|item| Statement::verify(item).map_err(refused)).collect()
}

/// A key of a party and when it held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartyKeySpan {
    /// The key.
    pub key: NodeId,
    /// From when on; none for the first.
    pub from: Option<UnixMillis>,
    /// Until when; none for the newest.
    pub until: Option<UnixMillis>,
    /// The leaf that named it, where it was seen.
    pub leaf: Option<u64>,
}

impl PartyKeySpan {
    /// Whether the key held at a time.
    pub fn holds(&self, at: UnixMillis) -> bool {
        self.from.is_none_or(|from| from <= at.plus(CLOCK_SKEW_MILLIS_MAX))
            && self.until.is_none_or(|until| at <= until)
    }
}

/// The same, as reports show it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ShownPartyKey {
    /// `node`, `witness` or `coordinator`.
    pub role: &'static str,
    /// The id: the party's first key.
    pub id: String,
    /// The key.
    pub key: String,
    /// From when on, milliseconds since 1970.
    pub from: Option<u64>,
    /// Until when.
    pub until: Option<u64>,
    /// The leaf that named it.
    pub leaf: Option<u64>,
}

/// Says whether a key is a party's first in a role.
pub type IsId<'a> = dyn Fn(KeyRole, &NodeId) -> bool + 'a;

/// Which keys speak for which ids of a log's parties, and when.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct KeyHistory {
    origin: String,
    /// The logs after that one.
    later: Vec<String>,
    /// The keys of each id that has had more than one, oldest first.
    chains: BTreeMap<(KeyRole, NodeId), Vec<PartyKeySpan>>,
    /// The id of each key that came later.
    ids: BTreeMap<NodeId, (KeyRole, NodeId)>,
}

/// What [`KeyHistory::none`] gives.
static NONE: KeyHistory =
    KeyHistory { origin: String::new(), later: Vec::new(), chains: BTreeMap::new(), ids: BTreeMap::new() };

impl KeyHistory {
    /// A history in which every key is the first, and that none follows.
    pub fn none() -> &'static Self {
        &NONE
    }

    /// The history of a log in which every key is the first.
    pub fn new(origin: &str) -> Self {
        Self { origin: origin.to_owned(), ..Self::default() }
    }

    /// Goes on with the log that comes after: what it says is followed as well.
    pub fn also(&mut self, origin: &str) {
        self.later.push(origin.to_owned());
    }

    /// Follows the statements that somebody showed, in whatever order they come.
    ///
    /// # Errors
    /// `receipt.malformed`, `receipt.signature`; `receipt.key_rotation` when one does not follow, or there are more than
    /// [`PARTY_ROTATIONS_MAX`]. Those that do follow are followed all the same.
    pub fn take<'a>(&mut self, statements: impl IntoIterator<Item = &'a [u8]>, known: &IsId<'_>) -> Result<(), Fault> {
        let read = |bytes| Statement::<PartyRotation>::verify(bytes).map_err(refused);
        let some = statements.into_iter().take(PARTY_ROTATIONS_MAX.saturating_add(1));
        let mut left = some.map(read).collect::<Result<Vec<_>, _>>()?;
        if left.len() > PARTY_ROTATIONS_MAX {
            return Err(wrong(format!("more than {PARTY_ROTATIONS_MAX} of them")));
        }
        // A party's changes do not overlap, so the order of their times is the order in which they follow.
        left.sort_by_key(|statement| (statement.body().from, statement.body().until));
        let mut last = Ok(());
        for statement in &left {
            last = last.and(self.follow(statement, None, known));
        }
        last
    }

    /// Follows a rotation away from the newest key of its id. One that is known already changes nothing but where it
    /// stands in the log.
    ///
    /// # Errors
    /// `receipt.key_rotation` for a statement that does not hold, is of another log or of nobody that is known, names
    /// another successor of a key, or a key that is somebody's already, comes before the last overlap is over, or is one
    /// too many. Then nothing changes.
    pub fn follow(
        &mut self,
        statement: &Statement<PartyRotation>,
        leaf: Option<u64>,
        known: &IsId<'_>,
    ) -> Result<(), Fault> {
        PartyRotation::check(statement)?;
        let body = statement.body();
        if body.origin != self.origin && !self.later.contains(&body.origin) {
            return Err(wrong("it is of another log"));
        }
        if !known(body.role, &body.id) {
            return Err(wrong(format!("{} is no id of a {}", body.id.short(), body.role.word())));
        }
        if self.repeated(body, leaf)? {
            return Ok(());
        }
        let taken = self.ids.contains_key(&body.new) || KeyRole::ALL.iter().any(|role| known(*role, &body.new));
        if taken {
            return Err(wrong("the key that comes is somebody's already"));
        }
        if self.ids.len() >= PARTY_ROTATIONS_MAX {
            return Err(wrong("too many changes"));
        }
        let first = PartyKeySpan { key: body.id, from: None, until: None, leaf: None };
        let fresh = [first];
        let chain = self.chains.get(&(body.role, body.id)).map_or(&fresh[..], Vec::as_slice);
        let [before @ .., newest] = chain else { return Err(wrong("it has no first key")) };
        if newest.key != body.old {
            let known = before.iter().any(|span| span.key == body.old);
            return Err(wrong(if known {
                "the key that goes has another successor"
            } else {
                "it is not of that party"
            }));
        }
        if before.last().and_then(|span| span.until).is_some_and(|until| body.from < until) {
            return Err(wrong("the overlap before it is not over"));
        }
        if newest.from.is_some_and(|from| body.from < from) {
            return Err(wrong("it holds before the key that goes"));
        }
        if chain.len() >= PARTY_KEYS_MAX {
            return Err(wrong("too many keys"));
        }
        let mut longer = chain.to_vec();
        if let Some(newest) = longer.last_mut() {
            newest.until = Some(body.until);
        }
        longer.push(PartyKeySpan { key: body.new, from: Some(body.from), until: None, leaf });
        self.chains.insert((body.role, body.id), longer);
        self.ids.insert(body.new, (body.role, body.id));
        Ok(())
    }

    /// As [`KeyHistory::follow`], for a reader that has no list of ids: the first key that a change names is one. Whose it is, is
    /// for whoever does.
    ///
    /// # Errors
    /// Those of [`KeyHistory::follow`].
    pub fn follow_any(&mut self, statement: &Statement<PartyRotation>, leaf: Option<u64>) -> Result<(), Fault> {
        let (of, id) = (statement.body().role, statement.body().id);
        self.follow(statement, leaf, &|role, key| (role, *key) == (of, id))
    }

    /// Whether a rotation is known already; where it stands is noted.
    fn repeated(&mut self, body: &PartyRotation, leaf: Option<u64>) -> Result<bool, Fault> {
        let Some(chain) = self.chains.get_mut(&(body.role, body.id)) else { return Ok(false) };
        let Some(at) = chain.iter().position(|span| span.key == body.new) else { return Ok(false) };
        let old = at.checked_sub(1).and_then(|before| chain.get(before)).map(|span| (span.key, span.until));
        match chain.get_mut(at) {
            Some(span) if old == Some((body.old, Some(body.until))) && span.from == Some(body.from) => {
                span.leaf = span.leaf.or(leaf);
                Ok(true)
            }
            _ => Err(wrong("the same key at another time, or after another")),
        }
    }

    /// The id for which a key speaks: itself, unless it came later.
    pub fn id_of(&self, role: KeyRole, key: &NodeId) -> NodeId {
        self.ids.get(key).filter(|(of, _)| *of == role).map_or(*key, |(_, id)| *id)
    }

    /// What a node's key signed, under the id for which it speaks.
    pub fn spoken<'e>(&self, envelope: &'e Envelope) -> Cow<'e, Envelope> {
        let signer = self.id_of(KeyRole::Node, &envelope.signer);
        if signer == envelope.signer {
            return Cow::Borrowed(envelope);
        }
        Cow::Owned(Envelope { signer, ..envelope.clone() })
    }

    /// The keys of an id, oldest first; of one that never changed, none.
    pub fn keys_of(&self, role: KeyRole, id: &NodeId) -> &[PartyKeySpan] {
        self.chains.get(&(role, *id)).map_or(&[], Vec::as_slice)
    }

    /// The key that holds now.
    pub fn newest(&self, role: KeyRole, id: &NodeId) -> NodeId {
        self.keys_of(role, id).last().map_or(*id, |span| span.key)
    }

    /// Every key that may speak for an id at a time: two in an overlap.
    pub fn holding(&self, role: KeyRole, id: &NodeId, at: UnixMillis) -> Vec<NodeId> {
        match self.keys_of(role, id) {
            [] => vec![*id],
            keys => keys.iter().filter(|span| span.holds(at)).map(|span| span.key).collect(),
        }
    }

    /// Whether a key speaks for an id at a time.
    pub fn speaks(&self, role: KeyRole, id: &NodeId, key: &NodeId, at: UnixMillis) -> bool {
        match self.keys_of(role, id) {
            [] => id == key,
            keys => keys.iter().any(|span| span.key == *key && span.holds(at)),
        }
    }

    /// Every key that spoke for an id at some moment of a time.
    pub fn within(&self, role: KeyRole, id: &NodeId, (from, to): (UnixMillis, UnixMillis)) -> Vec<NodeId> {
        match self.keys_of(role, id) {
            [] => vec![*id],
            keys => {
                let over = |span: &&PartyKeySpan| span.until.is_some_and(|until| until < from);
                let ahead = |span: &&PartyKeySpan| span.from.is_some_and(|at| to.plus(CLOCK_SKEW_MILLIS_MAX) < at);
                keys.iter().filter(|span| !over(span) && !ahead(span)).map(|span| span.key).collect()
            }
        }
    }

    /// The id for which a key of a node speaks at a time; none for one that is over, or not there yet.
    pub fn speaker(&self, key: &NodeId, at: UnixMillis) -> Option<NodeId> {
        let id = self.id_of(KeyRole::Node, key);
        self.speaks(KeyRole::Node, &id, key, at).then_some(id)
    }

    /// Whether a statement was signed for an id, with a key that held by the statement's own time.
    pub fn signed_for(&self, role: KeyRole, id: &NodeId, envelope: &Envelope) -> bool {
        self.speaks(role, id, &envelope.signer, envelope.issued_at)
    }

    /// Checks that a key held when it signed what the log has at a leaf, and gives the id that it speaks for: `signed` by its
    /// own word, and `newest` by that of the newest receipt of the log there.
    ///
    /// # Errors
    /// `receipt.key_retired`.
    pub fn check_held(
        &self,
        role: KeyRole,
        key: &NodeId,
        leaf: u64,
        (signed, newest): (UnixMillis, UnixMillis),
    ) -> Result<NodeId, Fault> {
        let id = self.id_of(role, key);
        let Some(span) = self.keys_of(role, &id).iter().find(|span| span.key == *key) else { return Ok(id) };
        let retired = |what: String| Err(Fault::new(Code::ReceiptKeyRetired, what));
        let who = key.short();
        if let Some(named) = span.leaf.filter(|named| leaf <= *named) {
            return retired(format!("the key {who} signed before leaf {named} named it"));
        }
        if let Some(from) = span.from.filter(|from| signed.plus(CLOCK_SKEW_MILLIS_MAX) < *from) {
            return retired(format!("the key {who} holds from {from}; it signed at {signed}"));
        }
        let Some(until) = span.until else { return Ok(id) };
        if signed > until {
            return retired(format!("the key {who} held until {until}; it signed at {signed}"));
        }
        if newest > until.plus(LATE_MILLIS_MAX).plus(CLOCK_SKEW_MILLIS_MAX) {
            return retired(format!("the key {who} held until {until}; the log has what it signed behind {newest}"));
        }
        Ok(id)
    }

    /// As reports show it.
    pub fn shown(&self) -> Vec<ShownPartyKey> {
        let millis = |at: Option<UnixMillis>| at.map(|at| at.0);
        let all = self.chains.iter().flat_map(|((role, id), chain)| chain.iter().map(move |span| (role, id, span)));
        let shown = |(role, id, span): (&KeyRole, &NodeId, &PartyKeySpan)| ShownPartyKey {
            role: role.word(),
            id: id.to_string(),
            key: span.key.to_string(),
            from: millis(span.from),
            until: millis(span.until),
            leaf: span.leaf,
        };
        all.map(shown).collect()
    }
}
