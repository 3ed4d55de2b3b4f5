//! Cut and choose over whole deals. The dealer makes `audits + 1` deals of everything that the plan draws and commits to
//! each before anyone chooses; the parties toss for one, every other is opened to all of them and derived again. A dealer
//! that deals wrong in any of them is found unless the toss falls on just that one: with probability `a / (a + 1)`.
//!
//! A commitment is the head of a chain over the tiles, `c_t = H(corrections_t, c_(t+1))`, so that each tile's corrections
//! are held to it as they come.

use tacit_crypto::{Secret, Transcript};
use tacit_protocol::{Abort, Blame, Offence, Party};
use tacit_types::{Code, Fault, Hash, Seat, Step};

use crate::deal::{DEALT, tile_corrections};
use crate::prep::StreamKey;
use crate::terms::Terms;

/// The most deals that are opened beside the one that is used.
pub const AUDITS_MAX: u8 = 7;
/// Steps of an audit: commitments to coins, coins, the opened seeds.
pub(crate) const AUDIT_ROUNDS: u32 = 3;
const SEED_BYTES: usize = 32;

/// Seeds that the dealer opens to each party.
pub(crate) const fn opening_seeds(parties: usize, audits: u64) -> u64 {
    parties as u64 * audits
}

type Seed = Secret<[u8; SEED_BYTES]>;

/// One deal of everything: a seed for each party.
pub(crate) struct Whole {
    pub seeds: Vec<Seed>,
}

impl Whole {
    pub fn keys(&self, terms: &Terms) -> Vec<StreamKey> {
        let agreed = terms.hash();
        self.seeds.iter().enumerate().map(|(i, s)| StreamKey::derive(s, &agreed, DEALT, i as u64)).collect()
    }

    /// The links of the chain, by tile, from the head on; the last is past the last tile.
    pub fn chain(&self, terms: &Terms, deal: &impl Fn(&[StreamKey], u32) -> crate::kernel::ErasedBytes) -> Vec<Hash> {
        let keys = self.keys(terms);
        let mut links = vec![Hash([0; 32])];
        for tile in (0..=terms.plan.tiles()).rev() {
            let after = links.last().copied().unwrap_or(Hash([0; 32]));
            links.push(link(&deal(&keys, tile), &after));
        }
        links.reverse();
        links
    }
}

/// One link: of a tile's corrections, and of those of all later tiles.
pub(crate) fn link(corrections: &[u8], after: &Hash) -> Hash {
    Transcript::new("tacit-mpc/1/deal").bytes(corrections).fixed(&after.0).finish()
}

fn coin_commitment(agreed: &Hash, seat: Seat, coin: &[u8]) -> Hash {
    Transcript::new("tacit-mpc/1/choice").fixed(&agreed.0).u64(seat.0.into()).bytes(coin).finish()
}

fn step(terms: &Terms, round: u32) -> Step {
    Step(terms.first_step().0 + 2 + round)
}

/// Which deal is used, from the coins in the plan's order.
fn chosen<'a>(agreed: &Hash, coins: impl Iterator<Item = &'a [u8]>, audits: usize) -> usize {
    let all = coins.fold(Transcript::new("tacit-mpc/1/chosen").fixed(&agreed.0), Transcript::bytes);
    let hash = all.finish();
    let number = hash.0.first_chunk::<8>().map_or(0, |b| u64::from_le_bytes(*b));
    // why: at most eight deals, so what the remainder prefers is below 2^-60.
    (number % (audits as u64 + 1)) as usize
}

async fn gather(
    party: &mut Party,
    terms: &Terms,
    from: &[Seat],
    step: Step,
    bytes: usize,
) -> Result<std::collections::BTreeMap<Seat, Vec<u8>>, Abort> {
    let until = terms.until(party);
    let gathered = party.gather(from, step, bytes, until).await?;
    let messages = terms.all(party, step, gathered)?;
    match messages.iter().find(|(_, m)| m.len() != bytes) {
        Some((seat, _)) => Err(Blame::seat(*seat, Offence::Malformed).at(step)),
        None => Ok(messages),
    }
}

