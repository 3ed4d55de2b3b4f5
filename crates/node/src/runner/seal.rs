//! The end of a link: both ends say what went over it and sign it.
//!
//! When its protocol is through, an end sends `End` after its last message. Once it has heard the other's, both directions are
//! complete: it sends its seal, and waits for the other's. Nobody is waited for longer than the attempt allows, and a link
//! whose other end does not answer has one seal alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tacit_crypto::SigningKey;
use tacit_net::{Connection, DataSender, NetError};
use tacit_receipts::link::{FlowChain, LinkLeaf, LinkScope, LinkSeal, LinkState};
use tacit_receipts::{KeyHistory, KeyRole};
use tacit_types::NodeId;
use tokio::sync::watch;
use tokio::time::Instant;

use super::links::{Arrived, Writer, finish_links};
use super::{AttemptRun, mpsc};
use crate::link::{LinkFrame, is_message};
use crate::store::LinkRow;

/// How long the other ends of an attempt that ended well are waited for.
pub const SEAL_TIME_MAX: Duration = Duration::from_secs(2);
/// How long they are where it did not: the others may not know yet, and the coordinator waits for this party's report.
pub const SEAL_FAILED_TIME_MAX: Duration = Duration::from_millis(250);

/// What was heard of the other end.
#[derive(Default)]
struct Heard {
    /// Its last message is here.
    ended: bool,
    seal: Option<Vec<u8>>,
    /// Nothing more comes.
    gone: bool,
}

/// What went over one link of an attempt.
pub(super) struct LinkLog {
    scope: LinkScope,
    here: NodeId,
    there: NodeId,
    key: Arc<SigningKey>,
    sent: Mutex<FlowChain>,
    received: Mutex<FlowChain>,
    heard: watch::Sender<Heard>,
    /// This end's seal: it signs one.
    own: OnceLock<Vec<u8>>,
    until: OnceLock<Instant>,
    /// Bytes of its own frames that close the link.
    closing: AtomicU64,
}

