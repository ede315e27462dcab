use super::*;

const PERIOD: Duration = Duration::from_secs(30);

/// A schedule on a clock of its own; work takes 10 ms.
struct Play {
    schedule: Schedule,
    start: Instant,
    now: Instant,
    /// The work that was begun, with the times in milliseconds.
    log: Vec<(u64, Kind)>,
}

impl Play {
    fn new() -> Self {
        let now = Instant::now();
        let mut schedule = Schedule::new(PERIOD, now);
        schedule.renew(Kind::Everything, now);
        Self { schedule, start: now, now, log: Vec::new() }
    }

    /// Runs until the clock is at `end` milliseconds; each work ends as `judge` says, which may wish for more
    /// meanwhile.
    fn until(&mut self, end: u64, mut judge: impl FnMut(&mut Schedule, Kind, Instant) -> JobOutcome) {
        let end = self.start + Duration::from_millis(end);
        while self.schedule.due().is_some_and(|due| due <= end) {
            self.now = self.now.max(self.schedule.due().unwrap());
            let kind = self.schedule.begin(self.now).unwrap();
            self.log.push(((self.now - self.start).as_millis().try_into().unwrap(), kind));
            self.now += Duration::from_millis(10);
            let outcome = judge(&mut self.schedule, kind, self.now);
            self.schedule.end(outcome, self.now);
        }
        self.now = end;
    }

    /// The times at which work of that kind was begun, in milliseconds.
    fn times(&self, kind: Kind) -> Vec<u64> {
        self.log.iter().filter(|(_, begun)| *begun == kind).map(|(at, _)| *at).collect()
    }

    fn wish(&mut self, kind: Kind) {
        self.schedule.wish(kind, self.now);
    }
}

const fn done(_: &mut Schedule, _: Kind, _: Instant) -> JobOutcome {
    JobOutcome::Done
}

/// Judges work of one kind to end so, all other to be done.
fn only(kind: Kind, outcome: JobOutcome) -> impl FnMut(&mut Schedule, Kind, Instant) -> JobOutcome {
    move |_, begun, _| if begun == kind { outcome } else { JobOutcome::Done }
}

#[test]
fn in_quiet_there_is_a_pass_each_period_and_a_look_each_half_second() {
    let mut play = Play::new();
    play.until(60_000, done);
    assert_eq!(play.times(Kind::Everything), [0, 30_010]);
    assert_eq!(play.times(Kind::Programs).len(), 117);
    assert!(play.times(Kind::Routes).is_empty());
}

#[test]
fn a_stream_of_changes_cannot_put_a_pass_off_and_is_gathered() {
    let mut play = Play::new();
    play.until(1_000, done);
    for at in (1_000..3_000).step_by(10) {
        play.until(at, done);
        play.wish(Kind::Routes);
    }
    let times = play.times(Kind::Routes);
    assert_eq!(times[0], 1_100, "as long after the first change");
    assert!((10..=20).contains(&times.len()), "{times:?}");
}

#[test]
fn each_failure_in_a_row_waits_twice_as_long_up_to_the_period() {
    for outcome in [JobOutcome::Partly, JobOutcome::Failed] {
        let mut play = Play::new();
        play.until(100_000, only(Kind::Everything, outcome));
        assert_eq!(play.times(Kind::Everything), [0, 1_010, 3_020, 7_030, 15_040, 31_050, 61_060, 91_070]);
    }
}

#[test]
fn a_small_wish_does_not_pull_a_large_pass_out_of_its_pause() {
    for outcome in [JobOutcome::Partly, JobOutcome::Failed] {
        let mut play = Play::new();
        for at in (1..60_000).step_by(50) {
            play.until(at, only(Kind::Everything, outcome));
            play.wish(Kind::Routes);
        }
        assert_eq!(play.times(Kind::Everything).len(), 6, "{:?}", play.times(Kind::Everything));
        assert!(play.times(Kind::Routes).len() > 200, "the others go on");
    }
}

#[test]
fn work_that_fails_does_not_wake_itself() {
    for outcome in [JobOutcome::Partly, JobOutcome::Failed] {
        let mut play = Play::new();
        play.wish(Kind::Routes);
        play.until(60_000, |schedule, kind, now| {
            if kind == Kind::Programs {
                return JobOutcome::Done;
            }
            // All of its changes are announced, also as changes of another kind.
            schedule.wish(Kind::Routes, now);
            schedule.wish(Kind::Firewall, now);
            outcome
        });
        let passes = play.log.iter().filter(|(_, kind)| *kind != Kind::Programs).count();
        assert!(passes <= 24, "{passes} passes in a minute: {:?}", play.log);
    }
}

#[test]
fn an_event_waits_for_the_pause_of_work_that_breaks_off_and_not_for_that_of_single_refusals() {
    let mut play = Play::new();
    play.until(1_000, done);
    play.wish(Kind::Routes);
    play.until(20_000, only(Kind::Routes, JobOutcome::Failed));
    play.wish(Kind::Routes);
    play.until(30_000, only(Kind::Routes, JobOutcome::Failed));
    assert_eq!(play.times(Kind::Routes), [1_100, 2_110, 4_120, 8_130, 16_140]);
    let mut play = Play::new();
    play.until(1_000, done);
    play.wish(Kind::Routes);
    play.until(20_000, only(Kind::Routes, JobOutcome::Partly));
    play.wish(Kind::Routes);
    play.until(20_500, only(Kind::Routes, JobOutcome::Partly));
    assert_eq!(play.times(Kind::Routes).last(), Some(&20_100), "what else changed is put right at once");
}

