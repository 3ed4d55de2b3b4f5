//! `policy check` and `policy schema`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;
use tacit_node::site;
use tacit_types::Fault;

use crate::output::Out;

#[derive(Subcommand)]
pub enum PolicyCommand {
    /// Hold a policy file against the schema, as a node does before it starts. Every fault is named at once.
    #[command(after_help = "Example: tacit policy check examples/site.cedar")]
    Check {
        /// The policies, in Cedar.
        file: PathBuf,
    },
    /// Print the schema: what a policy may name, with one action for each kind of job.
    #[command(after_help = "Example: tacit policy schema > tacit.cedarschema   (for an editor)")]
    Schema,
}

/// Runs a `policy` command.
///
/// # Errors
/// `config.policy`; those of the file.
pub fn run(out: &Out, command: &PolicyCommand) -> Result<(), Fault> {
    match command {
        PolicyCommand::Check { file } => {
            let policy = site::read(file)?;
            let effect = |permits| if permits { out.say("permits", "准许") } else { out.say("forbids", "禁止") };
            let row = |line: &tacit_policy::Line| {
                vec![line.id.clone(), effect(line.permits).to_owned(), line.reason.clone().unwrap_or_default()]
            };
            let rows: Vec<Vec<String>> = policy.lines().iter().map(row).collect();
            out.table(&[out.say("policy", "策略"), "", out.say("reason", "理由")], &rows);
            if !policy.lines().iter().any(|line| line.permits) {
                out.text(
                    out.say(
                        "no policy permits anything: every job is refused",
                        "没有策略准许任何作业：所有作业均被拒绝",
                    ),
                );
            }
            let lines = policy.lines().iter();
            let lines: Vec<_> = lines.map(|l| json!({"id": l.id, "permits": l.permits, "reason": l.reason})).collect();
            out.value(&json!({"hash": policy.hash().to_string(), "policies": lines}));
        }
        PolicyCommand::Schema => {
            let schema = tacit_policy::schema(&site::kinds());
            out.text(schema.trim_end());
            out.value(&json!({"schema": schema}));
        }
    }
    Ok(())
}
