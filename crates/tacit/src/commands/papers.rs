//! `receipt export --papers`: one receipt with everything that was signed for the use, in one file for a regulator.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;
use tacit_crypto::{Statement, sha256};
use tacit_engine::{FromCoordinator, ToCoordinator};
use tacit_governance::{JobSpec, Order};
use tacit_node::Client;
use tacit_receipts::leaf::GENESIS_LEAVES;
use tacit_receipts::{Bundle, KeyRole, Leaf, Money, UsageRecord};
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault, NodeId};

use super::contract::contracts;
use super::fetch::Fetched;
use super::receipt::{find, receipts, trust, write};
use crate::home::{Party, unexpected};
use crate::output::Out;

/// Writes the evidence of one use.
pub(super) async fn export(party: &Party, client: &Client, out: &Out, file: &Path, wanted: &str) -> Result<(), Fault> {
    let (log, trust) = (Fetched::all(client, out).await?, trust(party, client).await?);
    let all = receipts(&log.leaves);
    let (place, receipt) = find(&all, wanted)?;
    let record = receipt.body().record.clone();
    let places = places(&log.leaves, *place, &record);
    let papers = papers(party, client, &record).await?;
    let mut bundle: Bundle = log.several(trust.clone(), &places)?;
    bundle.papers = papers.into_iter().map(Into::into).collect();
    write(file, &bundle.to_bytes())?;
    out.text(format!(
        "{}: {} {}, {} {}",
        file.display(),
        bundle.proven.len(),
        out.say("leaves", "个叶"),
        bundle.papers.len(),
        out.say("papers", "份文件")
    ));
    out.value(&json!({
        "bundle": file.display().to_string(), "leaves": bundle.proven.len(), "papers": bundle.papers.len(),
        "trust_fingerprint": trust.fingerprint().to_string(),
    }));
    Ok(())
}

/// The receipt's leaf, the log's beginning with its keys, and the price plans of the receipt's contracts.
fn places(leaves: &[Vec<u8>], receipt: u64, record: &UsageRecord) -> Vec<u64> {
    let belongs = |(index, leaf): &(u64, &Vec<u8>)| {
        *index < GENESIS_LEAVES
            || *index == receipt
            || match Leaf::read(leaf) {
                Ok(Leaf::KeyEvent(_)) => true,
                Ok(Leaf::Money(_, money)) => {
                    matches!(*money, Money::Plan(plan) if record.contracts.contains(&plan.contract))
                }
                _ => false,
            }
    };
    (0u64..).zip(leaves).filter(belongs).map(|(index, _)| index).collect()
}

/// What this party keeps of others over the use: reviews of what the job computes, assessments, and every list.
async fn orders(party: &Party, job: &Statement<JobSpec>) -> Result<Vec<Order>, Fault> {
    let spec = job.body();
    let belongs = |order: &Order| match order {
        Order::List(_) => true,
        Order::Review(review) => {
            let model = review.body().model;
            review.body().kind == spec.kind && model.is_none_or(|model| spec.models.iter().any(|m| m.model == model))
        }
        Order::Risk(_) => true,
        // What came after a use says nothing of whether it was allowed.
        Order::Revocation(_) => false,
        // Of the grade a report says what the version states.
        Order::Regrading(_) | Order::RegradingApproval(_) => false,
    };
    Ok(party.store.orders().await?.into_iter().filter(belongs).collect())
}

/// Everything signed that says who might do this.
async fn papers(party: &Party, client: &Client, record: &UsageRecord) -> Result<Vec<Vec<u8>>, Fault> {
    let FromCoordinator::Papers { job, answers } = client.ask(&ToCoordinator::Papers(record.job)).await? else {
        return Err(unexpected());
    };
    let job = JobSpec::verify(&job)?;
    if JobSpec::id(&job) != record.job {
        return Err(Fault::new(Code::ReceiptPaper, "the coordinator shows another job than the receipt's"));
    }
    let mut papers = vec![job.bytes().to_vec()];
    // Whose cards belong to it: who has a seat, who signed the job, and whom a contract names.
    let signer = party.party_keys(client).await?.0.id_of(KeyRole::Node, &job.signer());
    let mut keys: BTreeSet<NodeId> = record.parties.iter().map(|p| p.party).chain([signer]).collect();
    for contract in contracts(party, client).await?.iter().filter(|c| record.contracts.contains(&c.id())) {
        keys.extend(contract.body().parties.iter().map(|p| p.root));
        let control = contract.body().control.iter();
        keys.extend(control.flat_map(|c| c.approvals.iter().flat_map(|a| a.keys.iter().copied())));
        papers.extend(contract.statements().map(|(_, bytes)| bytes.to_vec()));
    }
    let orders = orders(party, &job).await?;
    keys.extend(orders.iter().map(Order::signer));
    papers.extend(orders.iter().map(|order| order.bytes().to_vec()));
    for (card, entry) in party.roster(client).await? {
        if keys.contains(&card.root) || keys.contains(&card.node) {
            papers.push(entry.card.0);
        }
    }
    let FromCoordinator::Datasets(versions) = client.ask(&ToCoordinator::Datasets).await? else {
        return Err(unexpected());
    };
    let spec = job.body();
    let named = |bytes: &Blob| {
        let id = sha256(bytes).0;
        spec.providers.iter().any(|p| p.dataset.0 == id) || spec.models.iter().any(|m| m.model.0 == id)
    };
    papers.extend(versions.into_iter().filter(named).map(|version| version.0));
    papers.extend(answers.into_iter().map(|answer| answer.0));
    Ok(papers)
}
