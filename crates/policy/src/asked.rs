//! What a node is asked, as Cedar's entities and context.

use std::collections::HashMap;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression as Value, Schema,
};
use tacit_governance::dataset::Use;
use tacit_governance::grade::Class;
use tacit_governance::site::{Asked, AskedDataset, AskedParty};
use tacit_governance::{Role, ScoreFacts};
use tacit_types::UnixMillis;

/// What stands where nobody has said anything.
const UNSAID: &str = "?";

/// A request and the entities that it names, both held against the schema.
pub fn put(asked: &Asked, schema: &Schema) -> Result<(Request, Entities), String> {
    let contract = uid("Contract", &asked.contract.to_string())?;
    let mut entities = Vec::new();
    let others = [&asked.asker, &asked.recipient];
    let mut parties: Vec<&AskedParty> = asked.parties.iter().collect();
    for other in others {
        if !parties.iter().any(|p| p.root == other.root) {
            parties.push(other);
        }
    }
    for party in parties {
        let attributes = [
            ("name", text(&party.name)),
            ("role", text(role(party.role))),
            ("region", text(party.region.as_deref().unwrap_or(UNSAID))),
        ];
        entities.push(entity(of(party)?, attributes, [])?);
    }
    let attributes = [("name", text(&asked.contract_name)), ("ends", seconds(asked.ends))];
    entities.push(entity(contract.clone(), attributes, [])?);
    let resource = match &asked.dataset {
        None => contract,
        Some(own) => {
            let id = uid("Dataset", &own.id.to_string())?;
            entities.push(entity(id.clone(), dataset(own), [contract])?);
            id
        }
    };
    let entities = Entities::from_entities(entities, Some(schema)).map_err(|e| e.to_string())?;
    let context = Context::from_pairs(job(asked)?.into_iter().map(|(k, v)| (k.to_owned(), v)));
    let context = context.map_err(|e| e.to_string())?;
    let action = uid("Action", &asked.kind)?;
    let request =
        Request::new(of(&asked.asker)?, action, resource, context, Some(schema)).map_err(|e| e.to_string())?;
    Ok((request, entities))
}

