//! Between the callers and a window's seat: calls wait here, are put together to batches, and get their answers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tacit_jobs::score::online::BATCHES_MAX;
use tacit_jobs::score::online::host::{Asked, Say, Tell, hear, said};
use tacit_receipts::{Call, request_hash};
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault, JobId};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::store::CallRow;

/// Calls of one window that wait to be put to the owners.
pub const CALLS_WAITING_MAX: usize = 1024;

/// What a call is answered with.
pub(crate) struct Answered {
    /// Its window.
    pub job: JobId,
    /// Its attempt.
    pub attempt: u32,
    /// The call's number in the window.
    pub number: u64,
    /// Its opening.
    pub call: Call,
    /// The opened numbers.
    pub cells: Vec<u64>,
}

/// A call on its way.
pub(crate) struct Ask {
    pub keys: Vec<Blob>,
    pub caller: String,
    pub reply: oneshot::Sender<Result<Answered, Code>>,
}

/// How far a window is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Its job was submitted.
    Opening,
    /// Calls are answered.
    Open,
    /// It has ended, or its attempt has.
    Ended,
}

/// What goes into one batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Together {
    /// How long calls wait for each other.
    pub wait: Duration,
    /// Calls at most: one where owners count keys, so that none is refused for the keys of another.
    pub calls: usize,
    /// Rows at most.
    pub rows: usize,
}

/// One window, as its series knows it.
pub(crate) struct Window {
    pub job: JobId,
    together: Together,
    phase: watch::Sender<Phase>,
    asks: Mutex<Option<mpsc::Sender<Ask>>>,
    closing: AtomicBool,
    close: Notify,
    openings: mpsc::Sender<CallRow>,
}

impl Window {
    pub fn new(job: JobId, together: Together, openings: mpsc::Sender<CallRow>) -> Arc<Self> {
        Arc::new(Self {
            job,
            together,
            phase: watch::channel(Phase::Opening).0,
            asks: Mutex::default(),
            closing: AtomicBool::new(false),
            close: Notify::new(),
            openings,
        })
    }

    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Answers what waits and ends the window.
    pub fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.close.notify_one();
    }

    /// Hands a call in.
    pub fn ask(&self, ask: Ask) -> Result<(), Code> {
        let asks = self.asks.lock().unwrap_or_else(PoisonError::into_inner);
        match asks.as_ref().map(|asks| asks.try_send(ask)) {
            Some(Ok(())) => Ok(()),
            Some(Err(mpsc::error::TrySendError::Full(_))) => Err(Code::OnlineBusy),
            Some(Err(mpsc::error::TrySendError::Closed(_))) | None => Err(Code::OnlineClosed),
        }
    }

    /// The seat's end for an attempt that begins.
    pub fn link(self: &Arc<Self>, attempt: u32) -> HostLink {
        let (sender, asks) = mpsc::channel(CALLS_WAITING_MAX);
        *self.asks.lock().unwrap_or_else(PoisonError::into_inner) = Some(sender);
        HostLink {
            window: Some(self.clone()),
            attempt,
            asks,
            buffer: VecDeque::new(),
            since: None,
            pending: BTreeMap::new(),
            next_tag: 0,
            said_close: false,
        }
    }
}

/// The seat's end. It lives as long as the attempt.
pub(crate) struct HostLink {
    window: Option<Arc<Window>>,
    attempt: u32,
    asks: mpsc::Receiver<Ask>,
    /// Calls that the next batch takes from, and since when the first of them waits.
    buffer: VecDeque<Ask>,
    since: Option<Instant>,
    pending: BTreeMap<u64, Vec<Ask>>,
    next_tag: u64,
    said_close: bool,
}

impl HostLink {
    /// Of a window that nobody here waits for any more, as after a restart: it is ended at once.
    pub fn orphan(attempt: u32) -> Self {
        let (_, asks) = mpsc::channel(1);
        let (buffer, pending) = (VecDeque::new(), BTreeMap::new());
        Self { window: None, attempt, asks, buffer, since: None, pending, next_tag: 0, said_close: false }
    }

