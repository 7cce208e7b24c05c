use proptest::prelude::*;

use super::*;

const EXTERNAL: Subscription = Subscription { is_external: true, invoke: true, shutdown: true };
const INTERNAL: Subscription = Subscription { is_external: false, invoke: false, shutdown: true };
const RUNTIME: Event = Event::Waiting(Party::Runtime);
const CRASH: Event = Event::Exited(Party::Runtime, Exit::Status(1));

fn begin() -> Event {
    Event::Begin { external: 0 }
}

/// The actions of the last event after all of `events`, in short.
fn last(events: &[Event]) -> String {
    let mut machine = Machine::new();
    let mut actions = Vec::new();
    for event in events {
        actions = machine.on(event.clone());
    }
    let words: Vec<String> = actions.iter().map(word).collect();
    words.join(" ")
}

fn word(action: &Action) -> String {
    match action {
        Action::Finish(ending) => format!("finish:{}", ending_word(ending)),
        Action::InitFailed { ending, in_invoke } => {
            format!("init-failed:{}{}", ending_word(ending), if *in_invoke { ":in-invoke" } else { "" })
        }
        Action::InitDone { in_invoke } => {
            format!("init-done{}", if *in_invoke { ":in-invoke" } else { "" })
        }
        Action::Arm(timer) => format!("arm:{timer:?}"),
        Action::Disarm(timer) => format!("disarm:{timer:?}"),
        Action::Shutdown(reason) => format!("shutdown:{reason:?}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

fn ending_word(ending: &Ending) -> String {
    match ending {
        Ending::Exited(Exit::Signal(number)) => format!("signal{number}"),
        Ending::Exited(Exit::Status(number)) => format!("status{number}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

#[test]
fn each_event_has_its_answer_in_each_state() {
    use Event::*;
    let ready = [begin(), RUNTIME];
    let busy = [begin(), RUNTIME, Invoke];
    let cold = [begin(), RUNTIME, Invoke, TimedOut(Timer::Invoke), ResetDone];
    let cases: Vec<(&str, Vec<Event>, &str)> = vec![
        ("a fresh one starts its runtime", vec![begin()], "arm:Init startruntime"),
        ("init without an invocation ends ready", ready.to_vec(), "disarm:Init init-done idle"),
        (
            "an invocation that waited is delivered when init ends",
            vec![Invoke, begin(), RUNTIME],
            "disarm:Init init-done arm:Invoke deliver",
        ),
        (
            "an invocation may come during init",
            vec![begin(), Invoke, RUNTIME],
            "disarm:Init init-done arm:Invoke deliver",
        ),
        ("a ready one delivers at once", busy.to_vec(), "arm:Invoke deliver"),
        ("the answer ends the invocation", [&busy[..], &[Answered]].concat(), "idle finish:answered"),
        ("the next one may come at once", [&busy[..], &[Answered, Invoke]].concat(), ""),
        (
            ".. and is delivered when the runtime asks",
            [&busy[..], &[Answered, Invoke, RUNTIME]].concat(),
            "disarm:Invoke arm:Invoke deliver",
        ),
        (
            ".. or gets a new runtime when this one ends instead",
            [&busy[..], &[Answered, Invoke, CRASH, ResetDone]].concat(),
            "arm:Invoke startruntime",
        ),
        (
            "the runtime's next request ends the environment's work",
            [&busy[..], &[Answered, RUNTIME]].concat(),
            "disarm:Invoke idle",
        ),
        ("a second answer is nothing", [&busy[..], &[Answered, Answered]].concat(), ""),
        ("a runtime that asks again has not answered", [&busy[..], &[RUNTIME]].concat(), ""),
        ("it is used again", [&busy[..], &[Answered, RUNTIME, Invoke]].concat(), "arm:Invoke deliver"),
        (
            "a timeout ends the invocation and every process",
            [&busy[..], &[TimedOut(Timer::Invoke)]].concat(),
            "disarm:Invoke idle finish:timedout reset",
        ),
        ("after the reset it is cold", cold.to_vec(), "cooled"),
        ("a cold one runs init inside", [&cold[..], &[Invoke]].concat(), "arm:Invoke startruntime"),
        (
            "that init is no init duration",
            [&cold[..], &[Invoke, RUNTIME]].concat(),
            "init-done:in-invoke deliver",
        ),
        (
            "a crash ends the invocation",
            [&busy[..], &[CRASH]].concat(),
            "disarm:Invoke idle finish:status1 reset",
        ),
        (
            "so does a memory kill",
            [&busy[..], &[MemoryExceeded]].concat(),
            "disarm:Invoke idle finish:signal9 reset",
        ),
        (
            "a crash after the answer costs only the environment",
            [&busy[..], &[Answered, CRASH]].concat(),
            "disarm:Invoke reset",
        ),
        (
            "init that takes too long is tried again inside the invocation",
            vec![Invoke, begin(), TimedOut(Timer::Init)],
            "init-failed:timedout disarm:Init reset",
        ),
        (
            ".. under the function's own timeout",
            vec![Invoke, begin(), TimedOut(Timer::Init), ResetDone],
            "arm:Invoke startruntime",
        ),
        (
            ".. and fails the invocation when it fails again",
            vec![Invoke, begin(), CRASH, ResetDone, CRASH],
            "init-failed:status1:in-invoke disarm:Invoke idle finish:status1 reset",
        ),
        (
            ".. or takes too long again",
            vec![Invoke, begin(), CRASH, ResetDone, TimedOut(Timer::Invoke)],
            "init-failed:timedout:in-invoke disarm:Invoke idle finish:timedout reset",
        ),
        (
            "a posted init error is a failed init",
            vec![Invoke, begin(), InitError(Party::Runtime)],
            "init-failed:initerror disarm:Init reset",
        ),
        ("the exit that follows it is nothing", vec![begin(), InitError(Party::Runtime), CRASH], ""),
        (
            "a late init timer is nothing inside an invocation",
            vec![Invoke, begin(), CRASH, ResetDone, TimedOut(Timer::Init)],
            "",
        ),
        ("an idle crash cools it", [&ready[..], &[CRASH]].concat(), "reset"),
        ("an invocation during a reset waits for it", [&ready[..], &[CRASH, Invoke]].concat(), ""),
        (".. and then starts", [&ready[..], &[CRASH, Invoke, ResetDone]].concat(), "arm:Invoke startruntime"),
        ("without extensions there is no shutdown phase", [&ready[..], &[Stop]].concat(), "destroy"),
        ("a busy one finishes first", [&busy[..], &[Stop]].concat(), ""),
        (
            "a stopped one ends after its work",
            [&busy[..], &[Stop, Answered, RUNTIME]].concat(),
            "disarm:Invoke destroy",
        ),
        ("a stopped one ends after its reset", [&busy[..], &[Stop, CRASH, ResetDone]].concat(), "destroy"),
        ("a dead one is silent", [&ready[..], &[Stop, Invoke]].concat(), ""),
        ("a lost sandbox loses its invocation", [&busy[..], &[Gone]].concat(), "finish:lost destroy"),
        ("an idle lost sandbox is only cleared away", [&ready[..], &[Gone]].concat(), "destroy"),
    ];
    for (name, events, expected) in cases {
        assert_eq!(last(&events), expected, "{name}");
    }
}

#[test]
fn extensions_come_first_and_are_waited_for() {
    use Event::*;
    let started = [Invoke, Begin { external: 1 }];
    let registered = [&started[..], &[Registered(1, EXTERNAL)]].concat();
    let waits = Waiting(Party::Extension(1));
    let busy = [&registered[..], &[waits.clone(), RUNTIME]].concat();
    let cases: Vec<(&str, Vec<Event>, &str)> = vec![
        ("extensions start before the runtime", started.to_vec(), "arm:Init startextensions"),
        ("the runtime starts once all have registered", registered.clone(), "startruntime"),
        ("init waits for the extension", [&registered[..], &[RUNTIME]].concat(), ""),
        ("init is done when both wait", busy.clone(), "disarm:Init init-done arm:Invoke deliver"),
        ("the answer does not wait for the extension", [&busy[..], &[Answered]].concat(), "finish:answered"),
        ("the environment does", [&busy[..], &[Answered, RUNTIME]].concat(), ""),
        (
            "it is idle after both",
            [&busy[..], &[Answered, RUNTIME, waits.clone()]].concat(),
            "disarm:Invoke idle",
        ),
        (
            "a crashed extension fails the invocation and the rest may shut down",
            [&busy[..], &[Exited(Party::Extension(1), Exit::Status(2))]].concat(),
            "disarm:Invoke idle finish:extensionexited(1, status(2)) shutdown:Failure arm:Shutdown",
        ),
        (
            "a timeout tells the extensions",
            [&busy[..], &[TimedOut(Timer::Invoke)]].concat(),
            "disarm:Invoke idle finish:timedout shutdown:Timeout arm:Shutdown",
        ),
        (
            "who have two seconds",
            [&busy[..], &[TimedOut(Timer::Invoke), TimedOut(Timer::Shutdown)]].concat(),
            "reset",
        ),
        (
            "or less if they end by themselves",
            [&busy[..], &[TimedOut(Timer::Invoke), Exited(Party::Extension(1), Exit::Status(0))]].concat(),
            "disarm:Shutdown reset",
        ),
        (
            "a stop has a shutdown phase",
            [&busy[..], &[Answered, RUNTIME, waits.clone(), Stop]].concat(),
            "shutdown:Spindown arm:Shutdown",
        ),
        (
            "which ends with the extension",
            [&busy[..], &[Answered, RUNTIME, waits, Stop, Exited(Party::Extension(1), Exit::Status(0))]]
                .concat(),
            "disarm:Shutdown destroy",
        ),
        ("an internal extension is waited for in init", vec![begin(), Registered(1, INTERNAL), RUNTIME], ""),
        (
            "an extension that ends in init fails it",
            [&registered[..], &[Exited(Party::Extension(1), Exit::Status(1))]].concat(),
            "init-failed:extensionexited(1, status(1)) disarm:Init shutdown:Failure arm:Shutdown",
        ),
    ];
    for (name, events, expected) in cases {
        assert_eq!(last(&events), expected, "{name}");
    }
}

fn any_event() -> impl Strategy<Value = Event> {
    let party = prop_oneof![Just(Party::Runtime), (1u32..3).prop_map(Party::Extension)];
    prop_oneof![
        Just(Event::Begin { external: 0 }),
        Just(Event::Begin { external: 1 }),
        Just(Event::Invoke),
        (1u32..3).prop_map(|id| Event::Registered(id, EXTERNAL)),
        party.clone().prop_map(Event::Waiting),
        Just(Event::Answered),
        party.clone().prop_map(Event::InitError),
        party.prop_map(|party| Event::Exited(party, Exit::Status(1))),
        Just(Event::MemoryExceeded),
        Just(Event::TimedOut(Timer::Init)),
        Just(Event::TimedOut(Timer::Invoke)),
        Just(Event::TimedOut(Timer::Shutdown)),
        Just(Event::ResetDone),
        Just(Event::Stop),
        Just(Event::Gone),
    ]
}

proptest! {
    /// Whatever happens in whatever order: an accepted invocation ends exactly once by the time that the environment is gone,
    /// and nothing comes out of a dead one.
    #[test]
    fn every_accepted_invocation_ends_exactly_once(events in prop::collection::vec(any_event(), 0..60)) {
        let mut machine = Machine::new();
        let (mut accepted, mut finished, mut destroyed) = (0, 0, 0);
        for event in events.into_iter().chain([Event::Gone]) {
            if event == Event::Invoke {
                if !machine.is_vacant() {
                    continue;
                }
                accepted += 1;
            }
            let was_dead = machine.is_dead();
            let actions = machine.on(event);
            prop_assert!(!was_dead || actions.is_empty());
            finished += actions.iter().filter(|action| matches!(action, Action::Finish(_))).count();
            destroyed += actions.iter().filter(|action| **action == Action::Destroy).count();
            prop_assert!(finished <= accepted);
        }
        prop_assert_eq!(finished, accepted);
        prop_assert_eq!(destroyed, 1);
        prop_assert!(machine.is_dead());
    }
}
