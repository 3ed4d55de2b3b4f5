//! Price plans: what a payer owes the payees of one contract for a period of use, and how the payees divide it.

use tacit_crypto::{Body, cbor, sha256};
use tacit_types::unit::Class;
use tacit_types::{Code, ContractId, Fault, Hash, NodeId, Unit, UnixMillis};

use super::amount::{AMOUNT_FEN_MAX, PPM, PRICE_MICRO_MAX};
use super::statement::{COALITIONS_MAX, currency};

/// The version of plans, and of the rules by which they are rated, that this code writes and reads.
pub const PLAN_VERSION: u32 = 1;
/// Prices of a plan, and ceilings of a guided regime.
pub const PRICES_MAX: usize = 32;
/// Tiers of a price.
pub const TIERS_MAX: usize = 32;
/// Payees of a plan.
pub const PAYEES_MAX: usize = 128;
/// Payees among whom a value is divided by what each adds.
pub const PLAYERS_MAX: usize = 32;
/// Payees for whom the Shapley value is computed over every coalition.
pub const SHAPLEY_EXACT_MAX: usize = 6;
/// The longest time in which a receipt may be disputed: a year.
pub const DISPUTE_WINDOW_MILLIS_MAX: u64 = 366 * 86_400_000;

/// What is owed under one contract. In force from the leaf at which the payer and every payee have signed the same
/// bytes; receipts before that leaf are not rated by it.
///
/// ```cddl
/// PricePlan = { 1: version, 2: contract, 3: currency, 4: Regime, 5: payer, 6: [+ payee], 7: [* Price],
///   8: subscription_fen, ? 9: minimum_fen, ? 10: maximum_fen, 11: Split, ? 12: Commission, ? 13: arbiter,
///   14: dispute_window_ms, 15: valid_from, 16: valid_until }
/// ```
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct PricePlan {
    /// [`PLAN_VERSION`].
    #[n(1)]
    pub version: u32,
    /// The contract that the use is under.
    #[n(2)]
    pub contract: ContractId,
    /// ISO 4217, such as `CNY`. Its minor unit is a hundredth.
    #[n(3)]
    pub currency: String,
    /// Who may set the price.
    #[n(4)]
    pub regime: Regime,
    /// Who pays: the key of its node.
    #[n(5)]
    pub payer: NodeId,
    /// Who is paid: keys of their nodes, ascending.
    #[n(6)]
    pub payees: Vec<NodeId>,
    /// What each unit costs, by ascending unit. A unit without a price is free.
    #[n(7)]
    pub prices: Vec<Price>,
    /// Fen of each period, whatever was used.
    #[n(8)]
    pub subscription: u64,
    /// The least fen of a period.
    #[n(9)]
    pub minimum: Option<u64>,
    /// The most fen of a period.
    #[n(10)]
    pub maximum: Option<u64>,
    /// How the payees divide what is paid.
    #[n(11)]
    pub split: Split,
    /// What is taken off before they do.
    #[n(12)]
    pub commission: Option<Commission>,
    /// Who may decide disputes alone.
    #[n(13)]
    pub arbiter: Option<NodeId>,
    /// For how many milliseconds after its receipt a use may be disputed.
    #[n(14)]
    pub dispute_window_ms: u64,
    /// From when.
    #[n(15)]
    pub valid_from: UnixMillis,
    /// Until when, exclusive.
    #[n(16)]
    pub valid_until: UnixMillis,
}

/// Who may set the price.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub enum Regime {
    /// The parties.
    #[n(0)]
    Market,
    /// The parties, below what an authority permits.
    #[n(1)]
    Guided {
        /// The highest price of each unit; every unit that has a price has one here. Ascending by unit.
        #[n(1)]
        ceilings: Vec<Ceiling>,
        /// The highest subscription in fen.
        #[n(2)]
        subscription_ceiling: u64,
        /// The revenue in fen that a period is permitted at most.
        #[n(3)]
        revenue_max: u64,
        /// How many fen of permitted and unused revenue the next period may use beside its own.
        #[n(4)]
        carry_max: u64,
    },
    /// Free of charge, for the public interest.
    #[n(2)]
    FreePublicInterest,
}

