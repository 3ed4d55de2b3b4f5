//! Jobs: submitting, planning, cancelling, reporting, reading.

use std::sync::Arc;
use std::time::Duration;

use tacit_crypto::Statement;
use tacit_engine::api::{PAGE_MAX, WATCH_MS_MAX};
use tacit_engine::control::PACKAGE_INLINE_BYTES_MAX;
use tacit_engine::{
    CancelOrder, Finish, Finished, FromCoordinator, FromNode, Input, Job, JobView, Outlook, Package, PlanAnswer,
    SealedResult, ToNode,
};
use tacit_governance::{DatasetDescriptor, JobSpec, ModelDescriptor, PartyRole, Refusal};
use tacit_net::Connection;
use tacit_receipts::KeyRole;
use tacit_types::limits::CONTROL_FRAME_BYTES_MAX;
use tacit_types::wire::{self, Blob};
use tacit_types::{Code, DatasetVersionId, Fault, JobId, Name, Step, UnixMillis};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::Caller;
use crate::daemon::Shared;
use crate::depot::Depot;
use crate::driver::{self, Jobs, Post};
use crate::enrol::check_address;
use crate::limits::{ANSWER_BYTES_MAX, DATASETS_PER_NODE_MAX, FINISH_BYTES_MAX, PLAN_DEADLINE, SLOTS_MAX};
use crate::roster::Party;
use crate::store::{Change, Store, Whose};

/// A node is there. From now on it is asked over this connection.
pub(super) async fn register(
    shared: &Arc<Shared>,
    connection: &Connection,
    mut party: Party,
    address: String,
    datasets: Vec<Blob>,
    slots: u32,
) -> Result<FromCoordinator, Fault> {
    let invalid = |what: String| Fault::new(Code::ArgsInvalid, what);
    check_address(&address)?;
    if slots == 0 || slots > SLOTS_MAX {
        return Err(invalid(format!("{slots} slots, where 1 to {SLOTS_MAX} are allowed")));
    }
    if datasets.len() > DATASETS_PER_NODE_MAX {
        return Err(invalid(format!("{} datasets, at most {DATASETS_PER_NODE_MAX}", datasets.len())));
    }
    let mut rows = Vec::new();
    for bytes in datasets {
        let (owner, name, id) = match Statement::<ModelDescriptor>::verify(&bytes) {
            Ok(model) => (model.body().owner, model.body().name.clone(), model.id()),
            Err(_) => {
                let dataset = Statement::<DatasetDescriptor>::verify(&bytes);
                let dataset = dataset.map_err(|e| invalid(format!("a dataset or model: {e}")))?;
                (dataset.body().owner, dataset.body().name.clone(), dataset.id())
            }
        };
        if owner != party.row.root {
            return Err(invalid(format!("{name} is of another owner")));
        }
        rows.push((DatasetVersionId(id.0), bytes));
    }
    let node = party.row.node;
    shared.store.write(Change::Register { node, address: address.clone(), slots, datasets: rows }).await?;
    (party.row.address, party.row.slots) = (address, slots);
    shared.replace_roster(|roster| roster.with(party));
    shared.slots.limit(node, slots);
    if connection.end().is_none() && shared.nodes.up(connection) {
        tracing::info!(node = %node.short(), slots, "a node is there");
        shared.jobs.link(node).await;
    }
    // The connection may have ended before it was entered, and nobody would take it out.
    if connection.end().is_some() && shared.nodes.down(connection) {
        shared.jobs.link(node).await;
    }
    Ok(FromCoordinator::Done)
}

/// Counts a node as one that has never come: it may still cosign, and nobody waits for it.
pub(super) async fn away(shared: &Arc<Shared>, name: &Name) -> Result<FromCoordinator, Fault> {
    let roster = shared.roster();
    let party = roster.parties().iter().find(|p| p.row.name == *name && p.card.role == PartyRole::Partner);
    let Some(party) = party else { return Err(Fault::new(Code::ArgsInvalid, format!("no node is called {name}"))) };
    shared.store.write(Change::Away { node: party.row.node }).await?;
    let mut party = party.clone();
    party.row.slots = 0;
    shared.replace_roster(|roster| roster.with(party));
    tracing::info!(%name, "a node is counted as gone, until it registers again");
    Ok(FromCoordinator::Done)
}

