use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Fixtures {
    orders: Vec<u32>,
    costs: Vec<Cost>,
    divergences: Vec<Divergence>,
}

/// Epsilon as others compute it.
#[derive(Deserialize)]
struct Cost {
    kind: String,
    sensitivity: u64,
    spread: u64,
    times: u64,
    delta: f64,
    renyi: Option<f64>,
    exact: f64,
}

#[derive(Deserialize)]
struct Divergence {
    variance: u64,
    shift: u64,
    order: u32,
    cost: f64,
}

fn fixtures() -> Fixtures {
    serde_json::from_str(include_str!("../../tests/fixtures.json")).unwrap()
}

fn whole(value: u64) -> Ratio {
    Ratio::new(value, 1).unwrap()
}

fn delta(value: f64) -> Delta {
    Delta::from_femto((value * 1e15).round() as u64).unwrap()
}

fn spent(cost: &Cost) -> Spending {
    let one = match cost.kind.as_str() {
        "gaussian" => Spending::gaussian(cost.sensitivity * cost.sensitivity, whole(cost.spread * cost.spread), 1),
        _ => Spending::laplace(cost.sensitivity, whole(cost.spread), 1),
    };
    (1..cost.times).try_fold(one.clone().unwrap(), |sum, _| sum.and(one.as_ref().unwrap())).unwrap()
}

#[test]
fn the_orders_are_those_of_the_fixtures() {
    assert_eq!(fixtures().orders, ORDERS);
}

/// Never below the exact cost, near it, and what another library's accountant gives over the same orders or less.
#[test]
fn epsilon_is_sound_and_as_close_as_the_accountants_of_others() {
    for cost in fixtures().costs {
        let ours = spent(&cost).epsilon_micro(delta(cost.delta)).unwrap() as f64 / 1e6;
        let what = format!("{} {} of {}, {} times", cost.kind, cost.spread, cost.sensitivity, cost.times);
        assert!(ours >= cost.exact - 1e-6, "{what}: {ours} is less than {}", cost.exact);
        assert!(ours <= cost.exact * 1.2, "{what}: {ours} is far above {}", cost.exact);
        if let Some(renyi) = cost.renyi {
            assert!(ours <= renyi + 2e-6 && ours >= renyi - 0.05, "{what}: {ours}, others {renyi}");
        }
    }
}

#[test]
fn the_curve_of_skellam_noise_is_above_its_divergence_and_near_it_where_there_is_much() {
    for d in fixtures().divergences {
        let spent = Spending::skellam(d.shift, d.shift * d.shift, whole(d.variance), 1).unwrap();
        let place = ORDERS.iter().position(|o| *o == d.order).unwrap();
        let ours = spent.curve[place] as f64 / 1e12;
        assert!(ours >= d.cost, "variance {} shift {} order {}: {ours} < {}", d.variance, d.shift, d.order, d.cost);
        if d.variance >= 400 && d.order <= 5 {
            assert!(ours < d.cost * 1.1, "variance {} shift {}: {ours}, exact {}", d.variance, d.shift, d.cost);
        }
    }
}

#[test]
fn costs_are_whole_numbers_that_add_up() {
    let gaussian = Spending::gaussian(3, whole(7), 5).unwrap();
    assert_eq!(gaussian.rho, Some(214_285_714_286), "3/14 in parts of 10^12, rounded up");
    let pure = Spending::laplace(2, Ratio::new(3, 1).unwrap(), 1).unwrap();
    assert_eq!((pure.pure, pure.rho), (Some(666_667), Some(222_222_444_445)));
    let both = gaussian.and(&pure).unwrap();
    assert_eq!((both.pure, both.rho, both.draws), (None, Some(436_508_158_731), 6));
    assert_eq!(both.curve[0], gaussian.curve[0] + pure.curve[0]);
    let skellam = Spending::skellam(1, 1, whole(10), 1).unwrap();
    // 2/20 + min((3 + 6)/400, 3/20)
    assert_eq!(skellam.curve[0], 122_500_000_000);
    assert_eq!(both.and(&skellam).unwrap().rho, None);
    assert_eq!(Spending::default().and(&pure).unwrap(), pure);
    assert_eq!(pure.epsilon_micro(delta(1e-9)).unwrap(), 666_667, "pure privacy needs no delta");
}

#[test]
fn the_least_variance_is_enough_and_a_quarter_less_is_not() {
    for (epsilon, l2_squared) in [(1_000_000, 1), (100_000, 1), (3_000_000, 250)] {
        let delta = delta(1e-6);
        for cost in [
            &(|variance| Spending::gaussian(l2_squared, variance, 10)) as &dyn Fn(Ratio) -> Result<Spending, Fault>,
            &|variance| Spending::skellam(l2_squared, l2_squared, variance, 10),
        ] {
            let least = least_variance(epsilon, delta, cost).unwrap();
            let of = |quarters: u64| cost(Ratio::new(quarters, 4).unwrap()).unwrap().epsilon_micro(delta).unwrap();
            assert!(of(least.num()) <= epsilon && of(least.num() - 1) > epsilon, "{epsilon} {l2_squared}: {least:?}");
        }
    }
}

#[test]
fn one_past_each_limit_is_refused() {
    let refused = |result: Result<Spending, Fault>| assert_eq!(result.unwrap_err().code, Code::RefusedParameters);
    assert!(Spending::gaussian(1, whole(1), DRAWS_MAX).is_ok());
    refused(Spending::gaussian(1, whole(1), DRAWS_MAX + 1));
    refused(Spending::gaussian(1, whole(1), DRAWS_MAX).unwrap().and(&Spending::gaussian(1, whole(1), 1).unwrap()));
    refused(Spending::gaussian(u64::MAX, Ratio::new(1, crate::RATIO_MAX).unwrap(), 1));
    refused(Spending::skellam(u64::MAX, u64::MAX, Ratio::new(1, crate::RATIO_MAX).unwrap(), 1));
    refused(Spending::pure(u64::MAX, 1));
    for femto in [0, 1_000_000_000_000_000] {
        assert!(Delta::from_femto(femto).is_err());
    }
    assert_eq!(Spending::pure(EPSILON_MAX_MICRO, 1).unwrap().epsilon_micro(delta(1e-6)), Ok(EPSILON_MAX_MICRO));
    assert!(Spending::pure(EPSILON_MAX_MICRO + 1, 1).unwrap().epsilon_micro(delta(1e-15)).is_err());
    // 2^40 draws take 6e-8 of delta.
    let many = Spending::gaussian(1, whole(100), DRAWS_MAX).unwrap();
    assert!(many.epsilon_micro(delta(5e-8)).is_err() && many.epsilon_micro(delta(7e-8)).is_ok());
}
