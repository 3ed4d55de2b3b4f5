//! A contract among others: its state, its revocation and suspension, new versions of it and who succeeds whom.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Value, json};
use tacit_crypto::Statement;
use tacit_governance::lifecycle::{self, Lifecycle, Succession};
use tacit_governance::{Contract, Order, Revocation, SignedContract};
use tacit_types::{Code, ContractId, Fault, Name, UnixMillis};

use super::contract::pick;
use super::money::when;
use crate::home::Party;
use crate::output::Out;

/// What a person writes under `[lifecycle]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// Name or id of the version that this one takes the place of.
    amends: Option<String>,
    /// When it begins; at once when absent.
    begins: Option<String>,
    /// Days after its end within which what it left behind is deleted.
    deletion_days: Option<u32>,
    #[serde(default)]
    successions: Vec<WrittenSuccession>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenSuccession {
    /// A party of the version before.
    from: Name,
    /// A party of this one.
    to: Name,
}

impl Written {
    /// Puts the terms into a contract that is being written.
    ///
    /// # Errors
    /// `refused.contract_unknown`, `args.invalid` naming what is wrong.
    pub fn apply(&self, body: &mut Contract, known: &[SignedContract]) -> Result<(), Fault> {
        let invalid = |what: String| Fault::new(Code::ArgsInvalid, format!("lifecycle: {what}"));
        let older = self.amends.as_deref().map(|wanted| pick(known, wanted)).transpose()?;
        let mut successions = Vec::new();
        for written in &self.successions {
            let before = older.and_then(|c| c.body().parties.iter().find(|p| p.name == written.from));
            let from = before.ok_or_else(|| invalid(format!("`{}` is no party of what is amended", written.from)))?;
            let to = body.parties.iter().find(|p| p.name == written.to);
            let to = to.ok_or_else(|| invalid(format!("`{}` is no party of this contract", written.to)))?.root;
            successions.push(Succession { from: from.clone(), to });
        }
        if let Some(begins) = &self.begins {
            body.valid_from = when::parse(begins)?;
        }
        body.lifecycle =
            Some(Lifecycle { amends: older.map(SignedContract::id), successions, deletion_days: self.deletion_days });
        Ok(())
    }
}

/// What this party knows of what was said over contracts.
pub struct Said {
    revoked: Vec<ContractId>,
    orders: Vec<Order>,
    now: UnixMillis,
}

impl Said {
    /// As this party's store has it.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn read(party: &Party) -> Result<Self, Fault> {
        let revoked = party.store.revocations().await?.into_iter().map(|(id, _)| id).collect();
        Ok(Self { revoked, orders: party.store.orders().await?, now: tacit_node::now() })
    }

    fn standing(&self, contract: &SignedContract, known: &[SignedContract]) -> Result<(), Fault> {
        lifecycle::standing(contract, known, &self.revoked, &self.orders, self.now)
    }

    /// The state's word and, where it may not be used, why.
    pub fn stage(&self, contract: &SignedContract, known: &[SignedContract]) -> (&'static str, Option<Fault>) {
        let standing = self.standing(contract, known);
        let stage = lifecycle::stage(contract, standing.as_ref().copied(), self.now);
        (stage.word(), standing.err())
    }

    /// Adds the state to what programs read of a contract.
    pub fn put(&self, view: &mut Value, contract: &SignedContract, known: &[SignedContract]) {
        let (stage, halted) = self.stage(contract, known);
        view["stage"] = stage.into();
        view["halted"] = halted.map_or(Value::Null, |f| json!({"code": f.code.text(), "reason": f.what}));
    }

    /// The state in words.
    pub fn line(&self, out: &Out, contract: &SignedContract, known: &[SignedContract]) -> String {
        let (stage, halted) = self.stage(contract, known);
        let word = match stage {
            "requested" => out.say("requested", "已请求"),
            "offered" => out.say("offered", "已要约"),
            "accepted" => out.say("accepted", "已接受"),
            "agreed" => out.say("agreed", "已议定"),
            "verified" => out.say("verified", "已核实"),
            "finalised" => out.say("finalised", "已生效"),
            _ => out.say("terminated", "已终止"),
        };
        match halted {
            None => word.to_owned(),
            Some(f) => format!("{word}: {} ({})", f.code.title(out.lang()), f.what),
        }
    }
}

/// The terms for programs.
pub fn view(body: &Contract) -> Value {
    let Some(terms) = &body.lifecycle else { return Value::Null };
    let named = |root| body.parties.iter().find(|p| p.root == root).map(|p| p.name.as_str());
    let successions: Vec<Value> =
        terms.successions.iter().map(|s| json!({"from": s.from.name.as_str(), "to": named(s.to)})).collect();
    json!({"amends": terms.amends.map(|id| id.to_string()), "successions": successions,
        "deletion_days": terms.deletion_days})
}

