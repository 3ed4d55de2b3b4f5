//! How well scores tell two classes apart, and how far they can be believed.
//!
//! Every function gives `None` where its number does not exist: lists of different lengths, no rows, a score that is
//! NaN, or rows of one class alone where two are compared.

/// Probabilities are kept this far from 0 and 1 in the logarithm.
const PROBABILITY_MIN: f64 = 1e-15;

fn fits(scores: &[f64], labels: &[bool]) -> bool {
    !scores.is_empty() && scores.len() == labels.len() && scores.iter().all(|s| !s.is_nan())
}

/// Counts of both classes at each distinct score, ascending: score, negatives, positives.
fn steps(scores: &[f64], labels: &[bool]) -> Option<Vec<(f64, f64, f64)>> {
    if !fits(scores, labels) || labels.iter().all(|l| *l) || labels.iter().all(|l| !*l) {
        return None;
    }
    let mut rows: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut steps: Vec<(f64, f64, f64)> = Vec::new();
    for (score, label) in rows {
        let (negative, positive) = if label { (0.0, 1.0) } else { (1.0, 0.0) };
        match steps.last_mut() {
            // Both zeroes are one score.
            Some((last, n, p)) if *last >= score => {
                *n += negative;
                *p += positive;
            }
            _ => steps.push((score, negative, positive)),
        }
    }
    Some(steps)
}

/// The area under the ROC curve: the chance that a positive row scores above a negative one, ties counted half.
pub fn auc(scores: &[f64], labels: &[bool]) -> Option<f64> {
    let steps = steps(scores, labels)?;
    let (mut below, mut pairs, mut positives) = (0.0, 0.0, 0.0);
    for (_, negative, positive) in steps {
        pairs += positive * (below + negative / 2.0);
        below += negative;
        positives += positive;
    }
    Some(pairs / (below * positives))
}

/// The Kolmogorov-Smirnov distance: the greatest difference between the classes' distribution functions.
pub fn ks(scores: &[f64], labels: &[bool]) -> Option<f64> {
    let steps = steps(scores, labels)?;
    let (negatives, positives) = steps.iter().fold((0.0, 0.0), |(n, p), s| (n + s.1, p + s.2));
    let (mut n, mut p, mut most) = (0.0, 0.0, 0.0f64);
    for (_, negative, positive) in steps {
        n += negative;
        p += positive;
        most = most.max((n / negatives - p / positives).abs());
    }
    Some(most)
}

/// The mean of `-ln` of the probability that was given to what happened.
pub fn log_loss(probabilities: &[f64], labels: &[bool]) -> Option<f64> {
    let loss = |(p, label): (&f64, &bool)| {
        let p = p.clamp(PROBABILITY_MIN, 1.0 - PROBABILITY_MIN);
        if *label { -p.ln() } else { -(1.0 - p).ln() }
    };
    fits(probabilities, labels).then(|| probabilities.iter().zip(labels).map(loss).sum::<f64>() / labels.len() as f64)
}

/// The mean squared difference between probability and outcome (Brier's score).
pub fn brier(probabilities: &[f64], labels: &[bool]) -> Option<f64> {
    let square = |(p, label): (&f64, &bool)| (p - f64::from(u8::from(*label))).powi(2);
    fits(probabilities, labels).then(|| probabilities.iter().zip(labels).map(square).sum::<f64>() / labels.len() as f64)
}

/// The share of rows for which `score >= threshold` is the label.
pub fn accuracy(scores: &[f64], labels: &[bool], threshold: f64) -> Option<f64> {
    fits(scores, labels).then(|| {
        let right = scores.iter().zip(labels).filter(|(s, l)| (**s >= threshold) == **l).count();
        right as f64 / labels.len() as f64
    })
}

/// One interval of a calibration.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Bin {
    /// Rows in it.
    pub rows: usize,
    /// Their mean probability.
    pub mean: f64,
    /// The share of them that are positive.
    pub rate: f64,
}

