//! The one way out: what operations ask of the parties, gathered into one message to each peer and round.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tacit_protocol::Disclosure;

use crate::group::Group;
use crate::pack::{self, packed_bytes};
use crate::value::{Blinded, Public, Released};

/// One vector on its way in one round: who sends a summand to whom, how many words, of how many bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flow {
    /// Who sends.
    pub from: Group,
    /// Who receives, and itself too where it is among them.
    pub to: Group,
    /// Words.
    pub count: u64,
    /// Bits of a word on the wire.
    pub bits: u8,
}

impl Flow {
    /// Payload bytes that one party sends to another for this.
    pub const fn bytes(&self, from: usize, to: usize) -> u64 {
        if from != to && self.from.has(from) && self.to.has(to) { packed_bytes(self.count, self.bits) } else { 0 }
    }
}

/// A flow with this party's words.
pub(crate) struct Ask {
    pub flow: Flow,
    pub xor: bool,
    pub words: Vec<u64>,
    /// What lets the words out as themselves, and how many numbers they are.
    pub grant: Option<(Disclosure, u64)>,
    /// Whether it is counted what the sums lose at their top.
    pub carry: bool,
}

/// What came of an ask: the sums, and what each lost at its top where that is counted.
#[derive(Default)]
pub(crate) struct Answer {
    pub words: Vec<u64>,
    pub carry: Vec<u8>,
}

#[derive(Default)]
struct State {
    asks: Vec<Ask>,
    /// Answers of this round, in the order of the asks.
    answers: Vec<Option<Answer>>,
    /// Rounds that were answered.
    round: u64,
}

/// What an operation works with: its party's number, and the rounds that it shares with others.
#[derive(Clone)]
pub struct Lane {
    state: Arc<Mutex<State>>,
    me: usize,
    parties: usize,
}