type Pairs = Vec<(&'static str, Value)>;

fn dataset(own: &AskedDataset) -> Pairs {
    let (version, terms) = (&own.dataset, own.dataset.terms.as_ref());
    let class = terms.map(|t| match t.class {
        Class::Public => "public",
        Class::Enterprise => "enterprise",
        Class::Personal => "personal",
    });
    let region = terms.and_then(|t| t.region.as_deref());
    let basis = terms.and_then(|t| t.basis.as_ref()).map(|b| b.kind.word());
    vec![
        ("name", text(version.name.as_str())),
        ("version", long(u64::from(version.version))),
        ("view", text(&own.view)),
        ("class", text(class.unwrap_or(UNSAID))),
        ("grade", text(own.grade.map_or(UNSAID, |g| g.word()))),
        ("sharing", text(terms.map_or(UNSAID, |t| t.sharing.word()))),
        ("basis", text(basis.unwrap_or(UNSAID))),
        ("region", text(region.unwrap_or(UNSAID))),
        ("rows", long(version.row_bucket)),
        ("aligned", Value::new_bool(version.aligned.is_some())),
    ]
}

fn job(asked: &Asked) -> Result<Pairs, String> {
    let facts = &asked.facts;
    let columns = facts.uses.iter().map(|(column, _)| text(column));
    let uses = facts.uses.iter().map(|(column, usage)| record([("column", text(column)), ("use", text(word(*usage)))]));
    let parties = asked.parties.iter().map(|p| of(p).map(Value::new_entity_uid)).collect::<Result<Vec<_>, _>>()?;
    let seats = asked.seated.iter().map(|root| uid("Party", &root.to_string()).map(Value::new_entity_uid));
    let seats = seats.collect::<Result<Vec<_>, _>>()?;
    let regions = asked.parties.iter().map(|p| text(p.region.as_deref().unwrap_or(UNSAID)));
    let taken = asked.privacy.unwrap_or_default();
    let checked = facts.checked == Some(true) || facts.score.is_some_and(|s: ScoreFacts| s.verified);
    Ok(vec![
        ("purpose", text(&asked.purpose)),
        ("kind", text(&asked.kind)),
        ("product", text(asked.product.word())),
        ("columns", Value::new_set(columns)),
        ("uses", Value::new_set(uses.collect::<Result<Vec<_>, _>>()?)),
        ("models", Value::new_set(asked.models.iter().map(|m| text(&m.to_string())))),
        ("parties", Value::new_set(parties)),
        ("seats", Value::new_set(seats)),
        ("recipient", Value::new_entity_uid(of(&asked.recipient)?)),
        ("regions", Value::new_set(regions)),
        ("providers", long(asked.providers as u64)),
        ("cohort_rows", long(asked.cohort.rows)),
        ("cohort_contributors", long(u64::from(asked.cohort.contributors))),
        ("checked", Value::new_bool(checked)),
        ("noisy", Value::new_bool(facts.privacy.is_some())),
        ("epsilon_micro", long(taken.epsilon_micro)),
        ("delta_femto", long(taken.delta_femto)),
        ("rows", long(asked.rows)),
        ("jobs_used", long(asked.used)),
        ("price_plan", text(&asked.price_plan.map_or_else(|| UNSAID.to_owned(), |hash| hash.to_string()))),
        ("time", clock(asked.now)?),
    ])
}

/// The parts of a time. The date comes out of how a time is printed, `YYYY-MM-DD HH:MM:SSZ`.
fn clock(now: UnixMillis) -> Result<Value, String> {
    let printed = now.to_string();
    let mut parts = printed.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse::<u64>().ok());
    let mut next = || long(parts.next().unwrap_or(0));
    let (year, month, day, hour, minute) = (next(), next(), next(), next(), next());
    // The first day of 1970 was a Thursday.
    let weekday = (now.seconds() / 86_400 + 3) % 7 + 1;
    record([
        ("unix", seconds(now)),
        ("year", year),
        ("month", month),
        ("day", day),
        ("hour", hour),
        ("minute", minute),
        ("weekday", long(weekday)),
    ])
}

fn of(party: &AskedParty) -> Result<EntityUid, String> {
    uid("Party", &party.root.to_string())
}

fn uid(kind: &str, id: &str) -> Result<EntityUid, String> {
    let kind: EntityTypeName = kind.parse().map_err(|e: cedar_policy::ParseErrors| e.to_string())?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(id)))
}

fn entity(
    id: EntityUid,
    attributes: impl IntoIterator<Item = (&'static str, Value)>,
    parents: impl IntoIterator<Item = EntityUid>,
) -> Result<Entity, String> {
    let attributes: HashMap<String, Value> = attributes.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
    Entity::new(id, attributes, parents.into_iter().collect()).map_err(|e| e.to_string())
}

fn record(fields: impl IntoIterator<Item = (&'static str, Value)>) -> Result<Value, String> {
    Value::new_record(fields.into_iter().map(|(k, v)| (k.to_owned(), v))).map_err(|e| e.to_string())
}

fn text(text: &str) -> Value {
    Value::new_string(text.to_owned())
}

/// What is too large for Cedar's numbers is the largest of them.
fn long(n: u64) -> Value {
    Value::new_long(i64::try_from(n).unwrap_or(i64::MAX))
}

fn seconds(at: UnixMillis) -> Value {
    long(at.seconds())
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Provider => "provider",
        Role::Demander => "demander",
        Role::Coordinator => "coordinator",
        Role::Dealer => "dealer",
    }
}

fn word(usage: Use) -> &'static str {
    match usage {
        Use::Aggregate => "aggregate",
        Use::GroupBy => "group_by",
        Use::Filter => "filter",
        Use::Score => "score",
        Use::Key => "key",
    }
}
