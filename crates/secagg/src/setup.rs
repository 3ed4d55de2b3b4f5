//! The set-up of an epoch: who takes part, their keys, and the shares of every secret.
//!
//! The aggregator relays lists; it decides nothing that a seat does not check, because each list
//! enters the transcript that every later key is derived from. Deals go straight from seat to seat.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tacit_protocol::{Abort, Blame, Offence, Party};
use tacit_types::wire;
use tacit_types::{Hash, Seat};

use crate::deal::{HeldDeal, deal_out, take_deal};
use crate::epoch::{Epoch, Stage};
use crate::graph::Topology;
use crate::keys::{self, PeerKeys, RoundKeys};
use crate::messages::{Accept, Book, Bundle, Dealt, Entry, Ready, Roll, Root};
use crate::params::Graph;
use crate::plan::{Plan, setup_phase as phase};
use crate::relay::{Collector, from_aggregator, spread};
use crate::signed::{Kind, Signed, first_forged};

/// Agrees on participants and keys, and deals shares of `plan.rounds` round keys.
///
/// # Errors
/// [`Abort::Local`] for a plan that does not fit the seats; [`Abort::Disagreement`] when another seat
/// holds another plan; [`Abort::Quorum`] when fewer than U_min are left; [`Abort::Missing`] when the
/// aggregator, or this seat's own message, was lost; [`Abort::Misbehaved`] with blame.
pub async fn setup(party: &mut Party, plan: &Plan) -> Result<Epoch, Abort> {
    plan.check(party.seating().len())?;
    party.narrow(plan.aggregator);
    let own: Vec<RoundKeys> = (0..plan.rounds).map(|_| RoundKeys::random(party.rng())).collect();
    let mut setup = Setup { plan, t0: keys::t0(plan, party.seating()), complaints: Vec::new() };
    party.signs_over(setup.t0);
    let done = match setup.agree_keys(party, &own).await {
        Ok(book) => {
            party.signs_over(book.t1);
            setup.share(party, book, own).await
        }
        Err(abort) => Err(abort),
    };
    party.accuse(&setup.complaints);
    done
}

/// A set-up under way.
pub(crate) struct Setup<'a> {
    pub plan: &'a Plan,
    pub t0: Hash,
    pub complaints: Vec<Blame>,
}

/// Who accepted, with their commitments, in order of seat.
struct AgreedRoll {
    hash: Hash,
    accepts: BTreeMap<Seat, (Signed, Hash)>,
}

/// The keys that this seat needs, under the transcript that fixes everybody's.
pub(crate) struct AgreedBook {
    pub t1: Hash,
    /// The hash of this seat's own bundle.
    pub own_bundle: Hash,
    pub topology: Topology,
    pub seats: Vec<Seat>,
    pub peers: BTreeMap<Seat, Vec<PeerKeys>>,
    pub bundles: BTreeMap<Seat, Signed>,
    /// What T1 is the hash of, beside T0.
    pub roll: Hash,
    pub entries: Vec<Entry>,
}

