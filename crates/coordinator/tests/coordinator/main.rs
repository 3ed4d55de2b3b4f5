//! The daemon against nodes that play their part by a script, over real sockets.

mod crash;
mod enrolment;
mod jobs;
mod late;
mod logs;
mod promises;
mod restart;
mod support;