/// The highest permitted price of a unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Ceiling {
    /// The unit.
    #[n(1)]
    pub unit: Unit,
    /// Millionths of a currency unit.
    #[n(2)]
    pub micro: u64,
}

/// What a unit costs.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Price {
    /// The unit, of class A or B.
    #[n(1)]
    pub unit: Unit,
    /// Whose use counts.
    #[n(2)]
    pub counted: Counted,
    /// How much of it is free in each period.
    #[n(3)]
    pub free: u64,
    /// What the rest costs.
    #[n(4)]
    pub schedule: Schedule,
    /// The least fen of a period for this unit.
    #[n(5)]
    pub minimum: Option<u64>,
    /// The most fen of a period for this unit.
    #[n(6)]
    pub maximum: Option<u64>,
}

/// Which usage lines of a receipt a price counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(index_only)]
pub enum Counted {
    /// Every party's.
    #[n(0)]
    Every,
    /// Those of the plan's payees: in a job under several contracts each pays for its own owners.
    #[n(1)]
    Payees,
}

/// How a quantity becomes a price.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub enum Schedule {
    /// One price for each: per call when the unit is a call or a job, per unit otherwise.
    #[n(0)]
    Each {
        /// Millionths of a currency unit.
        #[n(1)]
        micro: u64,
    },
    /// Each tier's quantity costs that tier's price.
    #[n(1)]
    Graduated {
        /// By ascending bound.
        #[n(1)]
        tiers: Vec<Tier>,
    },
    /// The whole quantity costs the price of the tier that it reaches. More may cost less at a bound.
    #[n(2)]
    Volume {
        /// By ascending bound.
        #[n(1)]
        tiers: Vec<Tier>,
    },
}

/// A range of quantities with a price.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Tier {
    /// The last quantity of the tier; none for the last tier alone.
    #[n(1)]
    pub up_to: Option<u64>,
    /// Millionths of a currency unit.
    #[n(2)]
    pub micro: u64,
}

/// How the payees divide what is paid.
#[derive(Clone, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub enum Split {
    /// The same for each.
    #[n(0)]
    Equal,
    /// By agreed parts.
    #[n(1)]
    Fixed {
        /// Millionths of the whole, in the order of the payees; they add up to a million.
        #[n(1)]
        parts: Vec<u64>,
    },
    /// By each payee's own use of a unit of class A or B. If none used it, equally.
    #[n(2)]
    Proportional {
        /// The unit.
        #[n(1)]
        unit: Unit,
    },
    /// By what the whole loses when one is left out, of an agreed [`Valuation`](super::Valuation).
    #[n(3)]
    LeaveOneOut,
    /// By the Shapley value over every coalition, for at most [`SHAPLEY_EXACT_MAX`] payees.
    #[n(4)]
    Shapley,
    /// By the Shapley value over some orders of arrival, drawn from a checkpoint that nobody could choose.
    #[n(5)]
    ShapleySampled {
        /// How many orders; with as many coalitions each as there are payees, at most [`COALITIONS_MAX`] of those.
        #[n(1)]
        samples: u32,
    },
}

impl Split {
    /// Whether it needs a valuation of coalitions.
    pub fn needs_valuation(&self) -> bool {
        matches!(self, Split::LeaveOneOut | Split::Shapley | Split::ShapleySampled { .. })
    }
}

/// What someone takes off before the payees divide.
#[derive(Clone, Copy, PartialEq, Eq, Debug, minicbor::Encode, minicbor::Decode)]
#[cbor(map)]
pub struct Commission {
    /// Who.
    #[n(1)]
    pub party: NodeId,
    /// Millionths of what is paid, rounded half even to fen.
    #[n(2)]
    pub ppm: u64,
}

impl Body for PricePlan {
    const TYPE: &'static str = "price-plan";
}

fn wrong(what: impl Into<String>) -> Fault {
    Fault::new(Code::ReceiptPlan, what)
}

fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(wrong(what())) }
}

