//! The transparency log: one task that appends, has cosigned, publishes, and only then hands out.
//!
//! The order of an append: tiles durable; head signed and durable in the database with the places of
//! its leaves; witnesses asked; the cosigned checkpoint durable as a file; receipts handed out. A
//! crash between any two leaves a log that goes on: files beyond the signed head are overwritten, a
//! signed head that was not published is cosigned again and never replaced by another.

mod append;
pub(crate) mod patrol;
mod resume;
mod witnesses;

use std::collections::BTreeMap;
use std::sync::Arc;

use tacit_archive::Folder;
use tacit_archive::files;
use tacit_crypto::SigningKey;
use tacit_engine::Input;
use tacit_receipts::merkle::leaf_hash;
use tacit_receipts::money::{Charge, Settlement};
use tacit_receipts::{
    Checkpoint, Log, LogChain, LogProof, Quorum, SignedCheckpoint, TileRead, TileReader, VerifierKey,
};
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault, Hash, JobId, NodeId, UnixMillis};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use crate::clock::Clock;
use crate::driver::Post;
use crate::limits::{APPENDS_WAITING_MAX, FULL_RETRY, STRAGGLER_WAIT};
use crate::nodes::Nodes;
use crate::roster::Roster;
use crate::rotation::Before;
use crate::store::{Fatal, Store};
use witnesses::{Asked, WitnessState};

/// What is to be logged.
pub(crate) struct AppendRequest {
    /// The nodes whose witnesses must be among those who cosigned: a job's.
    pub nodes: Vec<NodeId>,
    pub content: Content,
}

/// What becomes the leaf, and who waits for it.
pub(crate) enum Content {
    /// A job's receipt.
    Receipt {
        job: JobId,
        record: Blob,
        attestations: Vec<Blob>,
        absent: Vec<(NodeId, Code)>,
        reply: mpsc::Sender<Post>,
    },
    /// What a party signed: an attestation that its receipt was closed without, or a statement of money.
    Statement { statement: Blob, reply: oneshot::Sender<u64> },
    /// A charge that the coordinator signs.
    Charge { charge: Box<Charge>, reply: oneshot::Sender<u64> },
    /// A settlement that the coordinator signs.
    Settlement { settlement: Box<Settlement>, reply: oneshot::Sender<u64> },
}

/// Who is told that a leaf is in a published checkpoint.
enum Reply {
    Job(mpsc::Sender<Post>),
    Place(oneshot::Sender<u64>),
}

impl Content {
    fn reply(self) -> Reply {
        match self {
            Content::Receipt { reply, .. } => Reply::Job(reply),
            Content::Statement { reply, .. } | Content::Charge { reply, .. } | Content::Settlement { reply, .. } => {
                Reply::Place(reply)
            }
        }
    }
}

/// The keys of the log.
pub(crate) struct LogKeys {
    /// The coordinator's id: its first key.
    pub id: NodeId,
    /// Signs receipts.
    pub sign: SigningKey,
    /// Changes that lead to that key and that the log may not have yet: they go before all that it signs.
    pub changes: Vec<Vec<u8>>,
    /// Signs checkpoints.
    pub log: SigningKey,
    /// Under which name.
    pub verifier: VerifierKey,
    /// The key of before, which signs them as well until its time is over.
    pub before: Option<Before>,
    /// Every key that the log has had.
    pub chain: LogChain,
    /// The signed changes between them.
    pub rotations: Vec<Vec<u8>>,
}

impl LogKeys {
    /// Signs a head with every key that signs now.
    pub(super) fn sign(&self, checkpoint: &Checkpoint, now: UnixMillis) -> Result<SignedCheckpoint, Fault> {
        let mut signed = checkpoint.sign(&self.verifier, &self.log)?;
        if let Some(before) = self.before.as_ref().filter(|before| now <= before.until) {
            signed.also_sign(&before.verifier, &before.key)?;
        }
        Ok(signed)
    }
}

/// What the log's task is given.
pub(crate) struct Parts {
    pub keys: LogKeys,
    pub folder: Folder,
    pub store: Store,
    pub fatal: Fatal,
    pub clock: Arc<Clock>,
    pub nodes: Arc<Nodes>,
    pub roster: watch::Receiver<Arc<Roster>>,
}

/// What others see of the log.
#[derive(Clone)]
pub(crate) struct View {
    /// The newest checkpoint with its quorum.
    pub published: watch::Receiver<Option<Arc<SignedCheckpoint>>>,
    /// Why nothing is appended any more.
    pub refused: watch::Receiver<Option<Fault>>,
    /// Ends appending, for whoever finds that the log must not go on.
    pub refuse: watch::Sender<Option<Fault>>,
    /// Leaves that are durable, published or not.
    pub durable: watch::Receiver<u64>,
}

