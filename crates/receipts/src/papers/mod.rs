//! The papers of a use: the contract, the job, the parties' cards, dataset versions and answers that stand in an evidence
//! bundle beside the receipt, and what they say together: who used what, for what, under which signed authority.
//!
//! Papers are signed statements of governance. This crate does not decide over them: it reads the fields that it
//! puts into words and passes over the others, so that an older verifier reads a newer contract and says that it has
//! further terms. What ties a use to a contract is the party's own answer, signed with the key that the trust file
//! pins: it names the job, the contract, the dataset and the party's root key.

mod approved;
pub mod control;
mod read;
mod uses;

use std::collections::{BTreeMap, BTreeSet};

use minicbor::bytes::ByteVec;
use serde::Serialize;
use tacit_crypto::sha256;
use tacit_crypto::statement::Envelope;
use tacit_types::{Code, ContractId, DatasetVersionId, Fault, JobId, Lang, Name, NodeId, UnixMillis};

pub use read::{Answer, Card, Described, Order, Terms};

use self::control::Said;
use crate::bundle::{Bundle, Trust};
use crate::keys::KeyHistory;
use crate::leaf::{Leaf, refused};
use crate::report::{Notice, Report};

/// Papers of a bundle.
pub const PAPERS_MAX: usize = 4096;
/// Uses that a report puts into words.
pub const USES_MAX: usize = 256;

/// One sentence about a use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Sentence {
    /// What it is about: `job`, `contract`, `approval`, `review`, `risk`, `list`, `data`, `answer`, `part`, `opened`, `counted`, `price`, `paper`, `not_shown`.
    pub about: &'static str,
    /// In English.
    pub en: String,
    /// In Chinese.
    pub zh: String,
}

impl Sentence {
    /// The sentence in a language.
    pub fn text(&self, lang: Lang) -> &str {
        match lang {
            Lang::En => &self.en,
            Lang::Zh => &self.zh,
        }
    }
}

/// What the papers and the receipt say of one use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Use {
    /// The receipt's leaf.
    pub leaf: u64,
    /// The job.
    pub job: String,
    /// Whether every link is there: the job, each contract with all signatures, and each answer of a party.
    pub authority_shown: bool,
    /// Who used what, for what, under which authority.
    pub sentences: Vec<Sentence>,
}

/// A paper whose signature holds.
struct Paper {
    envelope: Envelope,
    used: bool,
}

/// A contract with the keys that have signed it.
struct Contract {
    terms: Terms,
    signers: BTreeSet<NodeId>,
    papers: Vec<usize>,
}

/// All papers of a bundle, by what they are looked up for.
#[derive(Default)]
pub(crate) struct Papers {
    all: Vec<Paper>,
    contracts: BTreeMap<ContractId, Contract>,
    jobs: BTreeMap<JobId, (Order, usize)>,
    cards: BTreeMap<NodeId, (Card, usize)>,
    described: BTreeMap<DatasetVersionId, (Described, usize)>,
    answers: Vec<(Answer, usize)>,
    said: Vec<(Said, usize)>,
    others: Vec<usize>,
}

impl Papers {
    /// Reads the papers; what cannot be read is a fault of its own.
    fn read(statements: &[ByteVec], keys: &KeyHistory) -> (Self, Vec<Fault>) {
        let (mut papers, mut faults) = (Self::default(), Vec::new());
        for (number, bytes) in statements.iter().enumerate() {
            if let Err(fault) = papers.add(bytes, keys) {
                faults.push(Fault::new(Code::ReceiptPaper, format!("paper {number}: {}", fault.what)));
            }
        }
        (papers, faults)
    }

