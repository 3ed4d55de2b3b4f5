//! Shamir's sharing (CACM 1979) over the scalar field of Ristretto. The share of the seat with index
//! `i` is the polynomial at `i + 1`, so no share is the secret.

use curve25519_dalek::scalar::Scalar;
use zeroize::{Zeroize, Zeroizing};

use crate::agree::SecretScalar;
use crate::rng::Rng;

/// Deals `secret` so that `threshold` shares give it and fewer tell nothing: one share for each
/// index, in order. A threshold of 0 counts as 1.
pub fn share(secret: &SecretScalar, threshold: u16, indices: &[u16], rng: &mut Rng) -> Vec<SecretScalar> {
    let mut coefficients = Zeroizing::new(Vec::with_capacity(usize::from(threshold.max(1))));
    coefficients.push(*secret.expose_scalar());
    for _ in 1..threshold {
        coefficients.push(*SecretScalar::random(rng).expose_scalar());
    }
    let at = |index: &u16| {
        let x = point(*index);
        let mut value = coefficients.iter().rev().fold(Scalar::ZERO, |acc, c| acc * x + c);
        let share = SecretScalar::from_scalar(value);
        value.zeroize();
        share
    };
    indices.iter().map(at).collect()
}

/// The weights that give a secret from the shares of one set of indices. Made once for a set and
/// used for every secret that the same seats open.
pub struct Lagrange {
    indices: Vec<u16>,
    weights: Vec<Scalar>,
}

impl Lagrange {
    /// The weights at zero for distinct indices; `None` when one stands twice or there are none.
    pub fn new(indices: &[u16]) -> Option<Self> {
        let mut sorted = indices.to_vec();
        sorted.sort_unstable();
        if sorted.is_empty() || sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return None;
        }
        let points: Vec<Scalar> = indices.iter().map(|i| point(*i)).collect();
        let product: Scalar = points.iter().product();
        // weight_i = prod_{j != i} x_j / (x_j - x_i) = product / (x_i prod_{j != i} (x_j - x_i)).
        let mut weights: Vec<Scalar> = indices.iter().map(|i| denominator(*i, indices)).collect();
        Scalar::invert_batch_alloc(&mut weights);
        weights.iter_mut().for_each(|w| *w *= product);
        Some(Self { indices: indices.to_vec(), weights })
    }

    /// The indices, in the order of the shares that [`Lagrange::combine`] takes.
    pub fn indices(&self) -> &[u16] {
        &self.indices
    }

    /// The secret from one share for each index, in order; `None` for another number of shares.
    pub fn combine<'a>(&self, shares: impl ExactSizeIterator<Item = &'a SecretScalar>) -> Option<SecretScalar> {
        if shares.len() != self.weights.len() {
            return None;
        }
        let mut sum = self.weights.iter().zip(shares).fold(Scalar::ZERO, |acc, (w, s)| acc + w * s.expose_scalar());
        let secret = SecretScalar::from_scalar(sum);
        sum.zeroize();
        Some(secret)
    }
}

/// `x_i prod_{j != i} (x_j - x_i)`. The factors have 17 bits at most, so that seven of them and more multiply in a machine's
/// double word before a scalar multiplication is needed; signs are counted apart. Indices are public.
fn denominator(index: u16, indices: &[u16]) -> Scalar {
    let (mut product, mut run) = (Scalar::ONE, u128::from(index) + 1);
    for other in indices.iter().filter(|j| **j != index) {
        let factor = u128::from(other.abs_diff(index));
        match run.checked_mul(factor) {
            Some(longer) => run = longer,
            None => {
                product *= Scalar::from(run);
                run = factor;
            }
        }
    }
    product *= Scalar::from(run);
    let below = indices.iter().filter(|j| **j < index).count();
    if below.is_multiple_of(2) { product } else { -product }
}

fn point(index: u16) -> Scalar {
    Scalar::from(u64::from(index) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn rng() -> Rng {
        Rng::from_seed(&Secret::new([6; 32]))
    }

    fn open(shares: &[SecretScalar], indices: &[u16]) -> SecretScalar {
        Lagrange::new(indices).unwrap().combine(indices.iter().map(|i| &shares[usize::from(*i)])).unwrap()
    }

    #[test]
    fn any_threshold_of_shares_opens_and_one_less_does_not() {
        let mut rng = rng();
        let secret = SecretScalar::random(&mut rng);
        let indices: Vec<u16> = (0..7).collect();
        for threshold in 1..=7u16 {
            let shares = share(&secret, threshold, &indices, &mut rng);
            let t = usize::from(threshold);
            for set in [indices[..t].to_vec(), indices[7 - t..].to_vec(), indices[..t].iter().rev().copied().collect()]
            {
                assert!(open(&shares, &set).to_bytes().ct_eq(&secret.to_bytes()), "{threshold}");
            }
            if t > 1 {
                assert!(!open(&shares, &indices[..t - 1]).to_bytes().ct_eq(&secret.to_bytes()), "{threshold}");
            }
        }
    }

    #[test]
    fn a_share_is_the_polynomial_at_one_more_than_its_index() {
        // f(x) = s + a x: f(1), f(2), f(3) are in arithmetic progression and f(0) = 2 f(1) - f(2).
        let mut rng = rng();
        let secret = SecretScalar::random(&mut rng);
        let shares = share(&secret, 2, &[0, 1, 2], &mut rng);
        let f: Vec<Scalar> = shares.iter().map(|s| *s.expose_scalar()).collect();
        assert_eq!(f[0] + f[0] - f[1], *secret.expose_scalar());
        assert_eq!(f[2] - f[1], f[1] - f[0]);
    }

    #[test]
    fn weights_are_those_of_the_formula_for_near_and_far_indices() {
        let near: Vec<u16> = (0..72).map(|i| i * 13 % 997).collect();
        let far: Vec<u16> = (0..72).map(|i| if i % 3 == 0 { u16::MAX - 7 * i } else { 11 * i }).collect();
        for indices in [near, far, vec![u16::MAX, 0], vec![5]] {
            let weights = Lagrange::new(&indices).unwrap().weights;
            for (i, weight) in indices.iter().zip(weights) {
                let others = indices.iter().filter(|j| *j != i);
                let formula = others.map(|j| point(*j) * (point(*j) - point(*i)).invert());
                assert_eq!(weight, formula.product::<Scalar>(), "{i} of {indices:?}");
            }
        }
    }

    #[test]
    fn repeated_absent_and_miscounted_indices_are_refused() {
        assert!(Lagrange::new(&[1, 2, 1]).is_none());
        assert!(Lagrange::new(&[]).is_none());
        let one = SecretScalar::random(&mut rng());
        assert!(Lagrange::new(&[1, 2]).unwrap().combine([&one].into_iter()).is_none());
    }
}
