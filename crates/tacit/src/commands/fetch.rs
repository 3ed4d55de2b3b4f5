//! The log as the coordinator shows it: checkpoint, leaves, and the attestations beside them.

use std::collections::{BTreeMap, BTreeSet};

use tacit_crypto::sha256;
use tacit_engine::api::PAGE_MAX;
use tacit_engine::{FromCoordinator, ToCoordinator};
use tacit_node::Client;
use tacit_receipts::{Bundle, Leaf, MemTree, Trust, merkle};
use tacit_types::{Code, Fault, StatementId};

use crate::home::unexpected;
use crate::output::Out;
use crate::progress::Progress;

/// Everything that a verifier reads of a log. Nothing in it is trusted.
pub struct Fetched {
    /// The newest cosigned checkpoint.
    pub checkpoint: Vec<u8>,
    /// The leaves that it covers.
    pub leaves: Vec<Vec<u8>>,
    /// Attestations that receipts carry by hash.
    pub beside: BTreeMap<StatementId, Vec<u8>>,
}

impl Fetched {
    /// Fetches the log.
    ///
    /// # Errors
    /// `log.corrupt` when a leaf is not to be had, `receipt.unknown` when an attestation is not; those of the connection.
    pub async fn all(client: &Client, out: &Out) -> Result<Self, Fault> {
        let progress = Progress::new(out.json(), out.say("fetching the log", "正在获取日志"));
        let (checkpoint, leaves) = leaves(client, &progress).await?;
        let beside = beside(client, &leaves, &progress).await?;
        Ok(Self { checkpoint, leaves, beside })
    }

    /// A bundle of the whole log.
    pub fn bundle(self, trust: Trust) -> Bundle {
        let mut bundle = Bundle::whole(Some(trust), self.checkpoint, self.leaves);
        bundle.beside = self.beside.into_values().map(Into::into).collect();
        bundle
    }

    /// A bundle of one leaf with its proof, which a page in a browser verifies as well.
    ///
    /// # Errors
    /// `receipt.unknown` for a place outside the log.
    pub fn single(self, trust: Trust, index: u64) -> Result<Bundle, Fault> {
        self.several(trust, &[index])
    }

    /// A bundle of leaves with their proofs.
    ///
    /// # Errors
    /// `receipt.unknown` for a place outside the log.
    pub fn several(self, trust: Trust, places: &[u64]) -> Result<Bundle, Fault> {
        let mut tree = MemTree::default();
        self.leaves.iter().for_each(|leaf| tree.push(merkle::leaf_hash(leaf)));
        let mut chosen = Vec::new();
        for index in places {
            let none = || Fault::new(Code::ReceiptUnknown, format!("leaf {index}"));
            let leaf = usize::try_from(*index).ok().and_then(|i| self.leaves.get(i)).ok_or_else(none)?;
            chosen.push((*index, leaf.clone()));
        }
        let named: BTreeSet<StatementId> = chosen.iter().flat_map(|(_, leaf)| by_hash(leaf)).collect();
        let mut bundle = Bundle::single(Some(trust), self.checkpoint, tree.size(), &tree, chosen)?;
        let own = self.beside.into_iter().filter(|(id, _)| named.contains(id));
        bundle.beside = own.map(|(_, bytes)| bytes.into()).collect();
        Ok(bundle)
    }
}

/// The hashes of a receipt's attestations, when it carries them so.
fn by_hash(leaf: &[u8]) -> BTreeSet<StatementId> {
    let Ok(Leaf::Receipt(receipt)) = Leaf::read(leaf) else { return BTreeSet::new() };
    let hashes = receipt.body().attestations.iter().filter_map(|carried| <[u8; 32]>::try_from(carried.as_slice()).ok());
    hashes.map(StatementId).collect()
}

/// All leaves that the newest cosigned checkpoint covers.
async fn leaves(client: &Client, progress: &Progress) -> Result<(Vec<u8>, Vec<Vec<u8>>), Fault> {
    let FromCoordinator::Checkpoint(checkpoint) = client.ask(&ToCoordinator::Checkpoint).await? else {
        return Err(unexpected());
    };
    let text = String::from_utf8_lossy(&checkpoint).into_owned();
    let size: u64 = text.lines().nth(1).and_then(|l| l.parse().ok()).ok_or_else(unexpected)?;
    let mut leaves: Vec<Vec<u8>> = Vec::new();
    while (leaves.len() as u64) < size {
        let request = ToCoordinator::Leaves { from: leaves.len() as u64, limit: PAGE_MAX };
        let FromCoordinator::Leaves(page) = client.ask(&request).await? else { return Err(unexpected()) };
        if page.is_empty() {
            return Err(Fault::new(Code::LogCorrupt, format!("leaf {} of {size} is not to be had", leaves.len())));
        }
        leaves.extend(page.into_iter().map(|b| b.0));
        progress.at((leaves.len() as u64).min(size), size);
    }
    leaves.truncate(size as usize);
    Ok((checkpoint.0, leaves))
}

/// The statements that leaves carry by hash alone, by those hashes.
///
/// # Errors
/// Those of asking.
pub async fn beside(
    client: &Client,
    leaves: &[Vec<u8>],
    progress: &Progress,
) -> Result<BTreeMap<StatementId, Vec<u8>>, Fault> {
    let wanted: Vec<StatementId> = leaves.iter().flat_map(|leaf| by_hash(leaf)).collect();
    let (mut rest, mut found) = (wanted.as_slice(), BTreeMap::new());
    while let Some((page, _)) = rest.split_at_checked(rest.len().min(PAGE_MAX as usize)).filter(|(p, _)| !p.is_empty())
    {
        let FromCoordinator::Beside(statements) = client.ask(&ToCoordinator::Beside(page.to_vec())).await? else {
            return Err(unexpected());
        };
        if statements.is_empty() || statements.len() > page.len() {
            return Err(unexpected());
        }
        rest = rest.get(statements.len()..).unwrap_or_default();
        progress.at((wanted.len() - rest.len()) as u64, wanted.len() as u64);
        found.extend(statements.into_iter().map(|s| (StatementId(sha256(&s.0).0), s.0)));
    }
    Ok(found)
}
