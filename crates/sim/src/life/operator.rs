//! The operator: submits, looks, cancels, opens.

use std::collections::BTreeMap;

use tacit_crypto::Statement;
use tacit_engine::{CancelOrder, FromCoordinator, Package, SealedResult, Terminal, ToCoordinator};
use tacit_governance::JobSpec;
use tacit_jobs::Opened;
use tacit_receipts::{JointReceipt, LogProof};
use tacit_types::wire::Blob;
use tacit_types::{Code, Fault, JobId, Seat};

use super::cast::{COHORT, ORIGIN, PURPOSE};
use super::data::Data;
use super::process::Alive;
use super::world::{COORDINATOR, Wake, Wire, World};
use crate::bug::Bug;
use crate::dice::Dice;
use crate::faults::FaultKind;

/// Milliseconds between two looks.
const LOOK_MS: u64 = 700;

/// One job that the operator wants.
pub(super) struct Order {
    at: u64,
    contract: usize,
    wrong_purpose: bool,
    short_lived: bool,
    nonce: [u8; 16],
    data: Data,
    bytes: Option<Vec<u8>>,
    pub id: Option<JobId>,
    /// The coordinator did not take it.
    pub refused: bool,
    taken: bool,
    pub ended: Option<Terminal>,
    pub opened: Option<Opened>,
    /// What was handed out for it does not open.
    denied: bool,
}

impl Order {
    /// Whether it scores with a private model.
    pub fn is_private(&self) -> bool {
        self.data.private
    }
}

pub(super) struct Operator {
    pub orders: Vec<Order>,
    pub variant: i64,
    /// Requests under way.
    asked: BTreeMap<u64, JobId>,
    next: u64,
    cancelled: bool,
}

impl Operator {
    pub fn draw(d: &mut Dice, owners: usize, variant: i64) -> Self {
        let jobs = *d.pick(&[1, 1, 1, 2, 2, 3]);
        let mut at = 0;
        let orders = (0..jobs)
            .map(|_| {
                at += d.between(0, 2_500);
                let (scarce, wrong_purpose, short_lived) = (d.chance(150), d.chance(30), d.chance(30));
                let nonce = d.bytes();
                let data = Data::draw(d, owners, variant);
                Order {
                    at,
                    contract: if data.private { 2 } else { usize::from(scarce) },
                    wrong_purpose,
                    short_lived,
                    nonce,
                    data,
                    bytes: None,
                    id: None,
                    refused: false,
                    taken: false,
                    ended: None,
                    opened: None,
                    denied: false,
                }
            })
            .collect();
        Self { orders, variant, asked: BTreeMap::new(), next: 0, cancelled: false }
    }

    /// Has every job that it can under the contract with room for one.
    pub fn make_scarce(&mut self) {
        self.orders.iter_mut().filter(|order| !order.data.private).for_each(|order| order.contract = 1);
    }

    fn order(&mut self, id: &JobId) -> Option<&mut Order> {
        self.orders.iter_mut().find(|o| o.id == Some(*id))
    }

    /// The rows under a job.
    pub fn data(&self, id: &JobId) -> &Data {
        let order = self.orders.iter().find(|o| o.id == Some(*id));
        &order.expect("why: every job is one of the operator's").data
    }

    /// Whether it knows how every job ended and has what it may have.
    pub fn is_content(&self) -> bool {
        let done = |o: &Order| match &o.ended {
            Some(Terminal::Succeeded) => o.opened.is_some() || o.denied,
            Some(_) => true,
            None => o.refused,
        };
        self.orders.iter().all(done)
    }
}

impl World {
    pub fn start_operator(&mut self) {
        let me = self.operator_id();
        for i in 0..self.operator.orders.len() {
            self.wake(me, self.operator.orders[i].at, Wake::Submit(i));
        }
        self.wake(me, LOOK_MS, Wake::Look);
        if let Some(at) = self.faults.cancel {
            self.wake(me, at, Wake::Cancel);
        }
    }

