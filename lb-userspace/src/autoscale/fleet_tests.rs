use super::*;

/// `web-1* healthy 3`: name, `*` for an own one, standing, flows.
fn replica(text: &str) -> Replica {
    let words: Vec<&str> = text.split(' ').collect();
    let name = words[0].trim_end_matches('*');
    let standing = match words[1] {
        "healthy" => Standing::Healthy,
        "starting" => Standing::Starting,
        "leaving" => Standing::Leaving,
        other => Standing::Ended(other.to_owned()),
    };
    let flows = words.get(2).map_or(0, |flows| flows.parse().unwrap());
    let own = words[0].ends_with('*');
    Replica { id: name.to_owned(), name: name.to_owned(), own, standing, flows }
}

fn all(texts: &[&str]) -> Vec<Replica> {
    texts.iter().map(|text| replica(text)).collect()
}

fn rules(desired: u32) -> Rules {
    Rules {
        desired,
        patience: Duration::from_secs(30),
        drain: Duration::from_mins(1),
        frozen: false,
    }
}

fn told(steps: &[Step]) -> Vec<String> {
    let tell = |step: &Step| match step {
        Step::Create => "create".to_owned(),
        Step::Drain(id) => format!("drain {id}"),
        Step::Undrain(id) => format!("undrain {id}"),
        Step::Remove(id, why) => format!("remove {id}: {why}"),
    };
    steps.iter().map(tell).collect()
}

#[test]
fn a_number_is_made_true() {
    #[rustfmt::skip]
    let rows: [(&str, u32, &[&str], &[&str]); 15] = [
        ("all is well",       2, &["a healthy", "b* healthy"],                       &[]),
        ("one is missing",    2, &["a healthy"],                                     &["create"]),
        ("four at a time",    9, &["a healthy"],                                     &["create"; 4]),
        ("none is there",     1, &[],                                                &["create"]),
        ("starting counts",   2, &["a healthy", "b* starting"],                      &[]),
        ("leaving does not",  2, &["a healthy", "b leaving"],                        &["create"]),
        ("one too many",      1, &["a healthy", "b* healthy"],                       &["drain b"]),
        ("the last first",    1, &["a healthy", "b* healthy", "c* healthy"],         &["drain c", "drain b"]),
        ("the mute first",    2, &["a healthy", "b* starting", "c* healthy"],        &["drain b"]),
        ("foreign stay",      1, &["a healthy", "b healthy", "c healthy"],           &[]),
        ("own ones alone go", 1, &["a healthy", "b* healthy", "c healthy"],          &["drain b"]),
        ("health is rare",    2, &["a starting", "b* healthy", "c* healthy"],        &[]),
        ("mute, and rare",    1, &["a* starting", "b* healthy", "c* starting"],      &["drain c", "drain a"]),
        ("a crash",           2, &["a healthy", "b* exited"],                        &["remove b: it ended by itself: exited"]),
        ("a foreign crash",   2, &["a healthy", "b exited"],                         &["create"]),
    ];
    for (name, desired, replicas, expected) in rows {
        let steps = Fleet::default().plan(Instant::now(), &rules(desired), &all(replicas));
        assert_eq!(told(&steps), expected, "{name}");
    }
}

#[test]
fn who_is_undrained_by_hand_stays_and_another_one_goes() {
    let mut time = Time::new();
    let three = ["a healthy", "b* healthy", "c* healthy"];
    assert_eq!(time.after(0, 2, &three), ["drain c"]);
    time.0.keep("c");
    assert!(!time.0.drains("c"));
    assert_eq!(time.after(1, 2, &three), ["drain b"]);
    time.0.keep("b");
    // Nobody else may go.
    assert_eq!(time.after(2, 1, &three), [""; 0]);
    assert_eq!(time.after(3, 2, &["a healthy", "b* healthy", "c* leaving"]), [""; 0]);
    // Drained and undrained by hand, it is one like the others.
    assert_eq!(time.after(4, 2, &three), ["drain c"]);
    time.0.keep("nobody");
    assert_eq!(time.after(5, 1, &["a healthy", "b* healthy"]), [""; 0]);
}