/// Brings an input to a job's task and waits until it is durable. `false` when the job is not open.
///
/// # Errors
/// `store.failed` when the task could not store it: what is not durable is not acknowledged.
async fn post(jobs: &Jobs, store: &Store, id: &JobId, input: Input) -> Result<bool, Fault> {
    let Some(handle) = jobs.get(id) else { return Ok(false) };
    let (done, stored) = oneshot::channel();
    let sent = handle.inbox.send(Post::Input(input, Some(done))).await.is_ok();
    if sent && stored.await.is_ok() {
        return Ok(true);
    }
    // The task has ended meanwhile: with the job, whose end is durable then, or because it cannot store.
    match store.job(id).await? {
        Some(job) if !job.is_over() => Err(Fault::new(Code::StoreFailed, format!("job {} is not stored", id.short()))),
        _ => Ok(false),
    }
}

/// A node reports the end of an attempt. The answer is its acknowledgement, given once it is durable
/// here; a report that comes late is acknowledged and changes nothing.
pub(super) async fn report(shared: &Arc<Shared>, party: &Party, finish: Finish) -> Result<FromCoordinator, Fault> {
    let id = finish.job;
    let finish = bounded(finish, &shared.depot);
    let input = Input::Finish { node: party.row.node, finish };
    if post(&shared.jobs, &shared.store, &id, input).await? || shared.store.has_job(&id).await? {
        return Ok(FromCoordinator::Done);
    }
    Err(unknown(&id))
}

/// A report as large as a job can keep. A result that no operator could fetch is a failed attempt.
fn bounded(mut finish: Finish, depot: &Depot) -> Finish {
    // Evidence has a limit of its own, and what is longer stays with its node.
    let blames = tacit_engine::evidence::travelling(&core::mem::take(&mut finish.blames));
    Finish { blames, ..without_blames(finish, depot) }
}

fn without_blames(mut finish: Finish, depot: &Depot) -> Finish {
    let failed = |hint: String, input_sent| Finished::Failed {
        code: Code::ReceiptTooLarge,
        step: None,
        seat: None,
        hint,
        input_sent,
    };
    let bytes = match &finish.finished {
        Finished::Ok { package: Some(Package::Inline(package)), .. } if package.len() > PACKAGE_INLINE_BYTES_MAX => {
            let hint = format!("a report with {} bytes of result; at most {PACKAGE_INLINE_BYTES_MAX}", package.len());
            finish.finished = failed(hint, true);
            return finish;
        }
        Finished::Ok { package: Some(Package::Deposited { hash, bytes }), .. } if depot.bytes(hash) != Some(*bytes) => {
            let hint = format!("{bytes} bytes of the hash {} were not brought here", hash.short());
            finish.finished = failed(hint, true);
            return finish;
        }
        Finished::Ok { package: Some(Package::Inline(package)), .. } => package.len(),
        Finished::Ok { .. } | Finished::Failed { .. } => 0,
    };
    if wire::encode(&finish).len() - bytes <= FINISH_BYTES_MAX {
        return finish;
    }
    match &mut finish.finished {
        Finished::Failed { hint, .. } => {
            hint.truncate(hint.floor_char_boundary(FINISH_BYTES_MAX / 2));
        }
        Finished::Ok { .. } => finish.finished = failed("the report is too long".into(), true),
    }
    finish
}

pub(super) async fn progress(
    shared: &Arc<Shared>,
    party: &Party,
    id: &JobId,
    step: Step,
) -> Result<FromCoordinator, Fault> {
    let handle = shared.jobs.get(id).ok_or_else(|| unknown(id))?;
    if !handle.concerns(&party.row.node) {
        return Err(unknown(id));
    }
    // why: a job that has just ended needs no step.
    let _ = handle.inbox.send(Post::Input(Input::Progress { step }, None)).await;
    Ok(FromCoordinator::Done)
}

fn unknown(id: &JobId) -> Fault {
    Fault::new(Code::JobUnknown, format!("job {}", id.short()))
}

/// A job that was checked and can be asked of its owners.
struct Checked {
    job: Statement<JobSpec>,
    contracts: Vec<Vec<Blob>>,
}

