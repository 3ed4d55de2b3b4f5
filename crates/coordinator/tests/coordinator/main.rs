//! The daemon against nodes that play their part by a script, over real sockets.

mod enrolment;
mod jobs;
mod late;
mod logs;
mod restart;
mod support;
