//! Money at the coordinator: it follows its own log with the ledger that everyone has, refuses what a verifier would
//! find wrong, and issues what the end of a period calls for. It decides no amount.

mod close;
mod state;

use std::collections::BTreeMap;
use std::sync::Arc;

use tacit_archive::Folder;
use tacit_engine::FromCoordinator;
use tacit_governance::{PartyCard, PartyRole, SignedContract};
use tacit_receipts::cases::Said;
use tacit_receipts::merkle::leaf_hash;
use tacit_receipts::money::PricePlan;
use tacit_receipts::verify::CLOCK_SKEW_MILLIS_MAX;
use tacit_receipts::{Leaf, Memo, Money};
use tacit_types::wire::Blob;
use tacit_types::{Code, ContractId, Fault, Hash, NodeId};
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::daemon::Shared;
use crate::limits::{BOOKS_PAUSE, LATE_WAIT, MEMO_BYTES_MAX};
use crate::log::{AppendRequest, Content};
use crate::roster::Party;

pub(crate) use close::{close, go_on};
use state::{State, hash_of, meaning, sealed_bytes};

/// The coordinator's books.
pub(crate) struct Books {
    /// The log that they follow, and how much of it is durable.
    folder: Folder,
    durable: watch::Receiver<u64>,
    state: Arc<Mutex<State>>,
    /// Held while a close is under way.
    closing: Arc<Mutex<()>>,
    under_way: Slot,
    /// The same for memos, by node: each follows those of its own node alone.
    memos_under_way: std::sync::Mutex<BTreeMap<NodeId, Slot>>,
}

/// A party's statement that the log has been given and that is not durable yet, by leaf hash: until it is, no other is judged.
type Slot = Arc<Mutex<Option<Hash>>>;

impl Books {
    /// The books of a log, of which nothing is read yet.
    pub(crate) fn new(origin: &str, folder: Folder, durable: watch::Receiver<u64>) -> Self {
        Self {
            folder,
            durable,
            state: Arc::new(Mutex::new(State::new(origin))),
            closing: Arc::default(),
            under_way: Slot::default(),
            memos_under_way: std::sync::Mutex::default(),
        }
    }

    /// The log as far as it is durable. It is read a bundle at a time, and whoever else waits has a turn in between; what
    /// was read stays read, whether the caller stays or a later bundle fails.
    ///
    /// # Errors
    /// `log.corrupt` when it cannot be read.
    async fn whole(&self) -> Result<OwnedMutexGuard<State>, Fault> {
        loop {
            let mut state = self.state.clone().lock_owned().await;
            let size = *self.durable.borrow();
            if state.next >= size {
                return Ok(state);
            }
            let folder = self.folder.clone();
            let follow = move || state.follow(&folder, size);
            spawn_blocking(follow).await.map_err(|e| Fault::new(Code::Internal, e.to_string()))??;
        }
    }

    /// Reads the log as it grows, from the start of the process on, so that nobody who says something waits for all of it.
    async fn read_ahead(&self) {
        let mut durable = self.durable.clone();
        loop {
            durable.borrow_and_update();
            if let Err(fault) = self.whole().await.map(drop) {
                tracing::warn!(%fault, "the books cannot read the log; they try again");
            } else if durable.changed().await.is_err() {
                return;
            }
            sleep(BOOKS_PAUSE).await;
        }
    }

    /// The slot of what a party says, whose turn it is after what was said before it.
    fn slot(&self, node: &NodeId, words: &Words) -> Slot {
        match words {
            Words::Memo(_) => {
                let mut slots = self.memos_under_way.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                slots.entry(*node).or_default().clone()
            }
            Words::Money(_) | Words::Case(_) => self.under_way.clone(),
        }
    }
}

/// Looks at the log as far as it is durable.
///
/// # Errors
/// `log.corrupt` when it cannot be read; `look`'s own.
async fn with_log<T>(shared: &Shared, look: impl FnOnce(&State) -> Result<T, Fault>) -> Result<T, Fault> {
    look(&*shared.books.whole().await?)
}