/// Checks form and signature, that its signer is enrolled as one who may submit, and that it fits a request. Whether it
/// may run is for its owners to say: their contracts name who submits under them.
async fn check(shared: &Shared, bytes: &Blob) -> Result<Checked, Fault> {
    let job = JobSpec::verify(bytes)?;
    if !shared.roster().submits(&job.signer(), shared.clock.now()) {
        let what = format!("its signer {} is enrolled here neither as operator nor as node", job.signer().short());
        return Err(Fault::new(Code::RefusedParties, what));
    }
    let mut contracts = Vec::new();
    for id in &job.body().contracts {
        let mut signatures = shared.store.contract(id).await?;
        signatures.extend(crate::books::price_plan(shared, id, &signatures).await?);
        contracts.push(signatures);
    }
    let frame = wire::encode(&ToNode::Admit { job: bytes.clone(), contracts: contracts.clone() });
    if frame.is_empty() || frame.len() > CONTROL_FRAME_BYTES_MAX {
        let what = format!("with its contracts the job takes {} bytes; at most {CONTROL_FRAME_BYTES_MAX}", frame.len());
        return Err(Fault::new(Code::RefusedMalformed, what));
    }
    Ok(Checked { job, contracts })
}

/// Takes a job. The same bytes again give the same id, whatever has become of it.
pub(super) async fn submit(shared: &Arc<Shared>, bytes: Blob) -> Result<FromCoordinator, Fault> {
    let checked = check(shared, &bytes).await?;
    let id = JobSpec::id(&checked.job);
    if shared.jobs.get(&id).is_some() || shared.store.has_job(&id).await? {
        return Ok(FromCoordinator::Submitted(id));
    }
    if let Some(fault) = shared.log.refused.borrow().clone() {
        return Err(fault);
    }
    let now = shared.clock.now();
    if now >= checked.job.body().expires_at {
        let what = format!("it expired at {}", checked.job.body().expires_at);
        return Err(Fault::new(Code::RefusedJobExpired, what));
    }
    let attached = checked.job.body().attachments.iter().map(|a| a.sealed);
    if let Some(missing) = shared.depot.missing(attached) {
        return Err(Fault::new(Code::ArgsInvalid, format!("the attachment {} was not brought yet", missing.short())));
    }
    let _room = shared.jobs.room(shared.config.open_jobs).ok_or_else(|| {
        let what = format!("{} jobs are open; submit again once one has ended", shared.config.open_jobs);
        Fault::new(Code::JobBusy, what)
    })?;
    let members = shared.roster().members();
    let limits = shared.config.limits;
    let job = Job::submit(bytes.0, members, checked.contracts, &shared.config.origin, limits, now)?;
    let signer = shared.roster().keys().id_of(KeyRole::Node, &checked.job.signer());
    let (state, value) = (job.state().to_owned(), wire::encode(&job));
    let nodes = job.nodes().collect();
    if shared.store.write(Change::InsertJob { id, signer, nodes, state, at: now, value }).await? {
        tracing::info!(job = %id.short(), "submitted");
        driver::start(shared, job, false);
    }
    Ok(FromCoordinator::Submitted(id))
}

/// Asks every owner how it would decide.
pub(super) async fn plan(shared: &Arc<Shared>, bytes: Blob) -> Result<FromCoordinator, Fault> {
    let checked = check(shared, &bytes).await?;
    let frame = wire::encode(&ToNode::Plan { job: bytes, contracts: checked.contracts });
    let members = shared.roster().members();
    let mut asked = JoinSet::new();
    for root in checked.job.body().seated() {
        let Some(member) = members.iter().find(|m| m.root == root).cloned() else {
            let what = format!("provider {} is not enrolled here", root.short());
            return Err(Fault::new(Code::RefusedParties, what));
        };
        let (shared, frame) = (shared.clone(), frame.clone());
        asked.spawn(async move {
            let objects = |fault: Fault| Outlook { objection: Some(fault), ..Outlook::default() };
            let unreachable = |what: String| objects(Fault::new(Code::JobUnreachable, what));
            let outlook = match shared.nodes.ask(&member.node, &frame, PLAN_DEADLINE).await {
                Ok(FromNode::Planned(outlook)) => outlook.bounded(),
                Ok(FromNode::Failed(fault)) => objects(fault),
                Ok(_) => unreachable(format!("{} gave an answer of another kind", member.name)),
                Err(fault) => unreachable(format!("{}: {}", member.name, fault.what)),
            };
            let Outlook { objection, rule, meters } = outlook;
            (member.node, PlanAnswer { party: member.name, objection, rule, meters })
        });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(node, _)| *node);
    Ok(FromCoordinator::Planned(answers.into_iter().map(|(_, answer)| answer).collect()))
}

