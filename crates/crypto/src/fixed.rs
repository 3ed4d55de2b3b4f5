//! Fixed point: `round_ties_even(clamp(x, -C, C) 2^f)` as two's complement in Z_2^32.

use crate::kernel;

/// A clip and a number of bits after the binary point.
#[derive(Clone, Copy)]
pub struct Scale {
    clip: f32,
    factor: f32,
}

/// The first value that a 32-bit signed number cannot hold.
const LIMIT: f32 = 2_147_483_648.0;

impl Scale {
    /// `None` unless the clip is a positive finite number and `clip 2^fraction_bits < 2^31`.
    pub fn new(clip: f32, fraction_bits: u8) -> Option<Self> {
        let factor = 2f32.powi(i32::from(fraction_bits));
        let fits = clip.is_finite() && clip > 0.0 && fraction_bits < 31 && clip * factor < LIMIT;
        fits.then_some(Self { clip, factor })
    }

    /// Encodes `values` into `out`, of equal length.
    ///
    /// # Errors
    /// The place of the first value that is NaN or infinite; `out` is then of no use.
    pub fn encode(&self, values: &[f32], out: &mut [u32]) -> Result<(), usize> {
        let done = kernel::encode(values, self.clip, self.factor, out).unwrap_or(0);
        let rest = values.get(done..).unwrap_or_default();
        let out = out.get_mut(done..).unwrap_or_default();
        self.encode_portable(rest, out).map_err(|at| done + at)
    }

    /// The portable twin of the kernel.
    fn encode_portable(&self, values: &[f32], out: &mut [u32]) -> Result<(), usize> {
        for (i, (value, out)) in values.iter().zip(out).enumerate() {
            if !value.is_finite() {
                return Err(i);
            }
            let scaled = value.clamp(-self.clip, self.clip) * self.factor;
            *out = (scaled.round_ties_even() as i32) as u32;
        }
        Ok(())
    }

    /// The number that an encoded sum stands for.
    pub fn decode(&self, sum: i64) -> f64 {
        sum as f64 / f64::from(self.factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::secret::Secret;

    #[test]
    fn halves_go_to_even_and_values_are_clamped() {
        let scale = Scale::new(4.0, 1).unwrap();
        let values = [0.25, 0.75, -0.25, -0.75, 1.25, 9.0, -9.0, f32::MAX, -0.0, f32::MIN_POSITIVE];
        let mut out = [0u32; 10];
        scale.encode(&values, &mut out).unwrap();
        assert_eq!(out.map(|q| q as i32), [0, 2, 0, -2, 2, 8, -8, 8, 0, 0]);
        assert_eq!(scale.decode(-3).to_bits(), (-1.5f64).to_bits());
    }

    #[test]
    fn the_kernel_and_its_twin_agree_on_every_class_of_number() {
        let mut rng = Rng::from_seed(&Secret::new([8; 32]));
        for (clip, bits) in [(8.0, 16), (0.1, 30), (1.0, 30), (3.5e8, 2), (f32::MIN_POSITIVE, 0)] {
            let scale = Scale::new(clip, bits).unwrap();
            for len in [0, 1, 15, 16, 17, 1000] {
                let values: Vec<f32> = (0..len)
                    .map(|_| {
                        let x = f32::from_bits(u32::from_le_bytes(rng.bytes()));
                        let near = (rng.below(1 << 20) as f32 - (1 << 19) as f32) / 65536.0;
                        if rng.below(2) == 0 && x.is_finite() { x } else { near }
                    })
                    .collect();
                let (mut fast, mut slow) = (vec![0; len], vec![0; len]);
                scale.encode(&values, &mut fast).unwrap();
                scale.encode_portable(&values, &mut slow).unwrap();
                assert_eq!(fast, slow, "clip {clip} bits {bits}");
            }
        }
    }

    #[test]
    fn what_is_not_a_number_is_refused_wherever_it_stands() {
        let scale = Scale::new(8.0, 16).unwrap();
        for bad in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for at in [0, 7, 15, 16, 40] {
                let mut values = [1.0; 41];
                values[at] = bad;
                assert_eq!(scale.encode(&values, &mut [0; 41]), Err(at), "{bad}");
            }
        }
    }

    #[test]
    fn scales_that_do_not_fit_are_refused() {
        assert!(Scale::new(8.0, 27).is_some());
        assert!(Scale::new(8.0, 28).is_none());
        assert!(Scale::new(0.0, 1).is_none());
        assert!(Scale::new(-1.0, 1).is_none());
        assert!(Scale::new(f32::INFINITY, 0).is_none());
        assert!(Scale::new(f32::NAN, 0).is_none());
        assert!(Scale::new(1e-9, 31).is_none());
    }
}
