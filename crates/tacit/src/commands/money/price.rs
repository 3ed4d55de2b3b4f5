//! `price draft`, `sign`, `list`, `show`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use tacit_governance::{AlignTerms, Contract, MatchesShown, PartyCard};
use tacit_node::Client;
use tacit_receipts::money::amount::{decimal, price_decimal};
use tacit_receipts::money::plan::PLAN_VERSION;
use tacit_receipts::money::{Ceiling, Commission, Counted, Price, PricePlan, Regime, Schedule, Split, Tier};
use tacit_receipts::{Leaf, Money};
use tacit_types::{Code, ContractId, Fault, Hash, Name, NodeId, Unit, UnixMillis};

use super::{Books, PriceCommand, say};
use crate::commands::alignment;
use crate::commands::contract::{contracts, pick};
use crate::home::Party;
use crate::output::Out;

/// What a person writes. Amounts are texts, so that none is rounded on the way.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    currency: String,
    payer: Name,
    payees: Vec<Name>,
    /// market, guided or free.
    #[serde(default = "market")]
    regime: String,
    #[serde(default)]
    prices: Vec<WrittenPrice>,
    subscription: Option<String>,
    minimum: Option<String>,
    maximum: Option<String>,
    /// equal; fixed; the word of a unit, by each payee's own use of it; leave_one_out, shapley or shapley_sampled, by
    /// what the payees are worth together.
    #[serde(default = "equal")]
    split: String,
    /// Percent of each payee, for `split = "fixed"`.
    #[serde(default)]
    percent: BTreeMap<Name, String>,
    /// Orders of arrival that are drawn, for `split = "shapley_sampled"`.
    samples: Option<u32>,
    commission: Option<WrittenCommission>,
    arbiter: Option<Name>,
    #[serde(default = "month")]
    dispute_days: u64,
    guided: Option<WrittenGuided>,
}

fn market() -> String {
    "market".into()
}

fn equal() -> String {
    "equal".into()
}

