//! The degree and threshold of a drawn graph, from hypergeometric tails (Bell et al., CCS 2020,
//! section 3 and appendix). Floating point is used here only: a plan states the resulting whole
//! numbers and a node checks them against the same functions.
//!
//! With `n` seats, `c` colluders, `d` drop-outs, degree `k` and threshold `t`, three things must hold.
//!
//! 1. *No secret opens twice.* The `k + 1` holders of a secret have at most `x` colluders, and
//!    `2t > k + 1 + x`: chance of failure at most `n Pr[H(n-1, c, k) >= 2t - k - 1]`.
//! 2. *Drop-outs are survived.* At least `t` of a seat's neighbours stay: `n Pr[H(n-1, d, k) > k - t]`.
//! 3. *No cut, even by a coordinator that drops seats after it has seen the graph.* Cutting the ring
//!    takes two runs of `k/2` neighbouring seats that collude or were dropped. A dropped seat opens
//!    only while `t` of its neighbours do, so a run holds at most `k - t + 1` dropped ones and the
//!    rest collude: `n^2/2 Pr[H(n, c, k/2) >= k/2 - (k - t + 1)]^2`, since the counts of colluders in
//!    two disjoint runs are negatively associated.

use crate::params::{CORRECTNESS_BITS, SECURITY_BITS};

/// The smallest safe even degree, with the smallest threshold that is safe for it.
pub fn smallest(seats: u16, corrupt: u16, dropped: u16) -> Option<(u16, u16)> {
    let tails = Tails::up_to(u32::from(seats));
    let safe = |k: u16, t: &u16| tails.are_safe([seats, corrupt, dropped, k, *t].map(u32::from));
    (2..seats).step_by(2).find_map(|k| (k / 2 + 1..=k).find(|t| safe(k, t)).map(|t| (k, t)))
}

/// Whether a degree and threshold keep all three bounds.
pub fn is_safe(seats: u16, corrupt: u16, dropped: u16, degree: u16, threshold: u16) -> bool {
    let tails = Tails::up_to(u32::from(seats));
    tails.are_safe([seats, corrupt, dropped, degree, threshold].map(u32::from))
}

/// Logarithms of factorials up to the number of seats.
struct Tails {
    factorial_log2: Vec<f64>,
}

impl Tails {
    fn up_to(n: u32) -> Self {
        let mut sum = 0.0;
        let logs = (1..=n).map(|i| {
            sum += f64::from(i).log2();
            sum
        });
        Self { factorial_log2: core::iter::once(0.0).chain(logs).collect() }
    }

    fn are_safe(&self, [n, c, d, k, t]: [u32; 5]) -> bool {
        if k == 0 || k % 2 != 0 || k + 1 > n || t > k || 2 * t < k + 2 || c + d + 2 > n {
            return false;
        }
        let union = f64::from(n).log2();
        let opens_twice = union + self.tail_log2(n - 1, c, k, 2 * t - k - 1);
        let starves = union + self.tail_log2(n - 1, d, k, k - t + 1);
        let colluders_in_run = (k / 2).saturating_sub(k - t + 1);
        let cut = 2.0 * union - 1.0 + 2.0 * self.tail_log2(n, c, k / 2, colluders_in_run);
        opens_twice <= -SECURITY_BITS && cut <= -SECURITY_BITS && starves <= -CORRECTNESS_BITS
    }

    /// log2 of the chance that `draws` of `total` seats without replacement hit at least `at_least`
    /// of the `marked` ones.
    fn tail_log2(&self, total: u32, marked: u32, draws: u32, at_least: u32) -> f64 {
        if at_least == 0 {
            return 0.0;
        }
        let all = self.choose_log2(total, draws);
        let terms = (at_least..=marked.min(draws)).filter(|x| draws - x <= total - marked);
        let term = |x| self.choose_log2(marked, x) + self.choose_log2(total - marked, draws - x) - all;
        // Nothing cancels: at most a few hundred positive terms are added. An empty sum is 0.
        terms.map(|x| term(x).exp2()).sum::<f64>().log2()
    }

    /// `k` is at most `n`, which is at most the number of seats.
    fn choose_log2(&self, n: u32, k: u32) -> f64 {
        let log = |i: u32| self.factorial_log2.get(i as usize).copied().unwrap_or(f64::INFINITY);
        log(n) - log(k) - log(n - k)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same chance by enumeration with exact whole numbers.
    fn tail_exact(total: u32, marked: u32, draws: u32, at_least: u32) -> f64 {
        let choose = |n: u32, k: u32| -> u128 {
            if k > n { 0 } else { (0..u128::from(k)).fold(1, |c, i| c * (u128::from(n) - i) / (i + 1)) }
        };
        let hits: u128 = (at_least..=draws).map(|x| choose(marked, x) * choose(total - marked, draws - x)).sum();
        hits as f64 / choose(total, draws) as f64
    }

    #[test]
    fn tails_agree_with_exact_counting() {
        for (total, marked, draws) in [(20, 5, 6), (30, 15, 10), (40, 3, 12), (12, 12, 4)] {
            for at_least in 0..=draws {
                let (log, exact) = (
                    Tails::up_to(total).tail_log2(total, marked, draws, at_least),
                    tail_exact(total, marked, draws, at_least),
                );
                assert!((log.exp2() - exact).abs() <= 1e-9 * exact.max(1e-30), "{total} {marked} {draws} {at_least}");
            }
        }
    }

    #[test]
    fn the_smallest_graph_is_safe_and_no_smaller_one_is() {
        for (n, c, d) in [(129, 6, 6), (300, 15, 15), (1000, 50, 50), (1000, 100, 100), (1024, 0, 51)] {
            let (k, t) = smallest(n, c, d).unwrap();
            assert!(is_safe(n, c, d, k, t));
            assert!((k / 2..k).all(|t| !is_safe(n, c, d, k - 2, t)), "{n}");
            assert!(2 * t > k + 1);
        }
        assert!(is_safe(1000, 50, 50, 102, 72), "the degree that the bench uses");
        assert!(smallest(1000, 400, 400).is_none());
    }
}