impl Setup<'_> {
    /// Steps 1 to 4: who takes part, with which keys.
    pub async fn agree_keys(&mut self, party: &mut Party, own: &[RoundKeys]) -> Result<AgreedBook, Abort> {
        let nonce: [u8; 32] = party.rng().bytes();
        let roll = self.agree_roll(party, &nonce).await?;
        self.agree_book(party, &roll, nonce, own).await
    }

    /// Steps 5 to 7: the shares of the keys, and who holds enough of them.
    pub async fn share(&mut self, party: &mut Party, book: AgreedBook, own: Vec<RoundKeys>) -> Result<Epoch, Abort> {
        let held = self.deal(party, &book, &own).await?;
        let (participants, tally) = self.agree_ready(party, &book, &held).await?;
        let keeps = self.plan.params.is_verified() || party.seat() == self.hub();
        Ok(Epoch {
            plan: self.plan.clone(),
            t1: book.t1,
            topology: book.topology,
            participants,
            stages: vec![Stage::Fresh; own.len()],
            entered: BTreeMap::new(),
            own: own.into_iter().map(Some).collect(),
            peers: book.peers,
            bundles: if keeps { book.bundles } else { BTreeMap::new() },
            roll: book.roll,
            entries: book.entries,
            roots: tally.roots,
            holders: tally.holders,
            dealt: tally.dealt,
            held: held.into_iter().map(|(seat, deal)| (seat, deal.held)).collect(),
            complaints: self.complaints.clone(),
        })
    }

    fn hub(&self) -> Seat {
        self.plan.aggregator
    }

    fn blame_hub(&self, offence: Offence, number: u16) -> Abort {
        Blame::seat(self.hub(), offence).at(self.plan.setup_step(number))
    }

    fn quorum(&self, number: u16, have: usize) -> Result<(), Abort> {
        let need = self.plan.params.survivors_min();
        if have >= usize::from(need) {
            return Ok(());
        }
        Err(Abort::Quorum { step: self.plan.setup_step(number), have: have as u16, need })
    }

    /// Steps 1 and 2: everyone accepts with a commitment to a nonce; the roll lists who did.
    async fn agree_roll(&mut self, party: &mut Party, nonce: &[u8; 32]) -> Result<AgreedRoll, Abort> {
        let (plan, me) = (self.plan, party.seat());
        party.progress(plan.setup_step(phase::ACCEPT));
        let commitment = keys::nonce_commitment(&self.t0, me, nonce);
        let mine = Signed::new(party, Kind::Accept, &self.t0, 0, &Accept { commitment });
        let roll_step = plan.setup_step(phase::ROLL);
        let until = party.now().plus(plan.step_ms);
        let roll = if me == self.hub() {
            let roll = Roll { accepts: self.collect_accepts(party, mine.clone()).await? };
            let others = party.others();
            spread(party, roll_step, others, wire::encode(&roll), party.now().plus(plan.step_ms)).await?;
            roll
        } else {
            party.send(self.hub(), plan.setup_step(phase::ACCEPT), mine.bytes(), until).await?;
            let until = until.plus(2 * plan.step_ms);
            from_aggregator(party, self.hub(), roll_step, plan.caps().roll(), until).await?
        };
        self.check_roll(party, roll, &mine)
    }

    async fn collect_accepts(&mut self, party: &mut Party, mine: Signed) -> Result<Vec<Signed>, Abort> {
        let plan = self.plan;
        let step = plan.setup_step(phase::ACCEPT);
        let until = party.now().plus(plan.step_ms);
        let mut collector = Collector::new(step, plan.caps().accept(), party.others(), until);
        let mut accepts = BTreeMap::from([(mine.seat, mine)]);
        let mut differing = Vec::new();
        while let Some((seat, bytes)) = collector.next(party, &mut self.complaints).await? {
            match Signed::read(&bytes) {
                // Every seat reads the body, and would blame the aggregator for one that is none.
                Some(s) if s.is(party.seating(), Kind::Accept, &self.t0, 0, seat) && s.open::<Accept>().is_some() => {
                    accepts.insert(seat, s);
                }
                Some(s) if s.claims(Kind::Accept, &self.t0, 0, seat) => {
                    self.complaints.push(Blame::seat(seat, Offence::Malformed).with(s.bytes()));
                }
                Some(s) if s.kind == Kind::Accept && s.seat == seat && s.verify(party.seating()) => {
                    differing.push(seat)
                }
                _ => self.complaints.push(Blame::seat(seat, Offence::Malformed)),
            }
        }
        if !differing.is_empty() {
            return Err(Abort::Disagreement { seats: differing });
        }
        Ok(accepts.into_values().collect())
    }

    /// Signatures of neighbours are checked with their bundles.
    fn check_roll(&self, party: &Party, roll: Roll, mine: &Signed) -> Result<AgreedRoll, Abort> {
        let malformed = || self.blame_hub(Offence::Malformed, phase::ROLL);
        let mut accepts = BTreeMap::new();
        for signed in roll.accepts {
            if signed.kind == Kind::Accept && signed.scope != self.t0 {
                return Err(Abort::Disagreement { seats: vec![self.hub()] });
            }
            let seat = signed.seat;
            let body: Accept = signed.open().ok_or_else(malformed)?;
            let in_order = accepts.last_key_value().is_none_or(|(last, _)| *last < seat);
            let known = party.seating().node(seat).is_some();
            if !signed.claims(Kind::Accept, &self.t0, 0, seat) || !in_order || !known {
                return Err(malformed());
            }
            accepts.insert(seat, (signed, body.commitment));
        }
        match accepts.get(&mine.seat) {
            Some((signed, _)) if signed == mine => {}
            Some(_) => return Err(self.blame_hub(Offence::Equivocation, phase::ROLL)),
            None => return Err(Abort::Missing { step: self.plan.setup_step(phase::ACCEPT), seats: vec![mine.seat] }),
        }
        self.quorum(phase::ROLL, accepts.len())?;
        let commitments: Vec<(Seat, Hash)> = accepts.iter().map(|(seat, (_, c))| (*seat, *c)).collect();
        Ok(AgreedRoll { hash: keys::roll_hash(&self.t0, &commitments), accepts })
    }

    /// Steps 3 and 4: nonces and keys; the book lists all of them and fixes T1.
    async fn agree_book(
        &mut self,
        party: &mut Party,
        roll: &AgreedRoll,
        nonce: [u8; 32],
        own: &[RoundKeys],
    ) -> Result<AgreedBook, Abort> {
        let (plan, me) = (self.plan, party.seat());
        party.progress(plan.setup_step(phase::BUNDLE));
        let keys = own.iter().zip(0..).map(|(k, rho)| k.public(me, rho)).collect();
        let mine = Signed::new(party, Kind::Bundle, &self.t0, 0, &Bundle { roll: roll.hash, nonce, keys });
        let until = party.now().plus(plan.step_ms);
        if me == self.hub() {
            return self.write_book(party, roll, mine).await;
        }
        party.send(self.hub(), plan.setup_step(phase::BUNDLE), mine.bytes(), until).await?;
        let (step, cap) = (plan.setup_step(phase::BOOK), plan.caps().book());
        let book: Book = from_aggregator(party, self.hub(), step, cap, until.plus(2 * plan.step_ms)).await?;
        self.check_book(party, roll, book, &mine)
    }

    /// At the aggregator: collects bundles, and gives each seat those of its neighbours.
    async fn write_book(&mut self, party: &mut Party, roll: &AgreedRoll, mine: Signed) -> Result<AgreedBook, Abort> {
        let plan = self.plan;
        let (step, me) = (plan.setup_step(phase::BUNDLE), party.seat());
        let from: Vec<Seat> = roll.accepts.keys().copied().filter(|s| *s != me).collect();
        let until = party.now().plus(plan.step_ms);
        let mut collector = Collector::new(step, plan.caps().bundle(), from, until);
        let own_bundle = mine.body_hash();
        let mut bundles = BTreeMap::from([(me, mine)]);
        while let Some((seat, bytes)) = collector.next(party, &mut self.complaints).await? {
            match Signed::read(&bytes) {
                Some(s) if s.is(party.seating(), Kind::Bundle, &self.t0, 0, seat) => {
                    bundles.insert(seat, s);
                }
                _ => self.complaints.push(Blame::seat(seat, Offence::Malformed)),
            }
        }
        let mut peers = BTreeMap::new();
        let mut entries = Vec::new();
        for (seat, signed) in &bundles {
            match self.decode_bundle(roll, *seat, signed) {
                Ok((entry, keys)) => {
                    entries.push(entry);
                    peers.insert(*seat, keys);
                }
                Err(offence) => self.complaints.push(Blame::seat(*seat, offence).with(signed.bytes())),
            }
        }
        bundles.retain(|seat, _| peers.contains_key(seat));
        self.check_complete(roll, &entries)?;
        let t1 = keys::t1(&self.t0, &roll.hash, &entries);
        let seats: Vec<Seat> = entries.iter().map(|e| e.seat).collect();
        let topology = Topology::draw(plan.params.graph(), &t1, seats.clone());
        self.hand_out(party, &entries, &bundles, &topology).await?;
        Ok(AgreedBook { t1, own_bundle, topology, seats, peers, bundles, roll: roll.hash, entries })
    }

    async fn hand_out(
        &self,
        party: &mut Party,
        entries: &[Entry],
        bundles: &BTreeMap<Seat, Signed>,
        topology: &Topology,
    ) -> Result<(), Abort> {
        let pick = |wanted: &[Seat]| -> Arc<[u8]> {
            let bundles = wanted.iter().filter_map(|s| bundles.get(s).cloned()).collect();
            wire::encode(&Book { entries: entries.to_vec(), bundles }).into()
        };
        let mut complete = None;
        let everyone: Vec<Seat> = party.seating().seats().collect();
        let book_for = |seat: Seat| match self.plan.params.graph() {
            Graph::Complete => complete.get_or_insert_with(|| pick(&everyone)).clone(),
            Graph::Harary { .. } => pick(&self.wanted_bundles(topology, seat)),
        };
        let (others, until) = (party.others(), party.now().plus(self.plan.step_ms));
        party.fan_out_with(self.plan.setup_step(phase::BOOK), others, book_for, until).await.map(|_| ())
    }

    /// A drawn graph needs every nonce of the roll: who could withhold one after seeing the others
    /// could choose among graphs.
    fn check_complete(&self, roll: &AgreedRoll, entries: &[Entry]) -> Result<(), Abort> {
        let listed: BTreeSet<Seat> = entries.iter().map(|e| e.seat).collect();
        let missing: Vec<Seat> = roll.accepts.keys().copied().filter(|s| !listed.contains(s)).collect();
        if self.plan.params.graph() != Graph::Complete && !missing.is_empty() {
            return Err(Abort::Missing { step: self.plan.setup_step(phase::BUNDLE), seats: missing });
        }
        self.quorum(phase::BOOK, entries.len())
    }

    fn decode_bundle(&self, roll: &AgreedRoll, seat: Seat, signed: &Signed) -> Result<(Entry, Vec<PeerKeys>), Offence> {
        let bundle: Bundle = signed.open().ok_or(Offence::Malformed)?;
        let committed = roll.accepts.get(&seat).map(|(_, c)| *c);
        let opens = committed == Some(keys::nonce_commitment(&self.t0, seat, &bundle.nonce));
        if bundle.roll != roll.hash || bundle.keys.len() != usize::from(self.plan.rounds) || !opens {
            return Err(Offence::Malformed);
        }
        let decoded: Option<Vec<PeerKeys>> = bundle.keys.iter().map(PeerKeys::decode).collect();
        let keys = decoded.ok_or(Offence::BadKey)?;
        Ok((Entry { seat, nonce: bundle.nonce, bundle: signed.body_hash() }, keys))
    }

    fn check_book(&self, party: &Party, roll: &AgreedRoll, book: Book, mine: &Signed) -> Result<AgreedBook, Abort> {
        let malformed = || self.blame_hub(Offence::Malformed, phase::BOOK);
        let me = party.seat();
        let sorted = book.entries.windows(2).all(|pair| pair[0].seat < pair[1].seat);
        let opens = |e: &Entry| {
            let committed = roll.accepts.get(&e.seat).map(|(_, c)| *c);
            committed == Some(keys::nonce_commitment(&self.t0, e.seat, &e.nonce))
        };
        if !sorted || !book.entries.iter().all(opens) {
            return Err(malformed());
        }
        match book.entries.iter().find(|e| e.seat == me) {
            Some(entry) if entry.bundle == mine.body_hash() => {}
            Some(_) => return Err(self.blame_hub(Offence::Equivocation, phase::BOOK)),
            None => return Err(Abort::Missing { step: self.plan.setup_step(phase::BUNDLE), seats: vec![me] }),
        }
        self.check_complete(roll, &book.entries)?;
        let t1 = keys::t1(&self.t0, &roll.hash, &book.entries);
        let seats: Vec<Seat> = book.entries.iter().map(|e| e.seat).collect();
        let topology = Topology::draw(self.plan.params.graph(), &t1, seats.clone());
        let bundles: BTreeMap<Seat, Signed> = book.bundles.into_iter().map(|s| (s.seat, s)).collect();
        let wanted = self.wanted_bundles(&topology, me);
        let mut peers = BTreeMap::new();
        let mut to_verify = Vec::new();
        for seat in wanted {
            let signed = bundles.get(&seat).ok_or_else(malformed)?;
            let entry = book.entries.iter().find(|e| e.seat == seat).ok_or_else(malformed)?;
            // A key is its owner's fault only in a bundle that the owner signed.
            let theirs = || signed.is(party.seating(), Kind::Bundle, &self.t0, 0, seat);
            let (decoded, keys) = self.decode_bundle(roll, seat, signed).map_err(|offence| match offence {
                Offence::BadKey if theirs() => self.blame_key(seat, signed),
                _ => malformed(),
            })?;
            if decoded != *entry || !signed.claims(Kind::Bundle, &self.t0, 0, seat) {
                return Err(malformed());
            }
            to_verify.push(signed);
            to_verify.extend(roll.accepts.get(&seat).map(|(accept, _)| accept));
            peers.insert(seat, keys);
        }
        if first_forged(party.seating(), &to_verify).is_some() {
            return Err(self.blame_hub(Offence::Signature, phase::BOOK));
        }
        let (own_bundle, roll, entries) = (mine.body_hash(), roll.hash, book.entries);
        Ok(AgreedBook { t1, own_bundle, topology, seats, peers, bundles, roll, entries })
    }

    /// Whose bundles a seat needs: its neighbours' to share masks, the aggregator's to seal openings,
    /// and everyone's to check a sum.
    fn wanted_bundles(&self, topology: &Topology, seat: Seat) -> Vec<Seat> {
        if self.plan.params.is_verified() {
            return topology.seats().to_vec();
        }
        let mut wanted: BTreeSet<Seat> = topology.neighbours(seat).into_iter().collect();
        wanted.insert(self.hub());
        wanted.remove(&seat);
        wanted.into_iter().collect()
    }

    fn blame_key(&self, seat: Seat, signed: &Signed) -> Abort {
        Blame::seat(seat, Offence::BadKey).with(signed.bytes()).at(self.plan.setup_step(phase::BOOK))
    }

    /// Step 5: shares of every secret to every neighbour, and what came from them.
    async fn deal(
        &mut self,
        party: &mut Party,
        book: &AgreedBook,
        own: &[RoundKeys],
    ) -> Result<BTreeMap<Seat, HeldDeal>, Abort> {
        let (plan, me) = (self.plan, party.seat());
        let step = plan.setup_step(phase::DEAL);
        party.progress(step);
        let neighbours = book.topology.neighbours(me);
        let dealing = deal_out(party, plan, book, own);
        let until = party.now().plus(plan.step_ms);
        // Neighbours deal to each other at once: nobody waits for a window before it reads.
        for (seat, body) in dealing.messages {
            party.post(seat, step, body)?;
        }
        let mut collector = Collector::new(step, plan.caps().deal(), neighbours, until);
        let mut held = BTreeMap::from([(me, dealing.mine)]);
        while let Some((dealer, bytes)) = collector.next(party, &mut self.complaints).await? {
            let keys = dealing.opening_keys.get(&dealer).map_or(&[][..], Vec::as_slice);
            match take_deal(party, plan, book, dealer, &bytes, keys) {
                Ok(deal) => {
                    held.insert(dealer, deal);
                }
                Err(offence) => self.complaints.push(Blame::seat(dealer, offence)),
            }
        }
        self.complaints.extend(collector.missing().into_iter().map(|s| Blame::seat(s, Offence::MissingDeal)));
        Ok(held)
    }

    /// Steps 6 and 7: who holds what, and from that who takes part.
    async fn agree_ready(
        &mut self,
        party: &mut Party,
        book: &AgreedBook,
        held: &BTreeMap<Seat, HeldDeal>,
    ) -> Result<(Vec<Seat>, Tally), Abort> {
        let (plan, me) = (self.plan, party.seat());
        party.progress(plan.setup_step(phase::DEALT));
        let bad = |s: &Seat| self.complaints.contains(&Blame::seat(*s, Offence::BadDeal));
        let neighbours = book.topology.neighbours(me);
        let complaints = neighbours.iter().filter(|s| !held.contains_key(s)).map(|s| (*s, bad(s))).collect();
        let roots = held.values().map(|deal| deal.root.clone()).collect();
        let mine = Signed::new(party, Kind::Dealt, &book.t1, 0, &Dealt { roots, complaints });
        let until = party.now().plus(plan.step_ms);
        let (ready, tally) = if me == self.hub() {
            let (participants, tally) = self.count_dealt(party, book, mine).await?;
            let ready = Signed::new(party, Kind::Ready, &book.t1, 0, &Ready { participants });
            let until = party.now().plus(plan.step_ms);
            let others = party.others();
            spread(party, plan.setup_step(phase::READY), others, ready.bytes(), until).await?;
            (ready, tally)
        } else {
            party.send(self.hub(), plan.setup_step(phase::DEALT), mine.bytes(), until).await?;
            let (step, cap) = (plan.setup_step(phase::READY), plan.caps().ready());
            let ready = from_aggregator(party, self.hub(), step, cap, until.plus(3 * plan.step_ms)).await?;
            (ready, Tally::default())
        };
        Ok((self.check_ready(party, book, &ready)?, tally))
    }

    fn check_ready(&self, party: &Party, book: &AgreedBook, ready: &Signed) -> Result<Vec<Seat>, Abort> {
        if !ready.is(party.seating(), Kind::Ready, &book.t1, 0, self.hub()) {
            return Err(self.blame_hub(Offence::Signature, phase::READY));
        }
        let malformed = || self.blame_hub(Offence::Malformed, phase::READY);
        let participants = ready.open::<Ready>().ok_or_else(malformed)?.participants;
        let sorted = participants.windows(2).all(|pair| pair[0] < pair[1]);
        if !sorted || !participants.iter().all(|s| book.seats.contains(s)) || !participants.contains(&self.hub()) {
            return Err(malformed());
        }
        if !participants.contains(&party.seat()) {
            return Err(Abort::Missing { step: self.plan.setup_step(phase::DEALT), seats: vec![party.seat()] });
        }
        self.quorum(phase::READY, participants.len())?;
        let holders = book.topology.holders(party.seat()).iter().filter(|s| participants.contains(s)).count();
        let need = self.plan.params.threshold();
        if holders < usize::from(need) {
            return Err(Abort::Quorum { step: self.plan.setup_step(phase::READY), have: holders as u16, need });
        }
        Ok(participants)
    }

    /// At the aggregator: takes part who has said what it holds and whose own secrets at least t
    /// others hold under one root.
    async fn count_dealt(
        &mut self,
        party: &mut Party,
        book: &AgreedBook,
        mine: Signed,
    ) -> Result<(Vec<Seat>, Tally), Abort> {
        let (plan, me) = (self.plan, party.seat());
        let from: Vec<Seat> = book.seats.iter().copied().filter(|s| *s != me).collect();
        let until = party.now().plus(2 * plan.step_ms);
        let mut collector = Collector::new(plan.setup_step(phase::DEALT), plan.caps().dealt(), from, until);
        let mut tally = Tally::default();
        tally.count(party, book, mine, &mut self.complaints);
        while let Some((seat, bytes)) = collector.next(party, &mut self.complaints).await? {
            match Signed::read(&bytes) {
                Some(s) if s.is(party.seating(), Kind::Dealt, &book.t1, 0, seat) => {
                    tally.count(party, book, s, &mut self.complaints);
                }
                _ => self.complaints.push(Blame::seat(seat, Offence::Malformed)),
            }
        }
        let participants = tally.participants(usize::from(plan.params.threshold()));
        self.quorum(phase::DEALT, if participants.contains(&me) { participants.len() } else { 0 })?;
        Ok((participants.into_iter().collect(), tally))
    }
}

