//! Holds consumers to their plan: what `plans` of the config say.
//!
//! Which plan a consumer has is found with the consumer; here it is only counted. A plan that the config does not have
//! allows nothing, and that is the gateway's fault, not the consumer's.

use crate::kind::{BuildCtx, Group, Kind};
use crate::limit::told::{self, Taken, Told};
use crate::limit::{Cost, Judged, Limits, Who};
use crate::plan::{Allowance, Plans};
use crate::quota::Charge;
use base::{Clock, Node, Report, decode};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use traffic::exchange::Slot;
use traffic::policy::{Joined, Phases, Placement};
use traffic::{Exchange, Fault, FaultCode, Flow, Outcome, Policy, Response, Stage};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "plan",
    group: Group::Limit,
    phases: Phases { request: true, forward: false, reply: true, record: false },
    answers: false,
    about: "Holds consumers to their plan, as `plans` of the config say: how many requests it allows, in a length of time \
            and in windows of the calendar, is counted for each \
            application, and what is too much is refused with 429. It is there by itself on every route as soon as there \
            are plans; on a route it says what its \
            requests cost, and `exempt: { plan: reason }` takes it away.",
    example: "plan: { cost: 5 }",
    resets: "limits: another name of the plan, or another number of limits; a changed limit goes on from what was used so far. \
             Quotas: other windows (`per`, `time_zone`, `anchor`), or a change of `per` of the plan; another amount or another plan goes on \
             from what was used in the same windows",
    schema: <Settings as JsonSchema>::json_schema,
    build,
};

/// Settings of `plan`; it needs none.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct Settings {
    /// What a request costs of what a plan allows: a number, or an expression that gives one; 1 when left out.
    pub cost: Option<String>,
}

struct Plan {
    plans: Arc<Plans>,
    cost: Cost,
    clock: Clock,
    /// What is told of each plan, in the order of the plans.
    told: Box<[Option<Told>]>,
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let settings: Settings = decode(node, ctx.path, report)?;
    let limiters = ctx.plans.allowances().filter_map(|(_, allowance)| allowance.limits.as_ref());
    let mut allotments = ctx.plans.allowances().filter_map(|(_, it)| it.allotment.as_ref());
    let cost = Cost::parse(settings.cost.as_deref(), ctx.scope())
        .and_then(|cost| cost.check(limiters.flat_map(Limits::rules)).map(|()| cost))
        .and_then(|cost| allotments.try_for_each(|it| it.check(&cost)).map(|()| cost))
        .map_err(|message| ctx.error(report, node, "/cost", message))
        .ok()?;
    if settings.cost.is_some() && ctx.plans.allowances().next().is_none() {
        ctx.warning(report, node, "/cost", "there are no plans, so that nothing is counted")
            .help("say under `plans` what consumers may use");
    }
    let plans = Arc::clone(ctx.plans);
    let told = plans.allowances().map(|(name, allowance)| {
        let told =
            |limits: &Limits| Told::new(name, limits.rules()).only_if(allowance.excess.tells());
        allowance.limits.as_ref().map(told)
    });
    let told = told.collect();
    Some(Arc::new(Plan { plans, cost, clock: ctx.clock.clone(), told }))
}

/// What is remembered of one request until it is answered.
struct Note {
    taken: Option<Taken>,
    charge: Option<Charge>,
}

impl Policy for Plan {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, slot: Slot) -> Outcome<'a, Flow> {
        self.judge(exchange, slot)
    }

    /// Plans hold on every route; the innermost owner that speaks of them says what requests cost.
    fn at_route(&self, at: &Placement<'_>) -> Option<Arc<dyn Policy>> {
        (!at.is_last()).then(|| Arc::new(Joined) as _)
    }

    fn about(&self) -> Vec<String> {
        self.lines()
    }

    fn on_reply<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        reply: &'a mut Response,
        slot: Slot,
    ) -> Outcome<'a, ()> {
        let index = exchange.plan.as_ref().and_then(|plan| plan.index);
        let allowance = exchange.plan.as_ref().and_then(|plan| self.plans.allowance(plan));
        if let (Some(allowance), Some(note)) = (allowance, exchange.notes.peek::<Note>(slot)) {
            let told = index.and_then(|index| self.told.get(index)?.as_ref());
            if let (Some(limits), Some(told), Some(taken)) = (&allowance.limits, told, &note.taken)
            {
                told::answer(told, limits, taken, exchange, &mut reply.headers);
            }
            if let (Some(allotment), Some(charge)) = (&allowance.allotment, &note.charge) {
                allotment.answer(charge, exchange, &mut reply.headers);
            }
        }
        Outcome::Now(Ok(()))
    }
}

