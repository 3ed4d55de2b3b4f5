//! `data forgotten`: what a restored database does not know any more, and the owner's word on it.

use serde_json::json;
use tacit_node::datasets;
use tacit_node::store::Forgotten;
use tacit_types::{Code, Fault};

use crate::home::Party;
use crate::output::Out;

/// What is forgotten, by the local names of this party's own datasets.
///
/// # Errors
/// Those of the database.
pub async fn all(party: &Party) -> Result<Vec<(String, Forgotten)>, Fault> {
    let mut names: Vec<String> = Vec::new();
    for row in party.store.datasets().await? {
        // What an alignment left is of the dataset that was aligned.
        names.push(datasets::kept(&row)?.registration.name.to_string());
    }
    names.sort_unstable();
    names.dedup();
    let (owner, now) = (party.keys.root.id(), tacit_node::now());
    let mut found = Vec::new();
    for name in names {
        let forgotten = party.store.forgotten(&owner, &name, now).await?;
        if forgotten.jobs > 0 {
            found.push((name, forgotten));
        }
    }
    Ok(found)
}

/// Lists them, or accepts one.
pub async fn run(party: &Party, out: &Out, name: Option<&str>, accept: Option<&str>) -> Result<(), Fault> {
    let mut found = all(party).await?;
    if let Some(name) = name {
        found.retain(|(known, _)| known == name);
        if found.is_empty() {
            return Err(Fault::new(Code::DataUnknown, format!("`{name}`: nothing of it is forgotten")));
        }
        if let Some(reason) = accept {
            let (owner, now) = (party.keys.root.id(), tacit_node::now());
            found = vec![(name.to_owned(), party.store.accept_forgotten(&owner, name, reason, now).await?)];
        }
    }
    let row = |(name, forgotten): &(String, Forgotten)| {
        let state = match (&forgotten.accepted, forgotten.waits()) {
            (Some((_, at, reason)), false) => format!("{} {at}: {reason}", out.say("accepted", "已确认")),
            _ => out.say("exact questions are refused", "拒绝精确提问").to_owned(),
        };
        vec![name.clone(), forgotten.jobs.to_string(), state]
    };
    let head = [
        out.say("dataset", "数据集"),
        out.say("jobs known from the log alone", "仅见于日志的作业数"),
        out.say("state", "状态"),
    ];
    out.table(&head, &found.iter().map(row).collect::<Vec<_>>());
    let list = found.iter().map(|(name, forgotten)| {
        json!({"name": name, "jobs": forgotten.jobs, "waits": forgotten.waits(),
            "accepted": forgotten.accepted.as_ref().map(|(jobs, at, reason)| json!({"jobs": jobs, "at": at.0, "reason": reason}))})
    });
    out.value(&list.collect::<Vec<_>>());
    Ok(())
}
