//! The site's own policy: asked last, with what the decision rests on, and able to take away alone.

use tacit_governance::Rule;
use tacit_governance::grade::{Grade, Product};
use tacit_governance::site::Asked;

use super::*;

/// A policy that says this.
pub struct Says(fn(&Asked) -> Result<(), Fault>);

impl SitePolicy for Says {
    fn decide(&self, asked: &Asked) -> Result<(), Fault> {
        (self.0)(asked)
    }
}

fn no(_: &Asked) -> Result<(), Fault> {
    Err(Fault::new(Code::RefusedSitePolicy, "policy `none`"))
}

fn judged(case: Case) -> (Rule, Option<Code>) {
    let job = Statement::sign(&key(case.operator), "job", NOW, None, case.job.clone());
    let judged = case.judge(&job, &[case.signed()]);
    (judged.rule, judged.decision.err().map(|fault| fault.code))
}

fn with(says: &'static Says) -> Case {
    Case::new().other(|c| c.site = Some(says))
}

#[test]
fn a_site_policy_is_asked_last_and_takes_away_alone() {
    assert_eq!(judged(with(&Says(|_| Ok(())))), (Rule::LAST, None));
    assert_eq!(judged(with(&Says(no))), (Rule::Site, Some(Code::RefusedSitePolicy)));
    // What another rule refuses is not asked, and not admitted by a policy that permits everything.
    let unasked = || with(&Says(|asked| panic!("{asked:?}")));
    assert_eq!(judged(unasked().job(|j| j.purpose = "another".into())).0, Rule::Purpose);
    assert_eq!(judged(unasked().contract(|c| c.price_plan = Some(Hash([9; 32])))).0, Rule::Price);
    assert_eq!(judged(Case::new()), (Rule::LAST, None), "without a policy nothing is asked");
}

#[test]
fn a_site_policy_is_asked_what_the_decision_rests_on() {
    fn look(asked: &Asked) -> Result<(), Fault> {
        let names: Vec<&str> = asked.parties.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["owner-1", "owner-2", "owner-3", "demander"]);
        assert_eq!((asked.asker.name.as_str(), asked.asker.role), ("demander", Role::Demander));
        assert_eq!((asked.recipient.root, asked.asker.region.as_deref()), (key(DEMANDER).id(), None));
        assert_eq!(asked.seated.len(), 3);
        assert_eq!((asked.contract_name.as_str(), asked.ends), ("claims-2026", UnixMillis(NOW.0 + 10)));
        let own = asked.dataset.as_ref().unwrap();
        assert_eq!((own.id, own.view.as_str(), own.grade), (dataset_of(1), "claims", None));
        assert_eq!((asked.kind.as_str(), asked.purpose.as_str()), ("stats/v1", "fraud research"));
        assert_eq!((asked.product, asked.providers, asked.used, asked.rows), (Product::Aggregate, 3, 4, 0));
        assert_eq!((asked.cohort.rows, asked.privacy, asked.price_plan, asked.now), (10, None, None, NOW));
        assert_eq!(asked.facts.uses.len(), 3);
        no(asked)
    }
    assert_eq!(judged(with(&Says(look))).0, Rule::Site);

    fn controlled(asked: &Asked) -> Result<(), Fault> {
        assert_eq!(asked.dataset.as_ref().unwrap().grade, Some(Grade::IMPORTANT));
        assert!(asked.parties.iter().all(|p| p.region.is_some()));
        no(asked)
    }
    let case = control::controlled().other(|c| c.site = Some(&Says(controlled)));
    assert_eq!(judged(case).0, Rule::Site);

    // Who asks and who receives are two parties, where the contract has two.
    let case = with(&Says(|asked| {
        assert_eq!((asked.asker.name.as_str(), asked.recipient.name.as_str()), ("demander", "owner-2"));
        assert_eq!((asked.asker.role, asked.recipient.role), (Role::Demander, Role::Provider));
        no(asked)
    }));
    let case = case.contract(|c| {
        c.operators.push(key(6).id());
        c.operators.push(key(7).id());
        c.recipients.extend([SealPublic([8; 32]), SealPublic([9; 32])]);
        c.users.insert(0, User { root: key(1).id(), node: key(6).id(), seal: SealPublic([8; 32]) });
        c.users.push(User { root: key(2).id(), node: key(7).id(), seal: SealPublic([9; 32]) });
    });
    assert_eq!(judged(case.job(|j| j.recipient = SealPublic([9; 32]))).0, Rule::Site);

    // An earlier key of the operator speaks for the same party; who it is does not change with the key.
    let speaker: Speaker = |key_| (*key_ == key(STRANGER).id()).then(|| key(OPERATOR).id());
    let case = with(&Says(|asked| {
        assert_eq!(asked.asker.name, "demander");
        no(asked)
    }));
    let case = case.other(|c| (c.speaker, c.operator) = (Some(speaker), STRANGER));
    assert_eq!(judged(case).0, Rule::Site);
}