/// The parties' toss, as a party or the dealer sees it. A party tosses a coin of its own.
async fn toss(party: &mut Party, terms: &Terms) -> Result<usize, Abort> {
    let (me, agreed) = (party.seat(), terms.hash());
    let own = terms.parties.contains(&me).then(|| party.rng().bytes::<SEED_BYTES>());
    let to: Vec<Seat> = terms.parties.iter().copied().chain([terms.dealer]).filter(|s| *s != me).collect();
    let from: Vec<Seat> = terms.parties.iter().copied().filter(|s| *s != me).collect();
    if let Some(coin) = &own {
        for seat in &to {
            party.post(*seat, step(terms, 0), coin_commitment(&agreed, me, coin).0.to_vec())?;
        }
    }
    let commitments = gather(party, terms, &from, step(terms, 0), SEED_BYTES).await?;
    if let Some(coin) = &own {
        for seat in &to {
            party.post(*seat, step(terms, 1), coin.to_vec())?;
        }
    }
    let coins = gather(party, terms, &from, step(terms, 1), SEED_BYTES).await?;
    for (seat, coin) in &coins {
        if commitments.get(seat).map(Vec::as_slice) != Some(&coin_commitment(&agreed, *seat, coin).0[..]) {
            return Err(Blame::seat(*seat, Offence::BadOpening).at(step(terms, 1)));
        }
    }
    let in_order = terms.parties.iter().map(|s| match &own {
        Some(coin) if *s == me => &coin[..],
        _ => coins.get(s).map(Vec::as_slice).unwrap_or_default(),
    });
    Ok(chosen(&agreed, in_order, terms.plan.audits()))
}

/// The dealer's side, once seeds and heads are sent: learns which deal is used and opens the others.
pub(crate) async fn open(party: &mut Party, terms: &Terms, deals: &[Whole]) -> Result<usize, Abort> {
    let used = toss(party, terms).await?;
    let mut body = Vec::new();
    for (_, deal) in deals.iter().enumerate().filter(|(i, _)| *i != used) {
        deal.seeds.iter().for_each(|s| body.extend_from_slice(s.expose_secret()));
    }
    for seat in &terms.parties {
        party.post(*seat, step(terms, 2), body.clone())?;
    }
    Ok(used)
}

/// A party's side: the toss, and every deal that is not used derived again. Gives the used one's seed and head.
pub(crate) async fn choose(
    party: &mut Party,
    terms: &Terms,
    me: usize,
    seeds: Vec<Seed>,
    heads: &[Hash],
) -> Result<(Seed, Hash), Abort> {
    let used = toss(party, terms).await?;
    let (n, last) = (terms.parties.len(), step(terms, 2));
    let bytes = terms.plan.audits() * n * SEED_BYTES;
    let mut opened = gather(party, terms, &[terms.dealer], last, bytes).await?;
    let opened = opened.remove(&terms.dealer).unwrap_or_default();
    let bad = || Blame::seat(terms.dealer, Offence::BadDeal).at(last);
    let unused = seeds.iter().zip(heads).enumerate().filter(|(i, _)| *i != used);
    for ((_, (own, head)), body) in unused.zip(opened.chunks_exact(n * SEED_BYTES)) {
        let (all, _) = body.as_chunks::<SEED_BYTES>();
        if all.get(me) != Some(own.expose_secret()) {
            return Err(bad());
        }
        let deal = Whole { seeds: all.iter().map(|s| Secret::new(*s)).collect() };
        let chain = deal.chain(terms, &|keys, tile| tile_corrections(&terms.plan, keys, tile));
        if chain.first() != Some(head) {
            return Err(bad());
        }
    }
    let missing = || Abort::Local(Fault::new(Code::JobInternal, "no deal was chosen"));
    let head = heads.get(used).copied().ok_or_else(missing)?;
    Ok((seeds.into_iter().nth(used).ok_or_else(missing)?, head))
}