/// Rows by probability in `bins` intervals of equal width over `[0, 1]`, the last one closed; those without rows are left
/// out. `None` too for no bins and for a score outside.
pub fn calibration(probabilities: &[f64], labels: &[bool], bins: usize) -> Option<Vec<Bin>> {
    let outside = |p: &f64| !(0.0..=1.0).contains(p);
    if !fits(probabilities, labels)
        || bins == 0
        || bins > probabilities.len().max(100)
        || probabilities.iter().any(outside)
    {
        return None;
    }
    let mut sums = vec![(0usize, 0.0, 0.0); bins];
    for (p, label) in probabilities.iter().zip(labels) {
        // why: p is within [0, 1], so the product is at most the number of bins.
        let place = ((p * bins as f64) as usize).min(bins - 1);
        if let Some((rows, mean, rate)) = sums.get_mut(place) {
            *rows += 1;
            *mean += p;
            *rate += f64::from(u8::from(*label));
        }
    }
    let filled = sums.into_iter().filter(|(rows, ..)| *rows > 0);
    Some(filled.map(|(rows, mean, rate)| Bin { rows, mean: mean / rows as f64, rate: rate / rows as f64 }).collect())
}

/// The expected calibration error: the mean difference between probability and rate, by rows.
pub fn calibration_error(bins: &[Bin]) -> f64 {
    let rows: usize = bins.iter().map(|b| b.rows).sum();
    bins.iter().map(|b| b.rows as f64 * (b.mean - b.rate).abs()).sum::<f64>() / rows.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCORES: [f64; 8] = [0.1, 0.4, 0.35, 0.8, 0.4, 0.9, 0.6, 0.2];
    const LABELS: [bool; 8] = [false, false, true, true, true, true, false, false];

    fn close(a: Option<f64>, b: f64) {
        assert!(a.is_some_and(|a| (a - b).abs() < 1e-12), "{a:?} and {b}");
    }

    #[test]
    fn numbers_are_those_of_the_definitions() {
        // By hand: of 16 pairs, 12 in order and one tie.
        close(auc(&SCORES, &LABELS), 12.5 / 16.0);
        close(ks(&SCORES, &LABELS), 0.5);
        close(accuracy(&SCORES, &LABELS, 0.4), 5.0 / 8.0);
        close(log_loss(&[0.8, 0.4], &[true, false]), -(0.8f64.ln() + 0.6f64.ln()) / 2.0);
        close(brier(&[0.8, 0.4], &[true, false]), (0.04 + 0.16) / 2.0);
        assert!(log_loss(&[1.0], &[false]).is_some_and(|l| l > 34.0 && l < 35.0));
    }

    #[test]
    fn order_alone_decides_and_ties_are_halves() {
        close(auc(&[1.0, 1.0, 1.0], &[true, false, false]), 0.5);
        close(auc(&[-0.0, 0.0], &[true, false]), 0.5);
        close(auc(&[3.0, 2.0, 1.0], &[true, false, false]), 1.0);
        close(auc(&[3.0, 2.0, 1.0], &[false, true, true]), 0.0);
        close(ks(&[3.0, 2.0, 1.0], &[false, true, true]), 1.0);
    }

    #[test]
    fn calibration_groups_rows() {
        let bins = calibration(&[0.05, 0.1, 0.95, 1.0], &[false, true, true, true], 2).unwrap();
        assert_eq!(bins.len(), 2);
        assert_eq!((bins[0].rows, bins[1].rows), (2, 2));
        close(Some(bins[0].rate), 0.5);
        close(Some(bins[1].mean), 0.975);
        close(Some(calibration_error(&bins)), (2.0 * 0.425 + 2.0 * 0.025) / 4.0);
    }

    #[test]
    fn what_does_not_exist_is_none() {
        for labels in [[true, true], [false, false]] {
            assert_eq!(auc(&[0.1, 0.2], &labels), None);
            assert_eq!(ks(&[0.1, 0.2], &labels), None);
        }
        assert_eq!(log_loss(&[], &[]), None);
        assert_eq!(accuracy(&[0.5], &[true, false], 0.5), None);
        assert_eq!(auc(&[f64::NAN, 0.1], &[true, false]), None);
        assert_eq!(calibration(&[1.5], &[true], 10), None);
        assert_eq!(calibration(&[0.5], &[true], 0), None);
        assert_eq!(calibration(&[0.5], &[true], usize::MAX), None);
    }
}
