//! A published model: one window after the other, the next opened before the last is used up.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tacit_crypto::{Statement, cbor};
use tacit_engine::{FromCoordinator, Terminal, ToCoordinator};
use tacit_governance::{JobSpec, SignedContract};
use tacit_jobs::score::online::host::Reading;
use tacit_jobs::score::online::{ANSWER_MS_MAX, BATCH_CALLS_MAX, CALL_KEYS_MAX};
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault, JobId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::link::{Answered, Ask, Phase, Together, Window};
use crate::client;
use crate::daemon::Inner;
use crate::store::PublishedRow;

/// Durations of calls of which the listing shows the middle.
pub const LATENCIES_MAX: usize = 4096;
/// How often a series looks at its windows.
const PAUSE: Duration = Duration::from_millis(100);
/// How often the end of a job that opens a window is asked for, and what is shown is written down.
const LOOK: Duration = Duration::from_secs(1);
/// The first pause before a window that was not opened is tried again; it doubles.
const RETRY_MIN: Duration = Duration::from_millis(500);
/// The longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// How long a job that opens a window may wait for that.
const EXPIRES_MS: u64 = 20_000;

/// The window that answers.
struct Live {
    window: Arc<Window>,
    rows_left: u64,
    until: Instant,
}

/// Rows that may be asked for now.
struct Pace {
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Pace {
    /// Less than an owner allows at once, so that what the way there adds to a burst is no more than that.
    fn most(&self) -> f64 {
        (self.per_second * 0.75).max(1.0)
    }

    fn take(&mut self, rows: usize, now: Instant) -> bool {
        let passed = now.duration_since(self.at).as_secs_f64();
        self.left = (self.left + passed * self.per_second).min(self.most());
        self.at = now;
        let enough = self.left >= rows as f64;
        self.left -= if enough { rows as f64 } else { 0.0 };
        enough
    }
}

#[derive(Default)]
struct Counts {
    calls: u64,
    rows: u64,
    failed: u64,
    windows: u64,
    /// In microseconds, the newest last.
    latencies: VecDeque<u32>,
}

impl Counts {
    /// Keeps the duration of a call; the oldest gives way.
    fn took(&mut self, duration: Duration) {
        if self.latencies.len() >= LATENCIES_MAX {
            self.latencies.pop_front();
        }
        self.latencies.push_back(u32::try_from(duration.as_micros()).unwrap_or(u32::MAX));
    }
}

struct State {
    live: Option<Live>,
    pace: Pace,
    counts: Counts,
    last: Option<Fault>,
}

/// The least value that so many hundredths of all are not above (nearest rank).
fn percentile(sorted: &[u32], hundredth: usize) -> Option<u32> {
    let rank = (sorted.len() * hundredth).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied()
}

/// One published model.
pub(crate) struct Series {
    pub row: PublishedRow,
    pub reading: Reading,
    spec: JobSpec,
    state: Mutex<State>,
}

impl Series {
    /// # Errors
    /// `store.corrupt` for a template that is none.
    pub fn new(row: PublishedRow) -> Result<Arc<Self>, Fault> {
        let corrupt = |what: &str| Fault::new(Code::StoreCorrupt, format!("published model {}: {what}", row.name));
        let spec: JobSpec = cbor::decode(&row.template).map_err(corrupt)?;
        let plan = tacit_jobs::kind(&spec.kind)?.plan(&spec.params, &tacit_jobs::Parts::of(&spec))?;
        let reading = plan.window().ok_or_else(|| corrupt("it opens no window"))?;
        let per_second = reading.rows_per_second() as f64;
        let pace = Pace { per_second, left: 0.0, at: Instant::now() };
        let state = Mutex::new(State { live: None, pace, counts: Counts::default(), last: None });
        Ok(Arc::new(Self { row, reading, spec, state }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a call to the owners and gives what they answer.
    pub async fn call(&self, keys: Vec<Blob>, caller: String) -> Result<Answered, Fault> {
        let begun = Instant::now();
        let rows = keys.len();
        let answer = match self.hand_in(keys, caller, begun) {
            Ok(answer) => {
                let patience = Duration::from_millis(ANSWER_MS_MAX + 1_000);
                match tokio::time::timeout(patience, answer).await {
                    Ok(Ok(answer)) => answer.map_err(|code| Fault::new(code, format!("{rows} keys"))),
                    Ok(Err(_)) => Err(Fault::new(Code::JobPeerLost, "the window ended before the owners answered")),
                    Err(_) => Err(Fault::new(Code::OnlineDeadline, format!("{} ms", patience.as_millis()))),
                }
            }
            Err(fault) => Err(fault),
        };
        let mut state = self.state();
        let counts = &mut state.counts;
        match &answer {
            Ok(_) => {
                counts.calls += 1;
                counts.rows += rows as u64;
                counts.took(begun.elapsed());
            }
            Err(_) => counts.failed += 1,
        }
        answer
    }

    fn hand_in(
        &self,
        keys: Vec<Blob>,
        caller: String,
        now: Instant,
    ) -> Result<oneshot::Receiver<Result<Answered, Code>>, Fault> {
        let rows = keys.len();
        let mut state = self.state();
        let most = CALL_KEYS_MAX.min(self.reading.batch_rows()).min(state.pace.most() as usize);
        if rows == 0 || rows > most {
            let what = format!("{rows} keys; 1 to {most} at a time");
            return Err(Fault::new(Code::OnlineRequest, what));
        }
        let closed = |state: &State| {
            let why = state.last.as_ref().map_or("it is being opened".to_owned(), ToString::to_string);
            Fault::new(Code::OnlineClosed, format!("`{}`: {why}", self.row.name))
        };
        let Some(live) = state.live.as_ref().filter(|live| live.rows_left >= rows as u64) else {
            return Err(closed(&state));
        };
        let window = live.window.clone();
        if !state.pace.take(rows, now) {
            let what = format!("`{}`: {} rows a second", self.row.name, state.pace.per_second);
            return Err(Fault::new(Code::RefusedPace, what));
        }
        let (reply, answer) = oneshot::channel();
        match window.ask(Ask { keys, caller, reply }) {
            Ok(()) => {}
            Err(Code::OnlineClosed) => return Err(closed(&state)),
            Err(code) => return Err(Fault::new(code, format!("`{}`", self.row.name))),
        }
        if let Some(live) = &mut state.live {
            live.rows_left -= rows as u64;
        }
        Ok(answer)
    }

    /// Whether the window that answers will soon not, or there is none.
    fn wants_next(&self, now: Instant) -> bool {
        let seconds = self.reading.seconds();
        let margin = Duration::from_secs((seconds / 8).clamp(1, 20));
        match &self.state().live {
            None => true,
            Some(live) => live.rows_left <= self.reading.rows() / 4 || live.until <= now + margin,
        }
    }

    /// What listings show.
    fn status(&self) -> Value {
        let state = self.state();
        let mut sorted: Vec<u32> = state.counts.latencies.iter().copied().collect();
        sorted.sort_unstable();
        let place = |hundredth| percentile(&sorted, hundredth);
        let counts = &state.counts;
        json!({
            "state": if state.live.is_some() { "open" } else { "opening" },
            "window": state.live.as_ref().map(|l| l.window.job.to_string()),
            "rows_left": state.live.as_ref().map(|l| l.rows_left),
            "calls": counts.calls, "rows": counts.rows, "failed": counts.failed, "windows": counts.windows,
            "p50_us": place(50), "p99_us": place(99),
            "code": state.last.as_ref().map(|f| f.code.text()), "what": state.last.as_ref().map(|f| f.what.clone()),
        })
    }

    /// Signs the job that opens the next window.
    fn job(&self, inner: &Inner) -> Result<Statement<JobSpec>, Fault> {
        let now = crate::now();
        let mut spec = self.spec.clone();
        spec.nonce = crate::os_rng()?.bytes::<16>().to_vec();
        spec.created_at = now;
        spec.expires_at = now.plus(EXPIRES_MS);
        let job = Statement::sign(&inner.signing, &spec.kind.clone(), now, None, spec);
        JobSpec::verify(job.bytes())
    }
}

/// Keeps a window open until `stopped` is told.
pub(super) async fn run(inner: Arc<Inner>, series: Arc<Series>, mut stopped: oneshot::Receiver<()>) {
    let mut driver = Driver { inner, series, next: None, retry: RETRY_MIN, retry_at: Instant::now(), looked: None };
    while matches!(stopped.try_recv(), Err(oneshot::error::TryRecvError::Empty)) {
        driver.step().await;
        tokio::time::sleep(PAUSE).await;
    }
    let live = driver.series.state().live.take();
    for window in live.map(|live| live.window).into_iter().chain(driver.next.take()) {
        window.close();
        driver.inner.online.forget_when_ended(&window);
    }
}

struct Driver {
    inner: Arc<Inner>,
    series: Arc<Series>,
    /// The window that opens.
    next: Option<Arc<Window>>,
    retry: Duration,
    retry_at: Instant,
    looked: Option<Instant>,
}

impl Driver {
    async fn step(&mut self) {
        let now = Instant::now();
        let ended = self.series.state().live.take_if(|live| live.window.phase() == Phase::Ended);
        if let Some(live) = ended {
            self.inner.online.forget(&live.window.job);
        }
        let phase = self.next.as_ref().map(|window| window.phase());
        match (phase, self.next.take()) {
            (Some(Phase::Open), Some(window)) => self.opened(window, now),
            (Some(Phase::Ended), Some(window)) => {
                self.inner.online.forget(&window.job);
                self.failed(Fault::new(Code::OnlineClosed, "the window ended before it opened"), now);
            }
            (_, next) => self.next = next,
        }
        if self.next.is_none() && now >= self.retry_at && self.series.wants_next(now) {
            match self.submit().await {
                Ok(window) => self.next = Some(window),
                Err(fault) => self.failed(fault, now),
            }
        }
        if self.looked.is_none_or(|at| now.duration_since(at) >= LOOK) {
            self.looked = Some(now);
            self.look(now).await;
        }
    }

    fn opened(&mut self, window: Arc<Window>, now: Instant) {
        let rows_left = self.series.reading.rows();
        let until = now + Duration::from_secs(self.series.reading.seconds());
        self.retry = RETRY_MIN;
        let mut state = self.series.state();
        state.counts.windows += 1;
        state.last = None;
        tracing::info!(model = self.series.row.name, job = %window.job.short(), "a window is open");
        if let Some(before) = state.live.replace(Live { window, rows_left, until }) {
            before.window.close();
            self.inner.online.forget_when_ended(&before.window);
        }
    }

    fn failed(&mut self, fault: Fault, now: Instant) {
        tracing::warn!(model = self.series.row.name, %fault, "no window was opened");
        self.series.state().last = Some(fault);
        self.retry_at = now + self.retry;
        self.retry = (self.retry * 2).min(RETRY_MAX);
    }

    async fn submit(&self) -> Result<Arc<Window>, Fault> {
        let connection = self.inner.to_coordinator.borrow().clone();
        let connection = connection.ok_or_else(|| Fault::new(Code::NetUnreachable, "the coordinator"))?;
        let job = self.series.job(&self.inner)?;
        let id = JobSpec::id(&job);
        let contracts = self.inner.store.contracts().await?;
        let named = |c: &&SignedContract| job.body().contracts.contains(&c.id());
        let counted = contracts.iter().filter(named).any(|c| crate::asked::terms(c.body()).is_some());
        let together = Together {
            wait: Duration::from_millis(self.series.row.batch_ms),
            calls: if counted { 1 } else { BATCH_CALLS_MAX },
            rows: self.series.reading.batch_rows(),
        };
        let window = self.inner.online.awaited(id, together);
        let request = ToCoordinator::Submit { job: Blob(job.bytes().to_vec()) };
        match client::ask(&connection, &self.inner.ledger, &request).await {
            Ok(_) => Ok(window),
            Err(fault) => {
                self.inner.online.forget(&id);
                Err(fault)
            }
        }
    }

    /// Looks whether the job that opens the next window has ended, and writes down what is to be shown.
    async fn look(&mut self, now: Instant) {
        if let Some(window) = &self.next
            && let Some(fault) = self.ended(&window.job).await
        {
            self.inner.online.forget(&window.job);
            self.next = None;
            self.failed(fault, now);
        }
        let status = self.series.status().to_string();
        if let Err(fault) = self.inner.store.set_status(&self.series.row.name, &status).await {
            tracing::debug!(%fault, "what is published could not be written down");
        }
    }

    async fn ended(&self, job: &JobId) -> Option<Fault> {
        let connection = self.inner.to_coordinator.borrow().clone()?;
        let FromCoordinator::Job(view) =
            client::ask(&connection, &self.inner.ledger, &ToCoordinator::Job(*job)).await.ok()?
        else {
            return None;
        };
        let (party, what) = match view.terminal? {
            Terminal::Refused { code, party, reason } => (Some(party), Fault::new(code, reason)),
            Terminal::Failed { code, party, hint, .. } => (party, Fault::new(code, hint)),
            other => (None, Fault::new(other.code().unwrap_or(Code::OnlineClosed), "the window's job has ended")),
        };
        Some(match party {
            Some(party) => Fault::new(what.code, format!("{party}: {}", what.what)),
            None => what,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_of_the_newest_calls_are_kept() {
        let mut counts = Counts::default();
        for i in 0..=LATENCIES_MAX {
            counts.took(Duration::from_micros(i as u64));
        }
        assert_eq!((counts.latencies.len(), counts.latencies.front()), (LATENCIES_MAX, Some(&1)));
        counts.took(Duration::MAX);
        assert_eq!((counts.latencies.len(), counts.latencies.back()), (LATENCIES_MAX, Some(&u32::MAX)));
    }

    #[test]
    fn the_slowest_of_few_calls_is_in_the_last_hundredth() {
        let sorted: Vec<u32> = (1..=200).collect();
        let of = |n: usize| [50, 99].map(|h| percentile(&sorted[..n], h));
        assert_eq!([of(0), of(1), of(2)], [[None; 2], [Some(1); 2], [Some(1), Some(2)]]);
        assert_eq!([of(10), of(100), of(200)], [[Some(5), Some(10)], [Some(50), Some(99)], [Some(100), Some(198)]]);
    }

    /// A burst is less than an owner allows, and never nothing.
    #[test]
    fn a_pace_lets_no_more_through_than_its_share() {
        let now = Instant::now();
        let mut pace = Pace { per_second: 100.0, left: 0.0, at: now };
        assert!(!pace.take(1, now));
        let later = now + Duration::from_secs(60);
        assert!(!pace.take(76, later) && pace.take(75, later) && !pace.take(1, later));
        assert!(!pace.take(2, later + Duration::from_millis(15)) && pace.take(2, later + Duration::from_millis(25)));
        let slow = Pace { per_second: 1.0, left: 0.0, at: now };
        assert!(slow.most() >= 1.0);
    }
}