#[test]
fn the_pause_is_short_again_after_any_pass_that_succeeds() {
    let mut play = Play::new();
    play.until(1_000, done);
    play.wish(Kind::Routes);
    play.until(29_000, only(Kind::Routes, JobOutcome::Failed));
    play.until(40_000, done);
    assert!(play.times(Kind::Everything).contains(&30_010), "the periodic pass: {:?}", play.log);
    play.wish(Kind::Routes);
    let before = play.times(Kind::Routes).len();
    play.until(41_500, only(Kind::Routes, JobOutcome::Failed));
    assert_eq!(play.times(Kind::Routes)[before..], [40_100, 41_110]);
}

#[test]
fn a_new_cluster_is_tried_at_once_however_the_one_before_failed() {
    let mut play = Play::new();
    play.until(1_000, done);
    play.schedule.renew(Kind::Cluster, play.now);
    play.until(25_000, only(Kind::Cluster, JobOutcome::Failed));
    play.schedule.renew(Kind::Cluster, play.now);
    play.until(25_500, done);
    assert_eq!(play.times(Kind::Cluster).last(), Some(&25_000));
}

#[test]
fn work_that_is_too_small_asks_for_a_pass_over_everything_in_its_own_pause() {
    let mut play = Play::new();
    play.until(1_000, done);
    play.wish(Kind::Routes);
    play.until(2_000, only(Kind::Routes, JobOutcome::TooSmall));
    assert_eq!(play.times(Kind::Everything), [0, 1_110]);
    let mut play = Play::new();
    for at in (1..60_000).step_by(50) {
        let judge = |_: &mut Schedule, kind: Kind, _: Instant| match kind {
            Kind::Everything => JobOutcome::Failed,
            Kind::Routes => JobOutcome::TooSmall,
            _ => JobOutcome::Done,
        };
        play.until(at, judge);
        play.wish(Kind::Routes);
    }
    assert_eq!(play.times(Kind::Everything).len(), 6);
}

#[test]
fn a_wish_that_a_larger_pass_covers_comes_back_when_that_pass_breaks_off() {
    let mut play = Play::new();
    play.wish(Kind::Routes);
    play.now += SETTLE;
    play.until(200, only(Kind::Everything, JobOutcome::Failed));
    assert_eq!(play.log.iter().map(|(_, kind)| *kind).collect::<Vec<_>>(), [Kind::Everything, Kind::Routes]);
}

#[test]
fn no_wish_is_lost_whenever_it_comes_and_however_work_ends() {
    let mut random = 1_u64;
    let mut next = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    let (start, outcomes) =
        (Instant::now(), [JobOutcome::Done, JobOutcome::Partly, JobOutcome::Failed, JobOutcome::TooSmall]);
    let mut schedule = Schedule::new(PERIOD, start);
    // The latest wish of each kind that nothing fulfilled yet.
    let (mut open, mut now): (std::collections::BTreeMap<Kind, Instant>, _) = (Default::default(), start);
    for _ in 0..20_000 {
        now += Duration::from_millis(next(400));
        if next(3) == 0 {
            let kind = KINDS[next(5) as usize];
            schedule.wish(kind, now);
            open.insert(kind, now);
        }
        let Some(kind) = schedule.begin(now) else { continue };
        let begun = now;
        now += Duration::from_millis(next(50));
        if next(2) == 0 {
            schedule.wish(Kind::Routes, now);
            open.insert(Kind::Routes, now);
        }
        let outcome = outcomes[next(if kind == Kind::Everything { 3 } else { 4 }) as usize];
        schedule.end(outcome, now);
        if matches!(outcome, JobOutcome::Done | JobOutcome::Partly) {
            open.retain(|wished, at| !(*at <= begun && (*wished == kind || kind.covered().contains(wished))));
        }
        for (kind, at) in &open {
            assert!(now - *at < 10 * PERIOD, "{kind:?} waits");
        }
    }
}

#[test]
fn what_is_removed_of_ours_does_not_wait_for_the_rest_after_a_long_pass() {
    let (start, second) = (Instant::now(), Duration::from_secs(1));
    let mut schedule = Schedule::new(PERIOD, start);
    schedule.renew(Kind::Everything, start);
    assert_eq!(schedule.begin(start), Some(Kind::Everything));
    schedule.end(JobOutcome::Done, start + 3 * second);
    schedule.wish(Kind::Routes, start + 3 * second);
    assert_eq!(schedule.due(), Some(start + LOOK), "programs were due meanwhile");
    assert_eq!(schedule.begin(start + 3 * second), Some(Kind::Programs));
    schedule.end(JobOutcome::Done, start + 3 * second);
    assert_eq!(schedule.begin(start + 3 * second + SETTLE), Some(Kind::Routes));
    schedule.end(JobOutcome::Done, start + 5 * second);
    schedule.wish(Kind::Routes, start + 5 * second);
    assert!(schedule.tasks[Kind::Routes as usize].due <= Some(start + 6 * second));
}