    fn tell_coordinator(&mut self, job: JobId, request: ToCoordinator) -> Alive {
        self.operator.next += 1;
        let id = self.operator.next;
        let me = self.operator_id();
        self.operator.asked.insert(id, job);
        self.wake_after(me, super::coordinator::ANSWER_MS, Wake::Unanswered(id));
        self.send(me, COORDINATOR, Wire::Tell { id, request: request.into() })
    }

    pub fn operator_unanswered(&mut self, id: u64) -> Alive {
        self.operator.asked.remove(&id);
        Ok(())
    }

    pub fn coordinator_is_lost_to_operator(&mut self) -> Alive {
        self.operator.asked.clear();
        Ok(())
    }

    pub fn submit(&mut self, i: usize) -> Alive {
        let (me, cast) = (self.operator_id(), self.cast);
        let now = self.clock(me);
        let order = &mut self.operator.orders[i];
        let bytes = order.bytes.get_or_insert_with(|| {
            let private = order.data.private;
            let kind = order.data.kind;
            let parts = if private { super::score::private_parts(cast, kind) } else { super::score::parts(cast) };
            let (providers, mut models, mut attachments) = parts;
            if !private && kind != "score-linear/v1" {
                models.clear();
                attachments.clear();
            }
            let spec = JobSpec {
                version: 1,
                kind: order.data.kind.into(),
                params: order.data.params.clone(),
                contracts: vec![cast.contracts[order.contract].id],
                providers,
                purpose: if order.wrong_purpose { "another purpose".into() } else { PURPOSE.into() },
                recipient: cast.recipient.public(),
                cohort: COHORT,
                nonce: order.nonce.to_vec(),
                created_at: now,
                expires_at: now.plus(if order.short_lived { 300 } else { 3_600_000 }),
                attempt_ms: 20_000,
                models,
                dealer: cast.owners.last().filter(|_| private).map(|o| o.root.id()),
                asker: None,
                attachments,
            };
            let job = Statement::sign(&cast.operator, "job", now, None, spec);
            order.id = Some(JobSpec::id(&job));
            job.bytes().to_vec()
        });
        let request = ToCoordinator::Submit { job: Blob(bytes.clone()) };
        let Some(id) = self.operator.orders[i].id else { return Ok(()) };
        self.note(me, || format!("submits job {}", id.short()));
        self.tell_coordinator(id, request)
    }

    /// Asks for what is not known yet.
    pub fn look(&mut self) -> Alive {
        let me = self.operator_id();
        self.wake_after(me, LOOK_MS, Wake::Look);
        for i in 0..self.operator.orders.len() {
            let order = &self.operator.orders[i];
            let Some(id) = order.id else { continue };
            if self.operator.asked.values().any(|job| *job == id) || order.refused {
                continue;
            }
            match (&order.ended, order.taken) {
                (_, false) => self.submit(i)?,
                (None, true) => self.tell_coordinator(id, ToCoordinator::Job(id))?,
                (Some(Terminal::Succeeded), true) if order.opened.is_none() => {
                    self.tell_coordinator(id, ToCoordinator::Result(id))?;
                }
                _ => {}
            }
        }
        if self.faults.cancel.is_some_and(|at| self.queue.now() > at + 2_000) && !self.operator.cancelled {
            return self.cancel();
        }
        Ok(())
    }

    pub fn cancel(&mut self) -> Alive {
        let me = self.operator_id();
        let Some(id) = self.operator.orders.last().and_then(|o| o.id) else { return Ok(()) };
        let order = CancelOrder { job: id };
        let now = self.clock(me);
        let order = Statement::sign(&self.cast.operator, "cancel", now, None, order);
        self.operator.cancelled = true;
        self.net.count(FaultKind::Cancel);
        self.note(me, || format!("cancels job {}", id.short()));
        self.tell_coordinator(id, ToCoordinator::Cancel(Blob(order.bytes().to_vec())))
    }