/// The job as it is now.
async fn find(shared: &Shared, id: &JobId) -> Result<Arc<Job>, Fault> {
    if let Some(handle) = shared.jobs.get(id) {
        return Ok(handle.latest.borrow().clone());
    }
    shared.store.job(id).await?.map(Arc::new).ok_or_else(|| unknown(id))
}

/// The caller's own job.
async fn own(shared: &Shared, party: &Party, id: &JobId) -> Result<Arc<Job>, Fault> {
    let job = find(shared, id).await?;
    let signer = JobSpec::verify(job.bytes())?.signer();
    if !party.speaks(&signer) {
        // Another operator learns no more than that it is not theirs.
        return Err(Fault::new(Code::JobNotOurs, format!("job {}", id.short())));
    }
    Ok(job)
}

pub(super) async fn cancel(shared: &Arc<Shared>, party: &Party, order: &[u8]) -> Result<FromCoordinator, Fault> {
    let order = Statement::<CancelOrder>::verify(order)
        .map_err(|e| Fault::new(Code::RefusedUnsigned, format!("a cancel order: {e}")))?;
    let id = order.body().job;
    let job = own(shared, party, &id).await?;
    // With a key of the same that holds now: the job may be of the one before.
    let keys = shared.roster().keys().clone();
    let signer = keys.id_of(KeyRole::Node, &JobSpec::verify(job.bytes())?.signer());
    if keys.speaker(&order.signer(), shared.clock.now()) != Some(signer) {
        return Err(Fault::new(Code::JobNotOurs, format!("the order for job {} is signed by another key", id.short())));
    }
    tracing::info!(job = %id.short(), "cancel ordered");
    post(&shared.jobs, &shared.store, &id, Input::Cancel(party.row.name.clone())).await?;
    Ok(FromCoordinator::Done)
}

pub(super) async fn result(shared: &Arc<Shared>, party: &Party, id: &JobId) -> Result<FromCoordinator, Fault> {
    let job = own(shared, party, id).await?;
    let sealed = job.sealed_result().zip(job.receipt()).filter(|_| job.has_ended());
    let Some(((package, releases), (_, leaf, proof))) = sealed else {
        let (id, state) = (id.short(), job.state());
        return Err(Fault::new(Code::JobNotFinished, format!("job {id} is {state}")));
    };
    let (leaf, proof) = (leaf.clone(), proof.clone());
    let sealed = SealedResult { job: Blob(job.bytes().to_vec()), package, releases, leaf, proof };
    Ok(FromCoordinator::Result(Box::new(sealed)))
}

/// How much of a job somebody sees.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Sight {
    /// All that is known here: who signed it, regulators, who runs the coordinator.
    All,
    /// All but what others said: a party of it.
    Party(Name),
    /// That it is not theirs.
    Nothing,
}

fn sight(caller: &Caller, job: &Job) -> Sight {
    let Caller::Party(party) = caller else { return Sight::All };
    match party.card.role {
        PartyRole::Regulator | PartyRole::Coordinator => Sight::All,
        PartyRole::Operator | PartyRole::Partner
            if JobSpec::verify(job.bytes()).is_ok_and(|job| party.speaks(&job.signer())) =>
        {
            Sight::All
        }
        PartyRole::Partner if job.nodes().any(|node| node == party.row.node) => Sight::Party(party.row.name.clone()),
        PartyRole::Operator | PartyRole::Partner => Sight::Nothing,
    }
}

/// The jobs of which a caller sees anything.
fn whose(caller: &Caller) -> Whose {
    match caller {
        Caller::Own => Whose::Everybody,
        Caller::Party(party) => match party.card.role {
            PartyRole::Regulator | PartyRole::Coordinator => Whose::Everybody,
            PartyRole::Operator => Whose::Signer(party.row.node, party.row.root),
            PartyRole::Partner => Whose::Party(party.row.node, party.row.root),
        },
    }
}

/// A job as a caller may see it.
fn seen_by(caller: &Caller, job: &Job, now: UnixMillis) -> Result<JobView, Fault> {
    match sight(caller, job) {
        Sight::All => Ok(job.view(now)),
        Sight::Party(name) => Ok(job.view(now).for_party(&name)),
        Sight::Nothing => Err(Fault::new(Code::JobNotOurs, format!("job {}", job.id().short()))),
    }
}

