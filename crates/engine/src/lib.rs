//! The brains of the daemons without their bodies: the life of a job at the coordinator, the part of
//! a node in it, and the messages between them. No IO, no clock: the drivers bring events and time,
//! make each new state durable, and carry out what the state asks for. The simulator drives the same
//! code.

#![forbid(unsafe_code)]

pub mod api;
pub mod control;
pub mod evidence;
pub mod job;
pub mod kept;
pub mod record;
pub mod recount;
pub mod session;
pub mod worker;

pub use api::{CancelOrder, FromCoordinator, LogInfo, PlanAnswer, RosterEntry, SealedResult, ToCoordinator};
pub use control::{
    Assignment, Finish, Finished, FromNode, JobView, Linked, Outlook, Package, PartyView, Seated, StateWord, Terminal,
    TimelineEntry, ToNode,
};
pub use job::{Command, Input, Job, Late, Limits, Member};
pub use kept::Kept;
pub use tacit_jobs::session::Committed;
pub use worker::{Attested, PROMISE_MILLIS_MAX, PricePlans, Saying, Worker, WorkerContext, WorkerJob};