impl Plan {
    fn lines(&self) -> Vec<String> {
        self.plans.allowances().map(|(_, allowance)| allowance.about()).collect()
    }

    fn judge<'a>(&'a self, exchange: &'a mut Exchange, slot: Slot) -> Outcome<'a, Flow> {
        let Some(plan) = &exchange.plan else { return Outcome::Now(Ok(Flow::Continue)) };
        let Some(allowance) = self.plans.allowance(plan) else {
            let cause = format!("there is no plan `{}`", plan.name);
            let fault = Fault::new(Stage::Guard, FaultCode::PlanUnknown).cause(cause);
            return Outcome::Now(Err(fault));
        };
        let cost = self.cost.of(exchange);
        let whose = who(allowance, exchange);
        let judged = match &allowance.limits {
            None => (None, Ok(())),
            Some(Limits::Here(limiter)) => {
                let key = Some(limiter.key(&whose));
                let (taken, judged) = told::take(limiter, key, cost);
                (Some(taken), judged)
            }
            Some(Limits::Shared(shared)) => match shared.take(&whose, cost) {
                Judged::Now(ruling) => told::ruled(shared.rules(), ruling, cost),
                Judged::Later(key, answer) => {
                    return Outcome::Later(Box::pin(async move {
                        let answer = shared.wait(answer).await;
                        let whose = who(allowance, exchange);
                        let ruling = shared.waited((key, answer), &whose, cost);
                        let judged = told::ruled(shared.rules(), ruling, cost);
                        self.finish(allowance, judged, cost, exchange, slot)
                    }));
                }
            },
        };
        Outcome::Now(self.finish(allowance, judged, cost, exchange, slot))
    }

    /// Counts for the quotas what the limits let pass; what quotas refuse, the limits get back with the answer.
    fn finish(
        &self,
        allowance: &Allowance,
        (taken, judged): (Option<Taken>, Result<(), Fault>),
        cost: u64,
        exchange: &mut Exchange,
        slot: Slot,
    ) -> Result<Flow, Fault> {
        let mut note = Note { taken, charge: None };
        let judged = allowance.refusal.decide(judged, exchange);
        let judged = match (&allowance.allotment, judged) {
            (Some(allotment), Ok(())) => {
                let wall = self.clock.wall();
                let who = who(allowance, exchange);
                let holder = allotment.holder(&who);
                allotment.meet(holder, &who, wall);
                let charge = allotment.charge(holder, exchange, cost, wall);
                allotment.warn(&charge, exchange);
                let judged = allowance.refusal.decide(charge.judged(), exchange);
                note.charge = Some(charge);
                judged
            }
            (_, judged) => judged,
        };
        if note.taken.is_some() || note.charge.is_some() {
            exchange.notes.put(slot, note);
        }
        judged.map(|()| Flow::Continue)
    }
}