#[test]
fn who_cannot_be_judged_is_not_drained() {
    let frozen = |desired| Rules { frozen: true, ..rules(desired) };
    for (desired, replicas, expected) in [
        (1, &["a healthy", "b* healthy", "c* starting"][..], &[][..]),
        (3, &["a healthy", "b* healthy"], &["create"]),
        (1, &["a healthy", "b* exited"], &["remove b: it ended by itself: exited"]),
    ] {
        let steps = Fleet::default().plan(Instant::now(), &frozen(desired), &all(replicas));
        assert_eq!(told(&steps), expected, "{desired} {replicas:?}");
    }
}

/// A fleet and its clock.
struct Time(Fleet, Instant);

impl Time {
    fn new() -> Self {
        Self(Fleet::default(), Instant::now())
    }

    fn after(&mut self, seconds: u64, desired: u32, replicas: &[&str]) -> Vec<String> {
        self.1 += Duration::from_secs(seconds);
        told(&self.0.plan(self.1, &rules(desired), &all(replicas)))
    }

    fn created(&mut self, result: Result<&str, &str>) {
        let result = result.map(str::to_owned).map_err(str::to_owned);
        self.0.created(self.1, result);
    }

    fn trouble(&self) -> String {
        self.0.trouble(self.1).unwrap_or_default()
    }
}

#[test]
fn what_is_being_made_is_not_made_twice() {
    let mut time = Time::new();
    assert_eq!(time.after(0, 3, &["a healthy"]), ["create", "create"]);
    assert_eq!(time.after(1, 3, &["a healthy"]), [""; 0]);
    time.created(Ok("b"));
    assert_eq!(time.after(1, 3, &["a healthy"]), [""; 0], "made, and not seen yet");
    assert_eq!(time.after(1, 3, &["a healthy", "b* starting"]), [""; 0]);
    time.created(Ok("c"));
    assert_eq!(time.after(9, 3, &["a healthy", "b* healthy"]), [""; 0]);
    assert_eq!(time.after(1, 3, &["a healthy", "b* healthy"]), ["create"], "never seen");
    assert_eq!(time.0.counts, Counts { created: 2, removed: 0, failed: 0 });
}

#[test]
fn what_goes_keeps_its_flows_for_a_while() {
    let two = |flows: u32| ["a healthy".to_owned(), format!("b* healthy {flows}")];
    let mut time = Time::new();
    let mut look = |seconds, flows| {
        let two = two(flows);
        time.after(seconds, 1, &[&two[0], &two[1]])
    };
    assert_eq!(look(0, 3), ["drain b"]);
    assert_eq!(look(1, 0), [""; 0], "a handshake may be under way");
    assert_eq!(look(1, 1), [""; 0]);
    assert_eq!(look(1, 0), ["remove b: not needed, and its last flow has ended"]);
    assert_eq!(look(1, 0), [""; 0], "it is under way");
    let now = time.1;
    time.0.removed(now, "b", Ok(()));
    assert_eq!(time.after(1, 1, &["a healthy"]), [""; 0]);
    assert_eq!(time.0.counts, Counts { created: 0, removed: 1, failed: 0 });

    let mut time = Time::new();
    time.after(0, 1, &["a healthy", "b* healthy 7"]);
    assert_eq!(time.after(59, 1, &["a healthy", "b* healthy 7"]), [""; 0]);
    let over = ["remove b: not needed, and the time for its 7 flows is over"];
    assert_eq!(time.after(1, 1, &["a healthy", "b* healthy 7"]), over);
}

#[test]
fn who_is_needed_again_comes_back() {
    let mut time = Time::new();
    let replicas = ["a healthy", "b* healthy 1", "c* healthy 1"];
    assert_eq!(time.after(0, 1, &replicas), ["drain c", "drain b"]);
    assert!(time.0.drains("b") && !time.0.drains("a"));
    assert_eq!(time.after(5, 2, &replicas), ["undrain b"]);
    assert_eq!(time.after(5, 4, &replicas), ["undrain c", "create"]);
    assert!(!time.0.drains("b") && !time.0.drains("c"));
}

