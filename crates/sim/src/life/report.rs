//! What a node tells and asks of its own accord: how its attempts ended, and how jobs did.

use tacit_engine::{FromCoordinator, ToCoordinator};
use tacit_types::JobId;

use super::node::job_row;
use super::process::Alive;
use super::world::{COORDINATOR, Wake, Wire, World};
use crate::bug::Bug;

/// Milliseconds between two questions about jobs that are open here. A request may overtake the one
/// before it, so a node may admit a job whose end it was told before.
pub(super) const CATCH_UP_MS: u64 = 10_000;

impl World {
    pub fn tell(&mut self, i: usize, request: ToCoordinator) -> Alive<u64> {
        self.nodes[i].next += 1;
        let id = self.nodes[i].next;
        self.wake_after(i + 1, super::coordinator::ANSWER_MS, Wake::Unanswered(id));
        self.send(i + 1, COORDINATOR, Wire::Tell { id, request: request.into() })?;
        Ok(id)
    }

    /// Tells the coordinator which step runs; it is not waited for.
    pub fn tell_progress(&mut self, i: usize, job: JobId, step: tacit_types::Step) -> Alive {
        self.tell(i, ToCoordinator::Progress { job, step }).map(|_| ())
    }

    /// Delivers the next report that was not acknowledged.
    pub fn report(&mut self, i: usize) -> Alive {
        if self.nodes[i].telling.is_some() || self.net.connection(i + 1, COORDINATOR).is_none() {
            return Ok(());
        }
        let open = self.nodes[i].jobs().into_iter().filter(|(_, job)| job.terminal.is_none());
        let Some(finish) = open.into_iter().find_map(|(id, job)| job.report(id)) else { return Ok(()) };
        let (job, attempt) = (finish.job, finish.attempt);
        self.chapter(i + 1, "report");
        self.note(i + 1, || format!("reports {attempt} of job {}", job.short()));
        if self.is_honest(i) {
            let check = self.who_voted_says_what_it_voted_for(i, &job, attempt, &finish.finished);
            self.found(check);
        }
        let finish = self.reported_falsely(i, finish);
        let id = self.tell(i, ToCoordinator::Report(finish))?;
        self.nodes[i].telling = Some((id, job, attempt));
        Ok(())
    }

    pub fn report_unanswered(&mut self, i: usize, id: u64) -> Alive {
        self.nodes[i].asking.remove(&id);
        self.nodes[i].hand_in.asked.remove(&id);
        self.nodes[i].hand_in.records.remove(&id);
        if self.nodes[i].telling.is_some_and(|t| t.0 == id) {
            self.nodes[i].telling = None;
            return self.report(i);
        }
        Ok(())
    }

    pub fn coordinator_is_lost_to_node(&mut self, i: usize) -> Alive {
        self.nodes[i].telling = None;
        self.nodes[i].asking.clear();
        self.nodes[i].hand_in.asked.clear();
        self.nodes[i].hand_in.records.clear();
        Ok(())
    }

    /// Connected again: asks how open jobs ended, delivers what is to be reported.
    pub fn register(&mut self, i: usize) -> Alive {
        self.catch_up(i)?;
        self.report(i)
    }

    pub fn catch_up_again(&mut self, i: usize) -> Alive {
        self.wake_after(i + 1, CATCH_UP_MS, Wake::CatchUp);
        self.catch_up(i)
    }

    fn catch_up(&mut self, i: usize) -> Alive {
        if self.has(Bug::ForgetToAsk) {
            return Ok(());
        }
        for (id, job) in self.nodes[i].jobs() {
            if job.terminal.is_none() && !self.nodes[i].asking.values().any(|asked| *asked == id) {
                let asked = self.tell(i, ToCoordinator::Job(id))?;
                self.nodes[i].asking.insert(asked, id);
            }
        }
        Ok(())
    }

    pub fn told_node(&mut self, i: usize, id: u64, answer: FromCoordinator) -> Alive {
        if let Some((_, job, attempt)) = self.nodes[i].telling.filter(|t| t.0 == id) {
            self.nodes[i].telling = None;
            if let Some(mut kept) = self.nodes[i].job(&job)
                && kept.attempt == attempt.0
            {
                kept.reported = true;
                self.store(i, vec![job_row(job, &kept)])?;
            }
            return self.report(i);
        }
        if self.told_late(i, id, &answer)? || self.told_record(i, id, &answer)? {
            return Ok(());
        }
        let Some(job) = self.nodes[i].asking.remove(&id) else { return Ok(()) };
        let FromCoordinator::Job(view) = answer else { return Ok(()) };
        if let (Some(terminal), Some(mut kept)) = (view.terminal, self.nodes[i].job(&job)) {
            kept.close(terminal);
            self.store(i, vec![job_row(job, &kept)])?;
            self.heard_of_an_end(i, &job);
        }
        Ok(())
    }
}