/// Whether a list has no more than `most` and each is greater than the one before.
fn ascending<T, K: Ord>(list: &[T], most: usize, key: impl Fn(&T) -> K) -> bool {
    list.len() <= most && list.iter().zip(list.iter().skip(1)).all(|(a, b)| key(a) < key(b))
}

impl PricePlan {
    /// The hash of the body, which every signer signs.
    pub fn id(&self) -> Hash {
        sha256(&cbor::encode(self))
    }

    /// What a contract names as its price plan: the hash of the plan without a contract, because the contract's own id
    /// is not known before it is written.
    pub fn terms(&self) -> Hash {
        Self { contract: ContractId([0; 32]), ..self.clone() }.id()
    }

    /// Whose signatures bring it into force.
    pub fn signers(&self) -> impl Iterator<Item = &NodeId> {
        core::iter::once(&self.payer).chain(&self.payees)
    }

    /// The price of a unit.
    pub fn price(&self, unit: Unit) -> Option<&Price> {
        self.prices.iter().find(|p| p.unit == unit)
    }

    /// Checks that the plan does not contradict itself.
    ///
    /// # Errors
    /// `receipt.plan`, `receipt.not_billable` for a unit of class C, `receipt.regime` for a price that its regime
    /// does not allow.
    pub fn check(&self) -> Result<(), Fault> {
        ensure(self.version == PLAN_VERSION, || format!("version {} is not {PLAN_VERSION}", self.version))?;
        currency(&self.currency).map_err(|what| wrong(what.to_owned()))?;
        ensure(!self.payees.is_empty() && ascending(&self.payees, PAYEES_MAX, |p| *p), || {
            format!("payees: 1 to {PAYEES_MAX}, ascending, each once")
        })?;
        ensure(!self.payees.contains(&self.payer), || "the payer is a payee".into())?;
        ensure(ascending(&self.prices, PRICES_MAX, |p| p.unit), || {
            format!("prices: at most {PRICES_MAX}, ascending by unit, each once")
        })?;
        self.prices.iter().try_for_each(Price::check)?;
        let bounds = [Some(self.subscription), self.minimum, self.maximum];
        ensure(bounds.into_iter().flatten().all(|fen| fen <= AMOUNT_FEN_MAX), || {
            "subscription, minimum or maximum: over the limit of an amount".into()
        })?;
        ensure(ordered(self.minimum, self.maximum), || "the minimum is above the maximum".into())?;
        ensure(self.valid_from < self.valid_until, || "it ends before it begins".into())?;
        ensure(self.dispute_window_ms <= DISPUTE_WINDOW_MILLIS_MAX, || "the dispute window is over a year".into())?;
        if let Some(commission) = &self.commission {
            ensure(commission.ppm <= PPM, || format!("a commission of {} of {PPM}", commission.ppm))?;
            ensure(commission.party != self.payer, || "the payer takes a commission".into())?;
        }
        self.check_split()?;
        self.check_regime()
    }

    fn check_split(&self) -> Result<(), Fault> {
        let n = self.payees.len();
        match &self.split {
            Split::Equal => Ok(()),
            Split::Fixed { parts } => {
                let sum = parts.iter().try_fold(0u64, |sum, part| sum.checked_add(*part));
                ensure(parts.len() == n && sum == Some(PPM), || {
                    format!("fixed parts: one for each payee, adding up to {PPM}")
                })
            }
            Split::Proportional { unit } => billable(*unit),
            Split::LeaveOneOut => ensure(n <= PLAYERS_MAX, || format!("{n} payees; {PLAYERS_MAX} can be valued")),
            Split::Shapley => ensure(n <= SHAPLEY_EXACT_MAX, || {
                format!("{n} payees; the exact Shapley value is for at most {SHAPLEY_EXACT_MAX}")
            }),
            Split::ShapleySampled { samples } => {
                let looked_at = n.saturating_mul(usize::try_from(*samples).unwrap_or(usize::MAX));
                ensure(n <= PLAYERS_MAX && *samples > 0 && looked_at <= COALITIONS_MAX, || {
                    format!("1 or more samples of at most {PLAYERS_MAX} payees, {COALITIONS_MAX} coalitions in all")
                })
            }
        }
    }

