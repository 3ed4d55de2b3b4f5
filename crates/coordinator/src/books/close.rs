//! The close of a period. That it was begun, and over which leaves, is durable before anything is issued; the rest
//! follows from the log, so a close that a crash cut off goes on at the next start and issues nothing twice.

use std::collections::BTreeSet;
use std::sync::Arc;

use tacit_engine::FromCoordinator;
use tacit_engine::api::PeriodClosed;
use tacit_receipts::money::ledger::{Cut, Withheld};
use tacit_types::{Code, Fault, Hash, UnixMillis};
use tokio::sync::{OwnedMutexGuard, oneshot};

use super::{State, with_log};
use crate::daemon::Shared;
use crate::limits::{BATCH_MAX, LATE_WAIT, WITHHELD_MAX};
use crate::log::{AppendRequest, Content};
use crate::store::{Change, CloseRow};

/// Ends a period, or says what became of one that was ended.
///
/// # Errors
/// `receipt.period` for a time that is not over, or before the last close; `receipt.unagreed` when no price plan has
/// anything to charge.
pub(crate) async fn close(shared: &Arc<Shared>, until: UnixMillis) -> Result<FromCoordinator, Fault> {
    if let Some(known) = shared.store.close_of(Some(until)).await? {
        // One that is not done and not under way ended because the log refused.
        if let (false, Ok(turn)) = (known.done, shared.books.closing.clone().try_lock_owned()) {
            run(shared, known.cut, turn);
        }
        return answer(shared, known).await;
    }
    let Ok(turn) = shared.books.closing.clone().try_lock_owned() else {
        return Err(Fault::new(Code::ReceiptPending, "the close of another period is under way"));
    };
    let now = shared.clock.now();
    if until > now {
        return Err(Fault::new(Code::ReceiptPeriod, format!("{until} is not over; it is {now}")));
    }
    if let Some(last) = shared.store.close_of(None).await? {
        if last.cut.until > until {
            return Err(Fault::new(Code::ReceiptPeriod, format!("the last close was until {}", last.cut.until)));
        }
        if !last.done {
            run(shared, last.cut, turn);
            let what = format!("the close until {} goes on first; ask again", last.cut.until);
            return Err(Fault::new(Code::ReceiptPending, what));
        }
    }
    let look = |state: &State| {
        let cut = Cut { until, as_of: state.next };
        let (charges, withheld) = state.ledger.due(cut);
        match charges.is_empty() && withheld.is_empty() {
            true => {
                Err(Fault::new(Code::ReceiptUnagreed, format!("no price plan in force has a period before {until}")))
            }
            false => Ok(cut),
        }
    };
    let cut = with_log(shared, look).await?;
    let begun = CloseRow { cut, done: false };
    shared.store.write(Change::PutClose(begun)).await?;
    tracing::info!(%until, as_of = cut.as_of, "a period is closed");
    run(shared, cut, turn);
    answer(shared, begun).await
}

/// At the start: goes on with a close that was begun.
///
/// # Errors
/// Those of the database.
pub(crate) async fn go_on(shared: &Arc<Shared>) -> Result<(), Fault> {
    let last = shared.store.close_of(None).await?;
    if let (Some(last), Ok(turn)) = (last.filter(|l| !l.done), shared.books.closing.clone().try_lock_owned()) {
        tracing::info!(until = %last.cut.until, "going on with the close of a period");
        run(shared, last.cut, turn);
    }
    Ok(())
}

/// Issues in a task of its own, which no caller's end cuts off.
fn run(shared: &Arc<Shared>, cut: Cut, turn: OwnedMutexGuard<()>) {
    let task = shared.clone();
    shared.spawn(async move {
        if let Err(fault) = issue(&task, cut).await {
            tracing::warn!(%fault, until = %cut.until, "the close of a period is cut off");
        }
        drop(turn);
    });
}

async fn issue(shared: &Arc<Shared>, cut: Cut) -> Result<(), Fault> {
    let (charges, withheld) = with_log(shared, |state| Ok(state.ledger.due(cut))).await?;
    for Withheld { plan, fault } in &withheld {
        tracing::warn!(plan = %plan.short(), %fault, "a plan is not charged");
    }
    let charge = |charge| move |reply| Content::Charge { charge: Box::new(charge), reply };
    append(shared, charges.into_iter().map(charge)).await?;
    let owed = with_log(shared, |state| state.ledger.owed(cut.as_of)).await?;
    let settlement = |settlement| move |reply| Content::Settlement { settlement: Box::new(settlement), reply };
    append(shared, owed.into_iter().map(settlement)).await?;
    shared.store.write(Change::PutClose(CloseRow { cut, done: true })).await?;
    Ok(())
}

/// Appends in order, and waits until all of it is in a published checkpoint.
async fn append<C: FnOnce(oneshot::Sender<u64>) -> Content>(
    shared: &Arc<Shared>,
    contents: impl Iterator<Item = C>,
) -> Result<(), Fault> {
    let gone = || Fault::new(Code::ReceiptPending, "the log takes nothing any more");
    let mut waiting = Vec::new();
    let mut contents = contents.peekable();
    while let Some(content) = contents.next() {
        let (reply, placed) = oneshot::channel();
        let request = AppendRequest { nodes: Vec::new(), content: content(reply) };
        shared.appends.send(request).await.map_err(|_| gone())?;
        waiting.push(placed);
        if waiting.len() == BATCH_MAX || contents.peek().is_none() {
            for placed in waiting.drain(..) {
                placed.await.map_err(|_| gone())?;
            }
        }
    }
    Ok(())
}

/// What a close has issued, once it is done or the caller has waited long enough.
async fn answer(shared: &Arc<Shared>, row: CloseRow) -> Result<FromCoordinator, Fault> {
    let until = row.cut.until;
    // Whoever gets the turn finds nothing under way.
    let waited = tokio::time::timeout(LATE_WAIT, shared.books.closing.lock()).await;
    drop(waited);
    let done = shared.store.close_of(Some(until)).await?.is_some_and(|row| row.done);
    let look = |state: &State| {
        let ours = state.ledger.charges().filter(|c| c.charge.as_of == row.cut.as_of);
        let (mut charges, mut settlements) = (Vec::new(), BTreeSet::new());
        for charge in ours {
            charges.push(charge.at.index);
            settlements.extend(charge.settled);
        }
        let (_, withheld) = state.ledger.due(row.cut);
        let withheld: Vec<(Hash, Fault)> = withheld.into_iter().take(WITHHELD_MAX).map(|w| (w.plan, w.fault)).collect();
        Ok((charges, settlements.into_iter().collect(), withheld))
    };
    let (charges, settlements, withheld) = with_log(shared, look).await?;
    Ok(FromCoordinator::Closed(PeriodClosed { until, as_of: row.cut.as_of, charges, settlements, withheld, done }))
}
