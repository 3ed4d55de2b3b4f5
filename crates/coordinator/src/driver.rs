//! One task per open job: it brings inputs to the [`Job`], makes each new state durable, and then
//! carries out what the state asks for.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tacit_crypto::statement::Envelope;
use tacit_engine::{Command, Committed, FromNode, Input, Job, Package, ToNode};
use tacit_receipts::{KeyHistory, KeyRole};
use tacit_types::wire::{self, Blob};
use tacit_types::{Code, Fault, JobId, NodeId, UnixMillis};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use crate::daemon::Shared;
use crate::limits::{
    ASK_DEADLINE, FULL_RETRY, INBOX_MAX, JOB_ROW_BYTES_MAX, PAPER_BYTES_MAX, RELEASE_BYTES_MAX, RETRY_MAX, RETRY_MIN,
    RETURN_GRACE,
};
use crate::log::{AppendRequest, Content};
use crate::nodes::{PROMISED, ask, word};
use crate::promises::Promises;
use crate::slots::Ticket;
use crate::store::Change;

/// The longest sleep of a job's task: a wall clock that jumps is noticed after it.
const NAP_MAX: Duration = Duration::from_secs(10);

/// What comes to a job's task.
#[expect(clippy::large_enum_variant, reason = "nearly all of them are inputs")]
pub(crate) enum Post {
    /// An input, and who waits until it is durable.
    Input(Input, Option<oneshot::Sender<()>>),
    /// A node came or went.
    Link(NodeId),
}

/// The open jobs.
#[derive(Default)]
pub(crate) struct Jobs {
    open: Mutex<BTreeMap<JobId, Handle>>,
    submitting: AtomicUsize,
}

/// The way to a job's task.
#[derive(Clone)]
pub(crate) struct Handle {
    pub inbox: mpsc::Sender<Post>,
    pub latest: watch::Receiver<Arc<Job>>,
    nodes: Arc<[NodeId]>,
}

impl Handle {
    pub(crate) fn concerns(&self, node: &NodeId) -> bool {
        self.nodes.contains(node)
    }
}

/// A place among the open jobs that is taken while a submission is made durable.
pub(crate) struct Room<'a>(&'a Jobs);

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.submitting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Jobs {
    /// A place for one more job, unless `max` are open or being submitted.
    pub(crate) fn room(&self, max: usize) -> Option<Room<'_>> {
        let open = self.open();
        let room = open.len() + self.submitting.load(Ordering::SeqCst) < max;
        room.then(|| {
            self.submitting.fetch_add(1, Ordering::SeqCst);
            Room(self)
        })
    }

    /// Enters a job without a task; what is posted to it comes out.
    #[cfg(test)]
    pub(crate) fn enter(&self, job: Job) -> mpsc::Receiver<Post> {
        let (inbox, posts) = mpsc::channel(INBOX_MAX);
        let (id, nodes) = (job.id(), job.nodes().collect());
        let handle = Handle { inbox, latest: watch::channel(Arc::new(job)).1, nodes };
        self.open().insert(id, handle);
        posts
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<JobId, Handle>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn get(&self, id: &JobId) -> Option<Handle> {
        self.open().get(id).cloned()
    }

    /// Tells the jobs of a node that it came or went.
    pub(crate) async fn link(&self, node: NodeId) {
        let concerned: Vec<Handle> = self.open().values().filter(|h| h.concerns(&node)).cloned().collect();
        for handle in concerned {
            // why: a closed inbox is of a job that has just ended.
            let _ = handle.inbox.send(Post::Link(node)).await;
        }
    }
}