    pub fn told_operator(&mut self, asked: u64, answer: FromCoordinator) -> Alive {
        let Some(id) = self.operator.asked.remove(&asked) else { return Ok(()) };
        let restored = self.is_misled();
        let Some(order) = self.operator.order(&id) else { return Ok(()) };
        match answer {
            FromCoordinator::Submitted(_) => order.taken = true,
            FromCoordinator::Failed(_) if !order.taken => order.refused = true,
            FromCoordinator::Job(view) => {
                if let Some(terminal) = view.terminal {
                    order.ended = Some(terminal.clone());
                    let check = self.watch.ended(&id, "operator", &terminal, restored);
                    self.found(check);
                }
            }
            FromCoordinator::Result(sealed) => {
                let opened = self.open(&id, &sealed);
                self.note(self.operator_id(), || format!("opens job {}: {:?}", id.short(), opened.as_ref().err()));
                match opened {
                    Ok((opened, survivors)) => {
                        if !self.has(Bug::ReleaseBeforeQuorum) && !self.has(Bug::AcceptWithoutProof) {
                            let check = self.no_result_is_opened_without_a_receipt_in_a_cosigned_checkpoint(
                                &sealed.leaf,
                                &sealed.proof,
                            );
                            self.found(check);
                        }
                        let check = self.operator.data(&id).the_output_equals_the_plaintext_oracle(&opened, &survivors);
                        self.found(check);
                        if let Some(order) = self.operator.order(&id) {
                            order.opened = Some(opened);
                        }
                    }
                    // A coordinator that lies can deny a result, and no more; a node that does ends the job, and is named.
                    Err(_) if restored => {
                        if let Some(order) = self.operator.order(&id) {
                            order.denied = true;
                        }
                    }
                    Err(fault) => {
                        let check = crate::run::broken("a_result_that_is_handed_out_opens", fault.to_string());
                        self.found(check);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// What a recipient does: the receipt first, then the seal.
    fn open(&self, id: &JobId, sealed: &SealedResult) -> Result<(Opened, Vec<Seat>), Fault> {
        let invalid = |what: &str| Fault::new(Code::ReceiptInvalid, what);
        let receipt = Statement::<JointReceipt>::verify(&sealed.leaf).map_err(|e| invalid(&e.to_string()))?;
        let proof = LogProof::parse(&sealed.proof)?;
        let cast = self.cast;
        let quorum = if self.has(crate::bug::Bug::ReleaseBeforeQuorum) {
            tacit_receipts::Quorum::new(cast.quorum.witnesses().to_vec(), 1)?
        } else {
            cast.quorum.clone()
        };
        let proven = proof.verify(&sealed.leaf, ORIGIN, &cast.log_key, &quorum);
        if !self.has(Bug::OpenUnproven) {
            proven?;
        }
        let record = &receipt.body().record;
        if receipt.signer() != cast.coordinator.id()
            || record.job != *id
            || record.result != Some(sealed.package.hash())
        {
            return Err(invalid("another result than the receipt's"));
        }
        let job = JobSpec::verify(&sealed.job)?;
        let plan = tacit_jobs::kind(&job.body().kind)?.plan(&job.body().params, &tacit_jobs::Parts::of(job.body()))?;
        let releases: BTreeMap<Seat, Vec<u8>> = sealed.releases.iter().map(|(s, b)| (*s, b.0.clone())).collect();
        // The simulator's nodes deposit nothing.
        let Package::Inline(package) = &sealed.package else { return Err(invalid("a package elsewhere")) };
        let opened =
            plan.open(package, &|package| tacit_jobs::session::unblind(&cast.recipient, package, &releases))?;
        let took_part = |(i, p): (usize, &tacit_receipts::PartyEntry)| {
            (p.standing == tacit_receipts::Standing::TookPart).then_some(Seat(i as u16))
        };
        Ok((opened, record.parties.iter().enumerate().filter_map(took_part).collect()))
    }
}