/// Keeps the books at the log's end for as long as the daemon runs.
pub(crate) async fn read_ahead(shared: Arc<Shared>) {
    shared.books.read_ahead().await;
}

/// What a party says.
enum Words {
    Money(Box<Money>),
    Case(Box<Said>),
    Memo(Memo),
}

impl Words {
    /// Whether the same, once it stands at a place, is no news. A step is, as long as no other came after it.
    fn is_news_no_more(&self, state: &State, place: u64) -> bool {
        let Words::Case(said) = self else { return true };
        let Said::Goes(step) = said.as_ref() else { return true };
        let last = state.cases.get(step.case.index).and_then(|case| case.steps.last());
        last.is_some_and(|(leaf, ..)| *leaf == place)
    }
}

/// Whom a case is about and who decides it are enrolled: else nobody could ever answer.
fn enrolled(shared: &Shared, said: &Said) -> Result<(), Fault> {
    let Said::Opens(_, opening) = said else { return Ok(()) };
    let roster = shared.roster();
    match opening.about.iter().chain([&opening.decider]).find(|key| roster.by_node(key).is_none()) {
        Some(stranger) => Err(Fault::new(Code::ReceiptPartyUnknown, format!("{} is not enrolled", stranger.short()))),
        None => Ok(()),
    }
}

/// A node's memos have numbers without gaps, so that it knows by the last of them how many there are; a hole is closed first. They
/// have no more than [`MEMO_BYTES_MAX`] together: beyond, they carry nothing.
fn in_turn(state: &State, node: &NodeId, memo: &Memo) -> Result<(), Fault> {
    let (whole, bytes) = state.memos.get(node).map_or((0, 0), |noted| (noted.whole, noted.bytes));
    let next = whole.saturating_add(1);
    if memo.number != next {
        return Err(Fault::new(Code::ReceiptSequenceGap, format!("memo {}; the next is {next}", memo.number)));
    }
    match sealed_bytes(memo) > 0 && bytes.saturating_add(sealed_bytes(memo)) > MEMO_BYTES_MAX {
        true => Err(Fault::new(Code::LogFull, format!("memos of this node carry {bytes} of {MEMO_BYTES_MAX} bytes"))),
        false => Ok(()),
    }
}

/// Who is told something to be remembered has data: nobody else notes.
fn notes(card: &PartyCard) -> Result<(), Fault> {
    match card.role {
        PartyRole::Partner => Ok(()),
        _ => Err(Fault::new(Code::NetRefused, format!("{} has no node over data, and no memos", card.name))),
    }
}