pub(super) async fn job(shared: &Arc<Shared>, caller: &Caller, id: &JobId) -> Result<FromCoordinator, Fault> {
    let job = find(shared, id).await?;
    Ok(FromCoordinator::Job(Box::new(seen_by(caller, &job, shared.clock.now())?)))
}

/// The signed job and what its owners answered, as a caller may see it.
pub(super) async fn papers(shared: &Arc<Shared>, caller: &Caller, id: &JobId) -> Result<FromCoordinator, Fault> {
    let job = find(shared, id).await?;
    let sight = sight(caller, &job);
    if sight == Sight::Nothing {
        return Err(Fault::new(Code::JobNotOurs, format!("job {}", id.short())));
    }
    let own = match caller {
        Caller::Party(party) => Some(party.row.node),
        Caller::Own => None,
    };
    let refuses = |bytes: &[u8]| Statement::<Refusal>::verify(bytes).is_ok();
    let mut left = ANSWER_BYTES_MAX.saturating_sub(job.bytes().len());
    let mut answers = Vec::new();
    for (node, signed) in shared.store.answers(id).await? {
        // Why another refused is for the job's operator alone.
        if sight != Sight::All && own != Some(node) && refuses(&signed) {
            continue;
        }
        match left.checked_sub(signed.len() + 8) {
            Some(rest) => left = rest,
            None => break,
        }
        answers.push(signed);
    }
    Ok(FromCoordinator::Papers { job: Blob(job.bytes().to_vec()), answers })
}

/// A page of the caller's jobs, newest first, of as many as an answer holds, at least one.
pub(super) async fn page(
    shared: &Arc<Shared>,
    caller: &Caller,
    before: Option<JobId>,
    limit: u32,
) -> Result<FromCoordinator, Fault> {
    let (mut left, mut views): (usize, Vec<JobView>) = (ANSWER_BYTES_MAX, Vec::new());
    for id in shared.store.job_ids(&whose(caller), before, limit.min(PAGE_MAX)).await? {
        let view = seen_by(caller, &*find(shared, &id).await?, shared.clock.now())?;
        match left.checked_sub(wire::encode(&view).len()) {
            Some(rest) => left = rest,
            None => break,
        }
        views.push(view);
    }
    Ok(FromCoordinator::Jobs(views))
}