/// A leaf that is in the signed head and not handed out yet.
struct Waiter {
    place: u64,
    leaf: Vec<u8>,
    nodes: Vec<NodeId>,
    /// After this, a proof without all of the job's own witnesses must do.
    patient_until: Instant,
    reply: Reply,
}

/// The log's task.
pub(crate) struct LogService {
    parts: Parts,
    requests: mpsc::Receiver<AppendRequest>,
    log: Log,
    /// The signed head with the cosignatures that came since the start.
    head: SignedCheckpoint,
    /// The key event in force, by the hash of its body.
    keys_event: Option<Hash>,
    published: watch::Sender<Option<Arc<SignedCheckpoint>>>,
    refused: watch::Sender<Option<Fault>>,
    durable: watch::Sender<u64>,
    /// Changes of the key that signs receipts, until the log has them.
    announced: Vec<Vec<u8>>,
    pending: Vec<AppendRequest>,
    waiting: Vec<Waiter>,
    witnesses: BTreeMap<NodeId, WitnessState>,
    asked: JoinSet<Asked>,
    /// Since when the head has its quorum.
    quorum_since: Option<Instant>,
    /// Nothing is appended before this: the disk is full or the clock is behind.
    not_before: Option<Instant>,
}

impl LogService {
    /// Resumes the log from files and database.
    ///
    /// # Errors
    /// `log.corrupt`, `log.fork`, `log.signature`, `store.corrupt` when they do not fit together.
    pub(crate) async fn open(parts: Parts) -> Result<(Self, mpsc::Sender<AppendRequest>, View), Fault> {
        let resumed = resume::resume(&parts).await?;
        let mut announced = Vec::new();
        for change in &parts.keys.changes {
            if parts.store.leaf_place(&leaf_hash(change)).await?.is_none() {
                announced.push(change.clone());
            }
        }
        let (sender, requests) = mpsc::channel(1);
        let (published, published_view) = watch::channel(resumed.published.map(Arc::new));
        let (refused, refused_view) = watch::channel(None);
        let (durable, durable_view) = watch::channel(resumed.log.size());
        let view =
            View { published: published_view, refused: refused_view, refuse: refused.clone(), durable: durable_view };
        let service = Self {
            parts,
            requests,
            log: resumed.log,
            head: resumed.head,
            keys_event: resumed.keys_event,
            published,
            refused,
            durable,
            announced,
            pending: Vec::new(),
            waiting: Vec::new(),
            witnesses: BTreeMap::new(),
            asked: JoinSet::new(),
            quorum_since: None,
            not_before: None,
        };
        Ok((service, sender, view))
    }

    fn origin(&self) -> &str {
        self.parts.keys.verifier.name()
    }

    fn roster(&self) -> Arc<Roster> {
        self.parts.roster.borrow().clone()
    }