    fn add(&mut self, bytes: &[u8], keys: &KeyHistory) -> Result<(), Fault> {
        let envelope = Envelope::verify(bytes).map_err(refused)?;
        let (at, id) = (self.all.len(), sha256(bytes));
        let read = |what| Fault::new(Code::ReceiptPaper, format!("the {} is {what}", envelope.kind));
        match envelope.kind.as_str() {
            Terms::TYPE => {
                let terms = Terms::read(&envelope.body).map_err(read)?;
                let fresh = || Contract { terms, signers: BTreeSet::new(), papers: Vec::new() };
                let contract = self.contracts.entry(ContractId(sha256(&envelope.body).0)).or_insert_with(fresh);
                if contract.signers.insert(envelope.signer) {
                    contract.papers.push(at);
                }
            }
            Order::TYPE => {
                let mut order = Order::read(&envelope).map_err(read)?;
                let late = || Fault::new(Code::ReceiptPaper, "a job signed with a key out of its time");
                order.signer = keys.speaker(&order.key, envelope.issued_at).ok_or_else(late)?;
                self.jobs.entry(JobId(id.0)).or_insert((order, at));
            }
            Card::TYPE => {
                let card = Card::read(&envelope.body).map_err(read)?;
                if card.root != envelope.signer {
                    return Err(Fault::new(Code::ReceiptPaper, "a card that its own root key did not sign"));
                }
                self.cards.entry(card.root).or_insert((card, at));
            }
            Described::DATASET | Described::MODEL => {
                let described = Described::read(&envelope.body).map_err(read)?;
                if described.owner != envelope.signer {
                    return Err(Fault::new(Code::ReceiptPaper, "a version that its owner did not sign"));
                }
                self.described.entry(DatasetVersionId(id.0)).or_insert((described, at));
            }
            Answer::ADMISSION | Answer::REFUSAL => {
                // why: a refusal has the time of its job, which may be before the key.
                let answer = Answer::read(&keys.spoken(&envelope)).map_err(read)?;
                self.answers.push((answer, at));
            }
            kind if Said::TYPES.contains(&kind) => {
                self.said.push((Said::read(kind, &envelope.body).map_err(read)?, at));
            }
            _ => self.others.push(at),
        }
        self.all.push(Paper { envelope, used: false });
        Ok(())
    }

    fn touch(&mut self, at: usize) {
        if let Some(paper) = self.all.get_mut(at) {
            paper.used = true;
        }
    }

    /// What a party is called: by its card, by the trust file, or by its key.
    fn name(&self, key: &NodeId, trust: &Trust) -> String {
        let card = self.cards.values().map(|(card, _)| card).find(|card| card.node == *key || card.root == *key);
        let pinned = || trust.parties.iter().find(|p| p.key == *key).map(|p| &p.name);
        card.map(|card| &card.name).or_else(pinned).map_or_else(|| key.short(), Name::to_string)
    }
}

/// Reads the papers of a bundle beside its receipts, and enters into the report what they say and what is wrong with
/// them.
pub(crate) fn look(bundle: &Bundle, trust: &Trust, report: &mut Report) {
    if bundle.papers.is_empty() {
        return;
    }
    let keys = bundle.history(Some(trust));
    let (mut papers, faults) = Papers::read(&bundle.papers, &keys);
    faults.into_iter().for_each(|fault| report.find(None, fault.code, fault.what));
    let whole = (0u64..).zip(bundle.leaves.iter().map(|leaf| leaf.as_slice()));
    let leaves: Vec<(u64, &[u8])> = whole.chain(bundle.proven.iter().map(|p| (p.index, p.leaf.as_slice()))).collect();
    let plans = uses::plans(&leaves, &keys);
    for (index, bytes) in &leaves {
        let Ok(Leaf::Receipt(receipt)) = Leaf::read(bytes) else { continue };
        // Of a whole log only the uses are told whose job is here.
        let told = bundle.leaves.is_empty() || papers.jobs.contains_key(&receipt.body().record.job);
        if !told || report.uses.len() >= USES_MAX {
            continue;
        }
        let (told, faults) = uses::tell(&mut papers, *index, receipt.body(), trust, &plans);
        faults.into_iter().for_each(|fault| report.find(Some(*index), fault.code, fault.what));
        report.uses.push(told);
    }
    report.faults.sort_by_key(|finding| finding.leaf.map_or(0, |leaf| leaf.saturating_add(1)));
    let unused = papers.all.iter().filter(|paper| !paper.used).count() as u64;
    if unused > 0 {
        report.notice(Notice::PapersUnused { count: unused });
    }
}

/// A time as a sentence has it.
fn at(time: UnixMillis) -> String {
    time.to_string()
}