impl Lane {
    pub(crate) fn new(me: usize, parties: usize) -> Self {
        Self { state: Arc::default(), me, parties }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This party's number.
    pub fn me(&self) -> usize {
        self.me
    }

    /// How many parties compute.
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// Whether this party adds what is public to its share.
    pub fn leads(&self) -> bool {
        self.me == 0
    }

    /// Every party.
    pub fn all(&self) -> Group {
        Group::first(self.parties)
    }

    /// Opens a blinded vector to every party: the sum of the summands, modulo 2^bits.
    pub(crate) fn open(&self, blinded: Blinded, bits: u8) -> Ask {
        let flow = Flow { from: self.all(), to: self.all(), count: blinded.0.len() as u64, bits };
        Ask { flow, xor: false, words: blinded.0, grant: None, carry: false }
    }

    /// Opens blinded bits to every party.
    pub(crate) fn open_bits(&self, blinded: Blinded) -> Ask {
        Ask { xor: true, ..self.open(blinded, 64) }
    }

    /// One party's blinded vector to some, modulo 2^bits; `count` words, which only the sender has.
    pub(crate) fn tell(&self, from: usize, to: Group, count: usize, bits: u8, blinded: Option<Blinded>) -> Ask {
        let flow = Flow { from: Group::one(from), to, count: count as u64, bits };
        Ask { flow, xor: false, words: blinded.map(|b| b.0).unwrap_or_default(), grant: None, carry: false }
    }

    /// A released share to its receivers, under a disclosure that the job lists.
    pub(crate) fn give(&self, to: Group, bits: u8, released: Released, grant: (Disclosure, u64)) -> Ask {
        let flow = Flow { from: self.all(), to, count: released.words.len() as u64, bits };
        Ask { flow, xor: released.xor, words: released.words.to_vec(), grant: Some(grant), carry: false }
    }

    /// Asks in this round and waits for the answers: for each ask the sum of what came and of the own
    /// words, where this party is among the receivers.
    pub(crate) async fn round<const N: usize>(&self, asks: [Ask; N]) -> [Public; N] {
        let mut answers = self.round_of(asks.into()).await.into_iter();
        core::array::from_fn(|_| answers.next().unwrap_or(Public(Vec::new())))
    }

    /// As [`Lane::round`], for a number of asks that the plan decides.
    pub(crate) async fn round_of(&self, asks: Vec<Ask>) -> Vec<Public> {
        self.answers_to(asks).await.into_iter().map(|a| Public(a.words)).collect()
    }

    /// As [`Lane::round_of`], with what the sums lost.
    pub(crate) async fn answers_to(&self, asks: Vec<Ask>) -> Vec<Answer> {
        let count = asks.len();
        let (first, round) = {
            let mut state = self.state();
            let first = state.asks.len();
            state.asks.extend(asks);
            (first, state.round)
        };
        poll_fn(|_| {
            let mut state = self.state();
            if state.round == round {
                return Poll::Pending;
            }
            let mut take = |i: usize| state.answers.get_mut(first + i).and_then(Option::take).unwrap_or_default();
            Poll::Ready((0..count).map(&mut take).collect())
        })
        .await
    }

    /// What this round asks.
    pub(crate) fn take_asks(&self) -> Vec<Ask> {
        core::mem::take(&mut self.state().asks)
    }

    /// Ends the round.
    pub(crate) fn answer(&self, answers: Vec<Answer>) {
        let mut state = self.state();
        state.answers = answers.into_iter().map(Some).collect();
        state.round += 1;
    }
}

/// The body for one receiver.
pub(crate) fn frame(asks: &[Ask], me: usize, to: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(asks.iter().map(|a| a.flow.bytes(me, to)).sum::<u64>() as usize);
    for ask in asks.iter().filter(|a| a.flow.bytes(me, to) > 0) {
        pack::pack(&ask.words, ask.flow.bits, &mut body);
    }
    body
}

/// Adds one sender's body to the answers. `false` when it has another length than the round's.
pub(crate) fn absorb(asks: &[Ask], answers: &mut [Answer], from: usize, me: usize, mut body: &[u8]) -> bool {
    for (ask, answer) in asks.iter().zip(answers) {
        let length = ask.flow.bytes(from, me) as usize;
        let Some((now, later)) = body.split_at_checked(length) else { return false };
        if length > 0 {
            if ask.carry {
                pack::fold_carry(now, &mut answer.words, &mut answer.carry);
            } else {
                pack::fold(now, ask.flow.bits, ask.xor, &mut answer.words);
            }
        }
        body = later;
    }
    body.is_empty()
}

/// The answers before anything came: the own words where this party sends to itself.
pub(crate) fn begin(asks: &[Ask], me: usize) -> Vec<Answer> {
    let own = |ask: &Ask| match (ask.flow.to.has(me), ask.flow.from.has(me)) {
        (true, true) => ask.words.clone(),
        (true, false) => vec![0; ask.flow.count as usize],
        _ => Vec::new(),
    };
    let answer = |ask: &Ask| {
        let words = own(ask);
        let carry = vec![0; if ask.carry { words.len() } else { 0 }];
        Answer { words, carry }
    };
    asks.iter().map(answer).collect()
}

/// Takes the answers modulo 2^bits.
pub(crate) fn finish(asks: &[Ask], answers: &mut [Answer]) {
    for (ask, answer) in asks.iter().zip(answers).filter(|(a, _)| a.flow.bits < 64) {
        let mask = pack::low_mask(ask.flow.bits);
        answer.words.iter_mut().for_each(|w| *w &= mask);
    }
}

/// A future without a runtime behind it.
pub(crate) type Task<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Polls a task once.
pub(crate) fn poll_once<T>(task: &mut Task<'_, T>) -> Poll<T> {
    task.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Runs tasks side by side, in order, so that what they ask travels together.
pub(crate) async fn together<T>(mut tasks: Vec<Task<'_, T>>) -> Vec<T> {
    let mut done: Vec<Option<T>> = tasks.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (task, slot) in tasks.iter_mut().zip(&mut done).filter(|(_, slot)| slot.is_none()) {
            if let Poll::Ready(value) = task.as_mut().poll(context) {
                *slot = Some(value);
            }
        }
        if done.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}