/// Whose share a request uses.
fn who<'a>(allowance: &Allowance, exchange: &'a Exchange) -> Who<'a> {
    let consumer = exchange.consumer.as_ref().map(|consumer| &*consumer.name);
    let application = exchange.credential.as_ref().and_then(|it| it.application.as_deref());
    allowance.who(consumer, application)
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::fixture::{self, World, lines};
    use crate::identity::Identity;
    use crate::plan::{ClaimSpec, Each, Excess, PlanSpec, Plans};
    use base::rates::Limits;
    use serde_json::json;
    use std::sync::Arc;
    use telemetry::Metrics;
    use traffic::Exchange;
    use traffic::directory::{Consumer, Credential, CredentialKind};
    use traffic::plan::Priority;

    fn world(each: Each) -> World {
        let mut world = World::default();
        let spec = |name: &str, limits: &str| PlanSpec {
            name: name.into(),
            priority: Priority::Normal,
            limits: Limits::parse(limits).map(|limits| limits.0).unwrap_or_default(),
            quotas: Vec::new(),
            excess: Excess::default(),
            store: None,
            each,
            claim: None,
            is_default: name == "free",
        };
        let specs = [spec("free", "2/min"), spec("gold", "3/s, 5/h"), spec("open", "")];
        world.plans = Arc::new(
            Plans::new(&specs, &world.state, world.clock(), &Metrics::new(1, &[])).unwrap(),
        );
        world
    }

    fn calling(world: &World, plan: Option<&str>, application: Option<&str>) -> Exchange {
        let mut exchange = fixture::exchange("GET /");
        exchange.arrived = world.clock().now();
        let plan = plan.map(Into::into);
        let consumer = Arc::new(Consumer { name: "alice".into(), plan, ..Consumer::default() });
        let credential = Credential {
            application: application.map(Into::into),
            ..Credential::new(CredentialKind::ApiKey, Arc::clone(&consumer))
        };
        exchange.plan =
            world.plans.names().of(Some(&consumer), Some(&credential), &std::iter::empty());
        (exchange.consumer, exchange.credential) = (Some(consumer), Some(Arc::new(credential)));
        exchange
    }

    fn passing(world: &World, plan: Option<&str>, application: Option<&str>) -> usize {
        let policy = world.build(&KIND, &json!({})).unwrap();
        let one = |_: &u32| policy.request(&mut calling(world, plan, application)) == "continue";
        (0..9).filter(one).count()
    }

    #[test]
    fn each_plan_allows_what_it_says() {
        let world = world(Each::Application);
        assert_eq!(passing(&world, None, None), 2, "the default plan");
        assert_eq!(passing(&world, Some("gold"), None), 3);
        world.clock().advance(std::time::Duration::from_secs(1));
        assert_eq!(passing(&world, Some("gold"), None), 2, "five an hour");
        assert_eq!(passing(&world, Some("open"), None), 9);
        let policy = world.build(&KIND, &json!({})).unwrap();
        let fault = policy.fault(&mut calling(&world, Some("gone"), None));
        assert_eq!(fault.code.name(), "plan_unknown");
    }

    #[test]
    fn a_route_says_what_its_requests_cost() {
        let world = world(Each::Application);
        let policy = world.build(&KIND, &json!({ "cost": "size(request.path)" })).unwrap();
        for outcome in ["continue", "continue", "rate_limited"] {
            assert_eq!(policy.request(&mut calling(&world, Some("free"), None)), outcome);
        }
        let dear = world.build(&KIND, &json!({ "cost": 2 })).unwrap();
        assert_eq!(dear.request(&mut calling(&world, Some("gold"), None)), "continue");
        assert_eq!(dear.request(&mut calling(&world, Some("gold"), None)), "rate_limited");
        fixture::refuses(&KIND, &json!({ "cost": "claims" }), "a cost is a number");
        let never = world.build(&KIND, &json!({ "cost": 3 })).err().unwrap();
        assert!(never.contains("nothing that costs 3 would ever pass 2/min"), "{never}");
    }

    #[test]
    fn applications_have_a_share_each_unless_consumers_have() {
        let each = world(Each::Application);
        assert_eq!(passing(&each, Some("free"), Some("web")), 2);
        assert_eq!(passing(&each, Some("free"), Some("phone")), 2);
        let together = world(Each::Consumer);
        assert_eq!(passing(&together, Some("free"), Some("web")), 2);
        assert_eq!(passing(&together, Some("free"), Some("phone")), 0);
    }

    #[test]
    fn a_plan_can_be_tried_dry_and_can_count_what_it_refuses() {
        let mut world = World::default();
        let mut spec = PlanSpec {
            name: "trial".into(),
            priority: Priority::Normal,
            limits: Limits::parse("2/min").unwrap().0,
            quotas: base::quotas::Quotas::parse("4/day").unwrap().0,
            store: None,
            excess: Excess { dry_run: true, ..Excess::default() },
            each: Each::Application,
            claim: None,
            is_default: true,
        };
        let metrics = Metrics::new(1, &[]);
        let plans = |spec: &PlanSpec, world: &World| {
            let specs = std::slice::from_ref(spec);
            Arc::new(Plans::new(specs, &world.state, world.clock(), &metrics).unwrap())
        };
        world.plans = plans(&spec, &world);
        assert_eq!(passing(&world, None, None), 9);
        let page = metrics.encode();
        // The limit would have refused seven of nine, and the quota five of those nine that all the same got there.
        assert!(
            page.contains("yett_limit_would_refuse_total{limit=\"plan:trial\"} 12\n"),
            "{page}"
        );
        assert!(world.plans.allowances().next().unwrap().1.about().contains("; dry run: "));
        let policy = world.build(&KIND, &json!({})).unwrap();
        let mut exchange = calling(&world, None, None);
        assert_eq!(policy.request(&mut exchange), "continue");
        assert!(policy.reply(&mut exchange, &[]).headers.is_empty());
        spec.excess = Excess { count_refused: true, ..Excess::default() };
        world.plans = plans(&spec, &world);
        world.clock().advance(std::time::Duration::from_secs(86_400));
        assert_eq!(passing(&world, None, None), 2);
        world.clock().advance(std::time::Duration::from_secs(29));
        assert_eq!(passing(&world, None, None), 0);
        world.clock().advance(std::time::Duration::from_secs(29));
        assert_eq!(passing(&world, None, None), 0, "without refused ones one would pass");
    }

    #[test]
    fn users_whom_only_an_issuer_knows_have_the_plan_that_a_claim_gives() {
        let mut world = World::default();
        let spec = |name: &str, limits: &str, value: Option<&str>| PlanSpec {
            name: name.into(),
            priority: Priority::Normal,
            limits: Limits::parse(limits).unwrap().0,
            quotas: Vec::new(),
            excess: Excess::default(),
            each: Each::Consumer,
            claim: value.map(|value| ClaimSpec {
                claim: "app.tier".to_owned(),
                values: vec![value.to_owned()],
                issuer: Some("https://idp.example".to_owned()),
            }),
            store: None,
            is_default: value.is_none(),
        };
        let specs = [spec("free", "1/h", None), spec("gold", "4/h", Some("gold"))];
        let metrics = Metrics::new(1, &[]);
        world.plans = Arc::new(Plans::new(&specs, &world.state, world.clock(), &metrics).unwrap());
        let policy = world.build(&KIND, &json!({})).unwrap();
        let passing = |issuer: &str, user: &str, tier: &str| {
            let said = json!({ "iss": issuer, "app": { "tier": tier } });
            let claims: traffic::exchange::KeptClaims = said.as_object().unwrap().into();
            let claims = Some(Arc::new(claims));
            let consumer = Consumer { name: user.into(), is_known: false, ..Consumer::default() };
            let consumer = Arc::new(consumer);
            let one = |_: &u32| {
                let mut exchange = fixture::exchange("GET /");
                exchange.arrived = world.clock().now();
                let (consumer, claims) = (Some(Arc::clone(&consumer)), claims.clone());
                let identity = Identity { consumer, claims, ..Identity::default() };
                identity.settle(&mut exchange, fixture::SLOT, &world.plans.names()).unwrap();
                policy.request(&mut exchange) == "continue"
            };
            (0..9).filter(one).count()
        };
        assert_eq!(passing("https://idp.example", "idp/ann", "gold"), 4);
        assert_eq!(passing("https://idp.example", "idp/ben", "silver"), 1);
        assert_eq!(passing("https://other.example", "other/cid", "gold"), 1, "not theirs to give");
    }

    #[test]
    fn answers_tell_the_limits_of_the_plan() {
        let world = world(Each::Application);
        let policy = world.build(&KIND, &json!({})).unwrap();
        let mut exchange = calling(&world, Some("gold"), None);
        assert_eq!(policy.request(&mut exchange), "continue");
        let told = lines(&policy.reply(&mut exchange, &[]).headers);
        assert_eq!(
            told,
            [
                "ratelimit-policy: \"gold-1s\";q=3;w=1, \"gold-1h\";q=5;w=3600",
                "ratelimit: \"gold-1s\";r=2;t=1"
            ]
        );
    }

    #[test]
    fn what_another_limit_refuses_is_given_back() {
        let world = world(Each::Application);
        let policy = world.build(&KIND, &json!({})).unwrap();
        for _ in 0..9 {
            let mut exchange = calling(&world, Some("free"), None);
            assert_eq!(policy.request(&mut exchange), "continue");
            exchange.record.fault = Some(traffic::FaultCode::RateLimited);
            policy.reply(&mut exchange, &[]);
        }
    }
}