fn month() -> u64 {
    30
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPrice {
    unit: String,
    /// Of each one.
    each: Option<String>,
    /// Each tier at its own price.
    graduated: Option<Vec<WrittenTier>>,
    /// All at the price of the tier that is reached.
    volume: Option<Vec<WrittenTier>>,
    #[serde(default)]
    free: u64,
    /// every or payees.
    #[serde(default = "every")]
    counted: String,
    minimum: Option<String>,
    maximum: Option<String>,
}

fn every() -> String {
    "every".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenTier {
    up_to: Option<u64>,
    price: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenCommission {
    party: Name,
    percent: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenGuided {
    ceilings: BTreeMap<String, String>,
    #[serde(default = "zero")]
    subscription_ceiling: String,
    revenue_max: String,
    #[serde(default = "zero")]
    carry_max: String,
}

fn zero() -> String {
    "0".into()
}

fn invalid(what: impl Into<String>) -> Fault {
    Fault::new(Code::ArgsInvalid, what)
}

/// A decimal number in units of its last digit: `12.5` of 2 digits is 1250.
fn scaled(text: &str, digits: u32, what: &str) -> Result<u64, Fault> {
    let read = || {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty()
            || !plain(whole)
            || !plain(fraction)
            || fraction.len() > digits as usize
            || text.ends_with('.')
        {
            return None;
        }
        format!("{whole}{fraction:0<width$}", width = digits as usize).parse().ok()
    };
    read().ok_or_else(|| invalid(format!("{what}: `{text}` is no amount with at most {digits} decimals")))
}

fn unit(word: &str) -> Result<Unit, Fault> {
    Unit::ALL.into_iter().find(|u| u.word() == word).ok_or_else(|| {
        let words: Vec<&str> = Unit::ALL.iter().map(|u| u.word()).collect();
        invalid(format!("`{word}` is no unit; one of {}", words.join(", ")))
    })
}

impl Written {
    fn plan(
        &self,
        contract: ContractId,
        from: UnixMillis,
        until: UnixMillis,
        keys: &Keys<'_>,
    ) -> Result<PricePlan, Fault> {
        let fen = |text: &Option<String>, what| text.as_deref().map(|t| scaled(t, 2, what)).transpose();
        let mut payees = self.payees.iter().map(|name| keys.of(name)).collect::<Result<Vec<_>, _>>()?;
        payees.sort_unstable();
        let mut prices = self.prices.iter().map(WrittenPrice::price).collect::<Result<Vec<_>, _>>()?;
        prices.sort_unstable_by_key(|price| price.unit);
        let commission = self.commission.as_ref().map(|c| -> Result<Commission, Fault> {
            Ok(Commission { party: keys.of(&c.party)?, ppm: scaled(&c.percent, 4, "commission.percent")? })
        });
        let plan = PricePlan {
            version: PLAN_VERSION,
            contract,
            currency: self.currency.clone(),
            regime: self.regime()?,
            payer: keys.of(&self.payer)?,
            split: self.split(&payees, keys)?,
            payees,
            prices,
            subscription: fen(&self.subscription, "subscription")?.unwrap_or_default(),
            minimum: fen(&self.minimum, "minimum")?,
            maximum: fen(&self.maximum, "maximum")?,
            commission: commission.transpose()?,
            arbiter: self.arbiter.as_ref().map(|name| keys.of(name)).transpose()?,
            dispute_window_ms: self.dispute_days.saturating_mul(86_400_000),
            valid_from: from,
            valid_until: until,
        };
        plan.check()?;
        Ok(plan)
    }

    fn regime(&self) -> Result<Regime, Fault> {
        match (self.regime.as_str(), &self.guided) {
            ("market", None) => Ok(Regime::Market),
            ("free", None) => Ok(Regime::FreePublicInterest),
            ("guided", Some(guided)) => {
                let ceiling = |(word, text): (&String, &String)| -> Result<Ceiling, Fault> {
                    Ok(Ceiling { unit: unit(word)?, micro: scaled(text, 6, "guided.ceilings")? })
                };
                let mut ceilings = guided.ceilings.iter().map(ceiling).collect::<Result<Vec<_>, _>>()?;
                ceilings.sort_unstable_by_key(|c| c.unit);
                Ok(Regime::Guided {
                    ceilings,
                    subscription_ceiling: scaled(&guided.subscription_ceiling, 2, "guided.subscription_ceiling")?,
                    revenue_max: scaled(&guided.revenue_max, 2, "guided.revenue_max")?,
                    carry_max: scaled(&guided.carry_max, 2, "guided.carry_max")?,
                })
            }
            ("guided", None) | ("market" | "free", Some(_)) => {
                Err(invalid("regime: a guided price has a part [guided], and no other has one"))
            }
            (other, _) => Err(invalid(format!("regime: `{other}`; one of market, guided, free"))),
        }
    }

    fn split(&self, payees: &[NodeId], keys: &Keys<'_>) -> Result<Split, Fault> {
        if self.split != "shapley_sampled" && self.samples.is_some() {
            return Err(invalid("samples: for split = \"shapley_sampled\" alone"));
        }
        if self.split != "fixed" && !self.percent.is_empty() {
            return Err(invalid("percent: for split = \"fixed\" alone"));
        }
        match self.split.as_str() {
            "equal" => Ok(Split::Equal),
            "fixed" => {
                let part = |(name, text): (&Name, &String)| Ok((keys.of(name)?, scaled(text, 4, "percent")?));
                let parts = self.percent.iter().map(part).collect::<Result<BTreeMap<NodeId, u64>, Fault>>()?;
                let whose: BTreeSet<&NodeId> = parts.keys().collect();
                if whose != payees.iter().collect() {
                    return Err(invalid("percent: one for each payee"));
                }
                Ok(Split::Fixed { parts: parts.into_values().collect() })
            }
            "leave_one_out" => Ok(Split::LeaveOneOut),
            "shapley" => Ok(Split::Shapley),
            "shapley_sampled" => {
                let samples = self.samples.ok_or_else(|| invalid("samples: how many orders of arrival are drawn"))?;
                Ok(Split::ShapleySampled { samples })
            }
            word => Ok(Split::Proportional { unit: unit(word)? }),
        }
    }
}

impl WrittenPrice {
    fn price(&self) -> Result<Price, Fault> {
        let name = &self.unit;
        let tiers = |tiers: &[WrittenTier]| {
            let tier = |t: &WrittenTier| Ok(Tier { up_to: t.up_to, micro: scaled(&t.price, 6, name)? });
            tiers.iter().map(tier).collect::<Result<Vec<_>, Fault>>()
        };
        let schedule = match (&self.each, &self.graduated, &self.volume) {
            (Some(text), None, None) => Schedule::Each { micro: scaled(text, 6, name)? },
            (None, Some(list), None) => Schedule::Graduated { tiers: tiers(list)? },
            (None, None, Some(list)) => Schedule::Volume { tiers: tiers(list)? },
            _ => return Err(invalid(format!("{name}: exactly one of each, graduated and volume"))),
        };
        let counted = match self.counted.as_str() {
            "every" => Counted::Every,
            "payees" => Counted::Payees,
            other => return Err(invalid(format!("{name}: counted `{other}`; one of every, payees"))),
        };
        let fen = |text: &Option<String>| text.as_deref().map(|t| scaled(t, 2, name)).transpose();
        Ok(Price {
            unit: unit(name)?,
            counted,
            free: self.free,
            schedule,
            minimum: fen(&self.minimum)?,
            maximum: fen(&self.maximum)?,
        })
    }
}

/// The keys of parties' nodes, by which money knows them.
struct Keys<'a>(&'a [PartyCard]);

impl Keys<'_> {
    fn of(&self, name: &Name) -> Result<NodeId, Fault> {
        let card = self.0.iter().find(|c| c.name == *name);
        card.map(|c| c.node).ok_or_else(|| Fault::new(Code::RefusedParties, format!("`{name}` is not enrolled")))
    }
}

fn read(file: &Path) -> Result<Written, Fault> {
    let text =
        std::fs::read_to_string(file).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", file.display())))?;
    toml::from_str(&text).map_err(|e| invalid(format!("{}: {}", file.display(), e.to_string().trim())))
}

/// The plan of which a contract with this validity names the terms, without the contract's id.
///
/// # Errors
/// `io.failed`, `args.invalid` and those of [`PricePlan::check`], naming the file.
pub fn plan_of_file(file: &Path, cards: &[PartyCard], from: UnixMillis, until: UnixMillis) -> Result<PricePlan, Fault> {
    let named = |f: Fault| Fault::new(f.code, format!("{}: {}", file.display(), f.what));
    read(file)?.plan(ContractId([0; 32]), from, until, &Keys(cards)).map_err(named)
}

/// Whether a plan rests on matches of which no receipt under these terms shows a number: it prices or divides by `cell_out`,
/// and bills nothing for alignments.
fn is_unshown(terms: Option<&AlignTerms>, prices: &[Price], split: &Split) -> bool {
    let shows = |terms: &AlignTerms| {
        terms.matches != MatchesShown::Never && terms.levels.iter().any(|level| alignment::both_learn(*level))
    };
    let priced = prices.iter().any(|price| price.unit == Unit::CellOut);
    let divided = matches!(split, Split::Proportional { unit: Unit::CellOut });
    (priced || divided) && terms.is_some_and(|terms| !shows(terms))
}

/// What a plan's parties may not expect of it under its contract.
pub fn cautions(out: &Out, contract: &Contract, plan: &PricePlan) -> Vec<&'static str> {
    let text = out.say(
        "cell_out: under this contract no receipt shows how many keys match, so the plan bills 0 for alignments; \
         see matches_in_receipt",
        "cell_out：本合同下的凭证不显示匹配数量，对齐作业的该项计费为 0；参见 matches_in_receipt",
    );
    let unshown = is_unshown(contract.alignment.as_ref(), &plan.prices, &plan.split);
    if unshown { vec![text] } else { Vec::new() }
}

/// A plan in the log, by its hash, with where it was first said.
fn offered(books: &Books) -> BTreeMap<Hash, (u64, PricePlan)> {
    let mut plans = BTreeMap::new();
    for (leaf, bytes) in (0u64..).zip(&books.leaves) {
        if let Ok(Leaf::Money(_, money)) = Leaf::read(bytes)
            && let Money::Plan(plan) = *money
            && !books.ledger.signed(&plan.id()).is_empty()
        {
            plans.entry(plan.id()).or_insert((leaf, plan));
        }
    }
    plans
}

pub(super) async fn run(
    party: &Party,
    client: &Client,
    books: &Books,
    out: &Out,
    command: &PriceCommand,
) -> Result<(), Fault> {
    let wanted = match command {
        PriceCommand::List => return list(books, out),
        PriceCommand::Draft { contract, .. } | PriceCommand::Sign { contract } | PriceCommand::Show { contract } => {
            contract
        }
    };
    let all = contracts(party, client).await?;
    let contract = pick(&all, wanted)?;
    let (id, body) = (contract.id(), contract.body());
    let plan = match command {
        PriceCommand::Draft { file, .. } => {
            let cards: Vec<PartyCard> = party.roster(client).await?.into_iter().map(|(card, _)| card).collect();
            let plan = read(file)?.plan(id, body.valid_from, body.valid_until, &Keys(&cards))?;
            fits(body, &plan)?;
            plan
        }
        _ => {
            let found = offered(books).into_values().map(|(_, plan)| plan).find(|plan| plan.contract == id);
            let plan = found.ok_or_else(|| {
                Fault::new(Code::ReceiptUnagreed, format!("nobody has said a price plan of {}", body.name))
            })?;
            fits(body, &plan)?;
            plan
        }
    };
    let cautions = cautions(out, body, &plan);
    cautions.iter().for_each(|text| out.text(text));
    let mut signed = books.ledger.signed(&plan.id());
    if !matches!(command, PriceCommand::Show { .. }) {
        let leaf = say(party, client, out, plan.clone()).await?;
        signed.insert(party.keys.node_id);
        out.text(format!("{} {leaf}", out.say("signed, leaf", "已签署，叶")));
    }
    shown(books, out, &plan, &signed);
    let mut value = view(books, &plan, &signed);
    value["cautions"] = json!(cautions);
    out.value(&value);
    Ok(())
}

/// A plan is the one that its contract means.
fn fits(contract: &Contract, plan: &PricePlan) -> Result<(), Fault> {
    if contract.price_plan == Some(plan.terms()) {
        return Ok(());
    }
    let what = format!(
        "contract {} names {}",
        contract.name,
        match contract.price_plan {
            Some(terms) => format!("the terms {}; this plan has {}", terms.short(), plan.terms().short()),
            None => "no price plan".to_owned(),
        }
    );
    Err(Fault::new(Code::ReceiptPlan, what))
}

fn list(books: &Books, out: &Out) -> Result<(), Fault> {
    let plans = offered(books);
    let rows: Vec<Vec<String>> = plans
        .values()
        .map(|(leaf, plan)| {
            let missing: Vec<String> = missing(books, plan, &books.ledger.signed(&plan.id()));
            let state =
                if missing.is_empty() { out.say("in force", "已生效") } else { out.say("unsigned", "待签署") };
            let payees: Vec<String> = plan.payees.iter().map(|p| books.name(p)).collect();
            vec![
                leaf.to_string(),
                plan.contract.short(),
                books.name(&plan.payer),
                payees.join(", "),
                state.into(),
                missing.join(", "),
            ]
        })
        .collect();
    let head = [
        out.say("leaf", "叶"),
        out.say("contract", "合同"),
        out.say("payer", "付款方"),
        out.say("payees", "收款方"),
        out.say("state", "状态"),
        out.say("missing", "缺少签名"),
    ];
    out.table(&head, &rows);
    out.value(&plans.values().map(|(_, plan)| view(books, plan, &books.ledger.signed(&plan.id()))).collect::<Vec<_>>());
    Ok(())
}

fn missing(books: &Books, plan: &PricePlan, signed: &BTreeSet<NodeId>) -> Vec<String> {
    plan.signers().filter(|s| !signed.contains(*s)).map(|s| books.name(s)).collect()
}

fn regime(out: &Out, regime: &Regime) -> &'static str {
    match regime {
        Regime::Market => out.say("market price", "市场自主定价"),
        Regime::Guided { .. } => out.say("guided price", "政府指导价"),
        Regime::FreePublicInterest => out.say("free, for the public interest", "公益无偿使用"),
    }
}

