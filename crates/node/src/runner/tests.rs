//! What a stop has overtaken does not leave.

use tacit_crypto::SigningKey;
use tacit_jobs::session::ALIGN_ROUND;
use tacit_protocol::{Party, Seating};
use tacit_types::{Attempt, JobId};

use super::*;
use crate::tests::World;

/// How long the machine is at work at once.
const WORK: Duration = Duration::from_millis(400);

/// Queues a batch, works as somebody does who masks a list, queues another, and waits for an answer.
async fn half(mut party: Party) -> Result<JointOutput, Abort> {
    let (other, step) = (party.others()[0], Step::new(ALIGN_ROUND + 1, 1));
    party.post(other, step, b"masked".to_vec())?;
    std::thread::sleep(WORK);
    party.post(other, Step::new(ALIGN_ROUND + 1, 2), b"more".to_vec())?;
    party.receive(other, step, 8, Millis(u64::MAX)).await?;
    Err(Abort::Local(Fault::new(Code::JobInternal, "nobody answers")))
}

/// How many messages have left, and how the attempt ended, where it is told to stop or over time after so long.
async fn stopped(inner: &Arc<Inner>, told: Option<Duration>, over: Duration) -> (usize, Code) {
    let mut keys: Vec<SigningKey> = [1, 2].map(|n| SigningKey::from_seed(&Secret::new([n; 32]))).into();
    keys.sort_by_key(SigningKey::id);
    let seating = Seating::new(keys.iter().map(SigningKey::id).collect()).unwrap();
    let (job, attempt, seat) = (JobId([1; 32]), Attempt(1), Seat(0));
    let session = Session {
        seating: seating.clone(),
        seat,
        aggregator: seat,
        parties: Vec::new(),
        hash: tacit_types::Hash([0; 32]),
    };
    let (budget_ms, aggregator) = (60_000, keys[0].id());
    let assignment = Assignment { job, attempt, seats: Vec::new(), aggregator, budget_ms, step_ms: budget_ms };
    let mut run = AttemptRun::new(inner.clone(), &assignment, session, false);
    (run.aligns, run.deadline) = (true, Instant::now() + over);
    let setup = Setup { job, attempt, seat, seating, disclosures: Vec::new(), stream_bytes_max: 1 << 20 };
    let other = keys[1].id();
    let machine = Machine::new(setup, &Secret::new([7; 32]), Arc::new(keys.remove(0)), run.now(), half);
    let scope = tacit_receipts::LinkScope { job, attempt, session: tacit_types::Hash([0; 32]) };
    let log = LinkLog::new(scope, aggregator, other, inner.signing.clone());
    let (writer, mut frames) = Writer::waiting(other, &log);
    let (_events, received) = mpsc::channel(1);
    let (order, mut cancel) = mpsc::channel(1);
    if let Some(told) = told {
        tokio::spawn(async move {
            tokio::time::sleep(told).await;
            let _ = order.send(Code::RefusedContractRevoked).await;
        });
    }
    let link = tokio::spawn(async move {
        let mut left = 0;
        while frames.next().await.is_some() {
            left += 1;
        }
        left
    });
    let ended = run.drive(machine, received, vec![None, Some(writer)], &mut cancel).await;
    (link.await.unwrap(), ended.map(|_| ()).unwrap_err().code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_queued_while_a_stop_came_does_not_leave() {
    let world = World::new("overtaken").await;
    let inner = world.node.inner().clone();
    let (early, late) = (WORK / 4, WORK * 2);
    assert_eq!(stopped(&inner, Some(early), WORK * 99).await, (0, Code::RefusedContractRevoked));
    assert_eq!(stopped(&inner, None, early).await, (0, Code::JobDeadline));
    assert_eq!(stopped(&inner, None, late).await, (2, Code::JobDeadline), "where none came in that time both do");
    world.end().await;
}