/// Begins to drive a job whose state is durable.
pub(crate) fn start(shared: &Arc<Shared>, job: Job, resumed: bool) {
    let (inbox, posts) = mpsc::channel(INBOX_MAX);
    let shown = Arc::new(job.clone());
    let (latest, receiver) = watch::channel(shown.clone());
    let nodes = job.nodes().collect();
    let id = job.id();
    let handle = Handle { inbox: inbox.clone(), latest: receiver, nodes };
    shared.jobs.open().insert(id, handle);
    let driver = Driver {
        shared: shared.clone(),
        job,
        shown,
        latest,
        inbox,
        asks: BTreeMap::new(),
        under_way: JoinSet::new(),
        serial: 0,
        appending: false,
        ticket: None,
        turn: None,
        promises: Promises::default(),
        stepped: UnixMillis(0),
        answers: Vec::new(),
        logging: None,
        committed: None,
    };
    let shared_too = shared.clone();
    shared.spawn(async move {
        driver.run(posts, resumed).await;
        shared_too.jobs.open().remove(&id);
    });
}

type Key = (NodeId, &'static str);

/// A request that is outstanding.
struct Asking {
    request: ToNode,
    serial: u64,
    tries: u32,
    under_way: Option<AbortHandle>,
}

struct Driver {
    shared: Arc<Shared>,
    job: Job,
    /// The job as others see it: durable in all that anything follows from.
    shown: Arc<Job>,
    latest: watch::Sender<Arc<Job>>,
    inbox: mpsc::Sender<Post>,
    asks: BTreeMap<Key, Asking>,
    under_way: JoinSet<(Key, u64, Option<FromNode>)>,
    serial: u64,
    appending: bool,
    ticket: Option<Ticket>,
    turn: Option<oneshot::Receiver<Ticket>>,
    promises: Promises,
    /// The time of the last step.
    stepped: UnixMillis,
    /// Signed answers that are not stored yet.
    answers: Vec<(NodeId, Blob)>,
    /// Since when this process has waited for the log to have the receipt.
    logging: Option<Instant>,
    /// What the parties of a deposited result committed to of its key, once the result has been read.
    committed: Option<Committed>,
}

impl Driver {
    async fn run(mut self, mut posts: mpsc::Receiver<Post>, resumed: bool) {
        let mut grace = Some(Instant::now() + if resumed { RETURN_GRACE } else { Duration::ZERO });
        self.take_back(resumed);
        self.step(if resumed { Input::Resumed } else { Input::Tick });
        let mut waiting = Vec::new();
        loop {
            if !self.store(&mut waiting).await {
                return;
            }
            if self.job.is_over() {
                let code = self.job.terminal().and_then(tacit_engine::Terminal::code);
                tracing::info!(job = %self.job.id().short(), state = self.job.state(), code = ?code, "over");
                return;
            }
            let wake = self.act();
            let mut batch = Vec::new();
            tokio::select! {
                n = posts.recv_many(&mut batch, INBOX_MAX) => {
                    if n == 0 {
                        return;
                    }
                    for post in batch {
                        match post {
                            Post::Input(input, done) => {
                                self.step(input);
                                waiting.extend(done);
                            }
                            Post::Link(node) if grace.is_none() || self.shared.nodes.is_up(&node) => self.link(node),
                            Post::Link(_) => {}
                        }
                    }
                }
                Some(done) = self.under_way.join_next() => {
                    if let Ok((key, serial, answer)) = done {
                        self.answered(key, serial, answer);
                    }
                }
                Some(ticket) = granted(&mut self.turn) => {
                    self.turn = None;
                    self.ticket = Some(ticket);
                    self.step(Input::Capacity(true));
                }
                () = sleep_until(grace.unwrap_or_else(Instant::now)), if grace.is_some() => {
                    grace = None;
                    let away: Vec<NodeId> = self.job.nodes().filter(|n| !self.shared.nodes.is_up(n)).collect();
                    away.into_iter().for_each(|node| self.link(node));
                }
                () = sleep(wake) => {
                    let late = self.logging.is_some_and(|since| since.elapsed() >= self.receipt_wait());
                    self.step(if late { Input::NotLogged(not_cosigned()) } else { Input::Tick });
                }
            }
        }
    }

    /// How long a job waits for its receipt: as long as its parties were promised. Witnesses that are gone keep no job open for
    /// ever; a receipt that comes later changes nothing.
    fn receipt_wait(&self) -> Duration {
        Duration::from_millis(self.shared.config.promise_ms)
    }

    /// What a job held when the process stopped.
    fn take_back(&mut self, resumed: bool) {
        match self.job.state() {
            "reserving" | "running" if resumed => {
                self.ticket = Some(self.shared.slots.retake(self.job.nodes().collect()));
            }
            "queued" => self.turn = Some(self.shared.slots.ask(self.job.nodes().collect())),
            _ => {}
        }
    }

    fn link(&mut self, node: NodeId) {
        let reachable = self.shared.nodes.is_up(&node);
        self.step(Input::Reachable { node, reachable });
    }

    /// One step, and the turn that it may need: no node hears of an attempt for which the
    /// coordinator itself counts no slot.
    fn step(&mut self, input: Input) {
        let now = self.shared.clock.now();
        self.stepped = now;
        self.job.know(self.shared.roster().keys());
        self.job.step(now, input);
        match self.job.state() {
            "reserving" | "running" if self.ticket.is_none() => {
                let ask = || self.shared.slots.ask(self.job.nodes().collect());
                let mut turn = self.turn.take().unwrap_or_else(ask);
                match turn.try_recv() {
                    Ok(ticket) => self.ticket = Some(ticket),
                    Err(_) => {
                        self.turn = Some(turn);
                        self.job.step(now, Input::Capacity(false));
                    }
                }
            }
            "reserving" | "running" => {}
            "queued" => self.ticket = None,
            _ => (self.ticket, self.turn) = (None, None),
        }
    }

    /// Makes the state durable and shows it. `false` when that is impossible.
    async fn store(&mut self, waiting: &mut Vec<oneshot::Sender<()>>) -> bool {
        if *self.shown != self.job {
            // What nothing follows from, such as a reported step, is stored with the next change.
            let matters = !waiting.is_empty()
                || self.shown.state() != self.job.state()
                || self.shown.outstanding() != self.job.outstanding();
            if matters && !self.write().await {
                return false;
            }
            self.shown = Arc::new(self.job.clone());
            self.latest.send_replace(self.shown.clone());
        }
        for done in waiting.drain(..) {
            let _ = done.send(());
        }
        true
    }

    async fn write(&mut self) -> bool {
        let id = self.job.id();
        // Before what follows from them: a coordinator that is killed between the two asks again, and gets the same.
        while !self.answers.is_empty() {
            match self.shared.store.write(Change::PutAnswers { id, answers: self.answers.clone() }).await {
                Ok(_) => self.answers.clear(),
                Err(fault) if matches!(fault.code, Code::StoreFull | Code::StoreLocked) => {
                    tracing::warn!(job = %id.short(), %fault, "a job's answers cannot be stored now");
                    sleep(FULL_RETRY).await;
                }
                Err(_) => return false,
            }
        }
        loop {
            let value = wire::encode(&self.job);
            if value.is_empty() || value.len() > JOB_ROW_BYTES_MAX {
                tracing::error!(job = %id.short(), bytes = value.len(), "a job is too large to be stored");
                return false;
            }
            let (state, over) = (self.job.state().to_owned(), self.job.is_over());
            match self.shared.store.write(Change::PutJob { id, state, over, value }).await {
                Ok(_) => return true,
                Err(fault) if matches!(fault.code, Code::StoreFull | Code::StoreLocked) => {
                    tracing::warn!(job = %id.short(), %fault, "a job's state cannot be stored now");
                    sleep(FULL_RETRY).await;
                }
                Err(_) => return false,
            }
        }
    }

    /// Carries out what the state asks for; how long to sleep.
    fn act(&mut self) -> Duration {
        let mut wanted: BTreeMap<Key, ToNode> = BTreeMap::new();
        let mut wake = NAP_MAX;
        for command in self.job.outstanding() {
            if matches!(command, Command::Append { .. }) {
                let since = *self.logging.get_or_insert_with(Instant::now);
                wake = wake.min((since + self.receipt_wait()).saturating_duration_since(Instant::now()));
            }
            match command {
                Command::Ask { node, request } => {
                    wanted.insert((node, word(&request)), request);
                }
                Command::WakeAt(at) if at > self.stepped => {
                    let left = at.0.saturating_sub(self.shared.clock.now().0);
                    wake = wake.min(Duration::from_millis(left));
                }
                Command::WakeAt(_) => {}
                Command::Append { record, attestations, absent } if !self.appending => {
                    self.appending = true;
                    let (job, reply) = (self.job.id(), self.inbox.clone());
                    let nodes = self.job.nodes().collect();
                    let content = Content::Receipt { job, record, attestations, absent, reply };
                    let request = AppendRequest { nodes, content };
                    let appends = self.shared.appends.clone();
                    // The log takes so many at a time and no more; the job waits here.
                    self.shared.spawn(async move {
                        let _ = appends.send(request).await;
                    });
                }
                Command::Append { .. } => {}
            }
        }
        let (root, now) = (&self.shared.root, self.shared.clock.now());
        for (node, request) in self.promises.owed(&self.job, root, (now, self.shared.config.promise_ms)) {
            wanted.insert((node, PROMISED), request);
        }
        self.reconcile(wanted);
        wake
    }

    /// Keeps at most one request of a kind under way to each node, and none that is not wanted.
    fn reconcile(&mut self, wanted: BTreeMap<Key, ToNode>) {
        self.asks.retain(|key, asking| {
            let keep = wanted.get(key) == Some(&asking.request);
            if !keep && let Some(under_way) = &asking.under_way {
                under_way.abort();
            }
            keep
        });
        for (key, request) in wanted {
            self.serial += 1;
            let fresh = Asking { request, serial: self.serial, tries: 0, under_way: None };
            let asking = self.asks.entry(key).or_insert(fresh);
            if asking.under_way.is_some() {
                continue;
            }
            let (shared, serial, pause) = (self.shared.clone(), asking.serial, backoff(asking.tries));
            let frame = wire::encode(&asking.request);
            asking.under_way = Some(self.under_way.spawn(async move {
                sleep(pause).await;
                let connection = shared.nodes.wait(&key.0).await;
                let answer = ask(&connection, &frame, ASK_DEADLINE).await;
                if let Err(fault) = &answer {
                    tracing::debug!(node = %key.0.short(), request = key.1, %fault, "no answer");
                }
                (key, serial, answer.ok())
            }));
        }
    }

    fn answered(&mut self, key: Key, serial: u64, answer: Option<FromNode>) {
        let Some(asking) = self.asks.get_mut(&key).filter(|asking| asking.serial == serial) else { return };
        asking.under_way = None;
        asking.tries = asking.tries.saturating_add(1);
        match answer {
            // It is no step of the job: without a promise the receipt comes as well.
            Some(_) if key.1 == PROMISED => self.promises.given(key.0),
            Some(FromNode::Released(part)) if part.len() > RELEASE_BYTES_MAX => {
                tracing::warn!(node = %key.0.short(), bytes = part.len(), "a release is too long");
            }
            Some(FromNode::Released(part)) if self.is_false(&key.0, &part) => {
                self.step(Input::FalseRelease { node: key.0 });
            }
            Some(answer) => {
                self.answers
                    .extend(signed_answer(self.shared.roster().keys(), &key.0, &answer).map(|signed| (key.0, signed)));
                self.step(Input::Answer { node: key.0, answer });
            }
            None => {}
        }
    }
}

impl Driver {
    /// Whether a node's part of the key of a deposited result is not the one that it committed to. A result that cannot be
    /// read now is not judged by.
    fn is_false(&mut self, node: &NodeId, part: &Blob) -> bool {
        let (Some(Package::Deposited { hash, .. }), Some(seat)) = (self.job.package(), self.job.seat(node)) else {
            return false;
        };
        if self.committed.is_none() {
            self.committed = self.shared.depot.whole(hash).ok().and_then(|bytes| Committed::of(&bytes));
        }
        self.committed.as_ref().and_then(|committed| committed.fits(seat, part)) == Some(false)
    }
}

fn not_cosigned() -> Fault {
    Fault::new(Code::LogQuorum, "the log's witnesses have not cosigned the receipt in the time that was promised")
}

/// The signed answer of a node to a job, worth keeping as a paper.
fn signed_answer(keys: &KeyHistory, node: &NodeId, answer: &FromNode) -> Option<Blob> {
    let (FromNode::Admitted(signed) | FromNode::Refused(signed)) = answer else { return None };
    let own = |bytes: &Blob| {
        Envelope::verify(bytes).is_ok_and(|envelope| keys.id_of(KeyRole::Node, &envelope.signer) == *node)
    };
    Some(signed).filter(|bytes| bytes.len() <= PAPER_BYTES_MAX && own(bytes)).cloned()
}

/// The ticket, when there is a turn to wait for and it has come.
async fn granted(turn: &mut Option<oneshot::Receiver<Ticket>>) -> Option<Ticket> {
    match turn {
        Some(turn) => turn.await.ok(),
        None => None,
    }
}

/// None before the first try; then doubling, between a half and the whole.
fn backoff(tries: u32) -> Duration {
    if tries == 0 {
        return Duration::ZERO;
    }
    let whole = RETRY_MIN.saturating_mul(1 << (tries - 1).min(8)).min(RETRY_MAX);
    let mut random = [0u8; 1];
    // why: without randomness the pause is only less spread.
    let _ = getrandom::fill(&mut random);
    let [random] = random;
    whole / 2 + whole / 2 * u32::from(random) / 255
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use tacit_crypto::{SealPublic, Secret, SigningKey, Statement};
    use tacit_engine::{Member, Seated};
    use tacit_governance::{Cohort, JobSpec, ProviderRef};
    use tacit_types::{DatasetVersionId, Name};

    pub(crate) const T0: UnixMillis = UnixMillis(1_800_000_000_000);

    /// A job over one node's data, just submitted.
    pub(crate) fn job() -> Job {
        let key = |n: u8| SigningKey::from_seed(&Secret::new([n; 32]));
        let (root, node) = (key(1).id(), key(2).id());
        let spec = JobSpec {
            version: 1,
            kind: "count/v1".into(),
            params: Vec::new(),
            contracts: vec![tacit_types::ContractId([1; 32])],
            providers: vec![ProviderRef { owner: root, dataset: DatasetVersionId([1; 32]), view: "v".into() }],
            purpose: "test".into(),
            recipient: SealPublic([7; 32]),
            cohort: Cohort { rows: 3, contributors: 2 },
            nonce: vec![7; 16],
            created_at: T0,
            expires_at: T0.plus(3_600_000),
            attempt_ms: 1_000,
            models: Vec::new(),
            dealer: None,
            asker: None,
            attachments: Vec::new(),
        };
        let bytes = Statement::sign(&key(3), "job", T0, None, spec).bytes().to_vec();
        let seated = Seated { card: Vec::new().into(), address: String::new() };
        let member = Member { name: Name::new("p").unwrap(), root, node, seated };
        Job::submit(bytes, vec![member], Vec::new(), "o", Default::default(), T0).unwrap()
    }

    #[test]
    fn pauses_double_and_stay_within_bounds() {
        assert_eq!(backoff(0), Duration::ZERO);
        for (tries, most) in [(1, 200), (2, 400), (4, 1600), (5, 2000), (33, 2000), (u32::MAX, 2000)] {
            let pause = backoff(tries).as_millis();
            assert!(pause <= most && pause >= most / 2, "{tries}: {pause}");
        }
    }
}