/// Takes a party's statement of money or of a case, or a node's memo. The answer comes once it is in a published checkpoint; what
/// the party has said before is answered with its leaf.
///
/// # Errors
/// What a verifier would find wrong with the statement; `receipt.pending` while it, or one before it, waits for the log.
pub(crate) async fn say(shared: &Arc<Shared>, party: &Party, statement: Blob) -> Result<FromCoordinator, Fault> {
    let (envelope, words) = match Leaf::read(&statement)? {
        Leaf::Money(envelope, money) => (envelope, Words::Money(money)),
        Leaf::Case(envelope, said) => (envelope, Words::Case(said)),
        Leaf::Memo(memo) => {
            notes(&party.card)?;
            memo.body().check(shared.log_key.name())?;
            (memo.envelope().clone(), Words::Memo(memo.into_body()))
        }
        _ => return Err(Fault::new(Code::ReceiptMalformed, "it is no statement of money or of a case, and no memo")),
    };
    let keys = shared.roster().keys().clone();
    if keys.speaker(&envelope.signer, shared.clock.now()) != Some(party.row.node) {
        return Err(Fault::new(Code::NetRefused, format!("it is signed by {}", envelope.signer.short())));
    }
    let envelope = keys.spoken(&envelope).into_owned();
    let now = shared.clock.now();
    let (early, late) =
        (now.plus(CLOCK_SKEW_MILLIS_MAX) < envelope.issued_at, envelope.issued_at.plus(CLOCK_SKEW_MILLIS_MAX) < now);
    if early || late {
        return Err(Fault::new(Code::ReceiptTime, format!("it is of {}; here it is {now}", envelope.issued_at)));
    }
    match &words {
        Words::Money(money) => {
            if let Money::Plan(plan) = money.as_ref() {
                plan_of_contract(shared, plan).await?;
            }
        }
        Words::Case(said) => enrolled(shared, said)?,
        Words::Memo(_) => {}
    }
    let pending = |what: &str| Fault::new(Code::ReceiptPending, what);
    let slot = shared.books.slot(&party.row.node, &words);
    let mut under_way = slot.lock().await;
    if let Some(hash) = *under_way {
        if shared.store.leaf_place(&hash).await?.is_none() {
            return Err(pending("a statement before it waits for the log; say it again"));
        }
        *under_way = None;
    }
    let key = (envelope.signer, meaning(&envelope));
    let judge = |state: &State| match state.said.get(&key) {
        Some(place) if words.is_news_no_more(state, *place) => Ok(Some(*place)),
        _ => match &words {
            Words::Money(money) => state.ledger.allows(state.next, &envelope, money).map(|()| None),
            Words::Memo(memo) => in_turn(state, &envelope.signer, memo).map(|()| None),
            Words::Case(said) => {
                state.cases.allows(&envelope, said, &|leaf| hash_of(&state.hashes, leaf)).map(|()| None)
            }
        },
    };
    if let Some(place) = with_log(shared, judge).await? {
        let published = shared.log.published.borrow().as_deref().map_or(0, |c| c.checkpoint().size);
        return if place < published {
            Ok(FromCoordinator::Said(place))
        } else {
            Err(pending("it waits for witnesses"))
        };
    }
    *under_way = Some(leaf_hash(&statement));
    let (reply, placed) = oneshot::channel();
    let content = Content::Statement { statement, reply };
    // why: the log's task ends with the process, and the party asks again then.
    let _ = shared.appends.send(AppendRequest { nodes: Vec::new(), content }).await;
    match tokio::time::timeout(LATE_WAIT, placed).await {
        Ok(Ok(place)) => {
            *under_way = None;
            Ok(FromCoordinator::Said(place))
        }
        _ => Err(pending("it waits for witnesses; say it again")),
    }
}

/// The signatures over the price plan that a contract names, as the log has them: without them its owners refuse jobs.
///
/// # Errors
/// `log.corrupt` when the log cannot be read.
pub(crate) async fn price_plan(shared: &Shared, id: &ContractId, signatures: &[Blob]) -> Result<Vec<Blob>, Fault> {
    let contract = SignedContract::collect(signatures.iter().map(|s| s.0.as_slice()));
    // Of one that cannot be read its owners say so.
    if contract.map_or(true, |contract| contract.body().price_plan.is_none()) {
        return Ok(Vec::new());
    }
    with_log(shared, |state| Ok(state.plans.get(id).cloned().unwrap_or_default())).await
}

