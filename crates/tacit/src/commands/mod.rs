//! One file for each noun.

mod alignment;
mod approve;
mod ask;
mod batch;
pub mod case;
pub mod contract;
mod control;
mod data;
pub mod data_terms;
mod dealer;
mod divide;
mod doctor;
mod duties;
mod enrol;
mod evidence;
mod explain;
mod fetch;
mod forgotten;
pub mod job;
pub mod job_file;
mod key;
mod lifecycle;
pub mod link;
pub mod list;
mod log;
mod model;
pub mod money;
mod online;
pub mod opening;
mod papers;
mod plan;
pub mod policy;
mod privacy;
pub mod promises;
mod receipt;
mod regrade;
pub mod report;
pub mod review;
mod scores;
mod serve;
mod subject;
pub mod warn;

use tacit_types::Fault;

use crate::cli::{Cli, Command, CoordinatorCommand, NodeCommand, ReceiptCommand};
use crate::output::Out;

/// Runs a command and gives the exit status.
///
/// # Errors
/// The command's fault.
pub async fn run(cli: &Cli, out: &Out) -> Result<u8, Fault> {
    match &cli.command {
        Command::Demo(args) => crate::demo::run(cli, out, args).await,
        Command::Init(args) => enrol::init(cli, out, args).map(|()| 0),
        Command::Invite(args) => enrol::invite(cli, out, args).await.map(|()| 0),
        Command::Join(args) => enrol::join(cli, out, args).await.map(|()| 0),
        Command::Doctor => doctor::doctor(cli, out).await,
        Command::Coordinator(CoordinatorCommand::Run(args)) => serve::coordinator(cli, out, args).await.map(|()| 0),
        Command::Coordinator(CoordinatorCommand::Away { name }) => enrol::away(cli, out, name).await.map(|()| 0),
        Command::Node(NodeCommand::Run) => serve::node(cli, out).await.map(|()| 0),
        Command::Node(NodeCommand::Privacy) => privacy::spent(cli, out).await.map(|()| 0),
        Command::Node(NodeCommand::Egress) => serve::egress(cli, out).await.map(|()| 0),
        Command::Node(NodeCommand::Keys) => key::keys(cli, out).await.map(|()| 0),
        Command::Node(NodeCommand::Rotate(args)) => key::rotate(cli, out, args).await.map(|()| 0),
        Command::Node(NodeCommand::Jobs) => serve::jobs(cli, out).await.map(|()| 0),
        Command::Data(command) => data::run(cli, out, command).await.map(|()| 0),
        Command::Model(command) => model::run(cli, out, command).await.map(|()| 0),
        Command::Contract(command) => contract::run(cli, out, command).await,
        Command::Review(command) => review::run(cli, out, command).await,
        Command::Policy(command) => policy::run(out, command).map(|()| 0),
        Command::List(command) => list::run(cli, out, command).await.map(|()| 0),
        Command::Job(command) => job::run(cli, out, command).await,
        Command::Receipt(ReceiptCommand::Evidence { evidence, out: file }) => {
            evidence::kept(cli, out, evidence.as_deref(), file.as_deref()).await.map(|()| 0)
        }
        Command::Receipt(ReceiptCommand::Link(args)) => link::run(cli, out, args).await.map(|()| 0),
        Command::Receipt(ReceiptCommand::Promises(args)) => promises::run(cli, out, args).await.map(|()| 0),
        Command::Receipt(ReceiptCommand::Convict { evidence, bundle, trust }) => {
            evidence::convict(out, evidence, bundle, trust.as_deref())
        }
        Command::Receipt(ReceiptCommand::Opening(args)) => opening::kept(cli, out, args).await.map(|()| 0),
        Command::Receipt(ReceiptCommand::Open(args)) => {
            opening::open(cli, out, &args.opening, &args.bundle, args.trust.as_deref()).await.map(|()| 0)
        }
        Command::Receipt(ReceiptCommand::Forget { commitment, figure }) => {
            opening::forget(cli, out, commitment, *figure).await.map(|()| 0)
        }
        Command::Receipt(ReceiptCommand::Explain { receipt }) => explain::explain(cli, out, receipt).await.map(|()| 0),
        Command::Receipt(ReceiptCommand::Page { out: file }) => receipt::page(out, file).map(|()| 0),
        Command::Receipt(command) => receipt::run(cli, out, command).await,
        Command::Price(command) => money::price(cli, out, command).await.map(|()| 0),
        Command::Period(command) => money::period(cli, out, command).await.map(|()| 0),
        Command::Charge(command) => money::charge(cli, out, command).await.map(|()| 0),
        Command::Settlement(command) => money::settlement(cli, out, command).await.map(|()| 0),
        Command::Value(command) => money::value(cli, out, command).await.map(|()| 0),
        Command::Dispute(command) => money::dispute(cli, out, command).await.map(|()| 0),
        Command::Case(command) => case::run(cli, out, command).await.map(|()| 0),
        Command::Report(args) => report::run(cli, out, args).await.map(|()| 0),
        Command::Export(args) => money::export(cli, out, args).await.map(|()| 0),
        Command::Log(command) => log::run(cli, out, command).await,
    }
}
