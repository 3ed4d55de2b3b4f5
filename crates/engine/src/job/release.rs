//! The parts of a result's key, as the parties hand them out.

use super::*;

impl Job {
    /// Takes a party's part of the result's key. One that is not what the party committed to ends the job: with it nobody could
    /// open the result. "Done" without a part, where one is needed, is no answer.
    pub(super) fn take_release(&mut self, now: UnixMillis, node: &NodeId, bytes: Blob) {
        let committed = match self.package() {
            Some(Package::Inline(package)) if self.terminal == Some(Terminal::Succeeded) => Committed::of(package),
            _ => None,
        };
        let needed = committed.zip(self.seat(node)).and_then(|(committed, seat)| committed.fits(seat, &bytes));
        match needed {
            Some(false) if bytes.is_empty() => {}
            Some(false) => self.take_false_release(now, node),
            Some(true) | None => {
                if let Some(p) = self.party(node) {
                    p.release = p.release.take().or(Some(bytes));
                }
            }
        }
    }

    pub(super) fn take_false_release(&mut self, now: UnixMillis, node: &NodeId) {
        let Some(name) = self.party(node).map(|p| p.member.name.clone()) else { return };
        if !matches!(self.state, State::Releasing { .. }) || self.terminal != Some(Terminal::Succeeded) {
            return;
        }
        let hint = "its part of the result's key is not the one that it committed to".to_owned();
        self.note(now, "not_released", Some(name.clone()), hint.as_str());
        self.end_unopened(now, Code::JobMisbehaved, name, hint);
    }
}
