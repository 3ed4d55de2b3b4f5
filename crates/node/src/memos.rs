//! Memos: what this node was told about the use of its data goes into the log, sealed to the node itself, and comes back from
//! there when the database is one of before.
//!
//! Told are revocations and suspensions, lists, reviews, assessments, regradings and words on them; that its owner revoked a
//! contract; that a contract takes the place of another; that an approver rejected one. All of these say no to
//! something: who forgets one admits what was stopped.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tacit_crypto::agree::derive;
use tacit_crypto::{SealKey, Statement};
use tacit_engine::{FromCoordinator, ToCoordinator};
use tacit_governance::{Order, SignedContract};
use tacit_net::Connection;
use tacit_receipts::Memo;
use tacit_receipts::memo::MEMO_SEALED_BYTES_MAX;
use tacit_types::wire::{self, Blob};
use tacit_types::{Code, ContractId, Fault, Hash};

use crate::client;
use crate::daemon::Inner;
use crate::store::{Due, LackingRow, MemoRow, Store, Tx};

/// What is sealed is filled up to a multiple of so many bytes.
const PADDED_TO: usize = 512;
/// Where the filling begins.
const END: u8 = 0x80;
/// The pause between two looks for what is to be noted, and the longest.
const MEMO_PAUSE: Duration = Duration::from_secs(1);
const MEMO_PAUSE_MAX: Duration = Duration::from_secs(60);
/// What the tag's key is derived for.
const TAG: &[u8] = b"tacit-node-memo/1";

/// What a node was told. These bytes stand in the log for good: a new case comes last.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Told {
    /// A statement that its owner took in.
    Order(Blob),
    /// That its owner revoked a contract.
    Revoked(ContractId),
    /// That all have signed a contract which takes the place of another.
    Amended(ContractId),
    /// That an approver rejected a contract: the statement.
    Rejected(ContractId, Blob),
}

impl Told {
    /// What a memo carries of it.
    pub fn bytes(&self) -> Vec<u8> {
        wire::encode(self)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        wire::decode(bytes).ok()
    }
}

/// The tag of what a node was told: who does not have the node's key cannot try what it may be.
pub fn tag(key: &SealKey, told: &[u8]) -> Hash {
    Hash(*derive::<32>(TAG, key.to_bytes().expose_secret(), &[told]).expose_secret())
}

/// Seals what a memo carries; `None` for what is too long.
pub(crate) fn sealed(key: &SealKey, rng: &mut tacit_crypto::Rng, origin: &str, told: &[u8]) -> Option<Vec<u8>> {
    let mut padded = told.to_vec();
    padded.push(END);
    padded.resize(padded.len().next_multiple_of(PADDED_TO), 0);
    key.public().seal(rng, &context(origin), &padded).filter(|bytes| bytes.len() <= MEMO_SEALED_BYTES_MAX)
}

/// What a memo carries, if this key opens it and its tag is of that.
fn opened(key: &SealKey, memo: &Memo) -> Option<Vec<u8>> {
    let mut told = key.open(&context(&memo.origin), memo.sealed.as_deref()?)?;
    let end = told.iter().rposition(|byte| *byte != 0)?;
    if told.get(end) != Some(&END) {
        return None;
    }
    told.truncate(end);
    (tag(key, &told) == memo.tag).then_some(told)
}

fn context(origin: &str) -> Vec<u8> {
    [TAG, &[0], origin.as_bytes()].concat()
}

/// Why no job is admitted: something that the log shows to have been told is neither here nor accepted as lost.
///
/// # Errors
/// `refused.ledger_behind`; those of the database.
pub async fn nothing_lacks(store: &Store) -> Result<(), Fault> {
    let lacking = store.lacking().await?.into_iter().filter(|row| row.accepted.is_none()).count();
    match lacking {
        0 => Ok(()),
        n => {
            let what = format!(
                "{n} of what this node was told (a revocation, a list, a review) stands in the log by hash alone and is not \
                 here; `tacit list lacking` says what to do"
            );
            Err(Fault::new(Code::RefusedLedgerBehind, what))
        }
    }
}

