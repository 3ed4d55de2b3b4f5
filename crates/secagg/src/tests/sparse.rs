use super::*;

/// Runs a drawn graph with some seats killed in the masked step.
fn check(params: Params, lost: u16) {
    let n = params.seats();
    let mut world = World::new(&plan(params, 1), &script(vec![round(0, Width::W32, 16)]));
    world.kills = (0..lost).map(|i| (Seat(n - 1 - 3 * i), Step::new(BASE + 1, 2))).collect();
    world.run();
    assert_eq!(world.dead.len(), usize::from(lost));
    let mut survivors: Option<Vec<Seat>> = None;
    for (seat, done) in world.outcomes() {
        let outcome = done.unwrap_or_else(|e| panic!("{seat}: {e}")).0.remove(0);
        let survivors = survivors.get_or_insert(outcome.survivors.clone());
        assert_eq!(*survivors, outcome.survivors);
        assert_eq!(survivors.len(), usize::from(n - lost));
        assert_eq!(outcome.sum, Some(plain_sum(survivors, Width::W32, 16)), "{seat}");
    }
}

#[test]
fn a_drawn_graph_sums_with_and_without_drop_outs() {
    let params = Params::sparse(200, 4, 4).unwrap();
    assert!(matches!(params.graph(), crate::Graph::Harary { degree } if degree < 60), "{params:?}");
    check(params, 0);
    check(params, 4);
}

#[test]
fn a_thousand_seats_sum() {
    check(Params::sparse(1000, 0, 10).unwrap(), 10);
}