/// The terms in lines.
pub fn lines(out: &Out, contract: &SignedContract) -> Vec<Vec<String>> {
    let Some(terms) = &contract.body().lifecycle else { return Vec::new() };
    let mut lines = Vec::new();
    if let Some(id) = terms.amends {
        lines.push(vec![out.say("takes the place of", "取代").to_owned(), id.to_string()]);
    }
    for s in &terms.successions {
        let to = contract.body().parties.iter().find(|p| p.root == s.to).map_or("?", |p| p.name.as_str());
        let signed = match contract.signed_by(&s.from.root) {
            true => out.say("signed", "已签署"),
            false => out.say("not signed", "未签署"),
        };
        let label = out.say("succession", "主体承继").to_owned();
        lines.push(vec![label, format!("{} ({signed}) {} {to}", s.from.name, out.say("by", "由其承继："))]);
    }
    if let Some(days) = terms.deletion_days {
        let value = format!("{days} {}", out.say("days after its end", "天内（合同终止后）"));
        lines.push(vec![out.say("deletion within", "删除期限").to_owned(), value]);
    }
    lines
}

/// What is said when a contract is revoked or suspended.
pub struct Saying<'a> {
    /// Why.
    pub reason: &'a str,
    /// Until when, for a suspension.
    pub until: Option<&'a str>,
    /// Where the signed statement is written, for the other parties.
    pub to: Option<&'a Path>,
}

/// Revokes or suspends a contract at this party's node, at once and offline, and writes the statement that does the same at
/// the others'.
///
/// # Errors
/// `refused.contract_unknown`; `args.invalid` where this party does not sign it; those of the database.
pub async fn halt(party: &Party, out: &Out, wanted: &str, saying: &Saying<'_>) -> Result<(), Fault> {
    let own = party.store.contracts().await?;
    let contract = pick(&own, wanted)?;
    let (id, now, key) = (contract.id(), tacit_node::now(), &party.keys.root);
    if !contract.body().signers().any(|p| p.root == key.id()) {
        let what = format!("contract {} is not this party's to revoke", contract.body().name);
        return Err(Fault::new(Code::ArgsInvalid, what));
    }
    let until = saying.until.map(when::parse).transpose()?;
    let mine = |o: &Order| matches!(o, Order::Revocation(s) if s.signer() == key.id() && s.body().contract == id);
    let before = party.store.orders().await?.into_iter().find(mine);
    let order = match before {
        // For good once is for good: the statement of before is the statement.
        Some(said) if said.number() == u64::MAX && until.is_none() => said,
        Some(said) if said.number() == u64::MAX => {
            return Err(Fault::new(
                Code::ArgsInvalid,
                format!("contract {} is revoked for good", contract.body().name),
            ));
        }
        before => {
            // Statements are dated to the second: two of one second are told apart.
            let at = before.map_or(now, |said| UnixMillis(now.0.max(said.number().saturating_add(1000))));
            let body = Revocation { contract: id, reason: saying.reason.to_owned(), until };
            let order = Order::read(Statement::sign(key, &id.to_string(), at, None, body).bytes())?;
            party.store.put_order(&order, now).await?;
            order
        }
    };
    if until.is_none() {
        party.store.revoke(&id, now).await?;
    }
    if let Some(to) = saying.to {
        std::fs::write(to, order.bytes()).map_err(|e| Fault::new(Code::IoFailed, format!("{}: {e}", to.display())))?;
    }
    let name = &contract.body().name;
    match until {
        None => out.text(format!("{} {name}", out.say("revoked at this node:", "已在本节点撤销："))),
        Some(until) => out.text(format!(
            "{} {name} {} {until}",
            out.say("suspended at this node:", "已在本节点中止："),
            out.say("until", "至")
        )),
    }
    let state = if until.is_none() { "revoked" } else { "suspended" };
    let written = saying.to.map(|to| to.display().to_string());
    out.value(&json!({"id": id.to_string(), "state": state, "until": until.map(|t| t.0), "statement": written}));
    Ok(())
}

/// Of several contracts of one name, the one in whose place no other stands.
pub fn newest<'a>(matching: &[&'a SignedContract], now: UnixMillis) -> Option<&'a SignedContract> {
    let known: Vec<SignedContract> = matching.iter().map(|c| (*c).clone()).collect();
    let mut left = matching.iter().filter(|c| lifecycle::replaced_by(c, &known, now).is_none());
    match (left.next(), left.next()) {
        (Some(one), None) => Some(one),
        _ => None,
    }
}