/// A plan is for a contract that is kept here and names its terms, and its parties are enrolled: so a contract has one.
async fn plan_of_contract(shared: &Shared, plan: &PricePlan) -> Result<(), Fault> {
    let signatures = shared.store.contract(&plan.contract).await?;
    let short = plan.contract.short();
    if signatures.is_empty() {
        return Err(Fault::new(Code::RefusedContractUnknown, format!("contract {short}")));
    }
    let contract = SignedContract::collect(signatures.iter().map(|s| s.0.as_slice()))?;
    if contract.body().price_plan != Some(plan.terms()) {
        let what = format!("contract {} names other terms, or none", contract.body().name);
        return Err(Fault::new(Code::ReceiptPlan, what));
    }
    let roster = shared.roster();
    match plan.signers().find(|signer| roster.by_node(signer).is_none()) {
        Some(stranger) => Err(Fault::new(Code::ReceiptPartyUnknown, format!("{} is not enrolled", stranger.short()))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_crypto::{Secret, SigningKey, Statement};
    use tacit_receipts::Edge;
    use tacit_receipts::tiles::{TILE_WIDTH, entries_path};
    use tacit_types::UnixMillis;

    /// The log is read before anybody asks, a failed look loses nothing of what was read, and the next goes on from there.
    #[tokio::test]
    async fn the_books_read_ahead_and_keep_what_they_read() {
        let home = tempfile::TempDir::new().unwrap();
        let folder = Folder::new(home.path().to_owned());
        let key = SigningKey::from_seed(&Secret::new([1; 32]));
        let memo = |number| {
            let body = Memo { version: 1, origin: "log.example".into(), number, tag: Hash([7; 32]), sealed: None };
            Statement::sign(&key, "memo", UnixMillis(9_000), None, body).bytes().to_vec()
        };
        let leaves: Vec<Vec<u8>> = (1..=2 * TILE_WIDTH + 8).map(memo).collect();
        let (first, rest) = leaves.split_at(2 * TILE_WIDTH as usize);
        let mut edge = Edge::default();
        let mut write = |leaves: &[Vec<u8>]| {
            let files = edge.append(leaves).unwrap().into_iter().map(|file| (file.path, file.bytes));
            folder.write_all(&files.collect::<Vec<_>>()).unwrap();
        };
        write(first);
        let (grow, durable) = watch::channel(first.len() as u64);
        let books = Arc::new(Books::new("log.example", folder.clone(), durable));
        let second = home.path().join(entries_path(1, TILE_WIDTH));
        let kept = std::fs::read(&second).unwrap();
        std::fs::remove_file(&second).unwrap();
        for _ in 0..2 {
            assert_eq!(books.whole().await.map(drop).unwrap_err().code, Code::LogCorrupt);
            assert_eq!(books.state.lock().await.next, TILE_WIDTH, "the bundle before it stays read");
        }
        // The first bundle is not read again: it may be gone.
        std::fs::remove_file(home.path().join(entries_path(0, TILE_WIDTH))).unwrap();
        std::fs::write(&second, kept).unwrap();
        let reader = tokio::spawn({
            let books = books.clone();
            async move { books.read_ahead().await }
        });
        let reaches = async |size: u64| {
            while books.state.lock().await.next < size {
                sleep(std::time::Duration::from_millis(10)).await;
            }
        };
        let limit = std::time::Duration::from_secs(20);
        tokio::time::timeout(limit, reaches(first.len() as u64)).await.expect("it is read without being asked");
        write(rest);
        grow.send_replace(leaves.len() as u64);
        tokio::time::timeout(limit, reaches(leaves.len() as u64)).await.expect("it reads on");
        let state = books.whole().await.unwrap();
        assert_eq!((state.next, state.memos[&key.id()].whole), (leaves.len() as u64, leaves.len() as u64));
        drop(state);
        drop(grow);
        tokio::time::timeout(limit, reader).await.expect("it ends with the log").unwrap();
    }

    /// Each node's memos are counted by what the log has, whatever other nodes note.
    #[test]
    fn memos_are_taken_in_their_order() {
        let [a, b] = [1, 2].map(|n| SigningKey::from_seed(&Secret::new([n; 32])));
        let memo = |number| Memo {
            version: 1,
            origin: "log.example".into(),
            number,
            tag: Hash([number as u8; 32]),
            sealed: None,
        };
        let mut state = State::default();
        let next = |state: &State, key: &SigningKey| {
            let taken = |number: &u64| in_turn(state, &key.id(), &memo(*number)).is_ok();
            (0..6).filter(taken).collect::<Vec<_>>()
        };
        assert_eq!((next(&state, &a), next(&state, &b)), (vec![1], vec![1]));
        for (key, number) in [(&a, 1), (&b, 1), (&a, 2)] {
            let said = Statement::sign(key, "memo", UnixMillis(9_000), None, memo(number));
            state.take(said.bytes(), &|_| None).unwrap();
            state.next += 1;
            let place = state.said.get(&(key.id(), meaning(said.envelope()))).copied();
            assert_eq!(place, Some(state.next - 1), "the same again is answered with its leaf");
        }
        assert_eq!((next(&state, &a), next(&state, &b)), (vec![3], vec![2]));
        assert_eq!(in_turn(&state, &a.id(), &memo(4)).unwrap_err().code, Code::ReceiptSequenceGap);
        // A log of before may have a hole: it is closed, and what comes then comes after the rest.
        let noted = |state: &mut State, number| state.memos.entry(a.id()).or_default().take(&memo(number));
        noted(&mut state, 5);
        assert_eq!(next(&state, &a), [3]);
        [3, 4].iter().for_each(|number| noted(&mut state, *number));
        assert!(in_turn(&state, &a.id(), &memo(6)).is_ok() && in_turn(&state, &a.id(), &memo(5)).is_err());
    }

    /// What a node's memos carry together is bounded; past it they carry nothing, and other nodes have their own bound.
    #[test]
    fn memos_of_a_node_carry_so_many_bytes() {
        let [a, b] = [1, 2].map(|n| NodeId([n; 32]));
        let memo = |number, bytes: Option<usize>| Memo {
            version: 1,
            origin: "log.example".into(),
            number,
            tag: Hash([7; 32]),
            sealed: bytes.map(|bytes| vec![1; bytes].into()),
        };
        let mut state = State::default();
        let noted = state.memos.entry(a).or_default();
        noted.take(&memo(1, Some(100)));
        noted.bytes += MEMO_BYTES_MAX - 300;
        let code =
            |node, bytes| in_turn(&state, node, &memo(if *node == a { 2 } else { 1 }, bytes)).map_err(|f| f.code);
        assert_eq!((code(&a, Some(200)), code(&a, Some(201))), (Ok(()), Err(Code::LogFull)), "one past the most");
        assert_eq!((code(&a, None), code(&b, Some(201))), (Ok(()), Ok(())));
    }

    /// A memo that waits for the log holds up those of its own node alone, and who has no data writes none.
    #[tokio::test]
    async fn nobody_waits_for_the_memos_of_another() {
        let words = || {
            Words::Memo(Memo { version: 1, origin: "log.example".into(), number: 1, tag: Hash([7; 32]), sealed: None })
        };
        let folder = Folder::new(std::path::PathBuf::new());
        let books = Books::new("log.example", folder, watch::channel(0).1);
        let [a, b] = [1, 2].map(|n| NodeId([n; 32]));
        let slot = books.slot(&a, &words());
        *slot.lock().await = Some(Hash([1; 32]));
        let held = slot.lock().await;
        assert!(books.slot(&a, &words()).try_lock().is_err());
        assert!(books.slot(&b, &words()).try_lock().is_ok_and(|other| other.is_none()));
        assert!(books.under_way.try_lock().is_ok_and(|other| other.is_none()), "nor do statements of money wait");
        drop(held);
        let card = |role| PartyCard {
            version: 1,
            name: tacit_types::Name::new("a").unwrap(),
            root: a,
            node: a,
            seal: tacit_crypto::SealPublic([7; 32]),
            witness: a,
            role,
            issued_at: UnixMillis(1),
        };
        notes(&card(PartyRole::Partner)).unwrap();
        for role in [PartyRole::Operator, PartyRole::Regulator, PartyRole::Coordinator] {
            assert_eq!(notes(&card(role)).unwrap_err().code, Code::NetRefused);
        }
    }
}