impl Inner {
    /// As [`Inner::caught_up`], and holds what needs to know all that the node was told.
    ///
    /// # Errors
    /// `refused.ledger_behind` with what is missing.
    pub(crate) async fn knows_all(&self) -> Result<(), Fault> {
        self.caught_up().await?;
        let connection = self.to_coordinator.borrow().clone();
        let waiting = self.store.lacking().await?.into_iter().filter(|row| row.accepted.is_none());
        for LackingRow { number, tag, told, .. } in waiting {
            let Some(told) = told.as_deref().and_then(Told::read) else { continue };
            let contract = self.needs(connection.as_ref(), &told).await?;
            let mut tx = self.store.begin().await?;
            if again(&mut tx, &told, contract).await? {
                tx.not_lacking(&tag).await?;
                tx.commit().await?;
                tracing::info!(number, "what this node was told before is here again");
            }
        }
        nothing_lacks(&self.store).await
    }

    /// Notes what this node is told as it comes, less and less often while the coordinator does not take it.
    pub(crate) async fn keep_memos(self: Arc<Self>) {
        let mut pause = MEMO_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            let before = pause;
            pause = if self.note_told().await { MEMO_PAUSE } else { (pause * 2).min(MEMO_PAUSE_MAX) };
            if before < MEMO_PAUSE_MAX && pause == MEMO_PAUSE_MAX {
                tracing::warn!(
                    "the coordinator takes no memos: an older database would forget what this node was told since; \
                     `tacit doctor` says how much"
                );
            }
        }
    }

    /// Notes in the log what this node was told. Whether nothing is left to note.
    async fn note_told(&self) -> bool {
        let connection = self.to_coordinator.borrow().clone();
        let (Some(connection), true) = (connection, self.is_caught_up()) else { return true };
        let noted = async {
            self.prepare_memos().await?;
            for row in self.store.memos_unlogged().await? {
                let (number, tag) = (row.number, row.tag);
                self.say_memo(&connection, row).await?;
                let mut tx = self.store.begin().await?;
                tx.memo_logged(number, &tag).await?;
                tx.commit().await?;
            }
            Ok::<_, Fault>(self.store.memos_waiting().await? == 0)
        };
        noted.await.inspect_err(|fault| tracing::debug!(%fault, "what this node was told is not in the log yet"))
            == Ok(true)
    }

    /// Makes memos of what waits for it: numbered and sealed before anything is sent, so that the same is sent again.
    pub(crate) async fn prepare_memos(&self) -> Result<(), Fault> {
        let (key, origin) = (&self.keys.seal, &self.config.coordinator.origin);
        for row in self.store.memos_due().await? {
            let mut rng = crate::os_rng()?;
            let mut tx = self.store.begin().await?;
            for told in self.told(&mut tx, row.due).await? {
                let told = told.bytes();
                match tx.put_memo(&tag(key, &told), sealed(key, &mut rng, origin, &told).as_deref()).await {
                    Err(fault) if fault.code == Code::ArgsInvalid => {
                        tracing::warn!(%fault, "what this node was told is not noted in the log");
                    }
                    done => done?,
                }
            }
            tx.memo_done(row.id).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn told(&self, tx: &mut Tx<'_>, due: Due) -> Result<Vec<Told>, Fault> {
        Ok(match due {
            Due::Order(statement) => vec![Told::Order(Blob(statement))],
            Due::Revoked(contract) => vec![Told::Revoked(contract)],
            Due::Contract(id) => {
                let contracts = tx.contracts().await?;
                contracts.iter().find(|c| c.id() == id).map_or_else(Vec::new, |c| said_of(c, &self.keys.root.id()))
            }
        })
    }

    /// Has the coordinator put a memo into the log. The same memo again is answered with its leaf.
    async fn say_memo(&self, connection: &Connection, row: MemoRow) -> Result<(), Fault> {
        let memo = Memo {
            version: 1,
            origin: self.config.coordinator.origin.clone(),
            number: row.number,
            tag: row.tag,
            sealed: row.sealed.map(Into::into),
        };
        let subject = format!("memo/{}/{}", self.keys.node_id, row.number);
        let said = Statement::sign(&self.signing, &subject, crate::now(), None, memo);
        let request = ToCoordinator::Say(Blob(said.bytes().to_vec()));
        match client::ask(connection, &self.ledger, &request).await? {
            FromCoordinator::Said(_) => Ok(()),
            _ => Err(Fault::new(Code::NetFrame, "the coordinator answered something else than was asked")),
        }
    }

    /// Takes a memo of this node from the log: what it carries is told again where this database has not noted it. Whether
    /// it had not.
    ///
    /// # Errors
    /// Those of the database, and of the connection where a contract is to be had.
    pub(crate) async fn take_memo(&self, connection: Option<&Connection>, memo: &Memo) -> Result<bool, Fault> {
        if memo.check(&self.config.coordinator.origin).is_err() {
            return Ok(false);
        }
        let bytes = opened(&self.keys.seal, memo);
        let told = bytes.as_deref().and_then(Told::read);
        let mut tx = self.store.begin().await?;
        let news = !tx.has_memo(&memo.tag).await?;
        let mut contract = None;
        if let (true, Some(told)) = (news, &told) {
            // why: the transaction holds the one connection of the database.
            drop(tx);
            contract = self.needs(connection, told).await?;
            tx = self.store.begin().await?;
        }
        if news {
            let here = match &told {
                Some(told) => again(&mut tx, told, contract).await?,
                None => false,
            };
            if !here {
                tx.put_lacking(memo.number, &memo.tag, told.and(bytes).as_deref()).await?;
            }
        }
        tx.memo_logged(memo.number, &memo.tag).await?;
        tx.commit().await?;
        Ok(news)
    }

    /// The contract that what was told is about, where it takes one: as it is here, and else as the coordinator has it.
    async fn needs(&self, connection: Option<&Connection>, told: &Told) -> Result<Option<SignedContract>, Fault> {
        let (Told::Amended(id) | Told::Rejected(id, _)) = told else { return Ok(None) };
        let mut known = self.store.contracts().await?.into_iter().find(|c| c.id() == *id);
        if known.as_ref().is_some_and(|c| c.missing().is_empty()) {
            return Ok(known);
        }
        let Some(connection) = connection else { return Ok(known) };
        match client::ask(connection, &self.ledger, &ToCoordinator::Contract(*id)).await {
            Ok(FromCoordinator::Contract(statements)) if !statements.is_empty() => {
                let theirs = SignedContract::collect(statements.iter().map(|s| s.0.as_slice()));
                if let Some(theirs) = theirs.ok().filter(|c| c.id() == *id) {
                    match &mut known {
                        Some(known) => known.merge(&theirs)?,
                        None => known = Some(theirs),
                    }
                }
            }
            Err(fault) if connection.end().is_some() => return Err(fault),
            _ => {}
        }
        Ok(known)
    }
}

/// What is to be noted of a contract that this owner has signed: that it takes the place of another, and who rejected it.
fn said_of(contract: &SignedContract, owner: &tacit_types::NodeId) -> Vec<Told> {
    let id = contract.id();
    let amends = contract.body().lifecycle.as_ref().is_some_and(|l| l.amends.is_some());
    let whole = amends && contract.signed_by(owner) && contract.missing().is_empty();
    let no = contract.approvals().iter().filter(|a| contract.rejected_by(&a.signer()));
    let rejected = no.map(|said| Told::Rejected(id, Blob(said.bytes().to_vec())));
    whole.then_some(Told::Amended(id)).into_iter().chain(rejected).collect()
}

/// Takes in again what this node was told. Whether that is done.
async fn again(tx: &mut Tx<'_>, told: &Told, contract: Option<SignedContract>) -> Result<bool, Fault> {
    match (told, contract) {
        (Told::Order(statement), _) => match Order::read(statement) {
            Ok(order) => match tx.put_order_again(&order, crate::now()).await {
                Err(fault) if fault.code == Code::ArgsInvalid => Ok(false),
                done => done.map(|()| true),
            },
            Err(_) => Ok(false),
        },
        (Told::Revoked(contract), _) => tx.revoke(contract, crate::now()).await.map(|()| true),
        (Told::Amended(_), Some(contract)) if contract.missing().is_empty() => {
            tx.put_contract(&contract).await.map(|()| true)
        }
        (Told::Rejected(_, said), Some(contract)) => {
            let all = contract.statements().map(|(_, bytes)| bytes).chain([said.0.as_slice()]);
            match SignedContract::collect(all) {
                Ok(rejected) => tx.put_contract(&rejected).await.map(|()| true),
                Err(_) => Ok(false),
            }
        }
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_crypto::{Rng, Secret};

    fn memo(key: &SealKey, told: &[u8]) -> Memo {
        let mut rng = Rng::from_seed(&Secret::new([5; 32]));
        let sealed = sealed(key, &mut rng, "log.example", told).map(Into::into);
        Memo { version: 1, origin: "log.example".into(), number: 1, tag: tag(key, told), sealed }
    }

    #[test]
    fn a_memo_is_opened_by_who_noted_it_alone() {
        let [own, other] = [1, 2].map(|n| SealKey::generate(&mut Rng::from_seed(&Secret::new([n; 32]))));
        for length in [0, 1, 4, 510, 511, 512, 1000] {
            // What ends like a filling is told from one.
            for told in [vec![7; length], vec![0; length], vec![END; length]] {
                let memo = memo(&own, &told);
                assert_eq!(opened(&own, &memo), Some(told.clone()), "{length}");
                assert_eq!(memo.sealed.as_ref().unwrap().len() % PADDED_TO, tacit_crypto::seal::OVERHEAD);
                assert_eq!(opened(&other, &memo), None);
                assert_ne!(tag(&own, &told), tag(&other, &told), "nobody else can try what it may be");
                let elsewhere = Memo { origin: "log.other".into(), ..memo.clone() };
                assert_eq!(opened(&own, &elsewhere), None);
                let another = Memo { tag: tag(&own, b"another"), ..memo };
                assert_eq!(opened(&own, &another), None);
            }
        }
        let most = (MEMO_SEALED_BYTES_MAX - tacit_crypto::seal::OVERHEAD) / PADDED_TO * PADDED_TO - 1;
        assert!(memo(&own, &vec![1; most]).sealed.is_some());
        assert!(memo(&own, &vec![1; most + 1]).sealed.is_none(), "it has its tag alone");
    }

    #[test]
    fn what_was_noted_can_be_read_for_good() {
        let long = |n: u8| [n, 0, 0, 0, 0, 0, 0, 0];
        let (contract, id) = (ContractId([3; 32]), [3; 32]);
        let told = [
            (Told::Order(Blob(vec![1, 2])), [&[0, 0, 0, 0], &long(2)[..], &[1, 2]].concat()),
            (Told::Revoked(contract), [&[1, 0, 0, 0], &id[..]].concat()),
            (Told::Amended(contract), [&[2, 0, 0, 0], &id[..]].concat()),
            (Told::Rejected(contract, Blob(vec![9])), [&[3, 0, 0, 0], &id[..], &long(1), &[9]].concat()),
        ];
        for (told, bytes) in told {
            assert_eq!(told.bytes(), bytes);
            assert_eq!(Told::read(&bytes), Some(told));
        }
        assert_eq!((Told::read(&[4, 0, 0, 0]), Told::read(&[])), (None, None));
    }
}
