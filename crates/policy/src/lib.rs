//! A site's own policy, in Cedar, over what an owner's node is asked.
//!
//! It is asked last, about a job that keeps to every other rule, so it can only take away. A job passes where a policy
//! permits it, none forbids it and none failed; an error in one of them is a refusal, whatever the others say. A file that
//! does not hold against the schema is not used in part: it is not loaded.

#![forbid(unsafe_code)]

mod asked;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use cedar_policy::{
    AuthorizationError, Authorizer, Decision, Effect, Policy as Rule, PolicyId, PolicySet, Response, Schema,
    ValidationMode, ValidationWarning, Validator,
};
use tacit_crypto::sha256;
use tacit_governance::SitePolicy;
use tacit_governance::site::Asked;
use tacit_types::{Code, Fault, Hash};

/// Bytes of a site policy.
pub const POLICY_BYTES_MAX: usize = 64 << 10;
/// Policies of a site.
pub const POLICIES_MAX: usize = 256;
/// Bytes of one policy, with what stands before it.
pub const ONE_POLICY_BYTES_MAX: usize = 4096;
/// How deep brackets and conditions of one policy are nested.
pub const POLICY_DEPTH_MAX: usize = 32;
/// Bytes of a policy's id.
pub const POLICY_ID_BYTES_MAX: usize = 64;
/// Bytes of a policy's reason, which stands in refusals.
pub const POLICY_REASON_BYTES_MAX: usize = 256;

/// Entities and types; the actions are added to it.
const SCHEMA: &str = include_str!("schema.cedarschema");

/// The schema that a policy must hold against, with one action for each kind of job.
pub fn schema(kinds: &[&str]) -> String {
    let names: Vec<String> = kinds.iter().map(|kind| format!("{kind:?}")).collect();
    let applies = "appliesTo {\n    principal: [Party],\n    resource: [Dataset, Contract],\n    context: Job,\n}";
    format!(
        "{SCHEMA}\n// The principal is the party that asks. The resource is what this owner brings: the contract where it\n// brings no data, as who holds a model or deals.\naction {} {applies};\n",
        names.join(", ")
    )
}

/// One policy, for a listing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// What `@id` says, else its place from 1: `policy-3`.
    pub id: String,
    /// Whether it permits; else it forbids.
    pub permits: bool,
    /// What `@reason` says.
    pub reason: Option<String>,
}

/// A policy that holds against the schema.
pub struct Policy {
    hash: Hash,
    schema: Schema,
    set: PolicySet,
    lines: Vec<Line>,
}

fn bad(what: impl Into<String>) -> Fault {
    Fault::new(Code::ConfigPolicy, what)
}

impl Policy {
    /// Reads a policy and holds it against the schema of these kinds of jobs.
    ///
    /// # Errors
    /// `config.policy` naming everything that is wrong.
    pub fn read(text: &str, kinds: &[&str]) -> Result<Self, Fault> {
        if text.len() > POLICY_BYTES_MAX {
            return Err(bad(format!("{} bytes, at most {POLICY_BYTES_MAX}", text.len())));
        }
        shape(text)?;
        let (schema, _) = Schema::from_cedarschema_str(&schema(kinds))
            .map_err(|e| Fault::new(Code::Internal, format!("the schema of site policies: {e}")))?;
        let parsed: PolicySet = text.parse().map_err(|e: cedar_policy::ParseErrors| bad(all(&e)))?;
        if parsed.num_of_templates() > 0 {
            return Err(bad("a template: write each policy out"));
        }
        let mut written: Vec<&Rule> = parsed.policies().collect();
        if written.len() > POLICIES_MAX {
            return Err(bad(format!("{} policies, at most {POLICIES_MAX}", written.len())));
        }
        written.sort_by_key(|policy| place(policy));
        let (mut set, mut lines, mut ids) = (PolicySet::new(), Vec::new(), BTreeSet::new());
        for policy in written {
            let line = line(policy)?;
            if !ids.insert(line.id.clone()) {
                return Err(bad(format!("two policies are `{}`", line.id)));
            }
            set.add(policy.new_id(PolicyId::new(&line.id))).map_err(|e| bad(e.to_string()))?;
            lines.push(line);
        }
        let found = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
        let errors = found.validation_errors().map(ToString::to_string);
        // why: two scripts in one literal are how names are written where two scripts are read.
        let warnings = found.validation_warnings().filter(|w| !matches!(w, ValidationWarning::MixedScriptString(_)));
        let faults: BTreeSet<String> = errors.chain(warnings.map(ToString::to_string)).collect();
        if !faults.is_empty() {
            return Err(bad(faults.into_iter().collect::<Vec<_>>().join("; ")));
        }
        Ok(Self { hash: sha256(text.as_bytes()), schema, set, lines })
    }

