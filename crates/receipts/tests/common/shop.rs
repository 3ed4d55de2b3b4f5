//! A payer and payees over a log.

use tacit_crypto::{Body, SigningKey, Statement};
use tacit_receipts::money::*;
use tacit_receipts::*;
use tacit_types::*;

use super::*;

/// The payer is party 0, the payees are the others, ascending by key.
pub struct Shop {
    pub world: World,
    pub ledger: Ledger,
    pub followed: u64,
}

impl Shop {
    pub fn new(parties: usize) -> Self {
        Self { world: World::new(parties), ledger: Ledger::new(ORIGIN), followed: 0 }
    }

    /// A shop with a plan in force.
    pub fn with(parties: usize, change: impl FnOnce(&mut PricePlan)) -> (Self, Hash) {
        let mut shop = Self::new(parties);
        let mut plan = shop.plan();
        change(&mut plan);
        shop.agree(&plan);
        (shop, plan.id())
    }

    pub fn id(&self, i: usize) -> NodeId {
        self.world.party(i).id()
    }

    pub fn plan(&self) -> PricePlan {
        let mut payees: Vec<NodeId> = (1..self.world.parties).map(|i| self.id(i)).collect();
        payees.sort_unstable();
        let price = |unit, micro| Price {
            unit,
            counted: Counted::Every,
            free: 0,
            schedule: Schedule::Each { micro },
            minimum: None,
            maximum: None,
        };
        PricePlan {
            version: 1,
            contract: ContractId([7; 32]),
            currency: "CNY".into(),
            regime: Regime::Market,
            payer: self.id(0),
            payees,
            prices: vec![price(Unit::Job, 5_000_000), price(Unit::CellIn, 1_234)],
            subscription: 0,
            minimum: None,
            maximum: None,
            split: Split::Equal,
            commission: None,
            arbiter: None,
            dispute_window_ms: 3_600_000,
            valid_from: START,
            valid_until: START.plus(1_000_000_000),
        }
    }

    /// Appends a leaf, which the ledger follows; gives its place and what the ledger says.
    pub fn append(&mut self, leaf: Vec<u8>) -> (u64, Result<(), Fault>) {
        // What a ledger allows is what it then takes in.
        let _ = self.follow();
        let allowed = match Leaf::read(&leaf) {
            Ok(Leaf::Money(envelope, money)) if !money.is_coordinators() => {
                Some(self.ledger.allows(self.size(), &envelope, &money))
            }
            _ => None,
        };
        let at = self.world.append(leaf);
        let said = self.follow();
        if let Some(allowed) = allowed {
            assert_eq!(allowed, said);
        }
        (at, said)
    }

    pub fn follow(&mut self) -> Result<(), Fault> {
        let mut last = Ok(());
        while self.followed < self.world.leaves.len() as u64 {
            let leaf = self.world.leaves[self.followed as usize].clone();
            last = self.ledger.follow(self.followed, &leaf, &|_| None);
            self.followed += 1;
        }
        last
    }

    pub fn sign<T: Body>(&self, key: &SigningKey, body: T) -> Vec<u8> {
        Statement::sign(key, "money", self.world.now, None, body).bytes().to_vec()
    }

    pub fn says<T: Body>(&mut self, i: usize, body: T) -> (u64, Result<(), Fault>) {
        let leaf = self.sign(&self.world.party(i), body);
        self.append(leaf)
    }

    pub fn coordinator_says<T: Body>(&mut self, body: T) -> u64 {
        let leaf = self.sign(&self.world.coordinator(), body);
        self.append(leaf).0
    }

    /// Everyone signs; gives the place of the last signature.
    pub fn agree<T: Body + Clone>(&mut self, body: &T) -> u64 {
        self.agree_of(self.world.parties, body)
    }

    /// The first `parties` sign; gives the place of the last signature.
    pub fn agree_of<T: Body + Clone>(&mut self, parties: usize, body: &T) -> u64 {
        let signed = (0..parties).map(|i| self.says(i, body.clone()));
        let leaves: Vec<u64> = signed.map(|(at, said)| said.map(|()| at).unwrap()).collect();
        *leaves.last().unwrap()
    }

    pub fn job(&mut self, job: u8) -> LeafRef {
        let index = self.world.job(job);
        self.follow().unwrap();
        self.at(index)
    }

    pub fn at(&self, index: u64) -> LeafRef {
        LeafRef { index, hash: merkle::leaf_hash(&self.world.leaves[index as usize]) }
    }

    pub fn size(&self) -> u64 {
        self.world.tree.size()
    }

    /// The period from `first` until now.
    pub fn period(&mut self, first: u64, from: UnixMillis) -> Period {
        self.world.now = self.world.now.plus(1_000);
        Period { first, end: self.size(), from, until: self.world.now }
    }

    pub fn charge(&mut self, plan: Hash, period: Period) -> (u64, Charge) {
        let charge = self.ledger.charge(&plan, period, self.size()).unwrap();
        (self.coordinator_says(charge.clone()), charge)
    }

    pub fn settle(&mut self, leaves: &[u64]) -> Settlement {
        let settlement = self.ledger.settlement("CNY", &leaves.iter().copied().collect()).unwrap();
        self.coordinator_says(settlement.clone());
        settlement
    }

    pub fn correction(&self, plan: Hash, original: LeafRef, was: u64, quantity: u64) -> Correction {
        let reason = "counted twice".into();
        Correction { version: 1, origin: ORIGIN.into(), plan, original, line: 1, was, quantity, reason, dispute: None }
    }

    pub fn dispute(&self, plan: Hash, original: LeafRef, line: Option<u32>) -> Dispute {
        let (reason, evidence) = ("we gave fewer".into(), vec![Hash([5; 32])]);
        Dispute { version: 1, origin: ORIGIN.into(), plan, original, line, reason, evidence }
    }

    pub fn ruling(&self, dispute: u64, outcome: Outcome) -> Ruling {
        let (dispute, about) = (self.at(dispute), None);
        let (origin, reason) = (ORIGIN.into(), "heard".into());
        Ruling { version: 1, origin, dispute, outcome, reason, evidence: Vec::new(), about }
    }

    #[track_caller]
    pub fn valid(&self) {
        let report = self.world.report();
        assert!(report.is_valid(), "{:#?}", report.faults);
        assert_eq!(report.notices, []);
    }

    /// Asserts that the log has exactly these faults.
    #[track_caller]
    pub fn found(&self, expected: &[(u64, Code)]) {
        let report = self.world.report();
        let faults: Vec<(u64, Code)> = report.faults.iter().map(|f| (f.leaf.unwrap(), f.code)).collect();
        assert_eq!(faults, expected, "{:#?}", report.faults);
        for fault in &report.faults {
            assert!(fault.sentence(Lang::En).contains(fault.code.title(Lang::En)));
            assert!(fault.sentence(Lang::Zh).contains(fault.code.title(Lang::Zh)));
        }
    }
}

/// Three jobs under a plan, ready to be charged.
pub fn busy() -> (Shop, Hash, Period) {
    let (mut shop, plan) = Shop::with(3, |_| {});
    (1..=3).for_each(|job| {
        shop.job(job);
    });
    let period = shop.period(2, START);
    (shop, plan, period)
}

/// What three jobs cost: 5.00 each, and 3006 cells at 0.001234 are 3.709404.
pub const THREE_JOBS: u64 = 1500 + 371;