#[test]
fn who_is_on_the_way_out_may_be_let_stay() {
    let mut time = Time::new();
    let replicas = ["a healthy", "b* healthy 1", "c* healthy"];
    assert_eq!(time.after(0, 1, &replicas), ["drain c", "drain b"]);
    assert_eq!(time.after(2, 1, &replicas).len(), 1);
    assert_eq!(time.0.release(), ["b"], "the other one is being taken away");
    assert_eq!(time.0.release(), [""; 0]);
}

#[test]
fn a_crash_loop_slows_down() {
    let mut time = Time::new();
    let mut pauses = Vec::new();
    for round in 0..8 {
        assert_eq!(time.after(0, 2, &["a healthy"]), ["create"], "{round}");
        time.created(Ok("b"));
        let gone = ["remove b: it ended by itself: exited"];
        assert_eq!(time.after(1, 2, &["a healthy", "b* exited"]), gone);
        let now = time.1;
        time.0.removed(now, "b", Ok(()));
        let left = time.0.pause_left(time.1);
        pauses.push(left.as_secs());
        assert_eq!(time.after(left.as_secs() - 1, 2, &["a healthy"]), [""; 0]);
        time.1 += Duration::from_secs(1);
    }
    assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300, 300]);
    assert!(time.trouble().starts_with("b: it ended by itself: exited"), "{}", time.trouble());
}

#[test]
fn what_cannot_be_made_is_told_and_tried_again() {
    let mut time = Time::new();
    assert_eq!(time.after(0, 4, &["a healthy"]).len(), 3);
    for _ in 0..3 {
        time.created(Err("no space left"));
    }
    assert_eq!(time.after(5, 4, &["a healthy"]), [""; 0]);
    assert_eq!(time.trouble(), "no space left; tried again in 5 s");
    assert_eq!(time.after(4, 4, &["a healthy"]), [""; 0]);
    assert_eq!(time.after(1, 4, &["a healthy"]), ["create"], "one, until it works");
    time.created(Ok("b"));
    assert_eq!(time.after(1, 4, &["a healthy"]), [""; 0]);
    assert_eq!(time.after(1, 4, &["a healthy", "b* starting"]), [""; 0]);
    assert_eq!(time.trouble(), "no space left");
    assert_eq!(time.after(1, 4, &["a healthy", "b* healthy"]), ["create"; 2]);
    assert_eq!(time.trouble(), "");
    assert_eq!(time.0.counts.failed, 3);
}

#[test]
fn who_never_answers_is_given_up_and_who_once_did_is_not() {
    let mut time = Time::new();
    assert_eq!(time.after(0, 2, &["a starting", "b* starting"]), [""; 0]);
    assert_eq!(time.after(29, 2, &["a starting", "b* starting"]), [""; 0]);
    let mute = ["remove b: it has not answered for 30 s"];
    assert_eq!(time.after(1, 2, &["a starting", "b* starting"]), mute, "the foreign one stays");
    let mut time = Time::new();
    time.after(0, 2, &["a healthy", "b* healthy"]);
    assert_eq!(time.after(500, 2, &["a healthy", "b* starting"]), [""; 0]);
    assert_eq!(time.after(500, 2, &["a healthy", "b* starting"]), [""; 0]);
}

#[test]
fn what_ends_on_its_way_out_is_no_failure() {
    let mut time = Time::new();
    assert_eq!(time.after(0, 1, &["a healthy", "b* healthy 1"]), ["drain b"]);
    let gone = time.after(1, 1, &["a healthy", "b* exited"]);
    assert_eq!(gone, ["remove b: it ended by itself: exited"]);
    assert_eq!((time.trouble(), time.0.counts.failed), (String::new(), 0));
}

#[test]
fn what_cannot_be_taken_away_is_tried_again() {
    let mut time = Time::new();
    time.after(0, 1, &["a healthy", "b* healthy"]);
    assert_eq!(time.after(2, 1, &["a healthy", "b* healthy"]).len(), 1);
    let now = time.1;
    time.0.removed(now, "b", Err("it is in use".to_owned()));
    assert_eq!(time.trouble(), "it is in use; tried again in 10 s");
    assert_eq!(time.after(10, 1, &["a healthy", "b* healthy"]).len(), 1);
}
