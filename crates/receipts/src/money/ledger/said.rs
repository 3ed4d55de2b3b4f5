//! What parties say about money. Each statement is judged without a change ([`Ledger::allows`]), and takes effect when
//! it is a leaf ([`Ledger::push`]).

use std::collections::BTreeSet;

use tacit_crypto::statement::Envelope;
use tacit_crypto::{cbor, sha256};
use tacit_types::unit::Class;
use tacit_types::{Code, Fault, Hash, NodeId, UnixMillis};

use super::{Disputed, Found, Ledger, LineRuling, Plan, Receipt};
use crate::money::Money;
use crate::money::plan::PricePlan;
use crate::money::statement::{
    About, Answer, Correction, Dispute, LeafRef, Outcome, Period, PeriodClose, Ruling, UnitSum, Valuation,
};
use crate::verify::CLOCK_SKEW_MILLIS_MAX;

fn disputed(what: String) -> Fault {
    Fault::new(Code::ReceiptDispute, what)
}

/// Whether a key may sign what everyone of a plan signs.
fn may(plan: &PricePlan, signer: NodeId, alone: Option<NodeId>) -> Result<(), Fault> {
    if plan.signers().any(|s| *s == signer) || alone == Some(signer) {
        return Ok(());
    }
    let what = format!("{} signed and is no party of the price plan", signer.short());
    Err(Fault::new(Code::ReceiptUnagreed, what))
}

impl Ledger {
    /// Whether a party's statement would be good as the leaf after those that were taken in. Nothing changes, so
    /// whoever keeps the log can refuse what a verifier would find wrong.
    ///
    /// # Errors
    /// What [`Ledger::push`] would say; `receipt.coordinator` for what is the coordinator's to sign.
    pub fn allows(&self, index: u64, envelope: &Envelope, money: &Money) -> Result<(), Fault> {
        self.fits(money)?;
        let spoken = self.keys.spoken(envelope);
        let envelope = &*spoken;
        let signer = envelope.signer;
        match money {
            Money::Plan(plan) => may(plan, signer, None),
            Money::Close(close) => {
                self.follows(index, signer, close.period)?;
                self.counted(signer, close)
            }
            Money::Correction(correction) => self.corrects(signer, correction).map(|_| ()),
            Money::Dispute(dispute) => self.may_dispute(envelope, dispute),
            Money::Answer(answer) => self.answers(signer, answer),
            Money::Ruling(ruling) => self.rules(signer, ruling).map(|_| ()),
            Money::Valuation(valuation) => self.values(index, signer, valuation).map(|_| ()),
            Money::Charge(_) | Money::Settlement(_) => {
                Err(Fault::new(Code::ReceiptCoordinator, "charges and settlements are the coordinator's to sign"))
            }
        }
    }

    pub(super) fn known(&self, plan: &Hash) -> Result<&Plan, Fault> {
        let unagreed =
            || Fault::new(Code::ReceiptUnagreed, format!("price plan {} is not in force here", plan.short()));
        self.plans.get(plan).ok_or_else(unagreed)
    }

    /// Notes a signature under a body that everyone of a plan signs; says whether it is in force now.
    fn sign(&mut self, plan: &PricePlan, body: Hash, signer: NodeId, alone: Option<NodeId>) -> bool {
        let signed = self.signed.entry(body).or_default();
        signed.insert(signer);
        alone == Some(signer) || plan.signers().all(|s| signed.contains(s))
    }

    pub(super) fn plan(&mut self, leaf: LeafRef, signer: NodeId, plan: &PricePlan) -> Result<(), Fault> {
        may(plan, signer, None)?;
        let id = plan.id();
        if self.sign(plan, id, signer, None) {
            let new = || Plan { plan: plan.clone(), since: leaf.index, periods: Default::default() };
            self.plans.entry(id).or_insert_with(new);
        }
        Ok(())
    }

    /// The receipt that a statement under a plan refers to.
    fn original(&self, plan: &PricePlan, original: &LeafRef, line: Option<u32>) -> Result<&Receipt, String> {
        let at = original.index;
        let receipt = self.receipts.get(&at).ok_or_else(|| format!("leaf {at} is no receipt before it"))?;
        if receipt.hash != original.hash {
            return Err(format!("leaf {at} has the hash {}", receipt.hash.short()));
        }
        if !receipt.contracts.contains(&plan.contract) {
            return Err(format!("leaf {at} is not under the plan's contract"));
        }
        match line {
            Some(line) if usize::try_from(line).is_ok_and(|line| line >= receipt.lines.len()) => {
                Err(format!("leaf {at} has no usage line {line}"))
            }
            _ => Ok(receipt),
        }
    }