    /// The next bytes for the seat. Dropped while it waits, it loses nothing.
    pub async fn next(&mut self) -> Vec<u8> {
        loop {
            if self.said_close || self.pending.len() >= BATCHES_MAX {
                return std::future::pending().await;
            }
            let Some(window) = self.window.clone() else { return self.say_close() };
            let Together { wait, calls, .. } = window.together;
            while self.buffer.len() < calls {
                let Ok(ask) = self.asks.try_recv() else { break };
                self.keep(ask);
            }
            let wait = self.since.map(|since| since + wait);
            let due = wait.is_some_and(|at| at <= Instant::now());
            if self.buffer.len() >= calls || due {
                return self.batch(window.together);
            }
            if self.buffer.is_empty() && window.closing.load(Ordering::SeqCst) && window.phase() == Phase::Open {
                return self.say_close();
            }
            tokio::select! {
                Some(ask) = self.asks.recv() => self.keep(ask),
                () = window.close.notified() => {}
                () = sleep_until(wait) => {}
            }
        }
    }

    fn keep(&mut self, ask: Ask) {
        self.since.get_or_insert_with(Instant::now);
        self.buffer.push_back(ask);
    }

    fn say_close(&mut self) -> Vec<u8> {
        self.said_close = true;
        said(&Say::Close)
    }

    fn batch(&mut self, most: Together) -> Vec<u8> {
        let (mut batch, mut rows) = (Vec::new(), 0);
        while let Some(ask) = self.buffer.front() {
            if batch.len() >= most.calls || rows + ask.keys.len() > most.rows {
                break;
            }
            rows += ask.keys.len();
            batch.extend(self.buffer.pop_front());
        }
        self.since = if self.buffer.is_empty() { None } else { self.since };
        let tag = self.next_tag;
        self.next_tag += 1;
        let calls = batch.iter().map(|ask| ask.keys.clone()).collect();
        self.pending.insert(tag, batch);
        said(&Say::Calls { tag, calls })
    }

    /// Takes what a seat says.
    pub fn take(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        match hear(bytes)? {
            Tell::Ready => {
                if let Some(window) = &self.window {
                    window.phase.send_replace(Phase::Open);
                }
            }
            Tell::Answered { tag, asked, outcome } => {
                let batch = self.pending.remove(&tag).unwrap_or_default();
                self.answer(batch, asked, outcome);
            }
            Tell::Ending => self.end(),
            Tell::Closed { .. } | Tell::Count { .. } => {}
        }
        Ok(())
    }

    fn answer(&self, batch: Vec<Ask>, asked: Option<Asked>, outcome: Result<Vec<Vec<u64>>, Code>) {
        let mut cells = match &outcome {
            Ok(cells) => cells.iter().map(Some).collect(),
            Err(_) => Vec::new(),
        }
        .into_iter();
        for (i, ask) in batch.into_iter().enumerate() {
            let opening = asked.as_ref().and_then(|a| Some((a.first + i as u64, a.at_ms, *a.salts.get(i)?)));
            let answer = match (opening.zip(self.window.as_ref()), &outcome) {
                (Some(((number, at_ms, salt), window)), outcome) => {
                    let plain: Vec<&[u8]> = ask.keys.iter().map(|k| k.0.as_slice()).collect();
                    let call = Call { at_ms, keys: plain.len() as u32, request: request_hash(&plain), salt };
                    let row = CallRow { job: window.job, number, call, caller: ask.caller, at: crate::now() };
                    if window.openings.try_send(row).is_err() {
                        tracing::warn!(job = %window.job.short(), number, "the opening of a call could not be kept");
                    }
                    let (job, attempt) = (window.job, self.attempt);
                    match (outcome, cells.next().flatten()) {
                        (Ok(_), Some(cells)) => Ok(Answered { job, attempt, number, call, cells: cells.clone() }),
                        (Err(code), _) => Err(*code),
                        (Ok(_), None) => Err(Code::JobInternal),
                    }
                }
                (None, Err(code)) => Err(*code),
                (None, Ok(_)) => Err(Code::JobInternal),
            };
            let _ = ask.reply.send(answer);
        }
    }
}

impl HostLink {
    /// Takes no more calls. Those that were not put to the owners are told so, and are good for another window.
    fn end(&mut self) {
        self.said_close = true;
        if let Some(window) = &self.window {
            *window.asks.lock().unwrap_or_else(PoisonError::into_inner) = None;
            window.phase.send_replace(Phase::Ended);
        }
        self.asks.close();
        let waiting = core::iter::from_fn(|| self.asks.try_recv().ok());
        let unasked = core::mem::take(&mut self.pending).into_values().flatten();
        for ask in self.buffer.drain(..).chain(waiting).chain(unasked) {
            let _ = ask.reply.send(Err(Code::OnlineClosed));
        }
    }
}

