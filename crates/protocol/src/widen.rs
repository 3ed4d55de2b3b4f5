//! Windows to a seat at which all send at once, and that it widens for a while: among many seats a small window each is all that it can hold, too
//! little for a sender whose turn it is and that is far away.

use tacit_types::Seat;

use crate::machine::Effect;
use crate::party::Party;

impl Party {
    /// Narrows every window to one seat to [`Seating::narrow_bytes`](crate::Seating::narrow_bytes): all send at once
    /// there, and it holds a window of each. Every seat calls it alike, before it sends that one more than so much.
    pub fn narrow(&mut self, to: Seat) {
        self.core().narrow = Some(to);
    }

    /// Lets a seat widen the window that this one has to it, by up to
    /// [`Seating::widened_bytes`](crate::Seating::widened_bytes): this seat may then have so much in flight. From any other
    /// seat, credit for what was never sent is an offence.
    pub fn may_widen(&mut self, seat: Seat) {
        self.core().widening.insert(seat);
    }

    /// Widens the window of a seat that allows it: it may have up to `bytes` more in flight to this one than its window,
    /// less where others together have [`Seating::widened_bytes`](crate::Seating::widened_bytes). It goes back as the
    /// bytes are consumed: who widens by what is left of a message leaves nothing over after it.
    pub fn widen(&mut self, seat: Seat, bytes: u64) {
        let mut core = self.core();
        let others = core.inboxes.iter().enumerate().filter(|(i, _)| *i != seat.index());
        let ahead: u64 = others.map(|(_, inbox)| inbox.ahead()).sum();
        let spare = core.setup.seating.widened_bytes().saturating_sub(ahead);
        let Some(inbox) = core.inboxes.get_mut(seat.index()) else { return };
        let told = inbox.credit();
        inbox.grant(bytes.min(spare));
        let consumed = inbox.credit();
        if consumed > told {
            core.effects.push(Effect::Credit { to: seat, consumed });
        }
    }
}