    /// The hash of its text.
    pub fn hash(&self) -> Hash {
        self.hash
    }

    /// Its policies, as they are written.
    pub fn lines(&self) -> &[Line] {
        &self.lines
    }

    fn named(&self, id: &PolicyId) -> String {
        let id: &str = id.as_ref();
        let reason = self.lines.iter().find(|l| l.id == id).and_then(|l| l.reason.as_deref());
        reason.map_or_else(|| format!("`{id}`"), |reason| format!("`{id}`: {reason}"))
    }

    fn verdict(&self, response: &Response) -> Result<(), Fault> {
        let refuse = |what: String| Err(Fault::new(Code::RefusedSitePolicy, what));
        // The first in the order in which they are written. What exactly failed is the owner's.
        let place = |id: &PolicyId| self.lines.iter().position(|l| l.id == AsRef::<str>::as_ref(id));
        let failed = response.diagnostics().errors().map(|AuthorizationError::PolicyEvaluationError(e)| e.policy_id());
        if let Some(id) = failed.min_by_key(|id| place(id)) {
            return refuse(format!("policy `{id}` could not be evaluated"));
        }
        let deciding = response.diagnostics().reason().min_by_key(|id| place(id));
        match (response.decision(), deciding) {
            (Decision::Allow, _) => Ok(()),
            (Decision::Deny, Some(id)) => refuse(format!("policy {}", self.named(id))),
            (Decision::Deny, None) => refuse("no policy permits it".into()),
        }
    }
}

impl SitePolicy for Policy {
    fn decide(&self, asked: &Asked) -> Result<(), Fault> {
        let (request, entities) = asked::put(asked, &self.schema)
            .map_err(|what| Fault::new(Code::RefusedSitePolicy, format!("it could not be asked: {what}")))?;
        self.verdict(&Authorizer::new().is_authorized(&request, &self.set, &entities))
    }
}

/// Holds a text to what the parser can take: it goes down a level for each bracket and each condition, and what it makes of a
/// chain of operators is as deep as the chain is long.
fn shape(text: &str) -> Result<(), Fault> {
    let (mut number, mut began, mut depth, mut conditions) = (1, 0, 0usize, 0usize);
    let mut chars = text.char_indices().peekable();
    let mut before = ' ';
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => {
                while let Some((_, c)) = chars.next().filter(|(_, c)| *c != '"') {
                    if c == '\\' {
                        chars.next();
                    }
                }
            }
            '/' if chars.peek().is_some_and(|(_, next)| *next == '/') => {
                while chars.next().is_some_and(|(_, c)| c != '\n') {}
            }
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            'i' if !is_word(before) && text[at..].starts_with("if") => conditions += 1,
            ';' => (number, began, depth, conditions) = (number + 1, at + 1, 0, 0),
            _ => {}
        }
        before = c;
        if depth + conditions > POLICY_DEPTH_MAX {
            return Err(bad(format!("policy {number} is nested deeper than {POLICY_DEPTH_MAX}")));
        }
        if at + 1 - began > ONE_POLICY_BYTES_MAX && !text[began..=at].trim().is_empty() {
            return Err(bad(format!("policy {number} has more than {ONE_POLICY_BYTES_MAX} bytes")));
        }
    }
    Ok(())
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The place of a policy in its file: Cedar numbers them `policy0`, `policy1`.
fn place(policy: &Rule) -> usize {
    let id: &str = policy.id().as_ref();
    id.strip_prefix("policy").and_then(|n| n.parse().ok()).unwrap_or(usize::MAX)
}

fn line(policy: &Rule) -> Result<Line, Fault> {
    let id = policy.annotation("id").map_or_else(|| format!("policy-{}", place(policy) + 1), str::to_owned);
    if id.is_empty() || id.len() > POLICY_ID_BYTES_MAX {
        return Err(bad(format!("an @id of {} bytes, at most {POLICY_ID_BYTES_MAX}", id.len())));
    }
    let reason = policy.annotation("reason").filter(|reason| !reason.is_empty()).map(str::to_owned);
    if reason.as_ref().is_some_and(|reason| reason.len() > POLICY_REASON_BYTES_MAX) {
        return Err(bad(format!("policy `{id}`: an @reason of more than {POLICY_REASON_BYTES_MAX} bytes")));
    }
    // A word that is none of these is more often a slip of the pen than a note.
    match policy.annotations().find(|(word, _)| !["id", "reason"].contains(word)) {
        Some((word, _)) => Err(bad(format!("policy `{id}`: @{word} is unknown; there are @id and @reason"))),
        None => Ok(Line { id, permits: policy.effect() == Effect::Permit, reason }),
    }
}

/// Every error, each with the line it is in.
fn all(errors: &cedar_policy::ParseErrors) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