impl Drop for HostLink {
    fn drop(&mut self) {
        if !self.said_close || !self.pending.is_empty() {
            // The attempt ended in another way: what waits was lost with it.
            self.buffer.clear();
            self.pending.clear();
        }
        self.end();
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use tacit_jobs::score::online::{BATCH_CALLS_MAX, BATCH_ROWS_MAX};
    use tacit_types::wire;

    use super::*;

    fn together(ms: u64) -> Together {
        Together { wait: Duration::from_millis(ms), calls: BATCH_CALLS_MAX, rows: BATCH_ROWS_MAX }
    }

    fn ask(keys: usize) -> (Ask, oneshot::Receiver<Result<Answered, Code>>) {
        let (reply, answer) = oneshot::channel();
        let keys = (0..keys).map(|i| Blob(i.to_string().into_bytes())).collect();
        (Ask { keys, caller: "app".into(), reply }, answer)
    }

    fn calls(bytes: &[u8]) -> Vec<usize> {
        match wire::decode(bytes).unwrap() {
            Say::Calls { calls, .. } => calls.iter().map(Vec::len).collect(),
            Say::Close | Say::Counted { .. } => Vec::new(),
        }
    }

    #[tokio::test]
    async fn calls_go_together_within_the_limits_and_one_too_many_is_told_so() {
        let (openings, _kept) = mpsc::channel(1);
        let window = Window::new(JobId([1; 32]), together(5), openings);
        assert_eq!(window.ask(ask(1).0), Err(Code::OnlineClosed), "before it is open");
        let mut link = window.link(1);
        link.take(&wire::encode(&Tell::Ready)).unwrap();
        assert_eq!(window.phase(), Phase::Open);
        let begun = Instant::now();
        for keys in [3, 1] {
            window.ask(ask(keys).0).unwrap();
        }
        assert_eq!(calls(&link.next().await), [3, 1]);
        assert!(begun.elapsed() >= Duration::from_millis(5), "they waited for others");
        // More rows than a batch holds: the rest goes with the next.
        for _ in 0..5 {
            window.ask(ask(1024).0).unwrap();
        }
        assert_eq!(calls(&link.next().await), [1024; 4]);
        assert_eq!(calls(&link.next().await), [1024]);
        for _ in 0..CALLS_WAITING_MAX {
            window.ask(ask(1).0).unwrap();
        }
        assert_eq!(window.ask(ask(1).0), Err(Code::OnlineBusy), "one past it");
        link.take(&wire::encode(&Tell::Ending)).unwrap();
        assert_eq!((window.phase(), window.ask(ask(1).0)), (Phase::Ended, Err(Code::OnlineClosed)));
    }

    #[tokio::test]
    async fn a_window_ends_after_what_waits_and_one_that_nobody_waits_for_at_once() {
        let (openings, _kept) = mpsc::channel(1);
        let window = Window::new(JobId([1; 32]), together(0), openings);
        let mut link = window.link(1);
        link.take(&wire::encode(&Tell::Ready)).unwrap();
        let (one, answer) = ask(2);
        window.ask(one).unwrap();
        window.close();
        assert_eq!(calls(&link.next().await), [2]);
        let asked = Asked { first: 7, at_ms: 9, salts: vec![tacit_types::Hash([3; 32])] };
        let outcome = Ok(vec![vec![1, 2, 0, 0]]);
        link.take(&wire::encode(&Tell::Answered { tag: 0, asked: Some(asked), outcome })).unwrap();
        let answered = answer.await.unwrap().unwrap_or_else(|code| panic!("{code}"));
        assert_eq!((answered.number, answered.call.at_ms, answered.cells), (7, 9, vec![1, 2, 0, 0]));
        assert_eq!(calls(&link.next().await), Vec::<usize>::new(), "then it closes");
        let (lost, answer) = ask(1);
        drop(lost);
        assert!(answer.await.is_err());
        assert_eq!(calls(&HostLink::orphan(1).next().await), Vec::<usize>::new());
    }
}