/// Which seats hold which dealers' shares.
#[derive(Default)]
struct Tally {
    roots: BTreeMap<Seat, (Signed, Hash)>,
    holders: BTreeMap<Seat, BTreeSet<Seat>>,
    /// What each seat said.
    dealt: BTreeMap<Seat, Signed>,
    equivocators: BTreeSet<Seat>,
}

impl Tally {
    /// A seat speaks of its neighbours, of each once: each complaint is kept with all that was said.
    fn count(&mut self, party: &Party, book: &AgreedBook, signed: Signed, blames: &mut Vec<Blame>) {
        let most = book.topology.holders(signed.seat).len();
        let fits = |dealt: &Dealt| dealt.roots.len() <= most && dealt.complaints.len() <= most;
        let Some(dealt) = signed.open::<Dealt>().filter(fits) else {
            return blames.push(Blame::seat(signed.seat, Offence::Malformed).with(signed.bytes()));
        };
        for root in dealt.roots {
            let dealer = root.seat;
            let known = self.roots.get(&dealer);
            if known.is_none_or(|(k, _)| *k != root) {
                let Some(body) = root.open::<Root>() else { continue };
                // A root that its dealer never signed is the holder's invention and counts for nothing.
                if !root.is(party.seating(), Kind::Root, &book.t1, 0, dealer) {
                    continue;
                }
                if let Some((first, hash)) = known {
                    if *hash != body.root {
                        self.equivocators.insert(dealer);
                        let blame = Blame::seat(dealer, Offence::Equivocation);
                        blames.push(blame.with(first.bytes()).with(root.bytes()));
                    }
                    continue;
                }
                self.roots.insert(dealer, (root, body.root));
            }
            self.holders.entry(dealer).or_default().insert(signed.seat);
        }
        for (dealer, bad) in dealt.complaints {
            let offence = if bad { Offence::BadDeal } else { Offence::MissingDeal };
            blames.push(Blame::seat(dealer, offence).with(signed.bytes()));
        }
        self.dealt.insert(signed.seat, signed);
    }

    /// The largest set of seats that spoke, did not equivocate, and are each held by `need` of the set.
    fn participants(&self, need: usize) -> BTreeSet<Seat> {
        let mut set: BTreeSet<Seat> = self.dealt.keys().copied().filter(|s| !self.equivocators.contains(s)).collect();
        loop {
            let held = |s: &Seat| self.holders.get(s).is_some_and(|h| h.intersection(&set).count() >= need);
            let kept: BTreeSet<Seat> = set.iter().copied().filter(held).collect();
            if kept.len() == set.len() {
                return kept;
            }
            set = kept;
        }
    }
}