    fn check_regime(&self) -> Result<(), Fault> {
        let refused = |what: String| Err(Fault::new(Code::ReceiptRegime, what));
        match &self.regime {
            Regime::Market => Ok(()),
            Regime::Guided { ceilings, subscription_ceiling, revenue_max, carry_max } => {
                ensure(ascending(ceilings, PRICES_MAX, |c| c.unit), || {
                    format!("ceilings: at most {PRICES_MAX}, ascending by unit, each once")
                })?;
                ensure(*revenue_max <= AMOUNT_FEN_MAX && *carry_max <= AMOUNT_FEN_MAX, || {
                    "permitted revenue: over the limit of an amount".into()
                })?;
                for price in &self.prices {
                    let unit = price.unit.word();
                    let Some(ceiling) = ceilings.iter().find(|c| c.unit == price.unit) else {
                        return refused(format!("{unit} has a price and no ceiling"));
                    };
                    if let Some(over) = price.schedule.micros().find(|micro| *micro > ceiling.micro) {
                        return refused(format!(
                            "{unit} at {over} millionths is above the ceiling of {}",
                            ceiling.micro
                        ));
                    }
                }
                // A minimum would be a way around a ceiling.
                if self.minimum.is_some() || self.prices.iter().any(|p| p.minimum.is_some()) {
                    return refused("a guided price has no minimum".into());
                }
                if self.subscription > *subscription_ceiling {
                    return refused(format!("a subscription above the ceiling of {subscription_ceiling} fen"));
                }
                Ok(())
            }
            Regime::FreePublicInterest => {
                let fixed = [Some(self.subscription), self.minimum];
                let costs = fixed.into_iter().flatten().any(|fen| fen > 0)
                    || self
                        .prices
                        .iter()
                        .any(|p| p.schedule.micros().any(|m| m > 0) || p.minimum.is_some_and(|m| m > 0));
                if costs { refused("a free use for public interest has a price".into()) } else { Ok(()) }
            }
        }
    }
}

fn ordered(minimum: Option<u64>, maximum: Option<u64>) -> bool {
    minimum.zip(maximum).is_none_or(|(least, most)| least <= most)
}

fn billable(unit: Unit) -> Result<(), Fault> {
    match unit.class() {
        Class::A | Class::B => Ok(()),
        Class::C => Err(Fault::new(Code::ReceiptNotBillable, format!("{} is of class C", unit.word()))),
    }
}

impl Price {
    fn check(&self) -> Result<(), Fault> {
        let unit = self.unit.word();
        billable(self.unit)?;
        ensure(self.schedule.micros().all(|micro| micro <= PRICE_MICRO_MAX), || {
            format!("{unit}: a price over the limit")
        })?;
        ensure([self.minimum, self.maximum].into_iter().flatten().all(|fen| fen <= AMOUNT_FEN_MAX), || {
            format!("{unit}: minimum or maximum over the limit of an amount")
        })?;
        ensure(ordered(self.minimum, self.maximum), || format!("{unit}: the minimum is above the maximum"))?;
        let (Schedule::Graduated { tiers } | Schedule::Volume { tiers }) = &self.schedule else { return Ok(()) };
        ensure(tiers.last().is_some_and(|last| last.up_to.is_none()), || format!("{unit}: the last tier has a bound"))?;
        let bounds = tiers.iter().take(tiers.len().saturating_sub(1)).map(|t| t.up_to).collect::<Option<Vec<u64>>>();
        let bounded = bounds.is_some_and(|b| ascending(&b, TIERS_MAX - 1, |up_to| *up_to) && b.first() != Some(&0));
        ensure(bounded, || format!("{unit}: at most {TIERS_MAX} tiers, each but the last with a greater bound"))
    }
}

impl Schedule {
    /// Every price of the schedule.
    pub fn micros(&self) -> impl Iterator<Item = u64> + '_ {
        let (each, tiers): (Option<u64>, &[Tier]) = match self {
            Schedule::Each { micro } => (Some(*micro), &[]),
            Schedule::Graduated { tiers } | Schedule::Volume { tiers } => (None, tiers),
        };
        each.into_iter().chain(tiers.iter().map(|t| t.micro))
    }
}