    /// The plan of a correction that fits what is there.
    fn corrects(&self, signer: NodeId, correction: &Correction) -> Result<&PricePlan, Fault> {
        let wrong = |what: String| Fault::new(Code::ReceiptCorrection, what);
        let plan = &self.known(&correction.plan)?.plan;
        let (at, index) = (correction.original.index, correction.line);
        let receipt = self.original(plan, &correction.original, Some(index)).map_err(wrong)?;
        let line = usize::try_from(index).ok().and_then(|i| receipt.lines.get(i));
        let recorded = line.filter(|l| l.class != Class::C).and_then(|l| l.quantity);
        let recorded =
            recorded.ok_or_else(|| wrong(format!("line {index} of leaf {at} has no quantity that could be billed")))?;
        let now = self.quantity(&correction.plan, at, index, recorded, u64::MAX);
        if now != correction.was {
            return Err(wrong(format!("line {index} of leaf {at} has {now}, not {}", correction.was)));
        }
        if let Some(dispute) = correction.dispute {
            let fits = |d: &Disputed| d.plan == correction.plan && d.receipt == at && d.line.is_none_or(|l| l == index);
            let signed = self.disputes.get(&dispute).is_some_and(fits);
            if !signed && (dispute != at || self.differs(&correction.plan, at, index).is_none()) {
                return Err(wrong(format!("leaf {dispute} is no dispute about line {index} of leaf {at}")));
            }
        }
        may(plan, signer, plan.arbiter)?;
        Ok(plan)
    }

    pub(super) fn correction(&mut self, leaf: LeafRef, signer: NodeId, correction: &Correction) -> Result<(), Fault> {
        let plan = self.corrects(signer, correction)?.clone();
        if self.sign(&plan, correction.id(), signer, plan.arbiter) {
            let key = (correction.plan, correction.original.index, correction.line);
            self.corrections.entry(key).or_default().push((leaf.index, correction.quantity));
        }
        Ok(())
    }

    fn may_dispute(&self, envelope: &Envelope, dispute: &Dispute) -> Result<(), Fault> {
        let plan = &self.known(&dispute.plan)?.plan;
        if !plan.signers().any(|s| *s == envelope.signer) {
            return Err(disputed(format!("{} is no party of the price plan", envelope.signer.short())));
        }
        let receipt = self.original(plan, &dispute.original, dispute.line).map_err(disputed)?;
        let until = receipt.issued.plus(plan.dispute_window_ms);
        // The signer chooses its time; the receipts before it in the log say whether that can be true.
        let late = envelope.issued_at > until || self.newest > until.plus(CLOCK_SKEW_MILLIS_MAX);
        if late && !self.unheard(&envelope.signer, plan, dispute) {
            return Err(disputed(format!("leaf {} could be disputed until {until}", dispute.original.index)));
        }
        Ok(())
    }

    /// Whether a party may still dispute a line that those who differed on it have let stand among themselves: it was not asked.
    /// Its window begins with the first receipt after that in the log, since who rules chooses the ruling's own time.
    fn unheard(&self, signer: &NodeId, plan: &PricePlan, dispute: &Dispute) -> bool {
        let at = dispute.original.index;
        let ruling = dispute.line.and_then(|line| self.line_rulings.get(&(dispute.plan, at, line)));
        let Some((ruled, alone)) = ruling.and_then(|r| Some((r.ruled.0, r.alone.as_ref()?))) else { return false };
        let next = self.receipts.range(ruled..).next().map(|(_, receipt)| receipt.issued);
        let open = |from: UnixMillis| self.newest <= from.plus(plan.dispute_window_ms).plus(CLOCK_SKEW_MILLIS_MAX);
        !alone.contains(signer) && next.is_none_or(open)
    }

    pub(super) fn dispute(&mut self, leaf: LeafRef, envelope: &Envelope, dispute: &Dispute) -> Result<(), Fault> {
        self.may_dispute(envelope, dispute)?;
        let found = Disputed {
            hash: leaf.hash,
            plan: dispute.plan,
            receipt: dispute.original.index,
            line: dispute.line,
            by: [envelope.signer].into(),
            ruled: None,
        };
        self.disputed.entry((found.plan, found.receipt)).or_default().push(leaf.index);
        self.disputes.insert(leaf.index, found);
        Ok(())
    }