fn tiers(out: &Out, schedule: &Schedule) -> String {
    let list = |tiers: &[Tier]| {
        let one = |t: &Tier| {
            let up_to = t
                .up_to
                .map_or_else(|| out.say("above", "以上").to_owned(), |n| format!("{} {n}", out.say("up to", "至")));
            format!("{up_to}: {}", price_decimal(t.micro))
        };
        tiers.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    match schedule {
        Schedule::Each { micro } => format!("{} {}", price_decimal(*micro), out.say("each", "每单位")),
        Schedule::Graduated { tiers } => format!("{}: {}", out.say("graduated", "超额累进"), list(tiers)),
        Schedule::Volume { tiers } => format!("{}: {}", out.say("by volume", "按总量分档"), list(tiers)),
    }
}

fn shown(books: &Books, out: &Out, plan: &PricePlan, signed: &BTreeSet<NodeId>) {
    let row = |label: &str, value: String| vec![label.to_owned(), value];
    let party = |key: &NodeId| {
        let state =
            if signed.contains(key) { out.say("signed", "已签署") } else { out.say("not signed", "未签署") };
        format!("{}  {state}", books.name(key))
    };
    let mut rows = vec![
        row(out.say("plan", "价格方案"), plan.id().to_string()),
        row(out.say("contract", "合同"), plan.contract.to_string()),
        row(out.say("regime", "定价方式"), regime(out, &plan.regime).to_owned()),
        row(out.say("valid", "有效期"), format!("{} .. {}", plan.valid_from, plan.valid_until)),
        row(out.say("payer", "付款方"), party(&plan.payer)),
    ];
    rows.extend(plan.payees.iter().map(|p| row(out.say("payee", "收款方"), party(p))));
    for price in &plan.prices {
        let mut value = tiers(out, &price.schedule);
        if price.free > 0 {
            value.push_str(&format!("; {} {}", price.free, out.say("free a period", "每期免费")));
        }
        if price.counted == Counted::Payees {
            value.push_str(out.say("; of the payees' own", "；仅计收款方"));
        }
        rows.push(row(price.unit.word(), value));
    }
    let fen = |amount: u64| super::money(super::signed(amount), &plan.currency);
    if plan.subscription > 0 {
        rows.push(row(out.say("subscription", "订阅费"), fen(plan.subscription)));
    }
    let bounds = [(out.say("minimum", "最低"), plan.minimum), (out.say("maximum", "最高"), plan.maximum)];
    rows.extend(bounds.into_iter().filter_map(|(label, amount)| Some(row(label, fen(amount?)))));
    if let Some(commission) = &plan.commission {
        let percent = format!("{}.{:04} %", commission.ppm / 10_000, commission.ppm % 10_000);
        rows.push(row(out.say("commission", "佣金"), format!("{} {percent}", books.name(&commission.party))));
    }
    let split = match &plan.split {
        Split::Equal => out.say("equal parts", "均分").to_owned(),
        Split::Fixed { .. } => out.say("agreed parts", "约定比例").to_owned(),
        Split::Proportional { unit } => format!("{} {}", out.say("by each one's own", "按各方自身用量："), unit.word()),
        Split::LeaveOneOut => out.say("by what is lost without each", "按缺一损失").to_owned(),
        Split::Shapley => out.say("by Shapley value", "按沙普利值").to_owned(),
        Split::ShapleySampled { samples } => {
            format!("{} {samples}", out.say("by sampled Shapley value, orders:", "按抽样沙普利值，抽样次数："))
        }
    };
    rows.push(row(out.say("division", "分配"), split));
    if let Some(arbiter) = &plan.arbiter {
        rows.push(row(out.say("arbiter", "裁决方"), books.name(arbiter)));
    }
    let days = format!("{} {}", plan.dispute_window_ms / 86_400_000, out.say("days", "天"));
    rows.push(row(out.say("disputes within", "异议期限"), days));
    out.table(&[out.say("term", "条款"), ""], &rows);
}

fn view(books: &Books, plan: &PricePlan, signed: &BTreeSet<NodeId>) -> Value {
    let price = |p: &Price| {
        let schedule = match &p.schedule {
            Schedule::Each { micro } => json!({"each": price_decimal(*micro)}),
            Schedule::Graduated { tiers } => json!({"graduated": tiers.iter().map(tier).collect::<Vec<_>>()}),
            Schedule::Volume { tiers } => json!({"volume": tiers.iter().map(tier).collect::<Vec<_>>()}),
        };
        json!({"unit": p.unit.word(), "free": p.free, "schedule": schedule})
    };
    let missing = missing(books, plan, signed);
    json!({
        "plan": plan.id().to_string(), "terms": plan.terms().to_string(), "contract": plan.contract.to_string(),
        "currency": plan.currency, "payer": books.name(&plan.payer),
        "payees": plan.payees.iter().map(|p| books.name(p)).collect::<Vec<_>>(),
        "prices": plan.prices.iter().map(price).collect::<Vec<_>>(), "subscription": decimal(super::signed(plan.subscription)),
        "valid_from": plan.valid_from.0, "valid_until": plan.valid_until.0,
        "state": if missing.is_empty() { "in force" } else { "unsigned" }, "missing": missing,
    })
}

fn tier(tier: &Tier) -> Value {
    json!({"up_to": tier.up_to, "price": price_decimal(tier.micro)})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly_or_not_at_all() {
        for (text, digits, value) in [("5", 2, 500), ("0.05", 2, 5), ("12.5", 2, 1250), ("0.001234", 6, 1234)] {
            assert_eq!(scaled(text, digits, "x").unwrap(), value, "{text}");
        }
        for wrong in ["", ".5", "5.", "-1", "1e3", "0.001", "1,5", "99999999999999999999", "1.２"] {
            assert_eq!(scaled(wrong, 2, "x").unwrap_err().code, Code::ArgsInvalid, "{wrong}");
        }
    }

    #[test]
    fn the_sample_file_is_a_plan() {
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/price.toml");
        let written = read(Path::new(sample)).unwrap();
        assert_eq!(written.prices.len(), 2);
        assert!(matches!(written.regime().unwrap(), Regime::Market));
        for price in &written.prices {
            price.price().unwrap();
        }
    }

    #[test]
    fn a_price_of_matches_that_no_receipt_shows_is_told() {
        use tacit_governance::AlignLevel::{Both, Count, Receiver, Spine};
        let terms = |levels: &[tacit_governance::AlignLevel], matches| AlignTerms {
            levels: levels.to_vec(),
            learners: Vec::new(),
            keys_min: 3,
            padded: false,
            keep_days: 1,
            repeat: None,
            lookup: None,
            matches,
            each_list: false,
            recipients_with_columns: Vec::new(),
        };
        let price = |unit| Price {
            unit,
            counted: Counted::Every,
            free: 0,
            schedule: Schedule::Each { micro: 1 },
            minimum: None,
            maximum: None,
        };
        let of = |terms: &AlignTerms, unit| is_unshown(Some(terms), &[price(unit)], &Split::Equal);
        for (levels, matches, told) in [
            (&[Both][..], MatchesShown::Never, true),
            (&[Count, Receiver], MatchesShown::Exact, true),
            (&[Receiver, Both], MatchesShown::Bucket, false),
            (&[Spine], MatchesShown::Exact, false),
        ] {
            assert_eq!(of(&terms(levels, matches), Unit::CellOut), told, "{levels:?} {matches:?}");
            assert!(!of(&terms(levels, matches), Unit::CellIn), "{levels:?} {matches:?}");
        }
        let never = terms(&[Both], MatchesShown::Never);
        assert!(is_unshown(Some(&never), &[], &Split::Proportional { unit: Unit::CellOut }));
        assert!(!is_unshown(Some(&never), &[], &Split::Proportional { unit: Unit::Job }));
        // Without alignments it is other kinds' cells that are priced.
        assert!(!is_unshown(None, &[price(Unit::CellOut)], &Split::Equal));
    }
}