    /// Runs until the process ends; a failure of the disk is reported as fatal.
    pub(crate) async fn run(mut self) {
        let mut changes = self.parts.nodes.changes();
        let mut refused = self.refused.subscribe();
        loop {
            if let Err(fault) = self.proceed().await {
                match fault.code {
                    Code::StoreFull | Code::StoreLocked | Code::LogClock => {
                        tracing::warn!(%fault, "the log waits");
                        self.not_before = Some(Instant::now() + FULL_RETRY);
                    }
                    _ => return self.parts.fatal.report(&fault),
                }
            }
            let wake = self.wake();
            let room = self.pending.len() + self.waiting.len() < APPENDS_WAITING_MAX;
            tokio::select! {
                request = self.requests.recv(), if room => match request {
                    None => return,
                    Some(request) => {
                        self.pending.push(request);
                        // What is queued goes together; nothing waits for more to come.
                        while let Ok(request) = self.requests.try_recv() {
                            self.pending.push(request);
                        }
                    }
                },
                Some(asked) = self.asked.join_next() => {
                    if let Ok(asked) = asked {
                        self.take_asked(asked);
                    }
                }
                _ = changes.changed() => {}
                _ = self.parts.roster.changed() => {}
                _ = refused.changed() => {}
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
        }
    }

    /// Whatever can be done now.
    async fn proceed(&mut self) -> Result<(), Fault> {
        let refused = self.refused.borrow().clone();
        if let Some(fault) = refused {
            self.give_up(fault).await;
            return Ok(());
        }
        if self.not_before.is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        self.not_before = None;
        loop {
            self.ask_witnesses();
            let quorum = self.roster().quorum(self.origin());
            if quorum.check(self.head.note()).is_err() {
                self.quorum_since = None;
                return Ok(());
            }
            let since = *self.quorum_since.get_or_insert_with(Instant::now);
            if since.elapsed() < STRAGGLER_WAIT && self.expects_more() {
                return Ok(());
            }
            if !self.is_published() {
                self.publish().await?;
            }
            self.hand_out().await?;
            if self.pending.is_empty() {
                return Ok(());
            }
            self.append().await?;
            self.quorum_since = None;
        }
    }

    /// Nothing comes into this log any more: jobs whose receipts were on their way end without, and say why.
    async fn give_up(&mut self, fault: Fault) {
        let pending = self.pending.drain(..).map(|request| request.content.reply());
        let replies: Vec<Reply> = pending.chain(self.waiting.drain(..).map(|waiter| waiter.reply)).collect();
        for reply in replies {
            // Who handed in a statement of its own does so again, and hears it then.
            if let Reply::Job(job) = reply {
                // why: a closed inbox is of a job that asks again after the restart.
                let _ = job.send(Post::Input(Input::NotLogged(fault.clone()), None)).await;
            }
        }
    }

    fn is_published(&self) -> bool {
        self.published.borrow().as_deref() == Some(&self.head)
    }

    /// Makes the cosigned checkpoint durable and shows it.
    async fn publish(&mut self) -> Result<(), Fault> {
        let (folder, head) = (self.parts.folder.clone(), self.head.clone());
        let keys = &self.parts.keys;
        let trust = self.roster().trust(keys.id, &keys.verifier, &keys.rotations).to_bytes();
        let bytes = head.to_bytes();
        blocking(move || {
            if folder.read(tacit_receipts::tiles::TRUST_PATH).as_deref() != Some(&trust) {
                files::write_durable(&folder.path().join(tacit_receipts::tiles::TRUST_PATH), &trust)?;
            }
            files::write_durable(&folder.path().join(tacit_receipts::tiles::CHECKPOINT_PATH), &bytes)
        })
        .await?;
        tracing::debug!(size = head.checkpoint().size, "published");
        self.published.send_replace(Some(Arc::new(head)));
        Ok(())
    }

    /// Hands out the receipts that the published checkpoint covers with their own quorum.
    async fn hand_out(&mut self) -> Result<(), Fault> {
        let (roster, now) = (self.roster(), Instant::now());
        let origin = self.origin().to_owned();
        let mut quorums: BTreeMap<Vec<NodeId>, bool> = BTreeMap::new();
        let note = self.head.note();
        let ready: Vec<Waiter> = self
            .waiting
            .extract_if(.., |w| {
                let own = |nodes: &Vec<NodeId>| covers(&roster.quorum_of(nodes, &origin), nodes.len(), note);
                now >= w.patient_until || *quorums.entry(w.nodes.clone()).or_insert_with_key(own)
            })
            .collect();
        if ready.is_empty() {
            return Ok(());
        }
        let (folder, head) = (self.parts.folder.clone(), self.head.clone());
        let proven = blocking(move || {
            let files = Cached { folder: &folder, read: Default::default() };
            let reader = TileReader::new(&files, head.checkpoint().size);
            let proof = |w: Waiter| LogProof::build(&reader, w.place, &head).map(|p| (w, p.to_string().into_bytes()));
            ready.into_iter().map(proof).collect::<Result<Vec<_>, Fault>>()
        })
        .await?;
        for (waiter, proof) in proven {
            match waiter.reply {
                Reply::Job(job) => {
                    let input = Input::Logged { index: waiter.place, leaf: Blob(waiter.leaf), proof: Blob(proof) };
                    // why: a closed inbox is of a job that asks again after the restart.
                    let _ = job.send(Post::Input(input, None)).await;
                }
                // why: a party that has gone hands its statement in again.
                Reply::Place(party) => drop(party.send(waiter.place)),
            }
        }
        Ok(())
    }

    /// When to look again without an event.
    fn wake(&self) -> Option<Instant> {
        let stragglers = self.quorum_since.filter(|_| !self.is_published()).map(|since| since + STRAGGLER_WAIT);
        let retry = self.witnesses.values().filter_map(|w| w.not_before).min();
        let patience = self.waiting.iter().map(|w| w.patient_until).min();
        let times = [stragglers, retry, patience, self.not_before];
        times.into_iter().flatten().filter(|at| *at > Instant::now()).min()
    }
}

/// Whether a note satisfies the quorum of a job's parties, all of whom must be known.
fn covers(own: &Quorum, parties: usize, note: &tacit_receipts::SignedNote) -> bool {
    if parties == 0 {
        return true;
    }
    let needed = tacit_engine::record::witness_threshold(parties);
    own.count(note).by.len() >= needed
}

/// Runs file work beside the async tasks.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Fault> + Send + 'static) -> Result<T, Fault> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(e) => Err(Fault::new(Code::Internal, e.to_string())),
    }
}

/// Files read at most once while proofs are made.
struct Cached<'a> {
    folder: &'a Folder,
    read: std::cell::RefCell<BTreeMap<String, Option<Vec<u8>>>>,
}

impl TileRead for Cached<'_> {
    fn read(&self, path: &str) -> Option<Vec<u8>> {
        let mut read = self.read.borrow_mut();
        read.entry(path.to_owned()).or_insert_with(|| self.folder.read(path)).clone()
    }
}