fn lock(chain: &Mutex<FlowChain>) -> MutexGuard<'_, FlowChain> {
    chain.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LinkLog {
    /// Of the link from a node to another, before its first frame.
    pub(super) fn new(scope: LinkScope, here: NodeId, there: NodeId, key: Arc<SigningKey>) -> Arc<Self> {
        Arc::new(Self {
            scope,
            here,
            there,
            key,
            sent: Mutex::new(FlowChain::new(&scope, &here, &there)),
            received: Mutex::new(FlowChain::new(&scope, &there, &here)),
            heard: watch::channel(Heard::default()).0,
            own: OnceLock::new(),
            until: OnceLock::new(),
            closing: AtomicU64::new(0),
        })
    }

    /// Takes a frame that is about to be written.
    pub(super) fn writes(&self, frame: &[u8]) {
        if is_message(frame) {
            lock(&self.sent).take(frame);
        }
    }

    /// Takes a frame of the other end. Whether it may come: no message comes after the end, and neither end nor seal twice.
    pub(super) fn reads(&self, frame: &[u8]) -> bool {
        if !is_message(frame) {
            return true;
        }
        if self.heard.borrow().ended {
            return false;
        }
        lock(&self.received).take(frame);
        true
    }

    /// Takes the other end's `End`. Whether it may come.
    pub(super) fn ends(&self) -> bool {
        self.heard.send_if_modified(|heard| !std::mem::replace(&mut heard.ended, true))
    }

    /// Takes the other end's seal. Whether it may come: after its end, and once.
    pub(super) fn seals(&self, seal: Vec<u8>) -> bool {
        self.heard.send_if_modified(|heard| {
            let may = heard.ended && heard.seal.is_none();
            if may {
                heard.seal = Some(seal);
            }
            may
        })
    }

    /// Nothing more comes from the other end.
    pub(super) fn is_gone(&self) {
        self.heard.send_modify(|heard| heard.gone = true);
    }

    /// Until when the other end is waited for; without this it is not.
    pub(super) fn wait_until(&self, until: Instant) {
        self.until.get_or_init(|| until);
    }

    /// Says on the stream that the last message has gone, and exchanges seals as far as the other end is there.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) async fn close(&self, stream: &mut DataSender, connection: &Connection) -> Result<(), NetError> {
        self.send(stream, LinkFrame::End).await?;
        if self.hears(connection, |heard| heard.ended).await {
            self.send(stream, LinkFrame::Seal(self.seal().to_vec())).await?;
            self.hears(connection, |heard| heard.seal.is_some()).await;
        }
        Ok(())
    }

    async fn send(&self, stream: &mut DataSender, frame: LinkFrame) -> Result<(), NetError> {
        let bytes = frame.into_bytes();
        self.closing.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        stream.send_owned(bytes).await
    }

    /// Waits for something of the other end. Whether it came.
    async fn hears(&self, connection: &Connection, what: impl Fn(&Heard) -> bool) -> bool {
        let until = self.until.get().copied().unwrap_or_else(Instant::now);
        let mut news = self.heard.subscribe();
        let heard = async {
            // why: the sender lives as long as this does.
            news.wait_for(|heard| what(heard) || heard.gone).await.is_ok_and(|heard| what(&heard))
        };
        tokio::select! {
            biased;
            came = heard => came,
            _ = connection.closed() => what(&self.heard.borrow()),
            () = tokio::time::sleep_until(until) => false,
        }
    }

    fn seal(&self) -> &[u8] {
        self.own.get_or_init(|| {
            let (sent, received) = (lock(&self.sent).flow(), lock(&self.received).flow());
            LinkSeal::sign(&self.key, &self.scope, (self.here, self.there), (sent, received), crate::now())
                .bytes()
                .to_vec()
        })
    }

    /// The link as this end keeps it, with the other's seal where one came that is of this very link.
    pub(super) fn row(&self, keys: &KeyHistory) -> LinkRow {
        let heard = self.heard.borrow();
        let now = crate::now();
        let speaks = |id: &NodeId, by: &tacit_crypto::statement::Envelope| {
            [now, by.issued_at].iter().any(|at| keys.speaks(KeyRole::Node, id, &by.signer, *at))
        };
        let other =
            heard.seal.as_deref().filter(|bytes| match LinkSeal::read(bytes, (&self.there, &self.here), &speaks) {
                Ok(seal) if seal.scope() == self.scope => true,
                Ok(_) => {
                    tracing::warn!(peer = %self.there.short(), "a seal of another attempt or session is not taken");
                    false
                }
                Err(fault) => {
                    tracing::warn!(peer = %self.there.short(), %fault, "a seal is not taken");
                    false
                }
            });
        let leaf = LinkLeaf::new((&self.here, self.seal()), (&self.there, other));
        let scope = (self.scope.job, self.scope.attempt);
        // why: both seals were read above, and are of this link.
        let read = leaf.read(scope, (&self.here, &self.there), &|_, _| true);
        let state = read.map_or(LinkState::Unsealed, |link| link.state);
        if state == LinkState::Differs {
            tracing::warn!(peer = %self.there.short(), "the other end of a link signs that something else went over it");
        }
        LinkRow { peer: self.there, state, leaf: leaf.to_bytes() }
    }
}

impl AttemptRun {
    /// Ends the links, and takes what went over them, sealed as far as their other ends answer in time.
    pub(super) async fn seal_links(
        &mut self,
        writers: Vec<Option<Writer>>,
        mut received: mpsc::Receiver<Arrived>,
        ended_well: bool,
    ) {
        let most = if ended_well { SEAL_TIME_MAX } else { SEAL_FAILED_TIME_MAX };
        let until = (Instant::now() + most.min(Duration::from_millis(self.step_ms))).min(self.deadline);
        let logs: Vec<Arc<LinkLog>> = writers.iter().flatten().map(|writer| writer.log.clone()).collect();
        logs.iter().for_each(|log| log.wait_until(until));
        // What still comes is counted, and goes nowhere.
        let rest = async {
            while received.recv().await.is_some() {}
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = finish_links(writers) => {}
            () = rest => {}
        }
        for log in &logs {
            self.egress.add_control(log.there, log.closing.load(Ordering::Relaxed));
        }
        let keys = self.inner.known.keys();
        self.links = logs.iter().map(|log| log.row(&keys)).collect();
        let sealed = self.links.iter().filter(|row| row.state == LinkState::Sealed).count();
        let (job, ms) = (self.header.job.short(), self.now().0);
        tracing::debug!(%job, ms, sealed, links = self.links.len(), "the links are at their end");
    }
}

#[cfg(test)]
mod tests;
