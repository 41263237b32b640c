use super::*;

/// A name, answers at seconds after the start, and how the lease stands after the last of them.
type Case<'a> = (&'a str, &'a [(u64, Option<Reason>)], &'a str);

#[test]
fn the_table_of_the_module() {
    use Reason::*;
    let no = Revoked(Revocation::Disabled);
    let cases: &[Case<'_>] = &[
        ("yes", &[(60, None)], "ready"),
        ("one no", &[(60, Some(no))], "ready"),
        ("two noes", &[(60, Some(no)), (62, Some(no))], "revoked"),
        (
            "a no taken back",
            &[(60, Some(no)), (62, None), (122, Some(no))],
            "ready",
        ),
        (
            "a no, then silence",
            &[(60, Some(no)), (62, Some(Unreachable))],
            "degraded",
        ),
        (
            "silence does not take a no back",
            &[(60, Some(no)), (62, Some(Unreachable)), (64, Some(no))],
            "revoked",
        ),
        (
            "deadline after the first no",
            &[
                (60, Some(no)),
                (62, Some(Unreachable)),
                (120, Some(Unreachable)),
            ],
            "revoked",
        ),
        ("silence", &[(60, Some(Unreachable))], "degraded"),
        (
            "silence for less than the grace",
            &[(60, Some(Unreachable)), (659, Some(Unreachable))],
            "degraded",
        ),
        (
            "silence for the grace",
            &[(60, Some(Unreachable)), (660, Some(Unreachable))],
            "unreachable",
        ),
        (
            "throttled is silence",
            &[(60, Some(Throttled)), (660, Some(Throttled))],
            "throttled",
        ),
        (
            "an outage that ends",
            &[
                (60, Some(Unreachable)),
                (300, None),
                (700, Some(Unreachable)),
            ],
            "degraded",
        ),
        ("bad login once", &[(60, Some(AuthBroken))], "degraded"),
        (
            "bad login twice",
            &[(60, Some(AuthBroken)), (70, Some(AuthBroken))],
            "degraded",
        ),
        (
            "bad login, confirmed",
            &[
                (60, Some(AuthBroken)),
                (70, Some(AuthBroken)),
                (80, Some(AuthBroken)),
                (90, Some(AuthBroken)),
            ],
            "revoked",
        ),
        (
            "policy",
            &[(60, Some(PolicyMismatch)), (62, Some(PolicyMismatch))],
            "policy",
        ),
        (
            "corrupt",
            &[(60, Some(Corrupt)), (62, Some(Corrupt))],
            "corrupt",
        ),
        (
            "back from a no",
            &[(60, Some(no)), (62, Some(no)), (120, None)],
            "ready",
        ),
        (
            "silence after a no",
            &[(60, Some(no)), (62, Some(no)), (120, Some(Unreachable))],
            "revoked",
        ),
        (
            "an outage becomes a no",
            &[
                (0, Some(Unreachable)),
                (600, Some(Unreachable)),
                (660, Some(no)),
            ],
            "revoked",
        ),
    ];
    for (name, answers, expected) in cases {
        let mut machine = Machine::new(LeasePolicy::default(), Duration::ZERO, 0.0);
        for &(second, reason) in *answers {
            let answer = reason.map_or(Ok(()), |reason| Err(refusal(reason)));
            machine.answered(seconds(second), answer, 0.0);
        }
        assert_eq!(word(machine.standing()), *expected, "{name}");
    }
}

#[test]
fn time_alone_ends_a_doubt_and_an_outage() {
    let mut machine = Machine::new(LeasePolicy::default(), Duration::ZERO, 0.0);
    machine.answered(
        seconds(60),
        Err(refusal(Reason::Revoked(Revocation::Deleted))),
        0.0,
    );
    assert_eq!(machine.passed(seconds(119)), None);
    assert!(machine.passed(seconds(120)).is_some());
    assert_eq!(word(machine.standing()), "revoked");

    let mut machine = Machine::new(LeasePolicy::default(), Duration::ZERO, 0.0);
    machine.answered(seconds(60), Err(refusal(Reason::Unreachable)), 0.0);
    assert_eq!(machine.passed(seconds(659)), None);
    assert!(machine.passed(seconds(660)).is_some());
    assert_eq!(word(machine.standing()), "unreachable");
}

#[test]
fn a_grace_of_nothing_fences_at_the_first_silence() {
    let policy = LeasePolicy {
        outage_grace: Duration::ZERO,
        ..LeasePolicy::default()
    };
    let mut machine = Machine::new(policy, Duration::ZERO, 0.0);
    machine.answered(seconds(60), Err(refusal(Reason::Unreachable)), 0.0);
    assert_eq!(word(machine.standing()), "unreachable");
}

#[test]
fn every_wait_is_within_its_promise() {
    for jitter in [0.0, 0.5, 1.0] {
        let policy = LeasePolicy::default();
        let mut machine = Machine::new(policy.clone(), Duration::ZERO, jitter);
        let wait = |machine: &Machine, now| machine.next_probe() - seconds(now);
        assert!(wait(&machine, 0) <= policy.probe_interval);
        assert!(wait(&machine, 0) >= policy.probe_interval.mul_f64(0.9));
        machine.answered(
            seconds(60),
            Err(refusal(Reason::Revoked(Revocation::Disabled))),
            jitter,
        );
        assert!(wait(&machine, 60) <= seconds(2));
        machine.answered(
            seconds(62),
            Err(refusal(Reason::Revoked(Revocation::Disabled))),
            jitter,
        );
        assert!(wait(&machine, 62) <= seconds(60));
        assert!(!machine.is_overdue(seconds(62 + 60)));
        assert!(machine.is_overdue(seconds(62 + 91)));
    }
}

#[test]
fn changes_are_told_once_and_outages_keep_their_beginning() {
    let mut machine = Machine::new(LeasePolicy::default(), Duration::ZERO, 0.0);
    let silent = || Err(refusal(Reason::Unreachable));
    assert!(machine.answered(seconds(60), silent(), 0.0).is_some());
    assert!(machine.answered(seconds(70), silent(), 0.0).is_none());
    let change = machine.answered(seconds(660), silent(), 0.0).unwrap();
    assert_eq!(change.at, seconds(660));
    let no = refusal(Reason::Revoked(Revocation::Disabled));
    let change = machine.answered(seconds(720), Err(no), 0.0).unwrap();
    let Standing::Inaccessible { since, .. } = change.to else {
        panic!("still inaccessible")
    };
    assert_eq!(since, seconds(660));
    assert!(machine.answered(seconds(780), Ok(()), 0.0).is_some());
    assert!(machine.answered(seconds(840), Ok(()), 0.0).is_none());
}

fn word(standing: &Standing) -> &'static str {
    match standing {
        Standing::Ready => "ready",
        Standing::Degraded { .. } => "degraded",
        Standing::Inaccessible { refusal, .. } => match refusal.reason {
            Reason::Revoked(_) => "revoked",
            Reason::Unreachable => "unreachable",
            Reason::Throttled => "throttled",
            Reason::PolicyMismatch => "policy",
            Reason::Corrupt => "corrupt",
            Reason::AuthBroken => "login",
        },
    }
}

fn refusal(reason: Reason) -> Refusal {
    Refusal {
        reason,
        key: "file:/customer.key".parse().unwrap(),
        version: None,
        detail: "test".to_owned(),
        retry_after: None,
    }
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