    /// A line of a receipt on which observers differ, where the plan rates the receipt: those observers, and what is ruled.
    pub(super) fn differs(&self, id: &Hash, receipt: u64, line: u32) -> Option<Found<'_>> {
        let found = self.differing.get(&receipt).and_then(|receipt| self.receipts.get(receipt))?;
        let (plan, known) = self.plans.get_key_value(id).filter(|(_, plan)| plan.rates(receipt, found))?;
        let by = found.lines.get(usize::try_from(line).ok()?).map(|l| &l.differing).filter(|by| !by.is_empty())?;
        let ruled = self.line_rulings.get(&(*id, receipt, line)).map(|r| r.ruled);
        Some(Found { plan, known, line: Some(line), by, ruled })
    }

    /// The dispute that a statement refers to.
    fn disputed_at(&self, at: &LeafRef, about: Option<About>) -> Result<Found<'_>, Fault> {
        let found = match about {
            Some(about) => {
                let same = self.receipts.get(&at.index).is_some_and(|receipt| receipt.hash == at.hash);
                self.differs(&about.plan, at.index, about.line).filter(|_| same)
            }
            None => self.disputes.get(&at.index).filter(|d| d.hash == at.hash).and_then(|d| {
                let known = self.plans.get(&d.plan)?;
                Some(Found { plan: &d.plan, known, line: d.line, by: &d.by, ruled: d.ruled })
            }),
        };
        let what = about.map_or_else(String::new, |about| format!(", nor in dispute in its line {}", about.line));
        found.ok_or_else(|| disputed(format!("leaf {} of that hash is no dispute before it{what}", at.index)))
    }

    fn answers(&self, signer: NodeId, answer: &Answer) -> Result<(), Fault> {
        let dispute = self.disputed_at(&answer.dispute, answer.about)?;
        if dispute.ruled.is_some() {
            return Err(disputed(format!("the dispute of leaf {} is ruled already", answer.dispute.index)));
        }
        may(&dispute.known.plan, signer, dispute.known.plan.arbiter)
    }

    /// An answer is for people: it changes no amount.
    pub(super) fn answer(&mut self, _leaf: LeafRef, signer: NodeId, answer: &Answer) -> Result<(), Fault> {
        self.answers(signer, answer)
    }

    /// The plan of a ruling that ends an open dispute, and who has disputed when it says that the use stands.
    fn rules(&self, signer: NodeId, ruling: &Ruling) -> Result<(&PricePlan, Option<&BTreeSet<NodeId>>), Fault> {
        let dispute = self.disputed_at(&ruling.dispute, ruling.about)?;
        if dispute.ruled.is_some() {
            return Err(disputed(format!("the dispute of leaf {} is ruled already", ruling.dispute.index)));
        }
        let by = Some(dispute.by).filter(|_| ruling.outcome == Outcome::Stands);
        let plan = &dispute.known.plan;
        if !by.is_some_and(|by| by.contains(&signer)) {
            may(plan, signer, plan.arbiter)?;
        }
        Ok((plan, by))
    }

    pub(super) fn ruling(&mut self, leaf: LeafRef, signer: NodeId, ruling: &Ruling) -> Result<(), Fault> {
        let (plan, by) = self.rules(signer, ruling)?;
        let (plan, by) = (plan.clone(), by.cloned());
        let body = sha256(&cbor::encode(ruling));
        let agreed = self.sign(&plan, body, signer, plan.arbiter);
        let signed = self.signed.get(&body).cloned().unwrap_or_default();
        let withdrawn = by.is_some_and(|by| by.is_subset(&signed));
        if !agreed && !withdrawn {
            return Ok(());
        }
        let (at, ruled) = (ruling.dispute.index, (leaf.index, ruling.outcome));
        match ruling.about {
            Some(about) => {
                let ruling = LineRuling { ruled, alone: (!agreed).then_some(signed) };
                self.line_rulings.insert((about.plan, at, about.line), ruling);
            }
            None => {
                if let Some(dispute) = self.disputes.get_mut(&at) {
                    dispute.ruled = Some(ruled);
                }
            }
        }
        Ok(())
    }

    fn values(&self, index: u64, signer: NodeId, valuation: &Valuation) -> Result<&PricePlan, Fault> {
        let plan = &self.known(&valuation.plan)?.plan;
        let wrong = |what: &str| Err(Fault::new(Code::ReceiptPlan, format!("the valuation: {what}")));
        if !plan.split.needs_valuation() {
            return wrong("the split of the plan needs none");
        }
        // A checkpoint from before the period's end could be known while its use can still be steered.
        if valuation.seed.is_some_and(|seed| seed.size < valuation.period.end || seed.size > index) {
            return wrong(
                "its checkpoint is of a size before the period's end, or of one that the log has not reached",
            );
        }
        if self.valued(&valuation.plan, &valuation.period).is_some() {
            return wrong("there is one in force for the period");
        }
        may(plan, signer, plan.arbiter)?;
        Ok(plan)
    }

    pub(super) fn valuation(&mut self, leaf: LeafRef, signer: NodeId, valuation: &Valuation) -> Result<(), Fault> {
        let plan = self.values(leaf.index, signer, valuation)?.clone();
        if self.sign(&plan, sha256(&cbor::encode(valuation)), signer, plan.arbiter) {
            self.valuations.insert((valuation.plan, valuation.period), (leaf.index, valuation.clone()));
        }
        Ok(())
    }

    /// The valuation of a plan's period: of the same first leaf and times, and of the same receipts. Where the period
    /// ends among leaves that are no receipts is open until its charge, and the valuation comes before that.
    pub(super) fn valued(&self, plan: &Hash, period: &Period) -> Option<&(u64, Valuation)> {
        let same = |own: &Period| {
            let between = own.end.min(period.end)..own.end.max(period.end);
            (own.from, own.until) == (period.from, period.until) && self.receipts.range(between).next().is_none()
        };
        let begin = |first| (*plan, Period { first, end: 0, from: UnixMillis(0), until: UnixMillis(0) });
        let all = self.valuations.range(begin(period.first)..begin(period.first.saturating_add(1)));
        all.filter(|((_, own), _)| same(own)).map(|(_, found)| found).next()
    }

    /// Whether a period is over, and the one after a party's last close.
    fn follows(&self, index: u64, signer: NodeId, period: Period) -> Result<(), Fault> {
        if period.end > index {
            return Err(Fault::new(Code::ReceiptPeriod, "it was closed before it was over"));
        }
        if self.closed.get(&signer).is_some_and(|last| !last.is_followed_by(&period)) {
            return Err(Fault::new(Code::ReceiptPeriod, "it does not follow the party's last close"));
        }
        Ok(())
    }

    /// A close takes its period even when its counts are wrong, so that one wrong close is one fault.
    pub(super) fn close_of(&mut self, leaf: LeafRef, signer: NodeId, close: &PeriodClose) -> Result<(), Fault> {
        self.follows(leaf.index, signer, close.period)?;
        self.closed.insert(signer, close.period);
        self.counted(signer, close)
    }

    /// Compares a close with the chain and the lines.
    fn counted(&self, signer: NodeId, close: &PeriodClose) -> Result<(), Fault> {
        let ours = self.close(&signer, close.period)?;
        if *close == ours {
            return Ok(());
        }
        let numbers = |c: &PeriodClose| match c.first_seq.zip(c.last_seq) {
            Some((first, last)) => format!("{} attestations, {first} to {last}", c.count),
            None => format!("{} attestations", c.count),
        };
        let (said, found) = (numbers(close), numbers(&ours));
        let differs = close.sums.iter().find(|sum| !ours.sums.contains(sum));
        let lacks = ours.sums.iter().find(|sum| !close.sums.contains(sum));
        let what = match differs.or(lacks) {
            _ if said != found => format!("{said}; the log has {found}"),
            Some(sum) => {
                let of = |c: &PeriodClose| {
                    let same = |s: &&UnitSum| (s.contract, s.unit) == (sum.contract, sum.unit);
                    c.sums.iter().find(same).map_or(0, |s| s.quantity)
                };
                format!("{} {} under {}; the log has {}", of(close), sum.unit.word(), sum.contract.short(), of(&ours))
            }
            None if close.disputed != ours.disputed => {
                let lines = |c: &PeriodClose| c.disputed.unwrap_or_default();
                format!("{} disputed lines; the log has {}", lines(close), lines(&ours))
            }
            None => format!("{said}, differently written"),
        };
        Err(Fault::new(Code::ReceiptPeriodClose, what))
    }
}