/// Waits until the job's timeline is not as long as the caller has seen, or it has ended.
pub(super) async fn watch(
    shared: &Arc<Shared>,
    caller: &Caller,
    id: &JobId,
    seen: u32,
    wait_ms: u64,
) -> Result<FromCoordinator, Fault> {
    let until = Instant::now() + Duration::from_millis(wait_ms.min(WATCH_MS_MAX));
    let Some(mut latest) = shared.jobs.get(id).map(|handle| handle.latest) else {
        return job(shared, caller, id).await;
    };
    loop {
        let now = latest.borrow_and_update().clone();
        let view = seen_by(caller, &now, shared.clock.now())?;
        if view.timeline.len() as u64 != u64::from(seen) || now.has_ended() {
            return Ok(FromCoordinator::Job(Box::new(view)));
        }
        match timeout_at(until, latest.changed()).await {
            Ok(Ok(())) => {}
            // The task has ended, and the job with it; or the time is over.
            Ok(Err(_)) | Err(_) => return job(shared, caller, id).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tacit_types::{Attempt, NodeId};

    fn ok(package: usize, survivors: usize) -> Finish {
        let finished = Finished::Ok {
            package: Some(Package::Inline(Blob(vec![0; package]))),
            survivors: vec![tacit_types::Seat(0); survivors],
            cells_in: 1,
            payload_bytes: 8,
            cells_out: 1,
            cells_suppressed: 0,
            opened: Vec::new(),
        };
        Finish { job: JobId([0; 32]), attempt: Attempt(1), finished, blames: Vec::new(), links: None }
    }

    /// A job that is stored and whose task takes one input and ends without storing it.
    async fn failing(over: bool) -> (tempfile::TempDir, Store, Jobs, JobId) {
        let folder = tempfile::TempDir::new().unwrap();
        let fatal = crate::store::Fatal::channel().0;
        let (store, _writer) = Store::open(folder.path().join("coordinator.db"), fatal).await.unwrap();
        let job = crate::driver::tests::job();
        let (id, signer, state, value) = (job.id(), NodeId([0; 32]), job.state().to_owned(), wire::encode(&job));
        let insert = Change::InsertJob { id, signer, nodes: Vec::new(), state, at: UnixMillis(1), value };
        store.write(insert).await.unwrap();
        if over {
            let mut job = job.clone();
            for at in [1_000_000, 2_000_000, 3_000_000] {
                job.step(UnixMillis(crate::driver::tests::T0.0 + at), Input::Tick);
            }
            assert!(job.is_over());
            let (state, value) = (job.state().to_owned(), wire::encode(&job));
            store.write(Change::PutJob { id, state, over: true, value }).await.unwrap();
        }
        let jobs = Jobs::default();
        let mut posts = jobs.enter(job);
        tokio::spawn(async move { drop(posts.recv().await) });
        (folder, store, jobs, id)
    }

    /// A job of before parties reported their links: its value ends before them.
    #[tokio::test]
    async fn jobs_of_a_store_of_before_are_taken_over() {
        let (folder, store, _jobs, id) = failing(false).await;
        let job = store.job(&id).await.unwrap().unwrap();
        drop(store);
        let path = folder.path().join("coordinator.db");
        let new = wire::encode(&job);
        let (before, added) = new.split_at(new.len() - 8);
        assert_eq!(added, [0; 8], "an empty list");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
        let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
        sqlx::query("UPDATE jobs SET value = ?").bind(before).execute(&pool).await.unwrap();
        sqlx::query("DELETE FROM _sqlx_migrations WHERE version >= 26").execute(&pool).await.unwrap();
        pool.close().await;
        let (store, _writer) = Store::open(path, crate::store::Fatal::channel().0).await.unwrap();
        assert_eq!(store.job(&id).await.unwrap(), Some(job));
    }

    /// What its task could not store is not acknowledged: the node reports it again after the restart.
    #[tokio::test]
    async fn a_report_that_was_not_stored_is_not_acknowledged() {
        let (_folder, store, jobs, id) = failing(false).await;
        let report = |id| Input::Finish { node: NodeId([1; 32]), finish: Finish { job: id, ..ok(1, 1) } };
        assert_eq!(post(&jobs, &store, &id, report(id)).await.unwrap_err().code, Code::StoreFailed);
        // One that came as the job ended changes nothing, and is over with.
        let (_folder, store, jobs, id) = failing(true).await;
        assert_eq!(post(&jobs, &store, &id, report(id)).await, Ok(false));
        assert_eq!(post(&jobs, &store, &JobId([7; 32]), report(id)).await, Ok(false));
    }

    #[test]
    fn reports_are_bounded() {
        let folder = tempfile::TempDir::new().unwrap();
        let depot = Depot::open(folder.path().join("depot")).unwrap();
        let bounded = |finish| bounded(finish, &depot);
        let largest = ok(PACKAGE_INLINE_BYTES_MAX, 1024);
        assert_eq!(bounded(largest.clone()), largest);
        let too_large = |f: Finish| matches!(f.finished, Finished::Failed { code: Code::ReceiptTooLarge, .. });
        assert!(too_large(bounded(ok(PACKAGE_INLINE_BYTES_MAX + 1, 1))));
        assert!(too_large(bounded(ok(1, FINISH_BYTES_MAX))));
        let hint = "x".repeat(FINISH_BYTES_MAX);
        let finished = Finished::Failed { code: Code::JobLocal, step: None, seat: None, hint, input_sent: false };
        let long = Finish { finished, ..ok(0, 0) };
        assert!(wire::encode(&bounded(long)).len() <= FINISH_BYTES_MAX);
        // A result elsewhere is one that was brought here, whole and of that length.
        let elsewhere = |hash, bytes| {
            let mut finish = ok(0, 1);
            if let Finished::Ok { package, .. } = &mut finish.finished {
                *package = Some(Package::Deposited { hash, bytes });
            }
            finish
        };
        let hash = tacit_crypto::sha256(b"sealed");
        assert!(too_large(bounded(elsewhere(hash, 6))));
        depot.put(NodeId([1; 32]), hash, 6, 0, b"sealed").unwrap();
        assert_eq!(bounded(elsewhere(hash, 6)), elsewhere(hash, 6));
        assert!(too_large(bounded(elsewhere(hash, 7))));
    }
}
